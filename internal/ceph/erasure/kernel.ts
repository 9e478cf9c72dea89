import { multiply } from './gf256.ts';

/**
 * The inner loop of the code as WebAssembly with 128-bit vectors: one output chunk is the sum of input chunks, each times its coefficient. A product of a
 * byte is the sum of two look-ups, by its lower and by its upper four bits, in tables of 16 bytes: one `i8x16.swizzle` each. The module is assembled here
 * from its instructions.
 */
const I32 = 0x7f;
const V128 = 0x7b;

function leb(value: number): number[] {
  const out: number[] = [];
  for (let rest = value >>> 0; ; ) {
    const byte = rest & 0x7f;
    rest >>>= 7;
    if (rest === 0) return [...out, byte];
    out.push(byte | 0x80);
  }
}

function section(id: number, body: readonly number[]): number[] {
  return [id, ...leb(body.length), ...body];
}

const get = (local: number): number[] => [0x20, local];
const set = (local: number): number[] => [0x21, local];
/** Small numbers only (signed LEB of one byte). */
const number = (value: number): number[] => [0x41, value];
const add = [0x6a];
const vector = (code: number): number[] => [0xfd, ...leb(code)];
const load = (offset: number): number[] => [...vector(0), 0, ...leb(offset)];
const store = (offset: number): number[] => [...vector(11), 0, ...leb(offset)];
const zero = [...vector(12), ...new Array<number>(16).fill(0)];
const swizzle = vector(14);
const splat = vector(15);
const and = vector(78);
const xor = vector(81);
const shiftRight = vector(109);
const lessThan = [0x49];

/** Parameters, then locals, of `combine(out, input, stride, length, tables, tablesEnd)`. Lengths are multiples of 32. */
const [OUT, INPUT, STRIDE, LENGTH, TABLES, TABLES_END, END, P, T, SUM0, SUM1, V, LOW, HIGH, MASK] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
] as const;

/** `sum ^= LOW[v & 15] ^ HIGH[v >> 4]` for the 16 bytes at P + offset. */
function step(sum: number, offset: number): number[] {
  return [
    ...[...get(P), ...load(offset), ...set(V)],
    ...[...get(sum), ...get(LOW), ...get(V), ...get(MASK), ...and, ...swizzle, ...xor],
    ...[...get(HIGH), ...get(V), ...number(4), ...shiftRight, ...swizzle, ...xor, ...set(sum)],
  ];
}

const body = [
  // MASK = 15 in every byte; END = OUT + LENGTH
  ...[...number(15), ...splat, ...set(MASK), ...get(OUT), ...get(LENGTH), ...add, ...set(END)],
  // for each 32 bytes of output
  ...[0x03, 0x40],
  ...[...zero, ...set(SUM0), ...zero, ...set(SUM1), ...get(INPUT), ...set(P), ...get(TABLES), ...set(T)],
  // for each input chunk
  ...[0x03, 0x40],
  ...[...get(T), ...load(0), ...set(LOW), ...get(T), ...load(16), ...set(HIGH)],
  ...step(SUM0, 0),
  ...step(SUM1, 16),
  ...[...get(P), ...get(STRIDE), ...add, ...set(P)],
  ...[...get(T), ...number(32), ...add, ...set(T)],
  ...[...get(T), ...get(TABLES_END), ...lessThan, 0x0d, 0, 0x0b],
  ...[...get(OUT), ...get(SUM0), ...store(0), ...get(OUT), ...get(SUM1), ...store(16)],
  ...[...get(INPUT), ...number(32), ...add, ...set(INPUT)],
  ...[...get(OUT), ...number(32), ...add, ...set(OUT)],
  ...[...get(OUT), ...get(END), ...lessThan, 0x0d, 0, 0x0b],
  0x0b,
];

const memoryPages = 16;

/** The bytes of the module. */
function assemble(): Uint8Array<ArrayBuffer> {
  const locals = [2, ...[3, I32], ...[6, V128]];
  const name = (text: string): number[] => [text.length, ...Buffer.from(text)];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 6, I32, I32, I32, I32, I32, I32, 0]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, memoryPages]),
    ...section(7, [2, ...name('memory'), 2, 0, ...name('combine'), 0, 0]),
    ...section(10, [1, ...leb(locals.length + body.length), ...locals, ...body]),
  ]);
}

/** Sums of products: `outputs[j] = sum of rows[j][i] * inputs[i]`, byte by byte; all of one length. */
export type Combine = (
  rows: readonly Uint8Array[],
  inputs: readonly Uint8Array[],
  outputs: readonly Uint8Array[],
) => void;

/** By tables of all products: where there are no vectors, and to check the other. */
export const combineByTables: Combine = (rows, inputs, outputs) => {
  rows.forEach((row, j) => {
    const out = outputs[j]!;
    out.fill(0);
    row.forEach((factor, i) => {
      if (factor === 0) return;
      const table = Uint8Array.from({ length: 256 }, (_, x) => multiply(factor, x));
      const input = inputs[i]!;
      for (let at = 0; at < out.length; at++) out[at]! ^= table[input[at]!]!;
    });
  });
};

const tableBytes = 32;
/** Chunks that a code may have together (`k + m`). */
export const maxChunks = 32;
const dataStart = maxChunks * maxChunks * tableBytes;
const spaceBytes = memoryPages * 65536 - dataStart;

/** Undefined: this machine's engine has no vectors. */
function vectors(): Combine | undefined {
  let exports: { memory: WebAssembly.Memory; combine: (...args: number[]) => void };
  try {
    exports = new WebAssembly.Instance(new WebAssembly.Module(assemble())).exports as unknown as typeof exports;
  } catch {
    return undefined;
  }
  const memory = new Uint8Array(exports.memory.buffer);
  /** Coefficients whose tables lie in memory now. */
  let loaded: readonly Uint8Array[] = [];
  const load = (rows: readonly Uint8Array[]): void => {
    if (rows === loaded) return;
    let at = 0;
    for (const row of rows)
      for (const factor of row) {
        for (let x = 0; x < 16; x++) {
          memory[at + x] = multiply(factor, x);
          memory[at + 16 + x] = multiply(factor, x << 4);
        }
        at += tableBytes;
      }
    loaded = rows;
  };
  return (rows, inputs, outputs) => {
    const length = outputs[0]?.length ?? 0;
    if (length === 0) return;
    load(rows);
    const k = inputs.length;
    const block = Math.min(Math.floor(spaceBytes / (k + 1) / 64) * 64, 32768);
    for (let at = 0; at < length; at += block) {
      const size = Math.min(block, length - at);
      const padded = (size + 31) & ~31;
      for (let i = 0; i < k; i++) memory.set(inputs[i]!.subarray(at, at + size), dataStart + i * block);
      const out = dataStart + k * block;
      for (let j = 0; j < rows.length; j++) {
        const tables = j * k * tableBytes;
        exports.combine(out, dataStart, block, padded, tables, tables + k * tableBytes);
        outputs[j]!.set(memory.subarray(out, out + size), at);
      }
    }
  };
}

export const combineByVectors: Combine | undefined = vectors();
export const combine: Combine = combineByVectors ?? combineByTables;
