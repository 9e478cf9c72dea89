import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { must, TestNode, TestSwitch, until } from './harness.ts';

/** Machines that are told a token and no address: they find the cluster on the network by multicast DNS, over a switch between their network namespaces. */

const minute = 60_000;
const network = new TestSwitch();
const directory = mkdtempSync(join(tmpdir(), 'node-'));
const server = new TestNode({
  network,
  config: `storage: {osd: [{directory: ${directory}/a, size: 1Gi}, {directory: ${directory}/b, size: 1Gi}]}`,
});
const nodes = [server];

async function plugged(options: ConstructorParameters<typeof TestNode>[0]): Promise<TestNode> {
  const node = new TestNode({ network, ...options });
  nodes.unshift(node);
  await node.makeNetwork();
  return node;
}

async function newToken(...options: string[]): Promise<string> {
  const output = await server.appliance('token', 'create', ...options);
  expect(output.code, output.stderr).toBe(0);
  return output.stdout.trim();
}

beforeAll(async () => {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await must(['sh', 'test/setup/kubectl.sh', '.cache/bin'], { timeoutMs: 3 * minute });
  await network.make();
  await server.makeNetwork();
  await server.up(200_000);
}, 8 * minute);
afterAll(async () => {
  for (const node of nodes) await node.remove();
  await network.remove();
  rmSync(directory, { recursive: true, force: true });
}, 4 * minute);

describe('a cluster that is found', () => {
  let second: TestNode;

  test('`up` with a token in the file joins the cluster that the token is of', { timeout: 4 * minute }, async () => {
    second = await plugged({
      name: 'node-2',
      ip: '10.98.0.2',
      config: `roles: [agent]\ntoken: ${await newToken('--one-time')}`,
    });
    await second.up(200_000);
    expect(await server.mustKubectl(['get', 'nodes', '-o', 'wide', '--no-headers'])).toMatch(
      /^node-2 +Ready +<none> .* 10\.98\.0\.2 /m,
    );
    expect(await server.mustKubectl(['get', 'nodes', '--no-headers'])).toMatch(/^node-1 +Ready +control-plane,etcd /m);
    // No role is told the token.
    for (const role of ['agent', 'edge'])
      expect(readFileSync(join(second.runDir, 'roles', role, 'config.json'), 'utf8')).not.toContain('K10');
  });

  const pod = (name: string, node: string, script: string) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 1,
      restartPolicy: 'Never',
      containers: [
        {
          name: 'main',
          image: 'busybox:1.35',
          command: ['sh', '-c', script],
          volumeMounts: [{ name: 'data', mountPath: '/data' }],
        },
      ],
      volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'moving' } }],
    },
  });

  test('a block volume is written there, and moves to the first machine with its pod', {
    timeout: 5 * minute,
  }, async () => {
    await until(
      'the default service account',
      minute,
      async () => (await server.kubectl(['get', 'sa', 'default'])).code === 0,
    );
    const claim = {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'moving' },
      spec: {
        accessModes: ['ReadWriteOnce'],
        storageClassName: 'rook-ceph-block',
        resources: { requests: { storage: '256Mi' } },
      },
    };
    await server.mustKubectl(['apply', '-f', '-'], { input: JSON.stringify(claim) });
    const ends = async (name: string, node: string, script: string): Promise<string> => {
      await server.mustKubectl(['apply', '-f', '-'], { input: JSON.stringify(pod(name, node, script)) });
      await server.mustKubectl(['wait', '--for=jsonpath={.status.phase}=Succeeded', `pod/${name}`, '--timeout=120s'], {
        timeoutMs: 2.5 * minute,
      });
      const said = await server.mustKubectl(['logs', name]);
      await server.mustKubectl(['delete', 'pod', name, '--timeout=60s'], { timeoutMs: 1.5 * minute });
      return said;
    };
    const written = await ends(
      'writer',
      'node-2',
      'head -c 8000000 /dev/urandom >/data/file && sync /data/file && sha256sum /data/file',
    );
    expect(written).toMatch(/^[0-9a-f]{64} {2}\/data\/file$/m);
    expect(await ends('reader', 'node-1', 'sha256sum /data/file')).toBe(written);
    await server.mustKubectl(['delete', 'pvc', 'moving', '--timeout=60s'], { timeoutMs: 1.5 * minute });
  });

  test('it starts again with the used token still in its file', { timeout: 4 * minute }, async () => {
    expect((await second.appliance('down')).code).toBe(0);
    await second.waitForExit();
    await second.up(200_000);
  });

  test('`join` without --server finds it, too; a token of no cluster here says which are there', {
    timeout: 3 * minute,
  }, async () => {
    const third = await plugged({ name: 'node-3', ip: '10.98.0.3' });
    const foreign = await third.appliance('join', `K10${'0'.repeat(64)}::node:abcdef.${'0'.repeat(32)}`, '--no-start');
    expect(foreign.code).not.toBe(0);
    expect(foreign.stderr).toContain('servers of other clusters do: node-1 (10.98.0.1)');
    expect(existsSync(join(third.data, 'identity/cluster.json'))).toBe(false);
    const output = await third.appliance('join', await newToken(), '--no-start', '-o', 'json');
    expect(output.stderr).toContain('now node node-3 of the cluster at 10.98.0.1:6443');
    expect(JSON.parse(output.stdout)).toEqual({ node: 'node-3', server: '10.98.0.1:6443', roles: ['agent'] });
    expect(output.code).toBe(0);
  });

  test('a server that does not announce itself is not found, and the way out is told', {
    timeout: 3 * minute,
  }, async () => {
    await server.appliance('down');
    await server.waitForExit();
    const fourth = await plugged({ name: 'node-4', ip: '10.98.0.4' });
    const output = await fourth.appliance('join', `K10${'0'.repeat(64)}::node:abcdef.${'0'.repeat(32)}`, '--no-start');
    expect(output.code).not.toBe(0);
    expect(output.stderr).toContain('--server https://host:6443');
  });
});
