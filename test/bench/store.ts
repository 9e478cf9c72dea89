/**
 * `bun test/bench/store.ts [seconds] [keys]`: the control-plane store and Debian's etcd side by side: same disk, same run, each a process of its own
 * on a file system of its own, both asked over gRPC by the same client, which is a third process and takes its share of the machine. Ratios above 1 are in
 * our favour. Ours is compiled as the executable is, and its engine is told what a server's is. Bytes written are counted at the device, the file system's
 * journal included. Needs root.
 *
 * Memory is PSS, while the processes of the other roles of a node, which are of the same executable and share its pages, are there too: as many idle stores.
 * What is anonymous is no other process's, and no file's.
 *
 * `bun test/bench/store.ts memory [keys]`: only the rows of memory, after three seconds each of puts, gets and ranges.
 *
 * `bun test/bench/store.ts idle [seconds]`: only what both write while nothing happens but ten Leases that are renewed every 10 s.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { utf8 } from '../../internal/base/bytes.ts';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock, systemRandom } from '../../internal/base/system.ts';
import { codec, type Wide } from '../../internal/store/etcd/messages.ts';
import { safeNumber } from '../../internal/store/mvccpb.ts';
import { GrpcConnection } from '../../internal/store/grpc/client.ts';
import { compileOptions } from '../../cmd/build/compile-options.ts';
import { engineEnvironment, roleEntry } from '../../internal/node/role-table.ts';
import { standardConfig } from '../../internal/node/standard-config.testing.ts';
import { openStore } from '../../internal/store/store.ts';
import { must, root, until } from '../e2e/harness.ts';
import { type CountedDirectory, countedDirectory } from './counted-directory.ts';
import { leaseBytes, leaseKey, leasesEveryMs } from './store-leases.ts';

const idle = process.argv[2] === 'idle';
const memoryOnly = process.argv[2] === 'memory';
const seconds = idle ? 0 : memoryOnly ? 3 : Number(process.argv[2] ?? 5);
const manyKeys = Number(process.argv[3] ?? 100_000);
const idleSeconds = Number(process.argv[3] ?? 300);
const leases = 10;
/** What the supervisor tells the engine of a server with the standard configuration: etcd does not look at it. */
const engine = engineEnvironment(roleEntry('server')!, standardConfig());
/** Processes of the executable on a node beside its server: supervisor, mon, mgr, one OSD, agent and edge. */
const otherRoles = 6;
/** How long a server is left alone before the memory that it keeps is read. */
const restMs = 10_000;
const directory = mkdtempSync(join(process.env.BENCH_DIR ?? tmpdir(), 'store-bench-'));
const value = new Uint8Array(256).fill(0x61);
const message = {
  put: codec('PutRequest'),
  range: codec('RangeRequest'),
  counted: codec<{ count: Wide }>('RangeResponse'),
  txn: codec('TxnRequest'),
  watch: codec('WatchRequest'),
};
const requestMs = 60_000;
/** Keys of each client: of 100, together fewer than the rows behind them hold. */
const clientKeys = 50;
const fewKeys = 10_000;

class Server {
  readonly name: string;
  readonly disk: CountedDirectory;
  readonly #argv: string[];
  readonly #port: number;
  #child: Bun.Subprocess | undefined;
  connections: GrpcConnection[] = [];
  /** Keys that `fillTo` has written. */
  #filled = 0;

  constructor(name: string, disk: CountedDirectory, port: number, argv: string[]) {
    this.name = name;
    this.disk = disk;
    this.#port = port;
    this.#argv = argv;
  }

