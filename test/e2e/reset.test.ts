import { existsSync, readdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { must, root, TestNode } from './harness.ts';

/** A node that runs is reset: everything that it made is gone, and a start begins anew. */

const node = new TestNode();
beforeAll(async () => {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await node.makeNetwork();
}, 120_000);
afterAll(() => node.remove(), 120_000);

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
