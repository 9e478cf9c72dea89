import type { Clock, Timer } from '../../../base/clock.ts';
import { sleep } from '../../../base/clock.ts';
import { errorText } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import type { AuditSink } from './trail.ts';
import type { AuditWebhookTarget } from './webhook-config.ts';

/** Upstream's defaults of the batching mode (--audit-webhook-batch-*): what is sent at once, how long an event waits, how much waits. */
const batchEventsMax = 400;
const batchWaitMs = 30_000;
const bufferEventsMax = 10_000;
const bufferBytesMax = 8 * 1024 * 1024;
const requestMs = 30_000;
/** How often a batch is tried, and how long after the first time; each wait is half as long again. */
const triesMax = 5;
const firstRetryMs = 10_000;
const tellMs = 60_000;

/** Sends events in batches to a server that takes EventLists of audit.k8s.io/v1. No request waits for it; what does not fit or arrive is counted and told. */
export class AuditWebhook implements AuditSink {
  readonly #target: AuditWebhookTarget;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #closing = new AbortController();
  #queue: string[] = [];
  #bytes = 0;
  #timer: Timer | undefined;
  #sending: Promise<void> | undefined;
  #toldAt = Number.NEGATIVE_INFINITY;
  #untold = 0;
  sent = 0;
  dropped = 0;

  constructor(target: AuditWebhookTarget, clock: Clock, log: Logger) {
    this.#target = target;
    this.#clock = clock;
    this.#log = log;
  }

  write(line: string): void {
    if (
      this.#closing.signal.aborted ||
      this.#queue.length >= bufferEventsMax ||
      this.#bytes + line.length > bufferBytesMax
    ) {
      this.#drop(1, 'the server that takes them is too slow');
      return;
    }
    this.#queue.push(line);
    this.#bytes += line.length;
    if (this.#queue.length >= batchEventsMax) this.#send();
    else this.#timer ??= this.#clock.after(batchWaitMs, () => this.#send());
  }

  counts(): Record<string, number> {
    return {
      apiserver_audit_webhook_event_total: this.sent + this.dropped,
      apiserver_audit_webhook_error_total: this.dropped,
    };
  }

  #send(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#sending ??= this.#drain().finally(() => {
      this.#sending = undefined;
      if (this.#queue.length > 0 && !this.#closing.signal.aborted)
        this.#timer ??= this.#clock.after(batchWaitMs, () => this.#send());
    });
  }

  async #drain(): Promise<void> {
    do {
      const batch = this.#queue.splice(0, batchEventsMax);
      if (batch.length === 0) return;
      await this.#deliver(batch);
      // Only now: what is on its way is in memory, too.
      this.#bytes -= batch.reduce((sum, line) => sum + line.length, 0);
    } while (this.#queue.length >= batchEventsMax || this.#closing.signal.aborted);
  }

  async #deliver(batch: readonly string[]): Promise<void> {
    const body = `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[${batch.join(',')}]}`;
    for (let attempt = 1, waitMs = firstRetryMs; ; attempt++, waitMs *= 1.5) {
      const why = await this.#post(body);
      if (why === '') {
        this.sent += batch.length;
        return;
      }
      if (attempt >= triesMax || this.#closing.signal.aborted) {
        this.#drop(batch.length, why);
        return;
      }
      await sleep(this.#clock, waitMs, this.#closing.signal);
    }
  }

  /** '' or what went wrong. */
  async #post(body: string): Promise<string> {
    const { url, authorization, tls } = this.#target;
    const late = new AbortController();
    const timer = this.#clock.after(requestMs, () => late.abort(new Error(`no answer in ${requestMs / 1000} s`)));
    try {
      const response = await fetch(url, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json', ...(authorization === undefined ? {} : { authorization }) },
        redirect: 'manual',
        signal: late.signal,
        tls,
      } as RequestInit);
      await response.body?.cancel();
      return response.ok ? '' : `the server answers ${response.status}`;
    } catch (error) {
      return errorText(error);
    } finally {
      timer.cancel();
    }
  }

  #drop(count: number, why: string): void {
    this.dropped += count;
    this.#untold += count;
    const now = this.#clock.monotonic();
    if (now - this.#toldAt < tellMs) return;
    this.#log.warn('audit events are lost', { dropped: this.#untold, why, url: this.#target.url });
    this.#toldAt = now;
    this.#untold = 0;
  }

  /** Sends what waits, once; what fails then is lost. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#send();
    // One that was under way ends first; what came after it is sent by another.
    await this.#sending;
    this.#send();
    await this.#sending;
  }
}
