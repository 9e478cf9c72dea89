import * as fs from 'node:fs';
import * as os from 'node:os';
import { afterEach, expect, test } from 'vitest';
import { utf8 } from '../../base/bytes.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import type { Store } from '../api.ts';
import { restoreStore } from '../restore.ts';
import { openStore } from '../store.ts';
import { ManualClock } from '../testing.ts';
import { beyondRetention, scheduledName, scheduledTime } from './names.ts';
import { type TestS3, startTestS3 } from './s3.testing.ts';
import { s3Target } from './s3-client.ts';
import { saveSnapshot } from './save-system.ts';
import { SnapshotSchedule } from './schedule-system.ts';

const dir = fs.mkdtempSync(`${os.tmpdir()}/schedule-`);
const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

async function start(): Promise<Store> {
  const store = await openStore({
    dir: `${dir}/store`,
    disk: systemDisk,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    writer: 'inline',
  });
  open.push(store);
  await store.put({ key: utf8('a'), value: utf8('1') });
  return store;
}

const keys = { region: 'eu-test-1', accessKey: 'KEY', secretKey: 'SECRET/with+signs=' };

function bucket(options: { pageKeys?: number } = {}): TestS3 {
  const s3 = startTestS3({ ...keys, ...options });
  open.push(s3);
  return s3;
}

test('names tell whose they are and when; only scheduled ones of this node are ever removed', () => {
  const at = Date.UTC(2026, 1, 3, 4, 5, 6);
  expect(scheduledName('pi-1', at)).toBe('scheduled-pi-1-20260203T040506Z.db');
  expect(scheduledTime('pi-1', scheduledName('pi-1', at))).toBe(at);
  const names = [1, 2, 3, 4].map((day) => scheduledName('pi-1', Date.UTC(2026, 0, day)));
  const others = [scheduledName('pi', 0), scheduledName('pi-1-b', 0), 'mine.db', 'scheduled-pi-1-x.db'];
  expect(beyondRetention('pi-1', [...names, ...others], 2)).toEqual([names[1], names[0]]);
});

test('a directory that cannot be read or written ends nothing: the store goes on without snapshots', async () => {
  const store = await start();
  fs.writeFileSync(`${dir}/no-directory`, '');
  const clock = new ManualClock();
  const errors: string[] = [];
  const log = { ...silentLogger, error: (message: string) => void errors.push(message) };
  open.push(
    new SnapshotSchedule({
      store,
      node: 'n',
      dir: `${dir}/no-directory`,
      everyMs: 1,
      keep: 2,
      clock,
      log,
    }),
  );
  expect(errors).toEqual(['the directory of snapshots cannot be read']);
  clock.advance(300_000);
  for (let n = 0; n < 2000 && errors.length < 3; n++) await new Promise((resolve) => setTimeout(resolve, 2));
  expect(errors.at(-1)).toBe('no snapshot of the store was made');
  expect(store.revision).toBeGreaterThan(0);
});

test('snapshots come when they are due, the oldest go, in the directory and in the bucket; one made by hand stays', async () => {
  const store = await start();
  const s3 = bucket();
  const clock = new ManualClock();
  const schedule = new SnapshotSchedule({
    store,
    node: 'n',
    dir: `${dir}/snapshots`,
    everyMs: 3_600_000,
    keep: 2,
    target: s3Target({ ...keys, url: `${s3.url}/home` }),
    clock,
    log: silentLogger,
  });
  open.push(schedule);
  await saveSnapshot(store, `${dir}/snapshots/by-hand.db`);
  const files = () => fs.readdirSync(`${dir}/snapshots`).sort();
  const made: string[] = [];
  for (let i = 0; i < 4; i++) {
    clock.advance(3_600_000);
    const fresh = () =>
      files().filter((name) => name.startsWith('scheduled') && name.endsWith('.db') && !made.includes(name));
    for (let n = 0; n < 2000 && fresh().length === 0; n++) await new Promise((resolve) => setTimeout(resolve, 2));
    made.push(...fresh());
    // The bucket follows.
    for (let n = 0; n < 2000 && !s3.objects.has(`home/${made.at(-1)}`); n++)
      await new Promise((resolve) => setTimeout(resolve, 2));
    // Then the old ones go, and the next one is waited for.
    for (let n = 0; n < 2000 && clock.waiting === 0; n++) await new Promise((resolve) => setTimeout(resolve, 2));
  }
  expect(made.length).toBe(4);
  expect(files()).toEqual(['by-hand.db', ...made.slice(2)]);
  expect([...s3.objects.keys()].sort()).toEqual(made.slice(2).map((name) => `home/${name}`));
  expect(Buffer.compare(s3.objects.get(`home/${made[3]}`)!, fs.readFileSync(`${dir}/snapshots/${made[3]}`))).toBe(0);
  expect(fs.statSync(`${dir}/snapshots/${made[3]}`).mode & 0o777).toBe(0o600);
  await restoreStore({ from: `${dir}/snapshots/${made[3]}`, dir: `${dir}/restored`, disk: systemDisk });
});

