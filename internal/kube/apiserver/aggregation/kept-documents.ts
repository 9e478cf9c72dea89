import { createHash } from 'node:crypto';

/** An answer of an extension server; without a body when nothing changed since `etag` (304). */
export interface Fetched {
  readonly status: number;
  readonly etag: string | undefined;
  readonly body: Uint8Array;
}

/** A document as an extension server gave it last; undefined: it has none (404). */
interface Kept {
  readonly etag: string | undefined;
  readonly body: Uint8Array | undefined;
}

/**
 * Documents of one extension server, each fetched when somebody first wants it. After that clients get what is kept, and `refresh` asks whether it is still
 * true, by ETag where the server has them (kube-aggregator's pkg/controllers/openapi{,v3}/aggregator). A document that cannot be had now stays as it was.
 */
export class KeptDocuments {
  readonly #load: (path: string, etag: string | undefined) => Promise<Fetched>;
  readonly #kept = new Map<string, Kept>();
  readonly #first = new Map<string, Promise<Kept>>();

  /** `load` throws when there is no answer in time. */
  constructor(load: (path: string, etag: string | undefined) => Promise<Fetched>) {
    this.#load = load;
  }

  /** Undefined when the server has no such document. Throws when it was never had and cannot be had now. */
  async get(path: string): Promise<Uint8Array | undefined> {
    const kept = this.#kept.get(path);
    if (kept !== undefined) return kept.body;
    let first = this.#first.get(path);
    if (first === undefined) {
      first = this.#ask(path, undefined).finally(() => this.#first.delete(path));
      this.#first.set(path, first);
    }
    return (await first).body;
  }

  /** Asks for everything that is kept again; true when something is not as it was. Throws the first error when all were asked for. */
  async refresh(): Promise<boolean> {
    let changed = false;
    let failed: { error: unknown } | undefined;
    for (const [path, before] of this.#kept)
      try {
        const now = await this.#ask(path, before);
        if (!same(before.body, now.body)) changed = true;
      } catch (error) {
        failed ??= { error };
      }
    if (failed !== undefined) throw failed.error;
    return changed;
  }

  async #ask(path: string, before: Kept | undefined): Promise<Kept> {
    const { status, etag, body } = await this.#load(path, before?.etag);
    let now: Kept;
    if (status === 304 && before?.etag !== undefined) now = before;
    else if (status === 404) now = { etag: undefined, body: undefined };
    else if (status === 200) now = { etag, body };
    else throw new Error(`bad status from the server: ${status}`);
    this.#kept.set(path, now);
    return now;
  }
}

function same(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && Buffer.compare(a, b) === 0);
}

/** Of a document's bytes, as clients compare them. */
export function hashOf(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('hex').toUpperCase();
}
