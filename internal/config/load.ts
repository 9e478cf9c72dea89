import { isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import { AppError } from '../base/errors.ts';
import { cidrAddress, cidrContains, cidrsOverlap, parseCidr } from './cidr.ts';
import { type Config, type JoinedCluster, type OsdConfig, unallocatedOsd } from './config.ts';
import { type ConfigFile, fileSchema } from './schema.ts';

/** What defaults depend on; the shell reads it from the machine. */
export interface MachineFacts {
  hostname: string;
  /** The address that other nodes reach this one by. */
  ip: string;
  /** Free bytes where the data directory is. */
  freeBytes: number;
  /** The cluster that this machine joined. */
  joined?: JoinedCluster;
  /** On a node that joined: ids that the mon gave, by what the OSD is on (`osdPlace`). */
  osdIds?: Readonly<Record<string, number>>;
}

/** What an OSD is on: its file, directory or device. */
export function osdPlace(osd: {
  readonly file?: string | undefined;
  readonly directory?: string | undefined;
  readonly device?: string | undefined;
}): string {
  return osd.device ?? osd.directory ?? osd.file ?? '';
}

/** One mistake in the configuration, with its place. */
export interface ConfigProblem {
  line: number;
  column: number;
  /** `storage.osd[1].size`. */
  path: string;
  message: string;
}

/** Every mistake at once; `message` has a line `file:line:column: path: what was expected` for each. */
export class ConfigError extends AppError {
  readonly problems: readonly ConfigProblem[];
  constructor(file: string, problems: readonly ConfigProblem[]) {
    super(
      'CONFIG',
      problems.map((p) => `${file}:${p.line}:${p.column}: ${p.path ? `${p.path}: ` : ''}${p.message}`).join('\n'),
      {
        hint: `correct ${file} and start again; nothing was started`,
      },
    );
    this.problems = problems;
  }
}

/** Larger files are refused before they are parsed. */
const maxFileBytes = 1 << 20;

/** Reads the text of an `appliance.yaml`; `file` is only for messages. Empty text is an empty configuration. */
export function parseConfigFile(
  text: string,
  file: string,
): { value: ConfigFile; at(path: readonly PropertyKey[]): { line: number; column: number } } {
  if (text.length > maxFileBytes)
    throw new ConfigError(file, [
      { line: 1, column: 1, path: '', message: `expected at most ${maxFileBytes} bytes, has ${text.length}` },
    ]);
  const lines = new LineCounter();
  const document = parseDocument(text.replace(/^\uFEFF/, ''), { lineCounter: lines, uniqueKeys: true, merge: false });
  const place = (offset: number): { line: number; column: number } => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  if (document.errors.length > 0)
    throw new ConfigError(
      file,
      document.errors.map((error) => ({ ...place(error.pos[0]), path: '', message: error.message.split('\n')[0]! })),
    );
  const at = (path: readonly PropertyKey[]): { line: number; column: number } => {
    const parent: unknown = document.getIn(path.slice(0, -1) as (string | number)[], true);
    const pair = isMap(parent)
      ? parent.items.find((item) => isScalar(item.key) && item.key.value === path.at(-1))
      : undefined;
    if (pair && isScalar(pair.key) && pair.key.range) return place(pair.key.range[0]);
    for (let depth = path.length; depth >= 0; depth--) {
      const node: unknown = document.getIn(path.slice(0, depth) as (string | number)[], true);
      const range = (node as { range?: [number, number, number] } | undefined)?.range;
      if (range) return place(range[0]);
    }
    return { line: 1, column: 1 };
  };
  let raw: unknown;
  try {
    raw = document.toJS({ maxAliasCount: 20 }) ?? {};
  } catch (error) {
    throw new ConfigError(file, [{ line: 1, column: 1, path: '', message: String((error as Error).message) }]);
  }
  const parsed = fileSchema.safeParse(raw);
  if (!parsed.success) {
    throw new ConfigError(
      file,
      parsed.error.issues.flatMap((issue): ConfigProblem[] => {
        if (issue.code === 'unrecognized_keys')
          return issue.keys.map((key) => ({
            ...at([...issue.path, key]),
            path: pathText([...issue.path, key]),
            message: `unknown key${nearest(key, issue.path)}`,
          }));
        return [{ ...at(issue.path), path: pathText(issue.path), message: issue.message }];
      }),
    );
  }
  return { value: parsed.data, at };
}

function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text ? `${text}.${String(key)}` : String(key)),
    '',
  );
}

