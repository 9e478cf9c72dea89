import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { builtinKinds, type OpenApiDocuments } from '../api/builtin.ts';
import type { Core } from './context.ts';
import { documentHandlers } from './documents.ts';

describe('health', () => {
  let etcd = '';
  const told: unknown[] = [];
  const log = { ...silentLogger, debug: (_message: string, fields?: unknown) => void told.push(fields) };
  const handlers = documentHandlers({ kinds: builtinKinds, log } as unknown as Core, {
    openapi: {} as OpenApiDocuments,
    checks: [
      { name: 'ping', check: () => '' },
      { name: 'etcd', check: () => etcd },
    ],
    serverAddress: '10.0.0.1:6443',
    architecture: 'amd64',
    metrics: () => '',
  });
  const get = async (path: string): Promise<[number, string]> => {
    const url = new URL(path, 'https://localhost');
    const { status, body } = await handlers(url.pathname)!(new Request(url.href), url);
    return [status, Buffer.concat(body as Uint8Array[]).toString()];
  };

  test.each<[string, string, number, string]>([
    ['well', '/livez', 200, 'ok'],
    ['well', '/livez?verbose', 200, '[+]ping ok\n[+]etcd ok\nlivez check passed\n'],
    ['well', '/readyz/etcd', 200, 'ok'],
    ['well', '/readyz?verbose&exclude=etcd', 200, '[+]ping ok\n[+]etcd excluded: ok\nreadyz check passed\n'],
    [
      'well',
      '/livez?verbose&exclude=none&exclude=ping&exclude=never',
      200,
      '[+]ping excluded: ok\n[+]etcd ok\n' +
        'warn: some health checks cannot be excluded: no matches for "none","never"\nlivez check passed\n',
    ],
    ['ill', '/livez', 500, '[+]ping ok\n[-]etcd failed: reason withheld\nlivez check failed\n'],
    ['ill', '/healthz?exclude=etcd', 200, 'ok'],
    ['ill', '/readyz/ping', 200, 'ok'],
    ['ill', '/readyz/etcd', 500, 'internal server error: no quorum\n'],
  ])('store %s: %s', async (state, path, status, text) => {
    etcd = state === 'ill' ? 'no quorum' : '';
    expect(await get(path)).toEqual([status, text]);
  });

  test('the reason that is withheld is logged', async () => {
    etcd = 'no quorum';
    told.length = 0;
    await get('/livez');
    expect(told).toEqual([{ check: 'etcd', reason: 'no quorum' }]);
  });
});
