import { afterAll, beforeAll, expect, test } from 'vitest';
import type { UserInfo } from '../../auth/identity.ts';
import { parseRequest } from '../request-info.ts';
import { startTestServer, type TestServer } from '../testing.ts';
import { CollectionSizes, worthOf } from './width.ts';

const sizes = new CollectionSizes();
sizes.note('', 'pods', '', 350);
sizes.note('', 'pods', 'small', 7);
sizes.note('apps', 'deployments', '', 5000);
const worth = (method: string, url: string): number => {
  const { pathname, searchParams } = new URL(url, 'http://x');
  return worthOf(parseRequest(method, pathname, searchParams)!, searchParams, sizes);
};

test.each([
  ['GET', '/api/v1/pods', 4],
  ['GET', '/api/v1/pods?limit=150', 2],
  ['GET', '/api/v1/pods?limit=500', 4],
  ['GET', '/api/v1/pods?limit=10&labelSelector=a%3Db', 4],
  ['GET', '/api/v1/pods?limit=10&fieldSelector=spec.nodeName%3Dn', 4],
  ['GET', '/api/v1/namespaces/small/pods', 1],
  ['GET', '/api/v1/namespaces/unread/pods', 1],
  ['GET', '/apis/apps/v1/deployments', 10],
  ['GET', '/apis/apps/v1/deployments?fieldSelector=metadata.name%3Dd', 1],
  ['GET', '/apis/apps/v1/namespaces/a/deployments/d', 1],
  ['GET', '/apis/apps/v1/deployments?watch=1&resourceVersion=5', 1],
  ['GET', '/apis/apps/v1/deployments?watch=1', 10],
  ['GET', '/apis/apps/v1/deployments?watch=1&resourceVersion=0&limit=1', 10],
  ['GET', '/apis/apps/v1/deployments?watch=1&sendInitialEvents=true&resourceVersion=5', 10],
  ['GET', '/apis/apps/v1/deployments?watch=1&sendInitialEvents=false', 1],
  ['POST', '/apis/apps/v1/namespaces/a/deployments', 1],
  ['GET', '/healthz', 1],
])('%s %s is worth %i', (method, url, seats) => {
  expect(worth(method, url)).toBe(seats);
});

test('no more collections are remembered than there is room for', () => {
  const many = new CollectionSizes();
  for (let i = 0; i < 2001; i++) many.note('', 'pods', `n${i}`, 500);
  expect([many.of('', 'pods', 'n0'), many.of('', 'pods', 'n1'), many.of('', 'pods', 'n2000')]).toEqual([0, 500, 500]);
});

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

test('a list takes seats by what the collection held when it was last read', async () => {
  const alice: UserInfo = { name: 'alice', groups: ['system:authenticated'] };
  const rbac = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings';
  await server.call('POST', rbac, {
    metadata: { name: 'alice' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
    subjects: [{ kind: 'User', name: 'alice', apiGroup: 'rbac.authorization.k8s.io' }],
  });
  const path = '/api/v1/namespaces/default/configmaps';
  await Promise.all(Array.from({ length: 230 }, (_, i) => server.call('POST', path, { metadata: { name: `c${i}` } })));
  const seats = async (): Promise<number> => {
    const { body } = await server.call('GET', '/metrics');
    return Number(/^apiserver_flowcontrol_work_estimated_seats_sum (\d+)$/m.exec(String(body))![1]);
  };
  // Callers in this process hold no seats: it is asked as over a network.
  const list = async (): Promise<number> => {
    const before = await seats();
    expect((await server.api.fetch(new Request(`http://x${path}`), { certificate: alice })).status).toBe(200);
    return (await seats()) - before;
  };
  expect([await list(), await list()]).toEqual([1, 3]);
});
