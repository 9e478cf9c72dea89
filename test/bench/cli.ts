/**
 * `bun test/bench/cli.ts [EXECUTABLE] [ROUNDS]`: how long the commands take that people and shells wait for, from start to end: medians of 41 rounds,
 * and the share of the processor in them. On a machine with other work only the latter tells something.
 */
import { join } from 'node:path';

const executable = process.argv[2] ?? join(import.meta.dirname, `../../dist/appliance-linux-${process.arch}`);
const rounds = Number(process.argv[3] ?? 41);
const commands: readonly { argv: string[]; limitMs?: number }[] = [
  { argv: ['version'], limitMs: 60 },
  { argv: ['--help'], limitMs: 100 },
  { argv: ['up', '--help'] },
  { argv: ['config', 'show'] },
  { argv: ['completion', 'bash'] },
];

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

for (const { argv, limitMs } of commands) {
  const wall: number[] = [];
  const cpu: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const began = performance.now();
    const child = Bun.spawnSync([executable, ...argv], { stdout: 'ignore', stderr: 'inherit' });
    wall.push(performance.now() - began);
    cpu.push(Number(child.resourceUsage.cpuTime.total) / 1000);
    if (child.exitCode !== 0) throw new Error(`${argv.join(' ')}: exit ${child.exitCode}`);
  }
  console.log(
    `appliance ${argv.join(' ').padEnd(16)} median ${median(wall).toFixed(0)} ms, processor ${median(cpu).toFixed(0)} ms${limitMs === undefined ? '' : `; the limit is ${limitMs} ms`}`,
  );
}
