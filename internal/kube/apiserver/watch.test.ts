import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import { AtRest } from './encryption/at-rest.ts';
import { admin, startTestServer, type TestServer } from './testing.ts';
import { WatchHub } from './watch-hub.ts';

let server: TestServer;
const path = '/api/v1/namespaces/w/configmaps';

beforeAll(async () => {
  server = await startTestServer();
  await server.call('POST', '/api/v1/namespaces', { metadata: { name: 'w' } });
});
afterAll(() => server.close());

interface Event {
  type: string;
  object: {
    kind: string;
    code?: number;
    metadata: { name: string; resourceVersion: string; annotations?: Record<string, string> };
  };
}

class Watching {
  readonly events: Event[] = [];
  ended = false;
  readonly #reader: { read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>; cancel(): Promise<void> };
  readonly #reading: Promise<void>;

  constructor(response: Response) {
    this.#reader = response.body!.getReader();
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    let text = '';
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) break;
      text += new TextDecoder().decode(value);
      const lines = text.split('\n');
      text = lines.pop()!;
      for (const line of lines) this.events.push(JSON.parse(line) as Event);
    }
    this.ended = true;
  }

  async wait(count: number): Promise<Event[]> {
    for (let i = 0; i < 200 && this.events.length < count; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    return this.events;
  }

  summary(): string[] {
    return this.events.map((event) => `${event.type} ${event.object.metadata?.name ?? ''}`.trim());
  }

  async close(): Promise<void> {
    await this.#reader.cancel();
    await this.#reading;
  }
}

async function watch(query: string, base = path, accept = 'application/json'): Promise<Watching> {
  const response = await server.api.fetch(new Request(`http://x${base}?watch=true${query}`, { headers: { accept } }), {
    identity: admin,
  });
  if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
  return new Watching(response);
}

const post = async (name: string, labels: Record<string, string> = {}): Promise<string> =>
  (await server.call('POST', path, { metadata: { name, labels } })).body.metadata.resourceVersion;
const relabel = (name: string, labels: Record<string, string | null>): Promise<unknown> =>
  server.call(
    'PATCH',
    `${path}/${name}`,
    { metadata: { labels } },
    { headers: { 'content-type': 'application/merge-patch+json' } },
  );

