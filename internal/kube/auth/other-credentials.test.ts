import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../machinery/json.ts';
import { bootstrapUser } from './bootstrap-tokens.ts';
import { impersonate } from './authenticator.ts';
import type { Authorizer } from './authorizer.ts';
import { forwardedUser, forwardingHeaders } from './front-proxy.ts';
import { rawHeaderLines } from './header-lines.ts';

const text = (value: string): string => Buffer.from(value).toString('base64');

function secret(data: Record<string, string> = {}, type = 'bootstrap.kubernetes.io/token'): JsonObject {
  const all = {
    'token-id': 'abcdef',
    'token-secret': '0123456789abcdef',
    'usage-bootstrap-authentication': 'true',
    ...data,
  };
  return {
    metadata: { name: 'bootstrap-token-abcdef' },
    type,
    data: Object.fromEntries(Object.entries(all).map(([key, value]) => [key, text(value)])),
  };
}

describe('bootstrap tokens', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  const user = (object: JsonObject | undefined, token = 'abcdef.0123456789abcdef') =>
    bootstrapUser(token, async (name) => (name === 'bootstrap-token-abcdef' ? object : undefined), now);

  test('a token of a Secret is a user with groups', async () => {
    const extra = 'system:bootstrappers:worker, system:bootstrappers:ingress';
    expect(await user(secret({ 'auth-extra-groups': extra }))).toEqual({
      name: 'system:bootstrap:abcdef',
      groups: [
        'system:bootstrappers',
        'system:bootstrappers:worker',
        'system:bootstrappers:ingress',
        'system:authenticated',
      ],
    });
  });

  test.each<[string, JsonObject | undefined, string?]>([
    ['no Secret', undefined],
    ['another type', secret({}, 'Opaque')],
    ['a wrong secret', secret(), 'abcdef.0123456789abcdee'],
    ['not for authentication', secret({ 'usage-bootstrap-authentication': 'false' })],
    ['expired', secret({ expiration: '2025-12-31T23:59:59Z' })],
    ['an expiration that is none', secret({ expiration: 'never' })],
    ['a group of somebody else', secret({ 'auth-extra-groups': 'system:masters' })],
    ['no token at all', secret(), 'abcdef'],
  ])('%s: nobody', async (_name, object, token) => {
    expect(await user(object, token)).toBeUndefined();
  });
});

test('front proxy: what is said of a user is read back the same', () => {
  const user = {
    name: 'alice',
    uid: '7',
    groups: ['a', 'b,system:masters', 'system:authenticated'],
    extra: { 'example.com/scope': ['x', 'y, z'] },
  };
  expect(forwardedUser(rawHeaderLines(forwardingHeaders(user).flat()))).toEqual(user);
  expect(forwardedUser([['x-remote-group', 'system:masters']])).toBeUndefined();
});

describe('impersonation', () => {
  const asked: string[] = [];
  const authorizer = {
    authorize: async ({ resource, name }: { resource: string; name: string }) => {
      asked.push(`${resource}/${name}`);
      return { allowed: name !== 'forbidden', reason: '' };
    },
  } as unknown as Authorizer;
  const as = (...groups: string[]) =>
    impersonate(
      { name: 'admin', groups: [] },
      [['impersonate-user', 'jane'], ...groups.map((group) => ['impersonate-group', group] as const)],
      authorizer,
    );

  test('a header line is one group: each is asked for, none is left out', async () => {
    const groups = ['a,b', ...Array.from({ length: 100 }, (_, i) => `g${i}`)];
    expect((await as(...groups)).groups).toEqual([...groups, 'system:authenticated']);
    expect(asked).toEqual(['users/jane', ...groups.map((group) => `groups/${group}`)]);
    await expect(as(...groups, 'forbidden')).rejects.toMatchObject({ status: { code: 403 } });
  });

  test('more lines than are served are refused', async () => {
    await expect(as(...Array.from({ length: 1000 }, () => 'g'))).rejects.toMatchObject({ status: { code: 400 } });
  });
});
