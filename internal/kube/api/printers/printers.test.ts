import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../machinery/json.ts';
import { makeTable } from '../../machinery/table.ts';
import { builtinKinds } from '../builtin.ts';
import { summarize } from './pod.ts';

const now = Date.parse('2026-01-02T00:00:00Z');
const created = '2026-01-01T23:55:00Z';
const row = (group: string, kind: string, object: JsonObject): unknown[] =>
  builtinKinds.byKind(group, 'v1', kind)!.printer.row(object, now);
const pod = (status: JsonObject, more: JsonObject = {}, spec: JsonObject = {}): JsonObject => ({
  metadata: { name: 'p', creationTimestamp: created, ...more },
  spec: { containers: [{ name: 'a' }], ...spec },
  status,
});
const state = (value: JsonObject, more: JsonObject = {}): JsonObject => ({
  containerStatuses: [{ name: 'a', ready: false, restartCount: 0, state: value, ...more }],
});

describe('columns', () => {
  test.each<[string, JsonObject, string]>([
    ['waits for a node', pod({ phase: 'Pending' }), 'Pending 0/1 0'],
    [
      'is created',
      pod({ phase: 'Pending', ...state({ waiting: { reason: 'ContainerCreating' } }) }),
      'ContainerCreating 0/1 0',
    ],
    ['runs', pod({ phase: 'Running', ...state({ running: {} }, { ready: true }) }), 'Running 1/1 0'],
    [
      'crashes',
      pod({
        phase: 'Running',
        ...state(
          { waiting: { reason: 'CrashLoopBackOff' } },
          { restartCount: 3, lastState: { terminated: { finishedAt: '2026-01-01T23:59:00Z' } } },
        ),
      }),
      'CrashLoopBackOff 0/1 3',
    ],
    ['ended with a code', pod({ phase: 'Failed', ...state({ terminated: { exitCode: 2 } }) }), 'ExitCode:2 0/1 0'],
    [
      'is done',
      pod({ phase: 'Succeeded', ...state({ terminated: { exitCode: 0, reason: 'Completed' } }) }),
      'Completed 0/1 0',
    ],
    ['is evicted', pod({ phase: 'Failed', reason: 'Evicted' }), 'Evicted 0/1 0'],
    [
      'ends',
      pod({ phase: 'Running', ...state({ running: {} }, { ready: true }) }, { deletionTimestamp: created }),
      'Terminating 1/1 0',
    ],
    [
      'is on a lost node',
      pod({ phase: 'Running', reason: 'NodeLost' }, { deletionTimestamp: created }),
      'Unknown 0/1 0',
    ],
    [
      'initializes',
      pod(
        { phase: 'Pending', initContainerStatuses: [{ name: 'i', restartCount: 0, state: { running: {} } }] },
        {},
        { initContainers: [{ name: 'i' }] },
      ),
      'Init:0/1 0/1 0',
    ],
    [
      'fails to initialize',
      pod(
        {
          phase: 'Pending',
          initContainerStatuses: [{ name: 'i', restartCount: 1, state: { waiting: { reason: 'CrashLoopBackOff' } } }],
        },
        {},
        { initContainers: [{ name: 'i' }] },
      ),
      'Init:CrashLoopBackOff 0/1 1',
    ],
    [
      'runs with a sidecar',
      pod(
        {
          phase: 'Running',
          ...state({ running: {} }, { ready: true }),
          initContainerStatuses: [{ name: 's', ready: true, started: true, restartCount: 0, state: { running: {} } }],
        },
        {},
        { initContainers: [{ name: 's', restartPolicy: 'Always' }] },
      ),
      'Running 2/2 0',
    ],
    [
      'is gated',
      pod({ phase: 'Pending', conditions: [{ type: 'PodScheduled', status: 'False', reason: 'SchedulingGated' }] }),
      'SchedulingGated 0/1 0',
    ],
  ])('a pod that %s', (_title, object, expected) => {
    const { reason, ready, total, restarts } = summarize(object);
    expect(`${reason} ${ready}/${total} ${restarts}`).toBe(expected);
  });
  test.each<[string, string, JsonObject, unknown[]]>([
    [
      '',
      'Pod',
      pod(
        {
          phase: 'Running',
          podIP: '10.1.1.1',
          ...state(
            { running: {} },
            { ready: true, restartCount: 2, lastState: { terminated: { finishedAt: '2026-01-01T23:59:00Z' } } },
          ),
        },
        {},
        { nodeName: 'n' },
      ),
      ['p', '1/1', 'Running', '2 (60s ago)', '5m', '10.1.1.1', 'n', '<none>', '<none>'],
    ],
    [
      '',
      'Service',
      {
        metadata: { name: 's', creationTimestamp: created },
        spec: {
          type: 'NodePort',
          clusterIP: '10.43.0.9',
          ports: [
            { port: 80, nodePort: 30000, protocol: 'TCP' },
            { port: 53, protocol: 'UDP' },
          ],
          selector: { b: '2', a: '1' },
        },
      },
      ['s', 'NodePort', '10.43.0.9', '<none>', '80:30000/TCP,53/UDP', '5m', 'a=1,b=2'],
    ],
    [
      '',
      'Node',
      {
        metadata: {
          name: 'n',
          creationTimestamp: created,
          labels: { 'node-role.kubernetes.io/master': '', 'node-role.kubernetes.io/agent': 'true' },
        },
        spec: { unschedulable: true },
        status: {
          conditions: [{ type: 'Ready', status: 'True' }],
          addresses: [{ type: 'InternalIP', address: '1.2.3.4' }],
          nodeInfo: {
            kubeletVersion: 'v1.36.0',
            osImage: 'Debian',
            kernelVersion: '6.1',
            containerRuntimeVersion: 'containerd://1.6',
          },
        },
      },
      [
        'n',
        'Ready,SchedulingDisabled',
        'agent,master',
        '5m',
        'v1.36.0',
        '1.2.3.4',
        '<none>',
        'Debian',
        '6.1',
        'containerd://1.6',
      ],
    ],
    [
      '',
      'PersistentVolumeClaim',
      {
        metadata: { name: 'c', creationTimestamp: created },
        spec: { volumeName: 'v', storageClassName: 'fast', volumeMode: 'Filesystem' },
        status: { phase: 'Bound', accessModes: ['ReadWriteOnce', 'ReadOnlyMany'], capacity: { storage: '1Gi' } },
      },
      ['c', 'Bound', 'v', '1Gi', 'RWO,ROX', 'fast', '<unset>', '5m', 'Filesystem'],
    ],
    [
      'apps',
      'Deployment',
      {
        metadata: { name: 'd', creationTimestamp: created },
        spec: {
          replicas: 3,
          selector: { matchLabels: { a: 'b' } },
          template: {
            spec: {
              containers: [
                { name: 'x', image: 'i' },
                { name: 'y', image: 'j' },
              ],
            },
          },
        },
        status: { readyReplicas: 1, updatedReplicas: 2, availableReplicas: 1 },
      },
      ['d', '1/3', 2, 1, '5m', 'x,y', 'i,j', 'a=b'],
    ],
    [
      'storage.k8s.io',
      'StorageClass',
      {
        metadata: {
          name: 's',
          creationTimestamp: created,
          annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' },
        },
        provisioner: 'p',
        reclaimPolicy: 'Delete',
        volumeBindingMode: 'Immediate',
      },
      ['s (default)', 'p', 'Delete', 'Immediate', false, '5m'],
    ],
    [
      '',
      'Event',
      {
        metadata: { name: 'e', creationTimestamp: created },
        type: 'Normal',
        reason: 'Pulled',
        involvedObject: { kind: 'Pod', name: 'p' },
        source: { component: 'kubelet', host: 'n' },
        message: 'm\n',
        firstTimestamp: created,
        lastTimestamp: '2026-01-01T23:59:30Z',
        count: 3,
      },
      ['30s', 'Normal', 'Pulled', 'pod/p', '', 'kubelet, n', 'm', '5m', 3, 'e'],
    ],
  ])('%s %s', (group, kind, object, cells) => {
    expect(row(group, kind, object)).toEqual(cells);
  });
  test('every kind has as many cells as columns, also for an empty object', () => {
    for (const kind of builtinKinds.all) {
      const table = makeTable(kind.printer, [{}], {
        nowMs: now,
        listMetadata: {},
        includeObject: 'None',
        headers: true,
      });
      expect((table.rows as JsonObject[])[0]?.cells, kind.kind).toHaveLength(
        (table.columnDefinitions as unknown[]).length,
      );
    }
  });
});
