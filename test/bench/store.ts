/**
 * `bun test/bench/store.ts [seconds] [keys]`: the control-plane store and Debian's etcd side by side: same disk, same run, each a process of its own,
 * both asked over gRPC by the same client, which is a third process and takes its share of the machine. Ratios above 1 are in our favour.
 * Memory is PSS. Bytes written are not here: the kernel counts a mebibyte for each small overwrite of a preallocated file (`idle-writes.ts` asks the device).
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { utf8 } from '../../internal/base/bytes.ts';
import { codec } from '../../internal/store/etcd/messages.ts';
import { GrpcConnection } from '../../internal/store/grpc/client.ts';
import { root, until } from '../e2e/harness.ts';

const seconds = Number(process.argv[2] ?? 5);
const manyKeys = Number(process.argv[3] ?? 100_000);
const directory = mkdtempSync(join(process.env.BENCH_DIR ?? tmpdir(), 'store-bench-'));
const value = new Uint8Array(256).fill(0x61);
const message = {
  put: codec('PutRequest'),
  range: codec('RangeRequest'),
  txn: codec('TxnRequest'),
  watch: codec('WatchRequest'),
};
const requestMs = 60_000;

class Server {
  readonly name: string;
  readonly #argv: string[];
  readonly #port: number;
  #child: Bun.Subprocess | undefined;
  connections: GrpcConnection[] = [];

  constructor(name: string, port: number, argv: string[]) {
    this.name = name;
    this.#port = port;
    this.#argv = argv;
  }

  /** Milliseconds until it answers a read. */
  async start(): Promise<number> {
    const began = performance.now();
    this.#child = Bun.spawn(this.#argv, { stdout: 'ignore', stderr: 'ignore', cwd: root });
    const connect = () => GrpcConnection.connect({ host: '127.0.0.1', port: this.#port }, () => undefined);
    for (;;) {
      try {
        this.connections = [await connect()];
        await this.get('x');
        break;
      } catch {
        if (performance.now() - began > 120_000) throw new Error(`${this.name} does not answer`);
        await Bun.sleep(10);
      }
    }
    const took = performance.now() - began;
    this.connections.push(...(await Promise.all(Array.from({ length: 3 }, connect))));
    return took;
  }

  async kill(): Promise<void> {
    for (const connection of this.connections) connection.close();
    this.#child?.kill('SIGKILL');
    await this.#child?.exited;
  }

  #call(method: string, bytes: Uint8Array, client: number): Promise<Uint8Array> {
    return this.connections[client % this.connections.length]!.unary(`/etcdserverpb.KV/${method}`, bytes, requestMs);
  }
  put(key: string, client = 0): Promise<unknown> {
    return this.#call('Put', message.put.encode({ key: utf8(key), value }), client);
  }
  get(key: string, client = 0): Promise<unknown> {
    return this.#call('Range', message.range.encode({ key: utf8(key) }), client);
  }
  range(first: string, end: string, client = 0): Promise<unknown> {
    return this.#call('Range', message.range.encode({ key: utf8(first), rangeEnd: utf8(end), limit: 1000 }), client);
  }
  /** Keys in transactions of 100, so that filling takes little time. */
  async fill(from: number, to: number): Promise<void> {
    let next = from;
    const worker = async (client: number): Promise<void> => {
      while (next < to) {
        const at = next;
        next += 100;
        const success = Array.from({ length: Math.min(100, to - at) }, (_, i) => ({
          requestPut: { key: utf8(`fill/${String(at + i).padStart(8, '0')}`), value },
        }));
        await this.#call('Txn', message.txn.encode({ success }), client);
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, client) => worker(client)));
  }

  #proc(file: string, pattern: RegExp): number {
    return Number(pattern.exec(readFileSync(`/proc/${this.#child!.pid}/${file}`, 'utf8'))![1]);
  }
  get pssMiB(): number {
    return this.#proc('smaps_rollup', /^Pss:\s+(\d+)/m) / 1024;
  }
}

/** Calls a second of `clients` callers that each wait for their answer. */
async function rate(clients: number, call: (client: number, i: number) => Promise<unknown>): Promise<number> {
  const end = performance.now() + seconds * 1000;
  let count = 0;
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let i = 0; performance.now() < end; i++) {
        await call(client, i);
        count++;
      }
    }),
  );
  return count / seconds;
}

