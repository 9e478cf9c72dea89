import type { Clock } from '../base/clock.ts';
import { readFileIfThere } from '../base/files-system.ts';
import type { Paths } from '../config/paths.ts';
import { caHash } from '../pki/token.ts';
import { discoverServers } from './discovery/mdns-system.ts';

const answerMs = 5000;

/** Servers of the cluster that this node has joined, as they answer on the network, `host:port`. Who answers is believed only by its certificate. */
export async function findServers(paths: Paths, clock: Clock): Promise<string[]> {
  const ca = readFileIfThere(`${paths.identity}/server-ca.crt`);
  if (ca === undefined) return [];
  const { servers } = await discoverServers(caHash(ca), { timeoutMs: answerMs, clock });
  return servers.map(({ address, port }) => `${address}:${port}`);
}
