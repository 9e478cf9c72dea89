import { describe, expect, test } from 'vitest';
import type { ConfigMap, Secret, Service } from '../../api/types.ts';
import type { CriImage } from '../cri/types.ts';
import { defaultPullPolicy, pullDecision } from '../images/pull-policy.ts';
import type { Container, Pod } from '../pod-types.ts';
import { admit } from './admission.ts';
import { checkNonRoot, containerConfig } from './container-config.ts';
import { buildEnv, serviceEnv } from './env.ts';
import { expand } from './expansion.ts';
import { type PodPlace, podField, resourceField } from './fields.ts';
import { hostPorts } from './host-ports.ts';
import { containerResources, cpuWeight, podCgroupLimits, podCgroupPath, qosClass } from './resources.ts';
import { hostsFile, parseResolvConf, podDns, podHostname } from './sandbox-config.ts';

function pod(spec: Partial<Pod['spec']> = {}, metadata: Partial<Pod['metadata']> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'ns', uid: 'u1', ...metadata },
    spec: { containers: [{ name: 'c', image: 'busybox' }], ...spec },
  };
}
const place: PodPlace = {
  hostIP: '192.168.1.2',
  podIPs: ['10.42.0.5'],
  allocatable: { cpu: 2, memory: 4 * 2 ** 30, ephemeralStorage: 2 ** 33 },
};

describe('variables', () => {
  test.each([
    ['$(FOO);;$(BAR)', 'foo;;bar'],
    ['$$(FOO)', '$(FOO)'],
    ['$(NOPE)', '$(NOPE)'],
    ['a$b', 'a$b'],
    ['$(FOO', '$(FOO'],
    ['tail$', 'tail$'],
  ])('%s', (text, expected) => {
    expect(expand(text, (name) => ({ FOO: 'foo', BAR: 'bar' })[name])).toBe(expected);
  });

  test('later variables use earlier ones, and services', () => {
    const service: Service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'my-db', namespace: 'ns' },
      spec: { clusterIP: '10.43.0.9', ports: [{ name: 'sql', port: 5432 }] },
    };
    const container: Container = {
      name: 'c',
      env: [
        { name: 'A', value: '1' },
        { name: 'B', value: '$(A)-$(MY_DB_SERVICE_HOST)' },
        { name: 'NODE', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } },
      ],
    };
    const env = buildEnv(pod(), container, place, { configMaps: new Map(), secrets: new Map() }, [service]);
    expect(env.get('B')).toBe('1-10.43.0.9');
    expect(env.get('NODE')).toBe('192.168.1.2');
    expect(env.get('MY_DB_PORT_5432_TCP_ADDR')).toBe('10.43.0.9');
    expect(env.get('MY_DB_SERVICE_PORT_SQL')).toBe('5432');
    expect(env.get('MY_DB_PORT')).toBe('tcp://10.43.0.9:5432');
  });

  test('without service links only the API server is named', () => {
    const make = (name: string, namespace: string): Service => ({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace },
      spec: { clusterIP: '10.43.0.1', ports: [{ port: 443 }] },
    });
    const env = serviceEnv([make('kubernetes', 'default'), make('web', 'ns')], 'ns', false);
    expect(env.KUBERNETES_SERVICE_HOST).toBe('10.43.0.1');
    expect(env.WEB_SERVICE_HOST).toBeUndefined();
  });

  test('envFrom, prefixes, secrets decoded; what is missing is refused by name', () => {
    const configMaps = new Map<string, ConfigMap>([
      ['m', { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'm' }, data: { k: 'v' } }],
    ]);
    const secrets = new Map<string, Secret>([
      [
        's',
        {
          apiVersion: 'v1',
          kind: 'Secret',
          metadata: { name: 's' },
          data: { p: Buffer.from('pw').toString('base64') },
        },
      ],
    ]);
    const container: Container = {
      name: 'c',
      envFrom: [
        { prefix: 'x-#', configMapRef: { name: 'm' } },
        { secretRef: { name: 's' } },
        { configMapRef: { name: 'no', optional: true } },
      ],
    };
    const env = buildEnv(pod(), container, place, { configMaps, secrets }, []);
    expect(env.get('x-#k')).toBe('v');
    expect(env.get('p')).toBe('pw');
    const broken: Container = {
      name: 'c',
      env: [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'm', key: 'z' } } }],
    };
    expect(() => buildEnv(pod(), broken, place, { configMaps, secrets }, [])).toThrow(
      "couldn't find key z in ConfigMap ns/m",
    );
  });
});

