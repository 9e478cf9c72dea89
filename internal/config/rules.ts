import { cidrContains, cidrsOverlap, parseCidr } from './cidr.ts';
import { type Config, type KeyPath, type RoleName, unallocatedOsd, valueAt } from './config.ts';
import { keyPaths, keys, type MachineFacts, osdPlace, writtenForm } from './keys.ts';

/** Tells a mistake at a key, or inside of its value: `problem('storage.osd', 'expected …', 1, 'id')`. */
export type TellProblem = (path: KeyPath, message: string, ...inside: (string | number)[]) => void;

export interface AboutKeys {
  readonly facts: MachineFacts;
  /** Somebody wrote the key. */
  isSet(path: KeyPath): boolean;
  /** Somebody wrote the key, and something else than its default: a file with every key in it, as `config show` prints it, is right on the node that it is of. */
  departs(path: KeyPath): boolean;
}

/** A rule that spans keys. It is left out when one of the keys that it reads is wrong by itself. */
export interface Rule {
  readonly reads: readonly KeyPath[];
  check(config: Config, problem: TellProblem, about: AboutKeys): void;
}

/** Roles that are nothing without another one: on the same node, or on others of a cluster that this node joins. */
const companions: readonly { role: RoleName; needs: RoleName }[] = [
  { role: 'agent', needs: 'server' },
  { role: 'mgr', needs: 'mon' },
  { role: 'osd', needs: 'mon' },
  { role: 'mds', needs: 'mon' },
  { role: 'rgw', needs: 'mon' },
];

/** What a joining mgr's key is made with: who has one of these has all keys of the storage. */
const besideMgr: readonly RoleName[] = ['server', 'mon'];

/** A token that opens the cluster's keys, in K3s' form (`internal/pki/token.ts`). */
const serverToken = /^K10[0-9a-f]{64}::server:/;

/** Keys whose row names a role are refused on a node that does not have it. */
const uselessKeys: readonly Rule[] = keyPaths.flatMap((path) => {
  const { role } = keys[path];
  if (role === undefined) return [];
  return [
    {
      reads: ['roles', path],
      check: ({ roles }, problem, { departs }) => {
        if (departs(path) && !roles.includes(role))
          problem(path, `expected nothing: it has no effect because roles does not have ${role}`);
      },
    } satisfies Rule,
  ];
});

/** What every machine has for many programs: nothing of it may be taken for the node alone. */
const systemDirectories: ReadonlySet<string> = new Set(
  [
    ['bin', 'boot', 'dev', 'etc', 'home', 'lib', 'lib64', 'media', 'mnt', 'opt', 'proc', 'root', 'run', 'sbin', 'srv'],
    ['sys', 'tmp', 'usr', 'var', 'dev/shm', 'etc/appliance', 'run/lock', 'run/systemd', 'run/user', 'usr/bin'],
    ['usr/lib', 'usr/local', 'usr/local/bin', 'usr/sbin', 'usr/share', 'var/backups', 'var/cache', 'var/lib'],
    ['var/lock', 'var/log', 'var/mail', 'var/run', 'var/spool', 'var/tmp'],
  ]
    .flat()
    .map((name) => `/${name}`),
);

const ofExternal = keyPaths.filter((path) => path.startsWith('externalCeph.'));

