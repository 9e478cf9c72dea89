import type { Clock } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { KubeClient, KubeObject } from './api.ts';
import { formatTime } from '../machinery/time.ts';
import { eventsRef } from './resources.ts';

export interface EventSubject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  /** `spec.containers{web}` where it is about a container. */
  readonly fieldPath?: string;
}

interface Known {
  name: string;
  namespace: string;
  count: number;
}

/** Burst and refill of events about one object, as upstream's spam filter has them. */
const burst = 25;
const refillMs = 300_000;
const maxQueue = 256;
const maxKnown = 1024;

/** Tells users what happens, as Event objects. Repeated events are counted on one object. Nothing waits for it; a full queue drops. */
export class EventRecorder {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #source: { component: string; host: string };
  readonly #known = new Map<string, Known>();
  readonly #buckets = new Map<string, { tokens: number; atMs: number }>();
  readonly #queue: (() => Promise<void>)[] = [];
  #running = false;
  #sequence = 0;

  constructor(client: KubeClient, clock: Clock, log: Logger, source: { component: string; host: string }) {
    this.#client = client;
    this.#clock = clock;
    this.#log = log;
    this.#source = source;
  }

  record(subject: EventSubject, type: 'Normal' | 'Warning', reason: string, message: string): void {
    if (!this.#allowed(`${subject.kind}/${subject.namespace ?? ''}/${subject.name}/${subject.uid ?? ''}`)) return;
    if (this.#queue.length >= maxQueue) this.#queue.shift();
    const text = message.length > 1024 ? `${message.slice(0, 1021)}...` : message;
    const atMs = this.#clock.now();
    this.#queue.push(() => this.#send(subject, type, reason, text, atMs));
    void this.#drain();
  }

  #allowed(key: string): boolean {
    const now = this.#clock.monotonic();
    const bucket = this.#buckets.get(key) ?? { tokens: burst, atMs: now };
    const tokens = Math.min(burst, bucket.tokens + (now - bucket.atMs) / refillMs);
    this.#buckets.delete(key);
    this.#buckets.set(key, { tokens: tokens >= 1 ? tokens - 1 : tokens, atMs: now });
    if (this.#buckets.size > maxKnown) this.#buckets.delete(this.#buckets.keys().next().value!);
    return tokens >= 1;
  }

  async #drain(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      try {
        await next();
      } catch (error) {
        this.#log.debug('event was not recorded', { error: errorText(error) });
      }
    }
    this.#running = false;
  }

  async #send(subject: EventSubject, type: string, reason: string, message: string, atMs: number): Promise<void> {
    const key = [
      subject.kind,
      subject.namespace,
      subject.name,
      subject.uid,
      subject.fieldPath,
      type,
      reason,
      message,
    ].join('\0');
    const time = formatTime(atMs);
    const known = this.#known.get(key);
    if (known) {
      known.count++;
      try {
        await this.#client.patch(eventsRef, known.name, known.namespace, 'merge', {
          count: known.count,
          lastTimestamp: time,
        });
        return;
      } catch {
        this.#known.delete(key);
      }
    }
    const namespace = subject.namespace ?? 'default';
    const suffix = (BigInt(Math.floor(atMs)) * 1_000_000n + BigInt(this.#sequence++ % 1_000_000)).toString(16);
    const name = `${subject.name}.${suffix}`;
    const event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace },
      involvedObject: { ...subject },
      reason,
      message,
      type,
      source: this.#source,
      reportingComponent: this.#source.component,
      reportingInstance: this.#source.host,
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
    };
    await this.#client.create<KubeObject>(eventsRef, event as KubeObject);
    this.#known.set(key, { name, namespace, count: 1 });
    if (this.#known.size > maxKnown) this.#known.delete(this.#known.keys().next().value!);
  }
}
