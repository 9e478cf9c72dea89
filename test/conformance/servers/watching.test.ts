/** A client of several servers behind one address: it lists on one, watches on another and goes on at a third. Its world never goes back in time. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { KubeClient, KubeObject, WatchType } from '../../../internal/kube/client/api.ts';
import { createKubeClient } from '../../../internal/kube/client/client.ts';
import { configMapsRef } from '../../../internal/kube/client/resources.ts';
import { admin } from '../../../internal/kube/apiserver/testing.ts';
import { type Any, eventually } from '../api/harness.ts';
import { call, type Server, type Servers, startServers } from './members.ts';

let servers: Servers;
beforeAll(async () => {
  servers = await startServers();
});
afterAll(() => servers.close());

const namespace = 'default';
const path = `/api/v1/namespaces/${namespace}/configmaps`;
const clientOf = ({ api }: Server): KubeClient =>
  createKubeClient({
    transport: (request) => api.fetch(request, { identity: admin }) as Promise<Response>,
    baseUrl: 'https://in-process',
    userAgent: 'test',
  });

interface Seen {
  readonly type: WatchType;
  readonly name: string;
  readonly revision: number;
}

/** Watches until `enough` have come, then cuts the connection. */
async function watch(server: Server, resourceVersion: string, enough: (seen: readonly Seen[]) => boolean) {
  const seen: Seen[] = [];
  const cut = new AbortController();
  const options = { namespace, resourceVersion, signal: cut.signal };
  for await (const { type, object } of clientOf(server).watch<KubeObject>(configMapsRef, options)) {
    seen.push({ type, name: object.metadata.name, revision: Number(object.metadata.resourceVersion) });
    if (enough(seen)) break;
  }
  cut.abort();
  return seen;
}

test('list on one, watch on a second, go on at a third while all write: revisions only rise and nothing is missed', async () => {
  const all = [...servers.running.values()] as [Server, Server, Server];
  const written: Seen[] = [];
  const note = (type: WatchType, { metadata }: Any): void => {
    written.push({ type, name: metadata.name, revision: Number(metadata.resourceVersion) });
  };
  for (const [round, list] of all.entries()) {
    const [second, third] = [all[(round + 1) % 3]!, all[(round + 2) % 3]!];
    const base = (await call(list, 'POST', path, { metadata: { name: `base-${round}` } })).metadata.resourceVersion;
    written.length = 0;
    const writers = all.map(async (server) => {
      for (let i = 0; i < 20; i++) {
        const name = `${round}-${server.name}-${i}`;
        note('ADDED', await call(server, 'POST', path, { metadata: { name } }));
        note('MODIFIED', await call(server, 'PUT', `${path}/${name}`, { metadata: { name }, data: { a: 'b' } }));
      }
    });
    const { items, metadata } = await call(list, 'GET', path);
    const from = Number(metadata.resourceVersion);
    expect(from).toBeGreaterThanOrEqual(Number(base));
    for (const item of items) expect(Number(item.metadata.resourceVersion)).toBeLessThanOrEqual(from);
    // A read on a member that is behind the list waits for it, or is of a later time.
    const later = await call(second, 'GET', `${path}?resourceVersion=${from}`);
    expect(Number(later.metadata.resourceVersion)).toBeGreaterThanOrEqual(from);
    const before = await watch(second, String(from), (seen) => seen.length >= 15);
    const reached = before.at(-1)!.revision;
    await Promise.all(writers);
    const last = Math.max(...written.map(({ revision }) => revision));
    const after = await watch(third, String(reached), (seen) => seen.at(-1)!.revision >= last);
    const seen = [...before, ...after];
    const revisions = seen.map(({ revision }) => revision);
    expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => a - b));
    expect(revisions[0]).toBeGreaterThan(from);
    const expected = written.filter(({ revision }) => revision > from).sort((a, b) => a.revision - b.revision);
    expect(seen).toEqual(expected);
  }
  await eventually(
    'all members are at one revision',
    async () => new Set(all.map(({ store }) => store.revision)).size === 1,
  );
});
