import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { utf8, utf8Text } from '../../../base/bytes.ts';
import type { ConfigMap, Volume } from '../../api/types.ts';
import type { Pod } from '../pod-types.ts';
import { csiAccessMode } from './access-modes.ts';
import { writeAtomically } from './atomic-writer-shell.ts';
import { failedReadOnly, mountAt, mountsUnder, parseMountInfo } from '../../../base/mountinfo.ts';
import { recordName, removeCsiDirectory } from './csi-volumes-shell.ts';
import { isMounted, mountTmpfs, removeMountPoints, unmount, unmountTree } from './mount-shell.ts';
import { checkPath, type Payload, type PayloadSources, volumePayload } from './payload.ts';

const root = process.getuid?.() === 0;

describe('mountinfo', () => {
  const mounts = parseMountInfo(
    [
      '22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda rw',
      '40 22 0:30 / /pods/a/volumes/v\\040one rw - tmpfs tmpfs rw,size=64k',
      '41 22 7:0 / /pods/a/mount rw,relatime - ext4 /dev/loop0 ro,emergency_ro',
      '42 41 7:0 /x /pods/a/mount/sub ro,relatime - ext4 /dev/loop1 rw',
      'nonsense',
    ].join('\n'),
  );

  test('octal escapes, the innermost first', () => {
    expect(mounts).toHaveLength(4);
    expect(mountAt(mounts, '/pods/a/volumes/v one')?.type).toBe('tmpfs');
    expect(mountsUnder(mounts, '/pods/a').map((m) => m.target)).toEqual([
      '/pods/a/mount/sub',
      '/pods/a/mount',
      '/pods/a/volumes/v one',
    ]);
    expect(mountsUnder(mounts, '/pods/a/mou')).toEqual([]);
  });

  test('a file system that gave up writing is told from one that is mounted read-only', () => {
    expect(failedReadOnly(mountAt(mounts, '/pods/a/mount')!)).toBe(true);
    expect(failedReadOnly(mountAt(mounts, '/pods/a/mount/sub')!)).toBe(false);
  });
});

describe('files of volumes', () => {
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'ns', labels: { a: 'b' } },
    spec: { containers: [{ name: 'c' }] },
  };
  const map: ConfigMap = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'm' },
    data: { a: '1', b: '2' },
    binaryData: { z: 'AAE=' },
  };
  const sources: PayloadSources = {
    configMap: async (name) => (name === 'm' ? map : undefined),
    secret: async () => undefined,
    token: async () => 'tkn',
    place: { hostIP: '1.1.1.1', podIPs: [], allocatable: { cpu: 1, memory: 1, ephemeralStorage: 1 } },
  };
  const payload = (volume: Omit<Volume, 'name'>, p = pod): Promise<Payload | undefined> =>
    volumePayload(p, { name: 'v', ...volume }, sources);

  test('all keys, or those that are named with their own modes', async () => {
    const all = await payload({ configMap: { name: 'm' } });
    expect([...all!.keys()].sort()).toEqual(['a', 'b', 'z']);
    expect([...all!.get('z')!.data]).toEqual([0, 1]);
    expect(all!.get('a')?.mode).toBe(0o644);
    const some = await payload({
      configMap: { name: 'm', defaultMode: 0o400, items: [{ key: 'b', path: 'path/to/b', mode: 0o600 }] },
    });
    expect([...some!]).toMatchObject([['path/to/b', { mode: 0o600 }]]);
  });

  test('what is missing is refused unless it is optional', async () => {
    await expect(payload({ configMap: { name: 'no' } })).rejects.toThrow('configmap "no" not found');
    expect((await payload({ configMap: { name: 'no', optional: true } }))?.size).toBe(0);
    await expect(payload({ configMap: { name: 'm', items: [{ key: 'q', path: 'q' }] } })).rejects.toThrow(
      'references non-existent key: q',
    );
  });

  test('a projected token is as narrow as users and groups allow', async () => {
    const projected = { projected: { sources: [{ serviceAccountToken: { path: 'token' } }] } };
    const of = async (securityContext: NonNullable<Pod['spec']['securityContext']>) =>
      (await payload(projected, { ...pod, spec: { ...pod.spec, securityContext } }))!.get('token');
    expect(await of({})).toMatchObject({ mode: 0o644 });
    expect(await of({ runAsUser: 1000 })).toMatchObject({ mode: 0o600, uid: 1000 });
    expect(await of({ fsGroup: 10_000 })).toMatchObject({ mode: 0o600 });
    expect(utf8Text((await of({}))!.data)).toBe('tkn');
  });

  test('paths never leave the volume', () => {
    expect(checkPath('a/./b')).toBe('a/b');
    for (const path of ['', '/a', '../a', 'a/../b', '..a']) expect(() => checkPath(path)).toThrow();
  });

  test('access modes', () => {
    expect(csiAccessMode(['ReadWriteOnce'], false)).toBe('SINGLE_NODE_WRITER');
    expect(csiAccessMode(['ReadWriteOncePod'], true)).toBe('SINGLE_NODE_SINGLE_WRITER');
    expect(csiAccessMode(['ReadWriteMany'], false)).toBe('MULTI_NODE_MULTI_WRITER');
    expect(csiAccessMode(['ReadOnlyMany'], false)).toBe('MULTI_NODE_READER_ONLY');
  });
});

