/** Randomness as the shell gives it to a pure core; the simulator injects a seeded one. */
export interface Random {
  bytes(length: number): Uint8Array;
  /** Uniform in [0, 2^32). */
  uint32(): number;
  /** Uniform in [0, 1). */
  float(): number;
}

/** A reproducible generator (xoshiro128**) for tests and simulations; never for secrets. */
export function seededRandom(seed: number): Random {
  let z = seed >>> 0;
  const splitmix = (): number => {
    z = (z + 0x9e3779b9) >>> 0;
    let t = z ^ (z >>> 16);
    t = Math.imul(t, 0x21f0aaad);
    t ^= t >>> 15;
    t = Math.imul(t, 0x735a2d97);
    return (t ^ (t >>> 15)) >>> 0;
  };
  let a = splitmix();
  let b = splitmix();
  let c = splitmix();
  let d = splitmix();
  const uint32 = (): number => {
    const x = Math.imul(b, 5);
    const result = Math.imul((x << 7) | (x >>> 25), 9) >>> 0;
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = (d << 11) | (d >>> 21);
    return result;
  };
  return {
    uint32,
    float: () => uint32() / 0x1_0000_0000,
    bytes: (length) => {
      const out = new Uint8Array(length);
      for (let i = 0; i < length; i++) out[i] = uint32() & 0xff;
      return out;
    },
  };
}

/** Lower-case letters and digits without vowels or look-alikes, as Kubernetes uses for generated names. */
const nameAlphabet = 'bcdfghjklmnpqrstvwxz2456789';

/** A suffix for `generateName` and the like. */
export function randomName(random: Random, length = 5): string {
  let out = '';
  for (let i = 0; i < length; i++) out += nameAlphabet[random.uint32() % nameAlphabet.length];
  return out;
}

/** A version 4 UUID (RFC 9562). */
export function uuid(random: Random): string {
  const b = random.bytes(16);
  b[6] = (b[6]! & 0x0f) | 0x40;
  b[8] = (b[8]! & 0x3f) | 0x80;
  const h = Buffer.from(b).toString('hex');
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-${h.slice(12, 16)}-${h.slice(16, 20)}-${h.slice(20)}`;
}
