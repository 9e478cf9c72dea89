/**
 * `bun test/bench/supervisor.ts`: anonymous memory of the supervisor of a whole node: when it is up, after being asked for its status 200 times, after a reload,
 * and after BENCH_IDLE_SECONDS (60). Needs root.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { must, TestNode } from '../e2e/harness.ts';

const idleSeconds = Number(process.env.BENCH_IDLE_SECONDS ?? 60);
const node = new TestNode();

function tell(when: string): void {
  const kib = Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${node.supervisorPid}/status`, 'utf8'))![1]);
  console.log(`supervisor ${when}: ${((kib * 1024) / 1e6).toFixed(1)} MB anonymous`);
}

try {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await node.makeNetwork();
  await node.up();
  tell('up');
  for (let i = 0; i < 200; i++) await node.status();
  tell('after 200 questions');
  await must(['curl', '-s', '--unix-socket', join(node.runDir, 'control.sock'), '-X', 'POST', 'http://a/reload']);
  tell('after a reload');
  await Bun.sleep(idleSeconds * 1000);
  tell(`after ${idleSeconds} s more`);
} finally {
  await node.remove();
}