describe.skipIf(!root)('atomic writer (as root)', () => {
  let directory = '';
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'atomic-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));
  const files = (entries: Record<string, string>, mode = 0o644): Payload =>
    new Map(Object.entries(entries).map(([path, text]) => [path, { data: utf8(text), mode }]));

  test('the visible names are links through one link that is swapped', async () => {
    expect(await writeAtomically(directory, files({ a: '1', 'd/e': '2' }), { stamp: 's1' })).toBe(true);
    expect(readlinkSync(join(directory, '..data'))).toBe('..s1');
    expect(readlinkSync(join(directory, 'd'))).toBe('..data/d');
    expect(readFileSync(join(directory, 'd/e'), 'utf8')).toBe('2');
    expect(await writeAtomically(directory, files({ a: '1', 'd/e': '2' }), { stamp: 's2' })).toBe(false);
    expect(await writeAtomically(directory, files({ a: '9' }), { stamp: 's3' })).toBe(true);
    expect(readFileSync(join(directory, 'a'), 'utf8')).toBe('9');
    expect(readdirSync(directory).sort()).toEqual(['..data', '..s3', 'a']);
  });

  test('modes and the group of fsGroup', async () => {
    await writeAtomically(directory, files({ a: '1' }, 0o400), { stamp: 's1' });
    expect(statSync(join(directory, 'a')).mode & 0o777).toBe(0o400);
    await writeAtomically(directory, files({ a: '1' }, 0o400), { stamp: 's2', group: { gid: 1001 } });
    const info = statSync(join(directory, 'a'));
    expect(info.mode & 0o777).toBe(0o440);
    expect(info.gid).toBe(1001);
  });
});

describe.skipIf(!root)('mount points (as root)', () => {
  let directory = '';
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'mounts-'));
  });
  afterEach(async () => {
    await unmountTree(directory);
    rmSync(directory, { recursive: true, force: true });
  });

  test('every layer is unmounted; what is mounted or has files in it is not removed', async () => {
    const leaf = join(directory, 'subpaths/volume/container/0');
    mkdirSync(leaf, { recursive: true });
    await mountTmpfs(leaf, 65_536);
    await mountTmpfs(leaf, 65_536);
    await expect(removeMountPoints(join(directory, 'subpaths'), 3)).rejects.toMatchObject({ code: 'EBUSY' });
    await unmount(leaf);
    expect(await isMounted(leaf)).toBe(false);
    writeFileSync(join(leaf, 'kept'), '');
    await expect(removeMountPoints(join(directory, 'subpaths'), 3)).rejects.toMatchObject({ code: 'ENOTEMPTY' });
    rmSync(join(leaf, 'kept'));
    writeFileSync(join(directory, 'subpaths/volume/container/1'), '');
    await removeMountPoints(join(directory, 'subpaths'), 3);
    expect(readdirSync(directory)).toEqual([]);
    await removeMountPoints(join(directory, 'subpaths'), 3);
  });

  test("a volume's directory goes with its record, not with its files", async () => {
    const volume = join(directory, 'v');
    mkdirSync(join(volume, 'mount'), { recursive: true });
    writeFileSync(join(volume, recordName), '{}');
    writeFileSync(join(volume, 'mount/kept'), '');
    await expect(removeCsiDirectory(volume)).rejects.toMatchObject({ code: 'ENOTEMPTY' });
    expect(readdirSync(volume).sort()).toEqual(['mount', recordName]);
    rmSync(join(volume, 'mount/kept'));
    await removeCsiDirectory(volume);
    expect(readdirSync(directory)).toEqual([]);
  });
});
