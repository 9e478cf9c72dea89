import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import { builtinKinds } from '../api/builtin.ts';
import { adminClient, startTestServer, type TestServer } from '../apiserver/testing.ts';
import {
  bootstrapTokensController,
  detachedSignature,
  remainingMs,
  signedData,
  type TokenSecret,
} from './bootstrap-tokens.ts';
import { runControllers } from './context.ts';

const now = Date.parse('2026-01-01T00:00:00Z');
const at = (ms: number): string => new Date(ms).toISOString().replace('.000', '');

function token(id: string, data: Record<string, string> = {}): TokenSecret {
  const all = { 'token-id': id, 'token-secret': 'sixteencharacter', ...data };
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'bootstrap.kubernetes.io/token',
    metadata: { name: `bootstrap-token-${id}`, namespace: 'kube-system' },
    data: Object.fromEntries(Object.entries(all).map(([key, value]) => [key, Buffer.from(value).toString('base64')])),
  };
}
const signing = { 'usage-bootstrap-signing': 'true' };

describe('bootstrap tokens', () => {
  test('until when one is good: without end, for a while, not any more', () => {
    expect(remainingMs(token('abcdef'), now)).toBeUndefined();
    expect(remainingMs(token('abcdef', { expiration: at(now + 5000) }), now)).toBe(5000);
    expect(remainingMs(token('abcdef', { expiration: at(now) }), now)).toBe(0);
    expect(remainingMs(token('abcdef', { expiration: 'some day' }), now)).toBe(0);
  });

  test('a signature is a JWS whose payload is the text that was left out', () => {
    const [header = '', payload, signature] = detachedSignature('hello', 'abcdef', 'secret').split('.');
    expect(payload).toBe('');
    expect(JSON.parse(Buffer.from(header, 'base64url').toString())).toEqual({ alg: 'HS256', kid: 'abcdef' });
    const text = `${header}.${Buffer.from('hello').toString('base64url')}`;
    expect(signature).toBe(createHmac('sha256', 'secret').update(text).digest('base64url'));
  });

  test('signed by those that may, and by no other; signatures of others go', () => {
    const secrets = [
      token('signer', signing),
      token('silent'),
      token('ended1', { ...signing, expiration: at(now - 1) }),
      { ...token('renamed', signing), metadata: { name: 'bootstrap-token-other', namespace: 'kube-system' } },
      { ...token('opaque', signing), type: 'Opaque' },
    ];
    const data = signedData({ kubeconfig: 'text', other: 'kept', 'jws-kubeconfig-gone00': 'x..y' }, secrets, now);
    expect(Object.keys(data).sort()).toEqual(['jws-kubeconfig-signer', 'kubeconfig', 'other']);
    expect(data['jws-kubeconfig-signer']).toBe(detachedSignature('text', 'signer', 'sixteencharacter'));
    expect(signedData({ other: 'x' }, secrets, now)).toEqual({ other: 'x' });
  });
});

describe('bootstrap token controller over an API server', () => {
  let server: TestServer;
  let controllers: { stop(): Promise<void> };
  beforeAll(async () => {
    server = await startTestServer();
    controllers = runControllers([bootstrapTokensController], {
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
  const secrets = '/api/v1/namespaces/kube-system/secrets';
  const info = '/api/v1/namespaces/kube-public/configmaps';
  const signatures = async (): Promise<string[]> =>
    Object.keys((await server.call('GET', `${info}/cluster-info`)).body.data).filter((key) => key.startsWith('jws-'));

  test('an expired token goes, another stays until its time; the document is signed anew with each change', async () => {
    await server.call('POST', info, { metadata: { name: 'cluster-info' }, data: { kubeconfig: 'text' } });
    await server.call('POST', secrets, token('stays0', signing));
    await server.call('POST', secrets, token('ended0', { ...signing, expiration: at(Date.now() - 1000) }));
    await server.call('POST', secrets, { ...token('plain0', { expiration: at(Date.now() - 1000) }), type: 'Opaque' });
    const status = async (name: string): Promise<number> => (await server.call('GET', `${secrets}/${name}`)).status;
    await expect.poll(() => status('bootstrap-token-ended0')).toBe(404);
    expect(await status('bootstrap-token-stays0')).toBe(200);
    expect(await status('bootstrap-token-plain0')).toBe(200);
    await expect.poll(signatures).toEqual(['jws-kubeconfig-stays0']);
    await server.call('DELETE', `${secrets}/bootstrap-token-stays0`);
    await expect.poll(signatures).toEqual([]);
  });
});
