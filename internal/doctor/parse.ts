import { cidrContains, isIPv4, parseCidr } from '../config/cidr.ts';
import type { DroppingChain, Listener, MemoryFacts, ModuleState } from './facts.ts';

/** What the kernel and the system's programs say, as facts. */

/** Names of the kernel's own for what a module does: its configuration option, the file system that it brings. */
const moduleNames: Readonly<Record<string, { option: string; fileSystem?: string }>> = {
  overlay: { option: 'CONFIG_OVERLAY_FS', fileSystem: 'overlay' },
  bridge: { option: 'CONFIG_BRIDGE' },
  veth: { option: 'CONFIG_VETH' },
  nf_tables: { option: 'CONFIG_NF_TABLES' },
  br_netfilter: { option: 'CONFIG_BRIDGE_NETFILTER' },
  vxlan: { option: 'CONFIG_VXLAN' },
  rbd: { option: 'CONFIG_BLK_DEV_RBD' },
  ceph: { option: 'CONFIG_CEPH_FS', fileSystem: 'ceph' },
  fuse: { option: 'CONFIG_FUSE_FS', fileSystem: 'fuse' },
  loop: { option: 'CONFIG_BLK_DEV_LOOP' },
};

/** Texts that tell which features a kernel has; '' for one that is not there. */
export interface ModuleSources {
  /** /proc/modules. */
  readonly loaded: string;
  /** /proc/filesystems. */
  readonly fileSystems: string;
  /** modules.builtin and modules.dep of the kernel's directory in /lib/modules. */
  readonly builtin: string;
  readonly loadable: string;
  /** /proc/config.gz unpacked, or /boot/config-<kernel>. */
  readonly config: string;
}

/** What a kernel has of the modules that the checks ask for. */
export function moduleStates(from: ModuleSources): Record<string, ModuleState> {
  const inPaths = (text: string, name: string): boolean =>
    new RegExp(`^([^:\\s]*/)?${name.replaceAll('_', '[-_]')}\\.ko(\\.[a-z0-9]+)?(:|$)`, 'm').test(text);
  return Object.fromEntries(
    Object.entries(moduleNames).map(([name, { fileSystem, option }]): [string, ModuleState] => {
      if (new RegExp(`^${name} `, 'm').test(from.loaded)) return [name, 'loaded'];
      const built = inPaths(from.builtin, name) || new RegExp(`^${option}=y$`, 'm').test(from.config);
      if (built || (fileSystem && new RegExp(`\\s${fileSystem}$`, 'm').test(from.fileSystems)))
        return [name, 'builtin'];
      return [name, inPaths(from.loadable, name) ? 'loadable' : 'missing'];
    }),
  );
}

/** /proc/meminfo and /proc/swaps (proc(5)). */
export function memoryFacts(meminfo: string, swaps: string): MemoryFacts {
  const value = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(meminfo)?.[1] ?? 0) * 1024;
  let diskSwapBytes = 0;
  let zramBytes = 0;
  for (const line of swaps.split('\n').slice(1)) {
    const [path = '', , size = ''] = line.split(/\s+/);
    if (path === '') continue;
    if (/zram/.test(path)) zramBytes += Number(size) * 1024;
    else diskSwapBytes += Number(size) * 1024;
  }
  return { totalBytes: value('MemTotal'), availableBytes: value('MemAvailable'), diskSwapBytes, zramBytes };
}

export interface Socket {
  readonly port: number;
  readonly protocol: Listener['protocol'];
  readonly address: string;
  readonly inode: string;
}

/** Sockets of /proc/net/{tcp,tcp6,udp,udp6} that take what comes in: TCP ones that listen, UDP ones without a peer. */
export function listeningSockets(text: string, protocol: Listener['protocol']): Socket[] {
  const out: Socket[] = [];
  for (const line of text.split('\n').slice(1)) {
    const words = line.trim().split(/\s+/);
    const [, local = '', remote = '', state] = words;
    const inode = words[9];
    if (inode === undefined) continue;
    if (protocol === 'tcp' ? state !== '0A' : !/^0+:0000$/.test(remote)) continue;
    const [address = '', port = ''] = local.split(':');
    out.push({ protocol, port: Number.parseInt(port, 16), address: addressText(address), inode });
  }
  return out;
}

/** Addresses are words of the machine's byte order, little-endian everywhere that we run. '' for any. */
function addressText(hex: string): string {
  if (/^0+$/.test(hex)) return '';
  const mapped = hex.length === 32 && hex.startsWith('0000000000000000FFFF0000') ? hex.slice(24) : hex;
  if (mapped.length !== 8) return 'IPv6';
  return (mapped.match(/../g) ?? [])
    .reverse()
    .map((byte) => Number.parseInt(byte, 16))
    .join('.');
}

