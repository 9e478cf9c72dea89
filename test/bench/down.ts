/**
 * `bun test/bench/down.ts`: how long `appliance down` takes on a node with every role, without pods and with the counter of examples/, whose two containers end when they are asked
 * to and whose volume is written out. Needs root.
 */
import { join } from 'node:path';
import { must, root, TestNode } from '../e2e/harness.ts';

const node = new TestNode();

async function down(what: string): Promise<void> {
  const began = performance.now();
  const { code, stdout } = await node.appliance('down');
  if (code !== 0) throw new Error(`down: exit ${code}\n${stdout}`);
  console.log(`down ${what}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
  await node.waitForExit();
}

try {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await must(['sh', 'test/setup/kubectl.sh', '.cache/bin'], { timeoutMs: 180_000 });
  await node.makeNetwork();
  await node.up();
  await down('without pods');
  await node.up();
  await node.mustKubectl(['apply', '-f', join(root, 'examples/counter.yaml')]);
  await node.mustKubectl(['-n', 'counter', 'rollout', 'status', 'statefulset/counter'], { timeoutMs: 180_000 });
  await down('with two containers and a volume');
} finally {
  await node.remove();
}
