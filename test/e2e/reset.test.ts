import { existsSync, readdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { must, root, TestNode, until } from './harness.ts';

/** A node starts for the first time, also twice at once; it is reset while it runs: everything that it made is gone, and a start begins anew. */

const node = new TestNode();
beforeAll(async () => {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await node.makeNetwork();
}, 120_000);
afterAll(() => node.remove(), 120_000);

test('of two first starts at once one becomes the node, and the other is told in plain words', {
  timeout: 400_000,
}, async () => {
  const start = () => {
    const child = Bun.spawn(node.inside(node.binary, '-c', node.configFile, 'up'), {
      stdin: 'ignore',
      stdout: 'ignore',
      stderr: 'pipe',
    });
    return { child, said: new Response(child.stderr).text() };
  };
  const starts = [start(), start()];
  const first = await Promise.race(starts.map(async (one) => ({ code: await one.child.exited, one })));
  expect(first.code, await first.one.said).toBe(1);
  expect(await first.one.said).toMatch(
    /^appliance: an appliance already runs .*\n {2}`appliance --run-dir \S+ status`/,
  );
  const [winner] = starts.filter((one) => one !== first.one);
  // Its authorities, certificates and keys are of one piece: it comes up.
  await until('the other one is ready', 200_000, async () => (await node.appliance('status')).code === 0);
  expect((await node.status()).instances.map(({ phase }) => phase)).not.toContain('crash-loop');
  expect(await node.appliance('reset', '--yes')).toMatchObject({ code: 0 });
  expect(await winner!.child.exited).toBe(0);
});

test('reset of a running node stops it and leaves nothing of it', { timeout: 400_000 }, async () => {
  await node.up();
  expect(existsSync(node.kubeconfig)).toBe(true);
  const shown = await node.appliance('reset', '--dry-run');
  expect(shown.stdout).toContain('all stored data');
  expect((await node.appliance('status')).code).not.toBe(3);

  const output = await node.appliance('reset', '--yes');
  expect(output).toMatchObject({ code: 0, stderr: '' });
  await node.waitForExit();
  expect(await node.traces()).toEqual({ processes: [], mounts: [], namespaces: [], links: [], rules: [] });
  expect(existsSync(node.data) ? readdirSync(node.data) : []).toEqual([]);
  // The images were the user's, outside of the data directory.
  expect(output.stdout).toMatch(/keep +\S+dist\/images/);
  expect(existsSync(`${root}/dist/images/busybox.tar`)).toBe(true);
  expect((await node.appliance('status')).code).toBe(3);
});
