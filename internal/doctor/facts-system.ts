import { lookup } from 'node:dns/promises';
import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { hostname, machine, release } from 'node:os';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { silentLogger } from '../base/log.ts';
import { systemClock, systemRandom } from '../base/system.ts';
import { knownFsid } from '../ceph/client/ceph-conf-system.ts';
import { askExternalCluster } from '../ceph/engine/external-client.ts';
import { runCommand } from '../base/command-system.ts';
import { errorText } from '../base/errors.ts';
import { readFileIfThere } from '../base/files-system.ts';
import { listMounts } from '../base/mounts-system.ts';
import type { Config } from '../config/config.ts';
import { machineAddresses } from '../config/machine-system.ts';
import { nodePaths } from '../config/paths.ts';
import { neededPlugins, neededPrograms } from './checks/programs.ts';
import { timeFacts } from './clock-system.ts';
import { diskFacts } from './disks-system.ts';
import type {
  CardFact,
  Cgroups,
  DroppingChain,
  Fact,
  FactName,
  Facts,
  Listener,
  MachineInfo,
  ModuleState,
  ProgramFact,
  SpaceFact,
  TunnelDevice,
} from './facts.ts';
import { droppingChains, legacyForward, listeningSockets, memoryFacts, moduleStates, roleRunDir } from './parse.ts';
import { existing, syncFacts } from './sync-probe-system.ts';

/** Reads what a machine is like. Changes nothing, but for a small file that `sync` writes and removes again. */

export interface CollectOptions {
  readonly config: Config;
  /** When this program was made. */
  readonly builtMs: number | undefined;
}

type Collectors = { readonly [F in FactName]: (options: CollectOptions) => Facts[F] | Promise<Facts[F]> };

const text = (path: string): string => {
  try {
    return readFileIfThere(path) ?? '';
  } catch {
    // Not for us to read: as if it were not there.
    return '';
  }
};

async function attempt<T>(work: () => T | Promise<T>): Promise<Fact<T>> {
  try {
    return await work();
  } catch (error) {
    return { unknown: errorText(error) };
  }
}

function machineInfo(): MachineInfo {
  return {
    architecture: machine(),
    kernel: release(),
    model: text('/proc/device-tree/model').replaceAll('\0', '').trim(),
    commandLineFile: ['/boot/firmware/cmdline.txt', '/boot/cmdline.txt'].find((path) => existsSync(path)),
    commandLine: text('/proc/cmdline').trim(),
    root: process.getuid?.() === 0,
  };
}

function cgroups(): Cgroups {
  const unified = text('/sys/fs/cgroup/cgroup.controllers').trim();
  if (existsSync('/sys/fs/cgroup/cgroup.controllers'))
    return { version: 2, controllers: unified.split(/\s+/).filter((name) => name !== '') };
  const controllers = text('/proc/cgroups')
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .map((line) => line.split('\t'))
    .filter(([name, , , enabled]) => enabled === '1' && name && existsSync(`/sys/fs/cgroup/${name}`))
    .map(([name]) => name!);
  if (controllers.length === 0) return { version: 'none', controllers };
  return { version: existsSync('/sys/fs/cgroup/unified/cgroup.controllers') ? 'hybrid' : 1, controllers };
}

function modules(): Record<string, ModuleState> {
  const directory = `/lib/modules/${release()}`;
  const packed = '/proc/config.gz';
  const config = existsSync(packed)
    ? gunzipSync(readFileSync(packed), { maxOutputLength: 8 << 20 }).toString()
    : text(`/boot/config-${release()}`);
  return moduleStates({
    loaded: text('/proc/modules'),
    fileSystems: text('/proc/filesystems'),
    builtin: text(`${directory}/modules.builtin`),
    loadable: text(`${directory}/modules.dep`),
    config,
  });
}

/** The type of the file system that a path without symbolic links is on: that of the longest mount point above it. */
function fileSystemOf(path: string): string {
  const above = listMounts().filter(({ target }) => target === '/' || path === target || path.startsWith(`${target}/`));
  return above.reduce((best, one) => (one.target.length >= best.target.length ? one : best), above[0]!).type;
}

