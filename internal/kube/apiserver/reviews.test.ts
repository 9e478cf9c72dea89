import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeSigningKey } from '../../pki/certificates.ts';
import { secretTokenSigner } from '../auth/service-account-tokens.ts';
import type { JsonObject } from '../machinery/json.ts';
import { startTestServer, type TestServer } from './testing.ts';

let server: TestServer;
let signing: Awaited<ReturnType<typeof makeSigningKey>>;
beforeAll(async () => {
  signing = await makeSigningKey();
  server = await startTestServer({ signing });
});
afterAll(() => server.close());

test('TokenReview knows the bootstrap tokens that work as bearer tokens', async () => {
  const encoded = (value: string): string => Buffer.from(value).toString('base64');
  await server.call('POST', '/api/v1/namespaces/kube-system/secrets', {
    metadata: { name: 'bootstrap-token-abcdef' },
    type: 'bootstrap.kubernetes.io/token',
    data: {
      'token-id': encoded('abcdef'),
      'token-secret': encoded('0123456789abcdef'),
      'usage-bootstrap-authentication': encoded('true'),
    },
  });
  const review = async (token: string, ...audiences: string[]): Promise<JsonObject> => {
    const spec = { token, ...(audiences.length === 0 ? {} : { audiences }) };
    const answer = await server.call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', { spec });
    expect(answer.status).toBe(201);
    return answer.body.status;
  };
  const known = await review('abcdef.0123456789abcdef');
  expect(known).toMatchObject({
    authenticated: true,
    user: { username: 'system:bootstrap:abcdef', groups: ['system:bootstrappers', 'system:authenticated'] },
  });
  const [audience] = known.audiences as string[];
  expect(await review('abcdef.0123456789abcdef', 'other', audience!)).toMatchObject({ audiences: [audience] });
  for (const refused of [await review('abcdef.0123456789abcdee'), await review('abcdef.0123456789abcdef', 'other')]) {
    expect(refused.authenticated).toBeUndefined();
    expect(refused.error).toBeTruthy();
  }
});

const subjects = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
const ask = (spec: JsonObject): ReturnType<TestServer['call']> => server.call('POST', subjects, { spec });

test.each<[string, JsonObject, string]>([
  [
    'both forms',
    { fieldSelector: { rawSelector: 'foo', requirements: [{ key: 'k', operator: 'Exists' }] } },
    'spec.resourceAttributes.fieldSelector.rawSelector: Invalid value: "foo": may not specified at the same time as requirements',
  ],
  [
    'neither form',
    { labelSelector: {} },
    'spec.resourceAttributes.labelSelector.requirements: Required value: when spec.resourceAttributes.labelSelector is specified, requirements or rawSelector is required',
  ],
  [
    'no key',
    { fieldSelector: { requirements: [{ key: '', operator: 'Exists' }] } },
    'spec.resourceAttributes.fieldSelector.requirements[0].key: Required value: must be specified',
  ],
  [
    'In of nothing',
    { fieldSelector: { requirements: [{ key: 'k', operator: 'In', values: [] }] } },
    "spec.resourceAttributes.fieldSelector.requirements[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
  ],
  [
    'Exists of something',
    { labelSelector: { requirements: [{ key: 'k', operator: 'Exists', values: ['v'] }] } },
    "spec.resourceAttributes.labelSelector.requirements[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
  ],
  [
    'no name of a label',
    { labelSelector: { requirements: [{ key: 'k k', operator: 'Exists' }] } },
    'spec.resourceAttributes.labelSelector.requirements[0].key: Invalid value: "k k": name part must consist of',
  ],
])("SubjectAccessReview: a selector's %s is refused", async (_, selectors, message) => {
  const resourceAttributes = { verb: 'list', resource: 'pods', ...selectors };
  const { status, body } = await ask({ user: 'alice', resourceAttributes });
  expect(status).toBe(422);
  expect(body.message).toContain(message);
});

