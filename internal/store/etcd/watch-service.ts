import type { Timer } from '../../base/clock.ts';
import type { KeyValue, Watch, WatchEvent, WatchRequest } from '../api.ts';
import { CompactedError } from '../errors.ts';
import { GrpcError, grpcCode } from '../grpc/status.ts';
import type { Method, ServerStream } from '../grpc/service.ts';
import { safeNumber } from '../mvccpb.ts';
import type { FaceContext } from './context.ts';
import { toEtcdError } from './errors.ts';
import { codec, type WatchRequestMessage } from './messages.ts';
import { eventBytes, type HeaderWriter, type WatchAnswer, watchResponse } from './responses.ts';

const request = codec<WatchRequestMessage>('WatchRequest');

/** The id of answers that belong to no watch (clientv3.InvalidWatchID). */
const noWatch = -1;
const maxWatches = 10_000;
/** Revisions are put together into one answer up to this many bytes. */
const answerBytes = 1 << 20;
/** Room that etcd leaves beside the largest request when it cuts an answer into fragments. */
const fragmentOverheadBytes = 512 << 10;
/** When watches are behind, a wanted progress is looked at again after this. */
const progressRetryMs = 20;

/** `etcdserverpb.Watch`. */
export function watchService(context: FaceContext): Map<string, Method> {
  return new Map<string, Method>([
    ['Watch', { kind: 'stream', open: (stream) => void new WatchStream(context, stream) }],
  ]);
}

interface Entry {
  readonly id: number;
  readonly request: WatchRequest;
  readonly fragment: boolean;
  readonly progressNotify: boolean;
  /** Undefined while the client is too slow: begins again at `next`. */
  watch: Watch | undefined;
  /** The next revision to hear of. */
  next: number;
  /** What waits to be sent, by revision. */
  pending: { revision: number; events: Uint8Array[] }[];
  /** Told of an event since the last progress. */
  quiet: boolean;
}

/** Every watch of one stream. */
class WatchStream {
  readonly #context: FaceContext;
  readonly #stream: ServerStream;
  readonly #entries = new Map<number, Entry>();
  #nextId = 0;
  /** Answers that are not of events, before the events. */
  #outbox: Uint8Array[] = [];
  #pendingBytes = 0;
  #flushing = false;
  /** The client does not keep up: nothing is taken from it, and it is told of no events. */
  #blocked = false;
  #progressWanted = false;
  #progressTimer: Timer | undefined;
  #retryTimer: Timer | undefined;
  #closed = false;

  constructor(context: FaceContext, stream: ServerStream) {
    this.#context = context;
    this.#stream = stream;
    stream.onMessage((bytes) => this.#take(bytes));
    stream.onHalfClose(() => stream.end());
    stream.onClose(() => this.#close());
    stream.onDrain(() => this.#drained());
  }

  #take(bytes: Uint8Array): void {
    let message: WatchRequestMessage;
    try {
      message = request.decode(bytes);
    } catch (error) {
      this.#stream.end(error as GrpcError);
      return;
    }
    if (message.createRequest) this.#create(message.createRequest);
    else if (message.cancelRequest) this.#cancel(safeNumber(message.cancelRequest.watchId));
    else if (message.progressRequest) {
      this.#progressWanted = true;
      this.#schedule();
    }
  }

  #create(asked: NonNullable<WatchRequestMessage['createRequest']>): void {
    const revision = this.#context.store.revision;
    const key = asked.key.length > 0 ? asked.key.slice() : new Uint8Array(1);
    const { rangeEnd } = asked;
    const fromKey = rangeEnd.length === 1 && rangeEnd[0] === 0;
    let id = safeNumber(asked.watchId);
    const refused =
      rangeEnd.length > 0 && !fromKey && Buffer.compare(key, rangeEnd) >= 0
        ? 'mvcc: watcher range is empty'
        : this.#entries.size >= maxWatches
          ? `etcdserver: more than ${maxWatches} watches on one stream`
          : id !== 0 && this.#entries.has(id)
            ? 'mvcc: duplicate watch ID provided on the WatchStream'
            : undefined;
    if (refused !== undefined) {
      this.#answer({ revision, watchId: noWatch, created: true, canceled: true, cancelReason: refused });
      return;
    }
    if (id === 0) {
      while (this.#entries.has(this.#nextId)) this.#nextId++;
      id = this.#nextId++;
    }
    const start = safeNumber(asked.startRevision) || revision + 1;
    const entry: Entry = {
      id,
      request: {
        key,
        ...(rangeEnd.length > 0 && { rangeEnd: rangeEnd.slice() }),
        prevKv: asked.prevKv,
        noPut: asked.filters.includes(0),
        noDelete: asked.filters.includes(1),
      },
      fragment: asked.fragment,
      progressNotify: asked.progressNotify,
      watch: undefined,
      next: start,
      pending: [],
      quiet: true,
    };
    this.#entries.set(id, entry);
    this.#answer({ revision, watchId: id, created: true });
    this.#begin(entry);
    if (entry.progressNotify) this.#startProgress();
  }

  #begin(entry: Entry): void {
    try {
      entry.watch = this.#context.store.watch(
        { ...entry.request, startRevision: entry.next },
        {
          onEvents: (events, revision) => this.#events(entry, events, revision),
          onEnd: (error) => this.#ended(entry, error),
        },
      );
    } catch (error) {
      this.#fail(error);
    }
  }

