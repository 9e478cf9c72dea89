import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../machinery/json.ts';
import { changed, create, kindNamed, update } from '../testing.ts';

type Row = [scenario: string, places: Record<string, unknown>, expected: string[]];

const container = { name: 'c', image: 'i' };
const told = (kind: string, object: JsonObject): string[] =>
  kindNamed(kind).strategy.warnings?.(create(kind, object), undefined) ?? [];

describe('pods', () => {
  const pod: JsonObject = { metadata: { name: 'p' }, spec: { containers: [container] } };
  const env = (...variables: object[]): Record<string, unknown> => ({ 'spec.containers.0.env': variables });
  const ports = (...list: object[]): Record<string, unknown> => ({ 'spec.containers.0.ports': list });
  test.each<Row>([
    ['nothing', {}, []],
    [
      'a name that is no label',
      { 'metadata.name': 'a.b' },
      [
        "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')]",
      ],
    ],
    [
      'an old label of nodes',
      { 'spec.nodeSelector': { 'beta.kubernetes.io/os': 'linux' } },
      ['spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead'],
    ],
    [
      'an old label in affinity',
      {
        'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution': {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'beta.kubernetes.io/arch', operator: 'Exists' }] }],
        },
      },
      [
        'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/arch is deprecated since v1.14; use "kubernetes.io/arch" instead',
      ],
    ],
    [
      'neighbours that nobody is',
      { 'spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution': [{ topologyKey: 'a' }] },
      [
        'spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null labelSelector results in matching no pod',
      ],
    ],
    [
      'an annotation without effect',
      { 'metadata.annotations': { 'security.alpha.kubernetes.io/sysctls': 'x' } },
      [
        'metadata.annotations[security.alpha.kubernetes.io/sysctls]: non-functional in v1.11+; use the "sysctls" field instead',
      ],
    ],
    [
      'a volume that is no more',
      { 'spec.volumes': [{ name: 'v', rbd: { monitors: ['a'], image: 'b' } }] },
      ['spec.volumes[0].rbd: deprecated in v1.28, non-functional in v1.31+'],
    ],
    [
      'a secret twice',
      { 'spec.imagePullSecrets': [{ name: 's' }, { name: 's' }] },
      ['spec.imagePullSecrets[1].name: duplicate name "s"'],
    ],
    [
      'parts of a byte',
      { 'spec.containers.0.resources': { requests: { memory: '100m' } } },
      ['spec.containers[0].resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer'],
    ],
    [
      'a variable that hides another',
      env({ name: 'A', value: '1' }, { name: 'A', value: '2' }),
      ['spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply'],
    ],
    ['a variable made of the other', env({ name: 'A', value: '1' }, { name: 'A', value: '$(A)2' }), []],
    [
      'a port twice',
      ports({ containerPort: 80 }, { containerPort: 80 }),
      ['spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]'],
    ],
    [
      'a port once on the host and once not',
      ports({ containerPort: 80, hostPort: 80 }, { containerPort: 80 }),
      ['spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]'],
    ],
    ['a port by two protocols', ports({ containerPort: 53 }, { containerPort: 53, protocol: 'UDP' }), []],
  ])('%s', (_scenario, places, expected) => {
    expect(told('v1 Pod', changed(pod, places))).toEqual(expected);
  });

  test('only new ones: controllers write them all the time', () => {
    const old = create('v1 Pod', changed(pod, { 'metadata.name': 'a.b' }));
    expect(kindNamed('v1 Pod').strategy.warnings?.(old, old)).toEqual([]);
  });
});

describe('workloads', () => {
  const deployment: JsonObject = {
    metadata: { name: 'a.b' },
    spec: {
      selector: { matchLabels: { a: 'b' } },
      template: {
        metadata: { labels: { a: 'b' } },
        spec: { containers: [container], nodeSelector: { 'beta.kubernetes.io/os': 'linux' } },
      },
    },
  };
  const why =
    'spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead';

  test('their templates, with the path; the name where it is new; nothing where the specification did not change', () => {
    const { warnings } = kindNamed('apps/v1 Deployment').strategy;
    const first = create('apps/v1 Deployment', deployment);
    expect(warnings?.(first, undefined)).toEqual([
      expect.stringContaining('metadata.name: this is used in Pod names and hostnames'),
      why,
    ]);
    const scaled = update('apps/v1 Deployment', first, (object) => ((object.spec as JsonObject).replicas = 3));
    expect(warnings?.(scaled, first)).toEqual([why]);
    expect(warnings?.(first, first)).toEqual([]);
  });
});

