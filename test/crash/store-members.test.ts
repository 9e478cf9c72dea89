import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, test } from 'vitest';
import { errorCode } from '../../internal/base/errors.ts';
import { seededRandom } from '../../internal/base/random.ts';
import { systemClock, systemRandom } from '../../internal/base/system.ts';
import { issueCertificate, makeAuthority } from '../../internal/pki/certificates.ts';
import { freePort } from '../peers/etcd-peer.ts';
import type { MemberArguments } from './store-member-process.ts';

/** `STORE_KILL_ROUNDS=200` for a long run: `npm run test:store-kill`. */
const rounds = Number(process.env.STORE_KILL_ROUNDS ?? 4);
const seed = Number(process.env.CRASH_SEED ?? 1);
const script = new URL('./store-member-process.ts', import.meta.url).pathname;

interface Answer {
  id: number;
  [name: string]: unknown;
}

/** A member's process, started again and again in its directory. */
class MemberProcess {
  #child: ReturnType<typeof Bun.spawn> | undefined;
  #waiting = new Map<number, (answer: Answer) => void>();
  #next = 1;
  ready = false;
  died: string | undefined;

  constructor(readonly args: MemberArguments) {}

  async start(): Promise<void> {
    this.ready = false;
    const child = Bun.spawn([process.execPath, script, JSON.stringify(this.args)], {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'pipe',
    });
    this.#child = child;
    const opened = Promise.withResolvers<void>();
    void this.#read(child, opened.resolve);
    await opened.promise;
  }

  async #read(child: Bun.Subprocess<'pipe', 'pipe', 'pipe'>, opened: () => void): Promise<void> {
    const errors = new Response(child.stderr).text();
    let rest = '';
    for await (const chunk of child.stdout) {
      const lines = (rest + Buffer.from(chunk).toString()).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        const answer = JSON.parse(line) as Answer;
        if (answer.id === 0) {
          this.ready = true;
          opened();
        }
        this.#waiting.get(answer.id)?.(answer);
        this.#waiting.delete(answer.id);
      }
    }
    const code = await child.exited;
    this.ready = false;
    if (child.signalCode !== 'SIGKILL') this.died = `${this.args.name} ended with ${code}: ${await errors}`;
    for (const [id, settle] of this.#waiting) settle({ id, error: 'the process ended' });
    this.#waiting.clear();
    opened();
  }

  ask(op: string, fields: { key?: string; value?: string } = {}): Promise<Answer> {
    const child = this.#child as Bun.Subprocess<'pipe', 'pipe', 'pipe'> | undefined;
    if (child === undefined || !this.ready) return Promise.resolve({ id: 0, error: 'the process does not run' });
    const id = this.#next++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      // One that was just killed has closed its end. Its questions are answered when that is seen.
      const closed = (error: unknown): void => {
        if (errorCode(error) !== 'EPIPE') throw error;
      };
      try {
        child.stdin.write(`${JSON.stringify({ id, op, ...fields })}\n`);
        Promise.resolve(child.stdin.flush()).catch(closed);
      } catch (error) {
        closed(error);
      }
    });
  }

  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#child?.exited;
    this.ready = false;
  }
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (await condition()) return;
    await Bun.sleep(100);
  }
  throw new Error(`not within a minute: ${what}`);
}

async function makePki(dir: string): Promise<void> {
  fs.mkdirSync(dir, { recursive: true });
  const now = systemClock.now();
  const ca = await makeAuthority('peers', now, systemRandom.bytes(16));
  const pair = await issueCertificate(
    ca,
    { commonName: 'etcd-test', usage: 'peer', dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] },
    now,
    systemRandom.bytes(16),
  );
  fs.writeFileSync(`${dir}/ca.crt`, ca.cert);
  fs.writeFileSync(`${dir}/peer.crt`, pair.cert);
  fs.writeFileSync(`${dir}/peer.key`, pair.key, { mode: 0o600 });
}

