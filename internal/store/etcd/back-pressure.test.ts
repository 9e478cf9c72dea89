import * as fs from 'node:fs';
import * as os from 'node:os';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { utf8 } from '../../base/bytes.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { silentLogger } from '../../base/log.ts';
import { seededRandom } from '../../base/random.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import type { Store } from '../api.ts';
import type { ServerStream } from '../grpc/service.ts';
import { openStore } from '../store.ts';
import { ManualClock } from '../testing.ts';
import { defaultFaceLimits, type FaceContext, unaryMethod } from './context.ts';
import { leaseService } from './lease-service.ts';
import { codec } from './messages.ts';
import { HeaderWriter } from './responses.ts';
import { watchService } from './watch-service.ts';

const dir = fs.mkdtempSync(`${os.tmpdir()}/back-pressure-`);
const clock = new ManualClock();
let store: Store;
let context: FaceContext;

beforeAll(async () => {
  const common = { random: systemRandom, log: silentLogger };
  store = await openStore({ ...common, clock: systemClock, dir, disk: systemDisk, writer: 'inline' });
  context = {
    ...common,
    store,
    clock,
    random: seededRandom(1),
    header: new HeaderWriter(store.cluster, () => 1),
    headerFields: () => ({}),
    limits: defaultFaceLimits,
    unary: unaryMethod,
  };
});
afterAll(async () => {
  await store.close();
  fs.rmSync(dir, { recursive: true });
});

/** A client that reads only while `reads`, and whose messages come only while it is not paused. */
class SlowStream implements ServerStream {
  readonly signal = new AbortController().signal;
  reads = true;
  sent = 0;
  #paused = false;
  readonly #waiting: Uint8Array[] = [];
  #message: (message: Uint8Array) => void = () => undefined;
  #drain: () => void = () => undefined;
  #close: () => void = () => undefined;

  /** Messages that were not taken. */
  get waiting(): number {
    return this.#waiting.length;
  }
  async come(message: Uint8Array): Promise<void> {
    this.#waiting.push(message);
    this.#deliver();
    await settled();
  }
  async readAgain(): Promise<void> {
    this.reads = true;
    this.#drain();
    await settled();
  }
  gone(): void {
    this.#close();
  }
  #deliver(): void {
    while (!this.#paused && this.#waiting.length > 0) this.#message(this.#waiting.shift()!);
  }

  onMessage(handler: (message: Uint8Array) => void): void {
    this.#message = handler;
  }
  onHalfClose(): void {}
  onClose(handler: () => void): void {
    this.#close = handler;
  }
  onDrain(handler: () => void): void {
    this.#drain = handler;
  }
  send(messages: readonly Uint8Array[]): boolean {
    this.sent += messages.length;
    return this.reads;
  }
  pause(): void {
    this.#paused = true;
  }
  resume(): void {
    this.#paused = false;
    this.#deliver();
  }
  end(): void {}
}

/** Microtasks and the store's answers are done. */
async function settled(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

function open(service: 'Watch' | 'LeaseKeepAlive'): SlowStream {
  const method = (service === 'Watch' ? watchService(context) : leaseService(context)).get(service)!;
  if (method.kind !== 'stream') throw new Error(`${service} is no stream`);
  const stream = new SlowStream();
  method.open(stream);
  return stream;
}

const watchOf = (fields: object): Uint8Array => codec('WatchRequest').encode(fields);

test.each<[string, 'Watch' | 'LeaseKeepAlive', (i: number) => Uint8Array, number]>([
  ['asks for the progress of its watches', 'Watch', () => watchOf({ progressRequest: {} }), 1],
  ['creates watches', 'Watch', () => watchOf({ createRequest: { key: utf8('a') } }), 49],
  [
    'creates watches that are refused',
    'Watch',
    () => watchOf({ createRequest: { key: utf8('b'), rangeEnd: utf8('a') } }),
    49,
  ],
  ['renews leases', 'LeaseKeepAlive', (i) => codec('LeaseKeepAliveRequest').encode({ ID: i + 1 }), 49],
])(
  'a client that %s and never reads is not listened to; when it reads it is told everything',
  async (_what, service, message, answers) => {
    const stream = open(service);
    await stream.come(message(0));
    expect(stream.sent).toBe(1);
    stream.reads = false;
    for (let i = 1; i <= 50; i++) await stream.come(message(i));
    expect([stream.sent, stream.waiting]).toEqual([2, 49]);
    await stream.readAgain();
    // One answer is enough for all who wait for the same progress.
    expect([stream.sent, stream.waiting]).toEqual([2 + answers, 0]);
    await stream.come(message(51));
    expect(stream.sent).toBe(3 + answers);
    stream.gone();
  },
);

test('a client that never reads is not told of the progress of its quiet watches again and again', async () => {
  const stream = open('Watch');
  for (const name of ['q1', 'q2'])
    await stream.come(watchOf({ createRequest: { key: utf8(name), progressNotify: true } }));
  const told = async (): Promise<number> => {
    const before = stream.sent;
    clock.advance(2 * defaultFaceLimits.progressNotifyMs);
    await settled();
    return stream.sent - before;
  };
  expect(await told()).toBeGreaterThan(0);
  stream.reads = false;
  expect(await told()).toBeGreaterThan(0);
  expect(await told()).toBe(0);
  await stream.readAgain();
  expect(await told()).toBeGreaterThan(0);
  stream.gone();
});
