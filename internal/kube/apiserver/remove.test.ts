import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestServer, type TestServer } from './testing.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

test('remove: a negative grace period is one second, not a deletion by force', async () => {
  const pods = '/api/v1/namespaces/default/pods';
  const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default' } };
  await server.call('POST', '/api/v1/namespaces/default/serviceaccounts', account);
  const spec = { nodeName: 'node', containers: [{ name: 'a', image: 'b' }] };
  for (const [name, path, body] of [
    ['body', `${pods}/body`, { gracePeriodSeconds: -1 }],
    ['query', `${pods}/query?gracePeriodSeconds=-1`, undefined],
  ] as const) {
    expect((await server.call('POST', pods, { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec })).status).toBe(
      201,
    );
    await server.call(
      'PATCH',
      `${pods}/${name}/status`,
      { status: { phase: 'Running' } },
      { headers: { 'content-type': 'application/merge-patch+json' } },
    );
    const deleted = await server.call('DELETE', path, body);
    expect([deleted.status, deleted.body.metadata.deletionGracePeriodSeconds]).toEqual([200, 1]);
    expect((await server.call('GET', `${pods}/${name}`)).status).toBe(200);
  }
});
