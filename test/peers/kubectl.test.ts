/**
 * Unmodified kubectl against our API server, nothing else running: objects only. The kubectl on PATH, and every other that KUBECTLS names (colon
 * separated), so that an old one is tried beside a current one.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { builtinOpenApi } from '../../internal/kube/api/builtin.ts';
import { makeTestPki, startTestServer, type TestServer } from '../../internal/kube/apiserver/testing.ts';
import { kubeconfig } from '../../internal/pki/kubeconfig.ts';

interface Result {
  code: number;
  out: string;
}

function run(
  program: string,
  args: string[],
  options: { input?: string; env?: Record<string, string> } = {},
): Promise<Result> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { env: { ...process.env, ...options.env } });
    let out = '';
    const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
    child.stdout.on('data', (piece) => {
      out += String(piece);
    });
    child.stderr.on('data', (piece) => {
      out += String(piece);
    });
    child.on('error', (error) => resolve({ code: -1, out: error.message }));
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? -1, out });
    });
    child.stdin.end(options.input ?? '');
  });
}

const candidates = ['kubectl', ...(process.env.KUBECTLS ?? '').split(':').filter(Boolean)];
const programs: string[] = [];
for (const program of candidates) if ((await run(program, ['version', '--client'])).code === 0) programs.push(program);

const dir = mkdtempSync(`${tmpdir()}/kubectl-test-`);
let server: TestServer;
const env = { KUBECONFIG: `${dir}/kubeconfig`, HOME: dir };

beforeAll(async () => {
  const pki = await makeTestPki();
  server = await startTestServer({ port: 0, pki, openapi: builtinOpenApi });
  const admin = await pki.client('admin', 'system:masters');
  writeFileSync(
    env.KUBECONFIG,
    kubeconfig({
      cluster: 'test',
      server: `https://127.0.0.1:${server.listener!.port}`,
      ca: pki.serverCa.cert,
      user: 'admin',
      ...admin,
    }),
  );
});
afterAll(async () => {
  await server.close();
  rmSync(dir, { recursive: true, force: true });
});

const manifest = (namespace: string): string => `
apiVersion: v1
kind: Namespace
metadata: {name: ${namespace}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: ${namespace}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: script, namespace: ${namespace}}
data: {run.sh: "echo hi"}
---
apiVersion: v1
kind: Secret
metadata: {name: password, namespace: ${namespace}}
data: {p: aHVudGVyMg==}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: ${namespace}}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: counter, namespace: ${namespace}}
spec:
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: localhost/busybox, volumeMounts: [{name: data, mountPath: /data}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], storageClassName: rook-ceph-block, resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: ${namespace}, labels: {app: one}}
spec: {containers: [{name: c, image: localhost/busybox}]}
`;

describe.skipIf(programs.length === 0).each(programs)('%s', (program) => {
  const namespace = `k${programs.indexOf(program)}`;
  const kubectl = (...args: string[]): Promise<Result> => run(program, ['-n', namespace, ...args], { env });
  const ok = async (...args: string[]): Promise<string> => {
    const result = await kubectl(...args);
    if (result.code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${result.out}`);
    return result.out;
  };
  const apply = (text: string, ...args: string[]): Promise<Result> =>
    run(program, ['apply', ...args, '-f', '-'], { env, input: text });

  test('apply twice: created, then unchanged', async () => {
    const first = await apply(manifest(namespace));
    expect(first.out.match(/created/g)).toHaveLength(7);
    const second = await apply(manifest(namespace));
    // kubectl always sends the claim templates again, and says so; the object stays what it was.
    expect(second.out.replace('statefulset.apps/counter configured', 'unchanged').match(/unchanged/g)).toHaveLength(7);
    expect(await ok('get', 'sts', 'counter', '-o', 'jsonpath={.metadata.generation}')).toBe('1');
    const wrong = await apply(manifest(namespace).replace('image: localhost/busybox}', 'imagge: x, image: other}'));
    expect(wrong.code).not.toBe(0);
    expect(wrong.out).toMatch(/unknown field/);
  });

  test('get, describe, explain, api-resources', async () => {
    expect(await ok('get', 'pods', '-o', 'wide')).toMatch(/NAME +READY +STATUS[\s\S]*one +0\/1 +Pending/);
    expect(await ok('get', 'sts,svc,cm,secret')).toContain('statefulset.apps/counter');
    expect(await ok('get', 'pod', 'one', '-o', 'jsonpath={.spec.serviceAccountName}')).toBe('default');
    expect(await ok('describe', 'pod', 'one')).toContain('node.kubernetes.io/not-ready:NoExecute');
    expect(await ok('describe', 'sts', 'counter')).toContain('rook-ceph-block');
    expect(await ok('explain', 'pod.spec.containers.env')).toContain('name');
    expect(await ok('api-resources')).toMatch(/statefulsets +sts +apps\/v1/);
  });

  test('label, annotate, patch in three forms, scale, edit, replace', async () => {
    await ok('label', 'pod', 'one', 'color=red');
    await ok('annotate', 'pod', 'one', 'note=x');
    expect(await ok('get', 'pod', '-l', 'color=red', '-o', 'name')).toBe('pod/one\n');
    await ok('create', 'deployment', 'd', '--image=x');
    await ok('patch', 'deploy', 'd', '-p', '{"spec":{"replicas":2}}');
    await ok('patch', 'deploy', 'd', '--type=json', '-p', '[{"op":"replace","path":"/spec/replicas","value":3}]');
    await ok('patch', 'deploy', 'd', '--type=merge', '-p', '{"spec":{"replicas":4}}');
    await ok('scale', 'deploy', 'd', '--replicas=5');
    expect(await ok('get', 'deploy', 'd', '-o', 'jsonpath={.spec.replicas}')).toBe('5');
    const edited = await run(program, ['-n', namespace, 'edit', 'cm', 'script'], {
      env: { ...env, EDITOR: 'sed -i s/hi/ho/' },
    });
    expect(edited.out).toContain('edited');
    expect(await ok('get', 'cm', 'script', '-o', 'jsonpath={.data}')).toContain('echo ho');
  });

  test('server-side apply: one field, two managers, a conflict', async () => {
    const cm = (value: string): string =>
      `apiVersion: v1
kind: ConfigMap
metadata: {name: ssa, namespace: ${namespace}}
data: {x: "${value}"}
`;
    expect((await apply(cm('1'), '--server-side')).out).toContain('serverside-applied');
    const other = await apply(cm('2'), '--server-side', '--field-manager=other');
    expect(other.out).toContain('conflict');
    expect((await apply(cm('2'), '--server-side', '--field-manager=other', '--force-conflicts')).code).toBe(0);
  });

  test('roles and auth can-i', async () => {
    await ok('create', 'role', 'reader', '--verb=get,list', '--resource=pods');
    await ok('create', 'rolebinding', 'reader', '--role=reader', `--serviceaccount=${namespace}:default`);
    const as = `--as=system:serviceaccount:${namespace}:default`;
    expect((await kubectl('auth', 'can-i', 'list', 'pods', as)).out).toContain('yes');
    expect((await kubectl('auth', 'can-i', 'delete', 'pods', as)).out).toContain('no');
    expect((await kubectl('get', 'secrets', as)).out).toContain('Forbidden');
  });

  test('get -w shows changes, wait and rollout status end when the object says so', async () => {
    const watching = run(program, ['-n', namespace, 'get', 'pod', 'one', '-w', '--request-timeout=3s'], { env });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await ok('label', 'pod', 'one', 'seen=yes');
    expect((await watching).out.match(/one +0\/1/g)?.length).toBeGreaterThanOrEqual(2);
    const waiting = kubectl('wait', '--for=delete', 'pod/one', '--timeout=20s');
    await new Promise((resolve) => setTimeout(resolve, 500));
    await ok('delete', 'pod', 'one');
    expect((await waiting).code).toBe(0);
    const live = (await server.call('GET', `/apis/apps/v1/namespaces/${namespace}/deployments/d`)).body;
    const status = {
      observedGeneration: live.metadata.generation,
      replicas: 5,
      updatedReplicas: 5,
      readyReplicas: 5,
      availableReplicas: 5,
    };
    await server.call('PUT', `/apis/apps/v1/namespaces/${namespace}/deployments/d/status`, { ...live, status });
    expect(await ok('rollout', 'status', 'deploy/d', '--timeout=10s')).toContain('successfully rolled out');
  });

  test('delete, and delete of a namespace until its finalizer', async () => {
    expect(await ok('delete', 'deploy,sts,svc,cm,secret', '--all')).toContain('deleted');
    await ok('delete', 'ns', namespace, '--wait=false');
    expect(await ok('get', 'ns', namespace)).toContain('Terminating');
  });
});
