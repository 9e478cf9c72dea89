import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../machinery/json.ts';
import { bootstrapUser } from './bootstrap-tokens.ts';
import { forwardedUser, forwardingHeaders } from './front-proxy.ts';

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
    groups: ['a', 'b', 'system:authenticated'],
    extra: { 'example.com/scope': ['x', 'y'] },
  };
  const headers = new Headers();
  for (const [name, value] of forwardingHeaders(user)) headers.append(name, value);
  expect(forwardedUser(headers)).toEqual(user);
  expect(forwardedUser(new Headers({ 'X-Remote-Group': 'system:masters' }))).toBeUndefined();
});