describe('downward API', () => {
  test('labels are quoted lines in order', () => {
    const p = pod({}, { labels: { b: 'x', a: 'say "hi"' } });
    expect(podField(p, place, 'metadata.labels')).toBe('a="say \\"hi\\""\nb="x"');
    expect(podField(p, place, "metadata.labels['b']")).toBe('x');
  });

  test.each([
    ['limits.cpu', undefined, '2'],
    ['requests.cpu', undefined, '1'],
    ['requests.cpu', '1m', '250'],
    ['limits.memory', undefined, '67108864'],
    ['limits.memory', '1Mi', '64'],
  ])('%s by %s is %s', (resource, divisor, expected) => {
    const container: Container = {
      name: 'c',
      resources: { limits: { cpu: '1250m', memory: '64Mi' }, requests: { cpu: '250m', memory: '32Mi' } },
    };
    const ref = divisor === undefined ? { resource } : { resource, divisor };
    expect(resourceField(pod(), container, place, ref)).toBe(expected);
  });

  test.each<[what: string, own: string | undefined, whole: string | undefined, expected: string]>([
    ['its own', '750m', '1500m', '750'],
    ["the whole pod's", undefined, '1500m', '1500'],
    ['what the node has', undefined, undefined, '2000'],
    ["the whole pod's, as zero is none", '0', '1500m', '1500'],
    ['what the node has, as zero is none', '0', '0', '2000'],
  ])('a limit is %s', (_what, own, whole, expected) => {
    const limits = (cpu: string | undefined): { limits?: { cpu: string } } =>
      cpu === undefined ? {} : { limits: { cpu } };
    const container: Container = { name: 'c', resources: limits(own) };
    const ref = { resource: 'limits.cpu', divisor: '1m' };
    expect(resourceField(pod({ resources: limits(whole) }), container, place, ref)).toBe(expected);
  });

  test("a request that is not set is the limit, not the whole pod's", () => {
    const ref = { resource: 'requests.cpu', divisor: '1m' };
    const whole = pod({ resources: { requests: { cpu: '1' }, limits: { cpu: '1' } } });
    expect(resourceField(whole, { name: 'c', resources: { limits: { cpu: '250m' } } }, place, ref)).toBe('250');
    expect(resourceField(whole, { name: 'c' }, place, ref)).toBe('0');
    const none: Container = { name: 'c', resources: { requests: { cpu: '0' }, limits: { cpu: '250m' } } };
    expect(resourceField(whole, none, place, ref)).toBe('0');
  });
});

