import { describe, expect, test } from 'vitest';
import { effectiveConfig } from '../config/load.ts';
import { foreignMounts, type Found, resetPlan } from './reset-plan.ts';

const config = effectiveConfig(
  `dataDir: /d
runDir: /r
imagesDir: /srv/images
storage:
  osd:
    - {id: 0, file: /d/osd/osd.0.img, size: 1Gi}
    - {id: 1, file: /mnt/a/osd.img, size: 1Gi}
    - {id: 2, directory: /mnt/b}
    - {id: 3, device: /dev/sda1}
    - {id: 4, serial: GONE}
`,
  'f',
  { hostname: 'n', ip: '10.0.0.1', freeBytes: 1e11 },
);
const [inside, file, directory, device, gone] = config.storage.osd;
const found = (more: Partial<Found> = {}): Found => ({
  dataEntries: ['pki', 'osd', 'photos', '.pki.new', 'store.before-20260101-000000', 'store.my'],
  osds: [
    { config: inside!, path: '/d/osd/osd.0.img', holds: 'ours' },
    { config: file!, path: '/mnt/a/osd.img', holds: 'ours' },
    { config: directory!, path: '/mnt/b', holds: 'ours' },
    { config: device!, path: '/dev/sda1', holds: 'ours' },
    { config: gone!, path: undefined, holds: 'nothing' },
  ],
  exists: (path) => ['/r', '/srv/images', '/mnt/b/label', '/mnt/b/data'].includes(path),
  runDirectoryIsOurs: true,
  wipeDevices: false,
  ...more,
});
const paths = (list: readonly { path: string }[]): string[] => list.map(({ path }) => path);

