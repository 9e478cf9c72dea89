/**
 * `bun test/bench/mons.ts`: what mons and mgrs cost while nothing happens: memory (PSS) and bytes written (`write_bytes` of /proc/PID/io), in a cluster of one machine and in one of
 * three with a mon and a mgr each, side by side. `BENCH_SETTLE_SECONDS` (90) pass before the first reading, `BENCH_IDLE_SECONDS` (600) between the readings. Needs root.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { TestNode, TestSwitch, until } from '../e2e/harness.ts';

const settleSeconds = Number(process.env.BENCH_SETTLE_SECONDS ?? 90);
const idleSeconds = Number(process.env.BENCH_IDLE_SECONDS ?? 600);
const roles = ['mon', 'mgr'] as const;

const config = [
  'roles: [server, mon, mgr, osd]',
  'mdns: false',
  `storage: {osd: [${[0, 1, 2].map((id) => `{id: ${id}, file: DIRECTORY/osd.${id}, size: 1Gi}`).join(', ')}]}`,
].join('\n');

const network = new TestSwitch();
const alone = new TestNode({ name: 'alone', ip: '10.98.0.9', network, config });
const first = new TestNode({ network, config });
const others = [2, 3].map((n) => new TestNode({ name: `node-${n}`, ip: `10.98.0.${n}`, network }));
const nodes = [alone, first, ...others];

const pssMiB = (pid: number): number =>
  Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))![1]) / 1024;
const written = (pid: number): number =>
  Number(/^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))![1]);

async function pidOf(node: TestNode, role: string): Promise<number> {
  const { instances } = await node.status();
  return instances.find(({ name }) => name === role)!.pid!;
}

try {
  await network.make();
  for (const node of nodes) await node.makeNetwork();
  for (const node of [alone, first]) {
    writeFileSync(node.configFile, readFileSync(node.configFile, 'utf8').replaceAll('DIRECTORY', node.directory));
    await node.up();
  }
  const token = (await first.appliance('token', 'create', '--role', 'server')).stdout.trim();
  for (const node of others)
    await node.start(['join', token, '--server', `https://${first.ip}:6443`, '--role', 'mon,mgr'], 180_000);
  await until('three mons agree', 60_000, async () =>
    (await first.mustTool(['ceph', 'mon', 'stat'])).includes('quorum 0,1,2'),
  );
  await Bun.sleep(settleSeconds * 1000);
  const before = new Map<string, { pid: number; bytes: number }>();
  for (const node of nodes)
    for (const role of roles) {
      const pid = await pidOf(node, role);
      before.set(`${node.name} ${role}`, { pid, bytes: written(pid) });
    }
  await Bun.sleep(idleSeconds * 1000);
  const { active_name: active } = JSON.parse(await first.mustTool(['ceph', 'mgr', 'stat'])) as { active_name: string };
  const { quorum_leader_name: leader } = JSON.parse(await first.mustTool(['ceph', 'quorum_status'])) as {
    quorum_leader_name: string;
  };
  console.log(`of the three mon.${leader} leads, and mgr.${active} is active; from ${idleSeconds} s:`);
  for (const [name, { bytes, pid }] of before) {
    const perHour = ((written(pid) - bytes) * 3600) / idleSeconds / 1e6;
    console.log(`${name}: ${pssMiB(pid).toFixed(0)} MiB PSS, ${perHour.toFixed(2)} MB written an hour`);
  }
} finally {
  for (const node of nodes.reverse()) await node.remove();
  await network.remove();
}
process.exit(0);