  #events(entry: Entry, events: readonly WatchEvent[], revision: number): void {
    if (this.#pendingBytes > this.#context.limits.watchBytes) {
      // The client does not keep up: this watch is read from the store again when it does.
      this.#suspend(entry, revision);
      return;
    }
    const encoded = events.map(encodeEvent);
    for (const bytes of encoded) this.#pendingBytes += bytes.length;
    entry.pending.push({ revision, events: encoded });
    entry.next = revision + 1;
    entry.quiet = false;
    if (!this.#blocked) this.#schedule();
  }

  #suspend(entry: Entry, next: number): void {
    entry.watch?.close();
    entry.watch = undefined;
    entry.next = next;
  }

  #ended(entry: Entry, error: Error): void {
    if (!(error instanceof CompactedError)) {
      this.#fail(error);
      return;
    }
    this.#flushEvents(entry);
    this.#entries.delete(entry.id);
    this.#answer({
      revision: this.#context.store.revision,
      watchId: entry.id,
      canceled: true,
      compactRevision: error.compactRevision,
    });
  }

  #cancel(id: number): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    entry.watch?.close();
    this.#entries.delete(id);
    this.#flushEvents(entry);
    this.#answer({ revision: this.#context.store.revision, watchId: id, canceled: true });
  }

  #answer(answer: WatchAnswer): void {
    this.#outbox.push(watchResponse(this.#context.header, answer));
    this.#schedule();
  }

  /** What is asked for in one go, and what the store applies in one go, is sent in one go. */
  #schedule(): void {
    if (this.#flushing || this.#closed) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#closed) return;
    if (!this.#blocked) for (const entry of this.#entries.values()) this.#flushEvents(entry);
    this.#tellProgress();
    if (this.#outbox.length === 0) return;
    const messages = this.#outbox;
    this.#outbox = [];
    if (this.#stream.send(messages)) return;
    this.#blocked = true;
    // What it asks for meanwhile would be answered into memory.
    this.#stream.pause();
  }

  #drained(): void {
    if (this.#closed) return;
    this.#blocked = false;
    this.#flush();
    if (this.#blocked) return;
    this.#stream.resume();
    for (const entry of this.#entries.values()) if (entry.watch === undefined) this.#begin(entry);
  }

  /** Moves an entry's events to the outbox. */
  #flushEvents(entry: Entry): void {
    let events: Uint8Array[] = [];
    let bytes = 0;
    let last = 0;
    const send = (): void => {
      if (events.length > 0) this.#sendEvents(entry, last, events, bytes);
      events = [];
      bytes = 0;
    };
    for (const { revision, events: more } of entry.pending) {
      const size = more.reduce((sum, one) => sum + one.length, 0);
      if (bytes + size > answerBytes) send();
      events.push(...more);
      bytes += size;
      last = revision;
      this.#pendingBytes -= size;
    }
    entry.pending = [];
    send();
  }

  #sendEvents(entry: Entry, revision: number, events: readonly Uint8Array[], bytes: number): void {
    const { header, limits } = this.#context;
    const watchId = entry.id;
    const most = limits.requestBytes + fragmentOverheadBytes;
    if (!entry.fragment || bytes < most || events.length < 2) {
      this.#outbox.push(eventsAnswer(header, revision, watchId, events));
      return;
    }
    for (let from = 0; from < events.length; ) {
      let to = from;
      for (let size = 0; to < events.length && (to === from || size + events[to]!.length < most); to++)
        size += events[to]!.length;
      const part = events.slice(from, to);
      this.#outbox.push(watchResponse(header, { revision, watchId, events: part, fragment: to < events.length }));
      from = to;
    }
  }

  /** A wanted progress is told when every watch of the stream has heard of everything up to it. */
  #tellProgress(): void {
    if (!this.#progressWanted) return;
    const { store, clock } = this.#context;
    const { revision } = store;
    if ([...this.#entries.values()].every((entry) => this.#upToDate(entry, revision))) {
      this.#progressWanted = false;
      this.#outbox.push(watchResponse(this.#context.header, { revision, watchId: noWatch }));
      return;
    }
    this.#retryTimer?.cancel();
    this.#retryTimer = clock.after(progressRetryMs, () => this.#schedule());
  }

  #upToDate(entry: Entry, revision: number): boolean {
    return entry.watch !== undefined && entry.pending.length === 0 && entry.watch.progress() >= revision;
  }

  #startProgress(): void {
    const { clock, random, limits } = this.#context;
    if (this.#progressTimer !== undefined) return;
    // Watches that were made together do not tell together.
    const delay = limits.progressNotifyMs * (1 + random.float() / 10);
    this.#progressTimer = clock.after(delay, () => {
      this.#progressTimer = undefined;
      const { revision } = this.#context.store;
      let any = false;
      for (const entry of this.#entries.values()) {
        if (!entry.progressNotify) continue;
        any = true;
        if (entry.quiet && !this.#blocked && this.#upToDate(entry, revision))
          this.#answer({ revision, watchId: entry.id });
        entry.quiet = true;
      }
      if (any) this.#startProgress();
    });
  }

  #fail(error: unknown): void {
    const told = toEtcdError(error);
    this.#stream.end(told instanceof GrpcError ? told : new GrpcError(grpcCode.internal, String(told)));
  }

  #close(): void {
    this.#closed = true;
    this.#progressTimer?.cancel();
    this.#retryTimer?.cancel();
    for (const { watch } of this.#entries.values()) watch?.close();
    this.#entries.clear();
    this.#outbox = [];
  }
}

