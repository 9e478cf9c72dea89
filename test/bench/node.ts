/**
 * `bun test/bench/node.ts [embedded|ceph] [start]`: figures of a whole node with every role, three OSDs and this storage engine: start, memory (PSS) idle, with pods and
 * after load, bytes that the control plane writes while idle, time from creating a pod to Running, the stall of writes when an OSD is killed. With `start` the first
 * two alone. Needs root.
 */
import { readFileSync, statSync } from 'node:fs';
import { binary, must, TestNode, until } from '../e2e/harness.ts';

const idleSeconds = Number(process.env.BENCH_IDLE_SECONDS ?? 60);
const node = new TestNode({ config: `storage: {engine: ${process.argv[2] ?? 'embedded'}}` });

const pssMiB = (pid: number): number =>
  Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))![1]) / 1024;
const written = (pid: number): number =>
  Number(/^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))![1]);
const median = (values: number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

async function pids(): Promise<Map<string, number>> {
  const status = await node.status();
  return new Map([
    ['supervisor', node.supervisorPid],
    ...status.instances.filter((one) => one.pid).map((one) => [one.name, one.pid!] as const),
  ]);
}

async function memory(when: string): Promise<void> {
  let total = 0;
  const parts: string[] = [];
  for (const [name, pid] of await pids()) {
    const value = pssMiB(pid);
    total += value;
    parts.push(`${name} ${value.toFixed(0)}`);
  }
  console.log(`memory ${when}, MiB PSS: ${parts.join(', ')}; together ${total.toFixed(0)}`);
}

try {
  console.log(`executable: ${(statSync(binary).size / 1e6).toFixed(0)} MB`);
  let began = performance.now();
  for (let i = 0; i < 10; i++) await must([binary, 'version']);
  console.log(`appliance version: ${((performance.now() - began) / 10).toFixed(0)} ms`);

  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await node.makeNetwork();
  began = performance.now();
  await node.up();
  console.log(`up to Ready and HEALTH_OK, first start: ${((performance.now() - began) / 1000).toFixed(1)} s`);
  await node.appliance('down');
  await node.waitForExit();
  began = performance.now();
  await node.up();
  console.log(`up to Ready and HEALTH_OK, warm: ${((performance.now() - began) / 1000).toFixed(1)} s`);

  await Bun.sleep(20_000);
  await memory('idle');
  if (process.argv[3] === 'start') {
    await node.remove();
    process.exit(0);
  }
  const before = await pids();
  const bytes = new Map([...before].map(([name, pid]) => [name, written(pid)]));
  await Bun.sleep(idleSeconds * 1000);
  const perHour = (name: string): string =>
    (((written(before.get(name)!) - bytes.get(name)!) * 3600) / idleSeconds / 1e6).toFixed(1);
  console.log(
    `written while idle, MB an hour (from ${idleSeconds} s): server ${perHour('server')}, mon ${perHour('mon')}, osd.0 ${perHour('osd.0')}`,
  );

  const server = (await pids()).get('server')!;
  began = performance.now();
  process.kill(server, 'SIGKILL');
  await until('/readyz', 30_000, async () => {
    const output = await node.kubectl(['get', '--raw', '/readyz']);
    return (await pids()).get('server') !== server && output.code === 0;
  });
  console.log(`API /readyz after kill -9 (0.5 s of it back-off): ${((performance.now() - began) / 1000).toFixed(1)} s`);

  const create: number[] = [];
  for (let i = 0; i < 10; i++) {
    began = performance.now();
    await node.mustKubectl(['run', `p${i}`, '--image=busybox:1.35', '--restart=Never', '--', 'sleep', '600']);
    await node.mustKubectl(['wait', `pod/p${i}`, '--for=jsonpath={.status.phase}=Running', '--timeout=30s']);
    create.push(performance.now() - began);
  }
  console.log(`pod from kubectl run to Running, p50 of 10 (two kubectl starts in it): ${median(create).toFixed(0)} ms`);
  await memory('with 10 pods');

  await node.mustTool(['ceph', 'osd', 'pool', 'create', 'bench', '32']);
  await node.mustTool(['ceph', 'osd', 'pool', 'application', 'enable', 'bench', 'test']);
  await node.healthy();
  const load = node.mustTool(
    ['rados', '-p', 'bench', 'bench', '15', 'write', '-b', '4096', '-t', '16', '--no-cleanup'],
    { timeoutMs: 60_000 },
  );
  await Bun.sleep(5000);
  process.kill((await pids()).get('osd.1')!, 'SIGKILL');
  const text = await load;
  console.log(
    `longest write when an OSD is killed (it restarts by itself): ${/Max latency\(s\):\s+([\d.]+)/.exec(text)?.[1]} s`,
  );
  await node.mustTool(['rados', '-p', 'bench', 'bench', '10', 'write', '--no-cleanup'], { timeoutMs: 60_000 });
  await node.mustTool(['rados', '-p', 'bench', 'bench', '10', 'seq'], { timeoutMs: 60_000 });
  await Bun.sleep(10_000);
  await memory('after load');
} finally {
  await node.remove();
}
process.exit(0);
