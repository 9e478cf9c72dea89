import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { concatBytes } from '../../base/bytes.ts';
import {
  expectDecodeError,
  fuzzCount as count,
  fuzzSeed as seed,
  mutate,
  memoryGrowthMiB,
  memoryUse,
  plausible,
} from '../../base/fuzz.testing.ts';
import { silentLogger } from '../../base/log.ts';
import { seededRandom } from '../../base/random.ts';
import { systemClock } from '../../base/system.ts';
import { FEATURES_PACIFIC } from './features.ts';
import {
  BANNER_BYTES,
  checkBanner,
  encodeBanner,
  encodeClientIdent,
  encodeHello,
  type Frame,
  TAG_ACK,
  TAG_CLIENT_IDENT,
  TAG_HELLO,
  TAG_MESSAGE,
} from './frame-format.ts';
import { FrameReader } from './frame-reader.ts';
import { crcFrame, segmentOf } from './frame-writer.ts';
import { Message, type MessageCodec } from './message.ts';
import { MessengerCore } from './messenger-core.ts';
import { haveRecorded, recordedMessages } from './recorded.testing.ts';
import type { Network, Transport, TransportHandlers } from './transport.ts';
import { addrV2, blankAddr, ENTITY_MON } from './types.ts';

const codecs: MessageCodec<unknown>[] = [];
for (const name of readdirSync(join(import.meta.dirname, 'messages')).filter((file) => !file.endsWith('.test.ts'))) {
  const family = (await import(`./messages/${name}`)) as object;
  for (const value of Object.values(family) as unknown[])
    if (typeof value === 'object' && value !== null && 'encode' in value && 'type' in value)
      codecs.push(value as MessageCodec<unknown>);
}

const scenarios = [
  '01-cephx-ceph-s',
  '04-rados-put-get-ls-rm',
  '07-watch-notify',
  '08-selfmanaged-snap',
  '15-ceph-w',
  '14-tell',
];

const memoryAtStart = memoryUse();

