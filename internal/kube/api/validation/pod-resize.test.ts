import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../machinery/json.ts';
import { changed, create, put, refused, update } from '../testing.ts';

type Row = [scenario: string, places: Record<string, unknown>, expected: string[]];

const some = { requests: { cpu: '100m', memory: '64Mi' }, limits: { cpu: '200m', memory: '128Mi' } };
const spec = {
  initContainers: [
    { name: 'first', image: 'i', resources: some },
    { name: 'side', image: 'i', restartPolicy: 'Always', resources: some },
  ],
  containers: [
    { name: 'main', image: 'i', resources: { ...some, limits: { ...some.limits, 'example.com/card': '1' } } },
    { name: 'second', image: 'i', resources: some },
  ],
};
const pod = (places: Record<string, unknown> = {}): JsonObject =>
  create('v1 Pod', changed({ metadata: { name: 'p', namespace: 'default', labels: { a: 'b' } }, spec }, places));
const resize = (old: JsonObject, places: Record<string, unknown>): JsonObject =>
  update(
    'v1 Pod',
    old,
    (object) => {
      for (const [at, value] of Object.entries(places)) put(object, at, JSON.parse(JSON.stringify(value)));
    },
    'resize',
  );

const ofMain = (list: string, name: string): string => `spec.containers.0.resources.${list}.${name}`;

describe('pods/resize', () => {
  test.each<Row>([
    ['nothing changes', {}, []],
    ['more cpu and memory', { [ofMain('requests', 'cpu')]: '150m', [ofMain('limits', 'memory')]: '1Gi' }, []],
    ['less of both', { [ofMain('requests', 'cpu')]: '50m', [ofMain('limits', 'memory')]: '100Mi' }, []],
    ['the same in other words', { [ofMain('limits', 'cpu')]: '0.2' }, []],
    ['a sidecar', { 'spec.initContainers.1.resources.limits.cpu': '1' }, []],
    ['an init container', { 'spec.initContainers.0.resources.limits.cpu': '1' }, []],
    [
      'a request over its limit',
      { [ofMain('requests', 'cpu')]: '1' },
      ['spec.containers[0].resources.requests: Invalid value: "1": must be less than or equal to cpu limit of 200m'],
    ],
    [
      'a request taken away',
      { 'spec.containers.1.resources.requests': { memory: '64Mi' }, 'spec.containers.1.resources.limits': {} },
      [
        'spec.containers[1].resources.requests: Forbidden: resource requests cannot be removed',
        'spec.containers[1].resources.limits: Forbidden: resource limits cannot be removed',
      ],
    ],
    [
      'disk space',
      { [ofMain('requests', 'ephemeral-storage')]: '1Gi' },
      ['spec: Forbidden: only cpu and memory resources are mutable'],
    ],
    [
      'disk space of a sidecar',
      { 'spec.initContainers.1.resources.requests.ephemeral-storage': '1Gi' },
      ['spec.initContainers[1]: Forbidden: only cpu and memory resources for init or sidecar containers are mutable'],
    ],
    [
      'another resize policy',
      { 'spec.containers.0.resizePolicy': [{ resourceName: 'cpu', restartPolicy: 'RestartContainer' }] },
      ['spec: Forbidden: only cpu and memory resources are mutable'],
    ],
    [
      'all requests as much as the limits',
      {
        'spec.containers.0.resources.requests': { cpu: '200m', memory: '128Mi', 'example.com/card': '1' },
        'spec.containers.1.resources.requests': some.limits,
        'spec.initContainers.0.resources.requests': some.limits,
        'spec.initContainers.1.resources.requests': some.limits,
      },
      ['spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing'],
    ],
    [
      'one container more',
      { 'spec.containers': [...spec.containers, { name: 'third', image: 'i' }] },
      ['spec.containers: Forbidden: containers may not be added or removed on resize'],
    ],
    [
      'another order',
      { 'spec.containers.0.name': 'second', 'spec.containers.1.name': 'main' },
      [
        'spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize',
        'spec.containers[1].name: Forbidden: containers may not be renamed or reordered on resize',
      ],
    ],
    [
      'an init container of another name',
      { 'spec.initContainers.0.name': 'other' },
      ['spec.initContainers[0].name: Forbidden: initContainers may not be renamed or reordered on resize'],
    ],
    [
      'resources of the pod that are no cpu and memory',
      { 'spec.resources': { requests: { 'hugepages-2Mi': '2Mi' }, limits: { 'hugepages-2Mi': '2Mi' } } },
      ['spec: Forbidden: only cpu and memory resources are mutable at pod-level'],
    ],
  ])('%s', (_scenario, places, expected) => {
    expect(refused(() => resize(pod(), places))).toEqual(expected);
  });

  test('pods that cannot be resized: static ones, those of Windows, those on a node that does not say what they have', () => {
    const more = { [ofMain('requests', 'cpu')]: '150m' };
    const of = (places: Record<string, unknown>): string[] => refused(() => resize(changed(pod(), places), more));
    expect(of({ 'metadata.annotations': { 'kubernetes.io/config.mirror': 'x' } })).toEqual([
      ': Forbidden: static pods cannot be resized',
    ]);
    expect(of({ 'spec.os': { name: 'windows' } })).toEqual([': Forbidden: windows pods cannot be resized']);
    const running = { name: 'main', state: { running: {} } };
    expect(of({ 'status.containerStatuses': [running] })).toEqual([
      'spec: Forbidden: Pod running on node without support for resize',
    ]);
    expect(of({ 'status.containerStatuses': [{ ...running, resources: some }] })).toEqual([]);
  });

  test('an init container that would be restarted is not resized, where it is no sidecar', () => {
    const resizePolicy = [{ resourceName: 'memory', restartPolicy: 'RestartContainer' }];
    const more = {
      'spec.initContainers.0.resources.limits.cpu': '1',
      'spec.initContainers.1.resources.limits.cpu': '1',
    };
    const old = pod({
      'spec.initContainers.0.resizePolicy': resizePolicy,
      'spec.initContainers.1.resizePolicy': resizePolicy,
    });
    expect(refused(() => resize(old, more))).toEqual([
      'spec.initContainers[0]: Forbidden: non-sidecar init containers with a resize policy of RestartContainer cannot be resized',
    ]);
  });

  test('everything else of what is sent is left out, and the generation counts', () => {
    const old = pod();
    const now = resize(old, {
      [ofMain('requests', 'cpu')]: '150m',
      'spec.containers.0.image': 'other',
      'spec.nodeName': 'n',
      'metadata.labels': { other: 'label' },
      'metadata.finalizers': ['a/b'],
      'status.phase': 'Failed',
    });
    expect(now).toEqual(changed(old, { [ofMain('requests', 'cpu')]: '150m', 'metadata.generation': 2 }));
    expect(resize(old, { 'spec.nodeName': 'n' })).toEqual(old);
  });

  test('through the pod itself resources cannot be changed', () => {
    const [why] = refused(() => update('v1 Pod', pod(), (object) => put(object, ofMain('requests', 'cpu'), '150m')));
    expect(why).toContain('spec: Forbidden: pod updates may not change fields other than');
  });
});

