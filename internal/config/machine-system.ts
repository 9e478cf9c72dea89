import { X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, realpathSync, statfsSync, statSync } from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { AppError, errorCode, errorText } from '../base/errors.ts';
import { makeDirectory, readFileIfThere, writeFileAtomic } from '../base/files-system.ts';
import { z } from 'zod';
import { type Config, type JoinedCluster, storageEngines } from './config.ts';
import { keyPaths } from './keys.ts';
import { checkedConfig, type Evaluation, evaluate, type MachineFacts, type Source } from './load.ts';
import { type MachineInterface, nodeAddress } from './node-address.ts';
import { effectiveConfigFile, nodePaths } from './paths.ts';
import { roleNames } from './values.ts';

/** Where the configuration is when no `--config` is given. */
export const defaultConfigPath = '/etc/appliance/appliance.yaml';

function interfacesHere(): MachineInterface[] {
  return Object.entries(networkInterfaces()).map(([name, all]) => ({
    name,
    addresses: (all ?? []).filter((one) => one.family === 'IPv4' && !one.internal).map((one) => one.address),
  }));
}

/** Empty where the kernel tells none. */
function routesHere(): string {
  try {
    return readFileSync('/proc/net/route', 'utf8');
  } catch {
    return '';
  }
}

/** The address of the node that runs with this run directory; undefined when none does, or nobody but root may know. */
function runsAt(runDir: string): string | undefined {
  try {
    const text = readFileIfThere(effectiveConfigFile(runDir));
    return text === undefined ? undefined : (JSON.parse(text) as Partial<Config>).node?.ip;
  } catch (error) {
    if (errorCode(error) === 'EACCES' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Every IPv4 address of the machine, loopback too. */
export function machineAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((all) =>
    (all ?? []).filter((one) => one.family === 'IPv4').map((one) => one.address),
  );
}

function freeBytes(path: string): number {
  for (let at = path; ; at = dirname(at)) {
    try {
      const stat = statfsSync(at);
      return stat.bavail * stat.bsize;
    } catch (error) {
      if (errorCode(error) !== 'ENOENT' || at === '/') throw error;
    }
  }
}

function fileBytes(path: string): number | undefined {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    // An empty one says nothing of how large the OSD shall be.
    return stat?.isFile() && stat.size > 0 ? stat.size : undefined;
  } catch {
    return undefined;
  }
}

/** What joining has written; undefined on a machine that has not joined. */
export function joinedCluster(dataDir: string): JoinedCluster | undefined {
  return readRecord(`${nodePaths(dataDir, '').identity}/cluster.json`, joinedSchema);
}

/** `runDir`: of the node that may run here. */
function machineFacts(dataDir: string, runDir: string): MachineFacts {
  const { identity } = nodePaths(dataDir, '');
  const joined = joinedCluster(dataDir);
  const keptName = joined ? undefined : readKeptName(dataDir);
  const osdIds = readRecord(`${identity}/osds.json`, osdIdsSchema);
  return {
    hostname: hostname(),
    ip: nodeAddress(interfacesHere(), routesHere(), runsAt(runDir)),
    freeBytes: freeBytes(dataDir),
    fileBytes,
    ...(joined ? { joined } : {}),
    ...(keptName === undefined ? {} : { keptName }),
    ...(osdIds ? { osdIds } : {}),
  };
}

const nameFile = (dataDir: string): string => `${nodePaths(dataDir, '').identity}/node-name`;

/** The name that `keepName` wrote; of a server that an earlier version started, the one in its certificate. Undefined before the first start. */
function readKeptName(dataDir: string): string | undefined {
  const { identity, pki } = nodePaths(dataDir, '');
  const read = (file: string): string | undefined => {
    try {
      return readFileSync(file, 'utf8');
    } catch (error) {
      if (errorCode(error) === 'ENOENT' || errorCode(error) === 'EACCES') return undefined;
      throw error;
    }
  };
  const kept = read(nameFile(dataDir))?.trim();
  if (kept) return kept;
  // Without the authority it is what an interrupted join has left.
  const certificate = existsSync(`${pki}/server-ca.key`) ? read(`${identity}/kubelet.crt`) : undefined;
  try {
    return certificate === undefined
      ? undefined
      : /^CN=system:node:(\S+)$/m.exec(new X509Certificate(certificate).subject)?.[1];
  } catch {
    // It is damaged, and is made again.
    return undefined;
  }
}

/** Writes down the node's name, for it to stay whatever the machine is called later. */
export function keepName({ dataDir, node: { name } }: Pick<Config, 'dataDir' | 'node'>): void {
  const file = nameFile(dataDir);
  if (readFileIfThere(file) === `${name}\n`) return;
  makeDirectory(dirname(file), 0o711);
  writeFileAtomic(file, `${name}\n`, 0o644);
}

const osdIdsSchema = z.record(z.string(), z.object({ id: z.int().min(0), uuid: z.uuid() }));
const joinedSchema: z.ZodType<JoinedCluster> = z.object({
  format: z.literal(1),
  node: z.string(),
  roles: z.array(z.enum(roleNames)),
  caHash: z.string(),
  cluster: z.object({
    podCIDR: z.string(),
    serviceCIDR: z.string(),
    dnsIP: z.string(),
    domain: z.string(),
    serviceNodePortRange: z.tuple([z.int(), z.int()]),
    // Servers of the first version did not say it.
    networkBackend: z.enum(['vxlan', 'host-gw', 'auto', 'none']).default('vxlan'),
  }),
  ports: z.object({ dns: z.int() }),
  ceph: z
    .object({ fsid: z.string(), monHosts: z.array(z.string()), engine: z.enum(storageEngines).optional() })
    .optional(),
}) as z.ZodType<JoinedCluster>;

function readRecord<T>(file: string, schema: z.ZodType<T>): T | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'EACCES') return undefined;
    throw error;
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    throw new AppError('IDENTITY', `${file} is damaged`, {
      cause: error,
      hint: 'join the cluster again: `appliance join <token>`',
    });
  }
}

