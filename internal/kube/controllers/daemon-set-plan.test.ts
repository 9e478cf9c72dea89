import { describe, expect, test } from 'vitest';
import {
  daemonFits,
  daemonPodSpec,
  type DaemonSetObject,
  daemonStatus,
  hashLabel,
  type NodeObject,
  nodeOf,
  planDaemonSet,
} from './daemon-set-plan.ts';
import type { PodObject } from './pod-control.ts';

const set = (spec: object = {}, podSpec: object = {}): DaemonSetObject =>
  ({
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: 'd', generation: 1 },
    spec: { template: { spec: { containers: [], ...podSpec } }, ...spec },
  }) as unknown as DaemonSetObject;
const node = (name: string, spec: object = {}, labels: Record<string, string> = {}): NodeObject =>
  ({ apiVersion: 'v1', kind: 'Node', metadata: { name, labels }, spec }) as unknown as NodeObject;
interface Options {
  ready?: boolean;
  hash?: string;
  phase?: string;
  deleting?: boolean;
}
const pod = (
  name: string,
  on: string,
  { ready = true, hash = 'new', phase = 'Running', deleting = false }: Options = {},
): PodObject =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      labels: { [hashLabel]: hash },
      creationTimestamp: '2026-01-01T00:00:00Z',
      ...(deleting ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    spec: { nodeName: on, containers: [] },
    status: {
      phase,
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False', lastTransitionTime: '2026-01-01T00:00:00Z' }],
    },
  }) as unknown as PodObject;
const plan = (one: DaemonSetObject, nodes: NodeObject[], pods: PodObject[]): string => {
  const { create, delete: gone } = planDaemonSet(one, nodes, pods, 'new', 0);
  return [...create.map((name) => `+${name}`), ...gone.map((each) => `-${each.metadata.name}`)].join(' ');
};
const nodes = [node('a'), node('b'), node('c')];
const old = { hash: 'old' };
const surge = { updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } } };

describe('daemon set', () => {
  test.each<[string, string, string]>([
    ['a pod for each node', plan(set(), nodes, []), '+a +b +c'],
    ['nothing to do', plan(set(), nodes, [pod('1', 'a'), pod('2', 'b'), pod('3', 'c')]), ''],
    ['a pod of a vanished node goes', plan(set(), [node('a')], [pod('1', 'a'), pod('2', 'z')]), '-2'],
    ['a second pod on a node goes', plan(set(), [node('a')], [pod('1', 'a'), pod('2', 'a')]), '-2'],
    [
      'a failed pod goes, its successor waits for it',
      plan(set(), [node('a')], [pod('1', 'a', { phase: 'Failed' })]),
      '-1',
    ],
    ['an ending pod is waited for', plan(set(), [node('a')], [pod('1', 'a', { deleting: true })]), ''],
    [
      'a node that does not suit',
      plan(set({}, { nodeSelector: { disk: 'ssd' } }), [node('a'), node('b', {}, { disk: 'ssd' })], [pod('1', 'a')]),
      '+b -1',
    ],
    [
      'a tainted node gets none but keeps one',
      plan(
        set(),
        [
          node('a', { taints: [{ key: 'k', effect: 'NoSchedule' }] }),
          node('b', { taints: [{ key: 'k', effect: 'NoSchedule' }] }),
        ],
        [pod('1', 'a')],
      ),
      '',
    ],
    [
      'NoExecute ends it',
      plan(set(), [node('a', { taints: [{ key: 'k', effect: 'NoExecute' }] })], [pod('1', 'a')]),
      '-1',
    ],
    [
      'conditions of the node do not matter',
      plan(set(), [node('a', { taints: [{ key: 'node.kubernetes.io/disk-pressure', effect: 'NoSchedule' }] })], []),
      '+a',
    ],
    [
      'an update takes one at a time',
      plan(set(), nodes, [pod('1', 'a', old), pod('2', 'b', old), pod('3', 'c', old)]),
      '-1',
    ],
    [
      'and waits until the new one is ready',
      plan(set(), nodes, [pod('1', 'a', { ready: false }), pod('2', 'b', old), pod('3', 'c', old)]),
      '',
    ],
    [
      'old ones that are not ready go at once',
      plan(set(), nodes, [
        pod('1', 'a', { ...old, ready: false }),
        pod('2', 'b', { ...old, ready: false }),
        pod('3', 'c', old),
      ]),
      '-1 -2',
    ],
    [
      'OnDelete leaves them',
      plan(set({ updateStrategy: { type: 'OnDelete' } }), nodes, [
        pod('1', 'a', old),
        pod('2', 'b', old),
        pod('3', 'c', old),
      ]),
      '',
    ],
    [
      'a surge starts the new one first',
      plan(set(surge), nodes, [pod('1', 'a', old), pod('2', 'b', old), pod('3', 'c', old)]),
      '+a',
    ],
    [
      'keeps both until it is ready',
      plan(set(surge), nodes, [
        pod('1', 'a', old),
        pod('4', 'a', { ready: false }),
        pod('2', 'b', old),
        pod('3', 'c', old),
      ]),
      '',
    ],
    [
      'then ends the old one and goes on',
      plan(set(surge), nodes, [pod('1', 'a', old), pod('4', 'a'), pod('2', 'b', old), pod('3', 'c', old)]),
      '+b -1',
    ],
  ])('%s', (_title, actual, expected) => {
    expect(actual).toBe(expected);
  });
  test('a pod is for one node, also before it is bound', () => {
    const spec = daemonPodSpec({ containers: [] }, 'a');
    expect(nodeOf({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'x' }, spec })).toBe('a');
    expect(spec.tolerations?.map((one) => one.key)).toContain('node.kubernetes.io/unschedulable');
    expect(daemonFits(set(), node('a', { unschedulable: true }))).toEqual({ run: true, stay: true });
  });
  test('status', () => {
    expect(
      daemonStatus(set(), nodes, [pod('1', 'a'), pod('2', 'b', old), pod('3', 'c', { ready: false })], 'new', 0),
    ).toEqual({
      currentNumberScheduled: 3,
      desiredNumberScheduled: 3,
      numberMisscheduled: 0,
      numberReady: 2,
      updatedNumberScheduled: 2,
      numberAvailable: 2,
      numberUnavailable: 1,
      observedGeneration: 1,
    });
  });
});
