import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { utf8 } from '../../base/bytes.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import { openStore } from '../../store/store.ts';
import type { Store } from '../../store/api.ts';
import type { ApiServer } from './apiserver.ts';
import { admin, makeTestPki, startApi } from './testing.ts';

const directory = mkdtempSync(join(tmpdir(), 'server-endpoints-'));
let store: Store;
let servers: ApiServer[] = [];

beforeAll(async () => {
  const common = { clock: systemClock, random: systemRandom, log: silentLogger };
  store = await openStore({ ...common, dir: `${directory}/store`, disk: systemDisk, writer: 'inline' });
}, 60_000);
afterAll(async () => {
  for (const server of servers) await server.close();
  await store.close();
  rmSync(directory, { recursive: true });
}, 60_000);

async function addresses(through: ApiServer): Promise<{ slice: string[]; endpoints: string[] }> {
  const read = async (path: string) => {
    const response = await through.fetch(
      new Request(
        `http://api${path}/namespaces/default/${path.includes('discovery') ? 'endpointslices' : 'endpoints'}/kubernetes`,
      ),
      { identity: admin },
    );
    return (await response.json()) as {
      endpoints?: { addresses: string[] }[];
      subsets?: { addresses: { ip: string }[] }[];
    };
  };
  const slice = await read('/apis/discovery.k8s.io/v1');
  const endpoints = await read('/api/v1');
  return {
    slice: (slice.endpoints ?? []).flatMap((endpoint) => endpoint.addresses),
    endpoints: (endpoints.subsets ?? []).flatMap((subset) => subset.addresses.map(({ ip }) => ip)),
  };
}

async function become(through: ApiServer, ...expected: string[]): Promise<void> {
  let last: unknown;
  for (let i = 0; i < 200; i++) {
    last = await addresses(through);
    if (JSON.stringify(last) === JSON.stringify({ slice: expected, endpoints: expected })) return;
    await Bun.sleep(50);
  }
  expect(last).toEqual({ slice: expected, endpoints: expected });
}

describe('endpoints of the API servers', () => {
  test('servers that start at the same moment are all there; one that stops goes at once, one that dies with its lease', async () => {
    const pki = await makeTestPki();
    const names = ['10.0.0.1', '10.0.0.2', '10.0.0.3'];
    servers = await Promise.all(names.map((address) => startApi(store, pki, { address })));
    const [first, second, third] = servers as [ApiServer, ApiServer, ApiServer];
    for (const server of servers) await become(server, ...names);
    await second.close();
    await become(third, '10.0.0.1', '10.0.0.3');
    // As the store does when the lease of a dead one ends: its own next look brings a living one back.
    await store.delete({ key: utf8('/registry/masterleases/10.0.0.3') });
    await become(first, '10.0.0.1');
    servers = [first, third];
  });
});
