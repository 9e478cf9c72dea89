/** Appends on their way to one follower: bounded by their number and by their bytes. */
class Inflights {
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  #messages: { lastIndex: number; bytes: number }[] = [];
  #bytes = 0;

  constructor(maxMessages: number, maxBytes: number) {
    this.#maxMessages = maxMessages;
    this.#maxBytes = maxBytes;
  }

  get full(): boolean {
    return this.#messages.length >= this.#maxMessages || this.#bytes >= this.#maxBytes;
  }

  get count(): number {
    return this.#messages.length;
  }

  add(lastIndex: number, bytes: number): void {
    this.#messages.push({ lastIndex, bytes });
    this.#bytes += bytes;
  }

  /** Everything up to this index has arrived. */
  freeTo(index: number): void {
    let done = 0;
    while (done < this.#messages.length && this.#messages[done]!.lastIndex <= index)
      this.#bytes -= this.#messages[done++]!.bytes;
    this.#messages.splice(0, done);
  }

  /** The oldest may be lost: room for one more. */
  freeFirst(): void {
    const first = this.#messages[0];
    if (first !== undefined) this.freeTo(first.lastIndex);
  }

  reset(): void {
    this.#messages = [];
    this.#bytes = 0;
  }
}

/**
 * What a leader knows of a follower. `probe`: where the logs meet is not known, one append at a time; `replicate`: appends follow each other
 * without waiting; `snapshot`: it needs what the log does not hold any more, and gets a snapshot.
 */
export class Progress {
  match = 0;
  next: number;
  state: 'probe' | 'replicate' | 'snapshot' = 'probe';
  /** It was heard of since the last check of the quorum. */
  recentlyActive = false;
  /** It was heard of between that check and the one before. */
  #wasActive = false;
  /** While probing: an append is on its way. */
  paused = false;
  /** The commit index it was last told of. */
  sentCommit = 0;
  /** The newest read round it has answered (`Raft.readIndex`). */
  readRound = 0;
  readonly inflights: Inflights;

  constructor(next: number, maxMessages: number, maxBytes: number) {
    this.next = next;
    this.inflights = new Inflights(maxMessages, maxBytes);
  }

  /** It was heard of within one to two election timeouts. */
  get active(): boolean {
    return this.recentlyActive || this.#wasActive;
  }

  /** Begins to listen anew; whether it was heard of since the last call. */
  checked(): boolean {
    this.#wasActive = this.recentlyActive;
    this.recentlyActive = false;
    return this.#wasActive;
  }

  get blocked(): boolean {
    if (this.state === 'snapshot') return true;
    return this.state === 'probe' ? this.paused : this.inflights.full;
  }

  probe(next = this.match + 1): void {
    this.state = 'probe';
    this.paused = false;
    this.next = next;
    this.inflights.reset();
  }

  /** Gets nothing until it answers a heartbeat. */
  wait(): void {
    this.probe();
    this.paused = true;
  }

  replicate(): void {
    this.state = 'replicate';
    this.paused = false;
    this.next = this.match + 1;
    this.inflights.reset();
  }

  snapshot(): void {
    this.state = 'snapshot';
    this.paused = false;
    this.inflights.reset();
  }

  sent(lastIndex: number, count: number, bytes: number): void {
    if (this.state === 'probe') {
      this.paused = true;
      return;
    }
    if (count === 0) return;
    this.next = lastIndex + 1;
    this.inflights.add(lastIndex, bytes);
  }

  /** True when it has more than was known. */
  acknowledged(index: number): boolean {
    this.next = Math.max(this.next, index + 1);
    if (index <= this.match) return false;
    this.match = index;
    this.paused = false;
    return true;
  }

  /** False for an old message that says nothing new. */
  rejected(prevIndex: number, tryAt: number): boolean {
    if (this.state === 'replicate') {
      if (prevIndex <= this.match) return false;
      this.next = this.match + 1;
      return true;
    }
    if (this.next - 1 !== prevIndex) return false;
    this.next = Math.max(Math.min(prevIndex, tryAt + 1), this.match + 1);
    this.paused = false;
    return true;
  }
}