describe('reset', () => {
  test('what the node made goes; what it did not make, devices and what is elsewhere stay', () => {
    const plan = resetPlan(config, found());
    expect(paths(plan.remove)).toEqual([
      '/d/.pki.new',
      '/d/osd',
      '/d/pki',
      '/d/store.before-20260101-000000',
      '/mnt/a/osd.img',
      '/mnt/b/label',
      '/mnt/b/data',
      '/r',
    ]);
    expect(plan.wipe).toEqual([]);
    expect(plan.keep.map(({ path, why }) => `${path}: ${why}`)).toEqual([
      '/d/photos: the appliance did not make it',
      '/d/store.my: the appliance did not make it',
      '/dev/sda1: a device, osd.3: --wipe-devices makes it blank',
      '/srv/images: the configuration chose it for image tarballs; nothing in it is deleted',
    ]);
  });

  test('a device is wiped only when it is asked for and holds this OSD', () => {
    expect(resetPlan(config, found({ wipeDevices: true })).wipe).toEqual([{ path: '/dev/sda1', osd: 3 }]);
    const foreign = found({
      wipeDevices: true,
      osds: [{ config: device!, path: '/dev/sda1', holds: { foreign: 'the store of osd.3 of cluster x' } }],
    });
    expect(resetPlan(config, foreign)).toMatchObject({
      wipe: [],
      keep: [
        { path: '/d/photos' },
        { path: '/d/store.my' },
        { path: '/dev/sda1', why: 'the store of osd.3 of cluster x' },
        { path: '/srv/images' },
      ],
    });
  });

  test.each(['nothing' as const, { foreign: 'a film' }])('a file that does not hold this OSD stays: %o', (holds) => {
    const foreign = found({ osds: [{ config: file!, path: '/mnt/a/osd.img', holds }] });
    expect(paths(resetPlan(config, foreign).remove)).not.toContain('/mnt/a/osd.img');
  });

  test("another cluster's file among the node's own stays; its neighbours go", () => {
    const own = { config: file!, path: '/d/osd/osd.1.img', holds: 'ours' as const };
    const foreign = { config: inside!, path: '/d/osd/osd.0.img', holds: { foreign: 'of cluster x' } };
    const plan = resetPlan(config, found({ osds: [foreign, own] }));
    expect(paths(plan.remove)).not.toContain('/d/osd');
    expect(paths(plan.remove)).toContain('/d/osd/osd.1.img');
    expect(plan.keep).toContainEqual({ path: '/d/osd/osd.0.img', why: 'of cluster x' });
  });

  test('of a data directory that is somebody’s home nothing goes', () => {
    const plan = resetPlan(
      config,
      found({ dataEntries: ['Documents', 'x.new'], osds: [], exists: () => false, runDirectoryIsOurs: false }),
    );
    expect(plan.remove).toEqual([]);
  });

  test.each([
    ['snapshots', 'snapshots: {dir: /d/backups/k8s}', 'backups', '/d/backups/k8s'],
    ['snapshots in an entry of their own', 'snapshots: {dir: /d/backups}', 'backups', '/d/backups'],
    ['images', 'imagesDir: /d/media/images', 'media', '/d/media/images'],
    ['images elsewhere: what has their usual name is not theirs', 'imagesDir: /srv/images', 'images', '/srv/images'],
    ['manifests', 'manifestsDir: /d/git/cluster', 'git', '/d/git/cluster'],
    [
      'snapshots beside a directory of that name',
      'snapshots: {dir: /d/snapshots/k8s}',
      'snapshots',
      '/d/snapshots/k8s',
    ],
  ])('of a directory that the user chose for %s nothing goes', (_what, line, entry, chosen) => {
    const other = effectiveConfig(`dataDir: /d\nrunDir: /r\nroles: [server]\n${line}\n`, 'f', {
      hostname: 'n',
      ip: '10.0.0.1',
      freeBytes: 1e11,
    });
    const plan = resetPlan(
      other,
      found({ dataEntries: ['store', entry], osds: [], exists: (path) => path === chosen }),
    );
    expect(paths(plan.remove)).toEqual(['/d/store', '/r']);
    expect(paths(plan.keep)).toEqual([...new Set([`/d/${entry}`, chosen])]);
    expect(plan.keep.at(-1)?.why).toMatch(/^the configuration chose it for .*; nothing in it is deleted$/);
  });

  test('of a run directory that is deep in the data directory only itself goes', () => {
    const other = { ...config, runDir: '/d/x/run' };
    const plan = resetPlan(other, found({ dataEntries: ['x'], osds: [], exists: (path) => path === '/d/x/run' }));
    expect(paths(plan.remove)).toEqual(['/d/x/run']);
    expect(paths(plan.keep)).toEqual(['/d/x']);
  });

  test('a run directory that no node made stays', () => {
    const plan = resetPlan(config, found({ dataEntries: [], osds: [], runDirectoryIsOurs: false }));
    expect(plan.remove).toEqual([]);
    expect(plan.keep[0]).toEqual({ path: '/r', why: 'no node made this run directory' });
  });

  test('mounts of the running node are not in the way: containers below the run directory, volumes below the agent', () => {
    const targets = [
      '/r/containerd/io.containerd.runtime.v2.task/k8s.io/c1/rootfs',
      '/d/agent/pods/p/v',
      '/d/store/films',
      '/rx/y',
    ];
    expect(foreignMounts(targets, ['/d/agent', '/r'])).toEqual(['/d/store/films', '/rx/y']);
    expect(foreignMounts(targets, [])).toEqual(targets);
  });

  test.each([
    ['[server, mon]', /^the mon's database/],
    ['[server, agent]', /^what roles keep/],
  ])('what the roles %s keep is named', (roles, expected) => {
    const other = effectiveConfig(`dataDir: /d\nrunDir: /r\nroles: ${roles}\n`, 'f', {
      hostname: 'n',
      ip: '10.0.0.1',
      freeBytes: 1e11,
    });
    const plan = resetPlan(other, found({ dataEntries: ['instances'], osds: [] }));
    expect(plan.remove[0]?.what).toMatch(expected);
  });

  test('what is at its usual place goes whole', () => {
    const plan = resetPlan(
      { ...config, imagesDir: '/d/images' },
      found({ dataEntries: ['images', 'manifests', 'snapshots', 'kubeconfig'], osds: [], exists: () => false }),
    );
    expect(paths(plan.remove)).toEqual(['/d/images', '/d/kubeconfig', '/d/manifests', '/d/snapshots', '/r']);
    expect(plan.keep).toEqual([]);
  });
});
