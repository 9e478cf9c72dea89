import { describe, expect, test } from 'vitest';
import type { ResourceRequirements } from '../../api/types.ts';
import type { Pod } from '../pod-types.ts';
import {
  allocationOf,
  changedResources,
  compareResizes,
  heirs,
  judgeResize,
  needsRestart,
  resizeMessage,
  resizeSteps,
  wantsResize,
  widerLimits,
  withAllocation,
} from './resize.ts';
import type { PodRuntime, RuntimeContainer } from './runtime.ts';

const asks = (cpu: string, memory: string): ResourceRequirements => ({ requests: { cpu, memory } });

function pod(name: string, resources: ResourceRequirements, more: Partial<Pod['spec']> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'ns', uid: name, generation: 2 },
    spec: { containers: [{ name: 'c', image: 'i', resources }], ...more },
  };
}

const found = (id: string, state: RuntimeContainer['state'] = 'running', name = 'c'): RuntimeContainer =>
  ({ id, name, state }) as RuntimeContainer;
const runtime = (...containers: RuntimeContainer[]): PodRuntime => ({
  uid: '',
  name: '',
  namespace: '',
  sandboxes: [],
  containers,
});

describe('what was promised', () => {
  test('a pod runs with it, whatever its spec asks for', () => {
    const before = pod('p', asks('100m', '64Mi'));
    const promised = allocationOf(before);
    const now = pod('p', asks('200m', '64Mi'));
    expect(wantsResize(before, promised)).toBe(false);
    expect(withAllocation(before, promised)).toBe(before);
    expect(wantsResize(now, promised)).toBe(true);
    expect(withAllocation(now, promised)).toEqual(before);
  });

  test('the same amount in other words is the same; a limit that was not there before is another', () => {
    expect(changedResources(asks('1', '1Gi'), asks('1000m', '1024Mi')).size).toBe(0);
    expect([...changedResources({}, { limits: { memory: '1Gi' } })]).toEqual(['memory']);
    expect([...changedResources(asks('1', '1Gi'), asks('2', '2Gi'))]).toEqual(['cpu', 'memory']);
  });

  test('an init container counts, too', () => {
    const init = [{ name: 'side', image: 'i', restartPolicy: 'Always', resources: asks('1', '1Gi') }];
    const promised = allocationOf(pod('p', {}, { initContainers: init as never }));
    const bigger = [{ ...init[0]!, resources: asks('2', '1Gi') }];
    const now = pod('p', {}, { initContainers: bigger as never });
    expect(wantsResize(now, promised)).toBe(true);
    expect(withAllocation(now, promised).spec.initContainers?.[0]?.resources).toEqual(asks('1', '1Gi'));
  });
});

describe('a pod that asks for something as a whole', () => {
  const whole = (cpu: string, memory: string, of: ResourceRequirements = {}): Pod =>
    pod('p', of, { resources: { ...asks(cpu, memory), limits: { cpu, memory } } } as never);

  test('runs with the whole that it was promised', () => {
    const before = whole('1', '1Gi');
    const promised = allocationOf(before);
    const now = whole('2', '1Gi');
    expect(wantsResize(before, promised)).toBe(false);
    expect(wantsResize(now, promised)).toBe(true);
    expect(withAllocation(now, promised)).toEqual(before);
    expect(withAllocation(now, allocationOf(pod('p', {})))).toEqual(pod('p', {}));
  });

  test('is judged by the whole', () => {
    const allocatable = { cpu: '2', memory: '8Gi' };
    expect(judgeResize(whole('2', '1Gi', asks('1', '1Mi')), [], allocatable)).toBeUndefined();
    expect(judgeResize(whole('2', '1Gi'), [whole('1', '1Gi')], allocatable)?.reason).toBe('Deferred');
    expect(judgeResize(whole('3', '1Gi'), [], allocatable)?.reason).toBe('Infeasible');
  });

  test('containers without a limit that changes get the new one', () => {
    const of = (now: Pod, before: ResourceRequirements | undefined): string[] =>
      heirs(now, runtime(found('1')), before).map((step) => step.found.id);
    const before = whole('1', '1Gi').spec.resources;
    expect(of(whole('2', '1Gi'), before)).toEqual(['1']);
    expect(of(whole('1', '1Gi'), before)).toEqual([]);
    expect(of(whole('2', '1Gi', { limits: { cpu: '1' } }), before)).toEqual([]);
    expect(of(whole('2', '2Gi', { limits: { cpu: '1' } }), before)).toEqual(['1']);
    expect(of(whole('1', '1Gi'), undefined)).toEqual(['1']);
    expect(heirs(whole('2', '1Gi'), runtime(found('1', 'exited')), before)).toEqual([]);
  });
});

