import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../machinery/json.ts';
import { parseRequest } from '../apiserver/request-info.ts';
import { isSystem, Seats } from '../apiserver/seats.ts';
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

test('seats: when users have taken theirs, nodes and leases still get in; an answer frees the seat', async () => {
  const seats = new Seats();
  const info = (method: string, path: string) => parseRequest(method, path, new URLSearchParams())!;
  const pods = info('POST', '/api/v1/namespaces/default/pods');
  const lease = info('PUT', '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/a');
  const alice = { name: 'alice', groups: ['system:authenticated'] };
  const node = { name: 'system:node:a', groups: ['system:nodes', 'system:authenticated'] };
  expect([isSystem(alice, pods), isSystem(alice, lease), isSystem(node, pods)]).toEqual([false, true, true]);
  const held: (() => void)[] = [];
  const waiting: Promise<void>[] = [];
  let refused: unknown;
  for (let i = 0; i < 500 && refused === undefined; i++)
    waiting.push(
      seats
        .run(alice, pods, () => new Promise<void>((resolve) => held.push(resolve)))
        .catch((error: unknown) => {
          refused = error;
        }),
    );
  await Promise.resolve();
  expect(refused).toMatchObject({ status: { code: 429, details: { retryAfterSeconds: 1 } } });
  await expect(seats.run(node, pods, async () => 'in')).resolves.toBe('in');
  await expect(seats.run(alice, lease, async () => 'in')).resolves.toBe('in');
  for (const free of held) free();
  await Promise.all(waiting);
  await expect(seats.run(alice, pods, async () => 'in')).resolves.toBe('in');
  expect(seats.taken).toBe(0);
});