interface SchemaNode {
  shape?: Record<string, SchemaNode>;
  unwrap?: () => SchemaNode;
  element?: SchemaNode;
}

/** The keys that the schema knows at `path`. */
function knownKeys(path: readonly PropertyKey[]): string[] {
  let node: SchemaNode | undefined = fileSchema as unknown as SchemaNode;
  for (const key of path) {
    while (node && !node.shape && node.unwrap) node = node.unwrap();
    node = typeof key === 'number' ? node?.element : node?.shape?.[String(key)];
  }
  while (node && !node.shape && node.unwrap) node = node.unwrap();
  return Object.keys(node?.shape ?? {});
}

function nearest(key: string, path: readonly PropertyKey[]): string {
  const keys = knownKeys(path);
  const best = keys
    .map((known) => ({ known, distance: editDistance(key.slice(0, 64).toLowerCase(), known.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)[0];
  if (best && best.distance <= Math.max(2, key.length / 3)) return `; did you mean ${best.known}?`;
  return keys.length > 0 ? `; known here: ${keys.join(', ')}` : '';
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}

const gib = 2 ** 30;

/** How large each of three default OSD files is: a fifth of what is free, between 1 and 32 GiB, so that all of them fit on the disk. */
function defaultOsdBytes(freeBytes: number): number {
  return Math.max(gib, Math.min(32 * gib, Math.floor(freeBytes / 5 / gib) * gib));
}

/** The configuration with every default filled in, and the rules that span keys checked. Throws ConfigError. */
export function effectiveConfig(text: string, file: string, facts: MachineFacts): Config {
  const { value, at } = parseConfigFile(text, file);
  const problems: ConfigProblem[] = [];
  const problem = (path: readonly PropertyKey[], message: string): void => {
    problems.push({ ...at(path), path: pathText(path), message });
  };
  const { joined } = facts;
  const roles = value.roles ?? joined?.roles ?? ['server', 'agent', 'mon', 'mgr', 'osd'];
  const dataDir = value.dataDir ?? '/var/lib/appliance';
  const podCIDR = value.cluster?.podCIDR ?? joined?.cluster.podCIDR ?? '10.42.0.0/16';
  const serviceCIDR = value.cluster?.serviceCIDR ?? joined?.cluster.serviceCIDR ?? '10.43.0.0/16';
  const services = parseCidr(serviceCIDR);
  const dnsIP = value.cluster?.dnsIP ?? joined?.cluster.dnsIP ?? cidrAddress(services, 10);
  const range = value.cluster?.serviceNodePortRange ?? joined?.cluster.serviceNodePortRange.join('-') ?? '30000-32767';
  const [low, high] = range.split('-').map(Number) as [number, number];
  const domain = value.cluster?.domain ?? joined?.cluster.domain ?? 'cluster.local';
  const nodeName = value.node?.name ?? joined?.node ?? nameOfHost(facts.hostname);

  const joins =
    joined !== undefined || value.server !== undefined || (value.token !== undefined && !roles.includes('server'));
  // Who joins finds them on other nodes.
  for (const [role, needed] of [
    ['agent', 'server'],
    ['mgr', 'mon'],
    ['osd', 'mon'],
  ] as const)
    if (roles.includes(role) && !roles.includes(needed) && !joins)
      problem(
        ['roles'],
        `expected ${needed} beside ${role}, or a cluster that this node has joined: \`appliance join <token>\` does that`,
      );
  if (joined) {
    const fixed: [readonly string[], unknown, unknown][] = [
      [['node', 'name'], nodeName, joined.node],
      [['cluster', 'podCIDR'], podCIDR, joined.cluster.podCIDR],
      [['cluster', 'serviceCIDR'], serviceCIDR, joined.cluster.serviceCIDR],
      [['cluster', 'dnsIP'], dnsIP, joined.cluster.dnsIP],
      [['cluster', 'domain'], domain, joined.cluster.domain],
      [['cluster', 'serviceNodePortRange'], `${low}-${high}`, joined.cluster.serviceNodePortRange.join('-')],
    ];
    for (const [path, has, expected] of fixed)
      if (has !== expected)
        problem(path, `expected ${String(expected)}, as in the cluster that this machine joined; leave the key away`);
  }
  if (new Set(roles).size !== roles.length) problem(['roles'], 'expected each role once');
  if (parseCidr(podCIDR).prefix > 24)
    problem(['cluster', 'podCIDR'], `expected a /24 or larger, is /${parseCidr(podCIDR).prefix}`);
  if (services.prefix > 24) problem(['cluster', 'serviceCIDR'], `expected a /24 or larger, is /${services.prefix}`);
  if (cidrsOverlap(parseCidr(podCIDR), services))
    problem(['cluster', 'serviceCIDR'], `expected no overlap with podCIDR ${podCIDR}`);
  if (!cidrContains(services, dnsIP))
    problem(['cluster', 'dnsIP'], `expected an address in serviceCIDR ${serviceCIDR}`);
  if (low < 1 || high > 65535 || low > high)
    problem(['cluster', 'serviceNodePortRange'], 'expected a range inside 1-65535, low first');

  const osd: OsdConfig[] = [];
  const listed = value.storage?.osd;
  if (roles.includes('osd')) {
    // Copies on other OSDs of one machine are for a cluster of one machine; who joins brings one.
    const remote = !roles.includes('mon');
    const entries: NonNullable<typeof listed> =
      listed ??
      (remote
        ? [{ file: `${dataDir}/osd/osd.img` }]
        : Array.from({ length: 3 }, (_, id) => ({ id, file: `${dataDir}/osd/osd.${id}.img`, size: undefined })));
    entries.forEach((entry, index) => {
      const id = entry.id ?? (remote ? (facts.osdIds?.[osdPlace(entry)] ?? unallocatedOsd) : index);
      if (id !== unallocatedOsd && osd.some((other) => other.id === id))
        problem(['storage', 'osd', index, 'id'], `expected a free id, ${id} is taken`);
      if ('device' in entry && entry.device !== undefined) osd.push({ id, device: entry.device });
      else if ('directory' in entry && entry.directory !== undefined)
        osd.push({ id, directory: entry.directory, ...(entry.size === undefined ? {} : { size: entry.size }) });
      else if (entry.file !== undefined)
        osd.push({ id, file: entry.file, size: entry.size ?? defaultOsdBytes(facts.freeBytes) });
    });
    if (osd.length === 0) problem(['storage', 'osd'], 'expected at least one OSD because roles has osd');
  } else if (listed && listed.length > 0) problem(['storage', 'osd'], 'expected none because roles does not have osd');
  const replication = value.storage?.replication;
  if (replication !== undefined && roles.includes('osd') && roles.includes('mon') && replication > osd.length)
    problem(
      ['storage', 'replication'],
      `expected at most the number of OSDs, ${osd.length}: each copy is on another one`,
    );
  if (problems.length > 0) throw new ConfigError(file, problems);

  return {
    node: {
      name: nodeName,
      ip: value.node?.ip ?? facts.ip,
      labels: value.node?.labels ?? {},
    },
    roles,
    dataDir,
    runDir: value.runDir ?? '/run/appliance',
    logLevel: value.logLevel ?? 'info',
    cluster: {
      podCIDR,
      serviceCIDR,
      dnsIP,
      domain,
      serviceNodePortRange: [low, high],
    },
    ports: {
      api: value.ports?.api ?? 6443,
      kubelet: value.ports?.kubelet ?? 10250,
      mon: value.ports?.mon ?? 3300,
      ceph: value.ports?.ceph ?? 6800,
      dns: value.ports?.dns ?? joined?.ports.dns ?? 10053,
      prometheus: value.ports?.prometheus ?? 9283,
    },
    containerd: {
      command: value.containerd?.command ?? 'containerd',
      cniBinDirs: value.containerd?.cniBinDirs ?? ['/usr/lib/cni', '/opt/cni/bin'],
    },
    imagesDir: value.imagesDir ?? `${dataDir}/images`,
    manifestsDir: value.manifestsDir ?? `${dataDir}/manifests`,
    ...(value.server === undefined ? {} : { server: value.server.replace(/\/$/, '') }),
    ...(value.token === undefined ? {} : { token: value.token }),
    tlsSans: value.tlsSans ?? [],
    writeKubeconfigMode: value.writeKubeconfigMode ?? '0600',
    storage: {
      engine: 'embedded',
      replication: value.storage?.replication ?? Math.min(3, Math.max(1, osd.length)),
      failureDomain: value.storage?.failureDomain ?? 'osd',
      osd,
    },
  };
}

function nameOfHost(hostname: string): string {
  const name = hostname
    .toLowerCase()
    .split('.')[0]!
    .replace(/[^a-z0-9-]/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 63);
  return name === '' ? 'node' : name;
}
