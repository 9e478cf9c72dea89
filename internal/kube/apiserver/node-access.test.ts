/** What a kubelet's identity reads and writes of kinds of which it has its own objects (KEP-4601), against a whole server. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { UserInfo } from '../auth/identity.ts';
import type { JsonObject } from '../machinery/json.ts';
import { startTestServer, type TestServer } from './testing.ts';

let server: TestServer;
const node: UserInfo = { name: 'system:node:n1', groups: ['system:nodes', 'system:authenticated'] };
const space = '/api/v1/namespaces/default';
const slices = '/apis/resource.k8s.io/v1/resourceslices';
const slice = (name: string, nodeName: string): JsonObject => ({
  apiVersion: 'resource.k8s.io/v1',
  kind: 'ResourceSlice',
  metadata: { name },
  spec: { driver: 'd.example.com', nodeName, pool: { name: 'p', generation: 1, resourceSliceCount: 1 } },
});
const status = async (method: string, path: string, body?: JsonObject): Promise<number> =>
  (await server.call(method, path, body, { as: node })).status;
const selecting = (path: string, selector: string): string => `${path}?fieldSelector=${encodeURIComponent(selector)}`;

beforeAll(async () => {
  server = await startTestServer();
  await server.call('POST', `${space}/serviceaccounts`, { metadata: { name: 'default' } });
  for (const name of ['n1', 'n2']) {
    expect((await server.call('POST', '/api/v1/nodes', { metadata: { name } })).status).toBe(201);
    const pod = { metadata: { name: `on-${name}` }, spec: { nodeName: name, containers: [{ name: 'c', image: 'i' }] } };
    expect((await server.call('POST', `${space}/pods`, pod)).status).toBe(201);
    expect((await server.call('POST', slices, slice(`of-${name}`, name))).status).toBe(201);
  }
});
afterAll(() => server.close());

describe("a kubelet's identity", () => {
  test.each([
    ['/api/v1/pods', 403],
    [selecting('/api/v1/pods', 'spec.nodeName=n1'), 200],
    [selecting('/api/v1/pods', 'status.phase=Pending,spec.nodeName==n1'), 200],
    [selecting('/api/v1/pods', 'spec.nodeName=n2'), 403],
    [selecting('/api/v1/pods', 'spec.nodeName!=n1'), 403],
    [selecting('/api/v1/pods', 'status.phase!=x\\,spec.nodeName=n1'), 403],
    [`${space}/pods`, 403],
    [`${space}/pods/on-n1`, 200],
    [`${space}/pods/on-n2`, 403],
    [selecting(`${space}/pods`, 'metadata.name=on-n1'), 200],
    [selecting(`${space}/pods`, 'metadata.name=on-n2'), 403],
    [`${space}/pods/on-n1/log`, 403],
    ['/api/v1/nodes', 403],
    ['/api/v1/nodes/n1', 200],
    ['/api/v1/nodes/n2', 403],
    [selecting('/api/v1/nodes', 'metadata.name=n1'), 200],
    [selecting('/api/v1/nodes', 'metadata.name=n2'), 403],
    [slices, 403],
    [selecting(slices, 'spec.nodeName=n1'), 200],
    [selecting(slices, 'spec.nodeName=n2'), 403],
    [`${slices}/of-n1`, 200],
    [`${slices}/of-n2`, 403],
    ['/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n2', 403],
    ['/apis/storage.k8s.io/v1/csinodes/n2', 403],
    ['/apis/storage.k8s.io/v1/csinodes', 403],
  ])('reads %s: %i', async (path, expected) => {
    expect(await status('GET', path)).toBe(expected);
  });

  test('makes and removes the ResourceSlices of its own node', async () => {
    expect(await status('POST', slices, slice('made', 'n1'))).toBe(201);
    expect(await status('POST', slices, slice('foreign', 'n2'))).toBe(403);
    expect(await status('DELETE', slices)).toBe(403);
    expect(await status('DELETE', `${slices}/of-n2`)).toBe(403);
    expect(await status('DELETE', `${slices}/made`)).toBe(200);
    expect(await status('DELETE', selecting(slices, 'spec.nodeName=n2'))).toBe(403);
    expect(await status('DELETE', selecting(slices, 'spec.nodeName=n1'))).toBe(200);
    expect((await server.call('GET', slices)).body.items.map((one: JsonObject) => one.metadata)).toMatchObject([
      { name: 'of-n2' },
    ]);
  });

  test('is told the same by an access review', async () => {
    const allowed = async (fieldSelector?: JsonObject): Promise<unknown> => {
      const resourceAttributes = {
        verb: 'list',
        version: 'v1',
        resource: 'pods',
        ...(fieldSelector && { fieldSelector }),
      };
      const answer = await server.call('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
        spec: { user: node.name, groups: [...node.groups], resourceAttributes },
      });
      expect(answer.status).toBe(201);
      return answer.body.status.allowed;
    };
    const requirements = (operator: string, ...values: string[]): JsonObject => ({
      requirements: [{ key: 'spec.nodeName', operator, values }],
    });
    expect(await allowed()).toBe(false);
    expect(await allowed({ rawSelector: 'spec.nodeName=n1' })).toBe(true);
    expect(await allowed({ rawSelector: 'spec.nodeName=n2' })).toBe(false);
    expect(await allowed({ rawSelector: 'spec.nodeName' })).toBe(false);
    expect(await allowed(requirements('In', 'n1'))).toBe(true);
    expect(await allowed(requirements('In', 'n1', 'n2'))).toBe(false);
    expect(await allowed(requirements('NotIn', 'n1'))).toBe(false);
  });
});