test.each([
  ['another access key', { accessKey: 'WRONG' }, 'InvalidAccessKeyId'],
  ['another secret', { secretKey: 'WRONG' }, 'SignatureDoesNotMatch'],
  ['another region', { region: 'us-test-2' }, 'AuthorizationHeaderMalformed'],
])('a bucket that refuses (%s) costs nothing but a line in the log', async (_what, wrong, code) => {
  const store = await start();
  const s3 = bucket();
  const errors: unknown[] = [];
  const schedule = new SnapshotSchedule({
    store,
    node: 'n',
    dir: `${dir}/snapshots`,
    everyMs: 1000,
    keep: 1,
    target: s3Target({ ...keys, ...wrong, url: s3.url }),
    clock: new ManualClock(),
    log: { ...silentLogger, error: (message, fields) => void errors.push([message, fields]) },
  });
  open.push(schedule);
  const name = await schedule.run();
  expect(fs.existsSync(`${dir}/snapshots/${name}`)).toBe(true);
  expect([s3.objects.size, [...new Set(s3.refused)]]).toEqual([0, [code]]);
  expect(errors).toMatchObject([['the snapshot was not sent', { file: name }]]);
  // What is told has no secret in it.
  expect(JSON.stringify(errors)).not.toContain('SECRET');
});

test('in a bucket that others use, too, a large snapshot arrives whole, and the oldest are found however many names stand before them', async () => {
  const store = await start();
  // Large enough to be sent in parts.
  for (let i = 0; i < 12; i++) await store.put({ key: utf8(`large/${i}`), value: new Uint8Array(1_000_000).fill(i) });
  const s3 = bucket({ pageKeys: 10 });
  for (let i = 0; i < 35; i++) s3.objects.set(`home/a-${String(i).padStart(3, '0')}`, utf8('not ours'));
  const old = [1, 2, 3].map((day) => `home/${scheduledName('n', Date.UTC(2020, 0, day))}`);
  const others = [`home/${scheduledName('n-2', 0)}`, 'elsewhere/x', scheduledName('n', 0)];
  for (const key of [...old, ...others]) s3.objects.set(key, utf8('older'));
  const schedule = new SnapshotSchedule({
    store,
    node: 'n',
    dir: `${dir}/snapshots`,
    everyMs: 1000,
    keep: 2,
    target: s3Target({ ...keys, url: `${s3.url}/home` }),
    clock: { ...systemClock, now: () => Date.UTC(2026, 0, 1) },
    log: silentLogger,
  });
  open.push(schedule);
  const name = await schedule.run();
  const left = [...s3.objects.keys()].filter((key) => !key.startsWith('home/a-')).sort();
  expect(left).toEqual([old[2], `home/${name}`, ...others].sort());
  expect(s3.objects.size).toBe(35 + left.length);
  expect(Buffer.compare(s3.objects.get(`home/${name}`)!, fs.readFileSync(`${dir}/snapshots/${name}`))).toBe(0);
});

test('a file that is there is never replaced, and nothing half is left', async () => {
  const store = await start();
  fs.mkdirSync(`${dir}/snapshots`);
  fs.writeFileSync(`${dir}/snapshots/x.db`, 'precious');
  await expect(saveSnapshot(store, `${dir}/snapshots/x.db`)).rejects.toThrow('EEXIST');
  expect(fs.readFileSync(`${dir}/snapshots/x.db`, 'utf8')).toBe('precious');
  expect(fs.readdirSync(`${dir}/snapshots`)).toEqual(['x.db']);
});
