import { describe, expect, test } from 'vitest';
import { concatBytes, DecodeError } from '../../base/bytes.ts';
import { seededRandom } from '../../base/random.ts';
import { BANNER_BYTES, checkBanner, encodeBanner, type Frame, TAG_KEEPALIVE2, TAG_MESSAGE } from './frame-format.ts';
import { FrameReader } from './frame-reader.ts';
import { crcFrame, secureFrame, segmentOf } from './frame-writer.ts';
import { haveRecorded, recordedConnections, recordedScenarios } from './recorded.testing.ts';
import { secureChannel } from './secure.ts';

const limits = { maxFrontBytes: 64 << 20, maxDataBytes: 128 << 20 };

function reframe(frame: Frame): Uint8Array {
  const [a, b, c, d] = frame.segments;
  return concatBytes(crcFrame(frame.tag, segmentOf(a), b, c, [d]));
}

function framesOf(stream: Uint8Array, cut: () => number): Frame[] {
  const frames: Frame[] = [];
  const reader = new FrameReader(BANNER_BYTES, limits, {
    banner: checkBanner,
    admit: () => true,
    frame: (frame) => frames.push(frame),
  });
  for (let at = 0; at < stream.length; ) {
    const next = Math.min(stream.length, at + cut());
    reader.feed(stream.subarray(at, next));
    at = next;
  }
  return frames;
}

describe.skipIf(!haveRecorded)('frames of recorded conversations', () => {
  for (const scenario of haveRecorded ? recordedScenarios().filter((s) => !s.startsWith('02')) : [])
    test(`${scenario}: every frame is read, and written again byte for byte`, () => {
      const random = seededRandom(7);
      for (const connection of recordedConnections(scenario)) {
        for (const stream of [connection.c2s, connection.s2c]) {
          const frames = framesOf(stream, () => 1 + (random.uint32() % 5000));
          const again = concatBytes([encodeBanner(), ...frames.map(reframe)]);
          expect(Buffer.compare(again, stream), `${connection.file} of ${frames.length} frames`).toBe(0);
        }
      }
    });
});

describe('frames', () => {
  test('secure mode: what one side seals, the other opens, whatever the lengths', () => {
    const random = seededRandom(3);
    const secret = random.bytes(64);
    const client = secureChannel(secret, true);
    const server = secureChannel(secret, false);
    const got: Frame[] = [];
    const reader = new FrameReader(0, limits, {
      banner: () => undefined,
      admit: () => true,
      frame: (f) => got.push(f),
    });
    reader.secure(server.receiver);
    const sent: Uint8Array[][] = [];
    for (let i = 0; i < 200; i++) {
      const segments = [
        1 + (random.uint32() % 100),
        random.uint32() % 40,
        random.uint32() % 20,
        random.uint32() % 5000,
      ].map((n) => random.bytes(random.uint32() % 4 === 0 ? n : n & ~15 || 1));
      const single = i % 5 === 0;
      sent.push(single ? [segments[0]!] : segments);
      const pieces = single
        ? secureFrame(client.sender, TAG_KEEPALIVE2, segmentOf(segments[0]!))
        : secureFrame(client.sender, TAG_MESSAGE, segmentOf(segments[0]!), segments[1], segments[2], [segments[3]!]);
      const bytes = concatBytes(pieces);
      const middle = random.uint32() % bytes.length;
      reader.feed(bytes.subarray(0, middle));
      reader.feed(bytes.subarray(middle));
    }
    expect(got.length).toBe(200);
    for (const [i, frame] of got.entries())
      for (const [k, segment] of sent[i]!.entries()) expect(Buffer.compare(frame.segments[k]!, segment)).toBe(0);
  });

  test('a small frame that is kept does not keep a large chunk with it', () => {
    const got: Frame[] = [];
    const reader = new FrameReader(0, limits, {
      banner: () => undefined,
      admit: () => true,
      frame: (f) => got.push(f),
    });
    const lengths = [100, 9_000, 20_000, 31_000, 40_000, 100];
    reader.feed(
      concatBytes(
        lengths.flatMap((n) =>
          crcFrame(TAG_MESSAGE, segmentOf(new Uint8Array(41)), new Uint8Array(30).fill(1), undefined, [
            new Uint8Array(n).fill(n),
          ]),
        ),
      ),
    );
    expect(got.map((f) => f.segments[3].length)).toEqual(lengths);
    for (const { segments } of got) {
      const [, front, , data] = segments;
      expect(front.every((byte) => byte === 1) && data.every((byte) => byte === data.length % 256)).toBe(true);
      for (const segment of [front, data])
        expect(segment.buffer.byteLength).toBeLessThan(4 * (front.length + data.length + 200));
    }
  });

  test('a byte that is wrong is found in each part of a frame, however the stream is cut', () => {
    const frame = concatBytes(
      crcFrame(TAG_MESSAGE, segmentOf(new Uint8Array(41)), new Uint8Array(30), new Uint8Array(5), [
        new Uint8Array(5000),
      ]),
    );
    for (const at of [3, 30, 40, 75, 90, 110, 3000, frame.length - 13, frame.length - 2])
      for (const cut of [frame.length, 33]) {
        const bytes = frame.slice();
        bytes[at]! ^= 4;
        const reader = new FrameReader(0, limits, {
          banner: () => undefined,
          admit: () => true,
          frame: () => expect.unreachable('a damaged frame was given out'),
        });
        expect(() => {
          reader.feed(bytes.slice(0, cut));
          reader.feed(bytes.slice(cut));
        }, `byte ${at}, first chunk of ${cut}`).toThrow(DecodeError);
      }
  });

  test('a reader that is refused memory stalls and goes on where it was', () => {
    let open = false;
    const got: Frame[] = [];
    const reader = new FrameReader(0, limits, {
      banner: () => undefined,
      admit: () => open,
      frame: (f) => got.push(f),
    });
    const bytes = concatBytes(
      [1, 2, 3].flatMap((n) => crcFrame(TAG_MESSAGE, segmentOf(new Uint8Array(41)), new Uint8Array(n))),
    );
    reader.feed(bytes.subarray(0, 50));
    reader.feed(bytes.subarray(50));
    expect(got.length).toBe(0);
    reader.resume();
    expect(got.length).toBe(0);
    open = true;
    reader.resume();
    expect(got.map((f) => f.segments[1].length)).toEqual([1, 2, 3]);
  });
});
