import { describe, expect, test } from 'vitest';
import type { PodObject } from './pod-control.ts';
import {
  claimsFor,
  planStatefulSet,
  podFor,
  type Revision,
  revisionLabel,
  type StatefulSetObject,
} from './stateful-set-plan.ts';

const revision = (name: string): Revision =>
  ({
    name,
    template: {
      metadata: { labels: { app: 'w' } },
      spec: { containers: [{ name: 'c', image: name }], volumes: [{ name: 'data', emptyDir: {} }] },
    },
  }) as Revision;
const [v1, v2] = [revision('web-1'), revision('web-2')];
const set = (spec: object = {}, status: object = {}): StatefulSetObject =>
  ({
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: 'web', namespace: 'n', uid: 'u' },
    spec: {
      replicas: 3,
      serviceName: 'svc',
      selector: { matchLabels: { app: 'w' } },
      template: v2.template,
      volumeClaimTemplates: [{ metadata: { name: 'data' }, spec: { accessModes: ['ReadWriteOnce'] } }],
      ...spec,
    },
    status,
  }) as unknown as StatefulSetObject;
type State = 'ready' | 'pending' | 'failed' | 'ending';
const pod = (ordinal: number, state: State = 'ready', from = v2): PodObject =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `web-${ordinal}`,
      namespace: 'n',
      labels: { [revisionLabel]: from.name },
      ...(state === 'ending' ? { deletionTimestamp: 'now' } : {}),
    },
    status: {
      phase: state === 'failed' ? 'Failed' : state === 'pending' ? 'Pending' : 'Running',
      conditions: [{ type: 'Ready', status: state === 'ready' ? 'True' : 'False' }],
    },
  }) as unknown as PodObject;
const plan = (one: StatefulSetObject, pods: PodObject[], current = v2, update = v2): string => {
  const { create, delete: remove } = planStatefulSet(one, pods, current, update, 0);
  return [
    ...create.map((entry) => `+${entry.ordinal}@${entry.revision.name}`),
    ...remove.map((entry) => `-${entry.metadata.name}`),
  ].join(' ');
};
const parallel = { podManagementPolicy: 'Parallel' };

describe('stateful set', () => {
  test.each<[string, string, string]>([
    ['the first comes first', plan(set(), []), '+0@web-2'],
    ['the second waits for the first', plan(set(), [pod(0, 'pending')]), ''],
    ['the second follows', plan(set(), [pod(0)]), '+1@web-2'],
    ['complete', plan(set(), [pod(0), pod(1), pod(2)]), ''],
    ['all at once', plan(set(parallel), []), '+0@web-2 +1@web-2 +2@web-2'],
    ['a failed pod is made anew', plan(set(), [pod(0, 'failed'), pod(1)]), '-web-0'],
    ['an ending pod is waited for', plan(set(), [pod(0, 'ending'), pod(1), pod(2)]), ''],
    ['one less: the highest goes', plan(set({ replicas: 2 }), [pod(0), pod(1), pod(2), pod(3)]), '-web-3'],
    ['one less: one after another', plan(set({ replicas: 2 }), [pod(0), pod(1), pod(2), pod(3, 'ending')]), ''],
    ['fewer at once', plan(set({ replicas: 1, ...parallel }), [pod(0), pod(1), pod(2)]), '-web-2 -web-1'],
    [
      'an update begins at the top',
      plan(set(), [pod(0, 'ready', v1), pod(1, 'ready', v1), pod(2, 'ready', v1)], v1),
      '-web-2',
    ],
    [
      'an update waits for the replaced one',
      plan(set(), [pod(0, 'ready', v1), pod(1, 'ready', v1), pod(2, 'pending')], v1),
      '',
    ],
    ['an update goes down', plan(set(), [pod(0, 'ready', v1), pod(1, 'ready', v1), pod(2)], v1), '-web-1'],
    [
      'a partition holds',
      plan(
        set({ updateStrategy: { rollingUpdate: { partition: 2 } } }),
        [pod(0, 'ready', v1), pod(1, 'ready', v1), pod(2)],
        v1,
      ),
      '',
    ],
    [
      'OnDelete leaves it to people',
      plan(
        set({ updateStrategy: { type: 'OnDelete' } }),
        [pod(0, 'ready', v1), pod(1, 'ready', v1), pod(2, 'ready', v1)],
        v1,
      ),
      '',
    ],
    [
      'below the partition the old revision is kept',
      plan(set({ updateStrategy: { rollingUpdate: { partition: 1 } } }), [], v1),
      '+0@web-1',
    ],
    [
      'a lost pod that was not updated yet comes back as it was',
      plan(set({}, { currentReplicas: 2 }), [pod(1, 'ready', v1), pod(2)], v1),
      '+0@web-1',
    ],
    ['ordinals may start elsewhere', plan(set({ ordinals: { start: 5 }, replicas: 1 }), []), '+5@web-2'],
  ])('%s', (_title, actual, expected) => {
    expect(actual).toBe(expected);
  });

  test('an identity that any pod still has is never made a second time', () => {
    const states: (State | undefined)[] = [undefined, 'ready', 'pending', 'failed', 'ending'];
    for (const spec of [{}, parallel, { replicas: 1 }, { replicas: 1, ...parallel }])
      for (const a of states)
        for (const b of states)
          for (const c of states)
            for (const from of [v1, v2]) {
              const pods = [a, b, c].flatMap((state, ordinal) => (state ? [pod(ordinal, state, from)] : []));
              const taken = new Set(pods.map(({ metadata }) => metadata.name));
              const { create, delete: remove } = planStatefulSet(set(spec), pods, v1, v2, 0);
              expect(create.filter(({ ordinal }) => taken.has(`web-${ordinal}`))).toEqual([]);
              // One that ends already is not hurried.
              expect(remove.filter(({ metadata }) => metadata.deletionTimestamp)).toEqual([]);
            }
  });

  test('a pod has its name, host name, index and claim', () => {
    const made = podFor(set(), 1, v2);
    expect(made.metadata).toMatchObject({
      name: 'web-1',
      labels: { app: 'w', [revisionLabel]: 'web-2', 'apps.kubernetes.io/pod-index': '1' },
      ownerReferences: [{ uid: 'u', controller: true }],
    });
    expect(made.spec).toMatchObject({
      hostname: 'web-1',
      subdomain: 'svc',
      volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data-web-1' } }],
    });
    expect(made.spec!.volumes).toHaveLength(1);
    expect(claimsFor(set(), 1)[0]!.metadata).toMatchObject({ name: 'data-web-1', labels: { app: 'w' } });
  });
});