describe('others', () => {
  const service = (spec: JsonObject): string[] =>
    told('v1 Service', { metadata: { name: 's' }, spec: { ports: [{ port: 80 }], ...spec } });
  test('a Service with what has no effect', () => {
    expect(service({ clusterIP: 'None' })).toEqual([]);
    expect(service({ clusterIP: 'None', sessionAffinity: 'ClientIP' })).toEqual([
      'spec.SessionAffinity is ignored for headless services',
    ]);
    expect(service({ externalName: 'a.b' })).toEqual([
      'spec.externalName is ignored when spec.type is not "ExternalName"',
    ]);
    expect(service({ trafficDistribution: 'PreferClose' })).toEqual([
      'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"',
    ]);
  });

  test('claims and volumes with old annotations and policies', () => {
    const annotations = { 'volume.beta.kubernetes.io/storage-class': 'x' };
    const claim = {
      metadata: { name: 'c', annotations },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1500m' } } },
    };
    const deprecated =
      'metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use "storageClassName" attribute instead';
    expect(told('v1 PersistentVolumeClaim', claim)).toEqual([
      deprecated,
      'spec.resources.requests[storage]: fractional byte value "1500m" is invalid, must be an integer',
    ]);
    const volume = {
      metadata: { name: 'v' },
      spec: { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], hostPath: { path: '/a' } },
    };
    expect(told('v1 PersistentVolume', volume)).toEqual([]);
    expect(told('v1 PersistentVolume', changed(volume, { 'spec.persistentVolumeReclaimPolicy': 'Recycle' }))).toEqual([
      'spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.',
    ]);
  });

  test('an Ingress whose class is an annotation is told when it is new', () => {
    const rules = [{ host: 'a.b' }];
    const ingress = { metadata: { name: 'i', annotations: { 'kubernetes.io/ingress.class': 'x' } }, spec: { rules } };
    const kind = 'networking.k8s.io/v1 Ingress';
    expect(told(kind, ingress)).toEqual([
      'annotation "kubernetes.io/ingress.class" is deprecated, please use \'spec.ingressClassName\' instead',
    ]);
    const { warnings } = kindNamed(kind).strategy;
    const first = create(kind, ingress);
    expect(warnings?.(first, first)).toEqual([]);
    expect(told(kind, { ...ingress, metadata: { name: 'i' } })).toEqual([]);
    // With both the object is refused; were it not, the field would count.
    expect(warnings?.({ ...ingress, spec: { rules, ingressClassName: 'x' } }, undefined)).toEqual([]);
  });

  test('a Node with fields of old', () => {
    const node = (spec: JsonObject): string[] => told('v1 Node', { metadata: { name: 'n' }, spec });
    expect(node({})).toEqual([]);
    expect(node({ externalID: 'x' })).toEqual([
      'spec.externalID: this field is deprecated, and is unused by Kubernetes',
    ]);
  });

  test.each<[kind: string, object: JsonObject, where: string]>([
    [
      'storage.k8s.io/v1 StorageClass',
      {
        metadata: { name: 's' },
        provisioner: 'a.b/c',
        allowedTopologies: [
          {
            matchLabelExpressions: [
              { key: 'topology.kubernetes.io/region', values: ['b'] },
              { key: 'failure-domain.beta.kubernetes.io/zone', values: ['a'] },
            ],
          },
        ],
      },
      'allowedTopologies[0].matchLabelExpressions[1].key',
    ],
    [
      'node.k8s.io/v1 RuntimeClass',
      {
        metadata: { name: 'r' },
        handler: 'h',
        scheduling: { nodeSelector: { 'failure-domain.beta.kubernetes.io/zone': 'a', mine: 'x' } },
      },
      'scheduling.nodeSelector',
    ],
    [
      'storage.k8s.io/v1 CSIStorageCapacity',
      {
        metadata: { name: 'c' },
        storageClassName: 's',
        nodeTopology: { matchLabels: { 'failure-domain.beta.kubernetes.io/zone': 'a', mine: 'x' } },
      },
      'nodeTopology.matchLabels.failure-domain.beta.kubernetes.io/zone',
    ],
  ])('%s with an old label of nodes', (kind, object, where) => {
    expect(told(kind, object)).toEqual([`${where}: deprecated since v1.17; use "topology.kubernetes.io/zone" instead`]);
  });
});
