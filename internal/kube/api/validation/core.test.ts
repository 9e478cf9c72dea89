import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../machinery/json.ts';
import { changed, create, refused, update } from '../testing.ts';

type Row = [scenario: string, places: Record<string, unknown>, expected: string[]];

describe('Service', () => {
  const service: JsonObject = { metadata: { name: 'web' }, spec: { ports: [{ port: 80 }] } };
  const port = (places: object): Record<string, unknown> => ({ 'spec.ports': [{ port: 80, ...places }] });
  test.each<Row>([
    ['nothing wrong', {}, []],
    ['no ports', { 'spec.ports': [] }, ['spec.ports: Required value']],
    ['headless without ports', { 'spec.ports': [], 'spec.clusterIP': 'None' }, []],
    [
      'an unknown type',
      { 'spec.type': 'Magic' },
      [
        'spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
      ],
    ],
    [
      'ports without names',
      { 'spec.ports': [{ port: 80 }, { port: 81 }] },
      ['spec.ports[0].name: Required value', 'spec.ports[1].name: Required value'],
    ],
    [
      'a name twice',
      { 'spec.ports': [80, 81].map((number) => ({ name: 'a', port: number })) },
      ['spec.ports[1].name: Duplicate value: "a"'],
    ],
    [
      'a port twice',
      { 'spec.ports': ['a', 'b'].map((name) => ({ name, port: 80 })) },
      ['spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}'],
    ],
    [
      'one port by two protocols',
      { 'spec.ports': ['TCP', 'UDP'].map((protocol) => ({ name: protocol.toLowerCase(), port: 53, protocol })) },
      [],
    ],
    [
      'a port out of range',
      port({ port: 0 }),
      [
        'spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive',
        'spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive',
      ],
    ],
    [
      'an unknown protocol',
      port({ protocol: 'ICMP' }),
      ['spec.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'],
    ],
    [
      'a target that is no name',
      port({ targetPort: 'A_B' }),
      [
        'spec.ports[0].targetPort: Invalid value: "A_B": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)',
        'spec.ports[0].targetPort: Invalid value: "A_B": must contain at least one letter (a-z)',
      ],
    ],
    [
      'a node port of a cluster service',
      port({ nodePort: 30000 }),
      ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    ],
    [
      'a node port twice',
      { 'spec.type': 'NodePort', 'spec.ports': ['a', 'b'].map((name, i) => ({ name, port: 80 + i, nodePort: 30000 })) },
      ['spec.ports[1].nodePort: Duplicate value: 30000'],
    ],
    [
      'the port of the kubelet in public',
      { 'spec.type': 'LoadBalancer', 'spec.ports': [{ port: 10250 }] },
      ['spec.ports[0].port: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet'],
    ],
    [
      'a headless balancer',
      { 'spec.type': 'LoadBalancer', 'spec.clusterIP': 'None' },
      ['spec.clusterIPs[0]: Invalid value: "None": may not be set to \'None\' for LoadBalancer services'],
    ],
    [
      'an external name without name',
      { 'spec.type': 'ExternalName', 'spec.ports': undefined },
      ['spec.externalName: Required value'],
    ],
    [
      'an external name with an address',
      { 'spec.type': 'ExternalName', 'spec.externalName': 'a.b.', 'spec.clusterIP': '10.43.0.9' },
      ['spec.clusterIPs: Forbidden: may not be set for ExternalName services'],
    ],
    [
      'an unknown affinity',
      { 'spec.sessionAffinity': 'Sticky' },
      ['spec.sessionAffinity: Unsupported value: "Sticky": supported values: "ClientIP", "None"'],
    ],
    [
      'an affinity too long',
      { 'spec.sessionAffinity': 'ClientIP', 'spec.sessionAffinityConfig': { clientIP: { timeoutSeconds: 86401 } } },
      [
        'spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400',
      ],
    ],
    [
      'an address of the machine itself',
      { 'spec.externalIPs': ['127.0.0.1'] },
      ['spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)'],
    ],
    [
      'a traffic policy of nobody outside',
      { 'spec.externalTrafficPolicy': 'Local' },
      ['spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services'],
    ],
    [
      'a health port of no balancer',
      { 'spec.healthCheckNodePort': 30000 },
      [
        "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
      ],
    ],
    [
      'an unknown distribution',
      { 'spec.trafficDistribution': 'Fair' },
      [
        'spec.trafficDistribution: Unsupported value: "Fair": supported values: "PreferClose", "PreferSameNode", "PreferSameZone"',
      ],
    ],
    [
      'ranges of no balancer',
      { 'spec.loadBalancerSourceRanges': ['10.0.0.0/8'] },
      ["spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"],
    ],
    [
      'a class of no balancer',
      { 'spec.loadBalancerClass': 'a.b/c' },
      ["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"],
    ],
    [
      'an address that is not the first',
      { 'spec.clusterIP': '10.43.0.9', 'spec.clusterIPs': ['10.43.0.8'] },
      ['spec.clusterIPs: Invalid value: ["10.43.0.8"]: first value must match `clusterIP`'],
    ],
    [
      'two addresses of a family',
      { 'spec.clusterIPs': ['10.43.0.8', '10.43.0.9'] },
      ['spec.clusterIPs: Invalid value: ["10.43.0.8","10.43.0.9"]: may specify no more than one IP for each IP family'],
    ],
    [
      'an address of another family',
      { 'spec.clusterIPs': ['10.43.0.8'], 'spec.ipFamilies': ['IPv6'] },
      ['spec.clusterIPs[0]: Invalid value: "10.43.0.8": expected an IPv6 value as indicated by `ipFamilies[0]`'],
    ],
    ['a family twice', { 'spec.ipFamilies': ['IPv4', 'IPv4'] }, ['spec.ipFamilies[1]: Duplicate value: "IPv4"']],
  ])('create: %s', (_scenario, places, expected) => {
    expect(refused(() => create('v1 Service', changed(service, places)))).toEqual(expected);
  });
  test('update and status: the class of a balancer stays; only a balancer says where it is', () => {
    const made = create(
      'v1 Service',
      changed(service, { 'spec.type': 'LoadBalancer', 'spec.loadBalancerClass': 'a.b/c' }),
    );
    const write = (from: JsonObject, places: Record<string, unknown>, subresource = ''): string[] =>
      refused(() =>
        update('v1 Service', from, (object) => Object.assign(object, changed(object, places)), subresource),
      );
    expect(write(made, { 'spec.loadBalancerClass': 'a.b/d' })).toEqual([
      'spec.loadBalancerClass: Invalid value: "a.b/d": may not change once set',
    ]);
    const ingress = { 'status.loadBalancer': { ingress: [{ ip: '10.0.0.1', ipMode: 'VIP' }] } };
    expect(write(made, ingress, 'status')).toEqual([]);
    expect(write(create('v1 Service', service), ingress, 'status')).toEqual([
      "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'",
    ]);
  });
});