/** `path` without symbolic links, as the kernel names it in its mount table. What does not exist yet is taken as it is written. */
export function resolvedPath(path: string): string {
  const parent = dirname(path);
  try {
    return realpathSync(path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT' || parent === path) throw error;
  }
  return join(resolvedPath(parent), basename(path));
}

/** Where a command is told to find the configuration: `--config`, and flags of keys by name, each time that it was given. */
export interface ConfigArguments {
  readonly file?: string | undefined;
  readonly flags: Readonly<Record<string, readonly string[]>>;
}

/** The text of a file; undefined when it is not there and need not be. */
function readConfigFile(file: string, must: boolean): string | undefined {
  try {
    const text = readFileSync(file, 'utf8');
    // Who names /dev/null means a file without keys, and no file was cut off.
    return text === '' && !statSync(file).isFile() ? '# no file' : text;
  } catch (error) {
    if (errorCode(error) === 'ENOENT' && !must) return undefined;
    // Root reads it: that is no mistake in it.
    if (errorCode(error) === 'EACCES')
      throw new AppError('PERMISSION', `cannot read the configuration ${file}: permission denied`, {
        hint: 'start it with sudo',
      });
    throw new AppError('CONFIG', `cannot read the configuration ${file}: ${errorText(error)}`, {
      hint: 'check the path given with --config or APPLIANCE_CONFIG',
    });
  }
}

/** Files of `conf.d` beside the configuration file, by name. */
function partFiles(file: string): string[] {
  const directory = join(dirname(file), 'conf.d');
  try {
    return readdirSync(directory)
      .filter((name) => /\.ya?ml$/.test(name) && !name.startsWith('.'))
      .sort()
      .map((name) => join(directory, name));
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return [];
    throw new AppError('CONFIG', `cannot read ${directory}: ${errorText(error)}`);
  }
}

/** Names that people give the file, or that it has elsewhere. */
const otherNames = ['appliance.yml', 'appliance.json', 'config.yaml', 'config.yml'];

/** What lies beside `path`, where the configuration would be, under a name that is not read; undefined when it is there itself. */
export function misnamedConfig(path: string): string | undefined {
  if (existsSync(path)) return undefined;
  return otherNames.map((name) => join(dirname(path), name)).find((other) => existsSync(other));
}

/** Everything that says what this machine's configuration is, the weakest first. */
export function configSources({ file, flags }: ConfigArguments): Source[] {
  const named = file ?? (process.env.APPLIANCE_CONFIG || undefined);
  const path = named ?? defaultConfigPath;
  const read = (one: string, must: boolean): Source[] => {
    const text = readConfigFile(one, must);
    return text === undefined ? [] : [{ kind: 'file', file: one, text }];
  };
  const misnamed = named === undefined ? misnamedConfig(path) : undefined;
  return [
    ...read(path, named !== undefined),
    ...(misnamed === undefined ? [] : [{ kind: 'unread' as const, file: misnamed, instead: path }]),
    ...partFiles(path).flatMap((part) => read(part, true)),
    { kind: 'environment', variables: process.env },
    { kind: 'flags', flags },
  ];
}

/** Evaluates what the sources say on this machine; `dataDir` and `runDir` have no symbolic links in them. */
export function evaluateHere(sources: readonly Source[], more: Partial<MachineFacts> = {}): Evaluation {
  const { dataDir, runDir } = evaluate(sources, { hostname: '', ip: '', freeBytes: 0 }).config;
  const evaluation = evaluate(sources, { ...machineFacts(dataDir, runDir), ...more });
  const { config } = evaluation;
  return {
    ...evaluation,
    config: { ...config, dataDir: resolvedPath(config.dataDir), runDir: resolvedPath(config.runDir) },
  };
}

const sectionNames = new Set(keyPaths.flatMap((path) => (path.includes('.') ? [path.split('.')[0]!] : [])));

/** The configuration that a node starts with. Throws ConfigError, or AppError CONFIG for a file that cannot be read. */
export function loadConfig(from: ConfigArguments): Config {
  return checkedConfig(evaluateHere(configSources(from)));
}

/**
 * The configuration that the node runs with, flags of its start included; of a node that does not run, the one that it would start with.
 * A file that was damaged since does not keep a running node from being asked or stopped.
 */
export function runningConfig(from: ConfigArguments): Config {
  const evaluation = evaluateHere(configSources(from));
  const running = readFileIfThere(effectiveConfigFile(evaluation.config.runDir));
  return running === undefined ? checkedConfig(evaluation) : withDefaults(JSON.parse(running) as Partial<Config>);
}

/** Keys that an older executable, which may be the one that runs, does not know are at their defaults. */
function withDefaults(running: Partial<Config>): Config {
  const defaults = evaluateHere([]).config;
  const sections = Object.entries(defaults).map(([name, value]) => {
    const own = running[name as keyof Config] as unknown;
    const section = value !== null && typeof value === 'object' && !Array.isArray(value) && sectionNames.has(name);
    return [name, own === undefined ? value : section ? { ...(value as object), ...(own as object) } : own];
  });
  return { ...running, ...Object.fromEntries(sections) } as Config;
}