test.each<[string, JsonObject, string | undefined]>([
  ['can be read', { rawSelector: 'spec.nodeName=n1' }, undefined],
  ['has an operator of the future', { requirements: [{ key: 'k', operator: 'Near', values: ['v'] }] }, 'ignored'],
  [
    'is understood in part',
    {
      requirements: [
        { key: 'spec.nodeName', operator: 'In', values: ['n1'] },
        { key: 'k', operator: 'In', values: ['a', 'b'] },
      ],
    },
    'partially ignored',
  ],
  ['cannot be read', { rawSelector: 'spec.nodeName' }, 'ignored'],
])('SubjectAccessReview: what is left out of a selector that %s is told', async (_, fieldSelector, told) => {
  const resourceAttributes = { verb: 'list', resource: 'pods', fieldSelector };
  const { status, body } = await ask({ user: 'system:node:n1', groups: ['system:nodes'], resourceAttributes });
  expect(status).toBe(201);
  expect(body.status.allowed).toBe(told !== 'ignored');
  expect(body.status.evaluationError).toBe(
    told === undefined ? undefined : `spec.resourceAttributes.fieldSelector ${told} due to parse error`,
  );
});

test('SubjectAccessReview: one question about one subject', async () => {
  const about = async (spec: JsonObject): Promise<string> => (await ask(spec)).body.message;
  const resourceAttributes = { verb: 'list', resource: 'pods' };
  const nonResourceAttributes = { verb: 'get', path: '/healthz' };
  expect(await about({ user: 'a', resourceAttributes, nonResourceAttributes })).toContain(
    'spec.nonResourceAttributes: Invalid value',
  );
  expect(await about({ user: 'a' })).toContain('exactly one of nonResourceAttributes or resourceAttributes');
  expect(await about({ resourceAttributes })).toContain('spec.user: Invalid value: "": at least one of user or group');
});

test('tokens in Secrets are refused as soon as their account is being deleted, though a finalizer holds it', async () => {
  const accounts = '/api/v1/namespaces/default/serviceaccounts';
  const made = await server.call('POST', accounts, { metadata: { name: 'held', finalizers: ['example.com/hold'] } });
  const { name, uid } = made.body.metadata;
  const sign = await secretTokenSigner({ privateKey: signing.key, publicKey: signing.publicKey });
  // Two: what a token was found to be is kept for a while.
  const review = async (secret: string): Promise<JsonObject> => {
    const token = await sign('default', { name, uid }, secret);
    await server.call('POST', '/api/v1/namespaces/default/secrets', {
      metadata: { name: secret },
      data: { token: Buffer.from(token).toString('base64') },
    });
    return (await server.call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', { spec: { token } })).body.status;
  };
  expect(await review('before')).toMatchObject({ authenticated: true });
  const deleted = await server.call('DELETE', `${accounts}/held`);
  expect(deleted.body.metadata.deletionTimestamp).toBeTruthy();
  expect(await review('after')).toMatchObject({ error: 'service account default/held has been deleted' });
});

test('TokenRequest: what names another account than the path does is refused', async () => {
  const accounts = '/api/v1/namespaces/default/serviceaccounts';
  const { uid } = (await server.call('POST', accounts, { metadata: { name: 'asker' } })).body.metadata;
  const request = async (metadata: JsonObject): Promise<[number, unknown]> => {
    const { status, body } = await server.call('POST', `${accounts}/asker/token`, { metadata, spec: {} });
    return [status, body.message];
  };
  const refusal = (field: string): string =>
    `TokenRequest.authentication.k8s.io "asker" is invalid: metadata.${field}: Invalid value: "other": must match the service account ${field} if specified`;
  expect(await request({ name: 'other' })).toEqual([422, refusal('name')]);
  expect(await request({ namespace: 'other' })).toEqual([422, refusal('namespace')]);
  expect(await request({ uid: 'other' })).toEqual([
    409,
    expect.stringContaining('the UID in the token request (other)'),
  ]);
  expect(await request({ name: 'asker', namespace: 'default', uid })).toEqual([201, undefined]);
});
