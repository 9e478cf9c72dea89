/** First delay between restarts, the longest one, and how long a container must have run to begin anew (upstream's constants). */
const firstMs = 10_000;
const maxMs = 300_000;
const resetAfterMs = 2 * maxMs;

/** Crash-loop back-off of one pod's containers: the first restart is immediate, then 10 s, doubled up to 5 min. */
export class CrashBackoff {
  readonly #entries = new Map<string, { delayMs: number; sinceMs: number }>();

  /** Milliseconds to wait before `name`, which ended at `endedAtMs`, may start; 0 when it may now. */
  remaining(name: string, endedAtMs: number, nowMs: number): number {
    const entry = this.#entries.get(name);
    if (!entry || nowMs - entry.sinceMs > resetAfterMs) return 0;
    return Math.max(0, endedAtMs + entry.delayMs - nowMs);
  }

  /** The delay that is in force, for messages. */
  delay(name: string): number {
    return this.#entries.get(name)?.delayMs ?? firstMs;
  }

  /** `name` is ended for a reason that is not its own: its next start is the first again. */
  forget(name: string): void {
    this.#entries.delete(name);
  }

  /** Notes that `name` is being restarted now. */
  next(name: string, nowMs: number): void {
    const entry = this.#entries.get(name);
    const delayMs = !entry || nowMs - entry.sinceMs > resetAfterMs ? firstMs : Math.min(maxMs, entry.delayMs * 2);
    this.#entries.set(name, { delayMs, sinceMs: nowMs });
  }
}

/** A duration as Go prints it: `10s`, `1m20s`, `5m0s`. */
export function goDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m${seconds % 60}s`;
  return `${Math.floor(minutes / 60)}h${minutes % 60}m${seconds % 60}s`;
}
