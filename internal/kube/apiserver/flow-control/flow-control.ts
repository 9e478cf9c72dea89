import type { Clock } from '../../../base/clock.ts';
import { Histogram, PrometheusText } from '../../../base/prometheus.ts';
import type { UserInfo } from '../../auth/identity.ts';
import type { JsonObject } from '../../machinery/json.ts';
import { tooManyRequests } from '../../machinery/status.ts';
import type { RequestCaller } from '../request-caller.ts';
import type { RequestInfo } from '../request-info.ts';
import { Classifier, flowOf, type FlowSchema, flowSchema } from './classify.ts';
import { defaultLevels, defaultSchemas, mandatory } from './defaults.ts';
import { type Level, Levels, priorityLevel, type Waiter } from './levels.ts';

/** As many as upstream's server has by default (--max-requests-inflight and --max-mutating-requests-inflight together). */
const seatsOfServer = 600;
/** Nothing is without a bound: the cluster's own calls and its administrators' have twice of that. */
const exemptMax = 2 * seatsOfServer;
/** How long a request waits for a seat (a quarter of a request's time, as upstream). */
const waitMs = 15_000;

/** What a request was found to be. */
export interface Classified {
  readonly schema: FlowSchema;
  readonly level: Level;
}

type Labels = Readonly<Record<string, string>>;
type Refusal = 'queue-full' | 'concurrency-limit' | 'time-out' | 'cancelled';

/** Priority and fairness (docs: cluster-administration/flow-control): which requests run now, which wait, which are refused. */
export class FlowControl {
  readonly #clock: Clock;
  readonly #levels = new Levels(seatsOfServer, exemptMax);
  #byName = new Map<string, Level>();
  #classifier!: Classifier;
  /** Requests under way, by level: of the seats that they take the levels know. */
  readonly #running = new Map<string, number>();
  readonly #dispatched = new Rows();
  readonly #rejected = new Rows();
  readonly #seats = new Histogram([1, 2, 4, 10]);
  readonly #waited = new Histogram([0.005, 0.05, 0.1, 0.5, 1, 5, 15]);

  /** Begins with the objects that every server has. */
  constructor(clock: Clock) {
    this.#clock = clock;
    this.configure(defaultSchemas, defaultLevels);
  }

