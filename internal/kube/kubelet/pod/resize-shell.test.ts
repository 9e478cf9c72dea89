import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../../store/testing.ts';
import type { ResourceRequirements } from '../../api/types.ts';
import type { Pod } from '../pod-types.ts';
import type { PodHost } from './pod-host.ts';
import { withAllocation } from './resize.ts';
import { PodResize } from './resize-shell.ts';
import type { PodRuntime, RuntimeContainer } from './runtime.ts';
import { PodWorker } from './worker-shell.ts';

const cpu = (value: string): ResourceRequirements => ({ requests: { cpu: value }, limits: { cpu: value } });

function pod(resources: ResourceRequirements, more: Partial<Pod['spec']> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'ns', uid: 'u', generation: 2 },
    spec: { containers: [{ name: 'c', image: 'i', resources }], ...more },
  };
}

const live = [{ id: 'c1', name: 'c', state: 'running' } as RuntimeContainer];
const runtime: PodRuntime = { uid: 'u', name: 'p', namespace: 'ns', sandboxes: [], containers: live };

/** A node whose runtime takes its time; `quota` is what the container has, in µs of 100 ms, `told` the events. */
function node() {
  const clock = new ManualClock();
  const told: string[] = [];
  const had: number[] = [];
  let updating = Promise.resolve();
  let fails = false;
  let resized = 0;
  const host = {
    clock,
    cgroupRoot: '',
    memoryCapacity: 1,
    cgroups: { ensure: async () => undefined },
    cri: {
      updateContainerResources: async (_id: string, linux: { cpuQuota?: number }) => {
        await updating;
        if (fails) throw new Error('not now');
        had.push(Number(linux.cpuQuota));
      },
    },
    events: { record: (_subject: unknown, _type: string, reason: string) => told.push(reason) },
    resized: () => resized++,
  } as unknown as PodHost;
  return {
    host,
    clock,
    told,
    had,
    resized: () => resized,
    /** From now on updates wait for what is given back. */
    hold: (end: 'done' | 'failed'): (() => void) => {
      const gate = Promise.withResolvers<void>();
      updating = gate.promise;
      return () => {
        fails = end === 'failed';
        gate.resolve();
      };
    },
    heal: () => {
      fails = false;
    },
  };
}

describe('another promise while the runtime is at work on one', () => {
  test.each(['done', 'failed'] as const)(
    'which is %s: it is given, and only then is the resize complete',
    async (end) => {
      const { host, told, had, resized, hold, heal } = node();
      const resize = new PodResize(host, pod(cpu('100m')));
      const promise = (to: Pod): Pod => {
        resize.allocate(to, live);
        return withAllocation(to, resize.allocation);
      };
      const first = promise(pod(cpu('200m')));
      const letGo = hold(end);
      const under = resize.actuate(first, runtime);
      const second = promise(pod(cpu('300m')));
      letGo();
      expect((await under).size).toBe(0);
      expect(resize.state().underWay).toBe('');
      expect(told).toEqual(['ResizeStarted', 'ResizeStarted']);
      expect(resize.state().actual.get('c1')).toEqual(cpu(end === 'done' ? '200m' : '100m'));

      heal();
      await resize.actuate(second, runtime);
      expect(had.at(-1)).toBe(30_000);
      expect(resize.state().underWay).toBeUndefined();
      expect(told.at(-1)).toBe('ResizeCompleted');
      expect([resized(), resize.record(second)]).toEqual([1, undefined]);
    },
  );

  test('of the pod as a whole, and back again: containers that have no limit of their own follow', async () => {
    const { host, had, hold } = node();
    const whole = (value: string): Pod => pod({}, { resources: cpu(value) } as never);
    const resize = new PodResize(host, whole('100m'));
    resize.allocate(whole('200m'), live);
    const letGo = hold('done');
    const under = resize.actuate(whole('200m'), runtime);
    resize.allocate(whole('100m'), live);
    letGo();
    await under;
    await resize.actuate(whole('100m'), runtime);
    expect(had).toEqual([20_000, 10_000]);
    expect(resize.state().underWay).toBeUndefined();
  });

  test('a restart that only the first one wanted is not done', async () => {
    const { host, hold } = node();
    const policy = [{ resourceName: 'memory', restartPolicy: 'RestartContainer' }];
    const two = (value: string, memory: string): Pod =>
      pod({}, {
        containers: [
          { name: 'c', image: 'i', resources: { requests: { memory } }, resizePolicy: policy },
          { name: 'd', image: 'i', resources: cpu(value) },
        ],
      } as never);
    const both = [...live, { id: 'd1', name: 'd', state: 'running' } as RuntimeContainer];
    const resize = new PodResize(host, two('100m', '10Mi'));
    resize.allocate(two('200m', '20Mi'), both);
    const letGo = hold('done');
    const under = resize.actuate(two('200m', '20Mi'), { ...runtime, containers: both });
    resize.allocate(two('300m', '10Mi'), both);
    letGo();
    expect([...(await under)]).toEqual([]);
    expect([...(await resize.actuate(two('300m', '10Mi'), { ...runtime, containers: both }))]).toEqual([]);
    expect(resize.state().underWay).toBeUndefined();
  });
});

describe('whose turn it is', () => {
  /** A worker of which nothing but its resizes is looked at: the runtime never answers. */
  function worker(of: Pod): { worker: PodWorker; clock: ManualClock; ended: () => number } {
    const { host, clock } = node();
    let ended = 0;
    const mute = {
      ...host,
      cache: { get: () => runtime, refresh: () => new Promise<never>(() => undefined) },
      log: { warn: () => undefined },
      ending: () => ended++,
    } as unknown as PodHost;
    return { worker: new PodWorker(mute, of), clock, ended: () => ended };
  }

  test('counts from when the pod first asks, before the node has looked at it, and anew for the next wish', () => {
    const { worker: one, clock } = worker(pod(cpu('100m')));
    clock.advance(5_000);
    const asked = clock.now();
    one.update(pod(cpu('200m')));
    clock.advance(1_000);
    expect(one.pendingResize?.sinceMs).toBe(asked);
    one.resize({ reason: 'Deferred', message: 'no room' });
    clock.advance(1_000);
    one.update(pod(cpu('300m')));
    expect(one.pendingResize?.sinceMs).toBe(asked);
    one.resize(undefined);
    expect(one.pendingResize).toBeUndefined();
    clock.advance(1_000);
    one.update(pod(cpu('400m')));
    expect(one.pendingResize?.sinceMs).toBe(clock.now());
    one.update(pod(cpu('300m')));
    clock.advance(1_000);
    one.update(pod(cpu('500m')));
    expect(one.pendingResize?.sinceMs).toBe(clock.now());
  });

  test('comes also when another pod is taken down, which is told once', async () => {
    const { worker: one, ended } = worker(pod(cpu('100m')));
    await Bun.sleep(0);
    expect([one.life, ended()]).toEqual(['running', 0]);
    const { worker: other, ended: told } = worker({
      ...pod(cpu('100m')),
      metadata: { ...pod({}).metadata, deletionTimestamp: '2026-01-01T00:00:00Z' },
    });
    for (let i = 0; i < 100 && other.life === 'running'; i++) await Bun.sleep(5);
    expect([other.life, told()]).toEqual(['ending', 1]);
  });
});
