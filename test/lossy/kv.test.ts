import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../internal/base/random.ts';
import { LossyMount } from './lossy.ts';

const possible = process.getuid?.() === 0 && fs.existsSync('/dev/fuse');
const rounds = Number(process.env.LOSSY_ROUNDS ?? 6);
const script = new URL('./kv-process.ts', import.meta.url).pathname;

/** What callers of the store know. Writes of one key are not ordered here: only the newest acknowledged number of those that came last counts. */
interface Known {
  acknowledged: Map<string, number>;
  seen: number;
}

/** One life: opens and checks, then writes until the power fails. Returns what was wrong. */
async function life(
  mount: LossyMount,
  known: Known,
  round: { seed: number; first: number; runMs: number },
): Promise<string | undefined> {
  await mount.start();
  const args = [script, `${mount.mountpoint}/store`, String(round.seed), String(round.first)];
  const child = Bun.spawn([process.execPath, ...args], { stdin: 'pipe', stdout: 'pipe', stderr: 'ignore' });
  for (const [key, number] of known.acknowledged) child.stdin.write(`acknowledged ${key} ${number}\n`);
  child.stdin.write(`seen ${known.seen}\ngo\n`);
  await child.stdin.end();
  const checked = Promise.withResolvers<string | undefined>();
  const ended = (async () => {
    let rest = '';
    for await (const chunk of child.stdout) {
      const lines = (rest + Buffer.from(chunk).toString()).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        const [what, name, number] = line.split(' ');
        if (what === 'wrong') checked.resolve(line);
        if (what === 'checked') checked.resolve(undefined);
        if (what === 'ack') known.acknowledged.set(name!, Number(number));
        if (what === 'seen') known.seen = Math.max(known.seen, Number(name));
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

async function lives(seed: number, count: number, ignoreSync = ''): Promise<string | undefined> {
  const base = fs.mkdtempSync(`${tmpdir()}/lossy-kv-`);
  const mount = new LossyMount(`${base}/backing`, `${base}/mount`, { early: 0.2, seed, ignoreSync, writebackMs: 1000 });
  const random = seededRandom(seed);
  const known: Known = { acknowledged: new Map(), seen: 0 };
  try {
    for (let i = 0; i <= count; i++) {
      const runMs = i === count ? 0 : 200 + (random.uint32() % 1500);
      const wrong = await life(mount, known, { seed: seed + i, first: 1 + i * 1_000_000, runMs });
      if (wrong !== undefined) return wrong;
    }
    expect(known.acknowledged.size).toBeGreaterThan(10);
    return undefined;
  } finally {
    await mount.stop();
    fs.rmSync(base, { recursive: true });
  }
}

describe.skipIf(!possible)('key-value store on a file system that loses what was not synced', () => {
  test(`${rounds} power losses under load: nothing acknowledged is lost, no revision comes twice`, {
    timeout: 60_000 + rounds * 10_000,
  }, async () => {
    expect(await lives(1, rounds)).toBeUndefined();
  });

  const plants: [name: string, ignoreSync: string][] = [
    ['the syncs of the journal are swallowed', '^/store/journal/'],
    ['the syncs of the database are swallowed', '^/store/state.db'],
  ];
  for (const [name, ignoreSync] of plants)
    test(`planted fault, ${name}: noticed`, { timeout: 180_000 }, async () => {
      let wrong: string | undefined;
      for (let seed = 1; seed <= 4 && wrong === undefined; seed++) wrong = await lives(seed * 100, 5, ignoreSync);
      expect(wrong).toBeDefined();
    });
});
