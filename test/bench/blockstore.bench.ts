/** `bun test/bench/blockstore.bench.ts [directory]`: one block store on a real disk, as an OSD uses it. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock } from '../../internal/base/system.ts';
import type { TransactionOp } from '../../internal/ceph/blockstore/api.ts';
import { openBlockStore } from '../../internal/ceph/blockstore/blockstore.ts';
import { openSqliteIndex } from '../../internal/ceph/blockstore/index-sqlite-shell.ts';

const dir = mkdtempSync(`${process.argv[2] ?? tmpdir()}/blockstore-bench-`);
const cid = '1.0';
const key = (name: string): Uint8Array => new Uint8Array(Buffer.from(name));

/** Anonymous and file-backed memory of this process, MB. */
function memory(): string {
  const rollup = readFileSync('/proc/self/smaps_rollup', 'utf8');
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(rollup)?.[1] ?? 0) / 1024;
  return `PSS ${of('Pss').toFixed(0)} MB, anonymous ${of('Anonymous').toFixed(0)} MB`;
}

let longestStall = 0;
let lastTick = performance.now();
setInterval(() => {
  const now = performance.now();
  longestStall = Math.max(longestStall, now - lastTick - 5);
  lastTick = now;
}, 5).unref();

async function run(
  name: string,
  inFlight: number,
  size: number,
  seconds: number,
  one: (i: number) => Promise<unknown>,
): Promise<void> {
  const latencies: number[] = [];
  longestStall = 0;
  let next = 0;
  const cpu = process.cpuUsage();
  const began = performance.now();
  const end = began + seconds * 1000;
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (performance.now() < end) {
        const start = performance.now();
        await one(next++);
        latencies.push(performance.now() - start);
      }
    }),
  );
  const took = (performance.now() - began) / 1000;
  const used = process.cpuUsage(cpu);
  latencies.sort((a, b) => a - b);
  const at = (q: number): string =>
    latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * q))]!.toFixed(2);
  const rate = latencies.length / took;
  console.log(
    `${name.padEnd(44)} ${rate.toFixed(0).padStart(6)}/s ${((rate * size) / 1e6).toFixed(0).padStart(5)} MB/s  p50 ${at(0.5)} p99 ${at(0.99)} max ${at(1)} ms` +
      `  cpu ${(((used.user + used.system) / 1e6 / took) * 100).toFixed(0)}%  loop stall ${longestStall.toFixed(0)} ms`,
  );
}

/** What an OSD queues for a client's write: data, object info, a log entry. */
function osdWrite(name: string, offset: number, data: Uint8Array, sequence: number): TransactionOp[] {
  return [
    { op: 'write', cid, key: key(name), offset, data: [data] },
    {
      op: 'set-xattrs',
      cid,
      key: key(name),
      xattrs: new Map([
        ['_', new Uint8Array(260)],
        ['snapset', new Uint8Array(31)],
      ]),
    },
    {
      op: 'omap-set',
      cid,
      key: key('pgmeta'),
      entries: new Map([
        [sequence.toString().padStart(20, '0'), new Uint8Array(180)],
        ['_info', new Uint8Array(600)],
      ]),
    },
    ...(sequence > 3000
      ? [
          {
            op: 'omap-remove',
            cid,
            key: key('pgmeta'),
            keys: [(sequence - 3000).toString().padStart(20, '0')],
          } as const,
        ]
      : []),
  ];
}

try {
  console.log(`before: ${memory()}`);
  const options = {
    disk: systemDisk,
    dir,
    clock: systemClock,
    log: silentLogger,
    openIndex: openSqliteIndex,
    capacityBytes: 16 * 2 ** 30,
  };
  let store = await openBlockStore(options);
  await store.queue({ ops: [{ op: 'create-collection', cid }] });
  await Bun.sleep(200);
  Bun.gc(true);
  console.log(`open and empty: ${memory()}`);

  const small = new Uint8Array(4096).fill(0x5a);
  const large = new Uint8Array(4 * 1024 * 1024);
  for (let i = 0; i < large.length; i += 8) large[i] = i >> 12;
  let sequence = 0;
  const seconds = Number(process.env.BENCH_SECONDS ?? 5);
  await run('4 KiB new objects, 1 in flight', 1, 4096, seconds, (i) =>
    store.queue({ ops: osdWrite(`a${i}`, 0, small, ++sequence) }),
  );
  await run('4 KiB new objects, 16 in flight', 16, 4096, seconds, (i) =>
    store.queue({ ops: osdWrite(`b${i}`, 0, small, ++sequence) }),
  );
  let written = 0;
  await run('4 MiB new objects, 4 in flight', 4, 4194304, seconds, () =>
    store.queue({ ops: osdWrite(`m${written++}`, 0, large, ++sequence) }),
  );
  await run('4 MiB new objects, 16 in flight', 16, 4194304, seconds, () =>
    store.queue({ ops: osdWrite(`m${written++}`, 0, large, ++sequence) }),
  );
  const random = (): number => Math.floor(Math.random() * 1024);
  await run('4 KiB random overwrites, 16 in flight', 16, 4096, seconds, () =>
    store.queue({
      ops: osdWrite(`m${Math.floor(Math.random() * Math.min(written, 64))}`, random() * 4096, small, ++sequence),
    }),
  );
  await run('512 B random overwrites, 16 in flight', 16, 512, seconds, () =>
    store.queue({
      ops: osdWrite(
        `m${Math.floor(Math.random() * Math.min(written, 64))}`,
        random() * 4096 + 512,
        small.subarray(0, 512),
        ++sequence,
      ),
    }),
  );
  console.log('after writes:', memory(), store.status());
  await store.close();
  store = await openBlockStore(options);
  await run('4 KiB random reads, 16 in flight', 16, 4096, seconds, () =>
    store.read(cid, key(`m${Math.floor(Math.random() * written)}`), random() * 4096, 4096),
  );
  await run('4 KiB random reads, 1 in flight', 1, 4096, seconds, () =>
    store.read(cid, key(`m${Math.floor(Math.random() * written)}`), random() * 4096, 4096),
  );
  await run('4 MiB reads, 4 in flight', 4, 4194304, seconds, (i) =>
    store.read(cid, key(`m${i % written}`), 0, 4194304),
  );
  await run('4 MiB reads, 16 in flight', 16, 4194304, seconds, (i) =>
    store.read(cid, key(`m${i % written}`), 0, 4194304),
  );
  await Bun.sleep(500);
  Bun.gc(true);
  await Bun.sleep(500);
  console.log(`after reads, idle: ${memory()}`);
  console.log('statfs', store.statfs());
  await store.close();
} finally {
  rmSync(dir, { recursive: true });
}
