/** Unmodified kubectl against an API server and nothing else. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cluster, eventually, unique } from './harness.ts';
import { Kubectl } from './kubectl.ts';

let cluster: Cluster;
let kubectl: Kubectl;
beforeAll(async () => {
  cluster = await Cluster.start();
  kubectl = new Kubectl(cluster);
});
afterAll(async () => {
  kubectl.close();
  await cluster.close();
});

const image = 'registry.k8s.io/e2e-test-images/httpd:2.4.38-4';

test('conformance: kubectl-api-versions: v1 is one of them', async () => {
  expect((await kubectl.must(['api-versions'])).split('\n')).toContain('v1');
});

test('conformance: kubectl-cluster-info: the control plane is at the address of the server', async () => {
  const told = stripVTControlCharacters(await kubectl.must(['cluster-info']));
  expect(told).toContain(`Kubernetes control plane is running at ${cluster.url}`);
});

test('conformance: kubectl-version: data of client and server', async () => {
  const told = JSON.parse(await kubectl.must(['version', '-o', 'json']));
  for (const side of ['clientVersion', 'serverVersion'])
    expect(told[side]).toMatchObject({
      major: expect.any(String),
      minor: expect.any(String),
      gitVersion: expect.stringMatching(/^v1\./),
      platform: expect.any(String),
    });
});

test('conformance: kubectl-run-pod: run makes exactly that pod', async () => {
  const namespace = await cluster.namespace();
  await kubectl.must(['-n', namespace, 'run', 'e2e-test-httpd-pod', '--restart=Never', `--image=${image}`]);
  const { items } = await cluster.resource('v1', 'pods', namespace).list();
  expect(items).toHaveLength(1);
  expect(items[0]).toMatchObject({
    metadata: { name: 'e2e-test-httpd-pod' },
    spec: { restartPolicy: 'Never', containers: [{ name: 'e2e-test-httpd-pod', image }] },
  });
});

test('conformance: kubectl-proxy-port0: proxy chooses a port and serves /api/ on it', async () => {
  const proxy = kubectl.start('proxy', '-p', '0', '--disable-filter');
  let told = '';
  proxy.stdout!.on('data', (piece) => (told += String(piece)));
  const port = await eventually('a port', async () => /Starting to serve on 127\.0\.0\.1:(\d+)/.exec(told)?.[1]);
  const answer = (await (await fetch(`http://127.0.0.1:${port}/api/`)).json()) as { versions: string[] };
  expect(answer.versions).toEqual(['v1']);
  proxy.kill();
});

test('conformance: kubectl-proxy-unix: proxy serves /api/ on a socket', async () => {
  const socket = join(kubectl.directory, 'proxy.sock');
  const proxy = kubectl.start('proxy', `--unix-socket=${socket}`);
  await eventually('a socket', async () => existsSync(socket));
  const answer = await fetch('http://localhost/api/', { unix: socket } as RequestInit);
  expect(((await answer.json()) as { versions: string[] }).versions).toEqual(['v1']);
  proxy.kill();
});

const deployment = (of: string): string => `apiVersion: apps/v1
kind: Deployment
metadata: {name: httpd-deployment, labels: {app: httpd}}
spec:
  replicas: 1
  selector: {matchLabels: {app: httpd}}
  template:
    metadata: {labels: {app: httpd}}
    spec: {containers: [{name: httpd, image: "${of}", ports: [{containerPort: 80}]}]}
`;

test('conformance: kubectl-diff: a changed image is told, old and new, with exit code 1', async () => {
  const namespace = await cluster.namespace();
  await kubectl.must(['-n', namespace, 'create', '-f', '-'], deployment(image));
  const other = 'registry.k8s.io/e2e-test-images/busybox:1.29';
  const { code, stdout } = await kubectl.run(['-n', namespace, 'diff', '-f', '-'], deployment(other));
  expect(code).toBe(1);
  expect(stdout).toContain(`-      - image: ${image}`);
  expect(stdout).toContain(`+      - image: ${other}`);
});

test('conformance: kubectl-dry-run: a server-side dry run of a patch succeeds and changes nothing', async () => {
  const namespace = await cluster.namespace();
  const name = unique('e2e-test-httpd-pod');
  await kubectl.must(['-n', namespace, 'run', name, `--image=${image}`, `--labels=run=${name}`]);
  const before = await cluster.resource('v1', 'pods', namespace).get(name);
  const patch = { spec: { containers: [{ name, image: 'registry.k8s.io/e2e-test-images/busybox:1.29' }] } };
  const told = await kubectl.must([
    '-n',
    namespace,
    'patch',
    'pod',
    name,
    '-p',
    JSON.stringify(patch),
    '--dry-run=server',
  ]);
  expect(told).toContain(`pod/${name} patched`);
  expect(await cluster.resource('v1', 'pods', namespace).get(name)).toEqual(before);
});
