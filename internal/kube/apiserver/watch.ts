/** Watches: initial events, changes filtered and rendered once for all who see them alike, bookmarks, an end in time. */
import { concatBytes, utf8 } from '../../base/bytes.ts';
import { apiVersionOf } from '../api/kinds.ts';
import type { JsonObject } from '../machinery/json.ts';
import { badRequest, invalid, type Status, StatusError } from '../machinery/status.ts';
import { type IncludeObject, makeTable } from '../machinery/table.ts';
import type { RequestContext } from './context.ts';
import { resourcePrefix } from './keys.ts';
import { type Negotiated, negotiate } from './negotiation.ts';
import { protobufMediaType } from './protobuf/decode.ts';
import { encodeWatchEvent } from './protobuf/encode.ts';
import type { StoredRecord } from './record.ts';
import { parseRevision } from './registry.ts';
import { Chunks, includeObjectOf, protobufForm, recordPieces, transform } from './render.ts';
import { errorStatus, type Reply, type ReplySink } from './reply.ts';
import { isTrue } from './request-info.ts';
import { parseSelection, type Selection } from './selection.ts';
import type { Change, Subscription } from './watch-hub.ts';

const bookmarkMs = 60_000;
/** Bytes of changes that may wait for a slow client, beside the initial events, and for a webhook that converts them. */
const backlogMax = 8 * 1024 * 1024;
const initialEventsEnd = 'k8s.io/initial-events-end';
const newline = utf8('}\n');
const streamTypes = {
  json: 'application/json',
  yaml: 'application/json',
  protobuf: `${protobufMediaType};stream=watch`,
} as const;

type EventType = 'ADDED' | 'MODIFIED' | 'DELETED';

interface Position {
  /** Undefined: list first. */
  after: number | undefined;
  initialEvents: boolean;
  bookmarks: boolean;
  /** Whether the end of the initial events is told. */
  endBookmark: boolean;
}

/** metav1.ListOptions of a watch (KEP-3157 for sendInitialEvents). Throws 400, 422. */
function position(query: URLSearchParams): Position {
  const asked = parseRevision(query.get('resourceVersion'));
  const match = query.get('resourceVersionMatch') ?? '';
  const send = query.get('sendInitialEvents');
  const bookmarks = isTrue(query.get('allowWatchBookmarks'));
  const refuse = (field: string, detail: string): never => {
    throw invalid('meta.k8s.io', 'ListOptions', '', [
      { type: 'FieldValueForbidden', field, detail: `Forbidden: ${detail}` },
    ]);
  };
  if (send !== null && match !== 'NotOlderThan')
    refuse('resourceVersionMatch', 'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan');
  if (send === null && match !== '')
    refuse('resourceVersionMatch', 'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided');
  if (send === null) {
    const fromNow = asked === undefined || asked === 0;
    return { after: fromNow ? undefined : asked, initialEvents: fromNow, bookmarks, endBookmark: false };
  }
  const initialEvents = isTrue(send);
  return {
    after: initialEvents ? undefined : asked || undefined,
    initialEvents,
    bookmarks,
    endBookmark: initialEvents && bookmarks,
  };
}

export async function watch(context: RequestContext): Promise<Reply> {
  const { core, kind, info, query } = context;
  const form = negotiate(context.headers.get('accept'), true, protobufForm(core, kind));
  const streaming: Negotiated = form.protobuf === undefined ? { ...form, format: 'json' } : form;
  const selection = parseSelection(kind, query, info.name);
  const where = position(query);
  const include = includeObjectOf(query);
  const timeoutText = query.get('timeoutSeconds') ?? '';
  if (!/^\d{0,9}$/.test(timeoutText)) throw badRequest(`invalid timeoutSeconds ${JSON.stringify(timeoutText)}`);
  const timeoutMs = Number(timeoutText) > 0 ? Number(timeoutText) * 1000 : (1800 + core.random.float() * 1800) * 1000;
  await core.registry.reached(parseRevision(query.get('resourceVersion')) ?? 0);
  let initial: { rest: string; record: StoredRecord }[] = [];
  let after = where.after ?? core.registry.store.revision;
  if (where.initialEvents) {
    const result = await core.registry.list({
      kind,
      namespace: kind.namespaced ? info.namespace : '',
      selection,
      limit: 0,
      revision: 0,
      start: '',
    });
    initial = result.records;
    after = result.revision;
  }
  return {
    status: 200,
    headers: { 'content-type': streamTypes[streaming.format], 'cache-control': 'no-cache, private' },
    warnings: context.warnings,
    body: (sink) => new Watcher(context, streaming, selection, include, sink).run(initial, after, where, timeoutMs),
  };
}

