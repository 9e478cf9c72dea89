import { afterAll, beforeAll, expect, test } from 'vitest';
import { silentLogger } from '../base/log.ts';
import { systemClock } from '../base/system.ts';
import { adminClient, startTestServer, type TestServer } from '../kube/apiserver/testing.ts';
import type { KubeClient } from '../kube/client/api.ts';
import { nodesRef } from '../kube/client/resources.ts';
import { keepRoleLabels, roleLabels } from './role-labels-client.ts';

let server: TestServer;
let client: KubeClient;
const stopping = new AbortController();

beforeAll(async () => {
  server = await startTestServer();
  client = adminClient(server);
}, 30_000);
afterAll(async () => {
  await server.close();
});

const prefix = 'node-role.kubernetes.io/';

test("the labels of a server: its store counts as etcd, somebody else's etcd does not", () => {
  expect(roleLabels({})).toEqual({ [`${prefix}control-plane`]: 'true', [`${prefix}etcd`]: 'true' });
  expect(roleLabels({ datastore: 'etcd://10.0.0.5:2379' })).toEqual({ [`${prefix}control-plane`]: 'true' });
});

test('a server labels its own Node once the kubelet has made it, and again when a label was removed; others stay', async () => {
  const kept = keepRoleLabels({
    client,
    node: 'pi-1',
    labels: roleLabels({}),
    clock: systemClock,
    log: silentLogger,
    stopping: stopping.signal,
  });
  const labels = async (name: string) => (await client.get(nodesRef, name)).metadata.labels ?? {};
  const labelled = async () => {
    while (Object.keys(await labels('pi-1')).filter((label) => label.startsWith(prefix)).length < 2)
      await Bun.sleep(20);
    return labels('pi-1');
  };
  for (const name of ['pi-1', 'pi-2'])
    await client.create(nodesRef, {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name, labels: { [`${prefix}etcd`]: 'mine' } },
    });
  expect(await labelled()).toEqual({ [`${prefix}control-plane`]: 'true', [`${prefix}etcd`]: 'mine' });
  await client.patch(nodesRef, 'pi-1', undefined, 'merge', {
    metadata: { labels: { [`${prefix}control-plane`]: null } },
  });
  expect(await labelled()).toMatchObject({ [`${prefix}control-plane`]: 'true' });
  expect(await labels('pi-2')).toEqual({ [`${prefix}etcd`]: 'mine' });
  stopping.abort();
  await kept;
});