describe('parsers under random bytes throw DecodeError and nothing else', () => {
  // No input of some hundred bytes may make a decoder take much memory.
  afterAll(() => expect(memoryGrowthMiB(memoryAtStart)).toBeLessThan(300));

  test('messages: small counts and lengths', () => {
    const random = seededRandom(seed + 4);
    let decoded = 0;
    for (let i = 0; i < count; i++) {
      const codec = codecs[random.uint32() % codecs.length]!;
      const version = random.uint32() % 4 === 0 ? random.uint32() % 12 : codec.version;
      const header = { type: codec.type, version, compat: 1, seq: 0, tid: 0, priority: 0 };
      const front = plausible(random, random.uint32() % 500);
      const message = new Message(header, { front, data: plausible(random, random.uint32() % 64) }, FEATURES_PACIFIC);
      expectDecodeError(() => {
        const value = message.decode(codec);
        decoded++;
        // What was understood can be written.
        codec.encode(value, FEATURES_PACIFIC);
      });
    }
    expect(decoded).toBeGreaterThan(count / 100);
  });

  test('messages: pure noise', () => {
    const random = seededRandom(seed);
    for (let i = 0; i < count; i++) {
      const codec = codecs[random.uint32() % codecs.length]!;
      const front = random.bytes(random.uint32() % 300);
      const data = random.bytes(random.uint32() % 64);
      const header = { type: codec.type, version: random.uint32() % 12, compat: 1, seq: 0, tid: 0, priority: 0 };
      expectDecodeError(() => new Message(header, { front, data }, FEATURES_PACIFIC).decode(codec));
    }
  });

  test.skipIf(!haveRecorded)('messages: recorded ones, damaged', () => {
    const random = seededRandom(seed + 1);
    const all = scenarios.flatMap(recordedMessages).filter(({ front }) => front.length <= 100_000);
    expect(all.length).toBeGreaterThan(50);
    const byType = new Map(codecs.map((c) => [c.type, c]));
    for (let i = 0; i < count; i++) {
      const sample = all[random.uint32() % all.length]!;
      const codec = byType.get(sample.type);
      if (codec === undefined) continue;
      const damaged = new Message(
        { type: sample.type, version: sample.version, compat: 1, seq: 0, tid: 0, priority: 0 },
        { front: mutate(random, sample.front), data: mutate(random, sample.data) },
        FEATURES_PACIFIC,
      );
      expectDecodeError(() => {
        const value = damaged.decode(codec);
        // What was understood can be written.
        codec.encode(value, FEATURES_PACIFIC);
      });
    }
  });

  test('frames: a stream damaged anywhere, cut anywhere', () => {
    const random = seededRandom(seed + 2);
    const limits = { maxFrontBytes: 1 << 20, maxDataBytes: 1 << 20 };
    for (let i = 0; i < count; i++) {
      const pieces = [encodeBanner()];
      for (let n = random.uint32() % 4; n >= 0; n--)
        pieces.push(
          ...crcFrame(TAG_MESSAGE, segmentOf(random.bytes(41)), random.bytes(random.uint32() % 200), undefined, [
            random.bytes(random.uint32() % 200),
          ]),
        );
      const stream = mutate(random, concatBytes(pieces));
      const got: Frame[] = [];
      let admitted = 0;
      const reader = new FrameReader(BANNER_BYTES, limits, {
        banner: checkBanner,
        admit: (bytes) => {
          admitted += bytes;
          return true;
        },
        frame: (f) => got.push(f),
      });
      expectDecodeError(() => {
        for (let at = 0; at < stream.length; ) {
          const step = 1 + (random.uint32() % 64);
          reader.feed(stream.subarray(at, at + step));
          at += step;
        }
      });
      expect(admitted).toBeLessThan(8 << 20);
    }
  });

  test('a listening messenger: strangers say anything, it closes on them and keeps nothing', async () => {
    const random = seededRandom(seed + 3);
    let accept: ((transport: Transport) => TransportHandlers) | undefined;
    const network: Network = {
      listen: async (_ip, port, a) => {
        accept = a;
        return { port, close: () => undefined };
      },
      dial: async () => undefined,
    };
    const messenger = new MessengerCore(
      {
        entity: { type: ENTITY_MON, num: 0 },
        clock: systemClock,
        random,
        log: silentLogger,
        dispatcher: { onMessage: () => expect.unreachable() },
        serverAuth: { methods: [2], modes: () => [1], session: () => undefined },
      },
      network,
    );
    await messenger.listen({ ip: '127.0.0.1', port: 1, nonce: 0 });
    const ident = encodeClientIdent({
      addrs: [addrV2('127.0.0.1', 0, 5)],
      target: addrV2('127.0.0.1', 1),
      num: 1,
      globalSeq: 1n,
      supported: FEATURES_PACIFIC,
      required: 0n,
      flags: 1n,
      cookie: 1n,
    });
    for (let i = 0; i < count; i++) {
      let closed = false;
      const transport: Transport = {
        remoteIp: '127.0.0.1',
        remotePort: 2,
        localIp: '127.0.0.1',
        localPort: 1,
        write: (bytes) => bytes.length,
        pause: () => undefined,
        resume: () => undefined,
        close: () => {
          closed = true;
        },
      };
      const handlers = accept!(transport);
      const good = [
        encodeBanner(),
        ...crcFrame(TAG_HELLO, segmentOf(encodeHello({ entityType: 8, peerAddr: blankAddr }))),
        ...crcFrame(1 + (random.uint32() % TAG_ACK), segmentOf(random.bytes(random.uint32() % 100))),
        ...crcFrame(TAG_CLIENT_IDENT, segmentOf(ident)),
        random.bytes(random.uint32() % 200),
      ];
      const stream = random.uint32() % 2 === 0 ? concatBytes(good) : mutate(random, concatBytes(good));
      for (let at = 0; at < stream.length && !closed; ) {
        const step = 1 + (random.uint32() % 100);
        handlers.onData(stream.subarray(at, at + step));
        at += step;
      }
      if (!closed) handlers.onClose('gone');
      // What a link was to send is sent behind the work under way: it is held until then.
      if (i % 100 === 0) await Promise.resolve();
    }
    expect([...messenger.connections].length).toBe(0);
    await messenger.close();
  });
});
