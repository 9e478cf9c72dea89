import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { seededRandom } from '../../../internal/base/random.ts';
import { type Any, Cluster, eventually } from '../api/harness.ts';
import { writeKubeconfig } from '../api/kubectl.ts';

/** Passes bytes to the server until `cut`. */
class Wire {
  readonly #sockets = new Set<net.Socket>();
  readonly #server: net.Server;
  /** Nobody gets through. */
  held = false;

  constructor(port: number) {
    this.#server = net.createServer((incoming) => {
      if (this.held) {
        incoming.resetAndDestroy();
        return;
      }
      const outgoing = net.connect(port, '127.0.0.1');
      for (const [one, other] of [
        [incoming, outgoing],
        [outgoing, incoming],
      ] as const) {
        this.#sockets.add(one);
        one.on('error', () => undefined);
        one.on('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
  }
  listen(): Promise<number> {
    return new Promise((resolve) => {
      this.#server.listen(0, '127.0.0.1', () => resolve((this.#server.address() as net.AddressInfo).port));
    });
  }
  /** Every connection ends at once, whatever is under way. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }
  close(): void {
    this.#server.close();
    this.cut();
  }
}

let cluster: Cluster;
let wire: Wire;
const directory = mkdtempSync(`${tmpdir()}/conformance-informer-`);
let config: string;
let client: ChildProcess | undefined;
beforeAll(async () => {
  cluster = await Cluster.start();
  wire = new Wire(cluster.server.listener!.port);
  config = writeKubeconfig(directory, cluster, `https://127.0.0.1:${await wire.listen()}`);
});
afterAll(async () => {
  client?.kill();
  rmSync(directory, { recursive: true, force: true });
  wire.close();
  await cluster.close();
});

test('informers of @kubernetes/client-node hold what the server holds after 1,000 changes under cut connections and lost history', async () => {
  const namespace = await cluster.namespace();
  const maps = cluster.resource('v1', 'configmaps', namespace);
  const ballast = cluster.resource('v1', 'configmaps', await cluster.namespace());
  const fill = 'x'.repeat(800 * 1024);
  const random = seededRandom(4711);
  const pick = (below: number): number => random.uint32() % below;
  const side = (): string => (pick(2) === 0 ? 'left' : 'right');
  const live: string[] = [];
  for (let i = 0; i < 50; i++) {
    live.push(`before-${i}`);
    await maps.create({ metadata: { name: `before-${i}`, labels: { side: side() } }, data: { n: '0' } });
  }
  client = spawn('node', [join(import.meta.dirname, 'client.mjs'), namespace], {
    env: { ...process.env, KUBECONFIG: config },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: client.stdout! })[Symbol.asyncIterator]();
  const state = async (): Promise<Any> => {
    client!.stdin!.write('\n');
    return JSON.parse((await lines.next()).value ?? '');
  };
  await eventually('the informers are filled', async () => {
    const { all, selected } = await state();
    return all.cache.length > 0 && selected.cache.length > 0;
  });

  let cuts = 0;
  for (let change = 1; change <= 1000; change++) {
    const at = pick(live.length);
    switch (pick(3)) {
      case 0:
        live.push(`made-${change}`);
        await maps.create({
          metadata: { name: `made-${change}`, labels: { side: side() } },
          data: { n: String(change) },
        });
        break;
      case 1:
        await maps.patch(live[at]!, 'merge', { metadata: { labels: { side: side() } }, data: { n: String(change) } });
        break;
      default:
        if (live.length < 20) break;
        await maps.delete(live[at]!);
        // The name may come again, as another object.
        if (pick(3) === 0) await maps.create({ metadata: { name: live[at]!, labels: { side: side() } } });
        else live.splice(at, 1);
    }
    if (change % 40 === 0) {
      wire.cut();
      cuts++;
    }
    // While nobody gets through, history goes: the informers have to list anew.
    if (change % 250 === 200) wire.held = true;
    if (change % 250 === 240) {
      // The server remembers 8 MiB of changes beside the store's history.
      for (let i = 0; i < 11; i++) await ballast.create({ metadata: { generateName: 'b-' }, data: { fill } });
      await cluster.server.store.compact(cluster.server.store.revision);
      wire.held = false;
    }
  }
  expect(cuts).toBe(25);

  const essence = (objects: Any[]): Any[] =>
    objects
      .map(({ metadata, data }) => ({
        name: metadata.name,
        uid: metadata.uid,
        resourceVersion: metadata.resourceVersion,
        labels: metadata.labels,
        data: data ?? {},
      }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const last = await maps.create({ metadata: { name: 'last', labels: { side: 'left' } } });
  const { all, selected } = await eventually('both have the last', async () => {
    const now = await state();
    const has = (objects: Any[]): boolean => objects.some(({ metadata }) => metadata.uid === last.metadata.uid);
    return has(now.all.told) && has(now.selected.told) && now;
  });
  const stored = essence((await maps.list()).items);
  expect(stored.length).toBeGreaterThan(20);
  expect(essence(all.cache)).toEqual(stored);
  expect(essence(all.told)).toEqual(stored);
  const left = stored.filter(({ labels }) => labels?.side === 'left');
  expect(essence(selected.cache)).toEqual(left);
  expect(essence(selected.told)).toEqual(left);
  // They were cut off, came back, and listed anew each time that history had gone.
  for (const { counts } of [all, selected]) {
    expect(counts.error).toBeGreaterThan(5);
    expect(counts.list).toBeGreaterThanOrEqual(4);
  }
});