async function space(config: Config): Promise<SpaceFact[]> {
  const files = config.storage.osd.flatMap((osd) => ('file' in osd ? [dirname(osd.file)] : []));
  const places = [
    { what: 'data directory', path: config.dataDir },
    ...(files[0] === undefined ? [] : [{ what: 'OSD files', path: files[0] }]),
    ...config.storage.osd.flatMap((osd) =>
      'directory' in osd ? [{ what: `osd.${osd.id}`, path: osd.directory }] : [],
    ),
  ];
  return Promise.all(
    places.map(async ({ path, what }) => {
      const { bavail, blocks, bsize, ffree, files: inodes } = await statfs(existing(path));
      return {
        what,
        path,
        type: fileSystemOf(realpathSync(existing(path))),
        freeBytes: bavail * bsize,
        totalBytes: blocks * bsize,
        freeInodes: ffree,
        totalInodes: inodes,
      };
    }),
  );
}

/** Processes by the inode of each socket that they hold. */
function socketOwners(): Map<string, number> {
  const owners = new Map<string, number>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    let descriptors: string[];
    try {
      descriptors = readdirSync(`/proc/${pid}/fd`);
    } catch {
      continue;
    }
    for (const fd of descriptors)
      try {
        const match = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`));
        if (match) owners.set(match[1]!, Number(pid));
      } catch {
        // Closed meanwhile.
      }
  }
  return owners;
}

function listeners(config: Config): Listener[] {
  const sockets = (['tcp', 'tcp6', 'udp', 'udp6'] as const).flatMap((file) =>
    listeningSockets(text(`/proc/net/${file}`), file.startsWith('tcp') ? 'tcp' : 'udp'),
  );
  const owners = sockets.length > 0 ? socketOwners() : new Map<string, number>();
  return sockets.map(({ address, inode, port, protocol }) => {
    const pid = owners.get(inode);
    const argv = pid === undefined ? [] : text(`/proc/${pid}/cmdline`).split('\0');
    const command = pid === undefined ? '' : text(`/proc/${pid}/comm`).trim();
    const runDir = roleRunDir(argv);
    const parent = /^PPid:\s*(\d+)$/m.exec(runDir === undefined ? '' : text(`/proc/${pid}/status`))?.[1];
    return {
      ...(runDir === undefined || runDir === config.runDir || parent === undefined
        ? {}
        : { otherAppliance: { runDir, pid: Number(parent) } }),
      port,
      protocol,
      address,
      pid,
      command: command || argv[0] || '',
      own: argv.some((word) => word.startsWith(`${config.runDir}/`) || word.startsWith(`${config.dataDir}/`)),
    };
  });
}

async function tunnels(): Promise<TunnelDevice[]> {
  const { stdout } = await runCommand(['ip', '-j', '-d', 'link', 'show', 'type', 'vxlan'], { timeoutMs: 10_000 });
  const shown = JSON.parse(stdout.trim() || '[]') as {
    ifname?: string;
    linkinfo?: { info_data?: { id?: number; port?: number } };
  }[];
  return shown.flatMap(({ ifname, linkinfo }) =>
    ifname === undefined
      ? []
      : [
          {
            name: ifname,
            id: linkinfo?.info_data?.id ?? 0,
            port: linkinfo?.info_data?.port ?? 0,
            own: ifname.startsWith('vxlan-'),
          },
        ],
  );
}

async function programs(config: Config): Promise<ProgramFact[]> {
  return Promise.all(
    neededPrograms(config).map(async ({ name, versionArguments }) => {
      const path = Bun.which(name) ?? undefined;
      if (path === undefined || versionArguments === undefined) return { name, path, version: '' };
      const { stdout } = await runCommand([path, ...versionArguments], { timeoutMs: 10_000 }).catch(() => ({
        stdout: '',
      }));
      return { name, path, version: stdout.split('\n')[0]?.slice(0, 200) ?? '' };
    }),
  );
}

async function firewall(config: Config): Promise<DroppingChain[]> {
  const { stdout } = await runCommand(['nft', '-j', 'list', 'ruleset'], { timeoutMs: 20_000 });
  const chains = droppingChains(JSON.parse(stdout), config.cluster.podCIDR);
  const legacy = Bun.which('iptables-legacy');
  if (legacy !== null && /^filter$/m.test(text('/proc/net/ip_tables_names'))) {
    const { stdout: rules } = await runCommand([legacy, '-w', '5', '-S'], { timeoutMs: 20_000 });
    const chain = legacyForward(rules, config.cluster.podCIDR);
    if (chain) chains.push(chain);
  }
  return chains;
}

function throttled(): number | undefined {
  const word = text('/sys/devices/platform/soc/soc:firmware/get_throttled').trim();
  if (/^(0x)?[0-9a-f]+$/i.test(word)) return Number.parseInt(word, 16);
  const base = '/sys/class/hwmon';
  const sensor = existsSync(base)
    ? readdirSync(base).find((name) => text(`${base}/${name}/name`).trim() === 'rpi_volt')
    : undefined;
  return sensor === undefined ? undefined : Number(text(`${base}/${sensor}/in0_lcrit_alarm`).trim()) & 1;
}

function cards(): CardFact[] {
  const base = '/sys/block';
  if (!existsSync(base)) return [];
  return readdirSync(base)
    .filter((name) => /^mmcblk\d+$/.test(name))
    .map((name) => ({
      device: `/dev/${name}`,
      type: text(`${base}/${name}/device/type`).trim(),
      lifeTenths: [...text(`${base}/${name}/device/life_time`).matchAll(/0x([0-9a-f]+)/gi)]
        .map((match) => Number.parseInt(match[1]!, 16))
        .filter((tenths) => tenths > 0),
      preEndOfLife: Number.parseInt(text(`${base}/${name}/device/pre_eol_info`), 16) || undefined,
    }));
}

const externalMs = 5000;

async function externalFsid({ externalCeph, storage }: Config): Promise<string | undefined> {
  if (storage.engine !== 'external' || externalCeph.monHosts.length === 0) return undefined;
  const how = { clock: systemClock, random: systemRandom, log: silentLogger, timeoutMs: externalMs };
  return (await askExternalCluster(externalCeph, how)).fsid;
}

const sysctlNames = [
  'net.ipv4.ip_forward',
  'net.bridge.bridge-nf-call-iptables',
  'fs.inotify.max_user_instances',
  'fs.inotify.max_user_watches',
];

/** The file of a setting: names have dots where paths have slashes. */
export const sysctlFile = (name: string): string => `/proc/sys/${name.replaceAll('.', '/')}`;

const collectors: Collectors = {
  machine: machineInfo,
  cgroups: () => attempt(cgroups),
  modules: () => attempt(modules),
  time: ({ builtMs, config }) => timeFacts(config, builtMs),
  sync: ({ config }) => syncFacts(config),
  space: ({ config }) => space(config),
  memory: () => attempt(() => memoryFacts(text('/proc/meminfo'), text('/proc/swaps'))),
  listeners: ({ config }) => attempt(() => listeners(config)),
  tunnels: () => attempt(tunnels),
  programs: ({ config }) => programs(config),
  cniPlugins: ({ config }) =>
    Object.fromEntries(
      config.containerd.cniBinDirs.map((dir) => [dir, neededPlugins.filter((name) => existsSync(join(dir, name)))]),
    ),
  addresses: machineAddresses,
  disks: ({ config }) => diskFacts(config),
  storageFsid: ({ config }) => knownFsid(nodePaths(config.dataDir, config.runDir)),
  externalCeph: ({ config }) => attempt(() => externalFsid(config)),
  throttled: () => attempt(throttled),
  firewall: ({ config }) => attempt(() => firewall(config)),
  sysctls: () => Object.fromEntries(sysctlNames.map((name) => [name, text(sysctlFile(name)).trim() || undefined])),
  hostName: async () => ({
    name: hostname(),
    addresses: await attempt(async () => (await lookup(hostname(), { all: true })).map(({ address }) => address)),
  }),
  cards,
  running: ({ config }) => existsSync(nodePaths(config.dataDir, config.runDir).controlSocket),
};

/** The facts that are asked for, at the same time but for `sync`, which would measure the others. */
export async function collectFacts(names: ReadonlySet<FactName>, options: CollectOptions): Promise<Facts> {
  const entry = async (name: FactName) => [name, await collectors[name](options)] as const;
  const all = [...names];
  const together = await Promise.all(all.filter((name) => name !== 'sync').map(entry));
  const alone = names.has('sync') ? [await entry('sync')] : [];
  return Object.fromEntries([...together, ...alone]) as unknown as Facts;
}