describe('Pod', () => {
  const container = { name: 'c', image: 'busybox' };
  const pod: JsonObject = { metadata: { name: 'p' }, spec: { containers: [container] } };
  const one = (places: object): Record<string, unknown> => ({ 'spec.containers': [{ ...container, ...places }] });
  const at = 'spec.containers[0]';
  const probe = { exec: { command: ['true'] } };
  const volume = (source: object): Record<string, unknown> => ({ 'spec.volumes': [{ name: 'v', ...source }] });
  test.each<Row>([
    ['nothing wrong', {}, []],
    [
      'an unknown resource',
      one({ resources: { limits: { cows: '1' } } }),
      [
        `${at}.resources.limits[cows]: Invalid value: "cows": must be a standard resource for containers`,
        `${at}.resources.requests[cows]: Invalid value: "cows": must be a standard resource for containers`,
      ],
    ],
    [
      'a part of a device',
      one({ resources: { limits: { 'a.io/gpu': '500m' } } }),
      [
        `${at}.resources.limits[a.io/gpu]: Invalid value: "500m": must be an integer`,
        `${at}.resources.requests[a.io/gpu]: Invalid value: "500m": must be an integer`,
      ],
    ],
    [
      'a device without limit',
      one({ resources: { requests: { 'a.io/gpu': '1' } } }),
      [`${at}.resources.limits: Required value: Limit must be set for non overcommitable resources`],
    ],
    [
      'a device in two ways of writing',
      one({ resources: { requests: { 'a.io/gpu': '1' }, limits: { 'a.io/gpu': '1000m' } } }),
      [],
    ],
    [
      'huge pages alone',
      one({ resources: { limits: { 'hugepages-2Mi': '2Mi' } } }),
      [`${at}.resources: Forbidden: HugePages require cpu or memory`],
    ],
    ['huge pages with memory', one({ resources: { limits: { 'hugepages-2Mi': '2Mi', memory: '1Gi' } } }), []],
    [
      'more asked than allowed',
      one({ resources: { limits: { cpu: '1' }, requests: { cpu: '2' } } }),
      [`${at}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1`],
    ],
    [
      'privileged and not',
      one({ securityContext: { privileged: true, allowPrivilegeEscalation: false } }),
      [
        `${at}.securityContext: Invalid value: {"privileged":true,"allowPrivilegeEscalation":false}: cannot set \`allowPrivilegeEscalation\` to false and \`privileged\` to true`,
      ],
    ],
    [
      'a user that cannot be',
      one({ securityContext: { runAsUser: -1 } }),
      [`${at}.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive`],
    ],
    [
      'a profile without file',
      one({ securityContext: { seccompProfile: { type: 'Localhost' } } }),
      [
        `${at}.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost`,
      ],
    ],
    [
      'a file for the default profile',
      one({ securityContext: { seccompProfile: { type: 'RuntimeDefault', localhostProfile: 'a' } } }),
      [
        `${at}.securityContext.seccompProfile.localhostProfile: Invalid value: "a": can only be set when seccomp type is Localhost`,
      ],
    ],
    [
      'a grace for readiness',
      one({ readinessProbe: { ...probe, terminationGracePeriodSeconds: 1 } }),
      [`${at}.readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes`],
    ],
    [
      'a mount shared by the unprivileged',
      {
        ...one({ volumeMounts: [{ name: 'v', mountPath: '/v', mountPropagation: 'Bidirectional' }] }),
        ...volume({ emptyDir: {} }),
      },
      [
        `${at}.volumeMounts[0].mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers`,
      ],
    ],
    [
      'two ways below',
      {
        ...one({ volumeMounts: [{ name: 'v', mountPath: '/v', subPath: 'a', subPathExpr: 'b' }] }),
        ...volume({ emptyDir: {} }),
      },
      [`${at}.volumeMounts[0].subPathExpr: Invalid value: "b": subPathExpr and subPath are mutually exclusive`],
    ],
    [
      'a device where a mount is',
      {
        ...one({ volumeMounts: [{ name: 'v', mountPath: '/v' }], volumeDevices: [{ name: 'v', devicePath: '/v' }] }),
        ...volume({ emptyDir: {} }),
      },
      [`${at}.volumeDevices[0].devicePath: Invalid value: "/v": must not already exist in volumeMounts`],
    ],
    [
      'a file system without server',
      volume({ nfs: { path: 'a' } }),
      [
        'spec.volumes[0].nfs.server: Required value',
        'spec.volumes[0].nfs.path: Invalid value: "a": must be an absolute path',
      ],
    ],
    ['an image without reference', volume({ image: {} }), ['spec.volumes[0].image.reference: Required value']],
    [
      'hooks of what ends by itself',
      { 'spec.initContainers': [{ ...container, name: 'i', lifecycle: { preStop: probe } }] },
      ['spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always'],
    ],
    [
      'a gate twice',
      { 'spec.schedulingGates': [{ name: 'a' }, { name: 'a' }] },
      ['spec.schedulingGates[1]: Duplicate value: "a"'],
    ],
    [
      'a spread twice',
      {
        'spec.topologySpreadConstraints': [1, 2].map((maxSkew) => ({
          maxSkew,
          topologyKey: 'z',
          whenUnsatisfiable: 'DoNotSchedule',
        })),
      },
      ['spec.topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}: Duplicate value: "{z, DoNotSchedule}"'],
    ],
    [
      'domains of a wish',
      {
        'spec.topologySpreadConstraints': [
          { maxSkew: 1, topologyKey: 'z', whenUnsatisfiable: 'ScheduleAnyway', minDomains: 2 },
        ],
      },
      [
        'spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway',
      ],
    ],
    [
      'two ways to share processes',
      { 'spec.hostPID': true, 'spec.shareProcessNamespace': true },
      ['spec.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled'],
    ],
    [
      'users of its own on the network of the node',
      { 'spec.hostUsers': false, 'spec.hostNetwork': true },
      ['spec.hostNetwork: Forbidden: when `pod.Spec.HostUsers` is false, `pod.Spec.HostNetwork` must be false'],
    ],
    ['a secret without name', { 'spec.imagePullSecrets': [{}] }, ['spec.imagePullSecrets[0].name: Required value']],
    [
      'an unknown system',
      { 'spec.os': { name: 'plan9' } },
      ['spec.os.name: Unsupported value: "plan9": supported values: "linux", "windows"'],
    ],
    [
      'a claim of devices from nowhere',
      { 'spec.resourceClaims': [{ name: 'a' }] },
      ['spec.resourceClaims[0]: Invalid value: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`'],
    ],
    [
      'a claim that nobody made',
      one({ resources: { claims: [{ name: 'a' }] } }),
      [`${at}.resources.claims[0]: Not found: "a"`],
    ],
    [
      'a group that cannot be',
      { 'spec.securityContext': { supplementalGroups: [-1] } },
      ['spec.securityContext.supplementalGroups[0]: Invalid value: -1: must be between 0 and 2147483647, inclusive'],
    ],
  ])('create: %s', (_scenario, places, expected) => {
    expect(refused(() => create('v1 Pod', changed(pod, places)))).toEqual(expected);
  });
});

