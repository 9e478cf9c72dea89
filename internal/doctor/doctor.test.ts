import { describe, expect, test } from 'vitest';
import { effectiveConfig } from '../config/load.ts';
import { type CheckReport, examine, fail, type Finding, refusal } from './check.ts';
import { checks, preflightChecks } from './checks/index.ts';
import { percentile } from './checks/storage.ts';
import { collectFacts } from './facts-system.ts';
import type { DroppingChain, Facts, FactName } from './facts.ts';
import { droppingChains, legacyForward, listeningSockets, memoryFacts, moduleStates, roleRunDir } from './parse.ts';

const configOf = (text: string) =>
  effectiveConfig(text, 'appliance.yaml', { hostname: 'pi-1', ip: '192.0.2.1', freeBytes: 100 * 2 ** 30 });
const config = configOf('storage: {osd: [{id: 0, device: /dev/sda}]}');
const now = Date.parse('2026-05-01T12:00:00Z');
const gib = 2 ** 30;
const loaded = ['overlay', 'bridge', 'veth', 'nf_tables', 'br_netfilter', 'vxlan', 'rbd', 'ceph', 'fuse', 'loop'];

/** A server with nothing to complain about. */
const good: Facts = {
  machine: {
    architecture: 'x86_64',
    kernel: '6.1.0-18-amd64',
    model: '',
    commandLineFile: undefined,
    commandLine: 'quiet',
    root: true,
  },
  cgroups: { version: 2, controllers: ['cpu', 'io', 'memory', 'pids'] },
  modules: Object.fromEntries(loaded.map((name) => [name, 'loaded' as const])),
  time: {
    nowMs: now,
    builtMs: now - 1e9,
    lastMs: now - 1000,
    lastKnownMs: now - 1000,
    authorities: [{ name: 'server-ca', fromMs: now - 1e9, endsMs: now + 3000 * 86_400_000 }],
    synchronized: true,
    maxErrorMs: 3,
    services: ['chronyd'],
    serverSkewMs: 200,
  },
  sync: [{ what: 'data directory', path: '/var/lib/appliance', timesMs: [1, 2, 3] }],
  space: [
    {
      what: 'data directory',
      path: '/var/lib/appliance',
      type: 'ext4',
      freeBytes: 50 * gib,
      totalBytes: 100 * gib,
      freeInodes: 9e5,
      totalInodes: 1e6,
    },
  ],
  memory: { totalBytes: 8 * gib, availableBytes: 6 * gib, diskSwapBytes: 0, zramBytes: 0 },
  listeners: [],
  tunnels: [],
  programs: ['setpriv', 'setsid', 'useradd', 'nft', 'ip', 'bridge', 'mkfs.ext4', 'unshare', 'rbd-fuse']
    .map((name) => ({ name, path: `/usr/bin/${name}`, version: name === 'nft' ? 'nftables v1.0.6 (Lester)' : '' }))
    .concat([
      {
        name: 'containerd',
        path: '/usr/bin/containerd',
        version: 'containerd github.com/containerd/containerd 1.6.20',
      },
      { name: 'runc', path: '/usr/bin/runc', version: 'runc version 1.1.5+ds1' },
    ]),
  cniPlugins: { '/usr/lib/cni': ['bridge', 'host-local', 'loopback'], '/opt/cni/bin': [] },
  addresses: ['192.0.2.1'],
  disks: [
    { path: '/dev/sda', osd: 0, exists: true, inUse: false, owner: 'osd.0 of cluster abc, store x', ownerFsid: 'abc' },
  ],
  storageFsid: 'abc',
  externalCeph: undefined,
  throttled: undefined,
  firewall: [],
  sysctls: {
    'net.ipv4.ip_forward': '1',
    'net.bridge.bridge-nf-call-iptables': '1',
    'fs.inotify.max_user_instances': '8192',
    'fs.inotify.max_user_watches': '524288',
  },
  hostName: { name: 'pi-1', addresses: ['127.0.1.1'] },
  cards: [],
  running: true,
};

