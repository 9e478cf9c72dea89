import { describe, expect, test } from 'vitest';
import { crcBlockBytes, knownBlockCrcs, noteBlockCrcs, rawCrc32c, wholeCrc32c } from '../../base/crc32c.ts';
import { seededRandom } from '../../base/random.ts';
import { shardDigest, wrongShards } from './digest.ts';
import { invert, multiply } from './gf256.ts';
import { combineByTables, combineByVectors } from './kernel.ts';
import { gather, scatter, scatterZeros, shardSize } from './layout.ts';
import { gatherCrcs, scatterCrcs } from './stripe-crcs.ts';
import { chunkSize, codeOf, normalizeProfile, stripeWidth } from './profile.ts';

function profile(text: string): Map<string, string> {
  return new Map(text.split(' ').map((pair): [string, string] => [pair.split('=')[0]!, pair.split('=')[1] ?? '']));
}

/** What `ceph-erasure-code-tool encode` of 16.2.15 makes of data whose chunk i is 0 but for a 1 at byte i. */
const recorded: [plugin: string, technique: string, k: number, m: number, rows: string][] = [
  ['jerasure', 'reed_sol_van', 2, 1, '0101'],
  ['jerasure', 'reed_sol_van', 2, 2, '0101 018f'],
  ['jerasure', 'reed_sol_van', 3, 2, '010101 01f5f4'],
  ['jerasure', 'reed_sol_van', 4, 2, '01010101 01468fc8'],
  ['jerasure', 'reed_sol_van', 5, 3, '0101010101 019c7ba6f4 01a652f5a7'],
  ['jerasure', 'reed_sol_van', 6, 3, '010101010101 01e197ac52c8 017bf58ff48e'],
  ['jerasure', 'reed_sol_van', 8, 3, '0101010101010101 0137274954b5e1d9 01ac46eb8f22c865'],
  ['jerasure', 'reed_sol_van', 8, 4, '0101010101010101 0137274954b5e1d9 0127d9a15c3cac5a 01ac46eb8f22c865'],
  [
    'jerasure',
    'reed_sol_van',
    10,
    4,
    '01010101010101010101 01938a495da1673a63b2 01679c977bbba6aff453 01dca67b528ff528a77a',
  ],
  [
    'jerasure',
    'reed_sol_van',
    12,
    6,
    '010101010101010101010101 0139385181b54d3a3033e636 0138e15497d5acdc528fc8be 015154d999ac5c1868658ffa 01cba694c4d2eeb153e19262 013c7b46f5c88fb2f4c98eb3',
  ],
  ['jerasure', 'reed_sol_r6_op', 2, 2, '0101 0102'],
  ['jerasure', 'reed_sol_r6_op', 4, 2, '01010101 01020408'],
  ['jerasure', 'reed_sol_r6_op', 7, 2, '01010101010101 01020408102040'],
  ['isa', 'reed_sol_van', 2, 1, '0101'],
  ['isa', 'cauchy', 2, 1, '0101'],
  ['isa', 'reed_sol_van', 4, 2, '01010101 01020408'],
  ['isa', 'cauchy', 4, 2, '47a77aba a747ba7a'],
  ['isa', 'reed_sol_van', 6, 3, '010101010101 010204081020 010410401d74'],
  ['isa', 'cauchy', 6, 3, '7aba47a78ef4 ba7aa747f48e ad9ddd983daa'],
  ['isa', 'reed_sol_van', 8, 4, '0101010101010101 0102040810204080 010410401d74cd13 0108403acd262d75'],
  ['isa', 'cauchy', 8, 4, 'ad9ddd983daa5d96 9dad98ddaa3d965d dd98ad9d5d963daa 98dd9dad965daa3d'],
];

