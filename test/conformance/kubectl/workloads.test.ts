/** Unmodified kubectl with workloads: every controller and the scheduler run, the kubelets of two nodes are fake. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, eventually } from '../api/harness.ts';
import { Kubectl } from '../api/kubectl.ts';
import { FakeKubelets } from './fake-kubelets.ts';

let cluster: Cluster;
let kubectl: Kubectl;
let kubelets: FakeKubelets;
let namespace: string;
beforeAll(async () => {
  cluster = await Cluster.start({ workloads: true });
  kubectl = new Kubectl(cluster);
  kubelets = await FakeKubelets.start(cluster, ['n1', 'n2']);
  namespace = await cluster.namespace();
});
afterAll(async () => {
  await kubelets.stop();
  kubectl.close();
  await cluster.close();
});

const own = (...args: string[]): string[] => ['-n', namespace, ...args];
const must = (...args: string[]): Promise<string> => kubectl.must(own(...args));
const jsonpath = (what: string, path: string): Promise<string> => must('get', what, '-o', `jsonpath={${path}}`);
const ended = (name: string): Promise<string> => must('rollout', 'status', name, '--timeout=30s');

describe('kubectl and workloads', () => {
  test('rollout: set image, history, undo, pause, resume, restart', async () => {
    await must('create', 'deployment', 'web', '--image=one', '--replicas=2');
    expect(await ended('deploy/web')).toContain('successfully rolled out');
    await must('set', 'image', 'deploy/web', 'one=two');
    await must('annotate', 'deploy/web', 'kubernetes.io/change-cause=to two');
    await ended('deploy/web');
    expect(await jsonpath('deploy/web', '.spec.template.spec.containers[0].image')).toBe('two');
    expect(await must('rollout', 'history', 'deploy/web')).toMatch(/\n1 +<none>\n2 +to two\n/);
    expect(await must('rollout', 'history', 'deploy/web', '--revision=1')).toMatch(/Image:\s+one/);
    expect(await must('rollout', 'undo', 'deploy/web')).toContain('rolled back');
    await ended('deploy/web');
    expect(await jsonpath('deploy/web', '.spec.template.spec.containers[0].image')).toBe('one');
    await must('rollout', 'pause', 'deploy/web');
    await must('set', 'env', 'deploy/web', 'A=b');
    expect(await must('get', 'deploy/web', '-o', 'wide')).toMatch(
      /NAME +READY +UP-TO-DATE +AVAILABLE +AGE +CONTAINERS/,
    );
    await must('rollout', 'resume', 'deploy/web');
    await ended('deploy/web');
    await must('rollout', 'restart', 'deploy/web');
    await ended('deploy/web');
    const template = await jsonpath('deploy/web', '.spec.template.metadata.annotations');
    expect(template).toContain('kubectl.kubernetes.io/restartedAt');
    const revisions = await jsonpath('deploy/web', '.metadata.annotations.deployment\\.kubernetes\\.io/revision');
    expect(revisions).toBe('5');
    // Pods are told as nodes tell them.
    expect(await must('get', 'pods', '-l', 'app=web', '-o', 'wide')).toMatch(
      /web-\S+ +\d\/1 +Running +0 +\d+s +10\.42/,
    );
  });

  test('scale, autoscale, expose, describe', async () => {
    await must('scale', 'deploy/web', '--replicas=3');
    await ended('deploy/web');
    await must('autoscale', 'deploy', 'web', '--min=1', '--max=4', '--cpu-percent=80');
    expect(await must('get', 'hpa', 'web')).toMatch(/web +Deployment\/web +\S*.*80% +1 +4 /);
    await must('delete', 'hpa', 'web');
    await must('expose', 'deploy', 'web', '--port=80');
    const slice = await eventually('endpoints', async () => {
      const told = await must('get', 'endpointslices', '-l', 'kubernetes.io/service-name=web', '-o', 'json');
      return JSON.parse(told).items[0]?.endpoints?.length === 3 && JSON.parse(told).items[0];
    });
    expect(slice.ports[0].port).toBe(80);
    expect(await must('describe', 'deploy', 'web')).toMatch(
      /Replicas:\s+3 desired \| 3 updated \| 3 total \| 3 available/,
    );
    expect(await must('describe', 'service', 'web')).toMatch(/Endpoints:\s+10\.42\.0\.\d+:80/);
  });

  test('drain: a budget holds it back, then the node empties and pods go elsewhere; cordon, uncordon, taint', async () => {
    await must('create', 'pdb', 'web', '--selector=app=web', '--min-available=3');
    await eventually('the budget is counted', async () => {
      return (await jsonpath('pdb/web', '.status.expectedPods')) === '3';
    });
    // All of them on one node, so that there is something to drain.
    const nodesOf = async (): Promise<string[]> =>
      (await jsonpath('pods', '.items[*].spec.nodeName')).split(' ').toSorted();
    const [busy, other] = (await nodesOf()).includes('n1') ? ['n1', 'n2'] : ['n2', 'n1'];
    const held = await kubectl.run(['drain', busy!, '--timeout=7s', '--pod-selector=app=web']);
    expect(held.code).not.toBe(0);
    expect(held.stderr).toContain(`Cannot evict pod as it would violate the pod's disruption budget`);
    expect(await kubectl.must(['get', 'node', busy!])).toContain('Ready,SchedulingDisabled');
    await must('delete', 'pdb', 'web');
    const drained = await kubectl.must(['drain', busy!, '--timeout=60s']);
    expect(drained).toContain(`node/${busy} drained`);
    await ended('deploy/web');
    expect(new Set(await nodesOf())).toEqual(new Set([other]));
    await kubectl.must(['uncordon', busy!]);
    await kubectl.must(['taint', 'node', busy!, 'a=b:NoSchedule']);
    expect(await kubectl.must(['describe', 'node', busy!])).toMatch(/Taints:\s+a=b:NoSchedule/);
    await kubectl.must(['taint', 'node', busy!, 'a-']);
    await kubectl.must(['cordon', busy!]);
    await kubectl.must(['uncordon', busy!]);
  });

  test('delete: orphans stay, dependents go in the background or first', async () => {
    const sets = async (): Promise<number> =>
      (await jsonpath('rs', '.items[*].metadata.name')).split(' ').filter(Boolean).length;
    const pods = async (): Promise<number> =>
      (await jsonpath('pods', '.items[*].metadata.name')).split(' ').filter(Boolean).length;
    await must('delete', 'deploy', 'web', '--cascade=orphan');
    expect(await sets()).toBeGreaterThan(0);
    await eventually('the sets have no owner', async () => {
      return (await jsonpath('rs', '.items[*].metadata.ownerReferences')) === '';
    });
    expect(await pods()).toBe(3);
    await must('delete', 'rs', '--all', '--cascade=background');
    await eventually('no pod is left', async () => (await pods()) === 0);
    await must('create', 'deployment', 'first', '--image=one');
    await ended('deploy/first');
    await must('delete', 'deploy', 'first', '--cascade=foreground', '--timeout=30s');
    expect([await sets(), await pods()]).toEqual([0, 0]);
  });

  test('auth: can-i with and without --list, whoami, create token', async () => {
    expect(await must('auth', 'can-i', '--list')).toMatch(/\*\.\* +\[\] +\[\] +\[\*\]/);
    const as = `--as=system:serviceaccount:${namespace}:reader`;
    await must('create', 'serviceaccount', 'reader');
    await must('create', 'role', 'reader', '--verb=get,list', '--resource=pods,deployments.apps');
    await must('create', 'rolebinding', 'reader', '--role=reader', `--serviceaccount=${namespace}:reader`);
    await eventually(
      'the binding counts',
      async () => (await kubectl.run(own('auth', 'can-i', 'list', 'pods', as))).code === 0,
    );
    const listed = await must('auth', 'can-i', '--list', as);
    expect(listed).toMatch(/deployments\.apps +\[\] +\[\] +\[get list\]/);
    expect(listed).toMatch(/selfsubjectaccessreviews\.authorization\.k8s\.io +\[\] +\[\] +\[create\]/);
    expect((await kubectl.run(own('auth', 'can-i', 'delete', 'pods', as))).stdout).toBe('no\n');
    expect(await must('auth', 'whoami', as)).toMatch(new RegExp(`Username +system:serviceaccount:${namespace}:reader`));
    const token = (await must('create', 'token', 'reader', '--duration=1h')).trim();
    // The token and nothing else: the kubeconfig of the tests has the administrator's certificate.
    const bearer = [
      '--kubeconfig=/dev/null',
      `--server=${cluster.url}`,
      `--certificate-authority=${kubectl.authority}`,
    ];
    const asked = await kubectl.run([...bearer, `--token=${token}`, '-n', namespace, 'get', 'pods']);
    expect(asked.stderr).toContain('No resources found');
    const refused = await kubectl.run([...bearer, `--token=${token}`, '-n', namespace, 'get', 'secrets']);
    expect(refused.stderr).toContain(
      `secrets is forbidden: User "system:serviceaccount:${namespace}:reader" cannot list resource "secrets" in API group "" in the namespace "${namespace}"`,
    );
  });

  test('wait for a pod to be ready and to go; replace --force; a grace period', async () => {
    await must('run', 'one', '--image=x');
    expect(await must('wait', 'pod/one', '--for=condition=Ready', '--timeout=20s')).toContain('condition met');
    const pod = await must('get', 'pod', 'one', '-o', 'json');
    const { uid } = JSON.parse(pod).metadata;
    await kubectl.must(own('replace', '--force', '-f', '-'), pod);
    expect(await jsonpath('pod/one', '.metadata.uid')).not.toBe(uid);
    await must('delete', 'pod', 'one', '--grace-period=0', '--force');
    await must('wait', 'pod/one', '--for=delete', '--timeout=20s');
    await must('delete', 'ns', namespace, '--timeout=60s');
    expect(await kubectl.refused(['get', 'ns', namespace])).toContain(`namespaces "${namespace}" not found`);
  });
});

describe("Debian 12's kubectl and workloads", () => {
  let old: Kubectl;
  let namespace: string;
  beforeAll(async () => {
    old = new Kubectl(cluster, '1.20');
    namespace = await cluster.namespace();
  });
  afterAll(() => old.close());
  const must = (...args: string[]): Promise<string> => old.must(['-n', namespace, ...args]);
  const jsonpath = (what: string, path: string): Promise<string> => must('get', what, '-o', `jsonpath={${path}}`);
  const ended = (name: string): Promise<string> => must('rollout', 'status', name, '--timeout=30s');

  test('rollout: set image, history, undo, pause, resume, restart', async () => {
    await must('create', 'deployment', 'web', '--image=one', '--replicas=2');
    expect(await ended('deploy/web')).toContain('successfully rolled out');
    await must('set', 'image', 'deploy/web', 'one=two');
    await ended('deploy/web');
    expect(await must('rollout', 'history', 'deploy/web')).toMatch(/\n1 +<none>\n2 +<none>\n/);
    await must('rollout', 'undo', 'deploy/web');
    await ended('deploy/web');
    expect(await jsonpath('deploy/web', '.spec.template.spec.containers[0].image')).toBe('one');
    await must('rollout', 'pause', 'deploy/web');
    await must('rollout', 'resume', 'deploy/web');
    await must('rollout', 'restart', 'deploy/web');
    await ended('deploy/web');
    expect(await jsonpath('pods', '.items[*].status.phase')).toMatch(/^Running Running/);
  });

  test('drain empties a node; delete in the background, and what is orphaned stays', async () => {
    const nodes = async (): Promise<string[]> => (await jsonpath('pods', '.items[*].spec.nodeName')).split(' ');
    const [busy, other] = (await nodes()).includes('n1') ? ['n1', 'n2'] : ['n2', 'n1'];
    expect(await old.must(['drain', busy!, '--timeout=60s'])).toContain(`node/${busy} evicted`);
    await ended('deploy/web');
    expect(new Set(await nodes())).toEqual(new Set([other]));
    await old.must(['uncordon', busy!]);
    await must('delete', 'deploy', 'web', '--cascade=orphan');
    await eventually('the sets have no owner', async () => {
      return (await jsonpath('rs', '.items[*].metadata.ownerReferences')) === '';
    });
    await must('delete', 'rs', '--all', '--cascade=background');
    await eventually('no pod is left', async () => (await jsonpath('pods', '.items[*].metadata.name')) === '');
  });
});