  /** Milliseconds until it answers a read. */
  async start(): Promise<number> {
    const began = performance.now();
    const env = { ...process.env, ...engine };
    this.#child = Bun.spawn(this.#argv, { stdout: 'ignore', stderr: 'ignore', cwd: root, env });
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
  put(key: string, client = 0, content = value): Promise<unknown> {
    return this.#call('Put', message.put.encode({ key: utf8(key), value: content }), client);
  }
  get(key: string, client = 0): Promise<unknown> {
    return this.#call('Range', message.range.encode({ key: utf8(key) }), client);
  }
  range(first: string, end: string, client = 0): Promise<unknown> {
    return this.#call('Range', message.range.encode({ key: utf8(first), rangeEnd: utf8(end), limit: 1000 }), client);
  }
  /** Writes keys until the store has `count`, in transactions of 100, so that it takes little time. */
  async fillTo(count: number): Promise<void> {
    const everything = message.range.encode({ key: new Uint8Array(1), rangeEnd: new Uint8Array(1), countOnly: true });
    const keys = async (): Promise<number> =>
      safeNumber(message.counted.decode(await this.#call('Range', everything, 0)).count);
    const to = this.#filled + count - (await keys());
    let next = this.#filled;
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
    this.#filled = to;
    const found = await keys();
    if (found !== count) throw new Error(`${this.name} has ${found} keys instead of ${count}`);
  }

  #proc(file: string, pattern: RegExp): number {
    return Number(pattern.exec(readFileSync(`/proc/${this.#child!.pid}/${file}`, 'utf8'))![1]);
  }
  get pssMiB(): number {
    return this.#proc('smaps_rollup', /^Pss:\s+(\d+)/m) / 1024;
  }
  get anonymousMiB(): number {
    return this.#proc('smaps_rollup', /^Anonymous:\s+(\d+)/m) / 1024;
  }
}

/** Before each rate is measured, so that compilers and caches have seen what comes. */
const warmUpMs = 1000;

/** Calls a second of `clients` callers that each wait for their answer. */
async function rate(clients: number, call: (client: number, i: number) => Promise<unknown>): Promise<number> {
  await callers(clients, warmUpMs, call);
  return (await callers(clients, seconds * 1000, call)) / seconds;
}

/** How many calls were answered within a time. */
async function callers(
  clients: number,
  forMs: number,
  call: (client: number, i: number) => Promise<unknown>,
): Promise<number> {
  const end = performance.now() + forMs;
  let count = 0;
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let i = 0; performance.now() < end; i++) {
        await call(client, i);
        count++;
      }
    }),
  );
  return count;
}

/** Which puts an answer of a watch tells of: one may hold several events. Their values have no key in them. */
function watchedIn(answer: Uint8Array): number[] {
  const text = Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength).toString('latin1');
  return Array.from(text.matchAll(/watched\/(\d+)/g), ([, i]) => Number(i));
}

