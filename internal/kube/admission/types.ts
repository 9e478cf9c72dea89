import type { Random } from '../../base/random.ts';
import type { Compare, RequestOp } from '../../store/api.ts';
import type { UserInfo } from '../auth/identity.ts';
import type { KindInfo } from '../api/kinds.ts';
import type { JsonObject } from '../machinery/json.ts';

export type Operation = 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT';

/** One request on its way to the store, as admission sees it. */
export interface AdmissionRequest {
  readonly operation: Operation;
  readonly kind: KindInfo;
  readonly subresource: string;
  readonly namespace: string;
  /** May be '' on create with generateName. */
  readonly name: string;
  /** The object to be written (for a subresource with a body of its own: that body). Plugins may change it in `admit`. */
  readonly object: JsonObject | undefined;
  readonly old: JsonObject | undefined;
  readonly user: UserInfo;
  readonly dryRun: boolean;
  readonly warnings: string[];
  /** CreateOptions, UpdateOptions… as an object, for webhooks and expressions. */
  readonly options?: JsonObject;
  /** Notes something in the audit event of the request; with `Request` only where the event has the request's object, too. */
  annotate?(key: string, value: string, level?: 'Metadata' | 'Request'): void;
}

/** What plugins may read. Reads are of the newest state. */
export interface AdmissionReader {
  get(group: string, resource: string, namespace: string, name: string): Promise<JsonObject | undefined>;
  list(group: string, resource: string, namespace: string): Promise<JsonObject[]>;
  /** Selectable fields of an object without parsing it; undefined when it does not exist. */
  fields(
    group: string,
    resource: string,
    namespace: string,
    name: string,
  ): Promise<Readonly<Record<string, string>> | undefined>;
}

export interface AdmissionContext {
  readonly reader: AdmissionReader;
  /** The kind of that name, as it is served now. */
  kindOf(group: string, version: string, kind: string): KindInfo | undefined;
  readonly random: Random;
  now(): number;
}

/** One walk through the mutating half of the chain, and what plugins remember between the first and the second. */
export interface AdmissionRound {
  readonly first: boolean;
  /** Set when something changed the object that earlier plugins have to see: the chain is walked once more. */
  again: boolean;
  readonly memory: Map<string, unknown>;
}

/** What a write does beside the object, in its transaction; see `SideEffects` of the registry. */
export interface WriteEffects {
  readonly compare: readonly Compare[];
  readonly ops: readonly RequestOp[];
}

export const nothingBeside: WriteEffects = { compare: [], ops: [] };

export function together(parts: readonly (WriteEffects | undefined)[]): WriteEffects {
  return {
    compare: parts.flatMap((part) => part?.compare ?? []),
    ops: parts.flatMap((part) => part?.ops ?? []),
  };
}

/** A step of the chain. `admit` may change the object; `validate` only refuses, by throwing a StatusError. */
export interface AdmissionPlugin {
  readonly name: string;
  admit?(request: AdmissionRequest, context: AdmissionContext, round: AdmissionRound): Promise<void> | void;
  validate?(request: AdmissionRequest, context: AdmissionContext): Promise<void> | void;
  /** Around the write itself (there is none in a dry run), for what has to hold at that moment: says what else the transaction does, or refuses. */
  store?<T>(
    request: AdmissionRequest,
    context: AdmissionContext,
    write: (beside: WriteEffects) => Promise<T>,
  ): Promise<T>;
}

/** The plugins in order. */
export class AdmissionChain {
  readonly #plugins: readonly AdmissionPlugin[];
  readonly #context: AdmissionContext;

  constructor(plugins: readonly AdmissionPlugin[], context: AdmissionContext) {
    this.#plugins = plugins;
    this.#context = context;
  }

  async admit(request: AdmissionRequest): Promise<void> {
    const memory = new Map<string, unknown>();
    for (const first of [true, false]) {
      const round: AdmissionRound = { first, again: false, memory };
      for (const plugin of this.#plugins) {
        const waiting = plugin.admit?.(request, this.#context, round);
        if (waiting !== undefined) await waiting;
      }
      if (!round.again) return;
    }
  }

  async validate(request: AdmissionRequest): Promise<void> {
    for (const plugin of this.#plugins) {
      const waiting = plugin.validate?.(request, this.#context);
      if (waiting !== undefined) await waiting;
    }
  }

  /** Writes what was admitted and validated, with what plugins put beside it. */
  store<T>(request: AdmissionRequest, write: (beside: WriteEffects) => Promise<T>): Promise<T> {
    return this.#plugins.reduceRight<(beside: WriteEffects) => Promise<T>>(
      (next, plugin) =>
        plugin.store === undefined
          ? next
          : (outer) => plugin.store!(request, this.#context, (own) => next(together([outer, own]))),
      write,
    )(nothingBeside);
  }
}

/** Whether the request is for this kind itself (or the given subresource). */
export function isFor(request: AdmissionRequest, group: string, resource: string, subresource = ''): boolean {
  return request.kind.group === group && request.kind.plural === resource && request.subresource === subresource;
}

/** Gives an object the content of another, in place: whoever holds it sees the change. */
export function replaceContent(object: JsonObject, next: JsonObject): void {
  for (const key of Object.keys(object)) delete object[key];
  Object.assign(object, next);
}
