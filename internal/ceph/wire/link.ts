import { createHmac, timingSafeEqual } from 'node:crypto';
import type { BufferPool } from '../../base/buffer-pool.ts';
import { concatBytes, DecodeError, emptyBytes, unfilledBytes } from '../../base/bytes.ts';
import { AppError, errorText } from '../../base/errors.ts';
import {
  BANNER_BYTES,
  checkBanner,
  decodeAuthBadMethod,
  decodeAuthDone,
  decodeAuthMore,
  decodeAuthRequest,
  decodeHello,
  encodeAuthBadMethod,
  encodeAuthDone,
  encodeAuthMore,
  encodeAuthRequest,
  encodeBanner,
  encodeHello,
  type Frame,
  type FrameLimits,
  TAG_AUTH_BAD_METHOD,
  TAG_AUTH_DONE,
  TAG_AUTH_REPLY_MORE,
  TAG_AUTH_REQUEST,
  TAG_AUTH_REQUEST_MORE,
  TAG_AUTH_SIGNATURE,
  TAG_HELLO,
} from './frame-format.ts';
import { FrameReader, type FrameSink } from './frame-reader.ts';
import { crcFrame, type Segment0, secureFrame, segmentOf } from './frame-writer.ts';
import {
  type AuthSecrets,
  type ClientAuth,
  CON_MODE_CRC,
  CON_MODE_SECURE,
  type PeerIdentity,
  type ServerAuth,
  type ServerAuthSession,
  type ServerAuthStep,
} from './messenger.ts';
import { type SecureSender, secureChannel } from './secure.ts';
import { SendQueue } from './send-queue.ts';
import type { Transport, TransportHandlers } from './transport.ts';
import { ADDR_MSGR2, addrV2, blankAddr, type EntityAddr } from './types.ts';

/** Bytes of the handshake that are kept for the signatures; more is no handshake. */
const maxHandshakeBytes = 256 * 1024;
const maxHandshakeFrame = 64 * 1024;
const maxAuthRounds = 8;
const EOPNOTSUPP = -95;
const EACCES = -13;

type Stage = 'banner' | 'hello' | 'auth' | 'signature' | 'up' | 'closed';

export interface LinkHandlers {
  /** Authenticated in both directions: idents follow. */
  onUp(link: Link): void;
  /** A frame behind the handshake. */
  onFrame(link: Link, frame: Frame): void;
  /** May memory for `bytes` be taken? */
  admit(link: Link, bytes: number): boolean;
  onDrained(link: Link): void;
  /** Not called after `close()`. `refused` tells authentication from transport trouble. */
  onClose(link: Link, refused: boolean, message: string): void;
}

export interface LinkOptions {
  transport: Transport;
  entityType: number;
  limits: FrameLimits;
  buffers?: BufferPool;
  handlers: LinkHandlers;
  /** What we dialled; undefined when accepted. */
  dialled?: { peerType: number; addr: EntityAddr; auth: ClientAuth };
  serverAuth?: ServerAuth;
}

/**
 * One TCP connection from banner to signatures, and the frames after that (`doc/dev/msgr2.rst`). Sessions, which may outlive it, are in
 * `session.ts`.
 */
export class Link implements TransportHandlers {
  readonly transport: Transport;
  readonly #o: LinkOptions;
  readonly #reader: FrameReader;
  readonly #queue: SendQueue;
  #stage: Stage = 'banner';
  #received: Uint8Array[] | undefined = [];
  #sent: Uint8Array[] | undefined = [];
  #recordedBytes = 0;
  #rounds = 0;
  #secrets: AuthSecrets | undefined;
  #expectedSignature: Uint8Array = emptyBytes;
  #sender: SecureSender | undefined;
  #serverSession: ServerAuthSession | undefined;
  #flushing = false;
  /** Number of messages waiting for the budget etc. is the owner's; `charged` is what `admit` took for the frame under way. */
  charged = 0;
  mode = CON_MODE_CRC;
  peerType = 0;
  /** Our address as the peer sees it. */
  localAddr: EntityAddr = blankAddr;
  identity: PeerIdentity | undefined;

  constructor(options: LinkOptions) {
    this.#o = options;
    this.transport = options.transport;
    this.#queue = new SendQueue(options.transport);
    const { buffers } = options;
    const sink: FrameSink = {
      banner: (bytes) => {
        checkBanner(bytes);
        this.#stage = 'hello';
      },
      admit: (bytes) => {
        if (this.#stage === 'up') return options.handlers.admit(this, bytes);
        if (bytes > maxHandshakeFrame) throw new DecodeError(`handshake frame of ${bytes} bytes`);
        return true;
      },
      frame: (frame) => this.#frame(frame),
    };
    this.#reader = new FrameReader(
      BANNER_BYTES,
      options.limits,
      sink,
      buffers === undefined ? unfilledBytes : (length) => buffers.take(length),
    );
    this.#reader.tap = (bytes) => this.#record(this.#received, bytes.slice());
  }

