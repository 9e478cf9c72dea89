import { appendFileSync, chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeCertificates } from '../peers/etcd-peer.ts';
import { must, type Output, run, TestNode, until } from './harness.ts';

/** A node whose control plane moves from its own store to a real etcd with TLS, as docs/store.md says: nothing is lost, and the node lives with that etcd. */

const minute = 60_000;
const directory = mkdtempSync(join(tmpdir(), 'datastore-'));
const node = new TestNode({ config: 'roles: [server, agent]' });
const port = 2399;
const file = (name: string): string => join(directory, name);
let etcd: Bun.Subprocess | undefined;

async function startEtcd(): Promise<void> {
  const [client, peer] = [`https://127.0.0.1:${port}`, `http://127.0.0.1:${port + 1}`];
  etcd = Bun.spawn(
    node.inside(
      ...['etcd', '--data-dir', file('etcd'), '--name', 'default', '--logger', 'zap', '--log-level', 'error'],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
      ...['--cert-file', file('server.crt'), '--key-file', file('server.key')],
      ...['--client-cert-auth', '--trusted-ca-file', file('ca.crt')],
    ),
    { stdout: 'ignore', stderr: 'ignore' },
  );
  await until('etcd answers', minute, async () => (await etcdctl('get', 'x')).code === 0);
}

async function stopEtcd(): Promise<void> {
  etcd?.kill('SIGKILL');
  await etcd?.exited;
}

function etcdctl(...argv: string[]): Promise<Output> {
  return run(node.inside('etcdctl', ...argv), {
    env: {
      ETCDCTL_API: '3',
      ETCDCTL_ENDPOINTS: `https://127.0.0.1:${port}`,
      ETCDCTL_CACERT: file('ca.crt'),
      ETCDCTL_CERT: file('client.crt'),
      ETCDCTL_KEY: file('client.key'),
    },
  });
}

beforeAll(async () => {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await must(['sh', 'test/setup/kubectl.sh', '.cache/bin'], { timeoutMs: 3 * minute });
  await node.makeNetwork();
  await makeCertificates(directory);
  chmodSync(directory, 0o755);
}, 5 * minute);
afterAll(async () => {
  await node.remove();
  await stopEtcd();
  rmSync(directory, { recursive: true, force: true });
}, 2 * minute);

test('a node moves to a real etcd with a snapshot of its store; without the right to read the key it says so', {
  timeout: 8 * minute,
}, async () => {
  await node.up(200_000);
  await node.mustKubectl(['create', 'configmap', 'before', '--from-literal=a=1']);
  expect((await node.appliance('store', 'snapshot', 'save', file('all.db'))).code).toBe(0);
  expect((await node.appliance('down')).code).toBe(0);
  await node.waitForExit();
  const peer = `http://127.0.0.1:${port + 1}`;
  await must(
    [
      ...['etcdctl', 'snapshot', 'restore', file('all.db'), '--data-dir', file('etcd'), '--name', 'default'],
      ...['--initial-cluster', `default=${peer}`, '--initial-advertise-peer-urls', peer],
    ],
    { env: { ETCDCTL_API: '3' } },
  );
  await startEtcd();
  appendFileSync(
    node.configFile,
    `datastore: etcd://127.0.0.1:${port}\ndatastoreTls: {caFile: ${file('ca.crt')}, certFile: ${file('client.crt')}, keyFile: ${file('client.key')}}\n`,
  );
  for (const name of ['ca.crt', 'client.crt']) chmodSync(file(name), 0o644);
  await expect(node.up(60_000)).rejects.toThrow(`${file('client.key')}, which opens the etcd, cannot be read`);
  await node.appliance('down');
  await node.waitForExit();
  await must(['chgrp', 'appliance-server', file('client.key')]);
  chmodSync(file('client.key'), 0o640);

  await node.up(200_000);
  expect(await node.mustKubectl(['get', 'configmap', 'before', '-o', 'name'])).toContain('configmap/before');
  await node.mustKubectl(['create', 'configmap', 'after', '--from-literal=a=1']);
  const found = await etcdctl('get', '/registry/core/configmaps/default/', '--prefix', '--keys-only');
  expect(found.stdout).toContain('/registry/core/configmaps/default/after');
  expect(found.stdout).toContain('/registry/core/configmaps/default/before');
});

test('it runs pods, its store commands ask the etcd, and what belongs to the own store is refused in words', {
  timeout: 5 * minute,
}, async () => {
  await until('the default service account', minute, async () => {
    return (await node.kubectl(['get', 'sa', 'default'])).code === 0;
  });
  await node.mustKubectl([
    'run',
    'one',
    '--image=busybox:1.35',
    '--image-pull-policy=IfNotPresent',
    '--',
    'sleep',
    '36000',
  ]);
  await node.mustKubectl(['wait', '--for=condition=Ready', 'pod/one', '--timeout=100s'], { timeoutMs: 2 * minute });
  expect((await node.appliance('status')).code).toBe(0);
  const status = await node.appliance('store', 'status', '-o', 'json');
  expect(status.code, status.stderr).toBe(0);
  expect(JSON.parse(status.stdout)).toMatchObject({ members: 1, alarms: [] });
  expect((await node.appliance('store', 'snapshot', 'save', file('again.db'))).code).toBe(0);
  expect(existsSync(file('again.db'))).toBe(true);
  const reset = await node.appliance('store', 'cluster-reset');
  expect([reset.code, reset.stderr]).toEqual([1, expect.stringContaining('use etcdctl where it runs')]);
});

test('the etcd is away for a while: the node says what does not answer, and goes on when it is back', {
  timeout: 5 * minute,
}, async () => {
  await stopEtcd();
  const refused = await node.kubectl(['create', 'configmap', 'never', '--request-timeout=9s'], { timeoutMs: 30_000 });
  expect(refused.code).not.toBe(0);
  const asked = await node.appliance('store', 'status');
  expect([asked.code, asked.stderr]).toEqual([1, expect.stringContaining(`etcd://127.0.0.1:${port} does not answer`)]);
  await startEtcd();
  await until('writes go on', minute, async () => {
    return (await node.kubectl(['create', 'configmap', 'back', '--from-literal=a=1'])).code === 0;
  });
  expect(await node.mustKubectl(['exec', 'one', '--', 'echo', 'still here'])).toContain('still here');
  expect((await node.appliance('down')).code).toBe(0);
  await node.waitForExit();
});