describe('what keeps pods running', () => {
  const template = { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } };
  test('ReplicationController: labels and selector follow from the template and must fit it', () => {
    const made = create('v1 ReplicationController', { metadata: { name: 'r' }, spec: { template } });
    expect(made).toMatchObject({ metadata: { labels: { a: 'b' } }, spec: { replicas: 1, selector: { a: 'b' } } });
    expect(
      refused(() =>
        create('v1 ReplicationController', { metadata: { name: 'r' }, spec: { template, selector: { a: 'c' } } }),
      ),
    ).toEqual(['spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`']);
    expect(refused(() => create('v1 ReplicationController', { metadata: { name: 'r' }, spec: {} }))).toEqual([
      'spec.selector: Required value',
      'spec.template: Required value',
    ]);
  });
  test.each([
    [
      'apps/v1 Deployment',
      { replicas: 1, updatedReplicas: 2 },
      'status.updatedReplicas: Invalid value: 2: cannot be greater than status.replicas',
    ],
    [
      'apps/v1 ReplicaSet',
      { replicas: 2, availableReplicas: 2, readyReplicas: 1 },
      'status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas',
    ],
    [
      'apps/v1 DaemonSet',
      { numberReady: -1 },
      'status.numberReady: Invalid value: -1: must be greater than or equal to 0',
    ],
    [
      'apps/v1 StatefulSet',
      { replicas: 0, readyReplicas: 1 },
      'status.readyReplicas: Invalid value: 1: cannot be greater than status.replicas',
    ],
  ])('%s: a status that cannot be', (kind, status, expected) => {
    const made = create(kind, { metadata: { name: 'w' }, spec: { selector: { matchLabels: { a: 'b' } }, template } });
    expect(refused(() => update(kind, made, (object) => Object.assign(object, { status }), 'status'))).toEqual([
      expected,
    ]);
  });
  test('a count of collisions only rises', () => {
    const kind = 'apps/v1 Deployment';
    const made = create(kind, { metadata: { name: 'w' }, spec: { selector: { matchLabels: { a: 'b' } }, template } });
    const collided = changed(made, { 'status.collisionCount': 2 });
    expect(
      refused(() =>
        update(kind, collided, (object) => Object.assign(object, { status: { collisionCount: 1 } }), 'status'),
      ),
    ).toEqual(['status.collisionCount: Invalid value: 1: cannot be decremented']);
  });
});