/** Raspberry Pi OS on a Pi 3 as it comes: no memory cgroup, a kernel without vxlan, a small supply, swap on the card. */
const raspberryPi: Facts = {
  ...good,
  machine: {
    architecture: 'aarch64',
    kernel: '6.6.31+rpt-rpi-v8',
    model: 'Raspberry Pi 3 Model B Plus Rev 1.3',
    commandLineFile: '/boot/firmware/cmdline.txt',
    commandLine: 'console=tty1 root=PARTUUID=1 cgroup_disable=memory',
    root: true,
  },
  cgroups: { version: 2, controllers: ['cpuset', 'cpu', 'io', 'pids'] },
  modules: { ...(good.modules as object), vxlan: 'missing', br_netfilter: 'loadable' },
  memory: { totalBytes: 0.9 * gib, availableBytes: 0.6 * gib, diskSwapBytes: 200 * 2 ** 20, zramBytes: 0 },
  throttled: 0x50005,
  cards: [{ device: '/dev/mmcblk0', type: 'SD', lifeTenths: [], preEndOfLife: undefined }],
  hostName: { name: 'raspberrypi', addresses: ['127.0.1.1'] },
  sync: [{ what: 'data directory', path: '/var/lib/appliance', timesMs: [...Array(99).fill(8), 400] }],
  time: {
    ...good.time,
    nowMs: Date.parse('1970-01-01T00:00:20Z'),
    synchronized: false,
    services: ['systemd-timesyncd'],
  },
};

/** A host with Docker, K3s' left-overs and another program on 6443. */
const dockerHost: Facts = {
  ...good,
  firewall: [
    { hook: 'forward', family: 'ip', table: 'filter', chain: 'FORWARD', owner: 'docker', letsPods: false },
    { hook: 'input', family: 'ip', table: 'filter', chain: 'INPUT', owner: 'ufw', letsPods: false },
  ],
  tunnels: [{ name: 'flannel.1', id: 1, port: 8472, own: false }],
  listeners: [
    { port: 6443, protocol: 'tcp', address: '', pid: 812, command: 'k3s-server', own: false },
    { port: 10250, protocol: 'tcp', address: '', pid: 900, command: 'appliance', own: true },
    { port: 3300, protocol: 'tcp', address: '203.0.113.1', pid: 901, command: 'other', own: false },
  ],
};

const report = (facts: Facts, id: string, at = config): CheckReport => {
  const found = examine(checks, facts, at).find((one) => one.id === id);
  if (!found) throw new Error(`no report of ${id}`);
  return found;
};
const notOk = (facts: Facts, id: string, at = config): Finding[] =>
  report(facts, id, at).findings.filter(({ result }) => result !== 'ok');