describe('watch', () => {
  test('an object that leaves the selector is DELETED, one that comes back ADDED', async () => {
    const from = (await server.call('GET', path)).body.metadata.resourceVersion;
    const watching = await watch(`&resourceVersion=${from}&labelSelector=color%3Dred`);
    await post('sel', { color: 'red' });
    await relabel('sel', { color: 'blue' });
    await relabel('sel', { other: 'x' });
    await relabel('sel', { color: 'red' });
    await relabel('sel', { other: 'y' });
    await server.call('DELETE', `${path}/sel`);
    await watching.wait(5);
    expect(watching.summary()).toEqual(['ADDED sel', 'DELETED sel', 'ADDED sel', 'MODIFIED sel', 'DELETED sel']);
    const versions = watching.events.map((event) => Number(event.object.metadata.resourceVersion));
    expect(versions).toEqual([...versions].sort((a, b) => a - b));
    await watching.close();
  });

  test('without a version the present comes first; many watchers from different versions see one order', async () => {
    const watchers: Watching[] = [await watch('&resourceVersion=0')];
    await watchers[0]!.wait(0);
    for (let i = 0; i < 20; i++) {
      const version = await post(`o-${i}`);
      watchers.push(await watch(`&resourceVersion=${version}`));
    }
    for (let i = 0; i < 20; i++) await server.call('DELETE', `${path}/o-${i}`);
    await watchers[0]!.wait(40);
    const all = watchers[0]!.events.map((event) => `${event.type} ${event.object.metadata.resourceVersion}`);
    for (const watcher of watchers.slice(1)) {
      await watcher.wait(20);
      const seen = watcher.events.map((event) => `${event.type} ${event.object.metadata.resourceVersion}`);
      expect(all.slice(-seen.length)).toEqual(seen);
    }
    for (const watcher of watchers) await watcher.close();
  });

  test('sendInitialEvents: everything, a marked bookmark, then changes', async () => {
    await post('init-1');
    const watching = await watch('&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true');
    const events = await watching.wait(2);
    const mark = events.findIndex((event) => event.type === 'BOOKMARK');
    expect(events[mark]!.object.metadata.annotations).toEqual({ 'k8s.io/initial-events-end': 'true' });
    expect(events.slice(0, mark).every((event) => event.type === 'ADDED')).toBe(true);
    await post('init-2');
    await watching.wait(mark + 2);
    expect(watching.summary().at(-1)).toBe('ADDED init-2');
    await watching.close();
    const refused = await server.call('GET', `${path}?watch=true&sendInitialEvents=true`);
    expect(refused.status).toBe(422);
  });

  test('one name can be watched; tables come with their columns once', async () => {
    await post('named');
    const watching = await watch(
      '&fieldSelector=metadata.name%3Dnamed',
      path,
      'application/json;as=Table;v=v1;g=meta.k8s.io',
    );
    await relabel('named', { a: 'b' });
    await post('unnamed');
    const events = (await watching.wait(2)) as unknown as {
      type: string;
      object: { kind: string; columnDefinitions: unknown[] | null };
    }[];
    expect(events.map((event) => event.type)).toEqual(['ADDED', 'MODIFIED']);
    expect(events[0]!.object.kind).toBe('Table');
    expect(events[0]!.object.columnDefinitions?.length).toBeGreaterThan(0);
    expect(events[1]!.object.columnDefinitions).toBeNull();
    await watching.close();
  });

  test('after a restart history is there; what is compacted away is an ERROR 410', async () => {
    const from = Number(await post('old'));
    await relabel('old', { n: '1' });
    await relabel('old', { n: '2' });
    const again = await startTestServerOn(server);
    const watching = new Watching(
      await again.fetch(
        new Request(`http://x${path}?watch=true&resourceVersion=${from}&fieldSelector=metadata.name%3Dold`),
        {
          identity: admin,
        },
      ),
    );
    await watching.wait(2);
    await relabel('old', { n: '3' });
    await watching.wait(3);
    expect(watching.summary()).toEqual(['MODIFIED old', 'MODIFIED old', 'MODIFIED old']);
    await relabel('old', { n: '4' });
    await watching.wait(4);
    expect(watching.events).toHaveLength(4);
    await watching.close();
    await server.store.compact(server.store.revision);
    await again.close();
    const third = await startTestServerOn(server);
    const expired = new Watching(
      await third.fetch(new Request(`http://x${path}?watch=true&resourceVersion=${from}`), { identity: admin }),
    );
    await expired.wait(1);
    expect(expired.events[0]).toMatchObject({
      type: 'ERROR',
      object: { kind: 'Status', code: 410, reason: 'Expired' },
    });
    await third.close();
  });

  test('a watch from before the window reads the store and joins the others: nothing twice, nothing missing', async () => {
    const from = Number(await post('before'));
    for (let i = 0; i < 5; i++) await relabel('before', { n: String(i) });
    const atRest = new AtRest({
      store: server.store,
      clusterKey: undefined,
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
    });
    const hub = new WatchHub(server.store, systemClock, silentLogger, atRest, 0);
    const seen: number[] = [];
    const subscription = hub.subscribe('/registry/core/configmaps/', 'w/', from, {
      onChanges: (changes) => seen.push(...changes.map((change) => change.revision)),
      onEnd: () => undefined,
    });
    for (let i = 0; i < 5; i++) await relabel('before', { m: String(i) });
    for (let i = 0; i < 100 && seen.length < 10; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(seen).toHaveLength(10);
    expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
    expect(subscription.progress()).toBeGreaterThanOrEqual(seen.at(-1)!);
    subscription.close();
    expect(hub.subscribers).toBe(0);
    hub.close();
  });

  test('a watch ends after its timeout, and one from the future is refused', async () => {
    const watching = await watch('&timeoutSeconds=1&resourceVersion=0');
    await new Promise((resolve) => setTimeout(resolve, 1300));
    expect(watching.ended).toBe(true);
    const future = await server.call('GET', `${path}?watch=true&resourceVersion=999999999`);
    expect(future.status).toBe(504);
    expect(future.body.details.causes[0].reason).toBe('ResourceVersionTooLarge');
  });
});

/** A second API server over the same store, as after a restart: its window begins now. */
async function startTestServerOn(other: TestServer): ReturnType<typeof import('./testing.ts').startApi> {
  const { startApi } = await import('./testing.ts');
  return startApi(other.store, other.pki);
}
