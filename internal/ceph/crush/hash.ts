import { mix, ra, rb, rc } from './rjenkins.ts';

/** Robert Jenkins' 32-bit hash as CRUSH uses it (`src/crush/hash.c`). Arguments are taken as 32-bit integers; results are unsigned. */

export const CRUSH_HASH_RJENKINS1 = 0;

const seed = 1315423911;
const padX = 231232;
const padY = 1232;

export function crushHash1(a: number): number {
  a |= 0;
  mix(a, padX, seed ^ a);
  mix(padY, a, rc);
  return rc >>> 0;
}

export function crushHash2(a: number, b: number): number {
  mix(a | 0, b | 0, seed ^ a ^ b);
  b = rb;
  mix(padX, ra, rc);
  mix(b, padY, rc);
  return rc >>> 0;
}

export function crushHash3(a: number, b: number, c: number): number {
  mix(a | 0, b | 0, seed ^ a ^ b ^ c);
  a = ra;
  b = rb;
  mix(c | 0, padX, rc);
  c = ra;
  const x = rb;
  mix(padY, a, rc);
  const y = ra;
  mix(b, x, rc);
  mix(y, c, rc);
  return rc >>> 0;
}

export function crushHash4(a: number, b: number, c: number, d: number): number {
  mix(a | 0, b | 0, seed ^ a ^ b ^ c ^ d);
  a = ra;
  b = rb;
  mix(c | 0, d | 0, rc);
  c = ra;
  d = rb;
  mix(a, padX, rc);
  const x = rb;
  mix(padY, b, rc);
  const y = ra;
  mix(c, x, rc);
  mix(y, d, rc);
  return rc >>> 0;
}
