import { afterAll, describe, expect, test } from 'vitest';
import { must, TestNode } from '../e2e/harness.ts';

/**
 * Start rounds: a fresh node comes up, every placement group is clean, `down` leaves nothing, and it comes up again with its data. `START_ROUNDS` (60) says
 * how often. The slowest starts are told at the end.
 */

const rounds = Number(process.env.START_ROUNDS ?? 60);
const minute = 60_000;
/** No pod runs here, so that network namespaces of pods are of other nodes of this machine. */
const nothing = { processes: [], mounts: [], links: [], rules: [] };
const seconds: Record<'first' | 'again' | 'down', number[]> = { first: [], again: [], down: [] };

async function timed(what: keyof typeof seconds, act: () => Promise<void>): Promise<void> {
  const began = performance.now();
  await act();
  seconds[what].push((performance.now() - began) / 1000);
}

async function start(node: TestNode): Promise<void> {
  await node.up(2 * minute);
  await node.healthy(minute);
}

async function stop(node: TestNode): Promise<void> {
  const output = await node.appliance('down');
  expect(output.code, output.stdout + output.stderr).toBe(0);
  expect(await node.waitForExit()).toBe(0);
}

afterAll(() => {
  for (const [what, values] of Object.entries(seconds)) {
    const sorted = [...values].sort((a, b) => a - b);
    const at = (share: number): string => sorted[Math.floor((sorted.length - 1) * share)]?.toFixed(1) ?? '-';
    console.log(`${what}: ${values.length} times, median ${at(0.5)} s, slowest ${at(1)} s`);
  }
});

describe('start rounds', () => {
  for (let round = 1; round <= rounds; round++)
    test(`round ${round}: up, every PG clean, down leaves nothing, up again`, { timeout: 8 * minute }, async () => {
      await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
      const node = new TestNode();
      try {
        await node.makeNetwork();
        await timed('first', () => start(node));
        await timed('down', () => stop(node));
        expect(await node.traces()).toMatchObject(nothing);
        await timed('again', () => start(node));
        await timed('down', () => stop(node));
        expect(await node.traces()).toMatchObject(nothing);
      } finally {
        await node.remove();
      }
    });
});