describe('Reed-Solomon', () => {
  test.each(recorded)('%s %s k=%i m=%i makes the chunks that Ceph 16.2.15 makes', (plugin, technique, k, m, rows) => {
    const code = codeOf(profile(`plugin=${plugin} technique=${technique} k=${k} m=${m}`));
    const data = Array.from({ length: k }, (_, i) => {
      const chunk = new Uint8Array(64);
      chunk[i] = 1;
      return chunk;
    });
    const made = code.encode(data).map((chunk) => Buffer.from(chunk.subarray(0, k)).toString('hex'));
    expect(made.join(' ')).toBe(rows);
  });

  test.each(recorded)('%s %s k=%i m=%i: any k chunks give all others', (plugin, technique, k, m) => {
    const code = codeOf(profile(`plugin=${plugin} technique=${technique} k=${k} m=${m}`));
    const random = seededRandom(k * 100 + m);
    const data = Array.from({ length: k }, () => random.bytes(96));
    const chunks = [...data, ...code.encode(data)];
    for (let round = 0; round < 40; round++) {
      const kept = chunks.map((_, i) => i);
      while (kept.length > k) kept.splice(random.uint32() % kept.length, 1);
      const lost = chunks.map((_, i) => i).filter((i) => !kept.includes(i));
      const out = code.rebuild(new Map(kept.map((i) => [i, chunks[i]!])), lost);
      for (const i of lost) expect(out.get(i)).toEqual(chunks[i]);
    }
  });

  test('fewer than k chunks are refused', () => {
    const code = codeOf(profile('plugin=jerasure k=3 m=2'));
    expect(() => code.rebuild(new Map([[1, new Uint8Array(32)]]), [0])).toThrow('1 chunks are there, 3 are needed');
  });

  test('vectors and tables agree on every length', () => {
    const random = seededRandom(7);
    expect(combineByVectors).toBeDefined();
    for (const length of [1, 31, 32, 33, 4096, 32768, 32769, 100_001]) {
      const inputs = Array.from({ length: 5 }, () => random.bytes(length));
      const rows = Array.from({ length: 3 }, () => random.bytes(5));
      const [a, b] = [0, 1].map(() => rows.map(() => new Uint8Array(length)));
      combineByVectors!(rows, inputs, a!);
      combineByTables(rows, inputs, b!);
      expect(a!.every((out, i) => Buffer.compare(out, b![i]!) === 0)).toBe(true);
    }
  });

  test('a matrix times its inverse is the identity; one without inverse has none', () => {
    const random = seededRandom(3);
    const matrix = Array.from({ length: 6 }, () => random.bytes(6));
    const inverse = invert(matrix)!;
    for (let i = 0; i < 6; i++)
      for (let j = 0; j < 6; j++) {
        let sum = 0;
        for (let x = 0; x < 6; x++) sum ^= multiply(matrix[i]![x]!, inverse[x]![j]!);
        expect(sum).toBe(i === j ? 1 : 0);
      }
    expect(invert([Uint8Array.of(1, 2), Uint8Array.of(1, 2)])).toBeUndefined();
  });
});

describe('checksums of shards', () => {
  const code = codeOf(profile('plugin=jerasure k=4 m=2'));
  const random = seededRandom(11);
  const data = Array.from({ length: 4 }, () => random.bytes(8192));
  const chunks = [...data, ...code.encode(data)];
  const digests = (of: readonly Uint8Array[]): Map<number, number> =>
    new Map(of.map((chunk, i) => [i, shardDigest(shardDigest(0, chunk.subarray(0, 4096)), chunk.subarray(4096))]));

  test('go with each other; of two coding chunks one wrong shard is found', () => {
    expect(wrongShards(code, digests(chunks))).toEqual([]);
    for (let bad = 0; bad < 6; bad++) {
      const spoilt = chunks.map((chunk, i) =>
        i === bad ? chunk.with(100 + bad * 1000, chunk[100 + bad * 1000]! ^ 1) : chunk,
      );
      expect(wrongShards(code, digests(spoilt))).toEqual([bad]);
    }
    const two = chunks.map((chunk, i) => (i < 2 ? chunk.with(7, chunk[7]! ^ (i + 1)) : chunk));
    expect(wrongShards(code, digests(two))).toBeUndefined();
  });

  test('of one coding chunk it shows only that one is wrong; k shards tell nothing', () => {
    const five = new Map([...digests(chunks)].slice(0, 5));
    five.set(2, five.get(2)! ^ 4);
    expect(wrongShards(code, five)).toBeUndefined();
    expect(wrongShards(code, new Map([...five].slice(0, 4)))).toEqual([]);
  });
});

describe('profiles', () => {
  test('chunk sizes are those of ceph-erasure-code-tool calc-chunk-size', () => {
    const sizes = [1, 4096, 20480, 28672];
    expect(sizes.map((size) => chunkSize({ k: 2 }, size))).toEqual([32, 2048, 10240, 14336]);
    expect(sizes.map((size) => chunkSize({ k: 3 }, size))).toEqual([32, 1376, 6848, 9568]);
    expect(sizes.map((size) => chunkSize({ k: 5 }, size))).toEqual([32, 832, 4096, 5760]);
    expect(sizes.map((size) => chunkSize({ k: 7 }, size))).toEqual([32, 608, 2944, 4096]);
  });

  test('defaults are filled in as the plugins do', () => {
    const { profile: full } = normalizeProfile(
      profile('plugin=jerasure k=2 m=1 technique=reed_sol_van crush-failure-domain=osd'),
    );
    expect([...full].map((pair) => pair.join('=')).join('\n')).toBe(
      'crush-device-class=\ncrush-failure-domain=osd\ncrush-root=default\njerasure-per-chunk-alignment=false\nk=2\nm=1\nplugin=jerasure\ntechnique=reed_sol_van\nw=8',
    );
    expect(stripeWidth(full)).toBe(8192);
    expect(stripeWidth(profile('plugin=isa stripe_unit=16K'))).toBe(7 * 16384);
  });

  test.each([
    [
      'k=2',
      "cannot determine the erasure code plugin because there is no 'plugin' entry in the erasure_code_profile {k=2}",
    ],
    ['plugin=jerasure technique=liberation', 'technique=liberation'],
    ['plugin=jerasure k=1', 'k=1 must be >= 2'],
    ['plugin=jerasure m=0', 'm=0 must be >= 1'],
    ['plugin=jerasure k=x', 'could not convert k=x to int'],
    ['plugin=jerasure w=16', 'w=16 is not supported'],
    ['plugin=jerasure k=30 m=3', 'more than 32 chunks'],
    ['plugin=isa k=22 m=4', 'Vandermonde'],
    ['plugin=jerasure stripe_unit=some', "could not parse stripe_unit 'some'"],
    ...['clay', 'lrc', 'shec'].map((name): [string, string] => [
      `plugin=${name}`,
      `erasure code plugin ${name} is not supported: there are jerasure and isa`,
    ]),
    ...['cauchy_orig', 'cauchy_good', 'blaum_roth', 'liber8tion'].map((name): [string, string] => [
      `plugin=jerasure technique=${name}`,
      `technique=${name} of the erasure code plugin jerasure is not supported: there are reed_sol_van and reed_sol_r6_op`,
    ]),
  ])('%s is refused', (given, message) => {
    expect(() => normalizeProfile(profile(given))).toThrow(message);
  });
});

