import type { Method } from './service.ts';
import { type GrpcCode, grpcCode } from './status.ts';

/** As grpc-go names them in its metrics (codes/code_string.go). */
const ownNames: Readonly<Partial<Record<string, string>>> = { ok: 'OK', cancelled: 'Canceled' };
const codeNames: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(grpcCode).map(([name, code]) => [code, ownNames[name] ?? name[0]!.toUpperCase() + name.slice(1)]),
);

export interface MethodCounts {
  readonly service: string;
  readonly method: string;
  readonly type: 'unary' | 'bidi_stream';
  started: number;
  received: number;
  sent: number;
  /** By status. */
  readonly handled: Map<string, number>;
}

/** Calls since the start of a server. Only methods that it has are counted, so there are no more of these than methods. */
export class GrpcCounters {
  readonly #methods = new Map<string, MethodCounts>();
  receivedBytes = 0;
  sentBytes = 0;

  /** The counts of a method of the server; `path` as it was asked for. */
  of(path: string, kind: Method['kind']): MethodCounts {
    const known = this.#methods.get(path);
    if (known !== undefined) return known;
    const [, service, method] = path.split('/') as [string, string, string];
    const type = kind === 'unary' ? 'unary' : 'bidi_stream';
    const counts: MethodCounts = { service, method, type, started: 0, received: 0, sent: 0, handled: new Map() };
    this.#methods.set(path, counts);
    return counts;
  }

  ended(counts: MethodCounts, code: number): void {
    const name = codeNames[code as GrpcCode] ?? 'Unknown';
    counts.handled.set(name, (counts.handled.get(name) ?? 0) + 1);
  }

  methods(): Iterable<MethodCounts> {
    return this.#methods.values();
  }
}
