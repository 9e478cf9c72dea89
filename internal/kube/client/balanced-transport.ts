import { AppError, isRefused } from '../../base/errors.ts';
import type { Transport } from './client.ts';
import { bodyOf, send, type TlsMaterial } from './https-transport.ts';
import { ServerChoice } from './server-choice.ts';

/** A request that is no watch and has no answer by then has met a server that is gone: nothing of a machine that lost its power says so. */
const answerMs = 15_000;
/** Where nobody else can be asked, a slow server is waited for longer. */
const aloneFactor = 4;
/** A silent watch does not tell a quiet cluster from a dead server, so servers with watches are asked whether they are well. */
const probeEveryMs = 10_000;
const probeMs = 5_000;
const probesFailedMax = 2;

export interface BalancedTimes {
  readonly answerMs: number;
  readonly probeEveryMs: number;
  readonly probeMs: number;
}

/**
 * Requests over HTTPS with a client certificate to any of several servers, `host:port`; host and port of the requests' URL do not matter. What reads goes on
 * with another server when one fails; what writes is sent again only when it certainly did not arrive. Watches end when their server is gone or has lost the
 * others, so that they are opened anew elsewhere.
 */
export function balancedTransport(
  material: () => TlsMaterial,
  servers: () => readonly string[],
  times: BalancedTimes = { answerMs, probeEveryMs, probeMs },
): Transport {
  const choice = new ServerChoice();
  const watches = new Watches(
    (server) => probe(server, material(), times.probeMs),
    times.probeEveryMs,
    (server) => choice.failed(server, performance.now()),
  );
  return async (request) => {
    const body = await bodyOf(request);
    const url = new URL(request.url);
    const reads = request.method === 'GET';
    const watch = reads && url.searchParams.has('watch');
    let failure: unknown = new AppError('UNREACHABLE', 'no API server is known');
    let refusal: Response | undefined;
    const known = servers();
    const patienceMs = known.length > 1 ? times.answerMs : aloneFactor * times.answerMs;
    for (const server of choice.order(known)) {
      const late = new AbortController();
      // A watch has this long for its first answer only.
      const timer = setTimeout(() => late.abort(new AppError('TIMEOUT', `${server} does not answer`)), patienceMs);
      timer.unref();
      const signal = AbortSignal.any([request.signal, late.signal]);
      try {
        const response = await send(request, `https://${server}${url.pathname}${url.search}`, body, material(), signal);
        if (watch) clearTimeout(timer);
        if (!unwell(response)) {
          choice.answered(server);
          return watch && response.ok ? watches.follow(server, late, response) : response;
        }
        choice.failed(server, performance.now());
        if (!reads) return response;
        await refusal?.body?.cancel();
        refusal = response;
      } catch (error) {
        clearTimeout(timer);
        if (request.signal.aborted) throw error;
        choice.failed(server, performance.now());
        watches.end(server);
        failure = error;
        if (!reads && !isRefused(error)) throw error;
      }
    }
    if (refusal) return refusal;
    throw failure;
  };
}

/** The server cannot do what another one may: it has lost the majority, or stops. */
function unwell({ status }: Response): boolean {
  return status === 500 || status === 503 || status === 504;
}

async function probe(server: string, tls: TlsMaterial, timeoutMs: number): Promise<boolean> {
  try {
    const response = await fetch(`https://${server}/readyz`, {
      tls,
      signal: AbortSignal.timeout(timeoutMs),
    } as RequestInit);
    await response.body?.cancel();
    return !unwell(response);
  } catch {
    return false;
  }
}

/** Open watches by server. While there are some, their servers are probed. */
class Watches {
  readonly #probe: (server: string) => Promise<boolean>;
  readonly #everyMs: number;
  readonly #gone: (server: string) => void;
  readonly #open = new Map<string, Set<AbortController>>();
  readonly #failures = new Map<string, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(probe: (server: string) => Promise<boolean>, everyMs: number, gone: (server: string) => void) {
    this.#probe = probe;
    this.#everyMs = everyMs;
    this.#gone = gone;
  }

  /** The answer as it is; `controller` ends it when its server is gone. */
  follow(server: string, controller: AbortController, response: Response): Response {
    const reader = response.body?.getReader();
    if (!reader) return response;
    const all = this.#open.get(server) ?? new Set();
    this.#open.set(server, all.add(controller));
    this.#schedule();
    const over = (): void => void this.#open.get(server)?.delete(controller);
    const body = new ReadableStream<Uint8Array>({
      async pull(stream) {
        try {
          const { done, value } = await reader.read();
          if (!done) return stream.enqueue(value);
          over();
          stream.close();
        } catch (error) {
          over();
          stream.error(error);
        }
      },
      async cancel(reason) {
        over();
        await reader.cancel(reason);
      },
    });
    return new Response(body, { status: response.status, headers: response.headers });
  }

  /** Every watch through this server ends with an error. */
  end(server: string): void {
    const all = this.#open.get(server);
    this.#open.delete(server);
    this.#failures.delete(server);
    for (const controller of all ?? []) controller.abort(new AppError('UNREACHABLE', `${server} is gone`));
  }

  #schedule(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#look();
    }, this.#everyMs);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    for (const [server, all] of this.#open) {
      if (all.size === 0) {
        this.#open.delete(server);
        this.#failures.delete(server);
        continue;
      }
      const failures = (await this.#probe(server)) ? 0 : (this.#failures.get(server) ?? 0) + 1;
      this.#failures.set(server, failures);
      if (failures < probesFailedMax) continue;
      this.#gone(server);
      this.end(server);
    }
    if (this.#open.size > 0) this.#schedule();
  }
}
