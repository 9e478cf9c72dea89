import { errorText } from '../../base/errors.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import type { Watch, WatchEvent, WatchHandler, WatchRequest } from '../api.ts';
import { CompactedError, StoreFailedError } from '../errors.ts';
import type { ClientStream, StreamHandlers } from '../grpc/client.ts';
import { safeNumber } from '../mvccpb.ts';
import { type EventMessage, headerRevision, watchEvent } from './fields.ts';
import { codec, type HeaderMessage, type Wide } from '../etcd/messages.ts';

const request = codec('WatchRequest');
const response = codec<{
  header: HeaderMessage | null;
  created: boolean;
  canceled: boolean;
  compactRevision: Wide;
  cancelReason: string;
  fragment: boolean;
  events: EventMessage[];
}>('WatchResponse');

const retryMs = 200;

export interface WatchEnvironment {
  readonly clock: Clock;
  /** The newest revision that is known. */
  revision(): number;
  /** Told of every revision and compaction that an answer shows. */
  saw(revision: number): void;
  sawCompaction(revision: number): void;
  open(path: string, handlers: StreamHandlers): Promise<ClientStream>;
}

/**
 * One watch on an etcd, on a stream of its own. When the connection breaks it goes on where it was on the next one: nothing is told twice and
 * nothing is left out, or it ends because that has been compacted.
 */
export class ExternalWatch implements Watch {
  readonly #environment: WatchEnvironment;
  readonly #request: WatchRequest;
  readonly #handler: WatchHandler;
  /** The next revision to hear of; 0: whatever comes next, until the etcd has said from where. */
  #next: number;
  #told = 0;
  #stream: ClientStream | undefined;
  #timer: Timer | undefined;
  #closed = false;
  /** The parts of an answer that came in fragments. */
  #fragments: EventMessage[] = [];

  constructor(environment: WatchEnvironment, asked: WatchRequest, handler: WatchHandler) {
    this.#environment = environment;
    this.#request = asked;
    this.#handler = handler;
    // "From now on" is from when it was asked for, not from when the etcd hears of it.
    this.#next = asked.startRevision || environment.revision() + 1;
    void this.#open();
  }

  progress(): number {
    return this.#told;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#stream?.cancel();
  }

  async #open(): Promise<void> {
    try {
      let current: ClientStream | undefined;
      const stream = await this.#environment.open('/etcdserverpb.Watch/Watch', {
        onMessage: (bytes) => {
          if (!this.#closed) this.#take(bytes);
        },
        onEnd: () => {
          if (!this.#closed && (current === undefined || current === this.#stream)) this.#retry();
        },
      });
      current = stream;
      if (this.#closed) {
        stream.cancel();
        return;
      }
      this.#stream = stream;
      this.#fragments = [];
      const { key, rangeEnd, prevKv, noPut, noDelete } = this.#request;
      stream.send(
        request.encode({
          createRequest: {
            key,
            ...(rangeEnd && { rangeEnd }),
            startRevision: this.#next,
            prevKv: prevKv ?? false,
            progressNotify: true,
            filters: [...(noPut ? [0] : []), ...(noDelete ? [1] : [])],
            fragment: true,
          },
        }),
      );
    } catch {
      if (!this.#closed) this.#retry();
    }
  }

  #retry(): void {
    this.#stream = undefined;
    this.#timer = this.#environment.clock.after(retryMs, () => void this.#open());
  }

  /** Ends the watch with an error that its handler is told. */
  end(error: Error): void {
    if (this.#closed) return;
    this.close();
    this.#handler.onEnd(error);
  }

  #take(bytes: Uint8Array): void {
    const environment = this.#environment;
    let answer: ReturnType<typeof response.decode>;
    try {
      answer = response.decode(bytes.slice());
    } catch (error) {
      this.end(new StoreFailedError('etcd', error));
      return;
    }
    const revision = headerRevision(answer.header);
    environment.saw(revision);
    if (answer.canceled) {
      const compacted = safeNumber(answer.compactRevision);
      if (compacted > 0) {
        environment.sawCompaction(compacted);
        this.end(new CompactedError(this.#next, compacted));
      } else this.end(new StoreFailedError('etcd', new Error(answer.cancelReason || 'the watch was cancelled')));
      return;
    }
    if (answer.created) return;
    if (answer.fragment) {
      this.#fragments.push(...answer.events);
      return;
    }
    const events = this.#fragments.length > 0 ? [...this.#fragments, ...answer.events] : answer.events;
    this.#fragments = [];
    if (events.length === 0) {
      // Progress: everything up to here was told, and a new stream begins behind it.
      this.#told = Math.max(this.#told, revision);
      this.#next = Math.max(this.#next, revision + 1);
      return;
    }
    this.#tell(events.map(watchEvent));
  }

  /** Events of one revision in one call. */
  #tell(events: readonly WatchEvent[]): void {
    for (let from = 0; from < events.length && !this.#closed; ) {
      const revision = events[from]!.kv.modRevision;
      let to = from + 1;
      while (to < events.length && events[to]!.kv.modRevision === revision) to++;
      if (revision >= this.#next) {
        this.#next = revision + 1;
        this.#told = revision;
        this.#environment.saw(revision);
        try {
          this.#handler.onEvents(events.slice(from, to), revision);
        } catch (error) {
          this.end(error instanceof Error ? error : new Error(errorText(error)));
        }
      }
      from = to;
    }
  }
}