  get accepted(): boolean {
    return this.#o.dialled === undefined;
  }
  get open(): boolean {
    return this.#stage !== 'closed';
  }
  get up(): boolean {
    return this.#stage === 'up';
  }
  get queuedBytes(): number {
    return this.#queue.bytes;
  }
  get stalled(): boolean {
    return this.#reader.stalled;
  }

  /** Sends banner and hello. Call it once, right after making the link. */
  start(): void {
    const { transport } = this;
    const banner = encodeBanner();
    this.#record(this.#sent, banner);
    this.#queue.push([banner]);
    const seen = addrV2(transport.remoteIp, transport.remotePort);
    this.sendFrame(TAG_HELLO, segmentOf(encodeHello({ entityType: this.#o.entityType, peerAddr: seen })));
  }

  #record(into: Uint8Array[] | undefined, bytes: Uint8Array): void {
    if (into === undefined) return;
    this.#recordedBytes += bytes.length;
    if (this.#recordedBytes > maxHandshakeBytes) throw new DecodeError('handshake is too long');
    into.push(bytes);
  }

  sendFrame(
    tag: number,
    segment0: Segment0,
    front?: Uint8Array,
    middle?: Uint8Array,
    data?: readonly Uint8Array[],
    sent?: () => void,
  ): void {
    if (this.#stage === 'closed') return;
    const views =
      this.#sender === undefined
        ? crcFrame(tag, segment0, front, middle, data)
        : secureFrame(this.#sender, tag, segment0, front, middle, data);
    if (this.#sent !== undefined) for (const view of views) this.#record(this.#sent, view);
    this.#queue.push(views, sent);
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#stage === 'closed') return;
    this.#queue.flush();
  }

  onDrain(): void {
    if (this.#stage === 'closed') return;
    this.#queue.drain();
    this.#o.handlers.onDrained(this);
  }

  onData(bytes: Uint8Array): void {
    if (this.#stage === 'closed') return;
    this.#guard(() => {
      const before = this.#reader.stalled;
      this.#reader.feed(bytes);
      if (this.#reader.stalled && !before) this.transport.pause();
    });
  }

  /** The owner has budget again. */
  resume(): void {
    if (this.#stage === 'closed' || !this.#reader.stalled) return;
    this.#guard(() => {
      this.#reader.resume();
      if (!this.#reader.stalled) this.transport.resume();
    });
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      const refused = error instanceof AppError && error.code === 'AUTH_REFUSED';
      this.#end(refused, errorText(error));
      if (!(error instanceof AppError)) throw error;
    }
  }

  onClose(message: string): void {
    this.#end(false, message);
  }

  /** Ends it from the inside: the owner is told. */
  fail(message: string, refused = false): void {
    this.#end(refused, message);
  }

  #end(refused: boolean, message: string): void {
    if (this.#stage === 'closed') return;
    this.close();
    this.#o.handlers.onClose(this, refused, message);
  }

  /** Ends it from the outside: the owner is not told. Frames just queued are written as far as there is room. */
  close(): void {
    if (this.#stage === 'closed') return;
    this.#queue.flush();
    this.#stage = 'closed';
    this.#reader.stop();
    this.transport.close();
  }

  #frame(frame: Frame): void {
    if (this.#stage === 'up') {
      this.#o.handlers.onFrame(this, frame);
      return;
    }
    const body = frame.segments[0];
    switch (this.#stage) {
      case 'hello':
        if (frame.tag !== TAG_HELLO) break;
        this.#hello(body);
        return;
      case 'auth':
        if (++this.#rounds > maxAuthRounds) throw new DecodeError('authentication takes too many rounds');
        if (
          this.#o.dialled === undefined
            ? this.#serverAuthFrame(frame.tag, body)
            : this.#clientAuthFrame(frame.tag, body)
        )
          return;
        break;
      case 'signature':
        if (frame.tag !== TAG_AUTH_SIGNATURE) break;
        if (body.length !== 32 || !timingSafeEqual(body, this.#expectedSignature))
          throw new DecodeError('the signature of the handshake is wrong');
        this.#stage = 'up';
        this.#o.handlers.onUp(this);
        return;
    }
    throw new DecodeError(`frame of tag ${frame.tag} at stage ${this.#stage}`);
  }

  #hello(body: Uint8Array): void {
    const hello = decodeHello(body);
    this.peerType = hello.entityType;
    this.localAddr = { ...hello.peerAddr, type: ADDR_MSGR2 };
    this.#stage = 'auth';
    const { dialled } = this.#o;
    if (dialled === undefined) return;
    if (hello.entityType !== dialled.peerType)
      throw new DecodeError(`the peer is of type ${hello.entityType}, not ${dialled.peerType}`);
    const { auth } = dialled;
    const request = { method: auth.method, modes: auth.modes, payload: auth.begin() };
    this.sendFrame(TAG_AUTH_REQUEST, segmentOf(encodeAuthRequest(request)));
  }

  #clientAuthFrame(tag: number, body: Uint8Array): boolean {
    const { auth } = this.#o.dialled!;
    if (tag === TAG_AUTH_REPLY_MORE) {
      this.sendFrame(TAG_AUTH_REQUEST_MORE, segmentOf(encodeAuthMore(auth.more(decodeAuthMore(body)))));
      return true;
    }
    if (tag === TAG_AUTH_BAD_METHOD) {
      const bad = decodeAuthBadMethod(body);
      auth.refused?.(bad.result, bad.methods, bad.modes);
      throw new AppError('AUTH_REFUSED', `the peer refused authentication method ${bad.method} with ${bad.result}`);
    }
    if (tag !== TAG_AUTH_DONE) return false;
    const done = decodeAuthDone(body);
    if (!auth.modes.includes(done.mode))
      throw new DecodeError(`the peer chose mode ${done.mode}, which we do not accept`);
    this.#sign(auth.done(done.payload, done.globalId, done.mode), done.mode);
    return true;
  }

  #serverAuthFrame(tag: number, body: Uint8Array): boolean {
    const { serverAuth } = this.#o;
    if (serverAuth === undefined) throw new DecodeError('nobody may dial this peer');
    let step: ServerAuthStep;
    if (tag === TAG_AUTH_REQUEST) {
      const request = decodeAuthRequest(body);
      const allowed = serverAuth.modes(this.peerType);
      const mode = request.modes.find((m) => allowed.includes(m));
      if (mode === undefined || !serverAuth.methods.includes(request.method)) {
        this.#badMethod(request.method, EOPNOTSUPP);
        return true;
      }
      this.mode = mode;
      this.#serverSession = serverAuth.session(request.method, this.peerType, mode);
      if (this.#serverSession === undefined) {
        this.#badMethod(request.method, EOPNOTSUPP);
        return true;
      }
      step = this.#tried(() => this.#serverSession!.begin(request.payload));
    } else if (tag === TAG_AUTH_REQUEST_MORE && this.#serverSession !== undefined)
      step = this.#tried(() => this.#serverSession!.more(decodeAuthMore(body)));
    else return false;
    if (step.kind === 'more') this.sendFrame(TAG_AUTH_REPLY_MORE, segmentOf(encodeAuthMore(step.payload)));
    else if (step.kind === 'refused') {
      this.#badMethod(serverAuth.methods[0] ?? 0, step.result);
      throw new AppError('AUTH_REFUSED', step.reason);
    } else {
      this.identity = step.identity;
      const done = { globalId: step.identity.globalId, mode: this.mode, payload: step.payload };
      this.sendFrame(TAG_AUTH_DONE, segmentOf(encodeAuthDone(done)));
      this.#sign(step.secrets, this.mode);
    }
    return true;
  }

  /** A payload that does not decode or decrypt is a wrong key for all we can tell: the peer gets EACCES. */
  #tried(step: () => ServerAuthStep): ServerAuthStep {
    try {
      return step();
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      return { kind: 'refused', result: EACCES, reason: error.message };
    }
  }

  #badMethod(method: number, result: number): void {
    const { methods, modes } = this.#o.serverAuth!;
    const body = encodeAuthBadMethod({ method, result, methods, modes: modes(this.peerType) });
    this.sendFrame(TAG_AUTH_BAD_METHOD, segmentOf(body));
    this.#serverSession = undefined;
  }

  /** HMAC-SHA256 over everything received, by the session key; zeros when there is none. Encryption starts with it. */
  #sign(secrets: AuthSecrets, mode: number): void {
    this.#secrets = secrets;
    this.mode = mode;
    const digest = (pieces: readonly Uint8Array[]): Uint8Array =>
      secrets.sessionKey === undefined
        ? new Uint8Array(32)
        : new Uint8Array(createHmac('sha256', secrets.sessionKey).update(concatBytes(pieces)).digest());
    this.#expectedSignature = digest(this.#sent!);
    const signature = digest(this.#received!);
    this.#sent = undefined;
    this.#received = undefined;
    this.#reader.tap = undefined;
    if (mode === CON_MODE_SECURE) {
      const channel = secureChannel(secrets.connectionSecret, !this.accepted);
      this.#sender = channel.sender;
      this.#reader.secure(channel.receiver);
    }
    this.#stage = 'signature';
    this.sendFrame(TAG_AUTH_SIGNATURE, segmentOf(signature));
  }
}
