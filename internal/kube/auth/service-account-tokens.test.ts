import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../base/system.ts';
import { makeSigningKey } from '../../pki/certificates.ts';
import {
  secretTokenSigner,
  ServiceAccountTokens,
  type TokenClaims,
  type TokenSubject,
} from './service-account-tokens.ts';

const start = Date.parse('2026-01-01T00:00:00Z');
const account = { name: 'robot', uid: 'account-uid' };

/** Tokens over subjects that `deletions` (resource → deletionTimestamp) mark, and a clock that stands at `now.ms`. */
async function fixture() {
  const now = { ms: start };
  const deletions = new Map<string, number>();
  let held: string | undefined;
  const signing = await makeSigningKey();
  const subject = async (kind: string): Promise<TokenSubject> => ({
    uid: `${kind}-uid`,
    deletionMs: deletions.get(kind),
  });
  const tokens = await ServiceAccountTokens.create({
    privateKey: signing.key,
    publicKeys: [signing.publicKey],
    issuer: 'https://issuer',
    audiences: ['api', 'a b', 'a', 'b'],
    subjects: {
      serviceAccount: () => subject('account'),
      pod: () => subject('pod'),
      secret: () => subject('secret'),
      node: () => subject('node'),
      secretToken: async () => held,
    },
    random: systemRandom,
    now: () => now.ms,
  });
  const issue = async (claims: Partial<TokenClaims> = {}, audiences = ['api']): Promise<string> =>
    (await tokens.issue({ namespace: 'n', serviceAccount: account, ...claims }, audiences, 3600)).token;
  const hold = async (): Promise<string> => {
    const sign = await secretTokenSigner({ privateKey: signing.key, publicKey: signing.publicKey });
    held = await sign('n', account, 'held');
    return held;
  };
  return { now, deletions, tokens, issue, hold };
}

describe('a token of what finalizers hold beyond its deletion', () => {
  test.each<[string, Partial<TokenClaims>]>([
    ['account', {}],
    ['pod', { pod: { name: 'p', uid: 'pod-uid' } }],
    ['secret', { secret: { name: 's', uid: 'secret-uid' } }],
    ['node', { node: { name: 'n', uid: 'node-uid' } }],
  ])('%s: is good for a minute after deletionTimestamp, then no more', async (kind, claims) => {
    const { now, deletions, tokens, issue } = await fixture();
    const token = await issue(claims);
    // The end of a grace period of half a minute.
    deletions.set(kind, start + 30_000);
    now.ms = start + 90_000;
    expect(await tokens.verify(token)).toMatchObject({ user: { name: 'system:serviceaccount:n:robot' } });
    now.ms = start + 101_000;
    expect(await tokens.verify(token)).toEqual({ error: expect.stringContaining('has been deleted') });
  });

  test('a Secret holds: ends with the deletion of the account', async () => {
    const { now, deletions, tokens, hold } = await fixture();
    const token = await hold();
    expect(await tokens.verify(token)).toMatchObject({ user: { name: 'system:serviceaccount:n:robot' } });
    deletions.set('account', start);
    now.ms = start + 11_000;
    expect(await tokens.verify(token)).toEqual({ error: 'service account n/robot has been deleted' });
  });
});

test('a token for the audience "a b" is none for the audiences "a" and "b", also right after it was verified', async () => {
  const { tokens, issue } = await fixture();
  const token = await issue({}, ['a b']);
  expect(await tokens.verify(token, ['a b'])).toMatchObject({ audiences: ['a b'] });
  expect(await tokens.verify(token, ['a', 'b'])).toEqual({ error: expect.stringContaining('invalid for the target') });
});
