import { DecodeError, emptyBytes } from '../../base/bytes.ts';
import { errorText } from '../../base/errors.ts';
import { encoded, utimeFromMs } from './encoding.ts';
import {
  type Frame,
  MESSAGE_HEADER_BYTES,
  readMessageHeader,
  TAG_ACK,
  TAG_KEEPALIVE2,
  TAG_KEEPALIVE2_ACK,
  TAG_MESSAGE,
  writeMessageHeader,
} from './frame-format.ts';
import { segmentOf } from './frame-writer.ts';
import { Decoder } from './encoding.ts';
import type { Link } from './link.ts';
import { Message, type MessageCodec } from './message.ts';
import {
  type CloseReason,
  type Connection,
  type ConnectionPolicy,
  type Dispatcher,
  type MessengerLimits,
  type PeerIdentity,
  PRIO_DEFAULT,
  type RawMessage,
  type SendOptions,
} from './messenger.ts';
import { blankAddr, type EntityAddr, type EntityAddrVec, type EntityNum } from './types.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';

/** What a session needs of its messenger. */
export interface SessionOwner {
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: MessengerLimits;
  readonly dispatcher: Dispatcher;
  /** Received bytes over all sessions but lossless ones that are not handled yet. */
  heldBytes: number;
  /** A lossless peer is so far behind that clients are not read. */
  readonly holdsBack: boolean;
  /** What the peer of a lossless session has not acknowledged is now so much. */
  backlog(session: Session, bytes: number): void;
  /** The session's link waits for budget. */
  stalled(session: Session): void;
  /** Budget was given back: links that stalled may go on. */
  released(): void;
  /** The session lost its link. */
  lost(session: Session, refused: boolean, message: string): void;
  removed(session: Session): void;
}

/**
 * What a lossless peer sent is acknowledged with the next message the other way, at the latest after this time or this many bytes: with a frame
 * for each message, two OSDs would be busy with little else than acknowledging small writes.
 */
const ackDelayMs = 20;
const ackAtOnceBytes = 256 * 1024;

let nextId = 1;

/** A queued message of a lossless session until the peer has acknowledged it. */
interface Unacknowledged {
  seq: number;
  message: RawMessage;
}

/** One session: message numbers, queues and budget, over one link or, when lossless, a row of them. */
export class Session implements Connection {
  readonly id = nextId++;
  readonly owner: SessionOwner;
  readonly policy: ConnectionPolicy;
  readonly accepted: boolean;
  peer: EntityNum;
  peerAddrs: EntityAddrVec;
  identity: PeerIdentity | undefined;
  remoteIp = '';
  localAddr: EntityAddr = blankAddr;
  features = 0n;
  mode = 1;
  lastReceivedMs: number;
  session: unknown = undefined;

  link: Link | undefined;
  /** The handshake is done on the present link. */
  ready = false;
  everReady = false;
  ended = false;
  clientCookie = 0n;
  serverCookie = 0n;
  connectSeq = 0n;
  inSeq = 0;
  #outSeq = 0;
  #heldBytes = 0;
  /** Waiting for a link that is ready. */
  #queue: RawMessage[] = [];
  #queuedBytes = 0;
  #unacked: Unacknowledged[] = [];
  #unackedBytes = 0;
  #ackDue = false;
  /** Received and not acknowledged. */
  #ackBytes = 0;
  #ackTimer: Timer | undefined;
  #waiters: (() => void)[] = [];

  constructor(owner: SessionOwner, policy: ConnectionPolicy, accepted: boolean, peer: EntityNum, addrs: EntityAddrVec) {
    this.owner = owner;
    this.policy = policy;
    this.accepted = accepted;
    this.peer = peer;
    this.peerAddrs = addrs;
    this.lastReceivedMs = owner.clock.monotonic();
  }

  get lossless(): boolean {
    return this.policy === 'lossless-peer';
  }
  get open(): boolean {
    return !this.ended;
  }
  get outstandingBytes(): number {
    return this.#queuedBytes + (this.link?.queuedBytes ?? 0);
  }

  send<T>(codec: MessageCodec<T>, value: T, options?: SendOptions): void {
    if (this.ended) return;
    const body = codec.encode(value, this.features);
    this.sendRaw({
      type: codec.type,
      version: body.version ?? codec.version,
      compat: body.compat ?? codec.compat,
      front: body.front,
      ...(body.middle === undefined ? undefined : { middle: body.middle }),
      ...(body.data === undefined ? undefined : { data: body.data }),
      tid: options?.tid ?? 0,
      priority: options?.priority ?? PRIO_DEFAULT,
      ...(options?.sent === undefined ? undefined : { sent: options.sent }),
    });
  }

