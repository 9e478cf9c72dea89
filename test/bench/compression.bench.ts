/**
 * `bun test/bench/compression.bench.ts [directory]`: what compression costs a block store on a real disk, and what it saves. All ways are measured in turn, round after round, so
 * that what else the machine does meets all of them; the middle one of the rounds is shown. `BENCH_BASE=tree` measures the store of another checkout beside it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock } from '../../internal/base/system.ts';
import type { CompressionPolicy } from '../../internal/ceph/blockstore/api.ts';
import { type BlockStore, openBlockStore } from '../../internal/ceph/blockstore/blockstore.ts';
import { openSqliteIndex } from '../../internal/ceph/blockstore/index-sqlite-shell.ts';

const dir = mkdtempSync(`${process.argv[2] ?? tmpdir()}/compression-bench-`);
const seconds = Number(process.env.BENCH_SECONDS ?? 1);
const rounds = Number(process.env.BENCH_ROUNDS ?? 3);
const cid = '1.0';
const key = (name: string): Uint8Array => new Uint8Array(Buffer.from(name));
const mib = 2 ** 20;

/** Lines as of a log. */
const large = new Uint8Array(4 * mib);
for (let n = 0, at = 0; at < large.length; n++) {
  const line = Buffer.from(
    `2026-01-02T03:04:${n % 60} request ${(n * 7919) % 100003} of client ${n % 13} took ${(n * 31) % 977} ms\n`,
  );
  large.set(line.subarray(0, large.length - at), at);
  at += line.length;
}
const small = large.subarray(0, 4096);

interface Figure {
  perSecond: number;
  cpuMs: number;
}

async function run(inFlight: number, one: (i: number) => Promise<unknown>): Promise<Figure> {
  let next = 0;
  const cpu = process.cpuUsage();
  const began = performance.now();
  const end = began + seconds * 1000;
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (performance.now() < end) await one(next++);
    }),
  );
  const used = process.cpuUsage(cpu);
  return { perSecond: (next * 1000) / (performance.now() - began), cpuMs: (used.user + used.system) / 1000 / next };
}

interface Way {
  name: string;
  store: BlockStore;
  figures: Map<string, Figure[]>;
}

const policy = (algorithm: CompressionPolicy['algorithm']): CompressionPolicy => ({
  mode: 'aggressive',
  algorithm,
  requiredRatio: 0.875,
  minBlobBytes: 8192,
  maxBlobBytes: 65536,
});

async function way(name: string, open: typeof openBlockStore, how?: CompressionPolicy): Promise<Way> {
  const store = await open({
    disk: systemDisk,
    dir: `${dir}/${name}`,
    clock: systemClock,
    log: silentLogger,
    openIndex: openSqliteIndex,
    capacityBytes: 4 * 2 ** 30,
  });
  if (how !== undefined) store.setCompression(new Map([[1, how]]));
  await store.queue({ ops: [{ op: 'create-collection', cid }] });
  return { name, store, figures: new Map() };
}

const objects = 24;
const random = (below: number): number => Math.floor(Math.random() * below);

try {
  const base = process.env.BENCH_BASE;
  const ways: Way[] = [];
  if (base !== undefined) {
    const other = (await import(`${base}/internal/ceph/blockstore/blockstore.ts`)) as {
      openBlockStore: typeof openBlockStore;
    };
    ways.push(await way('other checkout', other.openBlockStore));
  }
  ways.push(await way('none', openBlockStore));
  for (const algorithm of ['lz4', 'zstd', 'snappy'] as const)
    ways.push(await way(algorithm, openBlockStore, policy(algorithm)));
  const write = (store: BlockStore, name: string, offset: number, data: Uint8Array): Promise<void> =>
    store.queue({ ops: [{ op: 'write', cid, key: key(name), offset, data: [data] }] });
  const loads: [string, number, (store: BlockStore) => (i: number) => Promise<unknown>][] = [
    ['4 MiB writes, 4 in flight', 4, (store) => (i) => write(store, `m${i % objects}`, 0, large)],
    ['4 MiB reads, 4 in flight', 4, (store) => (i) => store.read(cid, key(`m${i % objects}`), 0, large.length)],
    [
      '4 KiB random reads, 16 in flight',
      16,
      (store) => () => store.read(cid, key(`m${random(objects)}`), random(1024) * 4096, 4096),
    ],
    ['4 KiB new objects, 16 in flight', 16, (store) => (i) => write(store, `s${i}`, 0, small)],
    [
      '4 KiB random overwrites, 16 in flight',
      16,
      (store) => () => write(store, `m${random(objects)}`, random(1024) * 4096, small),
    ],
  ];
  for (const { store } of ways) for (let n = 0; n < objects; n++) await write(store, `m${n}`, 0, large);
  for (const { name, store } of ways) {
    const { dataBytes, allocatedBytes } = store.statfs();
    console.log(`${name}: ${(dataBytes / mib).toFixed(0)} MiB of text in ${(allocatedBytes / mib).toFixed(1)} MiB`);
  }
  for (const [load, inFlight, one] of loads) {
    for (let round = 0; round < rounds; round++)
      for (const { store, figures } of round % 2 === 0 ? ways : [...ways].reverse())
        figures.set(load, [...(figures.get(load) ?? []), await run(inFlight, one(store))]);
    for (const { name, figures } of ways) {
      const middle = (of: (figure: Figure) => number): number =>
        figures
          .get(load)!
          .map(of)
          .sort((a, b) => a - b)[Math.floor(rounds / 2)]!;
      console.log(
        `${load.padEnd(40)} ${name.padEnd(16)} ${middle((f) => f.perSecond)
          .toFixed(0)
          .padStart(7)}/s  cpu ${middle((f) => f.cpuMs).toFixed(3)} ms each`,
      );
    }
  }
  for (const { store } of ways) await store.close();
} finally {
  rmSync(dir, { recursive: true });
}