/** Watches of the same key are told one after the other: the event before is mostly this one. */
let lastKv: KeyValue | undefined;
let lastPrevious: KeyValue | undefined;
let lastBytes: Uint8Array | undefined;

function encodeEvent(event: WatchEvent): Uint8Array {
  if (lastKv === event.kv && lastPrevious === event.prevKv && lastBytes !== undefined) return lastBytes;
  lastKv = event.kv;
  lastPrevious = event.prevKv;
  lastBytes = eventBytes(event);
  return lastBytes;
}

interface Answer {
  readonly header: HeaderWriter;
  readonly term: number;
  readonly revision: number;
  readonly watchId: number;
  readonly events: readonly Uint8Array[];
  readonly bytes: Uint8Array;
}
/** Streams that watch the same are told one after the other, too. Not kept when it is large. */
let lastAnswer: Answer | undefined;
const keptAnswerBytes = 64 << 10;

function eventsAnswer(
  header: HeaderWriter,
  revision: number,
  watchId: number,
  events: readonly Uint8Array[],
): Uint8Array {
  const { term } = header;
  const last = lastAnswer;
  if (
    last?.revision === revision &&
    last.header === header &&
    last.term === term &&
    last.watchId === watchId &&
    last.events.length === events.length &&
    last.events.every((event, i) => event === events[i])
  )
    return last.bytes;
  const bytes = watchResponse(header, { revision, watchId, events });
  lastAnswer = bytes.length > keptAnswerBytes ? undefined : { header, term, revision, watchId, events, bytes };
  return bytes;
}
