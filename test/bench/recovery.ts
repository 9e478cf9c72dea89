/**
 * `bun test/bench/recovery.ts [peer]`: an OSD of three is killed and stays away, under a pool of size 2 with 1 GiB: how long writes stand still, how long until all
 * is stored twice again, and the latency of 4 KiB writes meanwhile. With `peer` the same on Debian's Ceph afterwards, on the same disk, with its default
 * throttles. Needs root, python3-rados, and for the peer Debian's ceph-mon, ceph-mgr and ceph-osd.
 */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must, TestNode } from '../e2e/harness.ts';

interface Latency {
  p50: number;
  p99: number;
  max: number;
  writes: number;
}
interface Result {
  fillSeconds: number;
  downSeconds: number;
  stallSeconds: number;
  recoverySeconds: number;
  before: Latency;
  during: Latency;
}

async function measure(
  name: string,
  inside: (...argv: string[]) => string[],
  conf: string,
  pid: number,
): Promise<void> {
  const script = join(import.meta.dirname, 'recovery.py');
  const result = JSON.parse(
    await must(inside('/usr/bin/python3', script, conf, String(pid), '2'), { timeoutMs: 900_000 }),
  ) as Result;
  const ms = ({ p50, p99, max }: Latency): string => [p50, p99, max].map((s) => (s * 1000).toFixed(1)).join(' / ');
  console.log(
    [
      `${name}: 1 GiB written in ${result.fillSeconds.toFixed(1)} s`,
      `killed, marked down after ${result.downSeconds.toFixed(1)} s, longest write ${result.stallSeconds.toFixed(2)} s`,
      `out, all stored twice again after ${result.recoverySeconds.toFixed(1)} s`,
      `4 KiB writes, one at a time, p50 / p99 / max ms: before ${ms(result.before)}, during recovery ${ms(result.during)}`,
    ].join('\n  '),
  );
}

const node = new TestNode({ config: 'roles: [mon, mgr, osd]' });
try {
  await node.makeNetwork();
  await node.up();
  const pid = (await node.status()).instances.find(({ name }) => name === 'osd.2')!.pid!;
  await measure('appliance', (...argv) => node.inside(...argv), node.cephConf, pid);
} finally {
  await node.remove();
}

if (process.argv[2] === 'peer') {
  const peer = new TestNode();
  const directory = mkdtempSync(join(tmpdir(), 'peer-ceph-'));
  const script = join(import.meta.dirname, 'peer-ceph.sh');
  try {
    await peer.makeNetwork();
    await must(peer.inside('sh', script, 'up', directory, peer.ip), { timeoutMs: 200_000 });
    const pid = Number(readFileSync(join(directory, 'pids/osd.2'), 'utf8'));
    await measure('Ceph', (...argv) => peer.inside(...argv), join(directory, 'ceph.conf'), pid);
  } finally {
    await must(['sh', script, 'down', directory]);
    await peer.remove();
  }
}
process.exit(0);