  sendRaw(message: RawMessage): void {
    if (this.ended) return;
    if (this.ready && this.link !== undefined) {
      this.#transmit(message);
    } else {
      this.#queue.push(message);
      this.#queuedBytes += messageBytes(message);
    }
    const bytes = this.#backlogBytes;
    if (bytes > this.#mostBacklogBytes)
      this.fail({ kind: 'reset', message: `the peer does not read: ${bytes} bytes are queued for it` });
    else if (this.lossless) this.owner.backlog(this, bytes);
  }

  get #mostBacklogBytes(): number {
    const { sendMaxBytes, sendHoldBytes, sendHighWaterBytes, totalReceiveBytes, maxFrontBytes, maxDataBytes } =
      this.owner.limits;
    if (!this.lossless) return sendMaxBytes;
    // One message alone is never too much.
    return sendHoldBytes + Math.max(totalReceiveBytes, maxFrontBytes + maxDataBytes) + sendHighWaterBytes;
  }

  /** What is kept for the peer. A lossless session keeps a message until it is acknowledged, whether the kernel has taken it or not. */
  get #backlogBytes(): number {
    return this.lossless ? this.#queuedBytes + this.#unackedBytes : this.outstandingBytes;
  }

  #transmit(message: RawMessage): void {
    const seq = ++this.#outSeq;
    if (this.lossless) {
      this.#unacked.push({ seq, message });
      this.#unackedBytes += messageBytes(message);
    }
    this.#frame(seq, message);
  }

  #frame(seq: number, message: RawMessage): void {
    this.#ackDue = false;
    this.#ackBytes = 0;
    const header = {
      seq,
      tid: message.tid ?? 0,
      type: message.type,
      priority: message.priority ?? PRIO_DEFAULT,
      version: message.version,
      compat: message.compat,
      ackSeq: this.inSeq,
      flags: 0,
    };
    this.link!.sendFrame(
      TAG_MESSAGE,
      { length: MESSAGE_HEADER_BYTES, fill: (out, at) => writeMessageHeader(out, at, header) },
      message.front,
      message.middle,
      message.data,
      // May have to be sent again.
      this.lossless ? undefined : message.sent,
    );
  }

  /** The handshake on `link` is done. `peerInSeq` is the last message the peer has of an older link; undefined for a new session. */
  attach(link: Link, peerInSeq?: number): void {
    this.link = link;
    this.ready = true;
    this.remoteIp = link.transport.remoteIp;
    this.localAddr = link.localAddr;
    this.mode = link.mode;
    this.lastReceivedMs = this.owner.clock.monotonic();
    if (peerInSeq !== undefined) {
      this.#acknowledged(peerInSeq);
      for (const { seq, message } of this.#unacked) this.#frame(seq, message);
    }
    const first = !this.everReady;
    this.everReady = true;
    if (first) this.owner.dispatcher.onReady?.(this);
    const waiting = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    for (const message of waiting) if (this.ready && !this.ended) this.#transmit(message);
  }

  /** The link is gone; what was queued stays for the next one (lossless), or the session ends (its owner decides). */
  detach(): void {
    this.link = undefined;
    this.ready = false;
    this.#wake();
  }

  onFrame(frame: Frame): void {
    this.lastReceivedMs = this.owner.clock.monotonic();
    if (frame.tag === TAG_MESSAGE) {
      this.#onMessage(frame);
      return;
    }
    const link = this.link!;
    if (link.charged > 0) {
      this.release(link.charged);
      link.charged = 0;
    }
    const body = frame.segments[0];
    switch (frame.tag) {
      case TAG_KEEPALIVE2:
        link.sendFrame(TAG_KEEPALIVE2_ACK, segmentOf(body.slice(0, 8)));
        return;
      case TAG_KEEPALIVE2_ACK:
        return;
      case TAG_ACK:
        this.#acknowledged(new Decoder(body).u64());
        return;
      default:
        throw new DecodeError(`frame of tag ${frame.tag} in a session`);
    }
  }

  /** Budget for a message of `bytes`; at least one message is always let in. */
  admit(link: Link, bytes: number): boolean {
    const { owner } = this;
    const { receiveBytes, totalReceiveBytes } = owner.limits;
    if (
      (this.#heldBytes > 0 && this.#heldBytes + bytes > receiveBytes) ||
      (!this.lossless && owner.heldBytes > 0 && owner.heldBytes + bytes > totalReceiveBytes) ||
      (!this.lossless && this.accepted && owner.holdsBack)
    ) {
      owner.stalled(this);
      return false;
    }
    this.#heldBytes += bytes;
    if (!this.lossless) owner.heldBytes += bytes;
    link.charged = bytes;
    return true;
  }

  /** Gives back what `admit` took. */
  release(bytes: number): void {
    this.#heldBytes -= bytes;
    if (!this.lossless) this.owner.heldBytes -= bytes;
    this.owner.released();
  }

  #onMessage(frame: Frame): void {
    const link = this.link!;
    const bytes = link.charged;
    link.charged = 0;
    let handling: Promise<void> | undefined;
    try {
      handling = this.#accept(frame) ?? undefined;
    } finally {
      if (handling === undefined && bytes > 0) this.release(bytes);
    }
    handling?.then(
      () => this.release(bytes),
      (error: unknown) => {
        this.release(bytes);
        this.#handlerFailed(error);
      },
    );
  }

  #accept(frame: Frame): void | Promise<void> {
    if (frame.aborted) return;
    const header = readMessageHeader(frame.segments[0]);
    if (this.lossless) {
      this.#acknowledged(header.ackSeq);
      if (header.seq <= this.inSeq) return;
      if (header.seq !== this.inSeq + 1)
        throw new DecodeError(`message ${header.seq} after ${this.inSeq}: messages are missing`);
      this.#scheduleAck(frameBytes(frame));
    }
    this.inSeq = header.seq;
    const [, front, middle, data] = frame.segments;
    return this.#dispatch(new Message(header, { front, middle, data }, this.features));
  }

  #dispatch(message: Message): void | Promise<void> {
    try {
      return this.owner.dispatcher.onMessage(this, message);
    } catch (error) {
      this.#handlerFailed(error);
    }
  }

  #handlerFailed(error: unknown): void {
    const reason = errorText(error);
    const bad = error instanceof DecodeError;
    this.owner.log[bad ? 'warn' : 'error']('a message could not be handled: the connection is closed', {
      peer: this.peer,
      error,
      ...(bad || !(error instanceof Error) ? {} : { stack: error.stack }),
    });
    this.fail({ kind: 'reset', message: reason });
  }

  #scheduleAck(bytes: number): void {
    this.#ackDue = true;
    this.#ackBytes += bytes;
    if (this.#ackBytes >= ackAtOnceBytes) queueMicrotask(() => this.#sendAck());
    else
      this.#ackTimer ??= this.owner.clock.after(ackDelayMs, () => {
        this.#ackTimer = undefined;
        this.#sendAck();
      });
  }

  #sendAck(): void {
    if (!this.#ackDue || !this.ready || this.link === undefined) return;
    this.#ackDue = false;
    this.#ackBytes = 0;
    this.link.sendFrame(TAG_ACK, segmentOf(encoded((e) => e.u64(this.inSeq), 8)));
  }

  #acknowledged(seq: number): void {
    let n = 0;
    while (n < this.#unacked.length && this.#unacked[n]!.seq <= seq) {
      this.#unackedBytes -= messageBytes(this.#unacked[n]!.message);
      n++;
    }
    if (n === 0) return;
    const gone = this.#unacked.splice(0, n);
    this.owner.backlog(this, this.#backlogBytes);
    for (const { message } of gone) message.sent?.();
  }

  drained(): Promise<void> {
    if (this.ended || this.outstandingBytes < this.owner.limits.sendHighWaterBytes) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** The link wrote some: wakes who waits for room. */
  onDrained(): void {
    if (this.outstandingBytes < this.owner.limits.sendHighWaterBytes / 2) this.#wake();
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  keepalive(): void {
    if (!this.ready) return;
    this.link?.sendFrame(TAG_KEEPALIVE2, segmentOf(encoded((e) => e.utime(utimeFromMs(this.owner.clock.now())), 8)));
  }

  close(): void {
    this.#end();
  }

  /** Ends it and tells the dispatcher. To a lossless session every end but a refusal means that messages are lost. */
  fail(reason: CloseReason): void {
    if (this.ended) return;
    this.#end();
    const kind = this.lossless && reason.kind === 'reset' ? 'session-reset' : reason.kind;
    this.owner.dispatcher.onClose?.(this, { kind, message: reason.message });
  }

  #end(): void {
    if (this.ended) return;
    this.ended = true;
    this.ready = false;
    this.#ackTimer?.cancel();
    const { link } = this;
    this.link = undefined;
    if (link !== undefined) {
      if (link.charged > 0) {
        this.release(link.charged);
        link.charged = 0;
      }
      link.close();
    }
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#unacked = [];
    this.#unackedBytes = 0;
    this.owner.removed(this);
    this.#wake();
  }
}

function frameBytes(frame: Frame): number {
  let bytes = 0;
  for (const segment of frame.segments) bytes += segment.length;
  return bytes;
}

function messageBytes(message: RawMessage): number {
  let bytes = message.front.length + (message.middle ?? emptyBytes).length;
  if (message.data !== undefined) for (const piece of message.data) bytes += piece.length;
  return bytes;
}
