import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../../base/random.ts';
import { type Entry, type Level, type LevelCounts, Levels, type Waiter } from './levels.ts';

const level = (name: string, shares: number, more: Partial<Level> = {}): Level => ({
  name,
  uid: '',
  exempt: false,
  shares,
  lendablePercent: 0,
  borrowingLimitPercent: undefined,
  waiting: { perFlow: 100, total: 400 },
  ...more,
});

/** Requests that stay until they are told to go. */
class Bench {
  readonly levels: Levels;
  readonly running: { name: string; flow: string; seats: number }[] = [];
  readonly waiters = new Map<string, Waiter[]>();
  readonly refused: string[] = [];

  constructor(seats: number, ...levels: Level[]) {
    this.levels = new Levels(seats, 5);
    this.levels.configure(levels);
  }

  enter(name: string, flow = 'f', seats = 1): Entry {
    const run = (): number => this.running.push({ name, flow, seats });
    const entry = this.levels.enter(name, flow, seats, () => {
      const waiter: Waiter = { granted: run, refused: (why) => this.refused.push(`${flow}: ${why}`) };
      this.waiters.set(flow, [...(this.waiters.get(flow) ?? []), waiter]);
      return waiter;
    });
    if (entry === 'runs') run();
    return entry;
  }

  many(count: number, name: string, flow = 'f'): Entry[] {
    return Array.from({ length: count }, () => this.enter(name, flow));
  }

  leave(name: string, flow = 'f'): void {
    const at = this.running.findIndex((one) => one.name === name && one.flow === flow);
    const { seats } = this.running[at]!;
    this.running.splice(at, 1);
    this.levels.leave(name, flow, seats);
  }

  of(name: string): LevelCounts {
    return this.levels.counts().find((one) => one.name === name)!;
  }

  flows(name: string): Record<string, number> {
    const out: Record<string, number> = {};
    for (const one of this.running) if (one.name === name) out[one.flow] = (out[one.flow] ?? 0) + 1;
    return out;
  }
}

describe('seats', () => {
  test('by shares; what can be lent, what may be borrowed', () => {
    const bench = new Bench(
      100,
      level('a', 30, { lendablePercent: 50, borrowingLimitPercent: 100 }),
      level('b', 70, { lendablePercent: 10 }),
    );
    expect(bench.of('a')).toMatchObject({ nominal: 30, lower: 15, upper: 60 });
    expect(bench.of('b')).toMatchObject({ nominal: 70, lower: 63, upper: 100 });
  });

  test('a level takes what others lend, up to its limit, and no more', () => {
    const bench = new Bench(
      100,
      level('a', 50, { borrowingLimitPercent: 20 }),
      level('b', 50, { lendablePercent: 80 }),
    );
    bench.many(200, 'a');
    expect(bench.of('a').executing).toBe(60);
    const other = new Bench(100, level('a', 50), level('b', 50, { lendablePercent: 80 }));
    other.many(200, 'a');
    expect(other.of('a').executing).toBe(90);
    // What is kept free for it is there at once.
    other.many(200, 'b');
    expect(other.of('b').executing).toBe(10);
  });

  test('who lent gets the seats back before who borrowed gets more', () => {
    const bench = new Bench(100, level('a', 50), level('b', 50, { lendablePercent: 80 }));
    bench.many(190, 'a');
    bench.many(100, 'b');
    for (let i = 0; i < 40; i++) bench.leave('a');
    expect([bench.of('a').executing, bench.of('b').executing]).toEqual([50, 50]);
  });

  test('nobody waits where nobody may: refused at once', () => {
    const bench = new Bench(10, level('a', 1, { waiting: undefined }));
    expect(bench.many(12, 'a').slice(9)).toEqual(['runs', 'concurrency-limit', 'concurrency-limit']);
    bench.leave('a');
    expect(bench.enter('a')).toBe('runs');
  });

  test('exempt requests hold nobody up, and have a bound all the same', () => {
    const bench = new Bench(2, level('exempt', 0, { exempt: true }), level('a', 1));
    bench.many(2, 'a');
    expect(bench.many(6, 'exempt')).toEqual(['runs', 'runs', 'runs', 'runs', 'runs', 'concurrency-limit']);
    bench.leave('exempt');
    expect(bench.enter('exempt')).toBe('runs');
  });
});

