import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../internal/base/random.ts';
import { LossyMount } from './lossy.ts';

const possible = process.getuid?.() === 0 && fs.existsSync('/dev/fuse');
const rounds = Number(process.env.LOSSY_ROUNDS ?? 6);
const script = new URL('./store-process.ts', import.meta.url).pathname;

/** One life: opens and checks, then writes until the power fails. Returns what was wrong. */
async function life(
  mount: LossyMount,
  acknowledged: Map<number, number>,
  round: { seed: number; first: number; runMs: number; faults: object | undefined },
): Promise<string | undefined> {
  await mount.start();
  const args = [script, `${mount.mountpoint}/osd`, String(round.seed), String(round.first)];
  if (round.faults) args.push(JSON.stringify(round.faults));
  const child = Bun.spawn([process.execPath, ...args], { stdin: 'pipe', stdout: 'pipe', stderr: 'ignore' });
  for (const [object, number] of acknowledged) child.stdin.write(`acknowledged ${object} ${number}\n`);
  child.stdin.write('go\n');
  await child.stdin.end();
  const checked = Promise.withResolvers<string | undefined>();
  const ended = (async () => {
    let rest = '';
    for await (const chunk of child.stdout) {
      const lines = (rest + Buffer.from(chunk).toString()).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        const [what, object, number] = line.split(' ');
        if (what === 'wrong') checked.resolve(line);
        if (what === 'checked') checked.resolve(undefined);
        if (what === 'ack') acknowledged.set(Number(object), Number(number));
      }
    }
    checked.resolve(`the store's process ended with code ${await child.exited}`);
  })();
  const wrong = await checked.promise;
  if (wrong === undefined) await Bun.sleep(round.runMs);
  await mount.crash();
  child.kill('SIGKILL');
  await ended;
  return wrong;
}

async function lives(seed: number, count: number, faults?: object, ignoreSync = ''): Promise<string | undefined> {
  const base = fs.mkdtempSync(`${tmpdir()}/lossy-store-`);
  const mount = new LossyMount(`${base}/backing`, `${base}/mount`, { early: 0.2, seed, ignoreSync, writebackMs: 1000 });
  const random = seededRandom(seed);
  const acknowledged = new Map<number, number>();
  try {
    for (let i = 0; i <= count; i++) {
      const runMs = i === count ? 0 : 100 + (random.uint32() % 900);
      const wrong = await life(mount, acknowledged, { seed: seed + i, first: 1 + i * 1_000_000, runMs, faults });
      if (wrong !== undefined) return wrong;
    }
    expect(acknowledged.size).toBeGreaterThan(10);
    return undefined;
  } finally {
    await mount.stop();
    fs.rmSync(base, { recursive: true });
  }
}

describe.skipIf(!possible)('block store with sqlite on a file system that loses what was not synced', () => {
  test(`${rounds} power losses under load: nothing acknowledged is lost`, {
    timeout: 60_000 + rounds * 10_000,
  }, async () => {
    expect(await lives(1, rounds)).toBeUndefined();
  });

  const plants: [name: string, faults: object | undefined, ignoreSync: string][] = [
    ['the journal is not synced', { ignoreWriteDurable: true, only: 'journal' }, ''],
    ['the data file is not synced', { ignoreDatasync: true, only: 'data$' }, ''],
    ['the file system swallows the syncs of the journal', undefined, '^/osd/journal/'],
    ['the file system swallows the syncs of the data file', undefined, '^/osd/data$'],
  ];
  for (const [name, faults, ignoreSync] of plants)
    test(`planted fault, ${name}: noticed`, { timeout: 120_000 }, async () => {
      let wrong: string | undefined;
      for (let seed = 1; seed <= 3 && wrong === undefined; seed++)
        wrong = await lives(seed * 100, 4, faults, ignoreSync);
      expect(wrong).toBeDefined();
    });
});
