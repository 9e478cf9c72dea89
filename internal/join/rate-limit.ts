/** Token buckets by address: what one address may ask is bounded, and so is what is remembered of addresses. */
export class RateLimit {
  readonly #burst: number;
  readonly #perSecond: number;
  readonly #addressesMax: number;
  readonly #buckets = new Map<string, { level: number; atMs: number }>();

  /** `burst` at once, then `perSecond`. */
  constructor(options: { burst: number; perSecond: number; addressesMax?: number }) {
    this.#burst = options.burst;
    this.#perSecond = options.perSecond;
    this.#addressesMax = options.addressesMax ?? 4096;
  }

  #level(address: string, nowMs: number): number {
    const bucket = this.#buckets.get(address);
    if (!bucket) return this.#burst;
    return Math.min(this.#burst, bucket.level + (Math.max(0, nowMs - bucket.atMs) / 1000) * this.#perSecond);
  }

  /** Whether the address may ask now; nothing is taken. */
  allows(address: string, nowMs: number): boolean {
    return this.#level(address, nowMs) >= 1;
  }

  /** Takes one; false, and nothing taken, when there is none. `nowMs` of a clock that only grows. */
  take(address: string, nowMs: number): boolean {
    const level = this.#level(address, nowMs);
    const allowed = level >= 1;
    // The newest last: the first is forgotten first.
    this.#buckets.delete(address);
    this.#buckets.set(address, { level: allowed ? level - 1 : level, atMs: nowMs });
    if (this.#buckets.size > this.#addressesMax) {
      const [oldest] = this.#buckets.keys();
      this.#buckets.delete(oldest!);
    }
    return allowed;
  }
}
