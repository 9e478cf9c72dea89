/** Answers of other servers, kept for as long as they allow, at most so many. */
export class DnsCache<T> {
  readonly #max: number;
  readonly #entries = new Map<string, { value: T; untilMs: number; storedMs: number }>();

  constructor(max: number) {
    this.#max = max;
  }

  /** The answer and its age in seconds. */
  get(key: string, nowMs: number): { value: T; ageSeconds: number } | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    if (nowMs >= entry.untilMs) {
      this.#entries.delete(key);
      return undefined;
    }
    return { value: entry.value, ageSeconds: Math.floor((nowMs - entry.storedMs) / 1000) };
  }

  set(key: string, value: T, ttlSeconds: number, nowMs: number): void {
    if (ttlSeconds <= 0) return;
    this.#entries.delete(key);
    this.#entries.set(key, { value, storedMs: nowMs, untilMs: nowMs + ttlSeconds * 1000 });
    if (this.#entries.size > this.#max) this.#entries.delete(this.#entries.keys().next().value!);
  }
}
