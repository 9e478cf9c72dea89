import { describe, expect, test } from 'vitest';
import { ByteWriter, concatBytes, utf8 } from '../../base/bytes.ts';
import { crc32c } from '../../base/crc32c.ts';
import { AppError } from '../../base/errors.ts';
import { fuzzCount, fuzzSeed } from '../../base/fuzz.testing.ts';
import { seededRandom } from '../../base/random.ts';
import { type ArchiveBegin, type ArchivePart, ArchiveWriter, type ReadBytes, readArchive } from './pg-archive.ts';

const begin: ArchiveBegin = {
  pg: { pool: 2, seed: 0x1f },
  fsid: '3b1f0e3c-9a5c-4a53-8d4e-0c4e1f1c9d11',
  osd: 3,
  createdMs: 1_700_000_000_000,
  epoch: 41,
  pgNum: 32,
  lastUpdate: { epoch: 40, version: 7 },
  objects: 2,
  dataBytes: 8192,
};
const pairs = (...names: string[]): Map<string, Uint8Array> =>
  new Map(names.map((name) => [name, utf8(`value of ${name}`)]));

function made(): Uint8Array {
  const writer = new ArchiveWriter();
  return concatBytes([
    ...writer.begin(begin),
    ...writer.object(utf8('one'), 5000, pairs('oi', '_user'), utf8('header')),
    ...writer.data(0, new Uint8Array(4096).fill(1)),
    ...writer.data(4096, new Uint8Array(904).fill(2)),
    ...writer.omap(pairs('a', 'é', '😀')),
    ...writer.object(utf8('two'), 0, new Map(), new Uint8Array(0)),
    ...writer.rows(pairs('i', 'f', 'l000')),
    ...writer.end(),
  ]);
}

function reader(bytes: Uint8Array): ReadBytes {
  let at = 0;
  return (count) => {
    const part = bytes.slice(at, at + count);
    at += part.length;
    return Promise.resolve(part);
  };
}

async function parts(bytes: Uint8Array): Promise<ArchivePart[]> {
  const out: ArchivePart[] = [];
  for await (const part of readArchive(reader(bytes))) out.push(part);
  return out;
}

describe('a copy of a PG in one file', () => {
  test('what is written is read', async () => {
    expect(await parts(made())).toEqual([
      { part: 'begin', begin },
      { part: 'object', key: utf8('one'), size: 5000, xattrs: pairs('oi', '_user'), omapHeader: utf8('header') },
      { part: 'data', offset: 0, data: new Uint8Array(4096).fill(1) },
      { part: 'data', offset: 4096, data: new Uint8Array(904).fill(2) },
      { part: 'omap', entries: pairs('a', 'é', '😀') },
      { part: 'object', key: utf8('two'), size: 0, xattrs: new Map(), omapHeader: new Uint8Array(0) },
      { part: 'rows', entries: pairs('i', 'f', 'l000') },
      { part: 'end', objects: 2, dataBytes: 5000 },
    ]);
  });

  test('a file that is cut anywhere, goes on behind its end, or has one wrong bit anywhere is refused', async () => {
    const bytes = made();
    for (let length = 0; length < bytes.length; length += length < 400 ? 1 : 97)
      await expect(parts(bytes.subarray(0, length)), `cut at ${length}`).rejects.toBeInstanceOf(AppError);
    await expect(parts(concatBytes([bytes, new Uint8Array(1)]))).rejects.toMatchObject({ code: 'ARCHIVE' });
    for (let at = 0; at < bytes.length; at += at < 400 || at > bytes.length - 300 ? 1 : 61) {
      const wrong = bytes.slice();
      wrong[at]! ^= 1 << (at % 8);
      await expect(parts(wrong), `bit at ${at}`).rejects.toBeInstanceOf(AppError);
    }
  });

  test('a later version, another file, and parts in an order that makes no sense are refused in words', async () => {
    const later = made();
    later.set(utf8('02'), 13);
    await expect(parts(later)).rejects.toMatchObject({
      code: 'VERSION',
      message: expect.stringContaining('version 2'),
    });
    await expect(parts(utf8('just a text that somebody had'))).rejects.toMatchObject({ code: 'ARCHIVE' });
    const data = new ArchiveWriter();
    const early = concatBytes([...data.begin(begin), ...data.data(0, utf8('of no object'))]);
    await expect(parts(early)).rejects.toMatchObject({ message: expect.stringContaining('cannot follow') });
    const short = new ArchiveWriter();
    const noRows = concatBytes([...short.begin(begin), ...short.end()]);
    await expect(parts(noRows)).rejects.toMatchObject({ message: expect.stringContaining('cannot follow') });
    // Frames of two files put together.
    const [a, b] = [new ArchiveWriter(), new ArchiveWriter()];
    b.begin(begin);
    b.rows(pairs('i'));
    b.rows(pairs('i'));
    const mixed = [...a.begin(begin), ...a.rows(pairs('i')), ...b.end()];
    await expect(parts(concatBytes(mixed))).rejects.toMatchObject({ code: 'ARCHIVE' });
  });

  test('a part that says it is huge takes no memory', async () => {
    const head = new ByteWriter(5).u8(1).u32(0xffff_fff0).finish();
    let most = 0;
    const source = reader(concatBytes([made().subarray(0, 16), head, new Uint8Array(100)]));
    const counted: ReadBytes = (count) => {
      most = Math.max(most, count);
      return source(count);
    };
    await expect(readArchive(counted).next()).rejects.toMatchObject({ code: 'ARCHIVE' });
    expect(most).toBeLessThan(100);
  });

  test('fuzz: whatever is in the frames, it is read or refused', { timeout: 7_200_000 }, async () => {
    const random = seededRandom(fuzzSeed);
    const whole = made();
    const frames: { type: number; payload: Uint8Array }[] = [];
    for (let at = 16; at < whole.length; ) {
      const view = new DataView(whole.buffer, whole.byteOffset + at);
      const length = view.getUint32(1, true);
      frames.push({ type: view.getUint8(0), payload: whole.slice(at + 5, at + 5 + length) });
      at += 9 + length;
    }
    let refused = 0;
    for (let n = 0; n < fuzzCount; n++) {
      const mutated = frames.map(({ type, payload }) => ({ type, payload: payload.slice() }));
      for (let changes = 1 + (random.uint32() % 3); changes > 0; changes--) {
        const frame = mutated[random.uint32() % mutated.length]!;
        const kind = random.uint32() % 4;
        if (kind === 0) frame.type = random.uint32() % 8;
        else if (kind === 1) frame.payload = frame.payload.subarray(0, random.uint32() % (frame.payload.length + 1));
        else if (frame.payload.length > 0)
          frame.payload[random.uint32() % Math.min(200, frame.payload.length)] = random.uint32();
      }
      // With right checksums: what is behind them is tried.
      const bytes = concatBytes([whole.subarray(0, 16), ...sealed(mutated)]);
      try {
        await parts(bytes);
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(fuzzCount / 3);
  });
});

/** Frames with right checksums around any payload. */
function sealed(frames: readonly { type: number; payload: Uint8Array }[]): Uint8Array[] {
  return frames.flatMap(({ type, payload }, number) => {
    const head = new ByteWriter(5).u8(type).u32(payload.length).finish();
    const first = new ByteWriter(13).u64(number).bytes(head).finish();
    const sum = crc32c(concatBytes([first, new ByteWriter(4).u32(crc32c(payload)).finish()]));
    return [head, payload, new ByteWriter(4).u32(sum).finish()];
  });
}