describe('those who wait', () => {
  test('the flow that has fewest seats is next, and among those who was served longest ago', () => {
    const bench = new Bench(4, level('a', 1));
    bench.many(20, 'a', 'loud');
    for (const quiet of ['q1', 'q2']) bench.many(2, 'a', quiet);
    for (let i = 0; i < 3; i++) bench.leave('a', 'loud');
    expect(bench.flows('a')).toEqual({ loud: 2, q1: 1, q2: 1 });
    bench.leave('a', 'loud');
    expect(bench.flows('a')).toEqual({ loud: 1, q1: 2, q2: 1 });
  });

  test('a queue that is full refuses its own; when all are, the longest gives way to one who has none', () => {
    const bench = new Bench(1, level('a', 1, { waiting: { perFlow: 3, total: 5 } }));
    bench.enter('a', 'first');
    expect(bench.many(4, 'a', 'x')).toEqual(['waits', 'waits', 'waits', 'queue-full']);
    expect(bench.many(2, 'a', 'y')).toEqual(['waits', 'waits']);
    expect(bench.enter('a', 'z')).toBe('waits');
    expect(bench.refused).toEqual(['x: queue-full']);
    expect(bench.of('a').waiting).toBe(5);
    expect(bench.enter('a', 'y')).toBe('queue-full');
  });

  test('who goes away leaves no hole', () => {
    const bench = new Bench(1, level('a', 1));
    bench.enter('a', 'first');
    bench.many(1, 'a', 'x');
    bench.many(1, 'a', 'y');
    expect(bench.levels.withdraw('a', 'x', bench.waiters.get('x')![0]!)).toBe(true);
    expect(bench.levels.withdraw('a', 'x', bench.waiters.get('x')![0]!)).toBe(false);
    bench.leave('a', 'first');
    expect(bench.running).toEqual([{ name: 'a', flow: 'y', seats: 1 }]);
  });

  test('a level that is taken away serves those who are in it, and gives its seats to the others then', () => {
    const bench = new Bench(10, level('a', 50), level('b', 50));
    bench.many(7, 'a');
    bench.levels.configure([level('b', 50)]);
    for (let i = 0; i < 7; i++) bench.leave('a');
    expect(bench.levels.counts().map(({ name }) => name)).toEqual(['b']);
    expect(bench.many(10, 'b')).toEqual(Array(10).fill('runs'));
  });

  test('what is kept free is there also when the levels were changed while others had too much', () => {
    const bench = new Bench(10, level('a', 1));
    bench.many(10, 'a');
    bench.levels.configure([level('a', 50), level('b', 50)]);
    expect(bench.many(6, 'b')).toEqual([...Array(5).fill('runs'), 'waits']);
  });
});

/**
 * A server of 60 seats for ten seconds of a time of its own. Arrivals are what callers want to send; a request lasts 50 ms on average. Returns for each flow how many
 * ended, how many were refused, and the longest wait in ms.
 */
function simulate(
  seed: number,
  callers: readonly { level: string; flow: string; perSecond: number; seats?: number }[],
): Map<string, { ended: number; refused: number; longestMs: number }> {
  const random = seededRandom(seed);
  const levels = new Levels(60, 10);
  levels.configure([
    level('system', 30, { lendablePercent: 33 }),
    level('apps', 60, { lendablePercent: 90 }),
    level('users', 10, { lendablePercent: 50 }),
  ]);
  const events: { at: number; run(): void }[] = [];
  const after = (at: number, run: () => void): void => {
    let i = events.length;
    while (i > 0 && events[i - 1]!.at > at) i--;
    events.splice(i, 0, { at, run });
  };
  const unit = (): number => 1 - random.float();
  const out = new Map(callers.map(({ flow }) => [flow, { ended: 0, refused: 0, longestMs: 0 }]));
  let now = 0;
  const until = 10_000;
  for (const { level: name, flow, perSecond, seats: worth = 1 } of callers) {
    const seats = levels.seatsFor(name, worth);
    const row = out.get(flow)!;
    const arrive = (): void => {
      const since = now;
      const begin = (): void => {
        row.longestMs = Math.max(row.longestMs, now - since);
        after(now - 50 * Math.log(unit()), () => {
          row.ended++;
          levels.leave(name, flow, seats);
        });
      };
      const entry = levels.enter(name, flow, seats, () => ({ granted: begin, refused: () => row.refused++ }));
      if (entry === 'runs') begin();
      else if (entry !== 'waits') row.refused++;
      const executing = levels.counts().reduce((sum, one) => sum + one.executing, 0);
      expect(executing).toBeLessThanOrEqual(60);
      const next = now - (1000 / perSecond) * Math.log(unit());
      if (next < until) after(next, arrive);
    };
    after((1000 / perSecond) * unit(), arrive);
  }
  while (events.length > 0) {
    const { at, run } = events.shift()!;
    now = at;
    run();
  }
  for (const one of levels.counts()) expect([one.executing, one.waiting]).toEqual([0, 0]);
  return out;
}

