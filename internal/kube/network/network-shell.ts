import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfThere, writeFileAtomic } from '../../base/files-system.ts';
import type { Logger } from '../../base/log.ts';
import { cidrAddress, parseCidr } from '../../config/cidr.ts';
import type { Config } from '../../config/config.ts';
import { nodePaths } from '../../config/paths.ts';
import { runCommand, tryCommand } from '../../base/command-system.ts';
import { containerdPlaces } from '../kubelet/containerd.ts';
import { bridgeName, cniNetworkName } from '../kubelet/node/identity.ts';
import { renderConflist } from './cni.ts';
import { addresses, sysctl } from './overlay-system.ts';

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

/** How a node's pod network is made. */
export interface NodeNetworkSettings {
  readonly podCIDR: string;
  /** Largest packet of a pod. */
  readonly mtu: number;
}

/** True where frames between pods of one bridge pass the packet filter; see `NftSettings.masqueradeLocal`. */
export async function prepareKernel(log: Logger): Promise<boolean> {
  await sysctl('net/ipv4/ip_forward', '1', log);
  return bridgeFilter(log);
}

/**
 * Makes bridge, route, kernel settings and CNI configuration of the node's pods. The route sends service addresses to the bridge, so that the
 * node's own programs reach them also where there is no default route; they are translated before they get there.
 */
export async function setUpPods(config: Config, { mtu, podCIDR }: NodeNetworkSettings, log: Logger): Promise<void> {
  const places = containerdPlaces(nodePaths(config.dataDir, config.runDir));
  const bridge = bridgeName(config);
  const { prefix } = parseCidr(podCIDR);
  const gateway = `${cidrAddress(parseCidr(podCIDR), 1)}/${prefix}`;
  if ((await links('dev', bridge)).length === 0) await runCommand(['ip', 'link', 'add', bridge, 'type', 'bridge']);
  await runCommand(['ip', 'link', 'set', bridge, 'up', 'mtu', String(mtu)]);
  for (const old of await addresses(bridge))
    if (old !== gateway) await runCommand(['ip', 'addr', 'del', old, 'dev', bridge]);
  await runCommand(['ip', 'addr', 'replace', gateway, 'dev', bridge]);
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
  const file = join(places.cniConfDir, '10-appliance.conflist');
  if (readFileIfThere(file) !== conflist) writeFileAtomic(file, conflist, 0o644);
}