interface NftChain {
  family: string;
  table: string;
  name: string;
  hook?: string;
  policy?: string;
  type?: string;
}

/** Foreign chains that drop, from `nft -j list ruleset` (libnftables-json(5)). */
export function droppingChains(ruleset: unknown, podCIDR: string): DroppingChain[] {
  const listed = (ruleset as { nftables?: unknown[] } | null)?.nftables;
  if (!Array.isArray(listed)) return [];
  const items = listed.filter((item) => typeof item === 'object' && item !== null);
  const chains = items.flatMap((item) => {
    const chain = (item as { chain?: NftChain }).chain;
    return chain && typeof chain.name === 'string' ? [chain] : [];
  });
  const rules = items.flatMap((item) => {
    const rule = (item as { rule?: { family: string; table: string; expr?: unknown[] } }).rule;
    return rule ? [rule] : [];
  });
  const out: DroppingChain[] = [];
  for (const { family, hook, name, policy, table } of chains) {
    if ((hook !== 'forward' && hook !== 'input') || policy !== 'drop') continue;
    if (family !== 'ip' && family !== 'inet') continue;
    if (table.startsWith('appliance_')) continue;
    const mates = chains.filter((one) => one.family === family && one.table === table);
    out.push({
      hook,
      family,
      table,
      chain: name,
      owner: ownerOf(
        table,
        mates.map((one) => one.name),
        hook,
      ),
      letsPods: rules.some(
        (rule) =>
          rule.family === family && rule.table === table && accepts(rule.expr ?? []) && names(rule.expr, podCIDR),
      ),
    });
  }
  return out;
}

function ownerOf(table: string, chains: readonly string[], hook: string): DroppingChain['owner'] {
  if (table.startsWith('firewalld')) return 'firewalld';
  // Docker and ufw share iptables' table: whoever has its chains there. ufw is in both, Docker in the forward chain only.
  if (chains.some((name) => name.startsWith('ufw-'))) return 'ufw';
  if (hook === 'forward' && chains.some((name) => name.startsWith('DOCKER'))) return 'docker';
  return 'unknown';
}

const accepts = (expressions: readonly unknown[]): boolean =>
  expressions.some((one) => typeof one === 'object' && one !== null && ('accept' in one || isAcceptTarget(one)));

/** iptables-nft shows a target that it has no word for as `xt`. */
const isAcceptTarget = (one: object): boolean => (one as { xt?: { name?: string } }).xt?.name === 'ACCEPT';

/** A rule names the pod network, or a network around it. */
function names(expression: unknown, podCIDR: string): boolean {
  if (typeof expression !== 'object' || expression === null) return false;
  const { addr, len } = expression as { addr?: unknown; len?: unknown };
  if (typeof addr === 'string' && isIPv4(addr) && typeof len === 'number' && len >= 0 && len <= 32) {
    const pods = podCIDR.split('/') as [string, string];
    return len <= Number(pods[1]) && cidrContains(parseCidr(`${addr}/${len}`), pods[0]);
  }
  return Object.values(expression).some((value) => names(value, podCIDR));
}

/** `iptables-legacy -S`: the policy and what is accepted. Undefined when forwarded packets are not dropped. */
export function legacyForward(text: string, podCIDR: string): DroppingChain | undefined {
  if (!/^-P FORWARD DROP$/m.test(text)) return undefined;
  const chains = [...text.matchAll(/^-N (\S+)$/gm)].map((match) => match[1]!);
  const lets = [...text.matchAll(/^-A .*-[sd] (\d+(?:\.\d+){3})\/(\d+) .*-j ACCEPT$/gm)].some(([, addr, len]) =>
    names({ addr, len: Number(len) }, podCIDR),
  );
  return {
    hook: 'forward',
    family: 'iptables-legacy',
    table: 'filter',
    chain: 'FORWARD',
    owner: ownerOf('filter', chains, 'forward'),
    letsPods: lets,
  };
}

/** The run directory of the appliance that a command line is a role of (`internal/node/role-process-system.ts`); undefined when it is none. */
export function roleRunDir(argv: readonly string[]): string | undefined {
  const at = argv.indexOf('role');
  return at < 1 ? undefined : /^(\/.+)\/roles\/[^/]+\/config\.json$/.exec(argv[at + 2] ?? '')?.[1];
}
