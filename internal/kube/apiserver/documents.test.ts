import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { builtinKinds, builtinSchemas, type OpenApiDocuments } from '../api/builtin.ts';
import type { Core } from './context.ts';
import { documentHandlers } from './documents.ts';
import { decodeProtobuf } from './protobuf/decode.ts';

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

describe('discovery', () => {
  const core = { kinds: builtinKinds, schemas: builtinSchemas, log: silentLogger } as unknown as Core;
  const handlers = documentHandlers(core, {
    openapi: {} as OpenApiDocuments,
    checks: [],
    serverAddress: '10.0.0.1:6443',
    architecture: 'amd64',
    metrics: () => '',
  });
  test.each([
    ['/api', 'APIVersions'],
    ['/apis', 'APIGroupList'],
    ['/apis/apps', 'APIGroup'],
    ['/apis/apps/v1', 'APIResourceList'],
  ])('%s is a %s, as JSON, as YAML and as protobuf', async (path, kind) => {
    const get = async (accept: string): Promise<[type: string | undefined, body: Buffer]> => {
      const url = new URL(path, 'https://localhost');
      const { headers, body } = await handlers(url.pathname)!(new Request(url.href, { headers: { accept } }), url);
      return [headers['content-type'], Buffer.concat(body as Uint8Array[])];
    };
    const [, json] = await get('application/json');
    const object = JSON.parse(json.toString());
    expect(object.kind).toBe(kind);
    const protobuf = 'application/vnd.kubernetes.protobuf';
    const [type, bytes] = await get(protobuf);
    expect(type).toBe(protobuf);
    const definition = `io.k8s.apimachinery.pkg.apis.meta.v1.${kind}`;
    expect(decodeProtobuf(bytes, definition, builtinSchemas)).toMatchObject(object);
    expect((await get('application/yaml'))[1].toString()).toContain(`kind: ${kind}\n`);
  });
});
