import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../../config/config.ts';
import type { Paths } from '../../config/paths.ts';
import { runCommand, tryCommand } from '../../base/command-system.ts';
import { containerdPlaces } from '../kubelet/containerd.ts';
import { applianceId, bridgeName, cniNetworkName, tunnelName } from '../kubelet/node/identity.ts';
import { links } from './network-shell.ts';
import { nftTable } from './nft-render.ts';
import { removeOverlay } from './overlay-system.ts';

/**
 * Removes everything of this appliance's network that is outside its data directory: nftables table, routes to other nodes and the tunnel, bridge with what hangs on it, results
 * that CNI keeps, addresses that were given out. Repeats safely; `appliance down` calls it after all pods are gone.
 */
export async function cleanupNetwork(config: Config, paths: Pick<Paths, 'agent' | 'runDir'>): Promise<void> {
  const table = nftTable(applianceId(config));
  const bridge = bridgeName(config);
  await tryCommand(['nft', 'delete', 'table', 'ip', table]);
  await removeOverlay(tunnelName(config));
  if ((await links('dev', bridge)).length > 0) {
    for (const port of await links('master', bridge)) await tryCommand(['ip', 'link', 'delete', port.ifname]);
    await runCommand(['ip', 'link', 'delete', bridge]);
  }
  const results = '/var/lib/cni/results';
  for (const name of await readdir(results).catch(() => []))
    if (name.startsWith(`${cniNetworkName(config)}-`)) await rm(join(results, name), { force: true });
  const places = containerdPlaces(paths);
  await rm(join(places.cniDataDir, cniNetworkName(config)), { recursive: true, force: true });
}
