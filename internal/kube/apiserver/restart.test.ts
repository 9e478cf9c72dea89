import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { expect, test } from 'vitest';
import { startTestServer } from './testing.ts';

test('after a restart everything is there, versions go on rising, addresses stay taken, default roles are as they were', async () => {
  const dir = await mkdtemp(`${tmpdir()}/apiserver-restart-`);
  const first = await startTestServer({ dir });
  await first.call('POST', '/api/v1/namespaces', { metadata: { name: 'r' } });
  const service = { metadata: { name: 's' }, spec: { clusterIP: '10.43.5.5', ports: [{ port: 1 }] } };
  const made = await first.call('POST', '/api/v1/namespaces/r/services', service);
  expect(made.status).toBe(201);
  const roles = (await first.call('GET', '/apis/rbac.authorization.k8s.io/v1/clusterroles')).body.items.length;
  await new Promise((resolve) => setTimeout(resolve, 100));
  await first.close();

  const second = await startTestServer({ dir });
  const before = second.store.revision;
  const again = await second.call('GET', '/api/v1/namespaces/r/services/s');
  expect(again.body).toEqual(made.body);
  expect((await second.call('GET', '/apis/rbac.authorization.k8s.io/v1/clusterroles')).body.items).toHaveLength(roles);
  const taken = await second.call('POST', '/api/v1/namespaces/r/services', { ...service, metadata: { name: 't' } });
  expect(taken.status).toBe(422);
  const next = await second.call('POST', '/api/v1/namespaces/r/configmaps', { metadata: { name: 'later' } });
  expect(Number(next.body.metadata.resourceVersion)).toBeGreaterThan(Number(made.body.metadata.resourceVersion));
  // A second start writes nothing of the bootstrap again.
  expect(before - Number(made.body.metadata.resourceVersion)).toBeLessThanOrEqual(5);
  await second.close();
  await rm(dir, { recursive: true, force: true });
});
