import { inverse, multiply } from './gf256.ts';

/** What makes the coding chunks from the data chunks: `m` rows of `k` coefficients. */
export type CodingRows = Uint8Array[];

/**
 * jerasure's `reed_sol_van` (`reed_sol.c`: `reed_sol_big_vandermonde_distribution_matrix`): an extended Vandermonde matrix, brought by column operations
 * to the identity on top; then its first coding row, and the first column, are made ones.
 */
export function jerasureVandermonde(k: number, m: number): CodingRows {
  const rows = k + m;
  const dist: Uint8Array[] = [];
  for (let i = 0; i < rows; i++) {
    const row = new Uint8Array(k);
    if (i === 0) row[0] = 1;
    else if (i === rows - 1) row[k - 1] = 1;
    else for (let j = 0, x = 1; j < k; j++, x = multiply(x, i)) row[j] = x;
    dist.push(row);
  }
  for (let i = 1; i < k; i++) {
    const found = dist.findIndex((row, at) => at >= i && row[i] !== 0);
    if (found !== i) [dist[i], dist[found]] = [dist[found]!, dist[i]!];
    const scale = inverse(dist[i]![i]!);
    for (const row of dist) row[i] = multiply(row[i]!, scale);
    const pivot = dist[i]!.slice();
    for (let j = 0; j < k; j++) {
      const factor = pivot[j]!;
      if (j === i || factor === 0) continue;
      for (const row of dist) row[j]! ^= multiply(factor, row[i]!);
    }
  }
  const coding = dist.slice(k);
  for (let j = 0; j < k; j++) {
    const scale = inverse(coding[0]![j]!);
    for (const row of coding) row[j] = multiply(row[j]!, scale);
  }
  for (const row of coding.slice(1)) {
    const scale = inverse(row[0]!);
    for (let j = 0; j < k; j++) row[j] = multiply(row[j]!, scale);
  }
  return coding;
}

/** jerasure's `reed_sol_r6_op` (two coding chunks: the sum, and the sum weighted with powers of 2), and ISA-L's `gf_gen_rs_matrix` for any `m`. */
export function powerRows(k: number, m: number): CodingRows {
  const coding: CodingRows = [];
  for (let i = 0, base = 1; i < m; i++, base = multiply(base, 2)) {
    const row = new Uint8Array(k);
    for (let j = 0, x = 1; j < k; j++, x = multiply(x, base)) row[j] = x;
    coding.push(row);
  }
  return coding;
}

/** ISA-L's `gf_gen_cauchy1_matrix`; Ceph's plugin takes the plain sum where there is one coding chunk. */
export function isaCauchy(k: number, m: number): CodingRows {
  if (m === 1) return [new Uint8Array(k).fill(1)];
  const coding: CodingRows = [];
  for (let i = k; i < k + m; i++) coding.push(Uint8Array.from({ length: k }, (_, j) => inverse(i ^ j)));
  return coding;
}
