/** `bun test/bench/journal.bench.ts [directory]`: appends to a journal on a real disk. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock } from '../../internal/base/system.ts';
import { openJournal } from '../../internal/journal/journal.ts';

const dir = mkdtempSync(`${process.argv[2] ?? tmpdir()}/journal-bench-`);
const journal = await openJournal({ disk: systemDisk, dir, clock: systemClock, log: silentLogger });

async function run(name: string, writers: number, size: number, seconds: number): Promise<void> {
  const payload = [new Uint8Array(size).fill(0x5a)];
  const latencies: number[] = [];
  const began = performance.now();
  const end = began + seconds * 1000;
  await Promise.all(
    Array.from({ length: writers }, async () => {
      while (performance.now() < end) {
        const start = performance.now();
        const { index, done } = journal.append(1, payload);
        await done;
        latencies.push(performance.now() - start);
        if (index % 1000 === 0) journal.reclaim(index);
      }
    }),
  );
  const took = (performance.now() - began) / 1000;
  latencies.sort((a, b) => a - b);
  const at = (q: number): string => latencies[Math.floor(latencies.length * q)]!.toFixed(2);
  const rate = latencies.length / took;
  console.log(
    `${name.padEnd(34)} ${rate.toFixed(0).padStart(7)}/s ${((rate * size) / 1e6).toFixed(1).padStart(7)} MB/s  p50 ${at(0.5)} ms  p99 ${at(0.99)} ms`,
  );
}

try {
  await run('256 B, 1 in flight', 1, 256, 3);
  await run('256 B, 16 in flight', 16, 256, 3);
  await run('4 KiB, 1 in flight', 1, 4096, 3);
  await run('4 KiB, 16 in flight', 16, 4096, 3);
  await run('4 KiB, 128 in flight', 128, 4096, 3);
  await run('64 KiB, 16 in flight', 16, 65536, 3);
  console.log(journal.status());
  await journal.close();
} finally {
  rmSync(dir, { recursive: true });
}
