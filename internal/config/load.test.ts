import { describe, expect, test } from 'vitest';
import { seededRandom } from '../base/random.ts';
import type { JoinedCluster } from './config.ts';
import type { MachineFacts } from './keys.ts';
import { ConfigError, effectiveConfig } from './load.ts';
import { parseSize } from './values.ts';

const facts = { hostname: 'Pi-4.local', ip: '192.168.1.4', freeBytes: 100 * 2 ** 30 };
const load = (text: string, more: Partial<MachineFacts> = {}) =>
  effectiveConfig(text, 'appliance.yaml', { ...facts, ...more });
const cephKey = 'AQCvIihlAAAAABAAfMGxp1ZF1lOPIp0TLPDQpg==';
const agentToken = `K10${'0'.repeat(64)}::node:abcdef.${'0'.repeat(32)}`;
const problems = (text: string, more: Partial<MachineFacts> = {}): string => {
  try {
    load(text, more);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error('was accepted');
};

describe('config', () => {
  test('what has no effect may stand there at its default, as `config show` prints it', () => {
    const text = `roles: [agent]\nmdns: true\nserver: https://192.0.2.1:6443\ntoken: ${agentToken}\nexternalCeph: {monHosts: [], user: admin}`;
    expect(load(text).mdns).toBe(true);
  });

  test('a file without keys is one node with every role and three OSDs that fit on the disk', () => {
    const config = load('# all default');
    expect(config.node).toEqual({ name: 'pi-4', ip: '192.168.1.4', labels: {}, taints: [] });
    expect(config.roles).toEqual(['server', 'agent', 'mon', 'mgr', 'osd']);
    expect(config.storage.osd).toEqual(
      [0, 1, 2].map((id) => ({ id, file: `/var/lib/appliance/osd/osd.${id}.img`, size: 20 * 2 ** 30 })),
    );
    expect(config.storage.replication).toBe(3);
    expect(config.cluster.dnsIP).toBe('10.43.0.10');
  });

  test('a byte-order mark and CRLF are tolerated', () => {
    expect(load('\uFEFFnode:\r\n  name: a\r\n').node.name).toBe('a');
  });

  test.each([
    ['nod:\n  name: a', 'appliance.yaml:1:1: nod: unknown key; did you mean node?'],
    ['node:\n  nmae: a', 'appliance.yaml:2:3: node.nmae: unknown key; did you mean name?'],
    [
      'compaction:\n  keepMinutes: 60\n  keepRevisions: 1000',
      'appliance.yaml:3:3: compaction.keepRevisions: expected either keepMinutes or keepRevisions, got both',
    ],
    [
      'datastore: etcd://10.0.0.5:2379\ncompaction:\n  keepMinutes: 60',
      'appliance.yaml:3:3: compaction.keepMinutes: expected nothing beside datastore: give that etcd --auto-compaction-mode',
    ],
    [
      'cluster:\n  podCIDR: 10.42.0.0',
      'appliance.yaml:2:3: cluster.podCIDR: expected an IPv4 network such as 10.42.0.0/16',
    ],
    [
      'cluster:\n  podCIDR: 10.43.128.0/24',
      'appliance.yaml:2:3: cluster.podCIDR: expected no overlap with serviceCIDR 10.43.0.0/16, got 10.43.128.0/24',
    ],
    [
      'cluster:\n  dnsIP: 10.9.0.1',
      'appliance.yaml:2:3: cluster.dnsIP: expected an address in serviceCIDR 10.43.0.0/16',
    ],
    ['storage:\n  osd: []', 'storage.osd: expected at least one OSD because roles has osd'],
    [
      'storage:\n  osd:\n  - {id: 1, file: /a, size: 1Gi}\n  - {id: 1, file: /b, size: 1Gi}',
      'appliance.yaml:4:6: storage.osd[1].id: expected a free id, 1 is taken',
    ],
    [
      'storage:\n  osd:\n  - {}',
      'storage.osd[0]: expected exactly one of file, directory, device and serial, got none',
    ],
    ['storage:\n  osd:\n  - {file: /a, size: 1Mi}', 'storage.osd[0].size: expected at least 512Mi'],
    ['roles: [agent]', 'appliance.yaml:1:9: roles[0]: expected server beside agent'],
    ['roles: [server, mgr, osd]', 'appliance.yaml:1:17: roles[1]: expected mon beside mgr'],
    ['roles: [server, mgr, osd]', 'appliance.yaml:1:22: roles[2]: expected mon beside osd'],
    [
      `roles:\n- agent\n- mon\nserver: https://10.0.0.5:6443\ntoken: ${agentToken}`,
      'appliance.yaml:5:1: token: this token lets a machine join as an agent, not as a mon; expected one of `appliance token create --role server`, because roles has mon',
    ],
    [
      `roles: [agent, mgr]\ntoken: ${agentToken}`,
      'appliance.yaml:1:16: roles[1]: expected server or mon beside mgr on a node that joins a cluster',
    ],
    [
      'roles: [agent]\nserver: https://10.0.0.5:6443',
      'appliance.yaml:2:1: server: expected a token beside it, or a node that has joined: `appliance join <token>` does that',
    ],
    [
      `roles: [server, agent]\nserver: https://10.0.0.5:6443\ntoken: ${agentToken}`,
      'appliance.yaml:3:1: token: this token lets a machine join as an agent, not as a server; expected one of `appliance token create --role server`, because roles has server',
    ],
    [
      // It would make a cluster of its own, silently.
      'roles: [server, agent]\nserver: https://10.0.0.5:6443\ntoken: a-secret-of-ours',
      'appliance.yaml:3:1: token: this token lets a machine join as an agent, not as a server',
    ],
    ['storage: {replication: 5}', 'storage.replication: expected at most the number of OSDs, 3'],
    [
      'storage: {engine: external}',
      'appliance.yaml:1:11: externalCeph.monHosts: expected the addresses of its monitors beside storage.engine external',
    ],
    [
      'storage: {engine: external}\nexternalCeph: {monHosts: [10.0.0.5]}',
      "externalCeph.keyFile: expected the Ceph user's key in key or keyFile, got neither",
    ],
    [
      `storage: {engine: external}\nexternalCeph: {monHosts: [10.0.0.5], keyFile: /k, key: ${cephKey}}`,
      "appliance.yaml:2:38: externalCeph.keyFile: expected the Ceph user's key in key or keyFile, got both",
    ],
    [
      'roles: [server, agent, osd]\nstorage: {engine: external}',
      "appliance.yaml:1:24: roles[2]: expected no osd: with storage.engine external the storage is somebody else's",
    ],
    [
      'storage: {engine: external, replication: 2}',
      'appliance.yaml:1:29: storage.replication: expected nothing: with storage.engine external',
    ],
    [
      'externalCeph: {user: kubernetes}',
      'appliance.yaml:1:16: externalCeph.user: expected nothing: it has no effect because storage.engine is embedded, not external',
    ],
    [
      'externalCeph: {monHosts: [10.0.0.5:0]}',
      'externalCeph.monHosts[0]: expected the address of a monitor such as 192.168.1.20:3300, got "10.0.0.5:0"',
    ],
    ['externalCeph: {key: secret}', 'externalCeph.key: expected a key as `ceph auth get-key` prints it'],
    ['storage: {engine: rook}', 'storage.engine: expected an engine of this version'],
    ['roles: [server, server]', 'appliance.yaml:1:17: roles[1]: expected each role once'],
    ['node: [', 'appliance.yaml:1:8: expected the closing ] of what began with ['],
    ['node:\n  labels: {a: b\nroles: [mon]', 'appliance.yaml:3:1: expected the closing } of what began with {'],
    ['a: 1\na: 2', 'appliance.yaml:2:1: this key is there twice'],
    ['dataDir: var', 'expected an absolute path'],
    ['runDir: /tmp', 'appliance.yaml:1:1: runDir: expected a directory of its own'],
    ['runDir: /var/run', 'runDir: expected a directory of its own'],
    ['dataDir: /', "dataDir: expected a directory of the node's own"],
    ['dataDir: /home', '/home is for other programs, too: /home/appliance would do'],
    ['dataDir: //tmp/x/../', '/tmp is for other programs'],
    ['dataDir: /run/appliance-data', 'dataDir: expected a directory that outlives a reboot'],
    ['runDir: /tmp/', 'runDir: expected a directory of its own'],
    ['runDir: /', 'runDir: expected a directory of its own'],
    ['ports: {api: 70000}', 'ports.api'],
  ])('%j is refused with its place', (text, expected) => {
    expect(problems(text)).toContain(expected);
  });

  describe('a node that joins, or has', () => {
    const joined: JoinedCluster = {
      format: 1,
      node: 'pi-4',
      roles: ['agent'],
      caHash: '0'.repeat(64),
      cluster: load('# all default').cluster,
      ports: { dns: 10053 },
    };

    test.each<[string, Partial<MachineFacts>]>([
      ['roles: [server, agent, osd]', { joined }],
      ['roles: [agent, osd]', { joining: true }],
      [`server: https://10.0.0.5:6443\ntoken: ${agentToken}`, {}],
      [`roles: [agent]\nserver: https://10.0.0.5:6443\ntoken: a-secret-of-ours`, {}],
      [
        `roles: [server, agent]\nserver: https://10.0.0.5:6443\ntoken: ${agentToken.replace('::node:', '::server:')}`,
        {},
      ],
      ['server: https://10.0.0.5:6443', { joined }],
    ])('%j is accepted', (text, more) => {
      expect(() => load(text, more)).not.toThrow();
    });

    test.each<[Partial<MachineFacts>]>([[{ joined }], [{ joining: true }]])(
      '%j: a mgr may join beside what has the keys of the storage, else it is refused, with its place',
      (more) => {
        expect(() => load('roles: [server, mgr]', more)).not.toThrow();
        expect(() => load('roles: [mon, mgr]', more)).not.toThrow();
        expect(problems('roles: [agent, mgr]', more).split('\n')).toEqual([
          'appliance.yaml:1:16: roles[1]: expected server or mon beside mgr on a node that joins a cluster',
        ]);
      },
    );
  });

  test('with an external Ceph cluster a node has the roles that are left, and no OSDs', () => {
    const config = load(
      `storage: {engine: external}\nexternalCeph: {monHosts: ['10.0.0.5:3300', 10.0.0.6], user: kubernetes, key: ${cephKey}}`,
    );
    expect(config.roles).toEqual(['server', 'agent']);
    expect(config.storage.osd).toEqual([]);
    expect(config.externalCeph).toEqual({
      monHosts: ['10.0.0.5:3300', '10.0.0.6'],
      user: 'kubernetes',
      key: cephKey,
      pool: 'replicapool',
    });
  });

  test('an mds and an rgw are there with the engine ceph only, on the machine that makes the cluster', () => {
    const withBoth = 'roles: [server, mon, mgr, osd, mds, rgw]\nstorage: {engine: ceph}\n';
    expect(load(withBoth).ports.rgw).toBe(7480);
    expect(problems(withBoth.replace('engine: ceph', ''))).toBe(
      'appliance.yaml:1:32: roles[4]: expected no mds: this version has it with storage.engine ceph only\n' +
        'appliance.yaml:1:37: roles[5]: expected no rgw: this version has it with storage.engine ceph only',
    );
    expect(problems('roles: [server, mds]\nstorage: {engine: ceph}\n')).toContain('expected mon beside mds');
    expect(problems('memory: {mds: 2Gi}\nstorage: {engine: ceph}\n')).toContain('because roles does not have mds');
    const joined: JoinedCluster = {
      format: 1,
      node: 'pi-4',
      roles: ['agent', 'osd'],
      caHash: 'x',
      cluster: load('#').cluster,
      ports: { dns: 10_053 },
      ceph: { fsid: 'f', monHosts: [], engine: 'ceph' },
    };
    expect(load('roles: [agent, osd]', { joined }).storage.osd).toHaveLength(1);
    expect(() => load('roles: [server, mon, mgr]', { joined })).not.toThrow();
    for (const role of ['mds', 'rgw'])
      expect(problems(`roles: [server, ${role}]`, { joined })).toContain(
        `expected no ${role}: with storage.engine ceph it is on the machine that made the cluster`,
      );
  });

  test('an OSD file that is there keeps its size, however full the disk around it is by now', () => {
    const full = {
      ...facts,
      freeBytes: 2 ** 30,
      fileBytes: (file: string) => (file === '/a' ? 20 * 2 ** 30 : undefined),
    };
    const sizes = (text: string) =>
      effectiveConfig(text, 'f', full).storage.osd.map((osd) => 'size' in osd && osd.size);
    expect(sizes('storage: {osd: [{file: /a}, {file: /b}]}')).toEqual([20 * 2 ** 30, 2 ** 30]);
    expect(sizes('storage: {osd: [{file: /a, size: 30Gi}]}')).toEqual([30 * 2 ** 30]);
  });

  test('of a node that has started nothing follows what drifts: the host name, the free space', () => {
    const files = new Map<string, number>();
    const started: MachineFacts = { ...facts, keptName: 'pi-4', fileBytes: (file) => files.get(file) };
    const text = 'storage: {osd: [{file: /a}, {directory: /b}, {device: /dev/sda}, {file: /c, size: 3Gi}]}';
    const of = (more: Partial<MachineFacts>) => ['# defaults', text].map((one) => load(one, { ...started, ...more }));
    const first = of({});
    for (const { storage } of first) for (const osd of storage.osd) if ('file' in osd) files.set(osd.file, osd.size);
    for (const freeBytes of [0, 2 ** 31, 2 ** 43])
      for (const hostname of ['', 'localhost', 'Pi-4', 'other.example'])
        expect(of({ freeBytes, hostname })).toEqual(first);
  });

  test('sizes', () => {
    expect(parseSize('10Gi')).toBe(10 * 2 ** 30);
    expect(parseSize('1.5G')).toBe(1.5e9);
    expect(parseSize(4096)).toBe(4096);
    expect(parseSize('ten')).toBeUndefined();
  });

  test('fuzz: damaged files are refused, never a crash', () => {
    const random = seededRandom(Number(process.env.FUZZ_SEED ?? 1));
    const base =
      'node:\n  name: a\n  labels: {x: y}\nroles: [server, mon, osd]\nstorage:\n  osd:\n  - {id: 0, file: /a, size: 1Gi}\ncluster: {podCIDR: 10.42.0.0/16}\n';
    for (let round = 0; round < Number(process.env.FUZZ_ROUNDS ?? 2000); round++) {
      const bytes = Buffer.from(base);
      for (let i = 0; i <= random.uint32() % 8; i++) bytes[random.uint32() % bytes.length] = random.uint32() & 0xff;
      const text = bytes.subarray(0, random.uint32() % (bytes.length + 1)).toString('utf8');
      try {
        load(text);
      } catch (error) {
        if (!(error instanceof ConfigError))
          throw new Error(`seed round ${round}: ${JSON.stringify(text)}`, { cause: error });
      }
    }
  });

  test('an alias bomb is refused in bounded time', () => {
    let text = 'a0: &a0 [x,x,x,x,x,x,x,x,x]\n';
    for (let i = 1; i < 30; i++)
      text += `a${i}: &a${i} [${Array(9)
        .fill(`*a${i - 1}`)
        .join(',')}]\n`;
    expect(problems(text)).toContain('appliance.yaml:');
  });
});
