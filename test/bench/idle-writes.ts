/**
 * `bun test/bench/idle-writes.ts`: what a whole idle node writes, counted at the device and told apart: the control-plane store, the mon, the OSDs, logs, all the rest. Each
 * stands on an ext4 of its own on a loop device, whose counter of written sectors is read; the file systems' own journals are in it.
 * `BENCH_SETTLE_SECONDS` (120) pass between ready and the first reading, `BENCH_IDLE_SECONDS` (600) between the readings. Needs root.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must, TestNode } from '../e2e/harness.ts';
import { type CountedDirectory, countedDirectory } from './counted-directory.ts';

const settleSeconds = Number(process.env.BENCH_SETTLE_SECONDS ?? 120);
const idleSeconds = Number(process.env.BENCH_IDLE_SECONDS ?? 600);
const work = mkdtempSync(join(tmpdir(), 'idle-writes-'));
const directory = join(work, 'node');

/** Directories of the node, outer before inner, and what is written there. */
const parts = [
  { name: 'the rest: agent, containerd, edge, supervisor', at: directory },
  { name: 'store (server)', at: join(directory, 'data/store') },
  { name: 'mon', at: join(directory, 'data/instances/mon') },
  { name: 'three OSDs', at: join(directory, 'data/osd') },
  { name: 'logs', at: join(directory, 'data/logs') },
];
const counted = new Map<string, CountedDirectory>();

/** Bytes handed to write calls by each process of the node, storage or not: shows who, where the device shows how much. */
function wroteBytes(pid: number): number {
  return Number(/^wchar: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))![1]);
}

for (const [index, { name, at }] of parts.entries())
  counted.set(name, await countedDirectory(at, join(work, `${index}.img`)));
const node = new TestNode({ directory, runDir: join(work, 'run') });
try {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await node.makeNetwork();
  await node.up();
  await node.healthy();
  await Bun.sleep(settleSeconds * 1000);
  const { instances } = await node.status();
  const before = new Map<string, number>();
  for (const [name, directory] of counted) before.set(name, await directory.written());
  const calls = new Map(instances.map(({ name, pid }) => [name, wroteBytes(pid!)]));
  await Bun.sleep(idleSeconds * 1000);
  const perHour = (bytes: number): string => ((bytes * 3600) / idleSeconds / 1e6).toFixed(2).padStart(8);
  console.log(`written while idle, MB an hour, from ${idleSeconds} s; at the device:`);
  let total = 0;
  for (const [name, directory] of counted) {
    const bytes = (await directory.written()) - before.get(name)!;
    total += bytes;
    console.log(`${perHour(bytes)}  ${name}`);
  }
  console.log(`${perHour(total)}  together`);
  console.log('handed to write calls, sockets and pipes included:');
  for (const { name, pid } of instances) console.log(`${perHour(wroteBytes(pid!) - calls.get(name)!)}  ${name}`);
} finally {
  await node.appliance('down');
  await node.waitForExit();
  for (const directory of [...counted.values()].reverse()) await directory.remove();
  await node.remove();
  rmSync(work, { recursive: true, force: true });
}
process.exit(0);