describe('resources', () => {
  const with_ = (resources: Container['resources']): Pod =>
    pod({ containers: [{ name: 'c', ...(resources ? { resources } : {}) }] });

  test('quality of service', () => {
    expect(qosClass(with_(undefined))).toBe('BestEffort');
    expect(qosClass(with_({ limits: { cpu: '1', memory: '1Gi' } }))).toBe('Guaranteed');
    expect(qosClass(with_({ limits: { cpu: '1' } }))).toBe('Burstable');
    expect(qosClass(with_({ requests: { cpu: '100m', memory: '1Gi' }, limits: { cpu: '1', memory: '1Gi' } }))).toBe(
      'Burstable',
    );
  });

  test('what the runtime is asked for', () => {
    const p = with_({ limits: { cpu: '100m', memory: '64Mi' } });
    expect(containerResources(p, p.spec.containers[0]!, 2 ** 33)).toEqual({
      cpuPeriod: 100_000,
      cpuQuota: 10_000,
      cpuShares: 102,
      memoryLimitInBytes: 67_108_864,
      oomScoreAdj: -997,
    });
    expect(cpuWeight(1024)).toBe(39);
  });

  test('the pod has a limit only when all its containers have one', () => {
    const p = pod({
      containers: [
        { name: 'a', resources: { limits: { memory: '1Mi', cpu: '1' } } },
        { name: 'b', resources: { limits: { memory: '2Mi' } } },
      ],
    });
    expect(podCgroupLimits(p)).toMatchObject({ memoryLimit: 3 * 2 ** 20, cpuQuota: 0 });
    expect(podCgroupPath('/root', p)).toBe('/root/burstable/podu1');
  });

  test('what the pod is given as a whole is its cgroup’s, and the limit of containers without one', () => {
    const p = pod({
      resources: { requests: { cpu: '500m', memory: '3Gi' }, limits: { cpu: '1', memory: '4Gi' } },
      containers: [
        { name: 'a', image: 'i', resources: { requests: { memory: '1Gi' }, limits: { cpu: '200m', memory: '2Gi' } } },
        { name: 'b', image: 'i' },
      ],
    });
    expect(qosClass(p)).toBe('Burstable');
    expect(podCgroupLimits(p)).toEqual({ cpuShares: 512, cpuQuota: 100_000, memoryLimit: 4 * 2 ** 30 });
    const [a, b] = p.spec.containers.map((container) => containerResources(p, container, 8 * 2 ** 30));
    // 2 of the 3 GiB are shared by two.
    expect(a).toMatchObject({ cpuQuota: 20_000, memoryLimitInBytes: 2 * 2 ** 30, oomScoreAdj: 750 });
    expect(b).toMatchObject({ cpuQuota: 100_000, memoryLimitInBytes: 4 * 2 ** 30, oomScoreAdj: 875 });
    const same = { cpu: '1', memory: '4Gi' };
    expect(qosClass({ ...p, spec: { ...p.spec, resources: { requests: same, limits: same } } })).toBe('Guaranteed');
  });
});

