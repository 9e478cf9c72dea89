/**
 * A member that was added and does not come is let go after this. It has no vote and nothing of its own, but as long as it is listed the group is not alone: one
 * server may not put off what it writes (`Durability`), and says that something is missing. K3s lets go after five minutes (learnerMaxStallTime), etcd never.
 */
export const comeWithinMs = 3_600_000;

/** How long the leader has been waiting for members that have never started. The wait begins anew with each leader. */
export class AwaitedMembers {
  readonly #withinMs: number;
  readonly #since = new Map<bigint, number>();

  constructor(withinMs: number) {
    this.#withinMs = withinMs;
  }

  /** Those that are to be let go; `missing`: all that have not started and are not heard of at `nowMs`. */
  overdue(missing: readonly bigint[], nowMs: number): bigint[] {
    for (const id of this.#since.keys()) if (!missing.includes(id)) this.#since.delete(id);
    for (const id of missing) if (!this.#since.has(id)) this.#since.set(id, nowMs);
    return missing.filter((id) => nowMs - this.#since.get(id)! >= this.#withinMs);
  }
}