/** Writes under load while members are killed; after each round everything that was acknowledged must be there. */
async function killRounds(size: number, count: number): Promise<{ acknowledged: number; failed: number }> {
  const base = fs.mkdtempSync(`${tmpdir()}/store-kill-`);
  const random = seededRandom(seed + size);
  const members: MemberProcess[] = [];
  const acknowledged = new Map<string, number>();
  const attempted = new Map<string, number>();
  const total = { acknowledged: 0, failed: 0 };
  try {
    await makePki(`${base}/pki`);
    for (let n = 1; n <= size; n++) {
      const args: MemberArguments = { dir: `${base}/n${n}`, name: `n${n}`, port: freePort(), pki: `${base}/pki` };
      if (n > 1) {
        const { clusterId, memberId, error } = await members[0]!.ask('add', {
          value: `https://127.0.0.1:${args.port}`,
        });
        expect(error).toBeUndefined();
        args.join = { clusterId: clusterId as string, memberId: memberId as string };
      }
      const member = new MemberProcess(args);
      members.push(member);
      await member.start();
    }
    await until('every member has a vote', async () => (await members[0]!.ask('status')).voters === size);

    let writing = true;
    const writer = async (number: number): Promise<void> => {
      for (let i = 0; writing; i++) {
        const member = members[random.uint32() % size]!;
        const key = `w${number}/${i % 50}`;
        attempted.set(key, i);
        const answer = await member.ask('put', { key, value: `${i}` });
        if (answer.error === undefined) {
          acknowledged.set(key, i);
          total.acknowledged++;
        } else {
          total.failed++;
          await Bun.sleep(20);
        }
      }
    };
    const writers = Array.from({ length: 8 }, (_, number) => writer(number));
    for (let round = 0; round < count; round++) {
      if (round > 0 && round % 20 === 0)
        console.log(
          `${size === 1 ? 'one member' : `${size} members`}: ${round} rounds, ${total.acknowledged} writes acknowledged`,
        );
      await Bun.sleep(100 + (random.uint32() % 900));
      const hit = round % 2 === 0 ? [members[random.uint32() % size]!] : members;
      await Promise.all(hit.map((member) => member.kill()));
      await Promise.all(hit.map((member) => member.start()));
      for (const { died } of members) expect(died).toBeUndefined();
      const check = members[random.uint32() % size]!;
      const must = new Map(acknowledged);
      await until('a read is answered', async () => (await check.ask('get', { key: 'nothing' })).error === undefined);
      for (const [key, number] of must) {
        const { value, error } = await check.ask('get', { key });
        // A member may lose its leader between two reads.
        if (error !== undefined) continue;
        expect(Number(value), `${key} after round ${round}`).toBeGreaterThanOrEqual(number);
        expect(Number(value)).toBeLessThanOrEqual(attempted.get(key)!);
      }
    }
    writing = false;
    await Promise.all(writers);
    for (const [key, number] of acknowledged)
      for (const member of members) {
        await until(
          'a read is answered',
          async () => (await member.ask('get', { key: 'nothing' })).error === undefined,
        );
        const { value } = await member.ask('get', { key });
        expect(Number(value), `${key} on ${member.args.name} at the end`).toBeGreaterThanOrEqual(number);
      }
    return total;
  } finally {
    for (const member of members) await member.kill();
    fs.rmSync(base, { recursive: true, force: true });
  }
}

describe('store: members are killed under load, every acknowledged write is there', () => {
  for (const size of [1, 3])
    test(`${rounds} rounds, ${size === 1 ? 'one member' : `${size} members`}`, {
      timeout: 120_000 + rounds * 20_000,
    }, async () => {
      const { acknowledged, failed } = await killRounds(size, rounds);
      console.log(`${size} members: ${acknowledged} writes acknowledged, ${failed} not, ${rounds} rounds`);
      expect(acknowledged).toBeGreaterThan(rounds * 5);
    });
});
