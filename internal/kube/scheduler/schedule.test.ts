import { describe, expect, test } from 'vitest';
import type { Node, PersistentVolumeClaim, Pod } from '../api/types.ts';
import { NodeInfo, podRequests, probableUse } from './node-info.ts';
import { defaultPlugins } from './plugins/index.ts';
import { SchedulingQueue } from './queue.ts';
import { schedule } from './schedule.ts';

const node = (
  name: string,
  more: { spec?: Node['spec']; labels?: Record<string, string>; cpu?: string } = {},
): NodeInfo =>
  new NodeInfo({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: { 'kubernetes.io/hostname': name, ...more.labels } },
    ...(more.spec ? { spec: more.spec } : {}),
    status: { allocatable: { cpu: more.cpu ?? '2', memory: '1Gi', pods: '3' } },
  } as Node);
const pod = (spec: Partial<Pod['spec'] & object> = {}, cpu = '500m', name = 'p'): Pod =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'd', uid: name },
    spec: { containers: [{ name: 'c', resources: { requests: { cpu } } }], ...spec },
  }) as Pod;
const claims: Record<string, PersistentVolumeClaim> = {
  bound: {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'bound' },
    spec: { volumeName: 'pv' },
    status: { phase: 'Bound' },
  },
  open: {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'open' },
    spec: { storageClassName: 'now' },
    status: { phase: 'Pending' },
  },
  later: {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'later' },
    spec: { storageClassName: 'wait' },
    status: { phase: 'Pending' },
  },
} as never;
const plugins = defaultPlugins(
  {
    claim: (_namespace, name) => claims[name],
    volume: () =>
      ({
        spec: {
          nodeAffinity: {
            required: {
              nodeSelectorTerms: [
                { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['b'] }] },
              ],
            },
          },
        },
      }) as never,
    storageClass: (name) => ({ volumeBindingMode: name === 'wait' ? 'WaitForFirstConsumer' : 'Immediate' }) as never,
  },
  { selectNode: async () => undefined, untilBound: async () => undefined },
);
const decide = (one: Pod, ...nodes: NodeInfo[]): string => {
  const decision = schedule(one, nodes, plugins);
  return 'node' in decision ? decision.node : decision.message;
};
const volume = (claimName: string) => ({ volumes: [{ name: 'v', persistentVolumeClaim: { claimName } }] });

