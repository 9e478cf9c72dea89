import { afterAll, beforeAll, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import { makeSigningKey } from '../../pki/certificates.ts';
import { builtinKinds } from '../api/builtin.ts';
import { adminClient, startTestServer, type TestServer } from '../apiserver/testing.ts';
import { secretTokenSigner } from '../auth/service-account-tokens.ts';
import type { JsonObject } from '../machinery/json.ts';
import { runControllers } from './context.ts';
import { tokenSecretsController } from './token-secrets.ts';

/** Tokens that lie in Secrets, over a whole server: who makes them, whom they prove, until when. */
let server: TestServer;
let controllers: { stop(): Promise<void> };
const space = '/api/v1/namespaces/default';

beforeAll(async () => {
  const signing = await makeSigningKey();
  server = await startTestServer({ signing });
  const sign = await secretTokenSigner({ privateKey: signing.key, publicKey: signing.publicKey });
  controllers = runControllers([tokenSecretsController({ rootCa: 'CA', sign })], {
    client: adminClient(server),
    kinds: builtinKinds,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    host: 'test',
  });
});
afterAll(async () => {
  await controllers.stop();
  await server.close();
});

const account = (name: string): ReturnType<TestServer['call']> =>
  server.call('POST', `${space}/serviceaccounts`, { metadata: { name } });
const secret = (name: string, of: string, more: JsonObject = {}): ReturnType<TestServer['call']> =>
  server.call('POST', `${space}/secrets`, {
    metadata: { name, annotations: { 'kubernetes.io/service-account.name': of } },
    type: 'kubernetes.io/service-account-token',
    ...more,
  });
const read = async (name: string): Promise<JsonObject> => (await server.call('GET', `${space}/secrets/${name}`)).body;
async function token(name: string): Promise<string> {
  await expect.poll(async () => typeof ((await read(name)).data as JsonObject | undefined)?.token).toBe('string');
  return Buffer.from(String(((await read(name)).data as JsonObject).token), 'base64').toString();
}
async function review(text: string, audiences?: string[]): Promise<JsonObject> {
  const spec = { token: text, ...(audiences === undefined ? {} : { audiences }) };
  const path = '/apis/authentication.k8s.io/v1/tokenreviews';
  return (await server.call('POST', path, { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec })).body
    .status;
}

test('a Secret gets a token, the authority and the namespace; what the user put beside them stays', async () => {
  const { body } = await account('robot');
  await secret('robot-token', 'robot', { stringData: { mine: 'x' } });
  const text = await token('robot-token');
  const made = await read('robot-token');
  const decoded = Object.fromEntries(
    Object.entries(made.data as Record<string, string>).map(([key, value]) => [
      key,
      Buffer.from(value, 'base64').toString(),
    ]),
  );
  expect(decoded).toMatchObject({ 'ca.crt': 'CA', namespace: 'default', mine: 'x' });
  expect((made.metadata as JsonObject).annotations).toMatchObject({
    'kubernetes.io/service-account.uid': body.metadata.uid,
  });
  expect(JSON.parse(Buffer.from(text.split('.')[1]!, 'base64url').toString())).toEqual({
    iss: 'kubernetes/serviceaccount',
    sub: 'system:serviceaccount:default:robot',
    'kubernetes.io/serviceaccount/namespace': 'default',
    'kubernetes.io/serviceaccount/secret.name': 'robot-token',
    'kubernetes.io/serviceaccount/service-account.name': 'robot',
    'kubernetes.io/serviceaccount/service-account.uid': body.metadata.uid,
  });
  expect(await review(text)).toMatchObject({
    authenticated: true,
    user: { username: 'system:serviceaccount:default:robot', uid: body.metadata.uid },
  });
  expect((await review(text, ['elsewhere'])).authenticated).not.toBe(true);
  const answer = await server.api.fetch(new Request('http://x/apis', { headers: { authorization: `Bearer ${text}` } }));
  expect(answer.status).toBe(200);
});

test('it is good as long as it lies there: another one in its place, and it is not believed any more', async () => {
  await account('changed');
  await secret('changed-token', 'changed');
  const first = await token('changed-token');
  await server.call(
    'PATCH',
    `${space}/secrets/changed-token`,
    { data: { token: null } },
    {
      headers: { 'content-type': 'application/merge-patch+json' },
    },
  );
  await token('changed-token');
  await server.call('DELETE', `${space}/secrets/changed-token`);
  await Bun.sleep(10);
  expect((await review(`${first}`)).authenticated).not.toBe(true);
});

test('it goes with its account, and with an account of the same name that is another; one of no account goes at once', async () => {
  await account('leaves');
  await secret('leaves-token', 'leaves');
  const text = await token('leaves-token');
  await server.call('DELETE', `${space}/serviceaccounts/leaves`);
  await account('leaves');
  await expect.poll(async () => (await server.call('GET', `${space}/secrets/leaves-token`)).status).toBe(404);
  expect((await review(text)).authenticated).not.toBe(true);
  await secret('nobody-token', 'nobody');
  await expect.poll(async () => (await server.call('GET', `${space}/secrets/nobody-token`)).status).toBe(404);
});
