import { EINVAL, Refusal } from '../mon/errno.ts';
import type { Command, CommandArguments, CommandTarget } from './command-target.ts';
import { perfCounters, perfSchema } from './perf-counters.ts';

/** Bounds of upstream: `osd_bench_max_block_size`, `osd_bench_duration`, `osd_bench_small_size_max_iops`, `osd_bench_large_size_max_throughput`. */
const bench = { maxBlockBytes: 64 * 2 ** 20, seconds: 30, smallIops: 100, bytesPerSecond: 100 * 2 ** 20 };
/** Objects that are written lie here, and are gone at the end. */
const benchCollection = 'bench';
/** Writes on their way at a time. */
const benchDepth = 16;

function sizeOf(args: CommandArguments, name: string, otherwise: number): number {
  const value = args[name] === undefined ? otherwise : Number(args[name]);
  if (!Number.isSafeInteger(value) || value < 0)
    throw new Refusal(EINVAL, `'${name}' must be a number of bytes, not '${String(args[name])}'`);
  return value;
}

/** Writes `count` bytes in pieces to the disk and gives the time that it took (`OSD::run_osd_bench_test`). Errors: EINVAL. */
async function runBench(target: CommandTarget, args: CommandArguments): Promise<Record<string, number>> {
  const { store, clock } = target;
  const count = sizeOf(args, 'count', 2 ** 30);
  const objectBytes = sizeOf(args, 'object_size', 0);
  const objects = sizeOf(args, 'object_num', 0);
  let blockBytes = sizeOf(args, 'size', 4 * 2 ** 20);
  if (blockBytes === 0 || blockBytes > bench.maxBlockBytes)
    throw new Refusal(EINVAL, `'size' must be between 1 and ${bench.maxBlockBytes} bytes`);
  const most =
    blockBytes < 2 ** 20 ? blockBytes * bench.seconds * bench.smallIops : bench.bytesPerSecond * bench.seconds;
  if (count > most)
    throw new Refusal(EINVAL, `'count' values greater than ${most} for a block size of ${blockBytes} take too long`);
  if (count > store.statfs().availableBytes / 2)
    throw new Refusal(EINVAL, `'count' values greater than half of the free space can cause ill effects on osd`);
  if (objectBytes > 0 && blockBytes > objectBytes) blockBytes = objectBytes;
  const inPlace = objectBytes > 0 && objects > 0;
  const data = new Uint8Array(blockBytes).fill(0x61);
  const key = (n: number): Uint8Array => Buffer.from(`disk_bw_test_${n}`);
  const used = new Set<number>();
  await store.queue({ ops: [{ op: 'create-collection', cid: benchCollection }] });
  const began = clock.monotonic();
  try {
    const blocks = Math.ceil(count / blockBytes);
    for (let first = 0; first < blocks; first += benchDepth) {
      const writes: Promise<void>[] = [];
      for (let n = first; n < Math.min(blocks, first + benchDepth); n++) {
        const object = inPlace ? n % objects : n;
        used.add(object);
        const offset = inPlace ? (Math.floor(n / objects) % Math.floor(objectBytes / blockBytes)) * blockBytes : 0;
        writes.push(
          store.queue({ ops: [{ op: 'write', cid: benchCollection, key: key(object), offset, data: [data] }] }),
        );
      }
      await Promise.all(writes);
    }
    const seconds = Math.max((clock.monotonic() - began) / 1000, 1e-6);
    const rate = count / seconds;
    return {
      bytes_written: count,
      blocksize: blockBytes,
      elapsed_sec: seconds,
      bytes_per_sec: rate,
      iops: rate / blockBytes,
    };
  } finally {
    const removals = [...used].map((n) => ({ op: 'remove', cid: benchCollection, key: key(n) }) as const);
    await store.queue({ ops: [...removals, { op: 'remove-collection', cid: benchCollection }] });
  }
}

function chosen(all: Record<string, unknown>, args: CommandArguments): unknown {
  const logger = args.logger === undefined ? undefined : all[String(args.logger)];
  if (args.logger === undefined) return all;
  if (logger === undefined) return {};
  if (args.counter === undefined) return { [String(args.logger)]: logger };
  const counter = (logger as Record<string, unknown>)[String(args.counter)];
  return { [String(args.logger)]: counter === undefined ? {} : { [String(args.counter)]: counter } };
}

function perf(target: CommandTarget): Record<string, unknown> {
  return perfCounters(target.osd, target.store, target.memory());
}

const logger = { name: 'logger', type: 'CephString', req: 'false' } as const;
const counter = { name: 'counter', type: 'CephString', req: 'false' } as const;

async function checkpoint(target: CommandTarget): Promise<number> {
  const began = target.clock.monotonic();
  await target.store.checkpoint();
  return (target.clock.monotonic() - began) / 1000;
}

/** The disk, memory and counters. */
export const storeCommands: readonly Command[] = [
  {
    sig: [
      'bench',
      ...(['count', 'size', 'object_size', 'object_num'] as const).map(
        (name) => ({ name, type: 'CephInt', req: 'false' }) as const,
      ),
    ],
    help: 'write to the disk and tell how long it took; by default 1 GiB in pieces of 4 MiB',
    perm: 'rw',
    run: runBench,
  },
  {
    sig: ['compact'],
    help: 'write what waits for a checkpoint now',
    perm: 'rw',
    run: async (t) => ({ elapsed_time: await checkpoint(t) }),
  },
  {
    sig: ['flush_journal'],
    help: 'write what waits for a checkpoint now',
    perm: 'rw',
    run: async (t) => void (await checkpoint(t)),
  },
  {
    sig: ['cache', 'drop'],
    help: 'forget what is known of objects that nobody uses',
    perm: 'rwx',
    run: (t) => {
      for (const pg of t.osd.pgs.values()) pg.engine.contexts.dropIdle();
    },
  },
  {
    sig: ['cache', 'status'],
    help: 'what is known in memory',
    perm: 'r',
    run: (t) => {
      let contexts = 0;
      for (const pg of t.osd.pgs.values()) contexts += pg.engine.contexts.size;
      return { object_ctx: contexts, blockstore_bytes: t.store.status().memoryBytes };
    },
  },
  {
    sig: ['dump_mempools'],
    help: 'where memory is',
    perm: 'r',
    run: (t) => {
      const pools = { blockstore: t.store.status().memoryBytes, ...t.memory() };
      const byPool = Object.entries(pools).map(([name, bytes]) => [name, { items: 0, bytes }] as const);
      return { mempool: { by_pool: Object.fromEntries(byPool), total: { items: 0, bytes: t.memory().rss ?? 0 } } };
    },
  },
  {
    sig: ['get_heap_property', { name: 'property', type: 'CephString' }],
    help: 'a property of tcmalloc, which this process does not use',
    perm: 'r',
    run: () => ({ error: 'invalid property', success: false, value: 0 }),
  },
  {
    sig: ['set_heap_property', { name: 'property', type: 'CephString' }, { name: 'value', type: 'CephInt' }],
    help: 'a property of tcmalloc, which this process does not use',
    perm: 'rw',
    run: () => ({ error: 'invalid property', success: false }),
  },
  ...(['dump', 'schema'] as const).flatMap((what): Command[] => {
    const run: Command['run'] = (t, args) => (what === 'dump' ? chosen(perf(t), args) : perfSchema(perf(t)));
    const help = what === 'dump' ? 'counters' : 'what counters there are';
    return [
      { sig: what === 'dump' ? ['perf', what, logger, counter] : ['perf', what], help, perm: 'r', run },
      { sig: [`perfcounters_${what}`], help, perm: 'r', run },
    ];
  }),
];