describe('schedule', () => {
  const busy = node('a');
  busy.addPod(pod({}, '1800m', 'other'));
  const full = node('f');
  for (const name of ['x', 'y', 'z']) full.addPod(pod({}, '1m', name));
  const taken = node('t');
  taken.addPod({
    ...pod({}, '1m', 'web'),
    spec: { containers: [{ name: 'c', ports: [{ containerPort: 80, hostPort: 80 }] }] },
  } as Pod);

  test.each<[string, Pod, NodeInfo[], string]>([
    ['there are no nodes', pod(), [], 'no nodes available to schedule pods'],
    ['the emptier node wins', pod({}, '100m'), [busy, node('b')], 'b'],
    ['equals go to the first name', pod(), [node('b'), node('a')], 'a'],
    [
      'cpu is short here and never enough there',
      pod({}, '1'),
      [busy, node('s', { cpu: '500m' })],
      '0/2 nodes are available: 2 Insufficient cpu.',
    ],
    ['pods are limited', pod({}, '1m'), [full], '0/1 nodes are available: 1 Too many pods.'],
    [
      'a cordoned node',
      pod(),
      [node('a', { spec: { unschedulable: true } })],
      '0/1 nodes are available: 1 node(s) were unschedulable.',
    ],
    [
      'a taint',
      pod(),
      [node('a', { spec: { taints: [{ key: 'k', effect: 'NoSchedule' }] } })],
      '0/1 nodes are available: 1 node(s) had untolerated taint(s).',
    ],
    [
      'a tolerated taint',
      pod({ tolerations: [{ key: 'k', operator: 'Exists' }] }),
      [node('a', { spec: { taints: [{ key: 'k', effect: 'NoSchedule' }] } })],
      'a',
    ],
    ['a selector', pod({ nodeSelector: { disk: 'ssd' } }), [node('a'), node('b', { labels: { disk: 'ssd' } })], 'b'],
    [
      'a selector nobody has',
      pod({ nodeSelector: { disk: 'ssd' } }),
      [node('a')],
      "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
    ],
    [
      'a taken host port',
      pod({ containers: [{ name: 'c', ports: [{ containerPort: 1, hostPort: 80 }] }] as never }),
      [taken],
      "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.",
    ],
    ['a volume that lives on b', pod(volume('bound')), [node('a'), node('b')], 'b'],
    [
      'a claim that is not bound yet',
      pod(volume('open')),
      [node('a')],
      '0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.',
    ],
    ['a claim that waits for the pod', pod(volume('later')), [node('a')], 'a'],
    [
      'a claim that is not there',
      pod(volume('none')),
      [node('a')],
      '0/1 nodes are available: persistentvolumeclaim "none" not found.',
    ],
  ])('%s', (_title, one, nodes, expected) => {
    expect(decide(one, ...nodes)).toBe(expected);
  });

  test('requests: the larger of the sum and any init container with the sidecars before it', () => {
    const container = (cpu: string, more: object = {}) => ({ name: cpu, resources: { requests: { cpu } }, ...more });
    const one = pod({
      initContainers: [container('100m', { restartPolicy: 'Always' }), container('2')],
      containers: [container('500m'), container('300m')],
      overhead: { cpu: '10m' },
    } as never);
    expect(podRequests(one).get('cpu')).toBe(2110);
  });

  test('requests: those of the pod as a whole stand for those of its containers', () => {
    const one = pod({
      resources: { requests: { cpu: '2' } },
      containers: [{ name: 'c', resources: { requests: { cpu: '1', memory: '1Ki' } } }, { name: 'd' }],
      overhead: { cpu: '10m' },
    } as never);
    const requests = podRequests(one);
    expect(Object.fromEntries(requests)).toEqual({ cpu: 2010, memory: 1024 });
    expect(probableUse(one, requests)).toEqual({ cpu: 2010, memory: 1024 + 200 * 1024 * 1024 });
    const shrinking = { ...one, status: { allocatedResources: { cpu: '3' }, resources: { requests: { cpu: '4' } } } };
    expect(podRequests(shrinking as never).get('cpu')).toBe(4010);
  });

  test('requests of a pod that is being resized: what is asked for or what its node keeps, whichever is more', () => {
    const of = (wanted: string, kept: string, has: string, reason = ''): number | undefined => {
      const one = pod({ containers: [{ name: 'c', resources: { requests: { cpu: wanted } } }] } as never);
      const status = { name: 'c', allocatedResources: { cpu: kept }, resources: { requests: { cpu: has } } };
      const conditions = reason === '' ? [] : [{ type: 'PodResizePending', status: 'True', reason }];
      return podRequests({ ...one, status: { containerStatuses: [status], conditions } } as never).get('cpu');
    };
    expect(of('1', '1', '1')).toBe(1000);
    expect(of('2', '1', '1')).toBe(2000);
    expect(of('1', '2', '2')).toBe(2000);
    expect(of('1', '1', '2')).toBe(2000);
    expect(of('9', '1', '1', 'Deferred')).toBe(9000);
    expect(of('9', '1', '1', 'Infeasible')).toBe(1000);
  });
});

describe('queue', () => {
  test('higher priority first, then who came first', () => {
    const queue = new SchedulingQueue();
    queue.add('old', pod({ priority: 0 }), 0);
    queue.add('urgent', pod({ priority: 10 }), 5);
    queue.add('new', pod({ priority: 0 }), 6);
    const order: string[] = [];
    for (let next = queue.next(10); next; next = queue.next(10)) {
      order.push(next.key);
      queue.delete(next.key);
    }
    expect(order).toEqual(['urgent', 'old', 'new']);
  });

  test('a pod that did not fit waits for a change, then for its back-off', () => {
    const queue = new SchedulingQueue();
    queue.add('p', pod(), 0);
    queue.failed('p', queue.next(0)!.changes, 0);
    expect(queue.next(5000)).toBeUndefined();
    queue.wake(5000);
    expect(queue.next(5999)).toBeUndefined();
    expect(queue.next(6000)?.key).toBe('p');
  });

  test('a change during the attempt is not lost', () => {
    const queue = new SchedulingQueue();
    queue.add('p', pod(), 0);
    const { changes } = queue.next(0)!;
    queue.wake(0);
    queue.failed('p', changes, 0);
    expect(queue.next(1000)?.key).toBe('p');
  });
});