describe('resizePolicy', () => {
  const policy = (resourceName: string, restartPolicy: string): object => ({ resourceName, restartPolicy });
  test.each<Row>([
    [
      'one of each',
      { 'spec.containers.0.resizePolicy': [policy('cpu', 'NotRequired'), policy('memory', 'RestartContainer')] },
      [],
    ],
    [
      'a resource twice',
      { 'spec.containers.0.resizePolicy': [policy('cpu', 'NotRequired'), policy('cpu', 'NotRequired')] },
      ['spec.containers[0].resizePolicy[1]: Duplicate value: "cpu"'],
    ],
    [
      'a resource that has none',
      { 'spec.containers.0.resizePolicy': [policy('disk', 'NotRequired')] },
      ['spec.containers[0].resizePolicy: Unsupported value: "disk": supported values: "cpu", "memory"'],
    ],
    [
      'an unknown policy',
      { 'spec.containers.0.resizePolicy': [policy('cpu', 'Perhaps')] },
      [
        'spec.containers[0].resizePolicy: Unsupported value: "Perhaps": supported values: "NotRequired", "RestartContainer"',
      ],
    ],
    [
      'a restart in a pod that never restarts',
      { 'spec.restartPolicy': 'Never', 'spec.containers.0.resizePolicy': [policy('memory', 'RestartContainer')] },
      [
        "spec.containers[0].resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when `restartPolicy` is 'Never'",
      ],
    ],
  ])('%s', (_scenario, places, expected) => {
    expect(refused(() => pod(places))).toEqual(expected);
  });
});