class Watcher {
  readonly #context: RequestContext;
  readonly #form: Negotiated;
  readonly #selection: Selection;
  readonly #include: IncludeObject;
  readonly #sink: ReplySink;
  #headersSent = false;
  #initialBytes = 0;
  #ended = false;
  #subscription: Subscription | undefined;
  /** Changes behind those that a webhook is asked about just now; undefined: it is not asked. */
  #waiting: Change[] | undefined;
  #waitingBytes = 0;
  #timers: { cancel(): void }[] = [];

  constructor(
    context: RequestContext,
    form: Negotiated,
    selection: Selection,
    include: IncludeObject,
    sink: ReplySink,
  ) {
    this.#context = context;
    this.#form = form;
    this.#selection = selection;
    this.#include = include;
    this.#sink = sink;
  }

  run(
    initial: { rest: string; record: StoredRecord }[],
    after: number,
    where: Position,
    timeoutMs: number,
  ): () => void {
    const { core, kind, info } = this.#context;
    const chunks = new Chunks();
    for (const { record } of initial) chunks.add(this.#event('ADDED', record, record.revision));
    for (const chunk of chunks.finish()) {
      this.#initialBytes += chunk.length;
      this.#write(chunk);
    }
    if (where.endBookmark) this.#write(this.#bookmark(after, true));
    try {
      const scope = kind.namespaced && info.namespace !== '' ? `${info.namespace}/` : '';
      this.#subscription = core.hub.subscribe(resourcePrefix(kind), scope, after, {
        onChanges: (changes) => this.#take(changes),
        onEnd: (error) => this.#fail(error.status),
      });
      if (this.#ended) this.#subscription.close();
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      this.#fail(error.status);
    }
    if (!this.#ended) {
      this.#timers.push(core.clock.after(timeoutMs, () => this.#finish(true)));
      if (where.bookmarks) this.#scheduleBookmark();
    }
    return () => this.#finish(false);
  }

