import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Any, Cluster } from './harness.ts';
import { everyVerb, type StatusOf } from './verbs.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster.close());

const groupVersion = 'flowcontrol.apiserver.k8s.io/v1';

const given = { status: 'True', reason: 'Test', message: 'set by the test' };
const condition = (type: string): Any => ({ ...given, type, lastTransitionTime: '2026-01-01T00:00:00Z' });
const status: StatusOf = {
  patch: { conditions: [condition('Patched')] },
  change: (object) => {
    object.status = { conditions: [...(object.status?.conditions ?? []), condition('Updated')] };
  },
  check: ({ conditions }) => expect(conditions).toContainEqual(condition('Patched')),
};

/** What the server's own controller says of a schema shortly after it is made, and again when somebody takes it away. */
const dangling = {
  type: 'Dangling',
  status: 'False',
  reason: 'Found',
  message: 'This FlowSchema references the PriorityLevelConfiguration object named "global-default" and it exists',
  lastTransitionTime: '2026-01-01T00:00:00Z',
};

test('conformance: apf-flowschema-api: discovery, every verb and the status of flow schemas', async () => {
  await everyVerb(cluster, {
    groupVersion,
    plural: 'flowschemas',
    kind: 'FlowSchema',
    object: () => ({
      spec: {
        matchingPrecedence: 10_000,
        priorityLevelConfiguration: { name: 'global-default' },
        distinguisherMethod: { type: 'ByUser' },
        rules: [
          {
            subjects: [{ kind: 'User', user: { name: 'example-e2e-flowschema' } }],
            nonResourceRules: [{ verbs: ['get'], nonResourceURLs: ['/api'] }],
          },
        ],
      },
    }),
    status: { ...status, patch: { conditions: [dangling, condition('Patched')] } },
    settled: (object) => object.status?.conditions?.some(({ type }: Any) => type === 'Dangling'),
  });
});

test('conformance: apf-prioritylevel-api: discovery, every verb and the status of priority levels', async () => {
  await everyVerb(cluster, {
    groupVersion,
    plural: 'prioritylevelconfigurations',
    kind: 'PriorityLevelConfiguration',
    object: () => ({
      spec: {
        type: 'Limited',
        limited: { nominalConcurrencyShares: 2, limitResponse: { type: 'Reject' } },
      },
    }),
    status,
  });
});
