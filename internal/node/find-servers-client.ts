import type { Clock } from '../base/clock.ts';
import { readFileIfThere } from '../base/files-system.ts';
import type { Paths } from '../config/paths.ts';
import { caHash } from '../pki/token.ts';
import { discoverServers } from './discovery/mdns-system.ts';

const answerMs = 5000;

/** Servers of this node's cluster as they answer on the network. Who answers is believed only by its certificate. */
export async function discoverNodes(
  paths: Paths,
  clock: Clock,
  signal?: AbortSignal,
): Promise<readonly { node: string; address: string; port: number }[]> {
  const ca = readFileIfThere(`${paths.identity}/server-ca.crt`);
  if (ca === undefined) return [];
  const options = { timeoutMs: answerMs, clock, ...(signal && { signal }) };
  return (await discoverServers(caHash(ca), options)).servers;
}

/** Where they serve the API, `host:port`. */
export async function findServers(paths: Paths, clock: Clock): Promise<string[]> {
  return (await discoverNodes(paths, clock)).map(({ address, port }) => `${address}:${port}`);
}
