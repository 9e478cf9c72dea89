import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JsonObject } from '../machinery/json.ts';
import { startTestServer, type TestServer } from './testing.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
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
