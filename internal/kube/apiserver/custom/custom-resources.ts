import type { Clock, Timer } from '../../../base/clock.ts';
import { errorText } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import type { KindInfo } from '../../api/kinds.ts';
import { cleanupFinalizer, withCondition } from '../../api/strategies/custom-definition.ts';
import { getPath, isObject, type JsonObject } from '../../machinery/json.ts';
import { formatTime } from '../../machinery/time.ts';
import { someNode, type Structural } from '../../machinery/structural/schema.ts';
import { Feed } from '../feed.ts';
import { resourcePrefix } from '../keys.ts';
import type { LiveKinds } from '../live-kinds.ts';
import { type Registry, WriteConflict } from '../registry.ts';
import { selectAll } from '../selection.ts';
import type { WatchHub } from '../watch-hub.ts';
import { customKinds, type RuleCheck, storageKind } from './custom-kind.ts';
import { conditionOf, isEstablished, namedStatus } from './names.ts';

const cleanupRetryMs = 2000;

type Rules = typeof import('../../machinery/cel/rules.ts');

/**
 * Serves what CustomResourceDefinitions define: accepts their names, puts their kinds into the live table as soon as they are established, takes them out
 * again, and removes the instances of a definition that is deleted. Every server does all of it; writes are compared, so that it does not matter who is first.
 */
export class CustomResources {
  readonly #kinds: LiveKinds;
  readonly #registry: Registry;
  readonly #hub: WatchHub;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #kind: KindInfo;
  readonly #feed: Feed;
  readonly #definitions = new Map<string, JsonObject>();
  /** What the served kinds of a definition were made of. */
  readonly #served = new Map<string, string>();
  readonly #retries = new Map<string, Timer>();
  #work: Promise<void> = Promise.resolve();
  #rules: Rules | undefined;
  #closed = false;

