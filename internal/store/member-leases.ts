import type { Clock } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { Command } from './command.ts';
import { ClusterError, InvalidRequestError, LeaseNotFoundError } from './errors.ts';
import { keyBytes } from './keys.ts';
import { Lessor, maxTtlSeconds, minTtlSeconds } from './lessor.ts';
import type { State } from './state.ts';

/** Asked of the leader; `id` as 64 bits in hexadecimal digits (`leaseDigits`). */
export type LeaseQuestion = { op: 'lease-renew' | 'lease-left'; id: string };

export function isLeaseQuestion(question: { op: string }): question is LeaseQuestion {
  return question.op === 'lease-renew' || question.op === 'lease-left';
}

/** A lease's id is an int64: `-5` has no digits of its own. */
function leaseDigits(id: bigint): string {
  return BigInt.asUintN(64, id).toString(16);
}

/** What leases need of their member. */
export interface LeasesOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** The state as it is now: another one after a member has taken over somebody's. */
  state(): State;
  /** Whether this member leads, and whether what it proposes is an entry of its term for certain (`GroupLog`). */
  leads(): boolean;
  appends(): boolean;
  propose(command: Command): Promise<unknown>;
  /** Throws when a write would be refused for want of space. */
  checkSpace(): void;
  /** Resolves when what is applied here contains everything that was acknowledged. */
  readable(): Promise<void>;
  askLeader(question: LeaseQuestion): Promise<{ ttlSeconds: number }>;
}

/** Leases of one member: granted and revoked through the log, renewed and ended by whoever leads; the others ask it. */
export class MemberLeases {
  readonly lessor: Lessor;
  readonly #options: LeasesOptions;
  /** Revocations of leases whose time is over. */
  readonly #ending = new Map<bigint, Promise<void>>();

  constructor(options: LeasesOptions) {
    this.#options = options;
    this.lessor = new Lessor(options.clock, {
      expire: (ids) => {
        // Whatever is in the way now, the lessor asks again.
        for (const id of ids) this.#end(id).catch(() => undefined);
      },
      checkpoint: (checkpoints) => options.propose({ kind: 'lease-checkpoint', checkpoints }),
    });
  }

  /** Takes over the leases of a state. */
  load(): void {
    for (const [id, lease] of this.#options.state().leases)
      this.lessor.granted(id, lease.ttlSeconds, lease.remainingSeconds);
  }

  /** Takes note of a command that was applied. */
  applied(command: Command): void {
    if (command.kind === 'lease-grant') this.lessor.granted(command.id, command.ttlSeconds);
    else if (command.kind === 'lease-revoke') this.lessor.revoked(command.id);
  }

  async grant(ttlSeconds: number, id?: bigint): Promise<{ id: bigint; ttlSeconds: number }> {
    if (Number.isNaN(ttlSeconds) || ttlSeconds > maxTtlSeconds)
      throw new InvalidRequestError(`a lease of ${ttlSeconds} s: at most ${maxTtlSeconds}`, 'LEASE_TTL_TOO_LARGE');
    this.#options.checkSpace();
    const ttl = Math.max(minTtlSeconds, Math.floor(ttlSeconds));
    const chosen = id === undefined || id === 0n ? this.#newId() : id;
    await this.#options.propose({ kind: 'lease-grant', id: chosen, ttlSeconds: ttl });
    return { id: chosen, ttlSeconds: ttl };
  }

  #newId(): bigint {
    const { random, state } = this.#options;
    for (;;) {
      const id = (BigInt(random.uint32() & 0x7fff_ffff) << 32n) | BigInt(random.uint32());
      if (id !== 0n && !state().leases.has(id)) return id;
    }
  }

  async revoke(id: bigint): Promise<void> {
    await this.#options.propose({ kind: 'lease-revoke', id });
  }

  async keepAlive(id: bigint): Promise<{ ttlSeconds: number }> {
    if (!(await this.#keeps())) {
      const { ttlSeconds } = await this.#options.askLeader({ op: 'lease-renew', id: leaseDigits(id) });
      return { ttlSeconds };
    }
    if (!this.lessor.isOver(id)) return { ttlSeconds: await this.lessor.keepAlive(id) };
    // Not renewed any more, and not said to be gone before it is: when this leader cannot revoke it, the next one goes on with it.
    await this.#end(id);
    throw new LeaseNotFoundError(id);
  }

  async timeToLive(
    id: bigint,
    options: { keys?: boolean },
  ): Promise<{ ttlSeconds: number; grantedTtlSeconds: number; keys: Uint8Array[] }> {
    const { askLeader, readable, state } = this.#options;
    let ttlSeconds: number;
    if (await this.#keeps()) ttlSeconds = this.lessor.remaining(id);
    else {
      ({ ttlSeconds } = await askLeader({ op: 'lease-left', id: leaseDigits(id) }));
      await readable();
    }
    const keys = options.keys ? state().leaseKeys(id).map(keyBytes) : [];
    return { ttlSeconds, grantedTtlSeconds: state().leases.get(id)?.ttlSeconds ?? 0, keys };
  }

  async list(): Promise<bigint[]> {
    await this.#options.readable();
    return this.lessor.byDeadline(this.#options.state().leases.keys());
  }

  /** Answers another member. */
  async answer({ op, id }: LeaseQuestion): Promise<{ ttlSeconds: number }> {
    const lease = BigInt.asIntN(64, BigInt(`0x${id}`));
    return op === 'lease-renew' ? this.keepAlive(lease) : { ttlSeconds: (await this.timeToLive(lease, {})).ttlSeconds };
  }

  /**
   * Whether leases live by this member's clock, and every lease that anybody was told of is known here. A leader that was replaced without knowing it
   * renews nothing and misses none; one that was elected meanwhile began every lease anew after the call, so it counts, too.
   */
  async #keeps(): Promise<boolean> {
    const { leads, readable } = this.#options;
    if (!leads()) return false;
    await readable();
    return leads() && this.lessor.leads;
  }

  /** Revokes a lease whose time is over, in the name of this leader only: another one began it anew. One revocation at a time, for all who wait. */
  #end(id: bigint): Promise<void> {
    const ending = this.#ending.get(id);
    if (ending !== undefined) return ending;
    if (!this.#options.appends())
      return Promise.reject(new ClusterError('LEADER_CHANGED', 'the leader changes; the lease is not revoked yet'));
    const revoked = this.revoke(id).finally(() => this.#ending.delete(id));
    this.#ending.set(id, revoked);
    return revoked;
  }
}
