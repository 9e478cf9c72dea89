/**
 * `bun test/bench/rados.ts [seconds]`: rados bench against this appliance and against Debian's Ceph on the same disk in one run, in turn, with the ratio and
 * the bar that it is to reach, and the processor time that the OSDs took for an operation; then memory (PSS) of both, and what their starts took. Needs root
 * and Debian's ceph-mon, ceph-mgr, ceph-osd and ceph-common.
 */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must, run, TestNode, until } from '../e2e/harness.ts';

const seconds = process.argv[2] ?? '8';
const ours = new TestNode({ config: 'roles: [mon, mgr, osd]' });
const peer = new TestNode();
const peerDirectory = mkdtempSync(join(tmpdir(), 'peer-ceph-'));
const peerConf = join(peerDirectory, 'ceph.conf');

type Side = { name: string; conf: string; inside: (...argv: string[]) => string[]; osds: () => Promise<number[]> };
const sides: [Side, Side] = [
  { name: 'appliance', conf: '', inside: (...argv) => ours.inside(...argv), osds: () => pidsOf('osd') },
  {
    name: 'Ceph',
    conf: peerConf,
    inside: (...argv) => peer.inside(...argv),
    osds: async () => (await must(['sh', '-c', `cat ${peerDirectory}/pids/osd.*`])).trim().split('\n').map(Number),
  },
];

async function pidsOf(prefix: string): Promise<number[]> {
  const { instances } = await ours.status();
  return instances.filter((one) => one.name.startsWith(prefix) && one.pid).map((one) => one.pid!);
}

const tool = (side: Side, ...argv: string[]): Promise<string> =>
  must(side.inside(argv[0]!, '-c', side.conf, ...argv.slice(1)), { timeoutMs: 120_000 });

interface Case {
  pool: string;
  bytes: number;
  threads: number;
  /** Ratio to the peer that writes and reads are to reach. */
  bar?: number;
}
const cases: Case[] = [
  { pool: 'size3', bytes: 4096, threads: 16, bar: 1 },
  { pool: 'size3', bytes: 4096, threads: 1 },
  { pool: 'size3', bytes: 4 << 20, threads: 16 },
  { pool: 'size1', bytes: 4096, threads: 16, bar: 1 },
  { pool: 'size1', bytes: 4096, threads: 1 },
  { pool: 'size1', bytes: 4 << 20, threads: 16, bar: 0.7 },
  { pool: 'ec21', bytes: 4096, threads: 16 },
  { pool: 'ec21', bytes: 4 << 20, threads: 16 },
];
/** MiB PSS of one OSD. */
const memoryBars = { idle: 40, loaded: 200 };

interface Figures {
  iops: number;
  megabytes: number;
  /** Of all OSDs together, microseconds an operation. */
  processorUs: number;
}

/** User and system time of processes with all their threads, in microseconds; the kernel counts in hundredths of a second. */
function processorUs(pids: number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks * 10_000;
}

async function bench(side: Side, one: Case, mode: 'write' | 'rand'): Promise<Figures> {
  const osds = await side.osds();
  const before = processorUs(osds);
  const text = await tool(
    side,
    'rados',
    '-p',
    one.pool,
    'bench',
    seconds,
    mode,
    '-t',
    String(one.threads),
    '--run-name',
    `b${one.bytes}t${one.threads}`,
    ...(mode === 'write' ? ['-b', String(one.bytes), '--no-cleanup'] : []),
  );
  const value = (label: string): number =>
    Number(new RegExp(`^${label}:\\s+([\\d.]+)`, 'm').exec(text)?.[1] ?? Number.NaN);
  const operations = value(mode === 'write' ? 'Total writes made' : 'Total reads made');
  return {
    iops: value('Average IOPS'),
    megabytes: value('Bandwidth \\(MB/sec\\)'),
    processorUs: (processorUs(osds) - before) / operations,
  };
}

function pssMiB(pids: number[]): number {
  let kib = 0;
  for (const pid of pids)
    kib += Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
  return Math.round(kib / 1024);
}