  constructor(options: {
    kinds: LiveKinds;
    registry: Registry;
    hub: WatchHub;
    clock: Clock;
    log: Logger;
    kind: KindInfo;
  }) {
    this.#kinds = options.kinds;
    this.#registry = options.registry;
    this.#hub = options.hub;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#kind = options.kind;
    this.#feed = new Feed({
      ...options,
      handler: {
        set: (object) => {
          const name = String((object.metadata as JsonObject).name);
          this.#definitions.set(name, object);
          this.#queue(name);
        },
        remove: (_namespace, name) => {
          this.#definitions.delete(name);
          this.#queue(name);
        },
      },
    });
  }

  /** Resolves when the kinds of all definitions that exist are served. */
  async start(): Promise<void> {
    await this.#feed.start();
    await this.#work;
  }

  /** As it was when the store last told of it. */
  definition(name: string): JsonObject | undefined {
    return this.#definitions.get(name);
  }

  /** One after the other: the names of one definition depend on those of the others. */
  #queue(name: string): void {
    this.#work = this.#work
      .then(() => (this.#closed ? undefined : this.#process(name)))
      .catch((error: unknown) => {
        this.#log.warn('cannot bring a CustomResourceDefinition up to date', { name, error: errorText(error) });
        this.#retry(name);
      });
  }

  #retry(name: string): void {
    if (this.#closed) return;
    this.#retries.get(name)?.cancel();
    this.#retries.set(
      name,
      this.#clock.after(cleanupRetryMs, () => {
        this.#retries.delete(name);
        this.#queue(name);
      }),
    );
  }

  async #process(name: string): Promise<void> {
    const definition = this.#definitions.get(name);
    // A name that it held may be another's now.
    for (const [other, one] of this.#definitions)
      if (other !== name && conditionOf(one, 'NamesAccepted')?.status !== 'True') await this.#name(other, one);
    if (definition === undefined) return this.#stop(name);
    const group = getPath(definition, 'spec', 'group');
    if (!(await this.#name(name, definition))) return;
    if (isEstablished(definition)) await this.#serve(name, definition);
    else this.#stop(name);
    if (!this.#feedKnows(name, group)) return;
    await this.#cleanUp(name, definition);
  }

  #feedKnows(name: string, group: unknown): boolean {
    return getPath(this.#definitions.get(name), 'spec', 'group') === group;
  }

  /** Whether its status is as it has to be; else it is written, and the feed brings the definition again. */
  async #name(name: string, definition: JsonObject): Promise<boolean> {
    const group = getPath(definition, 'spec', 'group');
    const others = [...this.#definitions.values()].filter(
      (one) =>
        one !== definition && getPath(one, 'spec', 'group') === group && getPath(one, 'metadata', 'name') !== name,
    );
    const status = namedStatus(definition, others, formatTime(this.#clock.now()));
    if (status === undefined) return true;
    await this.#write(name, (object) => {
      object.status = status;
    });
    return false;
  }

  async #write(name: string, change: (object: JsonObject) => void): Promise<void> {
    const record = await this.#registry.get(this.#kind, '', name);
    if (record === undefined) return;
    const seen = getPath(this.#definitions.get(name), 'metadata', 'resourceVersion');
    // Something newer is on its way to us, and it is what has to be looked at.
    if (seen !== String(record.revision)) return;
    const object = record.object();
    change(object);
    try {
      await this.#registry.update(this.#kind, '', name, record.revision, object);
    } catch (error) {
      if (!(error instanceof WriteConflict)) throw error;
    }
  }

  async #serve(name: string, definition: JsonObject): Promise<void> {
    const metadata = definition.metadata as JsonObject;
    const made = JSON.stringify([
      metadata.uid ?? null,
      definition.spec,
      getPath(definition, 'status', 'acceptedNames') ?? null,
      metadata.deletionTimestamp ?? null,
    ]);
    if (this.#served.get(name) === made) return;
    const kinds = customKinds(definition, (structural) => this.#rulesOf(structural));
    if (this.#rules === undefined && kinds.kinds.some((kind) => hasRules(kind.custom!.structural)))
      this.#rules = await import('../../machinery/cel/rules.ts');
    const before = this.#prefixes(name);
    this.#kinds.set(name, kinds);
    this.#served.set(name, made);
    // Watchers were told what the old schema made of objects: they come again.
    for (const prefix of before) this.#hub.end(prefix);
  }

  #stop(name: string): void {
    if (!this.#served.delete(name)) return;
    const prefixes = this.#prefixes(name);
    this.#kinds.set(name, undefined);
    for (const prefix of prefixes) this.#hub.end(prefix);
  }

  #prefixes(name: string): Set<string> {
    return new Set(this.#kinds.custom.filter((kind) => kind.custom!.definition === name).map(resourcePrefix));
  }

  /** Rules are compiled when the first object is checked: most definitions never see one. */
  #rulesOf(structural: Structural): RuleCheck | undefined {
    if (!hasRules(structural)) return undefined;
    let tree: ReturnType<Rules['compileRules']>;
    return (value, old) => {
      const rules = this.#rules;
      if (rules === undefined) throw new Error('invariant broken: rules are checked before the library is loaded');
      tree ??= rules.compileRules(structural);
      return tree === undefined ? [] : rules.ruleErrors(tree, value, old, { remaining: rules.requestCostMax });
    };
  }

  async #cleanUp(name: string, definition: JsonObject): Promise<void> {
    const metadata = definition.metadata as JsonObject;
    if (metadata.deletionTimestamp === undefined || metadata.deletionTimestamp === null) return;
    const finalizers = Array.isArray(metadata.finalizers) ? metadata.finalizers : [];
    if (!finalizers.includes(cleanupFinalizer)) return;
    const time = formatTime(this.#clock.now());
    const kind = isEstablished(definition) ? storageKind(definition) : undefined;
    if (kind !== undefined) {
      const left = await this.#removeInstances(kind);
      if (left > 0) {
        this.#log.info('instances of a CustomResourceDefinition wait for their finalizers', { name, left });
        this.#retry(name);
        return;
      }
    }
    await this.#write(name, (object) => {
      const own = object.metadata as JsonObject;
      const rest = (Array.isArray(own.finalizers) ? own.finalizers : []).filter((one) => one !== cleanupFinalizer);
      if (rest.length > 0) own.finalizers = rest;
      else delete own.finalizers;
      const status = isObject(object.status) ? object.status : {};
      const conditions = Array.isArray(status.conditions) ? status.conditions.filter(isObject) : [];
      object.status = {
        ...status,
        conditions: withCondition(
          conditions,
          {
            message: 'removed all instances',
            reason: 'InstanceDeletionCompleted',
            status: 'False',
            type: 'Terminating',
          },
          time,
        ),
      };
    });
    const record = await this.#registry.get(this.#kind, '', name);
    const left = getPath(record?.object(), 'metadata', 'finalizers');
    if (record !== undefined && !(Array.isArray(left) && left.length > 0))
      await this.#registry.delete(this.#kind, '', name, record.revision).catch((error: unknown) => {
        if (!(error instanceof WriteConflict)) throw error;
      });
  }

  /** Removes every object of the kind that nothing holds, marks the others; how many are left. */
  async #removeInstances(kind: KindInfo): Promise<number> {
    const { records } = await this.#registry.list({
      kind,
      namespace: '',
      selection: selectAll,
      limit: 0,
      revision: 0,
      start: '',
    });
    let left = 0;
    for (const { rest, record } of records) {
      const slash = rest.indexOf('/');
      const namespace = slash < 0 ? '' : rest.slice(0, slash);
      const name = rest.slice(slash + 1);
      const object = this.#registry.objectOf(kind, record);
      const metadata = object.metadata as JsonObject;
      const held = Array.isArray(metadata.finalizers) && metadata.finalizers.length > 0;
      try {
        if (!held) await this.#registry.delete(kind, namespace, name, record.revision);
        else {
          left++;
          if (metadata.deletionTimestamp !== undefined && metadata.deletionTimestamp !== null) continue;
          metadata.deletionTimestamp = formatTime(this.#clock.now());
          metadata.deletionGracePeriodSeconds = 0;
          await this.#registry.update(kind, namespace, name, record.revision, object);
        }
      } catch (error) {
        if (!(error instanceof WriteConflict)) throw error;
        if (error.current !== undefined && !held) left++;
      }
    }
    return left;
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#retries.values()) timer.cancel();
    this.#feed.close();
  }
}

function hasRules(structural: Structural): boolean {
  return someNode(structural, (node) => node.rules.length > 0);
}