describe('doctor', () => {
  test('a good machine: every check is ok, and says something', () => {
    for (const { findings, id, result, why } of examine(checks, good, config)) {
      expect([id, result]).toEqual([id, 'ok']);
      expect(findings.length).toBeGreaterThan(0);
      expect(why).not.toBe('');
    }
  });

  test('ids are unique, and a check asks for nothing that it does not name', () => {
    expect(new Set(checks.map(({ id }) => id)).size).toBe(checks.length);
    for (const check of checks) {
      const only = Object.fromEntries(check.needs.map((name) => [name, good[name]])) as unknown as Facts;
      expect(() => check.evaluate(only, config)).not.toThrow();
    }
  });

  test('everything that is not well comes with a fix, or could not be found out', () => {
    for (const facts of [raspberryPi, dockerHost])
      for (const { findings, id } of examine(checks, facts, config))
        for (const { fix, result } of findings)
          if (result === 'warn' || result === 'fail') expect([id, fix]).not.toEqual([id, undefined]);
  });

  test('Raspberry Pi OS: the line for the boot file is named', () => {
    expect(notOk(raspberryPi, 'memory-cgroup')).toMatchObject([
      {
        result: 'fail',
        fix: expect.stringContaining(
          "sed -i '1 s/$/ cgroup_enable=memory cgroup_memory=1/' /boot/firmware/cmdline.txt",
        ),
      },
    ]);
  });

  test('Raspberry Pi OS: vxlan is missing, plain routes do; br_netfilter can be loaded by --fix', () => {
    expect(notOk(raspberryPi, 'kernel-modules')).toMatchObject([
      { result: 'warn', text: expect.stringContaining('plain routes'), fix: expect.stringContaining('modules-extra') },
      { result: 'warn', remedy: { do: 'modprobe', module: 'br_netfilter' } },
    ]);
    const hostGw = configOf('cluster: {networkBackend: host-gw}');
    expect(notOk(raspberryPi, 'kernel-modules', hostGw)).toHaveLength(1);
  });

  test('a kernel without rbd needs rbd-fuse', () => {
    const modules = { ...(good.modules as object), rbd: 'missing' as const };
    expect(report({ ...good, modules }, 'kernel-modules').result).toBe('warn');
    const programs = good.programs.filter(({ name }) => name !== 'rbd-fuse');
    const withoutCeph = {
      ...good,
      modules: { ...(good.modules as Record<string, 'loaded'>), ceph: 'missing' as const },
    };
    expect(report(withoutCeph, 'kernel-modules')).toMatchObject({
      result: 'ok',
      findings: [{ text: expect.stringContaining('ceph missing (not used by this version)') }],
    });
    expect(notOk({ ...good, modules, programs }, 'kernel-modules')).toMatchObject([
      { result: 'fail', fix: expect.stringContaining('apt-get install rbd-fuse') },
    ]);
  });

  test('Raspberry Pi OS: power, card, swap, memory, name, clock, disk', () => {
    expect(notOk(raspberryPi, 'under-voltage')).toMatchObject([
      { result: 'fail', text: 'now: under-voltage, throttled' },
    ]);
    expect(notOk({ ...good, throttled: 0x50000 }, 'under-voltage')).toMatchObject([
      { result: 'warn', text: 'since the last boot: under-voltage, throttled' },
    ]);
    expect(report(raspberryPi, 'card-life').result).toBe('unknown');
    expect(notOk(raspberryPi, 'memory')).toHaveLength(1);
    expect(
      notOk(
        { ...raspberryPi, memory: { ...(good.memory as object), totalBytes: 0.4 * gib } as Facts['memory'] },
        'memory',
      ),
    ).toHaveLength(1);
    expect(report(raspberryPi, 'clock')).toMatchObject({ result: 'fail' });
    expect(notOk(raspberryPi, 'time-source')).toMatchObject([{ text: expect.stringContaining('not in step yet') }]);
    expect(notOk(raspberryPi, 'fsync')).toMatchObject([]);
    expect(notOk({ ...good, sync: [{ what: 'd', path: '/', timesMs: [1, 2, 400] }] }, 'fsync')).toMatchObject([
      { result: 'fail', text: expect.stringContaining('400.0 ms') },
    ]);
  });

  test('a name that every new machine has, a bad one, one that does not resolve', () => {
    expect(notOk(good, 'host-name', configOf('node: {name: raspberrypi}'))).toHaveLength(1);
    expect(
      notOk({ ...good, hostName: { name: 'My_Pi', addresses: { unknown: 'ENOTFOUND' } } }, 'host-name').map(
        ({ text }) => text,
      ),
    ).toEqual([expect.stringContaining('not a DNS label'), expect.stringContaining('does not resolve')]);
  });

  test('eMMC: wear in tenths of its life', () => {
    const card = (lifeTenths: number[], preEndOfLife = 1) =>
      report({ ...good, cards: [{ device: '/dev/mmcblk0', type: 'MMC', lifeTenths, preEndOfLife }] }, 'card-life');
    expect(card([2, 1])).toMatchObject({
      result: 'ok',
      findings: [{ text: '/dev/mmcblk0: 10-20 % of its life used' }],
    });
    expect(card([9, 1]).result).toBe('warn');
    expect(card([3, 1], 3).result).toBe('fail');
    expect(card([1, 11]).result).toBe('fail');
  });

  test('a port in use: by whom; ours, and other addresses, do not count', () => {
    expect(notOk(dockerHost, 'ports')).toMatchObject([
      { result: 'fail', text: '6443/tcp (the Kubernetes API) is in use by k3s-server (process 812)' },
    ]);
    const etcd = { port: 2379, protocol: 'tcp' as const, address: '', pid: 77, command: 'etcd', own: false };
    expect(notOk({ ...good, listeners: [etcd] }, 'ports')).toMatchObject([
      { result: 'fail', text: '2379/tcp (the store as etcd) is in use by etcd (process 77)' },
    ]);
    expect(report(good, 'ports').findings[0]!.text).toMatch(/^6443, 2379, .* the first free ones from 6800 on$/);
    const another = {
      ...{ protocol: 'tcp' as const, address: '', command: 'appliance', own: false },
      otherAppliance: { runDir: '/run/appliance', pid: 4711 },
    };
    const two = [
      { ...another, port: 6443, pid: 4720 },
      { ...another, port: 3300, pid: 4721 },
    ];
    expect(notOk({ ...good, listeners: [...two, etcd] }, 'ports')).toEqual([
      expect.objectContaining({ text: '2379/tcp (the store as etcd) is in use by etcd (process 77)' }),
      {
        result: 'fail',
        text: 'another appliance runs here (process 4711) and has 6443/tcp (the Kubernetes API), 3300/tcp (the Ceph monitor)',
        fix: expect.stringMatching(/^`appliance status` shows it, `appliance down` stops it; /),
      },
    ]);
    const dns = {
      port: config.ports.dns,
      protocol: 'udp' as const,
      address: '127.0.0.53',
      pid: 78,
      command: 'r',
      own: false,
    };
    for (const [port, address, taken] of [
      [6443, '127.0.0.1', true],
      [6443, '198.51.100.9', true],
      [6443, 'IPv6', false],
      [2379, '127.0.0.1', true],
      [2379, '198.51.100.9', false],
      [10250, '127.0.0.1', true],
      [3300, '127.0.0.1', false],
    ] as const)
      expect(
        report({ ...good, listeners: [{ ...etcd, port, address }, dns] }, 'ports').result,
        `${port} at ${address}`,
      ).toBe(taken ? 'fail' : 'ok');
    const hidden = { port: 6443, protocol: 'tcp' as const, address: '', pid: undefined, command: '', own: false };
    expect(report({ ...good, listeners: [hidden] }, 'ports').result).toBe('warn');
  });

  test('the run directory of a role, from its command line', () => {
    expect(roleRunDir(['/usr/local/bin/appliance', 'role', 'mon', '/run/a b/roles/mon/config.json', ''])).toBe(
      '/run/a b',
    );
    expect(roleRunDir(['bun', '/src/main.ts', 'role', 'osd.1', '/run/x/roles/osd.1/config.json'])).toBe('/run/x');
    expect(roleRunDir(['etcd', 'role', 'mon', '/etc/config.json'])).toBeUndefined();
    expect(roleRunDir([])).toBeUndefined();
  });

  test('a start that several things forbid: each has its way out below it', () => {
    const reportOf = (id: string, ...findings: Finding[]): CheckReport => ({
      ...{ id, title: id, why: '', result: 'fail' },
      findings,
    });
    expect(refusal([reportOf('ports')])).toBeUndefined();
    const one = refusal([reportOf('ports', fail('6443 is taken', 'stop it'))])!;
    expect([one.code, one.message, one.hint]).toEqual(['PREFLIGHT', '6443 is taken', 'stop it']);
    const two = refusal([
      reportOf('ports', fail('6443 is taken', 'stop it'), fail('3300 is taken')),
      reportOf('root', fail('not root', 'use sudo')),
    ])!;
    expect([two.code, two.message, two.hint]).toEqual([
      'ROOT',
      '6443 is taken\n  stop it\n3300 is taken\nnot root\n  use sudo',
      undefined,
    ]);
  });

  test('a tunnel that another cluster left', () => {
    expect(notOk(dockerHost, 'tunnel')).toMatchObject([{ fix: expect.stringContaining('ip link delete flannel.1') }]);
  });

  test('firewalls of others: the fix fits to whom they belong', () => {
    const findings = notOk(dockerHost, 'firewall');
    expect(findings).toMatchObject([
      { result: 'fail', fix: expect.stringContaining('iptables -I DOCKER-USER -s 10.42.0.0/16 -j ACCEPT') },
      { result: 'warn', fix: expect.stringMatching(/ufw allow 6443\/tcp;.* ufw allow 6800:7300\/tcp/) },
    ]);
    const chain = (more: Partial<DroppingChain>): Facts => ({
      ...good,
      firewall: [
        { hook: 'forward', family: 'inet', table: 't', chain: 'c', owner: 'unknown', letsPods: false, ...more },
      ],
    });
    expect(notOk(chain({ owner: 'ufw' }), 'firewall')[0]?.fix).toContain('ufw route allow from 10.42.0.0/16');
    expect(notOk(chain({ owner: 'firewalld' }), 'firewall')[0]?.fix).toContain('firewall-cmd');
    expect(report(chain({ letsPods: true }), 'firewall').result).toBe('ok');
  });

  test.each([
    ['the right OSD', {}, 'ok', 'holds osd.0 of cluster abc'],
    ['blank', { owner: undefined, ownerFsid: undefined }, 'ok', 'holds no OSD'],
    ['not there', { exists: false }, 'fail', 'is not there'],
    ['one that cannot be read', { owner: { unknown: 'EIO' }, ownerFsid: undefined }, 'unknown', 'EIO'],
    ["another OSD's store", { owner: 'osd.3 of cluster abc, store y' }, 'fail', 'another OSD of this cluster'],
    [
      'the same OSD of another cluster',
      { owner: 'osd.0 of cluster def, store y', ownerFsid: 'def' },
      'fail',
      'not this cluster, abc',
    ],
    [
      'the same OSD of nobody knows which cluster',
      { owner: 'osd.0 of a cluster that it does not name', ownerFsid: undefined },
      'fail',
      'not known to be of this cluster',
    ],
    [
      "a left-over of this cluster's",
      { osd: undefined, owner: 'osd.3 of cluster abc, store y' },
      'warn',
      'of this cluster, but this node does not name it',
    ],
    [
      "a left-over of another cluster's",
      { osd: undefined, owner: 'osd.3 of cluster def, store y', ownerFsid: 'def' },
      'warn',
      "of another cluster than this node's",
    ],
  ] as const)('disks: %s', (_name, more, result, text) => {
    const found = report({ ...good, disks: [{ ...good.disks[0]!, ...more }] }, 'osd-disks');
    expect(found).toMatchObject({ result, findings: [{ text: expect.stringContaining(text) }] });
  });

  test('a disk with an OSD on a node that has no storage cluster yet', () => {
    expect(notOk({ ...good, storageFsid: undefined }, 'osd-disks')).toMatchObject([
      { result: 'fail', text: expect.stringContaining('has no storage cluster yet') },
    ]);
  });

  test.each([
    [3000, 'ok'],
    [364, 'warn'],
    [80, 'fail'],
    [-1, 'fail'],
  ] as const)('an authority that ends in %i days: %s', (days, result) => {
    const authorities = [{ name: 'server-ca', fromMs: now - 1e12, endsMs: now + days * 86_400_000 }];
    expect(report({ ...good, time: { ...good.time, authorities } }, 'authorities').result).toBe(result);
  });

  test.each([
    ['tmpfs', 'reboot'],
    ['vfat', 'permissions'],
    ['nfs4', 'network'],
  ])('data on %s is told', (type, why) => {
    expect(notOk({ ...good, space: [{ ...good.space[0]!, type }] }, 'file-system')).toMatchObject([
      { result: 'fail', text: expect.stringContaining(why) },
    ]);
  });

  test('free space and inodes', () => {
    const space = (more: object) => report({ ...good, space: [{ ...good.space[0]!, ...more }] }, 'space').result;
    expect(space({ freeBytes: 1 * gib })).toBe('warn');
    expect(space({ freeBytes: 100 * 2 ** 20 })).toBe('fail');
    expect(space({ freeInodes: 2e4 })).toBe('warn');
    expect(space({ freeInodes: 0, totalInodes: 0 })).toBe('ok');
  });

  test('time: no service, two services, skew to the server', () => {
    const time = (more: Partial<Facts['time']>) => report({ ...good, time: { ...good.time, ...more } }, 'time-source');
    expect(time({ services: [], synchronized: false }).result).toBe('warn');
    expect(time({ services: [] }).result).toBe('ok');
    expect(time({ services: ['chronyd', 'ntpd'] }).result).toBe('warn');
    expect(time({ serverSkewMs: -2_000 }).result).toBe('warn');
    expect(time({ serverSkewMs: 90_000 })).toMatchObject({
      result: 'fail',
      findings: [{}, { text: expect.stringContaining('90 s behind') }],
    });
    const later = { ...good.time, lastMs: now + 3600_000 };
    expect(report({ ...good, time: later }, 'clock').result).toBe('ok');
    expect(report({ ...good, time: { ...later, synchronized: false } }, 'clock').result).toBe('fail');
  });

  test('a last known time from the future: taken back when the clock is in step and the cluster is not of that time', () => {
    const time = (more: Partial<Facts['time']>) => report({ ...good, time: { ...good.time, ...more } }, 'last-time');
    const lastKnownMs = now + 10 * 365 * 86_400_000;
    expect(time({ lastKnownMs: now + 30_000 }).result).toBe('ok');
    expect(time({ lastKnownMs: undefined }).result).toBe('ok');
    expect(time({ lastKnownMs })).toMatchObject({
      result: 'fail',
      findings: [{ remedy: { do: 'note-time', dataDir: config.dataDir } }],
    });
    const unsure = time({ lastKnownMs, synchronized: false });
    expect(unsure).toMatchObject({ result: 'warn', findings: [{ fix: expect.stringContaining('/last-time') }] });
    expect(unsure.findings[0]).not.toHaveProperty('remedy');
    const born = time({
      lastKnownMs,
      authorities: [{ name: 'server-ca', fromMs: lastKnownMs - 1000, endsMs: lastKnownMs + 1e11 }],
    });
    expect(born).toMatchObject({ result: 'fail', findings: [{ fix: expect.stringContaining('reset') }] });
    expect(born.findings[0]).not.toHaveProperty('remedy');
  });

  test('settings of the network count while the node runs, limits always', () => {
    const sysctls = { ...good.sysctls, 'net.ipv4.ip_forward': '0', 'fs.inotify.max_user_instances': '128' };
    expect(notOk({ ...good, sysctls }, 'sysctls')).toMatchObject([
      { result: 'fail', remedy: { do: 'sysctl', name: 'net.ipv4.ip_forward', value: '1' } },
      { result: 'warn', remedy: { do: 'sysctl', name: 'fs.inotify.max_user_instances', value: '512' } },
    ]);
    expect(notOk({ ...good, sysctls, running: false }, 'sysctls')).toHaveLength(1);
  });

  test('programs: what is missing is named with its package, an old one is told', () => {
    const programs = good.programs.map((one) =>
      one.name === 'runc'
        ? { ...one, path: undefined }
        : one.name === 'containerd'
          ? { ...one, version: 'containerd 1.4.13' }
          : one,
    );
    expect(notOk({ ...good, programs }, 'programs')).toMatchObject([
      { result: 'fail', text: 'not found on PATH: runc', fix: 'on Debian: apt-get install runc' },
      { result: 'warn', text: 'containerd 1.4 is older than 1.6' },
    ]);
    expect(report({ ...good, cniPlugins: { '/usr/lib/cni': ['bridge'] } }, 'cni-plugins')).toMatchObject({
      result: 'fail',
    });
  });

  test('what could not be found out is unknown, never ok', () => {
    const none = { unknown: 'EACCES' };
    const facts = {
      ...good,
      cgroups: none,
      modules: none,
      memory: none,
      listeners: none,
      tunnels: none,
      throttled: none,
      firewall: none,
    };
    const unknowns = examine(checks, facts, config).filter(({ result }) => result === 'unknown');
    expect(unknowns.map(({ id }) => id).sort()).toEqual(
      [
        'cgroup-version',
        'firewall',
        'kernel-modules',
        'memory',
        'memory-cgroup',
        'ports',
        'tunnel',
        'under-voltage',
      ].sort(),
    );
  });

  test('what stops a start is a part of the checks', () => {
    expect(preflightChecks.map(({ id }) => id)).toEqual(['root', 'programs', 'cni-plugins', 'node-address', 'ports']);
  });
});

