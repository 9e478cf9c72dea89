import { describe, expect, test } from 'vitest';
import {
  type DeploymentObject,
  desiredAnnotation,
  intOrPercent,
  maxAnnotation,
  planDeployment,
  type ReplicaSetObject,
} from './deployment-plan.ts';

const deployment = (replicas: number, spec: object = {}): DeploymentObject =>
  ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'd' },
    spec: { replicas, ...spec },
  }) as unknown as DeploymentObject;
const set = (name: string, replicas: number, availableReplicas = replicas): ReplicaSetObject =>
  ({
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: { name },
    spec: { replicas },
    status: { replicas, availableReplicas },
  }) as unknown as ReplicaSetObject;
const sized = (one: ReplicaSetObject, desired: number, max: number): ReplicaSetObject => ({
  ...one,
  metadata: { ...one.metadata, annotations: { [desiredAnnotation]: String(desired), [maxAnnotation]: String(max) } },
});
const plan = (one: DeploymentObject, current: ReplicaSetObject, old: ReplicaSetObject[] = [], oldPods = 0): string =>
  planDeployment(one, current, old, oldPods)
    .map(({ set: target, to }) => `${target.metadata.name}=${to}`)
    .join(' ');
const recreate = { strategy: { type: 'Recreate' } };
const bounds = (maxSurge: unknown, maxUnavailable: unknown) => ({
  strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge, maxUnavailable } },
});

describe('deployment', () => {
  test.each<[string, string, string]>([
    ['in place', plan(deployment(3), set('new', 3)), ''],
    ['scaled up', plan(deployment(5), set('new', 3)), 'new=5'],
    ['scaled down', plan(deployment(1), set('new', 3)), 'new=1'],
    ['a rolling update surges first', plan(deployment(4), set('new', 0), [set('old', 4)]), 'new=1'],
    ['then takes away what may be missing', plan(deployment(4), set('new', 1), [set('old', 4)]), 'old=2'],
    ['and waits while nothing may be missing', plan(deployment(4), set('new', 2, 0), [set('old', 3)]), ''],
    [
      'unavailable old pods go first',
      plan(deployment(4), set('new', 1, 0), [set('bad', 2, 0), set('old', 2)]),
      'bad=1',
    ],
    ['no surge, one unavailable', plan(deployment(2, bounds(0, 1)), set('new', 0), [set('old', 2)]), 'old=1'],
    ['both zero moves all the same', plan(deployment(2, bounds(0, 0)), set('new', 0), [set('old', 2)]), 'old=1'],
    ['Recreate ends the old first', plan(deployment(2, recreate), set('new', 0), [set('old', 2)], 2), 'old=0'],
    ['Recreate waits for their pods', plan(deployment(2, recreate), set('new', 0), [set('old', 0)], 1), ''],
    ['Recreate then starts the new', plan(deployment(2, recreate), set('new', 0), [set('old', 0)], 0), 'new=2'],
    [
      'paused: no rollout',
      plan(deployment(4, { paused: true }), sized(set('new', 1), 4, 5), [sized(set('old', 4), 4, 5)]),
      'old=4 new=1',
    ],
    [
      'paused: scaling is shared out',
      plan(deployment(8, { paused: true, ...bounds(0, 1) }), sized(set('new', 1), 4, 4), [sized(set('old', 3), 4, 4)]),
      'old=6 new=2',
    ],
    [
      'scaled during a stuck rollout: shared out with the surge',
      plan(deployment(30, bounds(3, 2)), sized(set('new', 5, 0), 10, 13), [sized(set('old', 8), 10, 13)]),
      'old=20 new=13',
    ],
    [
      'scaled to nothing during a rollout',
      plan(deployment(0, bounds(3, 2)), sized(set('new', 5), 10, 13), [sized(set('old', 8), 10, 13)]),
      'old=0 new=0',
    ],
  ])('%s', (_title, actual, expected) => {
    expect(actual).toBe(expected);
  });

  test('percentages', () => {
    expect([intOrPercent('25%', 10, true), intOrPercent('25%', 10, false), intOrPercent(2, 10, true)]).toEqual([
      3, 2, 2,
    ]);
  });
});