describe('sandbox', () => {
  const dns = {
    dnsIP: '10.43.0.10',
    domain: 'cluster.local',
    host: parseResolvConf('search lan # home\nnameserver 9.9.9.9\noptions edns0'),
  };

  test('resolv.conf by policy', () => {
    expect(podDns(pod(), dns)).toEqual({
      servers: ['10.43.0.10'],
      searches: ['ns.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'lan'],
      options: ['ndots:5'],
    });
    expect(podDns(pod({ hostNetwork: true }), dns).servers).toEqual(['9.9.9.9']);
    expect(
      podDns(
        pod({
          dnsPolicy: 'None',
          dnsConfig: {
            nameservers: ['1.1.1.1'],
            searches: ['resolv.conf.local'],
            options: [{ name: 'ndots', value: '2' }],
          },
        }),
        dns,
      ),
    ).toEqual({ servers: ['1.1.1.1'], searches: ['resolv.conf.local'], options: ['ndots:2'] });
  });

  test('/etc/hosts with subdomain and aliases', () => {
    const p = pod({
      hostname: 'h',
      subdomain: 'sub',
      hostAliases: [{ ip: '123.45.67.89', hostnames: ['foo', 'bar'] }],
    });
    const text = hostsFile(p, ['10.42.0.5'], 'cluster.local');
    expect(text.startsWith('# Kubernetes-managed hosts file.\n')).toBe(true);
    expect(text).toContain('10.42.0.5\th.sub.ns.svc.cluster.local\th\n');
    expect(text).toContain('123.45.67.89\tfoo\tbar\n');
    expect(podHostname(pod({}, { name: 'a'.repeat(70) }), 'd')).toHaveLength(63);
  });
});

describe('container', () => {
  const image: CriImage = {
    id: 'sha256:1',
    repoTags: [],
    repoDigests: [],
    size: 1,
    uid: { value: 0 },
    username: '',
    pinned: false,
  };
  const settings = {
    attempt: 2,
    imageRef: image.id,
    image,
    env: new Map([['X', 'y']]),
    mounts: [],
    devices: [],
    logPath: 'c/2.log',
    memoryCapacity: 2 ** 33,
    seccompRoot: '/s',
    messageFile: '/m',
    targetId: '',
  };

  test("the container's own settings win over the pod's", () => {
    const p = pod({ securityContext: { runAsUser: 1001, runAsGroup: 2002, fsGroup: 3003 } });
    const config = containerConfig(
      p,
      { name: 'c', command: ['echo', '$(X)'], securityContext: { runAsUser: 7 } },
      settings,
    );
    expect(config.command).toEqual(['echo', 'y']);
    expect(config.linux.securityContext).toMatchObject({
      runAsUser: { value: 7 },
      runAsGroup: { value: 2002 },
      supplementalGroups: [3003],
      namespaceOptions: { network: 'POD', pid: 'CONTAINER' },
    });
    expect(config.metadata.attempt).toBe(2);
  });

  test('runAsNonRoot refuses an image of root', () => {
    const container: Container = { name: 'c', securityContext: { runAsNonRoot: true } };
    expect(() => checkNonRoot(pod(), container, image)).toThrow('image will run as root');
    expect(() => checkNonRoot(pod(), container, { ...image, uid: { value: 5 } })).not.toThrow();
    expect(() => checkNonRoot(pod(), container, { ...image, uid: null, username: 'web' })).toThrow('non-numeric user');
  });

  test('pull policies', () => {
    expect(defaultPullPolicy('busybox')).toBe('Always');
    expect(defaultPullPolicy('reg.local:5000/busybox:1.36')).toBe('IfNotPresent');
    expect(defaultPullPolicy('reg.local:5000/busybox')).toBe('Always');
    expect(pullDecision('Never', false)).toBe('refuse');
    expect(pullDecision('IfNotPresent', true)).toBe('use');
    expect(pullDecision('Always', true)).toBe('pull');
  });
});

describe('admission by the node', () => {
  const withPort = (hostPort: number, hostIP?: string): Pod =>
    pod({ containers: [{ name: 'c', ports: [{ containerPort: 80, hostPort, ...(hostIP ? { hostIP } : {}) }] }] });
  const allocatable = { cpu: '1', memory: '1Gi', pods: '110' };

  test('a host port is given once, a certain address and all addresses clash', () => {
    expect(admit(withPort(80), [], allocatable)).toBeUndefined();
    expect(admit(withPort(80), [withPort(80, '127.0.0.1')], allocatable)?.reason).toBe('NodePorts');
    expect(admit(withPort(80, '10.0.0.1'), [withPort(80, '127.0.0.1')], allocatable)).toBeUndefined();
  });

  test('requests must fit beside those of the others', () => {
    const big = pod({ containers: [{ name: 'c', resources: { requests: { cpu: '600m' } } }] });
    expect(admit(big, [], allocatable)).toBeUndefined();
    expect(admit(big, [big], allocatable)).toMatchObject({
      reason: 'OutOfcpu',
      message: expect.stringContaining('requested: 600, used: 600, capacity: 1000'),
    });
  });

  test('host ports lead to pods that run', () => {
    const p = withPort(80);
    p.status = { podIP: '10.42.0.5' };
    expect(hostPorts([p])).toEqual([
      { protocol: 'tcp', hostIP: '', hostPort: 80, podIP: '10.42.0.5', containerPort: 80 },
    ]);
    p.status = { podIP: '10.42.0.5', phase: 'Failed' };
    expect(hostPorts([p])).toEqual([]);
  });
});
