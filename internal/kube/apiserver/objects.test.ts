import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isObject, type JsonObject } from '../machinery/json.ts';
import { startTestServer, type TestServer } from './testing.ts';

let server: TestServer;
const ns = '/api/v1/namespaces/t';

beforeAll(async () => {
  server = await startTestServer();
  await server.call('POST', '/api/v1/namespaces', { metadata: { name: 't' } });
  await server.call('POST', `${ns}/serviceaccounts`, { metadata: { name: 'default' } });
});
afterAll(() => server.close());

const configMap = (name: string, data: Record<string, string> = {}, labels?: Record<string, string>): unknown => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, ...(labels ? { labels } : {}) },
  data,
});
const pod = (name: string, spec: object = {}): unknown => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, labels: { app: name } },
  spec: { containers: [{ name: 'c', image: 'i' }], ...spec },
});
const deployment = (name: string, replicas = 1): unknown => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name },
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'c', image: 'i' }] } },
  },
});

describe('objects', () => {
  test('create, get, update, delete: versions rise, the second create is 409, a stale update is 409', async () => {
    const made = await server.call('POST', `${ns}/configmaps`, configMap('a', { k: '1' }));
    expect(made.status).toBe(201);
    const first = made.body;
    expect(first.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
    const again = await server.call('POST', `${ns}/configmaps`, configMap('a'));
    expect(again.status).toBe(409);
    expect(again.body).toMatchObject({ reason: 'AlreadyExists', details: { name: 'a', kind: 'configmaps' } });
    const updated = await server.call('PUT', `${ns}/configmaps/a`, { ...first, data: { k: '2' } });
    expect(updated.status).toBe(200);
    expect(Number(updated.body.metadata.resourceVersion)).toBeGreaterThan(Number(first.metadata.resourceVersion));
    const stale = await server.call('PUT', `${ns}/configmaps/a`, { ...first, data: { k: '3' } });
    expect(stale.status).toBe(409);
    expect(stale.body.reason).toBe('Conflict');
    const got = await server.call('GET', `${ns}/configmaps/a`);
    expect(got.body).toEqual(updated.body);
    const same = await server.call('PUT', `${ns}/configmaps/a`, got.body);
    expect(same.body.metadata.resourceVersion).toBe(got.body.metadata.resourceVersion);
    const gone = await server.call('DELETE', `${ns}/configmaps/a`);
    expect(gone.body).toMatchObject({
      kind: 'Status',
      status: 'Success',
      details: { name: 'a', uid: first.metadata.uid },
    });
    expect((await server.call('GET', `${ns}/configmaps/a`)).status).toBe(404);
  });

  test('generateName gives a name; a wrong namespace, kind or version is refused', async () => {
    const made = await server.call('POST', `${ns}/configmaps`, { metadata: { generateName: 'g-' } });
    expect(made.body.metadata.name).toMatch(/^g-[a-z0-9]{5}$/);
    expect(
      (await server.call('POST', `${ns}/configmaps`, { metadata: { name: 'x', namespace: 'other' } })).status,
    ).toBe(400);
    expect((await server.call('POST', `${ns}/configmaps`, { kind: 'Secret', metadata: { name: 'x' } })).status).toBe(
      400,
    );
    expect(
      (await server.call('POST', `${ns}/configmaps`, { apiVersion: 'apps/v1', metadata: { name: 'x' } })).status,
    ).toBe(400);
    expect((await server.call('POST', '/api/v1/namespaces/none/configmaps', configMap('x'))).body.reason).toBe(
      'NotFound',
    );
    expect((await server.call('POST', `${ns}/configmaps`, configMap('Not_A_Name'))).status).toBe(422);
  });

  test('dry run writes nothing', async () => {
    const made = await server.call('POST', `${ns}/configmaps?dryRun=All`, configMap('dry'));
    expect(made.status).toBe(201);
    expect((await server.call('GET', `${ns}/configmaps/dry`)).status).toBe(404);
    expect((await server.call('POST', `${ns}/configmaps?dryRun=Some`, configMap('dry'))).status).toBe(422);
  });

  test('patches: JSON, merge, strategic, apply with a conflict and force', async () => {
    await server.call('POST', '/apis/apps/v1/namespaces/t/deployments', deployment('p'));
    const path = '/apis/apps/v1/namespaces/t/deployments/p';
    const patch = (type: string, body: unknown, query = ''): ReturnType<TestServer['call']> =>
      server.call('PATCH', path + query, body, { headers: { 'content-type': `application/${type}` } });
    expect(
      (await patch('json-patch+json', [{ op: 'replace', path: '/spec/replicas', value: 2 }])).body.spec.replicas,
    ).toBe(2);
    expect((await patch('merge-patch+json', { spec: { replicas: 3 } })).body.spec.replicas).toBe(3);
    const strategic = await patch('strategic-merge-patch+json', {
      spec: { template: { spec: { containers: [{ name: 'd', image: 'j' }] } } },
    });
    expect(strategic.body.spec.template.spec.containers.map((c: { name: string }) => c.name)).toEqual(['d', 'c']);
    expect(strategic.body.metadata.generation).toBe(4);
    const intent = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'p' }, spec: { replicas: 9 } };
    expect((await patch('apply-patch+yaml', intent)).status).toBe(422);
    const refused = await patch('apply-patch+yaml', intent, '?fieldManager=me');
    expect(refused.status).toBe(409);
    expect(refused.body.details.causes[0].reason).toBe('FieldManagerConflict');
    const forced = await patch('apply-patch+yaml', intent, '?fieldManager=me&force=true');
    expect(forced.body.spec.replicas).toBe(9);
    expect(forced.body.metadata.managedFields.map((entry: { manager: string }) => entry.manager)).toContain('me');
    expect((await patch('strange+json', {})).status).toBe(415);
    expect((await patch('merge-patch+json', { metadata: { resourceVersion: '1' } })).status).toBe(409);
  });

  test('apply creates what is missing', async () => {
    const applied = await server.call(
      'PATCH',
      `${ns}/configmaps/applied?fieldManager=me`,
      'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: applied\ndata:\n  a: b\n',
      { headers: { 'content-type': 'application/apply-patch+yaml' } },
    );
    expect(applied.status).toBe(201);
    expect(applied.body.metadata.managedFields[0]).toMatchObject({ manager: 'me', operation: 'Apply' });
  });

  test('field validation: strict refuses unknown and duplicate fields, warn tells them', async () => {
    const body =
      '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"v"},"spec":{"unknownField":1,"replicas":1,"replicas":2,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}';
    const strict = await server.call('POST', '/apis/apps/v1/namespaces/t/deployments?fieldValidation=Strict', body);
    expect(strict.status).toBe(400);
    expect(strict.body.message).toContain(
      'strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas"',
    );
    const warn = await server.call('POST', '/apis/apps/v1/namespaces/t/deployments', body);
    expect(warn.status).toBe(201);
    expect(warn.headers.get('warning')).toContain('unknown field \\"spec.unknownField\\"');
  });

  test('finalizers hold an object until they are gone; grace holds a scheduled pod', async () => {
    await server.call('POST', `${ns}/configmaps`, {
      ...(configMap('held') as object),
      metadata: { name: 'held', finalizers: ['example.com/hold'] },
    });
    const deleted = await server.call('DELETE', `${ns}/configmaps/held`);
    expect(deleted.body.metadata.deletionTimestamp).toBeDefined();
    const held = await server.call('GET', `${ns}/configmaps/held`);
    expect(held.status).toBe(200);
    const freed = await server.call('PUT', `${ns}/configmaps/held`, {
      ...held.body,
      metadata: { ...held.body.metadata, finalizers: [] },
    });
    expect(freed.status).toBe(200);
    expect((await server.call('GET', `${ns}/configmaps/held`)).status).toBe(404);

    await server.call('POST', `${ns}/pods`, pod('unscheduled'));
    await server.call('DELETE', `${ns}/pods/unscheduled`);
    expect((await server.call('GET', `${ns}/pods/unscheduled`)).status).toBe(404);
    await server.call('POST', `${ns}/pods`, pod('bound'));
    const bind = {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: 'bound' },
      target: { kind: 'Node', name: 'n1' },
    };
    expect((await server.call('POST', `${ns}/pods/bound/binding`, bind)).status).toBe(201);
    expect((await server.call('POST', `${ns}/pods/bound/binding`, bind)).status).toBe(409);
    const dying = await server.call('DELETE', `${ns}/pods/bound`);
    expect(dying.body.metadata.deletionGracePeriodSeconds).toBe(30);
    await server.call('DELETE', `${ns}/pods/bound`, {
      kind: 'DeleteOptions',
      apiVersion: 'v1',
      gracePeriodSeconds: 0,
      preconditions: { uid: 'other' },
    });
    expect((await server.call('GET', `${ns}/pods/bound`)).status).toBe(200);
    await server.call('DELETE', `${ns}/pods/bound?gracePeriodSeconds=0`);
    expect((await server.call('GET', `${ns}/pods/bound`)).status).toBe(404);
  });

  test('propagation policies become finalizers', async () => {
    await server.call('POST', '/apis/apps/v1/namespaces/t/deployments', deployment('f'));
    const answer = await server.call('DELETE', '/apis/apps/v1/namespaces/t/deployments/f', {
      propagationPolicy: 'Foreground',
    });
    expect(answer.body.metadata.finalizers).toEqual(['foregroundDeletion']);
    expect(answer.body.metadata.deletionTimestamp).toBeDefined();
  });

  test('scale and status are views and writers of the parent', async () => {
    await server.call('POST', '/apis/apps/v1/namespaces/t/deployments', deployment('s', 1));
    const path = '/apis/apps/v1/namespaces/t/deployments/s';
    const scale = await server.call('GET', `${path}/scale`);
    expect(scale.body).toMatchObject({
      kind: 'Scale',
      apiVersion: 'autoscaling/v1',
      spec: { replicas: 1 },
      status: { selector: 'app=s' },
    });
    const { resourceVersion: _drop, ...metadata } = scale.body.metadata;
    const put = await server.call('PUT', `${path}/scale`, { ...scale.body, metadata, spec: { replicas: 2 } });
    expect(put.body.spec.replicas).toBe(2);
    const patched = await server.call(
      'PATCH',
      `${path}/scale`,
      { spec: { replicas: 4 } },
      { headers: { 'content-type': 'application/merge-patch+json' } },
    );
    expect(patched.body.spec.replicas).toBe(4);
    const live = (await server.call('GET', path)).body;
    expect(live.spec.replicas).toBe(4);
    const status = await server.call('PUT', `${path}/status`, {
      ...live,
      spec: { ...live.spec, replicas: 99 },
      status: { replicas: 4 },
    });
    expect(status.body.status.replicas).toBe(4);
    expect(status.body.spec.replicas).toBe(4);
    expect(status.body.metadata.generation).toBe(live.metadata.generation);
    const main = await server.call('PUT', path, { ...status.body, status: { replicas: 77 } });
    expect(main.body.status.replicas).toBe(4);
  });

  test('apply on scale: the applier owns the replicas of the parent, and others conflict', async () => {
    const path = '/apis/apps/v1/namespaces/t/deployments/applied';
    await server.call('POST', '/apis/apps/v1/namespaces/t/deployments?fieldManager=maker', deployment('applied', 1));
    const apply = (at: string, who: string, body: object, more = ''): ReturnType<TestServer['call']> =>
      server.call('PATCH', `${at}?fieldManager=${who}${more}`, body, {
        headers: { 'content-type': 'application/apply-patch+yaml' },
      });
    const scale = (replicas: number, metadata: object = {}): object => ({
      apiVersion: 'autoscaling/v1',
      kind: 'Scale',
      metadata: { name: 'applied', ...metadata },
      spec: { replicas },
    });
    type Entry = { manager: string; operation: string; subresource?: string; apiVersion: string; fieldsV1: JsonObject };
    const owners = async (): Promise<unknown[]> => {
      const { body } = await server.call('GET', path);
      return body.metadata.managedFields
        .filter(({ fieldsV1 }: Entry) => isObject(fieldsV1['f:spec']) && 'f:replicas' in fieldsV1['f:spec'])
        .map((one: Entry) => [one.manager, one.operation, one.subresource, one.apiVersion]);
    };
    expect(await owners()).toEqual([['maker', 'Update', undefined, 'apps/v1']]);
    const refused = await apply(`${path}/scale`, 'scaler', scale(3));
    expect([refused.status, refused.body.details.causes[0].field]).toEqual([409, '.spec.replicas']);
    expect(refused.body.message).toContain('conflict with "maker" using apps/v1');
    expect((await server.call('GET', path)).body.spec.replicas).toBe(1);
    const forced = await apply(`${path}/scale`, 'scaler', scale(3), '&force=true');
    expect([forced.status, forced.body.kind, forced.body.spec.replicas]).toEqual([200, 'Scale', 3]);
    expect(forced.body.metadata.managedFields).toBeUndefined();
    expect(await owners()).toEqual([['scaler', 'Apply', 'scale', 'apps/v1']]);
    expect((await server.call('GET', path)).body.spec).toMatchObject({ replicas: 3, selector: expect.anything() });
    // The maker keeps the rest of what it made.
    const { managedFields } = (await server.call('GET', path)).body.metadata;
    expect(managedFields.find((one: Entry) => one.manager === 'maker').fieldsV1['f:spec']).toHaveProperty('f:template');
    const whole = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'applied' }, spec: { replicas: 9 } };
    const other = await apply(path, 'other', whole);
    expect([other.status, other.body.message]).toEqual([
      409,
      expect.stringContaining('conflict with "scaler" with subresource "scale": .spec.replicas'),
    ]);
    expect((await apply(`${path}/scale`, 'scaler', scale(5))).body.spec.replicas).toBe(5);
    // Two may own what they agree about.
    expect((await apply(`${path}/scale`, 'second', scale(5))).status).toBe(200);
    expect(await owners()).toHaveLength(2);
    expect((await apply(`${path}/scale`, 'second', scale(5, { resourceVersion: '1' }))).status).toBe(409);
    expect((await apply(`${path}/scale`, 'second', scale(-1), '&force=true')).status).toBe(422);
    expect((await apply(`${path}/scale`, '', scale(5))).status).toBe(422);
    const wrong = await apply(`${path}/scale`, 'second', { apiVersion: 'apps/v1', kind: 'Deployment' });
    expect(wrong.status).toBe(400);
  });

  test('lists: labels, fields, pages with exact remainder, an expired page gives a token to go on', async () => {
    await server.call('POST', '/api/v1/namespaces', { metadata: { name: 'pages' } });
    const path = '/api/v1/namespaces/pages/configmaps';
    for (let i = 0; i < 25; i++)
      await server.call('POST', path, configMap(`cm-${String(i).padStart(2, '0')}`, {}, { odd: String(i % 2) }));
    const all = await server.call('GET', path);
    expect(all.body.items).toHaveLength(25);
    expect(all.body).toMatchObject({ kind: 'ConfigMapList', apiVersion: 'v1' });
    expect((await server.call('GET', `${path}?labelSelector=odd%3D1`)).body.items).toHaveLength(12);
    expect((await server.call('GET', `${path}?fieldSelector=metadata.name%3Dcm-03`)).body.items).toHaveLength(1);
    expect((await server.call('GET', `${path}?fieldSelector=data.x%3Dy`)).status).toBe(400);
    const names: string[] = [];
    let token = '';
    let seen = 0;
    do {
      const page = await server.call('GET', `${path}?limit=10&continue=${token}`);
      expect(page.body.metadata.resourceVersion).toBe(all.body.metadata.resourceVersion);
      names.push(...page.body.items.map((item: { metadata: { name: string } }) => item.metadata.name));
      seen += page.body.items.length;
      expect(page.body.metadata.remainingItemCount).toBe(seen === 25 ? undefined : 25 - seen);
      token = page.body.metadata.continue ?? '';
    } while (token !== '');
    expect(names).toEqual([...names].sort());
    expect(names).toHaveLength(25);
    const labelled = await server.call('GET', `${path}?limit=5&labelSelector=odd%3D0`);
    expect(labelled.body.items).toHaveLength(5);
    const rest = await server.call('GET', `${path}?labelSelector=odd%3D0&continue=${labelled.body.metadata.continue}`);
    expect(rest.body.items).toHaveLength(8);
    const first = await server.call('GET', `${path}?limit=10`);
    await server.call('POST', path, configMap('cm-zz'));
    await server.store.compact(server.store.revision);
    const expired = await server.call('GET', `${path}?limit=10&continue=${first.body.metadata.continue}`);
    expect(expired.status).toBe(410);
    expect(expired.body.reason).toBe('Expired');
    const onward = await server.call('GET', `${path}?limit=10&continue=${expired.body.metadata.continue}`);
    expect(onward.body.items[0].metadata.name).toBe('cm-10');
    expect(onward.body.metadata.resourceVersion).not.toBe(first.body.metadata.resourceVersion);
    expect((await server.call('GET', `${path}?continue=garbage`)).status).toBe(400);
    const deleted = await server.call('DELETE', `${path}?labelSelector=odd%3D1`);
    expect(deleted.body.items).toHaveLength(12);
    expect((await server.call('GET', path)).body.items).toHaveLength(14);
  });

  test('a revision that the member has not got yet is waited for, and refused when it does not come', async () => {
    const path = `${ns}/configmaps`;
    const { body } = await server.call('POST', path, configMap('awaited'));
    const next = Number(body.metadata.resourceVersion) + 1;
    const reads = [
      `${path}/awaited?resourceVersion=${next}`,
      `${path}?resourceVersion=${next}`,
      `${path}?resourceVersion=${next}&resourceVersionMatch=NotOlderThan`,
      `${path}?resourceVersion=${next}&resourceVersionMatch=Exact`,
    ].map((one) => server.call('GET', one));
    await Bun.sleep(100);
    await server.call('PUT', `${path}/awaited`, configMap('awaited', { now: 'there' }));
    for (const { status } of await Promise.all(reads)) expect(status).toBe(200);
    for (const { status, body } of await Promise.all(
      [`${path}/awaited`, path].map((one) => server.call('GET', `${one}?resourceVersion=${next + 1000}`)),
    ))
      expect([status, body.details.causes[0].reason]).toEqual([504, 'ResourceVersionTooLarge']);
  });

  test('an exact revision that is compacted away is Expired, in words about the revision', async () => {
    const { body } = await server.call('POST', `${ns}/configmaps`, configMap('compacted'));
    await server.call('DELETE', `${ns}/configmaps/compacted`);
    await server.store.compact(server.store.revision);
    const at = `resourceVersion=${body.metadata.resourceVersion}&resourceVersionMatch=Exact`;
    const expired = await server.call('GET', `${ns}/configmaps?${at}`);
    expect([expired.status, expired.body.reason, expired.body.message]).toEqual([
      410,
      'Expired',
      'The resourceVersion for the provided list is too old.',
    ]);
  });

  test('tables, partial objects, YAML, and 406 for what cannot be', async () => {
    await server.call('POST', `${ns}/configmaps`, configMap('table', { a: 'b' }));
    const accept = (value: string): { headers: Record<string, string> } => ({ headers: { accept: value } });
    const table = await server.call(
      'GET',
      `${ns}/configmaps`,
      undefined,
      accept('application/json;as=Table;v=v1;g=meta.k8s.io,application/json'),
    );
    expect(table.body).toMatchObject({ kind: 'Table', apiVersion: 'meta.k8s.io/v1' });
    expect(table.body.rows[0].object.kind).toBe('PartialObjectMetadata');
    const partial = await server.call(
      'GET',
      `${ns}/configmaps/table`,
      undefined,
      accept('application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io'),
    );
    expect(partial.body.kind).toBe('PartialObjectMetadata');
    expect(partial.body.data).toBeUndefined();
    const yaml = await server.call('GET', `${ns}/configmaps/table`, undefined, accept('application/yaml'));
    expect(yaml.body).toContain('kind: ConfigMap');
    expect((await server.call('GET', `${ns}/configmaps/table`, undefined, accept('text/html'))).status).toBe(406);
    const review = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: { resourceAttributes: { verb: 'get', resource: 'pods' } },
    };
    const refused = await server.call(
      'POST',
      '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      review,
      accept('application/json;as=Table;v=v1;g=meta.k8s.io'),
    );
    expect(refused.status).toBe(406);
    expect(refused.body.code).toBe(406);
  });

  test('unknown resources are 404, unknown verbs 405, too large or too deep bodies are refused', async () => {
    expect((await server.call('GET', `${ns}/unicorns`)).status).toBe(404);
    expect((await server.call('GET', '/apis/none/v1/things')).status).toBe(404);
    expect((await server.call('GET', `${ns}/configmaps/a%2Fb`)).status).toBe(400);
    expect((await server.call('DELETE', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews')).status).toBe(405);
    expect((await server.call('POST', `${ns}/configmaps/x`, {})).status).toBe(405);
    expect((await server.call('POST', `${ns}/configmaps`, `"${'x'.repeat(4 * 1024 * 1024)}"`)).status).toBe(413);
    expect((await server.call('POST', `${ns}/configmaps`, '['.repeat(100_000))).status).toBe(400);
    expect((await server.call('POST', `${ns}/configmaps`, '{')).status).toBe(400);
    expect(
      (await server.call('POST', `${ns}/configmaps`, 'x', { headers: { 'content-type': 'text/html' } })).status,
    ).toBe(415);
  });

  test('namespaces: nothing is created while one goes away; the finalize subresource lets it go', async () => {
    await server.call('POST', '/api/v1/namespaces', { metadata: { name: 'going' } });
    const deleted = await server.call('DELETE', '/api/v1/namespaces/going');
    expect(deleted.body.status.phase).toBe('Terminating');
    const refused = await server.call('POST', '/api/v1/namespaces/going/configmaps', configMap('late'));
    expect(refused.status).toBe(403);
    expect(refused.body.details.causes[0].reason).toBe('NamespaceTerminating');
    const live = (await server.call('GET', '/api/v1/namespaces/going')).body;
    await server.call('PUT', '/api/v1/namespaces/going/finalize', { ...live, spec: { finalizers: [] } });
    expect((await server.call('GET', '/api/v1/namespaces/going')).status).toBe(404);
    expect((await server.call('DELETE', '/api/v1/namespaces/default')).status).toBe(403);
  });

  test('events are one object seen through two groups', async () => {
    const made = await server.call('POST', `${ns}/events`, {
      metadata: { name: 'e1', namespace: 't' },
      involvedObject: { kind: 'Pod', name: 'p', namespace: 't' },
      reason: 'Because',
      message: 'told',
      type: 'Normal',
    });
    expect(made.status).toBe(201);
    const other = await server.call('GET', '/apis/events.k8s.io/v1/namespaces/t/events/e1');
    expect(other.body).toMatchObject({ apiVersion: 'events.k8s.io/v1', note: 'told', regarding: { name: 'p' } });
    const selected = await server.call('GET', `${ns}/events?fieldSelector=involvedObject.name%3Dp`);
    expect(selected.body.items).toHaveLength(1);
    expect(
      (await server.call('GET', '/apis/events.k8s.io/v1/namespaces/t/events?fieldSelector=regarding.name%3Dp')).body
        .items,
    ).toHaveLength(1);
  });
});

describe('admission', () => {
  test('a pod gets its account, token volume, priority and tolerations; without the account it is refused', async () => {
    const made = (await server.call('POST', `${ns}/pods`, pod('admitted'))).body;
    expect(made.spec.serviceAccountName).toBe('default');
    expect(made.spec.containers[0].volumeMounts[0].mountPath).toBe('/var/run/secrets/kubernetes.io/serviceaccount');
    expect(made.spec.volumes[0].name).toMatch(/^kube-api-access-/);
    expect(made.spec.priority).toBe(0);
    expect(made.spec.tolerations).toHaveLength(2);
    expect((await server.call('POST', `${ns}/pods`, pod('nobody', { serviceAccountName: 'missing' }))).status).toBe(
      403,
    );
    const off = (await server.call('POST', `${ns}/pods`, pod('off', { automountServiceAccountToken: false }))).body;
    expect(off.spec.volumes ?? []).toHaveLength(0);
    const nowhere = await server.call('POST', '/api/v1/namespaces/none/pods', pod('x'));
    expect(nowhere.body.message).toBe('namespaces "none" not found');
    const critical = (
      await server.call('POST', `${ns}/pods`, pod('critical', { priorityClassName: 'system-node-critical' }))
    ).body;
    expect(critical.spec.priority).toBe(2_000_001_000);
    expect((await server.call('POST', `${ns}/pods`, pod('unknown', { priorityClassName: 'none' }))).status).toBe(403);
  });

  test('claims get the default class and the protection finalizer', async () => {
    const made = await server.call('POST', '/apis/storage.k8s.io/v1/storageclasses', {
      metadata: { name: 'fast', annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
      provisioner: 'example.com/x',
    });
    expect(made.body).toMatchObject({ provisioner: 'example.com/x' });
    const claim = await server.call('POST', `${ns}/persistentvolumeclaims`, {
      metadata: { name: 'c' },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
    });
    expect(claim.body).toMatchObject({ spec: { storageClassName: 'fast' } });
    expect(claim.body.metadata.finalizers).toEqual(['kubernetes.io/pvc-protection']);
    await server.call('DELETE', `${ns}/persistentvolumeclaims/c`);
    expect((await server.call('GET', `${ns}/persistentvolumeclaims/c`)).body.metadata.deletionTimestamp).toBeDefined();
  });
});

describe('services', () => {
  const service = (name: string, spec: object): unknown => ({
    metadata: { name },
    spec: { ports: [{ port: 80 }], ...spec },
  });

  test('addresses and ports are unique, kept over updates and freed with the service', async () => {
    const a = (await server.call('POST', `${ns}/services`, service('a', { clusterIP: '10.43.0.77' }))).body;
    expect(a.spec.clusterIPs).toEqual(['10.43.0.77']);
    const taken = await server.call('POST', `${ns}/services`, service('b', { clusterIP: '10.43.0.77' }));
    expect(taken.status).toBe(422);
    expect(taken.body.message).toContain('provided IP is already allocated');
    expect((await server.call('POST', `${ns}/services`, service('b', { clusterIP: '10.99.0.1' }))).status).toBe(422);
    const plain = await server.call('PUT', `${ns}/services/a`, service('a', { selector: { x: 'y' } }));
    expect(plain.body.spec.clusterIP).toBe('10.43.0.77');
    await server.call('DELETE', `${ns}/services/a`);
    expect((await server.call('POST', `${ns}/services`, service('b', { clusterIP: '10.43.0.77' }))).status).toBe(201);
    const np = (await server.call('POST', `${ns}/services`, service('np', { type: 'NodePort' }))).body;
    const port = np.spec.ports[0].nodePort;
    expect(port).toBeGreaterThanOrEqual(30000);
    expect(
      (
        await server.call(
          'POST',
          `${ns}/services`,
          service('np2', { type: 'NodePort', ports: [{ port: 1, nodePort: port }] }),
        )
      ).status,
    ).toBe(422);
    expect(
      (
        await server.call(
          'POST',
          `${ns}/services`,
          service('np2', { type: 'NodePort', ports: [{ port: 1, nodePort: 80 }] }),
        )
      ).status,
    ).toBe(422);
    const down = await server.call(
      'PATCH',
      `${ns}/services/np`,
      { spec: { type: 'ClusterIP' } },
      { headers: { 'content-type': 'application/merge-patch+json' } },
    );
    expect(down.body.spec.ports[0].nodePort).toBeUndefined();
    expect(
      (
        await server.call(
          'POST',
          `${ns}/services`,
          service('np2', { type: 'NodePort', ports: [{ port: 1, nodePort: port }] }),
        )
      ).status,
    ).toBe(201);
    const both = (
      await server.call(
        'POST',
        `${ns}/services`,
        service('dns', {
          type: 'NodePort',
          ports: [
            { name: 'u', port: 53, protocol: 'UDP' },
            { name: 't', port: 53 },
          ],
        }),
      )
    ).body;
    expect(both.spec.ports[0].nodePort).toBe(both.spec.ports[1].nodePort);
    const headless = (
      await server.call('POST', `${ns}/services`, service('h', { clusterIP: 'None', selector: { a: 'b' } }))
    ).body;
    expect(headless.spec.clusterIPs).toEqual(['None']);
  });

  test('a hundred services at once get a hundred addresses', async () => {
    const made = await Promise.all(
      Array.from({ length: 100 }, (_, i) => server.call('POST', `${ns}/services`, service(`many-${i}`, {}))),
    );
    expect(new Set(made.map(({ body }) => body.spec.clusterIP)).size).toBe(100);
  });
});

describe('eviction', () => {
  test('a budget that allows none refuses with 429; after it is gone the pod goes', async () => {
    await server.call('POST', `${ns}/pods`, pod('e'));
    await server.call('POST', `${ns}/pods/e/binding`, { metadata: { name: 'e' }, target: { name: 'n1' } });
    const live = (await server.call('GET', `${ns}/pods/e`)).body;
    await server.call('PUT', `${ns}/pods/e/status`, {
      ...live,
      status: { ...live.status, phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
    });
    await server.call('POST', '/apis/policy/v1/namespaces/t/poddisruptionbudgets', {
      metadata: { name: 'b' },
      spec: { minAvailable: 1, selector: { matchLabels: { app: 'e' } } },
    });
    const budget = (await server.call('GET', '/apis/policy/v1/namespaces/t/poddisruptionbudgets/b')).body;
    await server.call('PUT', '/apis/policy/v1/namespaces/t/poddisruptionbudgets/b/status', {
      ...budget,
      status: { observedGeneration: 1, disruptionsAllowed: 0, currentHealthy: 1, desiredHealthy: 1, expectedPods: 1 },
    });
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'e' } };
    const refused = await server.call('POST', `${ns}/pods/e/eviction`, eviction);
    expect(refused.status).toBe(429);
    expect(refused.body.details.causes[0].reason).toBe('DisruptionBudget');
    await server.call('DELETE', '/apis/policy/v1/namespaces/t/poddisruptionbudgets/b');
    const other = await server.call('POST', `${ns}/pods/e/eviction`, { ...eviction, apiVersion: 'policy/v2' });
    expect(other.status).toBe(400);
    // As kubectl 1.20 sends it.
    const beta = { ...eviction, apiVersion: 'policy/v1beta1' };
    expect((await server.call('POST', `${ns}/pods/e/eviction`, beta)).status).toBe(201);
    const dying = (await server.call('GET', `${ns}/pods/e`)).body;
    expect(dying.metadata.deletionTimestamp).toBeDefined();
    expect(dying.status.conditions.find((c: { type: string }) => c.type === 'DisruptionTarget').status).toBe('True');
  });

  test('preconditions are checked before anything is written; the propagation policy is passed on', async () => {
    await server.call('POST', `${ns}/pods`, pod('f'));
    await server.call('POST', `${ns}/pods/f/binding`, { metadata: { name: 'f' }, target: { name: 'n1' } });
    const bound = (await server.call('GET', `${ns}/pods/f`)).body;
    const status = { ...bound.status, phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
    const live = (await server.call('PUT', `${ns}/pods/f/status`, { ...bound, status })).body;
    const budgets = '/apis/policy/v1/namespaces/t/poddisruptionbudgets';
    const budget = (
      await server.call('POST', budgets, {
        metadata: { name: 'f' },
        spec: { minAvailable: 0, selector: { matchLabels: { app: 'f' } } },
      })
    ).body;
    await server.call('PUT', `${budgets}/f/status`, {
      ...budget,
      status: { observedGeneration: 1, disruptionsAllowed: 1, currentHealthy: 1, desiredHealthy: 0, expectedPods: 1 },
    });
    const evict = (deleteOptions: object): ReturnType<TestServer['call']> =>
      server.call('POST', `${ns}/pods/f/eviction`, {
        apiVersion: 'policy/v1',
        kind: 'Eviction',
        metadata: { name: 'f' },
        deleteOptions,
      });
    const { uid, resourceVersion } = live.metadata;
    for (const preconditions of [
      { uid: 'another' },
      { resourceVersion: bound.metadata.resourceVersion },
      { uid, resourceVersion: '1' },
    ]) {
      const refused = await evict({ preconditions });
      expect([refused.status, refused.body.reason]).toEqual([409, 'Conflict']);
      expect(refused.body.message).toContain('Precondition failed');
    }
    expect((await evict({ propagationPolicy: 'Sideways' })).status).toBe(422);
    expect((await server.call('GET', `${ns}/pods/f`)).body).toEqual(live);
    expect((await server.call('GET', `${budgets}/f`)).body.status.disruptionsAllowed).toBe(1);
    expect((await evict({ preconditions: { uid, resourceVersion }, propagationPolicy: 'Foreground' })).status).toBe(
      201,
    );
    const { metadata } = (await server.call('GET', `${ns}/pods/f`)).body;
    expect([metadata.uid, metadata.finalizers]).toEqual([uid, ['foregroundDeletion']]);
    expect(metadata.deletionTimestamp).toBeDefined();
    expect((await server.call('GET', `${budgets}/f`)).body.status.disruptionsAllowed).toBe(0);
  });
});

test('what is told about what is accepted comes as Warning headers: of old kinds with every answer, of objects when they are written', async () => {
  const warningsOf = async (method: string, path: string, body?: unknown): Promise<string | null> =>
    (await server.call(method, path, body)).headers.get('warning');
  const endpoints = '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"';
  expect(await warningsOf('GET', '/api/v1/endpoints')).toBe(endpoints);
  expect(await warningsOf('POST', '/api/v1/namespaces/default/endpoints', { metadata: { name: 'told' } })).toBe(
    endpoints,
  );
  const spec = { externalName: 'a.b', ports: [{ port: 80 }] };
  const service = { metadata: { name: 'told' }, spec };
  const why = '299 - "spec.externalName is ignored when spec.type is not \\"ExternalName\\""';
  expect(await warningsOf('POST', '/api/v1/namespaces/default/services?dryRun=All', service)).toBe(why);
  expect(await warningsOf('GET', '/api/v1/services')).toBeNull();
});