describe('access and storage', () => {
  test.each<[string, string, JsonObject, string[]]>([
    [
      'a role that gathers nothing',
      'rbac.authorization.k8s.io/v1 ClusterRole',
      { metadata: { name: 'r' }, rules: [], aggregationRule: { clusterRoleSelectors: [] } },
      [
        'aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil',
      ],
    ],
    [
      'a role of no verbs',
      'rbac.authorization.k8s.io/v1 Role',
      { metadata: { name: 'r' }, rules: [{ apiGroups: [''], resources: ['pods'], verbs: [] }] },
      ['rules[0].verbs: Required value: verbs must contain at least one value'],
    ],
    [
      'an account whose name is none',
      'rbac.authorization.k8s.io/v1 RoleBinding',
      {
        metadata: { name: 'b' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'r' },
        subjects: [{ kind: 'ServiceAccount', name: 'A', namespace: 'd' }],
      },
      [
        "subjects[0].name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
      ],
    ],
    [
      'a driver with an unknown policy',
      'storage.k8s.io/v1 CSIDriver',
      { metadata: { name: 'd.io' }, spec: { fsGroupPolicy: 'Maybe' } },
      ['spec.fsGroupPolicy: Unsupported value: "Maybe": supported values: "File", "None", "ReadWriteOnceWithFSType"'],
    ],
    [
      'tokens for the same audience',
      'storage.k8s.io/v1 CSIDriver',
      { metadata: { name: 'd.io' }, spec: { tokenRequests: [{ audience: 'a' }, { audience: 'a' }] } },
      ['spec.tokenRequests[1].audience: Duplicate value: "a"'],
    ],
    [
      'a volume that holds more than bytes',
      'v1 PersistentVolume',
      {
        metadata: { name: 'v' },
        spec: { capacity: { storage: '1Gi', cpu: '1' }, accessModes: ['ReadWriteOnce'], hostPath: { path: '/a' } },
      },
      ['spec.capacity: Unsupported value: {"storage":"1Gi","cpu":"1"}: supported values: "storage"'],
    ],
    [
      'a claim filled from nothing',
      'v1 PersistentVolumeClaim',
      {
        metadata: { name: 'c' },
        spec: {
          accessModes: ['ReadWriteOnce'],
          resources: { requests: { storage: '1Gi' } },
          dataSource: { apiGroup: 'a.io', kind: 'Snapshot' },
        },
      },
      ['spec.dataSource.name: Required value'],
    ],
  ])('%s', (_scenario, kind, object, expected) => {
    expect(refused(() => create(kind, object))).toEqual(expected);
  });
});