/** What belongs to one engine means nothing, or something dangerous, with another. */
const engineRules: readonly Rule[] = [
  {
    reads: ['storage.engine', 'roles'],
    check: ({ storage: { engine }, roles }, problem, { isSet }) => {
      if (engine !== 'external') return;
      roles.forEach((role, index) => {
        if (!isSet('roles') || role === 'server' || role === 'agent') return;
        problem('roles', `expected no ${role}: with storage.engine external the storage is somebody else's`, index);
      });
    },
  },
  {
    reads: ['storage.engine', 'externalCeph.monHosts', 'externalCeph.key', 'externalCeph.keyFile'],
    check: ({ storage: { engine }, externalCeph: { monHosts, key, keyFile } }, problem, { facts }) => {
      // A node that joined is told by its servers.
      if (engine !== 'external' || facts.joined) return;
      if (monHosts.length === 0)
        problem('externalCeph.monHosts', 'expected the addresses of its monitors beside storage.engine external');
      if (key === undefined && keyFile === undefined)
        problem('externalCeph.keyFile', "expected the Ceph user's key in key or keyFile, got neither");
      if (key !== undefined && keyFile !== undefined)
        problem('externalCeph.keyFile', "expected the Ceph user's key in key or keyFile, got both");
    },
  },
  {
    reads: ['storage.engine', 'roles'],
    check: ({ storage: { engine }, roles }, problem, { facts }) => {
      roles.forEach((role, index) => {
        if ((role === 'mds' || role === 'rgw') && engine === 'embedded')
          problem('roles', `expected no ${role}: this version has it with storage.engine ceph only`, index);
        if ((role === 'mds' || role === 'rgw') && engine === 'ceph' && facts.joined)
          problem(
            'roles',
            `expected no ${role}: with storage.engine ceph it is on the machine that made the cluster`,
            index,
          );
      });
    },
  },
  ...(['memory.osd', 'memory.mon'] as const).map(
    (path): Rule => ({
      reads: ['storage.engine', path],
      check: ({ storage: { engine }, memory }, problem) => {
        const [role, least] = path === 'memory.osd' ? (['osd', 1280] as const) : (['mon', 768] as const);
        if (engine === 'ceph' && memory[role] !== 0 && memory[role] < least * 2 ** 20)
          problem(
            path,
            `expected at least ${least}Mi, or none, with storage.engine ceph: a ceph-${role} is not made for less`,
          );
      },
    }),
  ),
  ...ofExternal.map(
    (path): Rule => ({
      reads: ['storage.engine', path],
      check: ({ storage: { engine } }, problem, { facts, departs }) => {
        if (!departs(path)) return;
        if (engine !== 'external')
          problem(path, `expected nothing: it has no effect because storage.engine is ${engine}, not external`);
        else if (facts.joined) problem(path, 'expected nothing: a node that joined is told by its servers');
      },
    }),
  ),
  ...(['storage.replication', 'storage.failureDomain'] as const).map(
    (path): Rule => ({
      reads: ['storage.engine', path],
      check: ({ storage: { engine } }, problem, { departs }) => {
        if (engine === 'external' && departs(path))
          problem(path, 'expected nothing: with storage.engine external that cluster says how it keeps its pools');
      },
    }),
  ),
  {
    reads: ['storage.engine', 'storage.auth'],
    check: ({ storage: { engine } }, problem, { facts, departs }) => {
      if (!departs('storage.auth')) return;
      if (engine !== 'embedded') problem('storage.auth', `expected nothing: with storage.engine ${engine} it is cephx`);
      else if (facts.joined) problem('storage.auth', 'expected nothing: a node that joined is told by its servers');
    },
  },
];

