import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '../../base/errors.ts';
import { writeFileAtomic } from '../../base/files-system.ts';
import type { Logger } from '../../base/log.ts';
import { cidrAddress, parseCidr } from '../../config/cidr.ts';
import type { Config } from '../../config/config.ts';
import { nodePaths } from '../../config/paths.ts';
import { runCommand, tryCommand } from '../kubelet/command-shell.ts';
import { containerdPlaces } from '../kubelet/containerd.ts';
import { bridgeName, cniNetworkName } from '../kubelet/node/identity.ts';
import { renderConflist } from './cni.ts';

/** This node's part of the pod network: the first /24 of it (the whole where it is smaller). */
export function nodePodCIDR(config: Config): string {
  const cidr = parseCidr(config.cluster.podCIDR);
  return `${cidrAddress(cidr, 0)}/${Math.max(24, cidr.prefix)}`;
}

async function sysctl(name: string, value: string, log: Logger): Promise<void> {
  const path = `/proc/sys/${name}`;
  try {
    if ((await readFile(path, 'utf8')).trim() !== value) await writeFile(path, value);
  } catch (error) {
    log.warn('kernel setting not made', { setting: name, value, error: errorText(error) });
  }
}

/** Frames between pods of the bridge pass the packet filter; tries to load the module that does it. */
async function bridgeFilter(log: Logger): Promise<boolean> {
  const path = '/proc/sys/net/bridge/bridge-nf-call-iptables';
  if (!existsSync(path)) await tryCommand(['modprobe', 'br_netfilter'], { timeoutMs: 10_000 }).catch(() => undefined);
  if (!existsSync(path)) return false;
  await sysctl('net/bridge/bridge-nf-call-iptables', '1', log);
  return (await readFile(path, 'utf8')).trim() === '1';
}

export interface Link {
  ifname: string;
  mtu: number;
}

/** Interfaces by a selection of ip-link(8). /sys/class/net is not asked: in a network namespace it may show another one's. */
export async function links(...selection: string[]): Promise<Link[]> {
  const shown = await tryCommand(['ip', '-j', 'link', 'show', ...selection]);
  if (shown.code !== 0 || shown.stdout.trim() === '') return [];
  return JSON.parse(shown.stdout) as Link[];
}

/** Largest packet that leaves by the default route, 1500 where there is none. */
async function pathMtu(): Promise<number> {
  const route = await tryCommand(['ip', '-j', 'route', 'show', 'default']);
  const device = route.stdout.trim() === '' ? undefined : (JSON.parse(route.stdout) as { dev?: string }[])[0]?.dev;
  return device ? ((await links('dev', device))[0]?.mtu ?? 1500) : 1500;
}

export interface NodeNetwork {
  readonly podCIDR: string;
  readonly bridge: string;
  /** See `NftSettings.masqueradeLocal`. */
  readonly masqueradeLocal: boolean;
}

/**
 * Makes bridge, route, kernel settings and CNI configuration of the node. The route sends service addresses to the bridge, so that the
 * node's own programs reach them also where there is no default route; they are translated before they get there.
 */
export async function setUpNetwork(config: Config, log: Logger): Promise<NodeNetwork> {
  const paths = nodePaths(config.dataDir, config.runDir);
  const places = containerdPlaces(paths);
  const podCIDR = nodePodCIDR(config);
  const bridge = bridgeName(config);
  const { prefix } = parseCidr(podCIDR);
  const gateway = cidrAddress(parseCidr(podCIDR), 1);
  const mtu = await pathMtu();
  await sysctl('net/ipv4/ip_forward', '1', log);
  const filtered = await bridgeFilter(log);
  if ((await links('dev', bridge)).length === 0) await runCommand(['ip', 'link', 'add', bridge, 'type', 'bridge']);
  await runCommand(['ip', 'link', 'set', bridge, 'up', 'mtu', String(mtu)]);
  await runCommand(['ip', 'addr', 'replace', `${gateway}/${prefix}`, 'dev', bridge]);
  await sysctl(`net/ipv4/conf/${bridge}/route_localnet`, '1', log);
  const route = ['ip', 'route', 'replace', config.cluster.serviceCIDR, 'dev', bridge];
  const withSource = await tryCommand([...route, 'src', config.node.ip]);
  // The node's address may not be on an interface yet; the route works without it.
  if (withSource.code !== 0) await runCommand(route);
  await mkdir(places.cniConfDir, { recursive: true, mode: 0o755 });
  await mkdir(places.cniDataDir, { recursive: true, mode: 0o755 });
  const conflist = renderConflist({
    networkName: cniNetworkName(config),
    bridge,
    podCIDR,
    mtu,
    dataDir: places.cniDataDir,
  });
  writeFileAtomic(join(places.cniConfDir, '10-appliance.conflist'), conflist, 0o644);
  return { podCIDR, bridge, masqueradeLocal: !filtered };
}
