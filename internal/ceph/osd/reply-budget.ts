import { OP, type OsdOp } from '../wire/messages/osd_op.ts';
import { maxReplyBytes } from './ops/limits.ts';

/** A reader that takes none of its replies for so long while others wait is disconnected. */
const stuckMs = 60_000;
/** What a read that does not say how much it wants is taken to want until it has been carried out. */
const unknownBytes = 64 * 1024;

interface Holder {
  bytes: number;
  /** When the last of its replies went, or the first of these was begun. */
  sinceMs: number;
}

/**
 * Memory for what reads give back, from before they run until their replies have gone to the kernel, over all clients of an OSD. A read that does not fit waits in the
 * order of arrival, in its turn on its object, so that what comes behind it does not pass it; one that is alone always fits.
 */
export class ReplyBudget<Client extends object> {
  readonly #limitBytes: number;
  readonly #monotonicMs: () => number;
  readonly #end: (client: Client) => void;
  readonly #holders = new Map<Client, Holder>();
  #waiting: { client: Client; bytes: number; run: (held: HeldReply) => void }[] = [];
  #bytes = 0;

  /** `end` disconnects a client, which gives back what it holds. */
  constructor(limitBytes: number, monotonicMs: () => number, end: (client: Client) => void) {
    this.#limitBytes = limitBytes;
    this.#monotonicMs = monotonicMs;
    this.#end = end;
  }

  /** Held by reads under way and replies not sent. */
  get bytes(): number {
    return this.#bytes;
  }
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Calls `run` when there is room for so much: at once, or later. */
  take(client: Client, bytes: number, run: (held: HeldReply) => void): void {
    if (this.#waiting.length === 0 && this.#fits(bytes)) run(this.#hold(client, bytes));
    else this.#waiting.push({ client, bytes, run });
  }

  #fits(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#limitBytes;
  }

  #hold(client: Client, bytes: number): HeldReply {
    let held = bytes;
    let open = true;
    const holder = this.#holders.get(client) ?? { bytes: 0, sinceMs: this.#monotonicMs() };
    this.#holders.set(client, holder);
    const change = (by: number): void => {
      holder.bytes += by;
      this.#bytes += by;
    };
    change(bytes);
    return {
      is: (actual) => {
        if (!open) return;
        change(actual - held);
        held = actual;
        this.#next();
      },
      give: () => {
        if (!open) return;
        open = false;
        change(-held);
        holder.sinceMs = this.#monotonicMs();
        if (holder.bytes === 0) this.#holders.delete(client);
        this.#next();
      },
    };
  }

  #next(): void {
    while (this.#waiting.length > 0 && this.#fits(this.#waiting[0]!.bytes)) {
      const { client, bytes, run } = this.#waiting.shift()!;
      run(this.#hold(client, bytes));
    }
  }

  /** Now and then: ends who holds what others wait for and takes nothing of it. */
  tick(): void {
    if (this.#waiting.length === 0) return;
    const sinceMs = this.#monotonicMs() - stuckMs;
    for (const [client, holder] of [...this.#holders]) if (holder.sinceMs <= sinceMs) this.#end(client);
  }
}

/** A read's part of the budget. */
export interface HeldReply {
  /** What the read gave back in truth. */
  is(bytes: number): void;
  /** The reply has gone, or there will be none. Twice is once. */
  give(): void;
}

/** How much a request that only reads will give back, at most; of an object of `size` bytes. */
export function replyBytesAtMost(ops: readonly OsdOp[], size: number): number {
  let bytes = 0;
  for (const op of ops) {
    if (op.op === OP.READ || op.op === OP.SYNC_READ || op.op === OP.SPARSE_READ)
      bytes += Math.max(0, Math.min(op.length === 0 ? size : op.length, size - op.offset));
    else if (op.op === OP.OMAPGETVALS || op.op === OP.OMAPGETVALSBYKEYS) bytes += unknownBytes;
  }
  return Math.min(bytes, maxReplyBytes);
}