async function memory(bar: number): Promise<string> {
  const peerPids = (await must(['sh', '-c', `cat ${peerDirectory}/pids/*`])).trim().split('\n').map(Number);
  const peerOsds = await sides[1].osds();
  const largest = Math.max(...(await pidsOf('osd')).map((pid) => pssMiB([pid])));
  return `appliance: mon ${pssMiB(await pidsOf('mon'))}, mgr ${pssMiB(await pidsOf('mgr'))}, OSDs ${pssMiB(await pidsOf('osd'))}, the largest ${largest} (bar ${bar}: ${largest <= bar ? 'yes' : 'no'}); Ceph: mon and mgr ${pssMiB(peerPids) - pssMiB(peerOsds)}, OSDs ${pssMiB(peerOsds)} (MiB PSS)`;
}

try {
  await ours.makeNetwork();
  await peer.makeNetwork();
  let began = performance.now();
  await ours.up();
  sides[0].conf = ours.cephConf;
  const oursSeconds = (performance.now() - began) / 1000;
  began = performance.now();
  await must(peer.inside('sh', join(import.meta.dirname, 'peer-ceph.sh'), 'up', peerDirectory, peer.ip), {
    timeoutMs: 200_000,
  });
  for (const side of sides) {
    await tool(side, 'ceph', 'config', 'set', 'global', 'mon_allow_pool_size_one', 'true');
    await tool(side, 'ceph', 'osd', 'pool', 'create', 'size3', '32');
    await tool(side, 'ceph', 'osd', 'pool', 'create', 'size1', '32');
    const single = await run(
      side.inside('ceph', '-c', side.conf, 'osd', 'pool', 'set', 'size1', 'size', '1', '--yes-i-really-mean-it'),
    );
    if (single.code !== 0) throw new Error(single.stderr);
    const profile = ['k=2', 'm=1', 'crush-failure-domain=osd'];
    await tool(side, 'ceph', 'osd', 'erasure-code-profile', 'set', 'ec21', ...profile);
    await tool(side, 'ceph', 'osd', 'pool', 'create', 'ec21', '32', '32', 'erasure', 'ec21');
    for (const pool of ['size1', 'size3', 'ec21'])
      await tool(side, 'ceph', 'osd', 'pool', 'application', 'enable', pool, 'bench');
    await until(
      'clean',
      120_000,
      async () =>
        /\d+ active\+clean\n/.test(await tool(side, 'ceph', '-s')) &&
        !/creating|peering|unknown/.test(await tool(side, 'ceph', '-s')),
    );
  }
  console.log(
    `start to healthy: appliance ${oursSeconds.toFixed(1)} s, Ceph ${((performance.now() - began) / 1000).toFixed(1)} s (pools included)`,
  );
  console.log(`idle: ${await memory(memoryBars.idle)}`);
  console.log(
    '\n| pool, object, threads | op | appliance IOPS (MB/s) | Ceph IOPS (MB/s) | ratio | bar | reached | OSDs, us an op: appliance / Ceph |\n|---|---|---|---|---|---|---|---|',
  );
  for (const one of cases)
    for (const mode of ['write', 'rand'] as const) {
      const [mine, theirs] = [await bench(sides[0], one, mode), await bench(sides[1], one, mode)];
      const size = one.bytes >= 1 << 20 ? `${one.bytes >> 20}M` : `${one.bytes >> 10}K`;
      const ratio = mine.megabytes / theirs.megabytes;
      const verdict = one.bar === undefined ? ' | ' : `${one.bar.toFixed(1)} | ${ratio >= one.bar ? 'yes' : 'no'}`;
      const of = (figures: Figures): string => `${figures.iops} (${figures.megabytes.toFixed(1)})`;
      console.log(
        `| ${one.pool}, ${size}, ${one.threads} | ${mode} | ${of(mine)} | ${of(theirs)} | ${ratio.toFixed(2)} | ${verdict} | ${Math.round(mine.processorUs)} / ${Math.round(theirs.processorUs)} |`,
      );
    }
  console.log(`\nafter load: ${await memory(memoryBars.loaded)}`);
} finally {
  await must(['sh', join(import.meta.dirname, 'peer-ceph.sh'), 'down', peerDirectory]);
  await ours.remove();
  await peer.remove();
}
process.exit(0);
