/** The subresource `resize` of pods, against a whole server: who may change what, and what admission says. The rules are in `../api/validation`. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JsonObject } from '../machinery/json.ts';
import { startTestServer, type TestServer } from './testing.ts';

let server: TestServer;
const pods = '/api/v1/namespaces/default/pods';
const strategic = { headers: { 'content-type': 'application/strategic-merge-patch+json' } };
const sized = (cpu: string, memory: string): JsonObject => ({ requests: { cpu, memory } });
const patchOf = (cpu: string, memory = '64Mi'): JsonObject => ({
  spec: { containers: [{ name: 'c', resources: sized(cpu, memory) }] },
});

beforeAll(async () => {
  server = await startTestServer();
  await account('default');
  await server.call('POST', '/api/v1/nodes', {
    metadata: { name: 'n1', labels: { 'kubernetes.io/os': 'linux' } },
    status: { allocatable: { cpu: '2', memory: '1Gi', pods: '110' } },
  });
});
afterAll(() => server.close());

const account = (namespace: string): ReturnType<TestServer['call']> =>
  server.call('POST', `/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name: 'default' } });

async function make(name: string, spec: JsonObject = {}): Promise<JsonObject> {
  const container = { name: 'c', image: 'i', resources: sized('100m', '64Mi') };
  const made = await server.call('POST', pods, { metadata: { name }, spec: { containers: [container], ...spec } });
  expect(made.status).toBe(201);
  return made.body;
}

test('discovery shows it, and it is the pod that one reads there', async () => {
  const { body } = await server.call('GET', '/api/v1');
  expect(body.resources).toContainEqual({
    name: 'pods/resize',
    singularName: '',
    namespaced: true,
    kind: 'Pod',
    verbs: ['get', 'patch', 'update'],
  });
  const pod = await make('read');
  expect((await server.call('GET', `${pods}/read/resize`)).body).toEqual(pod);
  expect((await server.call('POST', `${pods}/read/resize`, pod)).status).toBe(405);
});

test('each way of writing changes the resources and counts the generation; who did it is noted as a subresource', async () => {
  const pod = await make('ways', { nodeName: 'n1' });
  const patched = await server.call('PATCH', `${pods}/ways/resize`, patchOf('200m'), strategic);
  expect(patched.status).toBe(200);
  expect(patched.body.spec.containers[0].resources.requests).toEqual({ cpu: '200m', memory: '64Mi' });
  expect(patched.body.metadata.generation).toBe(2);
  expect(patched.body.metadata.managedFields).toContainEqual(expect.objectContaining({ subresource: 'resize' }));
  patched.body.spec.containers[0].resources.requests.cpu = '300m';
  patched.body.spec.containers[0].image = 'left-alone';
  const put = await server.call('PUT', `${pods}/ways/resize`, patched.body);
  expect(put.body.spec.containers[0]).toMatchObject({ image: 'i', resources: sized('300m', '64Mi') });
  const merge = [{ op: 'replace', path: '/spec/containers/0/resources/requests/cpu', value: '400m' }];
  const jsonPatched = await server.call('PATCH', `${pods}/ways/resize`, merge, {
    headers: { 'content-type': 'application/json-patch+json' },
  });
  expect(jsonPatched.body.spec.containers[0].resources.requests.cpu).toBe('400m');
  const applied = await server.call(
    'PATCH',
    `${pods}/ways/resize?fieldManager=me&force=true`,
    { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'ways' }, ...patchOf('500m') },
    { headers: { 'content-type': 'application/apply-patch+yaml' } },
  );
  expect(applied.status).toBe(200);
  expect(applied.body.metadata.generation).toBe(5);
  expect(applied.body.metadata.uid).toBe((pod.metadata as JsonObject).uid);
  const through = await server.call('PATCH', `${pods}/ways`, patchOf('600m'), strategic);
  expect(through).toMatchObject({
    status: 422,
    body: { message: expect.stringContaining('pod updates may not change') },
  });
});

test('more than the node could ever give is refused, with the cause that autoscalers look for; without a node nobody asks', async () => {
  await make('placed', { nodeName: 'n1' });
  const refused = await server.call('PATCH', `${pods}/placed/resize`, patchOf('3', '2Gi'), strategic);
  expect(refused).toMatchObject({
    status: 403,
    body: {
      message:
        'pods "placed" is forbidden: Node didn\'t have enough allocatable resources: cpu, requested: 3000, allocatable: 2000; memory, requested: 2147483648, allocatable: 1073741824',
      details: { causes: [{ reason: 'NodeCapacity' }] },
    },
  });
  await make('unplaced');
  expect((await server.call('PATCH', `${pods}/unplaced/resize`, patchOf('3'), strategic)).status).toBe(200);
  await make('lost', { nodeName: 'nowhere' });
  expect((await server.call('PATCH', `${pods}/lost/resize`, patchOf('1'), strategic)).body.message).toBe(
    'pods "lost" is forbidden: node "nowhere" not found',
  );
});

test('LimitRange and ResourceQuota bound a resize as they bound a new pod; what the node still keeps counts', async () => {
  const space = '/api/v1/namespaces/sized';
  await server.call('POST', '/api/v1/namespaces', { metadata: { name: 'sized' } });
  await account('sized');
  await server.call('POST', `${space}/limitranges`, {
    metadata: { name: 'l' },
    spec: { limits: [{ type: 'Container', max: { cpu: '1' } }] },
  });
  await server.call('POST', `${space}/resourcequotas`, {
    metadata: { name: 'q' },
    spec: { hard: { 'requests.cpu': '900m' } },
  });
  const resources = { requests: { cpu: '100m' }, limits: { cpu: '500m' } };
  for (const name of ['one', 'two'])
    await server.call('POST', `${space}/pods`, {
      metadata: { name },
      spec: { containers: [{ name: 'c', image: 'i', resources }] },
    });
  const to = (name: string, requests: string, limits: string): ReturnType<TestServer['call']> =>
    server.call(
      'PATCH',
      `${space}/pods/${name}/resize`,
      { spec: { containers: [{ name: 'c', resources: { requests: { cpu: requests }, limits: { cpu: limits } } }] } },
      strategic,
    );
  expect((await to('one', '200m', '2')).body.message).toBe(
    'pods "one" is forbidden: maximum cpu usage per Container is 1, but limit is 2',
  );
  expect((await to('one', '850m', '1')).body.message).toBe(
    'pods "one" is forbidden: exceeded quota: q, requested: requests.cpu=750m, used: requests.cpu=200m, limited: requests.cpu=900m',
  );
  expect((await to('one', '800m', '1')).status).toBe(200);
  const status = { phase: 'Running', containerStatuses: [{ name: 'c', allocatedResources: { cpu: '800m' } }] };
  await server.call('PATCH', `${space}/pods/one/status`, { status }, strategic);
  expect((await to('one', '100m', '1')).status).toBe(200);
  expect((await to('two', '200m', '1')).body.message).toContain('exceeded quota: q');
});
