import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { KindTable } from '../api/kinds.ts';
import type { KubeClient, KubeObject, ResourceRef } from '../client/api.ts';
import { EventRecorder } from '../client/events.ts';
import { Informer, type InformerOptions } from '../client/informer.ts';
import { createWorkQueue, type WorkQueue } from '../client/workqueue.ts';

/** One cache a resource, shared by all controllers; run by `SharedInformers.run` once every controller has taken what it needs. */
export class SharedInformers {
  readonly #options: { client: KubeClient; clock: Clock; log: Logger };
  readonly #informers = new Map<string, Informer<KubeObject>>();

  constructor(options: { client: KubeClient; clock: Clock; log: Logger }) {
    this.#options = options;
  }

  /** `list` narrows what is followed; who asks for the same shares the cache. */
  of<T extends KubeObject>(resource: ResourceRef, list?: InformerOptions['list']): Informer<T> {
    const key = `${resource.group}/${resource.version}/${resource.resource}?${JSON.stringify(list ?? {})}`;
    let informer = this.#informers.get(key);
    if (!informer) {
      informer = new Informer<KubeObject>({ ...this.#options, resource, ...(list === undefined ? {} : { list }) });
      this.#informers.set(key, informer);
    }
    return informer as unknown as Informer<T>;
  }

  /** Follows the server until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.run(signal)));
  }

  /** Resolves when every cache has been filled once. */
  async synced(): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.synced));
  }
}

/** What a controller works with. */
export interface ControllerContext {
  readonly client: KubeClient;
  readonly informers: SharedInformers;
  readonly kinds: KindTable;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Tells users of `component`'s doings as Events. */
  recorder(component: string): EventRecorder;
  /** A reconcile loop; it starts once every cache is filled. */
  queue(name: string, reconcile: (key: string) => Promise<void>, workers?: number): WorkQueue;
  readonly signal: AbortSignal;
}

/** Takes informers, adds handlers, makes queues; nothing runs before every controller is set up. */
export type SetUpController = (context: ControllerContext) => void;

/** Runs `controllers` until `stop`. */
export function runControllers(
  controllers: readonly SetUpController[],
  options: { client: KubeClient; kinds: KindTable; clock: Clock; random: Random; log: Logger; host: string },
): { stop(): Promise<void> } {
  const stopping = new AbortController();
  const informers = new SharedInformers(options);
  const queues: WorkQueue[] = [];
  const filled = Promise.withResolvers<void>();
  const context: ControllerContext = {
    ...options,
    informers,
    signal: stopping.signal,
    recorder: (component) =>
      new EventRecorder(options.client, options.clock, options.log, { component, host: options.host }),
    queue: (name, reconcile, workers) => {
      const queue = createWorkQueue({
        name,
        clock: options.clock,
        log: options.log,
        reconcile: async (key) => {
          await filled.promise;
          if (!stopping.signal.aborted) await reconcile(key);
        },
        ...(workers === undefined ? {} : { workers }),
      });
      queues.push(queue);
      return queue;
    },
  };
  for (const setUp of controllers) setUp(context);
  const running = informers.run(stopping.signal);
  void informers.synced().then(() => filled.resolve());
  return {
    stop: async () => {
      stopping.abort();
      filled.resolve();
      for (const queue of queues) queue.stop();
      await running;
    },
  };
}