describe('what a node says', () => {
  const allocatable = { cpu: '2', memory: '1Gi' };
  const others = [pod('other', asks('1500m', '512Mi'))];
  test.each([
    ['there is room', asks('500m', '512Mi'), undefined],
    [
      'there would be room without others: cpu',
      asks('600m', '1Mi'),
      {
        reason: 'Deferred',
        message: "Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000",
      },
    ],
    [
      'there would be room without others: memory',
      asks('1m', '513Mi'),
      {
        reason: 'Deferred',
        message:
          "Node didn't have enough resource: memory, requested: 537919488, used: 536870912, capacity: 1073741824",
      },
    ],
    [
      'never',
      asks('3', '1Mi'),
      { reason: 'Infeasible', message: "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000" },
    ],
    ['disk space is not looked at', { requests: { 'ephemeral-storage': '9Ti' } }, undefined],
  ])('%s', (_scenario, resources, expected) => {
    expect(judgeResize(pod('p', resources), others, allocatable)).toEqual(expected);
  });

  test('who wants less is asked first, then priority, class, and who waits longest', () => {
    const waits = (name: string, to: string, sinceMs: number, priority = 0): Parameters<typeof compareResizes>[0] => ({
      pod: pod(name, asks(to, '1Gi'), { priority }),
      allocation: allocationOf(pod(name, asks('1', '1Gi'))),
      sinceMs,
    });
    const guaranteed = { ...asks('2', '1Gi'), limits: { cpu: '2', memory: '1Gi' } };
    const list = [
      waits('late', '2', 9),
      waits('early', '2', 3),
      { ...waits('guaranteed', '2', 9), pod: pod('guaranteed', guaranteed) },
      waits('important', '2', 9, 5),
      waits('less', '500m', 9),
    ];
    const names = list.sort(compareResizes).map((one) => one.pod.metadata.name);
    expect(names).toEqual(['less', 'important', 'guaranteed', 'early', 'late']);
  });
});

describe('what is done', () => {
  test('running containers whose size is another; by their policy they are restarted', () => {
    const promised = pod('p', asks('200m', '64Mi'));
    const has = (): ResourceRequirements => asks('100m', '64Mi');
    expect(resizeSteps(promised, runtime(found('a')), has)).toEqual([
      expect.objectContaining({ from: asks('100m', '64Mi'), to: asks('200m', '64Mi'), restart: false }),
    ]);
    expect(resizeSteps(promised, runtime(found('a', 'exited')), has)).toEqual([]);
    expect(resizeSteps(promised, runtime(found('a')), () => asks('200m', '64Mi'))).toEqual([]);
  });

  test('a restart only for a resource that changes and wants one', () => {
    const container = (resourceName: string, restartPolicy: string): Pod['spec']['containers'][0] => ({
      name: 'c',
      image: 'i',
      resizePolicy: [{ resourceName, restartPolicy: restartPolicy as never }],
    });
    const more = [asks('1', '1Gi'), asks('2', '1Gi')] as const;
    expect(needsRestart(container('cpu', 'RestartContainer'), ...more)).toBe(true);
    expect(needsRestart(container('cpu', 'NotRequired'), ...more)).toBe(false);
    expect(needsRestart(container('memory', 'RestartContainer'), ...more)).toBe(false);
  });

  test('on the way the cgroup of the pod holds both sizes', () => {
    const a = { cpuShares: 100, cpuQuota: 5000, memoryLimit: 0 };
    const b = { cpuShares: 50, cpuQuota: 9000, memoryLimit: 7 };
    expect(widerLimits(a, b)).toEqual({ cpuShares: 100, cpuQuota: 9000, memoryLimit: 0 });
  });

  test('what events say', () => {
    expect(resizeMessage('started', pod('p', asks('1', '1Gi')))).toBe(
      'Pod resize started: {"containers":[{"name":"c","resources":{"requests":{"cpu":"1","memory":"1Gi"}}}],"generation":2}',
    );
    expect(resizeMessage('Deferred', pod('p', {}), 'no room')).toBe(
      'Pod resize Deferred: {"containers":[{"name":"c","resources":{}}],"generation":2,"error":"no room"}',
    );
  });
});