  #scheduleBookmark(): void {
    const { core } = this.#context;
    const timer = core.clock.after(bookmarkMs * (0.9 + 0.2 * core.random.float()), () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
      if (this.#ended || this.#subscription === undefined) return;
      // What waits for a webhook is not told yet.
      if (this.#waiting === undefined) this.#write(this.#bookmark(this.#subscription.progress(), false));
      if (!this.#ended) this.#scheduleBookmark();
    });
    this.#timers.push(timer);
  }

  /** Changes that a webhook has to convert wait for it, and what comes after waits behind them. */
  #take(changes: readonly Change[]): void {
    const { conversions } = this.#context.core.registry;
    if (this.#waiting !== undefined) this.#wait(changes);
    else if (recordsOf(changes).some((record) => conversions.needsPreparing(this.#context.kind, record)))
      void this.#convert(changes);
    else this.#changes(changes);
  }

  /** Has changes converted, and then, in one call each time, those that came meanwhile. */
  async #convert(changes: readonly Change[]): Promise<void> {
    const { core, kind } = this.#context;
    try {
      for (let next = changes; next.length > 0 && !this.#ended; ) {
        this.#waiting = [];
        this.#waitingBytes = 0;
        await core.registry.conversions.prepare(kind, recordsOf(next));
        this.#changes(next);
        next = this.#waiting;
      }
    } catch (error) {
      this.#fail(errorStatus(error, core.log, 'converting for a watch'));
    }
    this.#waiting = undefined;
  }

  #wait(changes: readonly Change[]): void {
    for (const change of changes) this.#waiting!.push(change);
    for (const { value } of recordsOf(changes)) this.#waitingBytes += value.length;
    if (this.#waitingBytes <= backlogMax) return;
    this.#context.core.log.warn('watch ended: the webhook that converts its objects does not keep up', {
      resource: this.#context.kind.plural,
    });
    this.#waiting = [];
    this.#finish(true);
  }

  #changes(changes: readonly Change[]): void {
    if (this.#ended) return;
    const pieces: Uint8Array[] = [];
    for (const change of changes) {
      const bytes = this.#render(change);
      if (bytes !== undefined) pieces.push(bytes);
    }
    if (pieces.length > 0) this.#write(concatBytes(pieces));
  }

  /** What the change is to this watcher: an object that leaves the selection is deleted, one that enters is added. */
  #render(change: Change): Uint8Array | undefined {
    const { current, previous } = change;
    const { core, kind } = this.#context;
    const chosen = (record: StoredRecord | undefined): boolean =>
      record !== undefined && core.registry.selects(kind, this.#selection, record, change.rest);
    const now = chosen(current);
    const before = chosen(previous);
    if (!now && !before) return undefined;
    const type: EventType = now ? (before ? 'MODIFIED' : 'ADDED') : 'DELETED';
    const record = now ? current! : previous!;
    const cacheable = this.#form.as !== 'table';
    const key = `${type}${this.#form.format}${this.#form.as}${this.#form.metaVersion}${apiVersionOf(kind)}${kind.custom?.schemaId ?? ''}`;
    const known = cacheable ? change.rendered.get(key) : undefined;
    if (known !== undefined) return known;
    const bytes = this.#event(type, record, change.revision);
    if (cacheable) change.rendered.set(key, bytes);
    return bytes;
  }

  #event(type: EventType, record: StoredRecord, revision: number): Uint8Array {
    const { core, kind } = this.#context;
    const { protobuf } = this.#form;
    if (protobuf !== undefined) return encodeWatchEvent(type, core.registry.objectOf(kind, record, revision), protobuf);
    const head = utf8(`{"type":"${type}","object":`);
    if (this.#form.as === 'object')
      return concatBytes([head, ...recordPieces(core.registry, kind, record, revision), newline]);
    const object = core.registry.objectOf(kind, record, revision);
    return concatBytes([head, utf8(JSON.stringify(this.#shape(object))), newline]);
  }

  #shape(object: JsonObject): JsonObject {
    const { core, kind } = this.#context;
    const shaped = transform(kind, object, this.#form, this.#include, core.clock.now());
    if (this.#form.as === 'table') {
      if (this.#headersSent) shaped.columnDefinitions = null;
      this.#headersSent = true;
    }
    return shaped;
  }

  #bookmark(revision: number, end: boolean): Uint8Array {
    const { kind } = this.#context;
    const metadata: JsonObject = {
      resourceVersion: String(revision),
      creationTimestamp: null,
      ...(end ? { annotations: { [initialEventsEnd]: 'true' } } : {}),
    };
    let object: JsonObject;
    if (this.#form.as === 'table') {
      object = makeTable(kind.printer, [], {
        nowMs: 0,
        listMetadata: { resourceVersion: String(revision) },
        includeObject: 'None',
        headers: false,
      });
    } else if (this.#form.as === 'partial')
      object = { kind: 'PartialObjectMetadata', apiVersion: `meta.k8s.io/${this.#form.metaVersion}`, metadata };
    else object = { kind: kind.kind, apiVersion: apiVersionOf(kind), metadata };
    return this.#told('BOOKMARK', object);
  }

  #told(type: 'BOOKMARK' | 'ERROR', object: JsonObject): Uint8Array {
    const { protobuf } = this.#form;
    if (protobuf !== undefined) return encodeWatchEvent(type, object, protobuf);
    return utf8(`${JSON.stringify({ type, object })}\n`);
  }

  #write(bytes: Uint8Array): void {
    if (this.#ended) return;
    this.#sink.write(bytes);
    if (this.#sink.backlog() <= backlogMax + this.#initialBytes) return;
    // The client does not read: it has to come back and list again, rather than fill our memory.
    this.#context.core.log.warn('watch ended: the client does not keep up', {
      resource: this.#context.kind.plural,
      user: this.#context.user.name,
    });
    this.#finish(false);
    this.#sink.abort();
  }

  #fail(status: Status): void {
    this.#write(this.#told('ERROR', status as unknown as JsonObject));
    this.#finish(true);
  }

  #finish(end: boolean): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#subscription?.close();
    for (const timer of this.#timers) timer.cancel();
    if (end) this.#sink.end();
  }
}

/** All objects that changes speak of, before and after. */
function recordsOf(changes: readonly Change[]): StoredRecord[] {
  return changes.flatMap(({ current, previous }) => [current, previous]).filter((one) => one !== undefined);
}
