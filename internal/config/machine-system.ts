import { readFileSync, realpathSync, statfsSync } from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { AppError, errorCode } from '../base/errors.ts';
import { z } from 'zod';
import type { Config, JoinedCluster } from './config.ts';
import { effectiveConfig, type MachineFacts, parseConfigFile } from './load.ts';
import { nodePaths } from './paths.ts';
import { roleNames } from './schema.ts';

/** Where the configuration is when no `--config` is given. */
export const defaultConfigPath = '/etc/appliance/appliance.yaml';

/** Hexadecimal, little-endian, as /proc/net/route has it. */
function routeInterface(): string | undefined {
  let table: string;
  try {
    table = readFileSync('/proc/net/route', 'utf8');
  } catch {
    return undefined;
  }
  for (const line of table.split('\n').slice(1)) {
    const fields = line.split('\t');
    if (fields[1] === '00000000' && fields[7] === '00000000') return fields[0];
  }
  return undefined;
}

/** The address of the interface with the default route, else the first that is not loopback, else loopback. */
function nodeAddress(): string {
  const interfaces = networkInterfaces();
  const preferred = routeInterface();
  const names = Object.keys(interfaces).sort((a, b) => Number(b === preferred) - Number(a === preferred));
  for (const name of names)
    for (const address of interfaces[name] ?? [])
      if (address.family === 'IPv4' && !address.internal) return address.address;
  return '127.0.0.1';
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

export function machineFacts(dataDir: string): MachineFacts {
  const { identity } = nodePaths(dataDir, '');
  const joined = readRecord(`${identity}/cluster.json`, joinedSchema);
  const osdIds = readRecord(`${identity}/osds.json`, osdIdsSchema);
  return {
    hostname: hostname(),
    ip: nodeAddress(),
    freeBytes: freeBytes(dataDir),
    ...(joined ? { joined } : {}),
    ...(osdIds ? { osdIds } : {}),
  };
}

const osdIdsSchema = z.record(z.string(), z.int().min(0));
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
  }),
  ports: z.object({ dns: z.int() }),
  ceph: z.object({ fsid: z.string(), monHosts: z.array(z.string()) }).optional(),
}) as z.ZodType<JoinedCluster>;

/** What joining has written; undefined on a machine that has not joined. */
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

/**
 * The effective configuration of this machine from `path`. A missing file is an empty one when the path is the default, else an error
 * that names it. `dataDir` and `runDir` have no symbolic links in them.
 */
export function loadConfig(path: string | undefined, overrides: { dataDir?: string } = {}): Config {
  const file = path ?? defaultConfigPath;
  let text = '';
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (errorCode(error) !== 'ENOENT' || path !== undefined)
      throw new AppError('CONFIG', `cannot read the configuration ${file}`, {
        cause: error,
        hint: 'check the path given with --config',
      });
  }
  // A file that lost its content must not send a node to the default directories.
  if (path !== undefined && text.trim() === '')
    throw new AppError('CONFIG', `${file} is empty`, {
      hint: 'write at least one key into it, or leave --config away for the defaults',
    });
  const dataDir = overrides.dataDir ?? parseConfigFile(text, file).value.dataDir ?? '/var/lib/appliance';
  const config = effectiveConfig(text, file, machineFacts(dataDir));
  return { ...config, dataDir: resolvedPath(dataDir), runDir: resolvedPath(config.runDir) };
}