/** 1,000 watches of one prefix, 100 puts a second: the share of events that arrived, and the median in milliseconds from a put to its own event. */
async function watchers(server: Server): Promise<{ share: number; delayMs: number }> {
  const sent: number[] = [];
  const delays: number[] = [];
  let created = 0;
  const streams = Array.from({ length: 1000 }, (_, i) => {
    let first = true;
    const stream = server.connections[i % server.connections.length]!.stream('/etcdserverpb.Watch/Watch', {
      onMessage: (answer) => {
        if (first) {
          first = false;
          created++;
          return;
        }
        const now = performance.now();
        for (const i of watchedIn(answer)) delays.push(now - sent[i]!);
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
const disk = (name: string): Promise<CountedDirectory> =>
  countedDirectory(join(directory, name), join(directory, `${name}.img`));
const disks = { appliance: await disk('appliance'), etcd: await disk('etcd') };
const executable = join(directory, 'store-server');
await must([
  ...[process.execPath, 'build', ...compileOptions, '--outfile', executable],
  ...['test/bench/store-server.ts', 'internal/store/writer.worker.ts'].map((file) => join(root, file)),
]);
const ourServer = (...more: string[]): Server =>
  new Server('appliance', disks.appliance, port, [
    executable,
    join(disks.appliance.path, 'store'),
    String(port),
    ...more,
  ]);
const etcdServer = new Server('etcd', disks.etcd, port + 1, [
  'etcd',
  ...['--data-dir', join(disks.etcd.path, 'etcd'), '--log-level', 'error', '--logger', 'zap'],
  ...['--listen-client-urls', etcdUrl(1), '--advertise-client-urls', etcdUrl(1)],
  ...['--listen-peer-urls', etcdUrl(2), '--initial-advertise-peer-urls', etcdUrl(2)],
  ...['--initial-cluster', `default=${etcdUrl(2)}`, '--quota-backend-bytes', String(2 ** 32)],
]);
const servers: [Server, Server] = [ourServer(), etcdServer];

interface Row {
  what: string;
  unit: string;
  /** Less is better. */
  less?: boolean;
  /** The least ratio that the first version must reach. */
  bar?: number;
  /** Of ours, where the bar is not a ratio. */
  most?: number;
}

const grouped = (count: number): string => Math.round(count).toLocaleString('en-US');

/** As `docs/benchmarks.md` has it. */
function quantity(value: number, unit: string): string {
  if (unit === 'share') return value === 1 ? 'all' : `${(100 * value).toFixed(2)} %`;
  if (unit === '/s') return `${grouped(value)}/s`;
  return unit === 'KiB' ? `${grouped(value)} KiB` : `${value.toFixed(1)} ${unit}`;
}

function print({ what, unit, less, bar, most }: Row, ours: number, theirs: number): void {
  const ratio = less ? theirs / ours : ours / theirs;
  const reached = bar !== undefined ? ratio >= bar : most !== undefined ? ours <= most : undefined;
  const cells = [
    what,
    quantity(ours, unit),
    quantity(theirs, unit),
    ratio.toFixed(2),
    bar !== undefined ? `${bar}x` : most !== undefined ? `${most} ${unit}` : '',
    reached === undefined ? '' : reached ? 'yes' : 'no',
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

async function row(what: Row, measure: (server: Server) => Promise<number>): Promise<[number, number]> {
  const ours = await measure(servers[0]);
  const theirs = await measure(servers[1]);
  print(what, ours, theirs);
  return [ours, theirs];
}

/** MB written in an hour in which every so often all Leases are renewed through the face, unless somebody else renews them. */
async function idleHour(server: Server, renew: boolean): Promise<number> {
  const content = new Uint8Array(leaseBytes).fill(0x61);
  const before = await server.disk.written();
  const end = performance.now() + idleSeconds * 1000;
  while (performance.now() < end) {
    if (renew) for (let i = 0; i < leases; i++) await server.put(leaseKey(i), i, content);
    else await server.get(leaseKey(0));
    await Bun.sleep(Math.min(leasesEveryMs, Math.max(0, end - performance.now())));
  }
  return (((await server.disk.written()) - before) * 3600) / idleSeconds / 1e6;
}

async function measureIdle(): Promise<void> {
  for (const server of servers) await server.start();
  const [ours, theirs] = await Promise.all(servers.map((server) => idleHour(server, true)));
  const unit = 'MB';
  print({ what: 'idle hour with ten Leases, renewed through the face', unit, less: true }, ours!, theirs!);
  await servers[0].kill();
  const own = ourServer(String(leases));
  servers[0] = own;
  await own.start();
  await Bun.sleep(2 * leasesEveryMs);
  const what = 'idle hour with ten Leases, ours renewed in process, as our API server does';
  print({ what, unit, less: true, most: 10 }, await idleHour(own, false), theirs!);
}

/** KiB that reach the disk for 1,000 puts. */
async function bytesOfPuts(server: Server, clients: number): Promise<number> {
  const rounds = clients === 1 ? 1000 : 5000;
  const before = await server.disk.written();
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let i = 0; i < rounds / clients; i++) await server.put(`bytes/${client}/${i % 10}`, client);
    }),
  );
  return ((await server.disk.written()) - before) / 1024 / (rounds / 1000);
}

/** Puts a second of a store in this process, without gRPC. */
async function inProcess(clients: number): Promise<number> {
  const dir = join(disks.appliance.path, 'in-process');
  const store = await openStore({
    dir,
    disk: systemDisk,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  });
  try {
    return await rate(clients, (client, i) => store.put({ key: utf8(`k/${client}/${i % 100}`), value }));
  } finally {
    await store.close();
    rmSync(dir, { recursive: true });
  }
}

async function measureMemory(what: string): Promise<void> {
  const memory = { unit: 'MiB', less: true, bar: 2 };
  await row({ what: `memory ${what}, right after the load`, ...memory }, async (server) => server.pssMiB);
  await row({ what: 'of that anonymous', unit: 'MiB', less: true }, async (server) => server.anonymousMiB);
  await Bun.sleep(restMs);
  await row({ what: 'later', ...memory }, async (server) => server.pssMiB);
  await row({ what: 'of that anonymous', unit: 'MiB', less: true }, async (server) => server.anonymousMiB);
}

/** Idle processes of our executable. */
function startOtherRoles(): Bun.Subprocess[] {
  return Array.from({ length: otherRoles }, (_, i) =>
    Bun.spawn([executable, join(directory, `other-${i}`), String(port + 10 + i)], {
      stdout: 'ignore',
      stderr: 'ignore',
      env: { ...process.env, ...engine },
    }),
  );
}

async function measureMemoryOnly(): Promise<void> {
  for (const server of servers) await server.start();
  const put = { what: 'put 256 B, 100 clients', unit: '/s', bar: 0.3 };
  await row(put, (server) => rate(100, (client, i) => server.put(`k/${client}/${i % clientKeys}`, client)));
  const get = { what: 'linearizable get, 100 clients', unit: '/s', bar: 0.3 };
  await row(get, (server) => rate(100, (client, i) => server.get(`k/${client}/${i % clientKeys}`, client)));
  for (const server of servers) await server.fillTo(fewKeys);
  await row({ what: 'range of 1,000 keys, 4 clients', unit: '/s', bar: 0.3 }, (server) =>
    rate(4, (client) => server.range('fill/00001000', 'fill/00002000', client)),
  );
  await measureMemory(`with ${grouped(fewKeys)} keys`);
  for (const server of servers) await server.fillTo(manyKeys);
  await measureMemory(`after writing ${grouped(manyKeys)} keys`);
  for (const server of servers) {
    await server.kill();
    await server.start();
  }
  await measureMemory('after kill -9 and a start with them');
}

async function measureAll(): Promise<void> {
  for (const server of servers) await server.start();
  const perSecond = '/s';
  const one = await row({ what: 'put 256 B, one client', unit: perSecond, bar: 0.3 }, (server) =>
    rate(1, (client, i) => server.put(`one/${i % 1000}`, client)),
  );
  const hundred = await row({ what: 'put 256 B, 100 clients', unit: perSecond, bar: 0.3 }, (server) =>
    rate(100, (client, i) => server.put(`k/${client}/${i % clientKeys}`, client)),
  );
  const ours = 'ours in process';
  print({ what: `put 256 B, one caller, ${ours}`, unit: perSecond, bar: 1 }, await inProcess(1), one[1]);
  print({ what: `put 256 B, 100 callers, ${ours}`, unit: perSecond, bar: 1 }, await inProcess(100), hundred[1]);
  await row({ what: 'linearizable get, 100 clients', unit: perSecond, bar: 0.3 }, (server) =>
    rate(100, (client, i) => server.get(`k/${client}/${i % clientKeys}`, client)),
  );
  await row({ what: 'written for 1,000 puts of one client', unit: 'KiB', less: true }, (server) =>
    bytesOfPuts(server, 1),
  );
  await row({ what: 'written for 1,000 puts of 100 clients', unit: 'KiB', less: true }, (server) =>
    bytesOfPuts(server, 100),
  );
  for (const server of servers) await server.fillTo(fewKeys);
  await row({ what: 'range of 1,000 keys, 4 clients', unit: perSecond, bar: 0.3 }, (server) =>
    rate(4, (client) => server.range('fill/00001000', 'fill/00002000', client)),
  );
  const first = 'first 1,000 of 10,000 keys, with their count, 4 clients';
  await row({ what: first, unit: perSecond, bar: 0.3 }, (server) =>
    rate(4, (client) => server.range('\0', '\0', client)),
  );
  await measureMemory(`with ${grouped(fewKeys)} keys`);
  const told = new Map<string, { share: number; delayMs: number }>();
  await row(
    { what: '1,000 watches, 100 puts/s: share of events that arrived', unit: 'share', bar: 1 },
    async (server) => {
      told.set(server.name, await watchers(server));
      return told.get(server.name)!.share;
    },
  );
  await row(
    { what: 'the same: median delay', unit: 'ms', less: true },
    async (server) => told.get(server.name)!.delayMs,
  );
  for (const server of servers) await server.fillTo(manyKeys);
  await measureMemory(`after writing ${grouped(manyKeys)} keys`);
  await row({ what: `start after kill -9 with ${grouped(manyKeys)} keys`, unit: 's', less: true }, async (server) => {
    await server.kill();
    return (await server.start()) / 1000;
  });
  await measureMemory('after kill -9 and a start with them');
}

const others = startOtherRoles();
try {
  console.log('| | appliance | etcd 3.4.23 | ratio | bar | reached |\n|---|---|---|---|---|---|');
  if (idle) await measureIdle();
  else if (memoryOnly) await measureMemoryOnly();
  else await measureAll();
} finally {
  for (const other of others) {
    other.kill('SIGKILL');
    await other.exited;
  }
  for (const server of servers) await server.kill();
  for (const counted of Object.values(disks)) await counted.remove();
  rmSync(directory, { recursive: true });
}
process.exit(0);