test('stripes are cut and joined', () => {
  const layout = { k: 3, chunkBytes: 4 };
  expect([0, 1, 12, 13].map((size) => shardSize(layout, size))).toEqual([0, 4, 4, 8]);
  const bytes = Uint8Array.from({ length: 24 }, (_, i) => i);
  const shards = [0, 1, 2].map(() => new Uint8Array(8));
  scatter(layout, shards, 0, bytes);
  expect(shards[1]).toEqual(Uint8Array.of(4, 5, 6, 7, 16, 17, 18, 19));
  for (let from = 0; from < 24; from++)
    for (let to = from + 1; to <= 24; to++) {
      const out = new Uint8Array(to - from);
      gather(layout, new Map(shards.entries()), from, out);
      expect(out).toEqual(bytes.subarray(from, to));
      // The same stretch put there, and taken away.
      const part = shards.map((shard) => shard.map(() => 99));
      scatter(layout, part, from, bytes.subarray(from, to));
      const whole = new Uint8Array(24);
      gather(layout, new Map(part.entries()), 0, whole);
      expect(whole).toEqual(bytes.map((byte, i) => (i >= from && i < to ? byte : 99)));
      scatterZeros(layout, part, from, to - from);
      gather(layout, new Map(part.entries()), 0, whole);
      expect(whole).toEqual(bytes.map((_, i) => (i >= from && i < to ? 0 : 99)));
    }
});

test('a stretch within one chunk needs only that shard', () => {
  const out = new Uint8Array(2);
  gather({ k: 3, chunkBytes: 4 }, new Map([[2, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)]]), 21, out);
  expect(out).toEqual(Uint8Array.of(6, 7));
});

test('what is known of the checksums of stripes is known of shards, and the other way round', () => {
  const random = seededRandom(3);
  const crcsOf = (bytes: Uint8Array): Uint32Array =>
    Uint32Array.from({ length: bytes.length / crcBlockBytes }, (_, i) =>
      rawCrc32c(0xffffffff, bytes, i * crcBlockBytes, (i + 1) * crcBlockBytes),
    );
  for (const layout of [
    { k: 3, chunkBytes: 4096 },
    { k: 2, chunkBytes: 16384 },
  ]) {
    const stripes = random.bytes(4 * layout.k * layout.chunkBytes);
    const shards = Array.from({ length: layout.k }, () => new Uint8Array(stripes.length / layout.k));
    scatter(layout, shards, 0, stripes);
    scatterCrcs(layout, shards, stripes);
    expect(knownBlockCrcs(shards[0]!)).toBeUndefined();
    noteBlockCrcs(stripes, crcsOf(stripes));
    scatterCrcs(layout, shards, stripes);
    for (const shard of shards) {
      expect(knownBlockCrcs(shard)).toEqual(crcsOf(shard));
      expect(wholeCrc32c(shard)).toBe(rawCrc32c(0xffffffff, shard));
    }
    for (const [at, length] of [
      [0, stripes.length],
      [8192, 5 * 4096],
      [4096, 4096],
    ] as const) {
      const out = new Uint8Array(length);
      gather(layout, new Map(shards.entries()), at, out);
      gatherCrcs(layout, new Map(shards.entries()), at, out);
      expect(knownBlockCrcs(out)).toEqual(crcsOf(out));
      expect(wholeCrc32c(out)).toBe(rawCrc32c(0xffffffff, out));
    }
    const unaligned = new Uint8Array(4096);
    gather(layout, new Map(shards.entries()), 100, unaligned);
    gatherCrcs(layout, new Map(shards.entries()), 100, unaligned);
    expect(knownBlockCrcs(unaligned)).toBeUndefined();
  }
});