export const rules: readonly Rule[] = [
  {
    reads: ['roles', 'server', 'token'],
    check: ({ roles, server, token }, problem, { facts, isSet }) => {
      const joins =
        facts.joined !== undefined ||
        facts.joining === true ||
        server !== undefined ||
        (token !== undefined && !roles.includes('server'));
      roles.forEach((role, index) => {
        if (joins) {
          // Roles that nobody has named are those that fit.
          if (isSet('roles') && role === 'mgr' && !besideMgr.some((one) => roles.includes(one)))
            problem('roles', `expected server or mon beside mgr on a node that joins a cluster`, index);
          return;
        }
        const needs = companions.find((one) => one.role === role)?.needs;
        if (needs !== undefined && !roles.includes(needs))
          problem(
            'roles',
            `expected ${needs} beside ${role}, or a cluster that this node has joined: \`appliance join <token>\` does that`,
            index,
          );
      });
    },
  },
  {
    // Else the node would make a cluster of its own, or wait for one for ever.
    reads: ['roles', 'server', 'token'],
    check: ({ roles, server, token }, problem, { facts, isSet }) => {
      if (facts.joined || server === undefined) return;
      if (token === undefined)
        problem('server', 'expected a token beside it, or a node that has joined: `appliance join <token>` does that');
      else if (isSet('roles') && !serverToken.test(token)) {
        const role = (['server', 'mon'] as const).find((one) => roles.includes(one));
        if (role !== undefined)
          problem(
            'token',
            `this token lets a machine join as an agent, not as a ${role}; expected one of \`appliance token create --role server\`, because roles has ${role}`,
          );
      }
    },
  },
  ...keyPaths.flatMap((path): Rule[] => {
    const ofCluster = keys[path].joined;
    // What a node may run is its own.
    if (!ofCluster || path === 'roles' || path === 'ports.dns') return [];
    return [
      {
        reads: [path],
        check: (config, problem, { facts }) => {
          if (!facts.joined) return;
          const expected = writtenForm(path, ofCluster(facts.joined));
          if (String(writtenForm(path, valueAt(config, path))) !== String(expected))
            problem(path, `expected ${expected}, as in its cluster; leave the key away`);
        },
      },
    ];
  }),
  {
    // Under another name its Node and pods would be left behind, and its OSDs would be another host's.
    reads: ['node.name'],
    check: ({ node }, problem, { facts: { joined, keptName } }) => {
      if (joined === undefined && keptName !== undefined && node.name !== keptName)
        problem('node.name', `expected ${keptName}, as since the first start of this node; leave the key away`);
    },
  },
  {
    reads: ['roles'],
    check: ({ roles }, problem) => {
      roles.forEach((role, index) => {
        if (roles.indexOf(role) !== index) problem('roles', `expected each role once, ${role} is there twice`, index);
      });
    },
  },
  ...(['cluster.podCIDR', 'cluster.serviceCIDR'] as const).map(
    (path): Rule => ({
      reads: [path],
      check: ({ cluster }, problem) => {
        const { prefix } = parseCidr(path === 'cluster.podCIDR' ? cluster.podCIDR : cluster.serviceCIDR);
        if (prefix > 24) problem(path, `expected a /24 or larger, got /${prefix}`);
      },
    }),
  ),
  {
    reads: ['cluster.podCIDR', 'cluster.serviceCIDR'],
    check: ({ cluster: { podCIDR, serviceCIDR } }, problem, { isSet }) => {
      if (cidrsOverlap(parseCidr(podCIDR), parseCidr(serviceCIDR)))
        if (isSet('cluster.serviceCIDR'))
          problem('cluster.serviceCIDR', `expected no overlap with podCIDR ${podCIDR}, got ${serviceCIDR}`);
        else problem('cluster.podCIDR', `expected no overlap with serviceCIDR ${serviceCIDR}, got ${podCIDR}`);
    },
  },
  {
    reads: ['cluster.serviceCIDR', 'cluster.dnsIP'],
    check: ({ cluster: { serviceCIDR, dnsIP } }, problem) => {
      if (!cidrContains(parseCidr(serviceCIDR), dnsIP))
        problem('cluster.dnsIP', `expected an address in serviceCIDR ${serviceCIDR}, got ${dnsIP}`);
    },
  },
  {
    reads: [
      ...(['ports.api', 'ports.kubelet', 'ports.mon', 'ports.ceph', 'ports.dns', 'ports.prometheus'] as const),
      ...(['ports.etcd', 'ports.etcdPeer', 'ports.monPeer', 'ports.rgw'] as const),
    ],
    check: ({ ports }, problem, { isSet }) => {
      const names = Object.keys(ports) as (keyof Config['ports'])[];
      for (const [index, name] of names.entries())
        for (const other of names.slice(0, index))
          if (ports[name] === ports[other]) {
            const [told, taken] = isSet(`ports.${name}`) ? [name, other] : [other, name];
            problem(`ports.${told}`, `expected a port of its own, ${ports[told]} is ports.${taken}`);
          }
    },
  },
  {
    reads: ['datastore', 'datastoreTls.caFile', 'datastoreTls.certFile', 'datastoreTls.keyFile'],
    check: ({ datastoreTls: { caFile, certFile, keyFile }, datastore }, problem) => {
      if ((certFile === undefined) !== (keyFile === undefined))
        problem(
          certFile === undefined ? 'datastoreTls.certFile' : 'datastoreTls.keyFile',
          'expected certFile and keyFile together, got one of them',
        );
      if (datastore === undefined && (caFile ?? certFile ?? keyFile) !== undefined)
        problem('datastore', 'expected an etcd for datastoreTls, got nothing');
    },
  },
  {
    reads: ['snapshots.s3', 'snapshots.s3AccessKey', 'snapshots.s3SecretKey'],
    check: ({ snapshots: { s3, s3AccessKey, s3SecretKey } }, problem) => {
      if (s3 !== undefined && (s3AccessKey === undefined || s3SecretKey === undefined))
        problem(
          s3AccessKey === undefined ? 'snapshots.s3AccessKey' : 'snapshots.s3SecretKey',
          'expected the keys of the bucket, got nothing',
        );
    },
  },
  {
    reads: ['datastore', 'compaction.keepMinutes', 'compaction.keepRevisions'],
    check: ({ datastore, compaction: { keepMinutes, keepRevisions } }, problem) => {
      if (keepMinutes > 0 && keepRevisions > 0)
        problem('compaction.keepRevisions', 'expected either keepMinutes or keepRevisions, got both');
      if (datastore !== undefined && keepMinutes + keepRevisions > 0)
        problem(
          keepMinutes > 0 ? 'compaction.keepMinutes' : 'compaction.keepRevisions',
          'expected nothing beside datastore: give that etcd --auto-compaction-mode',
        );
    },
  },
  {
    reads: ['dataDir', 'runDir'],
    check: ({ dataDir, runDir }, problem, { isSet }) => {
      const told = isSet('runDir') ? 'runDir' : 'dataDir';
      if (`${runDir}/`.startsWith(`${dataDir}/`) && runDir.length <= dataDir.length)
        problem(told, `expected runDir and dataDir to differ, got ${runDir} for both`);
      if (`${dataDir}/`.startsWith(`${runDir}/`) && dataDir !== runDir)
        problem(told, `expected dataDir outside of runDir, which is removed at a stop; got ${dataDir} in ${runDir}`);
      if (dataDir === '/' || systemDirectories.has(dataDir))
        problem(
          'dataDir',
          `expected a directory of the node's own, because its owner and mode are set and a reset empties it; ${dataDir} is for other programs, too: ${dataDir === '/' ? '' : dataDir}/appliance would do`,
        );
      else if (/^\/(dev|proc|run|sys)\//.test(dataDir))
        problem('dataDir', `expected a directory that outlives a reboot, got ${dataDir}`);
      if (runDir === '/' || systemDirectories.has(runDir))
        problem('runDir', `expected a directory of its own, which is removed at a stop, got ${runDir}`);
    },
  },
  {
    reads: ['roles', 'storage.osd'],
    check: ({ roles, storage: { osd } }, problem) => {
      if (!roles.includes('osd')) return;
      if (osd.length === 0)
        problem('storage.osd', 'expected at least one OSD because roles has osd, got an empty list');
      osd.forEach((entry, index) => {
        const before = osd.slice(0, index);
        if (entry.id !== unallocatedOsd && before.some((other) => other.id === entry.id))
          problem('storage.osd', `expected a free id, ${entry.id} is taken`, index, 'id');
        const place = osdPlace(entry);
        if (before.some((other) => osdPlace(other) === place))
          problem('storage.osd', `expected a place of its own, ${place} is there twice`, index);
      });
    },
  },
  {
    reads: ['roles', 'storage.osd', 'storage.replication'],
    check: ({ roles, storage: { osd, replication } }, problem, { facts }) => {
      // Who joins does not know how many the others have.
      if (facts.joined !== undefined || facts.joining === true) return;
      if (roles.includes('osd') && roles.includes('mon') && osd.length > 0 && replication > osd.length)
        problem(
          'storage.replication',
          `expected at most the number of OSDs, ${osd.length}: each copy is on another one; got ${replication}`,
        );
    },
  },
  ...engineRules,
  ...uselessKeys,
];
