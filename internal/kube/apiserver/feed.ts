import { errorText } from '../../base/errors.ts';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { KindInfo } from '../api/kinds.ts';
import type { JsonObject } from '../machinery/json.ts';
import { resourcePrefix } from './keys.ts';
import type { Registry } from './registry.ts';
import { selectAll } from './selection.ts';
import type { Subscription, WatchHub } from './watch-hub.ts';

export interface FeedHandler {
  set(object: JsonObject): void;
  remove(namespace: string, name: string): void;
}

/** Keeps a handler up to date with all objects of a kind: a list, then every change; again from the list when the history is gone. */
export class Feed {
  readonly #registry: Registry;
  readonly #hub: WatchHub;
  readonly #kind: KindInfo;
  readonly #handler: FeedHandler;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #known = new Set<string>();
  #subscription: Subscription | undefined;
  #closed = false;

  constructor(options: {
    registry: Registry;
    hub: WatchHub;
    kind: KindInfo;
    handler: FeedHandler;
    clock: Clock;
    log: Logger;
  }) {
    this.#registry = options.registry;
    this.#hub = options.hub;
    this.#kind = options.kind;
    this.#handler = options.handler;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** Resolves when everything that exists now was handed over. */
  async start(): Promise<void> {
    const { records, revision } = await this.#registry.list({
      kind: this.#kind,
      namespace: '',
      selection: selectAll,
      limit: 0,
      revision: 0,
      start: '',
    });
    if (this.#closed) return;
    const gone = new Set(this.#known);
    for (const { rest, record } of records) {
      gone.delete(rest);
      this.#known.add(rest);
      this.#handler.set(this.#registry.objectOf(this.#kind, record));
    }
    for (const rest of gone) this.#remove(rest);
    this.#subscription = this.#hub.subscribe(resourcePrefix(this.#kind), '', revision, {
      onChanges: (changes) => {
        for (const { rest, current } of changes) {
          if (current === undefined) this.#remove(rest);
          else {
            this.#known.add(rest);
            this.#handler.set(this.#registry.objectOf(this.#kind, current));
          }
        }
      },
      onEnd: () => this.#again(),
    });
  }

  #again(): void {
    if (this.#closed) return;
    this.#clock.after(300, () => {
      if (this.#closed) return;
      this.start().catch((error: unknown) => {
        this.#log.warn('cannot list for a cache', { resource: this.#kind.plural, error: errorText(error) });
        this.#again();
      });
    });
  }

  #remove(rest: string): void {
    this.#known.delete(rest);
    const slash = rest.indexOf('/');
    this.#handler.remove(slash < 0 ? '' : rest.slice(0, slash), rest.slice(slash + 1));
  }

  close(): void {
    this.#closed = true;
    this.#subscription?.close();
  }
}
