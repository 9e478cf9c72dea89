import type { Any } from './harness.ts';

export interface WatchEvent {
  readonly type: string;
  readonly object: Any;
}

/** The events of one watch. */
export class Watching {
  readonly events: WatchEvent[] = [];
  ended = false;
  readonly #abort: AbortController;
  readonly #reading: Promise<void>;
  #woken = Promise.withResolvers<void>();

  constructor(response: Response, abort: AbortController) {
    this.#abort = abort;
    this.#reading = this.#read(response.body!.getReader());
  }

  async #read(reader: { read(): Promise<{ done: boolean; value?: Uint8Array | undefined }> }): Promise<void> {
    const decoder = new TextDecoder();
    let text = '';
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        text += decoder.decode(value, { stream: true });
        const lines = text.split('\n');
        text = lines.pop()!;
        for (const line of lines) this.events.push(JSON.parse(line) as WatchEvent);
        this.#wake();
      }
    } catch (error) {
      if (!this.#abort.signal.aborted) throw error;
    } finally {
      this.ended = true;
      this.#wake();
    }
  }

  #wake(): void {
    this.#woken.resolve();
    this.#woken = Promise.withResolvers<void>();
  }

  /** The first event that fits; fails when none comes in 20 s or the watch ends before. */
  async find(what: string, fits: (event: WatchEvent) => boolean): Promise<WatchEvent> {
    const timeout = Bun.sleep(20_000).then(() => 'late' as const);
    for (;;) {
      const found = this.events.find(fits);
      if (found) return found;
      if (this.ended) throw new Error(`the watch ended without: ${what}; it told ${this.summary().join(', ')}`);
      if ((await Promise.race([this.#woken.promise, timeout])) === 'late')
        throw new Error(`never on the watch: ${what}; it told ${this.summary().join(', ')}`);
    }
  }

  /** The first `count` events. */
  async first(count: number): Promise<WatchEvent[]> {
    await this.find(`${count} events`, () => this.events.length >= count);
    return this.events.slice(0, count);
  }

  summary(): string[] {
    return this.events.map(({ type, object }) => `${type} ${object.metadata?.name ?? object.message ?? ''}`);
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#reading;
  }
}