  /** The objects that are stored; mandatory ones that are missing are supplied. */
  configure(schemas: readonly JsonObject[], levels: readonly JsonObject[]): void {
    const given = levels.map(priorityLevel);
    const missing = defaultLevels
      .map(priorityLevel)
      .filter(({ name }) => mandatory.has(name) && !given.some((level) => level.name === name));
    const all = [...given, ...missing];
    this.#byName = new Map(all.map((level) => [level.name, level]));
    this.#classifier = new Classifier(schemas.map(flowSchema), new Set(this.#byName.keys()));
    this.#levels.configure(all);
    this.#dispatched.keep(this.#byName);
    this.#rejected.keep(this.#byName);
    for (const [name, count] of this.#running) if (count === 0 && !this.#byName.has(name)) this.#running.delete(name);
  }

  classify(user: UserInfo, info: RequestInfo): Classified {
    const schema = this.#classifier.classify(user, info);
    return { schema, level: this.#byName.get(schema.level)! };
  }

  /** Requests under way. */
  get executing(): number {
    let sum = 0;
    for (const count of this.#running.values()) sum += count;
    return sum;
  }

  /**
   * Does the work, which is worth so many seats, when there are as many as its level lets it have. Throws 429 when they are not there in time, or when before that
   * nobody waits for the answer any more.
   */
  async run<T>(
    { schema, level }: Classified,
    user: UserInfo,
    info: RequestInfo,
    caller: RequestCaller,
    work: () => Promise<T>,
    worth = 1,
  ): Promise<T> {
    const flow = level.exempt ? '' : flowOf(schema, user, info);
    const seats = this.#levels.seatsFor(level.name, worth);
    this.#seats.observe(seats);
    let refusal = this.#enter(level.name, flow, seats, caller);
    if (typeof refusal !== 'string') refusal = await refusal;
    if (refusal !== '') {
      this.#rejected.add(schema.name, level.name, refusal);
      throw tooManyRequests('Too many requests, please try again later.', 1);
    }
    this.#dispatched.add(schema.name, level.name, '');
    this.#running.set(level.name, (this.#running.get(level.name) ?? 0) + 1);
    try {
      return await work();
    } finally {
      this.#levels.leave(level.name, flow, seats);
      this.#running.set(level.name, this.#running.get(level.name)! - 1);
    }
  }

  #enter(level: string, flow: string, seats: number, caller: RequestCaller): '' | Refusal | Promise<'' | Refusal> {
    if (caller.gone) return 'cancelled';
    let waiting: Promise<'' | Refusal> | undefined;
    const entry = this.#levels.enter(level, flow, seats, () => {
      const { promise, resolve } = Promise.withResolvers<'' | Refusal>();
      waiting = promise;
      const since = this.#clock.monotonic();
      const end = (how: '' | Refusal): void => {
        timer.cancel();
        stays();
        this.#waited.observe((this.#clock.monotonic() - since) / 1000);
        resolve(how);
      };
      const waiter: Waiter = { granted: () => end(''), refused: end };
      const leave = (why: Refusal): void => {
        if (this.#levels.withdraw(level, flow, waiter)) end(why);
      };
      const timer = this.#clock.after(waitMs, () => leave('time-out'));
      const stays = caller.onGone(() => leave('cancelled'));
      return waiter;
    });
    if (entry === 'runs') return '';
    return entry === 'waits' ? waiting! : entry;
  }

  /** In the Prometheus text format, by upstream's names. */
  metricsText(): string {
    const levels = this.#levels.counts();
    const limited = levels.filter(({ exempt }) => !exempt);
    const text = new PrometheusText('apiserver_flowcontrol_');
    const of = (list: typeof levels, value: (level: (typeof levels)[number]) => number): [Labels, number][] =>
      list.map((level) => [{ priority_level: level.name }, value(level)]);
    const executing = of(levels, (level) => this.#running.get(level.name) ?? 0);
    const seats = of(levels, (level) => level.executing);
    text.add('counter', 'dispatched_requests_total', 'Requests that were given a seat', this.#dispatched.samples());
    text.add('counter', 'rejected_requests_total', 'Requests that were refused', this.#rejected.samples());
    text.add('gauge', 'current_executing_requests', 'Requests under way', executing);
    text.add('gauge', 'current_executing_seats', 'Seats that are taken', seats);
    text.add(
      'gauge',
      'current_inqueue_requests',
      'Requests that wait',
      of(limited, (level) => level.waiting),
    );
    text.add(
      'gauge',
      'nominal_limit_seats',
      'Seats by shares',
      of(limited, (level) => level.nominal),
    );
    text.add(
      'gauge',
      'lower_limit_seats',
      'Seats that are never lent',
      of(limited, (level) => level.lower),
    );
    text.add(
      'gauge',
      'upper_limit_seats',
      'Seats with all that may be borrowed',
      of(limited, (level) => level.upper),
    );
    text.histogram('work_estimated_seats', 'Seats that requests are worth', this.#seats);
    text.histogram('request_wait_duration_seconds', 'How long requests waited', this.#waited);
    return text.toString();
  }
}

/** Rows of a counter by what their labels say. */
class Rows {
  readonly #rows = new Map<string, { labels: Labels; value: number }>();

  add(schema: string, level: string, reason: string): void {
    const key = `${schema} ${level} ${reason}`;
    const row = this.#rows.get(key);
    if (row !== undefined) row.value++;
    else {
      const labels = { flow_schema: schema, priority_level: level, ...(reason === '' ? {} : { reason }) };
      this.#rows.set(key, { labels, value: 1 });
    }
  }

  /** Lets go of levels that are no more. */
  keep(levels: ReadonlyMap<string, unknown>): void {
    for (const [key, { labels }] of this.#rows) if (!levels.has(labels.priority_level!)) this.#rows.delete(key);
  }

  samples(): [Labels, number][] {
    return [...this.#rows.values()].map(({ labels, value }) => [labels, value]);
  }
}
