import { describe, expect, test } from 'vitest';
import type { Clock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { type InstanceProcess, InstanceProcesses } from './instance-processes.ts';
import { type InstanceSpec, Supervision } from './supervision.ts';

/** Time that is moved by hand. */
class HandClock implements Clock {
  #nowMs = 0;
  #timers: { atMs: number; fn: () => void }[] = [];
  now(): number {
    return this.#nowMs;
  }
  monotonic(): number {
    return this.#nowMs;
  }
  after(delayMs: number, fn: () => void): { cancel(): void } {
    const timer = { atMs: this.#nowMs + delayMs, fn };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((one) => one !== timer);
      },
    };
  }
  async pass(ms: number): Promise<void> {
    this.#nowMs += ms;
    const due = this.#timers.filter(({ atMs }) => atMs <= this.#nowMs);
    this.#timers = this.#timers.filter(({ atMs }) => atMs > this.#nowMs);
    for (const { fn } of due) fn();
    await settle();
  }
}

/** Promises that are settled have had their consequences. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

/** A program whose making, answers and end the test decides. */
class FakeProcess implements InstanceProcess {
  readonly #end = Promise.withResolvers<void>();
  readonly exited = this.#end.promise;
  alive = true;
  stops = 0;
  kills = 0;
  answer: () => Promise<boolean> = () => Promise.resolve(true);
  readonly ask = async () => {
    const serves = await this.answer();
    return { serves, detail: serves ? 'running' : 'does not answer' };
  };
  stop(): void {
    this.stops++;
  }
  kill(): void {
    this.kills++;
    this.end();
  }
  end(): void {
    this.alive = false;
    this.#end.resolve();
  }
}

const spec = (name: string, ...needs: string[]): InstanceSpec => ({
  name,
  needs,
  startDeadlineMs: 60_000,
  stopDeadlineMs: 20_000,
});

/** As the supervisor's shell puts them together; `make` stands for the time that a start takes. */
function node(specs: readonly InstanceSpec[], make: (name: string) => Promise<FakeProcess>) {
  const clock = new HandClock();
  const supervision = new Supervision();
  const told: string[] = [];
  const processes = new InstanceProcesses<FakeProcess>(
    {
      start: make,
      onReady: (name) => supervision.onReady(name, clock.monotonic()),
      onHealth: (name, ok, detail) => supervision.onHealth(name, ok, detail, clock.monotonic()),
      onExit: (name) => supervision.onExit(name, 'ended', clock.monotonic()),
      onNoStart: (name, error) => {
        told.push(String(error));
        supervision.onExit(name, 'cannot start', clock.monotonic());
      },
      onKill: (name, why) => void told.push(`${name}: ${why}`),
    },
    clock,
  );
  supervision.setInstances(specs, 0);
  const step = async (ms = 0): Promise<void> => {
    await clock.pass(ms);
    for (const action of supervision.step(clock.monotonic())) processes.act(action);
    await settle();
  };
  const phases = () => Object.fromEntries(supervision.status().map(({ name, phase }) => [name, phase]));
  return { supervision, processes, step, phases, told };
}

describe('processes of instances', () => {
  test('a stop that is decided while containerd is being prepared reaches it as soon as it runs', async () => {
    const process = new FakeProcess();
    const made = Promise.withResolvers<FakeProcess>();
    const { supervision, step, phases, processes } = node([spec('containerd')], () => made.promise);
    await step();
    supervision.stopAll();
    await step();
    expect(phases()).toEqual({ containerd: 'stopping' });
    expect(processes.has('containerd')).toBe(true);
    made.resolve(process);
    await settle();
    expect(process).toMatchObject({ stops: 1, kills: 0 });
    process.end();
    await settle();
    expect(supervision.stopped).toBe(true);
  });

  test('what was to be killed while it was being prepared is', async () => {
    const process = new FakeProcess();
    const made = Promise.withResolvers<FakeProcess>();
    const { step, phases, told } = node([spec('containerd')], () => made.promise);
    await step();
    await step(60_001);
    expect(told).toEqual(['containerd: was not ready within 60 s']);
    made.resolve(process);
    await settle();
    expect(process.kills).toBe(1);
    expect(phases()).toEqual({ containerd: 'back-off' });
  });

  test('a program that cannot be asked whether it is ready is not ready: no second one is started beside it', async () => {
    const made: FakeProcess[] = [];
    const { step, phases, supervision } = node([spec('containerd')], () => {
      const process = new FakeProcess();
      process.answer = () => Promise.reject(new Error('EMFILE'));
      made.push(process);
      return Promise.resolve(process);
    });
    await step();
    for (let i = 0; i < 50; i++) await step(1000);
    expect(made.length).toBe(1);
    expect(phases()).toEqual({ containerd: 'starting' });
    made[0]!.answer = () => Promise.resolve(true);
    // It was asked many times by now: less often.
    await step(1000);
    expect(phases()).toEqual({ containerd: 'running' });
    made[0]!.answer = () => Promise.reject(new Error('EMFILE'));
    await step(5000);
    expect(supervision.status()[0]).toMatchObject({ healthy: false, detail: 'EMFILE' });
    expect(made.length).toBe(1);
  });

  test('a start that fails is tried again after the back-off', async () => {
    let attempts = 0;
    const { step, phases } = node([spec('mon')], () => {
      attempts++;
      return attempts === 1 ? Promise.reject(new Error('no user')) : Promise.resolve(new FakeProcess());
    });
    await step();
    expect(phases()).toEqual({ mon: 'back-off' });
    await step(500);
    expect(attempts).toBe(2);
    expect(phases()).toEqual({ mon: 'running' });
  });

  test.each(Array.from({ length: 40 }, (_, seed) => seed))(
    'whatever fails, hangs and is stopped when: never two processes of one instance, and a stop ends everything (seed %i)',
    async (seed) => {
      const random = seededRandom(seed);
      const chance = (percent: number): boolean => random.uint32() % 100 < percent;
      const specs = [spec('containerd'), spec('agent', 'containerd'), spec('edge', 'agent')];
      const all = new Map<string, FakeProcess[]>(specs.map(({ name }) => [name, []]));
      const unmade: (() => void)[] = [];
      const make = (name: string): Promise<FakeProcess> =>
        new Promise((resolve, reject) => {
          unmade.push(() => {
            if (chance(20)) return reject(new Error('no start'));
            const process = new FakeProcess();
            process.answer = () => (chance(30) ? Promise.reject(new Error('no answer')) : Promise.resolve(chance(70)));
            all.get(name)!.push(process);
            resolve(process);
          });
        });
      const { supervision, step } = node(specs, make);
      const alive = (name: string): FakeProcess[] => all.get(name)!.filter((process) => process.alive);
      const stopAt = 50 + (random.uint32() % 200);
      for (let i = 0; !supervision.stopped; i++) {
        expect(i).toBeLessThan(1000);
        if (i === stopAt) supervision.stopAll();
        // Instances come and go, as a reload has it.
        if (i < stopAt && chance(5))
          supervision.setInstances(chance(50) ? specs : specs.slice(0, 1 + (random.uint32() % 3)), i);
        if (chance(60)) unmade.shift()?.();
        for (const { name } of specs)
          for (const process of alive(name)) if (chance(3) || (process.stops > 0 && chance(50))) process.end();
        await step(random.uint32() % 4000);
        for (const { name } of specs) expect(alive(name).length).toBeLessThanOrEqual(1);
      }
      expect(specs.flatMap(({ name }) => alive(name))).toEqual([]);
    },
  );
});
