import { OP, type OsdOp } from '../wire/messages/osd_op.ts';
import { maxReplyBytes } from './ops/limits.ts';

/** A reader that takes none of its replies for so long while others wait is disconnected. */
const stuckMs = 60_000;
/** What a read that does not say how much it wants is taken to want until it has been carried out. */
const unknownBytes = 64 * 1024;

interface Holder {
  /** Reads that hold something, or may come to. */
  open: number;
  bytes: number;
  /** When the last of its replies went, or the first of these was begun. */
  sinceMs: number;
}

interface Waiting<Client> {
  client: Client;
  bytes: number;
  run: (held: HeldReply) => void;
}

/**
 * Memory for what reads give back, from before they run until their replies have gone to the kernel, over all clients of an OSD. A read that does not fit waits in its turn
 * on its object, so that what comes behind it does not pass it. Reads of a client wait in the order of arrival; one client gets half of the memory at most, so that one that is
 * slow does not stop the others. What gives back nothing to speak of never waits, nor does the only read of all; the first of a client waits for no share.
 */
export class ReplyBudget<Client extends object> {
  readonly #limitBytes: number;
  readonly #monotonicMs: () => number;
  readonly #end: (client: Client) => void;
  readonly #holders = new Map<Client, Holder>();
  readonly #waiting: Waiting<Client>[] = [];
  #bytes = 0;
  #choosing = false;

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
    if (bytes === 0) {
      run(this.#hold(client, 0));
      return;
    }
    this.#waiting.push({ client, bytes, run });
    this.#next();
  }

  #hold(client: Client, bytes: number): HeldReply {
    let held = bytes;
    let open = true;
    const holder = this.#holders.get(client) ?? { open: 0, bytes: 0, sinceMs: this.#monotonicMs() };
    this.#holders.set(client, holder);
    holder.open++;
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
        if (--holder.open === 0) this.#holders.delete(client);
        this.#next();
      },
    };
  }

  /** Lets in whoever fits. */
  #next(): void {
    if (this.#choosing) return;
    this.#choosing = true;
    for (let chosen = this.#choose(); chosen !== undefined; chosen = this.#choose())
      chosen.run(this.#hold(chosen.client, chosen.bytes));
    this.#choosing = false;
  }

  /** The next that fits, taken out of the queue. One for which there is no room yet is waited for; one whose client has its share is passed by the reads of others. */
  #choose(): Waiting<Client> | undefined {
    const passed = new Set<Client>();
    for (const [index, one] of this.#waiting.entries()) {
      const { client, bytes } = one;
      if (passed.has(client)) continue;
      if (this.#bytes > 0 && this.#bytes + bytes > this.#limitBytes) return undefined;
      const has = this.#holders.get(client)?.bytes ?? 0;
      if (has > 0 && has + bytes > this.#limitBytes / 2) {
        passed.add(client);
        continue;
      }
      this.#waiting.splice(index, 1);
      return one;
    }
    return undefined;
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
