import type { Clock, Timer } from '../../../base/clock.ts';
import { errorText } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import { isObject, jsonEqual, type JsonObject } from '../../machinery/json.ts';
import { isStatus } from '../../machinery/status.ts';
import { formatTime } from '../../machinery/time.ts';
import { Feed } from '../feed.ts';
import type { LiveKinds } from '../live-kinds.ts';
import type { Registry } from '../registry.ts';
import type { SelfCaller } from '../self-caller.ts';
import type { WatchHub } from '../watch-hub.ts';
import { autoupdate, defaultLevels, defaultSchemas, mandatory } from './defaults.ts';
import type { FlowControl } from './flow-control.ts';

const group = 'flowcontrol.apiserver.k8s.io';
const collections = { flowschemas: defaultSchemas, prioritylevelconfigurations: defaultLevels } as const;
type Plural = keyof typeof collections;

/** After a change, how long to wait for the next before the objects are seen to. */
const settleMs = 500;
/** A status that somebody else keeps setting otherwise is not fought for: so many writes a minute. */
const writesPerMinute = 6;

/** Keeps priority and fairness as its objects say, the default objects as they have to be, and the `Dangling` conditions true. */
export class FlowObjects {
  readonly #flow: FlowControl;
  readonly #caller: SelfCaller;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #feeds: Feed[];
  readonly #objects: Record<Plural, Map<string, JsonObject>> = {
    flowschemas: new Map(),
    prioritylevelconfigurations: new Map(),
  };
  /** When the status of a schema was written, in ms. */
  readonly #writes = new Map<string, number[]>();
  /** The next pass, and when it is due by the monotonic clock. */
  #next: { readonly timer: Timer; readonly atMs: number } | undefined;
  #pass: Promise<void> = Promise.resolve();
  #started = false;
  #closed = false;

  constructor(options: {
    flow: FlowControl;
    caller: SelfCaller;
    kinds: LiveKinds;
    registry: Registry;
    hub: WatchHub;
    clock: Clock;
    log: Logger;
  }) {
    this.#flow = options.flow;
    this.#caller = options.caller;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#feeds = (Object.keys(collections) as Plural[]).flatMap((plural) => {
      const kind = options.kinds.byResource(group, 'v1', plural);
      if (kind === undefined) return [];
      const objects = this.#objects[plural];
      const changed = (): void => this.#changed();
      const handler = {
        set(object: JsonObject): void {
          objects.set(String((object.metadata as JsonObject).name), object);
          changed();
        },
        remove(_namespace: string, name: string): void {
          objects.delete(name);
          changed();
        },
      };
      return [new Feed({ ...options, kind, handler })];
    });
  }

  /** Resolves when the default objects are there and in force. */
  async start(): Promise<void> {
    if (this.#feeds.length === 0) return;
    for (const feed of this.#feeds) await feed.start();
    this.#started = true;
    this.#configure();
    await this.#ensure();
  }

  #changed(): void {
    if (!this.#started || this.#closed) return;
    this.#configure();
    this.#later(settleMs);
  }

  #configure(): void {
    const { flowschemas, prioritylevelconfigurations } = this.#objects;
    this.#flow.configure([...flowschemas.values()], [...prioritylevelconfigurations.values()]);
  }

  /** A pass in so many ms, or earlier where one is due before. */
  #later(ms: number): void {
    if (this.#closed) return;
    const atMs = this.#clock.monotonic() + ms;
    if (this.#next !== undefined && this.#next.atMs <= atMs) return;
    this.#next?.timer.cancel();
    const timer = this.#clock.after(ms, () => {
      this.#next = undefined;
      this.#pass = this.#ensure().catch((error: unknown) => {
        if (this.#closed) return;
        this.#log.warn('objects of priority and fairness are not seen to yet', { error: errorText(error) });
        this.#later(30_000);
      });
    });
    this.#next = { timer, atMs };
  }

  async #ensure(): Promise<void> {
    const missing: Promise<void>[] = [];
    for (const [plural, defaults] of Object.entries(collections) as [Plural, readonly JsonObject[]][])
      for (const wanted of defaults) {
        const name = String((wanted.metadata as JsonObject).name);
        const have = this.#objects[plural].get(name);
        if (have === undefined || corrected(have, wanted) !== undefined)
          missing.push(this.#caller.ensure(`/apis/${group}/v1/${plural}`, wanted, (live) => corrected(live, wanted)));
      }
    await Promise.all(missing);
    // What was written just now may not have come back yet.
    const names = new Set([
      ...this.#objects.flowschemas.keys(),
      ...(missing.length > 0 ? namesOf(defaultSchemas) : []),
    ]);
    const levels = new Set([
      ...this.#objects.prioritylevelconfigurations.keys(),
      ...(missing.length > 0 ? namesOf(defaultLevels) : []),
    ]);
    await Promise.all([...names].map((name) => this.#dangling(name, levels)));
  }

  async #dangling(name: string, levels: ReadonlySet<string>): Promise<void> {
    const known = this.#objects.flowschemas.get(name);
    if (known !== undefined && withCondition(known, levels, '') === undefined) return;
    const now = this.#clock.now();
    const writes = (this.#writes.get(name) ?? []).filter((at) => now - at < 60_000);
    if (writes.length >= writesPerMinute) {
      this.#later(60_000);
      return;
    }
    const path = `/apis/${group}/v1/flowschemas/${encodeURIComponent(name)}`;
    try {
      await this.#caller.again(async () => {
        const next = withCondition(await this.#caller.call('GET', path), levels, formatTime(now));
        if (next === undefined) return;
        this.#writes.set(name, [...writes, now]);
        await this.#caller.call('PUT', `${path}/status`, next);
      });
    } catch (error) {
      if (!isStatus(error, 'NotFound')) throw error;
      this.#writes.delete(name);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#next?.timer.cancel();
    for (const feed of this.#feeds) feed.close();
    await this.#pass;
  }
}

const namesOf = (objects: readonly JsonObject[]): string[] =>
  objects.map((object) => String((object.metadata as JsonObject).name));

/** A default object as it has to be; undefined where it is, or where its user decides. */
function corrected(live: JsonObject, wanted: JsonObject): JsonObject | undefined {
  const metadata = live.metadata as JsonObject;
  const annotations = isObject(metadata.annotations) ? metadata.annotations : {};
  const must = mandatory.has(String(metadata.name));
  // Who takes the annotation away, or sets it to false, has taken a suggested object over.
  if (!must && annotations[autoupdate] !== 'true') return undefined;
  const marked = annotations[autoupdate] === 'true' || must ? { ...annotations, [autoupdate]: 'true' } : annotations;
  if (jsonEqual(live.spec, wanted.spec) && jsonEqual(marked, annotations)) return undefined;
  return { ...live, metadata: { ...metadata, annotations: marked }, spec: wanted.spec };
}

/** The schema with its `Dangling` condition set right; undefined where it is. */
function withCondition(schema: JsonObject, levels: ReadonlySet<string>, at: string): JsonObject | undefined {
  const spec = isObject(schema.spec) ? schema.spec : {};
  const level = isObject(spec.priorityLevelConfiguration) ? String(spec.priorityLevelConfiguration.name) : '';
  const found = levels.has(level);
  const wanted = {
    type: 'Dangling',
    status: found ? 'False' : 'True',
    reason: found ? 'Found' : 'NotFound',
    message: `This FlowSchema references the PriorityLevelConfiguration object named ${JSON.stringify(level)} ${
      found ? 'and it exists' : 'but there is no such object'
    }`,
  };
  const status = isObject(schema.status) ? schema.status : {};
  const conditions = Array.isArray(status.conditions) ? status.conditions.filter(isObject) : [];
  const have = conditions.find(({ type }) => type === 'Dangling');
  if (have !== undefined) {
    const { lastTransitionTime: _time, ...rest } = have;
    if (jsonEqual(rest, wanted)) return undefined;
  }
  const lastTransitionTime = have?.status === wanted.status ? (have.lastTransitionTime ?? at) : at;
  const others = conditions.filter(({ type }) => type !== 'Dangling');
  return { ...schema, status: { ...status, conditions: [...others, { ...wanted, lastTransitionTime }] } };
}