/** 1,000 watches of one prefix, 100 puts a second: the share of events that arrived, and their median delay in milliseconds. */
async function watchers(server: Server): Promise<{ share: number; delayMs: number }> {
  const sent: number[] = [];
  const delays: number[] = [];
  let created = 0;
  const streams = Array.from({ length: 1000 }, (_, i) => {
    let first = true;
    const stream = server.connections[i % server.connections.length]!.stream('/etcdserverpb.Watch/Watch', {
      onMessage: () => {
        if (first) {
          first = false;
          created++;
          return;
        }
        delays.push(performance.now() - sent.at(-1)!);
      },
      onEnd: () => undefined,
    });
    stream.send(message.watch.encode({ createRequest: { key: utf8('watched/'), rangeEnd: utf8('watched0') } }));
    return stream;
  });
  await until('watches', 60_000, async () => created === 1000);
  const puts = 100 * Math.min(seconds, 5);
  const began = performance.now();
  for (let i = 0; i < puts; i++) {
    const due = began + i * 10;
    if (due > performance.now()) await Bun.sleep(due - performance.now());
    sent.push(performance.now());
    await server.put(`watched/${i}`);
  }
  await Bun.sleep(1000);
  for (const stream of streams) stream.cancel();
  delays.sort((a, b) => a - b);
  return { share: delays.length / (puts * 1000), delayMs: delays[delays.length >> 1] ?? Number.NaN };
}

const port = 20_000 + (process.pid % 10_000);
const etcdUrl = (offset: number): string => `http://127.0.0.1:${port + offset}`;
const servers = [
  new Server('appliance', port, [
    process.execPath,
    join(root, 'test/bench/store-server.ts'),
    join(directory, 'ours'),
    String(port),
  ]),
  new Server('etcd', port + 1, [
    'etcd',
    ...['--data-dir', join(directory, 'etcd'), '--log-level', 'error', '--logger', 'zap'],
    ...['--listen-client-urls', etcdUrl(1), '--advertise-client-urls', etcdUrl(1)],
    ...['--listen-peer-urls', etcdUrl(2), '--initial-advertise-peer-urls', etcdUrl(2)],
    ...['--initial-cluster', `default=${etcdUrl(2)}`, '--quota-backend-bytes', String(2 ** 32)],
  ]),
] as const;

const row = async (what: string, unit: string, less: boolean, measure: (server: Server) => Promise<number>) => {
  const figures: number[] = [];
  for (const server of servers) figures.push(await measure(server));
  const [ours, theirs] = figures as [number, number];
  const ratio = less ? theirs / ours : ours / theirs;
  console.log(`| ${what} | ${ours.toFixed(1)} ${unit} | ${theirs.toFixed(1)} ${unit} | ${ratio.toFixed(2)} |`);
};

try {
  for (const server of servers) await server.start();
  console.log('| | appliance | etcd 3.4.23 | ratio |\n|---|---|---|---|');
  await row('put 256 B, one client', '/s', false, (server) =>
    rate(1, (client, i) => server.put(`one/${i % 1000}`, client)),
  );
  await row('put 256 B, 100 clients', '/s', false, (server) =>
    rate(100, (client, i) => server.put(`k/${client}/${i % 100}`, client)),
  );
  await row('linearizable get, 100 clients', '/s', false, (server) =>
    rate(100, (client, i) => server.get(`k/${client}/${i % 100}`, client)),
  );
  for (const server of servers) await server.fill(0, 10_000);
  await row('range of 1,000 keys, 4 clients', '/s', false, (server) =>
    rate(4, (client) => server.range('fill/00001000', 'fill/00002000', client)),
  );
  await row('first 1,000 of 10,000 keys, with their count, 4 clients', '/s', false, (server) =>
    rate(4, (client) => server.range('fill/', 'fill0', client)),
  );
  await row('memory with 10,000 keys more', 'MiB', true, async (server) => server.pssMiB);
  const told: Record<string, { share: number; delayMs: number }> = {};
  await row('1,000 watches, 100 puts/s: answers for an event and a watch', '', false, async (server) => {
    told[server.name] = await watchers(server);
    return told[server.name]!.share;
  });
  await row('the same: median delay of an answer', 'ms', true, async (server) => told[server.name]!.delayMs);
  for (const server of servers) await server.fill(10_000, manyKeys);
  await row(`memory with ${manyKeys} keys more`, 'MiB', true, async (server) => server.pssMiB);
  await row(`start after kill -9 with ${manyKeys} keys`, 'ms', true, async (server) => {
    await server.kill();
    return server.start();
  });
  await row('memory after that start', 'MiB', true, async (server) => server.pssMiB);
} finally {
  for (const server of servers) await server.kill();
  rmSync(directory, { recursive: true });
}
process.exit(0);
