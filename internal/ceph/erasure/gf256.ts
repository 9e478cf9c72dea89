/** GF(2^8) with the polynomial x^8+x^4+x^3+x^2+1 (0x11d) and 2 as generator: the field of gf-complete and of ISA-L, which Ceph's plugins use. */
const POLYNOMIAL = 0x11d;

const exp = new Uint8Array(512);
const log = new Uint8Array(256);
for (let i = 0, x = 1; i < 255; i++) {
  exp[i] = x;
  exp[i + 255] = x;
  log[x] = i;
  x <<= 1;
  if (x > 255) x ^= POLYNOMIAL;
}

export function multiply(a: number, b: number): number {
  return a === 0 || b === 0 ? 0 : exp[log[a]! + log[b]!]!;
}

/** Errors: RangeError for 0. */
export function inverse(a: number): number {
  if (a === 0) throw new RangeError('0 has no inverse');
  return exp[255 - log[a]!]!;
}

/** Rows of a matrix over the field. */
export type Matrix = readonly Uint8Array[];

/** The inverse of a square matrix; undefined when there is none. */
export function invert(matrix: Matrix): Uint8Array[] | undefined {
  const n = matrix.length;
  const rows = matrix.map((row, i) => {
    const wide = new Uint8Array(2 * n);
    wide.set(row);
    wide[n + i] = 1;
    return wide;
  });
  for (let col = 0; col < n; col++) {
    const at = rows.findIndex((row, i) => i >= col && row[col] !== 0);
    if (at < 0) return undefined;
    [rows[col], rows[at]] = [rows[at]!, rows[col]!];
    const pivot = rows[col]!;
    const scale = inverse(pivot[col]!);
    for (let i = 0; i < 2 * n; i++) pivot[i] = multiply(pivot[i]!, scale);
    for (const row of rows) {
      const factor = row[col]!;
      if (row === pivot || factor === 0) continue;
      for (let i = 0; i < 2 * n; i++) row[i]! ^= multiply(factor, pivot[i]!);
    }
  }
  return rows.map((row) => row.slice(n));
}

/** One row times a matrix. */
export function rowTimes(row: Uint8Array, matrix: Matrix): Uint8Array {
  const out = new Uint8Array(matrix[0]!.length);
  row.forEach((factor, i) => {
    for (let j = 0; j < out.length; j++) out[j]! ^= multiply(factor, matrix[i]![j]!);
  });
  return out;
}