describe('what the kernel and programs say', () => {
  test('modules: loaded, built in, loadable, missing', () => {
    expect(
      moduleStates({
        loaded: 'overlay 151552 0 - Live 0x0\n',
        fileSystems: 'nodev\tsysfs\n\tfuse\n',
        builtin: 'kernel/drivers/block/loop.ko\n',
        loadable:
          'kernel/net/bridge/br_netfilter.ko.xz: kernel/net/bridge/bridge.ko.xz\nkernel/drivers/block/rbd.ko: kernel/net/ceph/libceph.ko\n',
        config: '# CONFIG_CEPH_FS is not set\nCONFIG_VXLAN=y\nCONFIG_VETH=m\n',
      }),
    ).toEqual({
      overlay: 'loaded',
      fuse: 'builtin',
      loop: 'builtin',
      vxlan: 'builtin',
      br_netfilter: 'loadable',
      rbd: 'loadable',
      bridge: 'missing',
      ceph: 'missing',
      nf_tables: 'missing',
      veth: 'missing',
    });
  });

  test('memory: swap on a disk and compressed memory are told apart', () => {
    expect(
      memoryFacts(
        'MemTotal:         948280 kB\nMemFree: 1 kB\nMemAvailable:     612340 kB\n',
        'Filename\tType\tSize\tUsed\tPriority\n/var/swap file 204796 0 -2\n/dev/zram0 partition 474136 0 100\n',
      ),
    ).toEqual({
      totalBytes: 948280 * 1024,
      availableBytes: 612340 * 1024,
      diskSwapBytes: 204796 * 1024,
      zramBytes: 474136 * 1024,
    });
  });

  test('sockets: listening ones with address, connected ones not', () => {
    const line = (local: string, remote: string, state: string, inode: number) =>
      `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0 100 0 0 10 0`;
    const text = [
      '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
      line('0100007F:192B', '00000000:0000', '0A', 11),
      line('00000000:1F90', '00000000:0000', '0A', 12),
      line('0100007F:192B', '0100007F:C000', '01', 13),
    ].join('\n');
    expect(listeningSockets(text, 'tcp')).toEqual([
      { protocol: 'tcp', port: 6443, address: '127.0.0.1', inode: '11' },
      { protocol: 'tcp', port: 8080, address: '', inode: '12' },
    ]);
    expect(listeningSockets(`h\n${line('00000000:2118', '00000000:0000', '07', 14)}`, 'udp')).toHaveLength(1);
    expect(
      listeningSockets(
        `h\n${line('0000000000000000FFFF00000100007F:0050', `${'0'.repeat(32)}:0000`, '0A', 15)}`,
        'tcp',
      ),
    ).toEqual([{ protocol: 'tcp', port: 80, address: '127.0.0.1', inode: '15' }]);
  });

  /** As nftables 1.0.6 shows what iptables-nft has written. */
  const ruleset = (rules: object[], chains: object[] = []) => ({
    nftables: [
      { metainfo: { version: '1.0.6', json_schema_version: 1 } },
      { table: { family: 'ip', name: 'filter', handle: 1 } },
      {
        chain: {
          family: 'ip',
          table: 'filter',
          name: 'FORWARD',
          type: 'filter',
          hook: 'forward',
          prio: 0,
          policy: 'drop',
        },
      },
      ...chains.map((chain) => ({ chain: { family: 'ip', table: 'filter', ...chain } })),
      ...rules.map((expr) => ({ rule: { family: 'ip', table: 'filter', chain: 'DOCKER-USER', expr } })),
    ],
  });
  const from = (addr: string, len: number) => [
    { match: { op: '==', left: { payload: { protocol: 'ip', field: 'saddr' } }, right: { prefix: { addr, len } } } },
    { counter: { packets: 0, bytes: 0 } },
    { accept: null },
  ];

  test('nftables: a dropping chain, whose it is, and whether it lets the pods pass', () => {
    const docker = [{ name: 'DOCKER-USER' }];
    expect(droppingChains(ruleset([], docker), '10.42.0.0/16')).toEqual([
      { hook: 'forward', family: 'ip', table: 'filter', chain: 'FORWARD', owner: 'docker', letsPods: false },
    ]);
    expect(droppingChains(ruleset([from('10.42.0.0', 16)], docker), '10.42.0.0/16')[0]?.letsPods).toBe(true);
    expect(droppingChains(ruleset([from('10.0.0.0', 8)], docker), '10.42.0.0/16')[0]?.letsPods).toBe(true);
    expect(droppingChains(ruleset([from('10.42.0.0', 24)], docker), '10.42.0.0/16')[0]?.letsPods).toBe(false);
    expect(droppingChains(ruleset([], [...docker, { name: 'ufw-before-forward' }]), '10.42.0.0/16')[0]?.owner).toBe(
      'ufw',
    );
  });

  test('nftables: our own table, accepting chains and other families are left out', () => {
    const chain = (more: object) => ({
      nftables: [
        {
          chain: {
            family: 'inet',
            table: 't',
            name: 'c',
            type: 'filter',
            hook: 'forward',
            prio: 0,
            policy: 'drop',
            ...more,
          },
        },
      ],
    });
    expect(droppingChains(chain({}), '10.42.0.0/16')).toHaveLength(1);
    for (const more of [{ policy: 'accept' }, { table: 'appliance_1' }, { family: 'bridge' }, { hook: 'output' }])
      expect(droppingChains(chain(more), '10.42.0.0/16')).toEqual([]);
    for (const other of [null, {}, { nftables: 1 }, { nftables: [null, 1, { chain: 1 }] }])
      expect(() => droppingChains(other, '10.42.0.0/16')).not.toThrow(TypeError);
  });

  test('the old iptables', () => {
    const text = '-P INPUT ACCEPT\n-P FORWARD DROP\n-N DOCKER\n-A FORWARD -o docker0 -j DOCKER\n';
    expect(legacyForward(text, '10.42.0.0/16')).toMatchObject({ owner: 'docker', letsPods: false });
    expect(legacyForward(`${text}-A FORWARD -s 10.42.0.0/16 -m comment -j ACCEPT\n`, '10.42.0.0/16')?.letsPods).toBe(
      true,
    );
    expect(legacyForward('-P FORWARD ACCEPT\n', '10.42.0.0/16')).toBeUndefined();
  });

  test('an external Ceph cluster: not asked for where there is none, unreachable, another one', () => {
    expect(examine(checks, good, config).map(({ id }) => id)).not.toContain('external-ceph');
    const external = configOf(
      'storage: {engine: external}\nexternalCeph: {monHosts: [10.0.0.5], key: AQCvIihlAAAAABAAfMGxp1ZF1lOPIp0TLPDQpg==}',
    );
    const found = (fsid: Facts['externalCeph']): Finding =>
      examine(checks, { ...good, externalCeph: fsid }, external).find(({ id }) => id === 'external-ceph')!.findings[0]!;
    expect(found('abc')).toEqual({ result: 'ok', text: '10.0.0.5: answers as abc' });
    expect(found('xyz')).toMatchObject({ result: 'fail', text: expect.stringContaining('volumes are on abc') });
    expect(found({ unknown: 'the Ceph cluster at 10.0.0.5 does not take client.admin: no answer' })).toMatchObject({
      result: 'fail',
      text: expect.stringContaining('does not take client.admin'),
      fix: expect.stringContaining('ceph mon dump'),
    });
  });

  test('percentiles by nearest rank', () => {
    expect(percentile([3, 1, 2], 0.99)).toBe(3);
    expect(percentile([...Array(99).fill(1), 9], 0.99)).toBe(1);
    expect(percentile([], 0.5)).toBe(0);
  });
});

describe('this machine', () => {
  test('every fact can be collected, and every check has an answer', async () => {
    const own = configOf('dataDir: /tmp/doctor-test\nrunDir: /tmp/doctor-test-run\nroles: [server, agent]');
    const names = new Set(checks.flatMap(({ needs }) => needs) satisfies FactName[]);
    expect([...names].sort()).toEqual(Object.keys(good).sort());
    const facts = await collectFacts(names, { config: own, builtMs: undefined });
    const reports = examine(checks, facts, own);
    expect(reports.map(({ id }) => id)).toContain('kernel-modules');
    for (const { findings } of reports)
      for (const { text } of findings) expect(text).not.toMatch(/undefined|NaN|\[object/);
  }, 60_000);
});