describe('requests of several seats', () => {
  test('take as many as they are worth, of a level no more than a part of what it is sure to have', () => {
    const levels = new Levels(100, 5);
    const exempt = level('exempt', 0, { exempt: true });
    levels.configure([level('a', 70), level('b', 27, { lendablePercent: 90 }), level('c', 3), exempt]);
    expect([1, 5, 10, 50].map((worth) => levels.seatsFor('a', worth))).toEqual([1, 5, 10, 11]);
    expect(levels.seatsFor('b', 10)).toBe(3);
    expect(levels.seatsFor('c', 10)).toBe(1);
    expect(levels.seatsFor('exempt', 10)).toBe(1);
  });

  test('who is next and does not fit yet is waited for; narrow ones of others do not pass it', () => {
    const bench = new Bench(10, level('a', 1));
    bench.many(9, 'a', 'narrow');
    expect(bench.enter('a', 'wide', 4)).toBe('waits');
    expect(bench.enter('a', 'narrow')).toBe('waits');
    for (let i = 0; i < 2; i++) bench.leave('a', 'narrow');
    expect(bench.of('a')).toMatchObject({ executing: 7, waiting: 2 });
    bench.leave('a', 'narrow');
    expect(bench.of('a')).toMatchObject({ executing: 10, waiting: 1 });
    expect(bench.flows('a')).toEqual({ narrow: 6, wide: 1 });
    bench.leave('a', 'wide');
    expect(bench.of('a')).toMatchObject({ executing: 7, waiting: 0 });
  });

  test('one that waits when its level is made smaller than it is runs alone', () => {
    const bench = new Bench(10, level('a', 1));
    bench.enter('a', 'first');
    bench.enter('a', 'wide', 10);
    bench.levels.configure([level('a', 20), level('b', 80)]);
    bench.leave('a', 'first');
    expect(bench.running).toEqual([{ name: 'a', flow: 'wide', seats: 10 }]);
    bench.leave('a', 'wide');
    expect(bench.of('a').executing).toBe(0);
  });
});

describe('simulation', () => {
  test.each([1, 2, 3])('seed %i: wide requests without end leave narrow ones of their level their share', (seed) => {
    const quiet = { level: 'apps', flow: 'quiet', perSecond: 40 };
    const lists = { level: 'apps', flow: 'lists', perSecond: 500, seats: 10 };
    const nodes = { level: 'system', flow: 'nodes', perSecond: 200 };
    const flood = simulate(seed, [quiet, nodes, lists]);
    expect(flood.get('lists')!.ended).toBeGreaterThan(500);
    for (const flow of ['quiet', 'nodes']) expect(flood.get(flow), flow).toMatchObject({ refused: 0 });
    expect(flood.get('quiet')!.longestMs).toBeLessThan(500);
  });

  test.each([1, 2, 3])('seed %i: one flow that asks for ten times what there is takes nothing from others', (seed) => {
    const quiet = { level: 'apps', flow: 'quiet', perSecond: 40 };
    const nodes = { level: 'system', flow: 'nodes', perSecond: 200 };
    const loud = { level: 'apps', flow: 'loud', perSecond: 3000 };
    const flood = simulate(seed, [quiet, nodes, loud]);
    expect(flood.get('loud')!.refused).toBeGreaterThan(1000);
    for (const flow of ['quiet', 'nodes']) {
      const { ended, refused, longestMs } = flood.get(flow)!;
      expect(refused, flow).toBe(0);
      expect(ended, flow).toBeGreaterThan(flow === 'quiet' ? 300 : 1500);
      // A few requests' time: a seat comes free every millisecond or so.
      expect(longestMs, flow).toBeLessThan(150);
    }
  });

  test.each([1, 2])('seed %i: as many flows as one likes starve none of another level, nor each other', (seed) => {
    const crowd = Array.from({ length: 40 }, (_, i) => ({ level: 'users', flow: `u${i}`, perSecond: 60 }));
    const result = simulate(seed, [...crowd, { level: 'system', flow: 'nodes', perSecond: 300 }]);
    expect(result.get('nodes')).toMatchObject({ refused: 0 });
    const ended = crowd.map(({ flow }) => result.get(flow)!.ended);
    expect(Math.min(...ended)).toBeGreaterThan(Math.max(...ended) * 0.7);
  });
});
