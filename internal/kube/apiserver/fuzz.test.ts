/** Seeded fuzz of the request path. Longer: FUZZ_ROUNDS=100000 FUZZ_SEED=7 bunx --bun vitest run internal/kube/apiserver/fuzz.test.ts */
import tls from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Random, seededRandom } from '../../base/random.ts';
import { silentLogger } from '../../base/log.ts';
import { builtinKinds } from '../api/builtin.ts';
import type { KindInfo } from '../api/kinds.ts';
import { admin, startTestServer, type TestServer } from './testing.ts';

const methods = ['GET', 'POST', 'POST', 'POST', 'PUT', 'PATCH', 'PATCH', 'DELETE'];
const rounds = Number(process.env.FUZZ_ROUNDS ?? 3000);
const seed = Number(process.env.FUZZ_SEED ?? 1);

/** Headers that the server looks at, and some that it must not care about. */
const otherHeaders: readonly (readonly [name: string, values: readonly string[]])[] = [
  ['authorization', ['', 'Bearer', 'Bearer x', `Bearer ${'a.'.repeat(4000)}`, 'Basic eA==', 'bearer a b c']],
  ['impersonate-user', ['', 'jane', 'system:serviceaccount:f:', 'system:serviceaccount:f:default', 'é'.repeat(300)]],
  ['impersonate-group', ['', 'system:masters', 'a,b']],
  ['impersonate-uid', ['', '1']],
  ['impersonate-extra-a%zz', ['b', '']],
  ['impersonate-extra-scopes', ['view', '%00']],
  ['x-remote-user', ['root']],
  ['x-forwarded-for', ['127.0.0.1', ', ,', 'x'.repeat(3000)]],
  ['audit-id', ['', 'a', 'é', 'x'.repeat(3000)]],
  ['accept-encoding', ['gzip', 'br;q=x', '*;q=0', ',,,']],
  ['content-encoding', ['gzip', 'deflate, gzip', 'x']],
  ['if-none-match', ['*', '"a"', 'W/"', '"'.repeat(500)]],
  ['if-match', ['*', '"1"']],
  ['range', ['bytes=0-', 'bytes=9-1']],
  ['x-http-method-override', ['DELETE']],
  ['upgrade', ['websocket', 'SPDY/3.1', 'h2c']],
  ['connection', ['Upgrade', 'close']],
  ['sec-websocket-protocol', ['v5.channel.k8s.io', ',', 'base64url.bearer.authorization.k8s.io.x']],
  ['origin', ['null', 'https://example.com']],
];

/**
 * Failures that are of the client's making, and 500 all the same, as upstream: server-side apply of a field that no schema has; the way to a node that
 * does not say where it is.
 */
const ofTheClient = /failed to create typed patch object|no preferred addresses found for node/;

let server: TestServer;
let lastError = '';
beforeAll(async () => {
  server = await startTestServer({
    port: 0,
    log: {
      ...silentLogger,
      error: (_message, fields) => {
        lastError = String(fields?.error);
      },
    },
  });
  await server.call('POST', '/api/v1/namespaces', { metadata: { name: 'f' } });
  await server.call('POST', '/api/v1/namespaces/f/serviceaccounts', { metadata: { name: 'default' } });
});
afterAll(() => server.close());

class Maker {
  readonly #random: Random;
  constructor(random: Random) {
    this.#random = random;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.#random.uint32() % list.length]!;
  }
  chance(of: number): boolean {
    return this.#random.uint32() % of === 0;
  }
  word(): string {
    return this.pick([
      'a',
      'b',
      'default',
      'f',
      'x'.repeat(300),
      '%2e%2e',
      '..',
      '%zz',
      '%00',
      'é',
      '',
      'metadata',
      '__proto__',
      'constructor',
    ]);
  }
  headers(method: string): Record<string, string> {
    const patches = ['merge-patch+json', 'strategic-merge-patch+json', 'json-patch+json', 'apply-patch+yaml'];
    let type = method === 'PATCH' ? `application/${this.pick(patches)}` : 'application/json';
    if (this.chance(8)) type = this.pick(['application/yaml', 'application/vnd.kubernetes.protobuf', 'x/y', ';;']);
    const shapes = ['Table', 'PartialObjectMetadata', 'PartialObjectMetadataList', 'Nothing'];
    let accept = 'application/json';
    if (this.chance(4)) accept = `application/json;as=${this.pick(shapes)};v=v1;g=meta.k8s.io`;
    if (this.chance(20)) accept = this.pick(['application/yaml', '*/*;q=x', 'a'.repeat(5000), 'text/html']);
    const out: Record<string, string> = { 'content-type': type, accept, 'user-agent': 'fuzz' };
    for (let n = this.chance(4) ? 1 + (this.#random.uint32() % 3) : 0; n > 0; n--) {
      const [name, values] = this.pick(otherHeaders);
      out[name] = this.pick(values);
    }
    return out;
  }
  path(kind: KindInfo, method: string): string {
    const own = kind.group === '' ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
    const parts = [this.chance(20) ? this.pick(['/api/v1', '/apis', '/openapi/v3', '/openid', '/metrics']) : own];
    if (kind.namespaced ? !this.chance(12) : this.chance(20))
      parts.push('namespaces', this.chance(15) ? this.word() : 'f');
    if (!this.chance(30)) parts.push(kind.plural);
    if (method === 'POST' ? this.chance(4) : !this.chance(4))
      parts.push(this.chance(10) ? this.word() : this.pick(['a', 'b']));
    const subresources = Object.keys(kind.subresources);
    if (parts.length > 3 && this.chance(3))
      parts.push(this.chance(8) || subresources.length === 0 ? this.word() : this.pick(subresources));
    return parts.join('/');
  }
  query(): string {
    if (!this.chance(3)) return '';
    const out = new URLSearchParams();
    for (let n = this.#random.uint32() % 4; n >= 0; n--)
      out.append(
        this.pick([
          'labelSelector',
          'fieldSelector',
          'limit',
          'continue',
          'resourceVersion',
          'resourceVersionMatch',
          'timeoutSeconds',
          'fieldManager',
          'force',
          'dryRun',
          'fieldValidation',
          'propagationPolicy',
          'gracePeriodSeconds',
          'container',
          'command',
          'tailLines',
          'includeObject',
          'sendInitialEvents',
        ]),
        this.pick([
          '1',
          '0',
          '-1',
          'All',
          'true',
          'Strict',
          'a=b',
          'a in (b,',
          '!',
          'metadata.name=a',
          'spec.nodeName!=x,',
          'eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ',
          '99999999999999999999',
          'Exact',
          'NotOlderThan',
          'Foreground',
          this.word(),
        ]),
      );
    return `?${out.toString()}`;
  }
  value(depth: number): unknown {
    if (depth > 4 || this.chance(2))
      return this.pick([null, 0, -1, 1.5, 1e308, true, '', 'a', '10Gi', 'x'.repeat(2000), '\u0000', '\ud800', [], {}]);
    if (this.chance(2)) return Array.from({ length: this.#random.uint32() % 4 }, () => this.value(depth + 1));
    const out: Record<string, unknown> = {};
    for (let n = this.#random.uint32() % 5; n > 0; n--)
      out[
        this.pick([
          'metadata',
          'spec',
          'status',
          'name',
          'labels',
          'template',
          'containers',
          'selector',
          'matchLabels',
          'ports',
          'data',
          'finalizers',
          'managedFields',
          '$patch',
          'replicas',
          'resources',
          'requests',
          'volumes',
          'type',
          'clusterIP',
          'rules',
          'subjects',
          'roleRef',
          this.word(),
        ])
      ] = this.value(depth + 1);
    return out;
  }
  /** A plausible object with one part replaced. */
  object(kind: KindInfo): unknown {
    const base: Record<string, unknown> = {
      apiVersion: this.chance(20) ? this.value(5) : kind.group === '' ? kind.version : `${kind.group}/${kind.version}`,
      kind: this.chance(20) ? this.value(5) : kind.kind,
      metadata: this.chance(4)
        ? this.value(2)
        : { name: this.pick(['a', 'b']), ...(this.chance(3) ? { labels: { a: 'b' } } : {}) },
      spec: {
        serviceName: 's',
        replicas: 1,
        selector: { matchLabels: { a: 'b' } },
        ports: [{ port: 80 }],
        containers: [{ name: 'c', image: 'i' }],
        template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } },
      },
    };
    if (this.chance(3))
      base[this.pick(['metadata', 'spec', 'status', 'data', 'rules', 'subjects', 'roleRef'])] = this.value(0);
    if (this.chance(3)) base.spec = { ...(base.spec as object), ...(this.value(1) as object) };
    return base;
  }
  body(kind: KindInfo, method: string): string | Uint8Array {
    const text =
      method === 'PATCH' && this.chance(4)
        ? JSON.stringify([
            {
              op: this.pick(['add', 'remove', 'replace', 'test', 'move', 'copy', 'x']),
              path: this.pick([
                '/spec',
                '/spec/replicas',
                '/metadata/labels/a',
                '/-',
                '',
                'x',
                '/spec/containers/9',
                '/~9',
              ]),
              from: '/spec',
              value: this.value(1),
            },
          ])
        : JSON.stringify(this.object(kind));
    if (this.chance(6)) {
      const bytes = Buffer.from(text);
      for (let n = 0; n < 3; n++) bytes[this.#random.uint32() % bytes.length] = this.#random.uint32() & 0xff;
      return bytes;
    }
    if (this.chance(10))
      return this.pick([
        '{"a":'.repeat(5000),
        'a: &a [*a]',
        '- '.repeat(3000),
        'k8s\0\x0a\xff',
        '"',
        'a: b: c',
        '---\n---\n',
        '{'.repeat(100_000),
      ]);
    return this.chance(12) ? text.slice(0, this.#random.uint32() % text.length) : text;
  }
}

describe('fuzz', () => {
  test('requests: every one is answered, none with an internal error, and memory stays', {
    timeout: Math.max(600_000, rounds * 30),
  }, async () => {
    const make = new Maker(seededRandom(seed));
    const before = process.memoryUsage.rss();
    const seen = new Map<number, number>();
    for (let round = 0; round < rounds; round++) {
      const kind = make.pick(builtinKinds.all);
      const method = make.chance(15) ? make.pick(['HEAD', 'OPTIONS', 'TRACEX']) : make.pick(methods);
      const path = make.path(kind, method) + make.query();
      const body = make.body(make.chance(10) ? make.pick(builtinKinds.all) : kind, method);
      const headers = make.headers(method);
      const response = await server.api.fetch(
        new Request(`http://x${path}`, { method, headers, ...(method === 'GET' || method === 'HEAD' ? {} : { body }) }),
        // Who brings credentials is asked for them; else it is the administrator.
        headers.authorization === undefined ? { identity: admin } : {},
      );
      const text = await response.text();
      seen.set(response.status, (seen.get(response.status) ?? 0) + 1);
      if (response.status === 500 && !ofTheClient.test(text))
        throw new Error(
          `seed ${seed} round ${round}: ${method} ${path.slice(0, 300)} ${JSON.stringify(headers).slice(0, 200)} ${Buffer.from(body).toString('latin1').slice(0, 600)}\n${lastError}`,
        );
      expect(response.status).toBeGreaterThanOrEqual(200);
    }
    // The walk must reach the depths: objects are made, refused and found.
    for (const status of [200, 201, 400, 401, 403, 404, 405, 422]) expect(seen.get(status) ?? 0).toBeGreaterThan(0);
    if (process.env.FUZZ_ROUNDS !== undefined) console.log(JSON.stringify([...seen]));
    expect((await server.call('GET', '/readyz')).status).toBe(200);
    expect(process.memoryUsage.rss() - before).toBeLessThan(400 * 1024 * 1024);
  });

  test('bytes on the wire: garbage, half requests and floods of headers leave the server well', async () => {
    const random = seededRandom(seed);
    const port = server.listener!.port;
    const texts = [
      'GET / HTTP/1.1\r\n',
      'GET /api/v1/pods HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n',
      'POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n',
      `GET / HTTP/1.1\r\n${'a: b\r\n'.repeat(5000)}\r\n`,
      `GET /${'a'.repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      'GET /api/v1/namespaces/f/pods/a/exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    ];
    const count = Math.max(20, Math.min(300, rounds / 100));
    for (let i = 0; i < count; i++) {
      const bytes = i < texts.length ? Buffer.from(texts[i]!) : Buffer.from(random.bytes(1 + (random.uint32() % 5000)));
      const protocol = i % 3 === 0 ? 'h2' : 'http/1.1';
      await new Promise<void>((resolve) => {
        const socket = tls.connect(
          { host: '127.0.0.1', port, ca: server.pki.serverCa.cert, ALPNProtocols: [protocol] },
          () => {
            if (protocol === 'h2') socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
            socket.write(bytes);
            setTimeout(() => socket.destroy(), 20);
          },
        );
        socket.on('error', () => undefined);
        socket.on('data', () => undefined);
        socket.on('close', () => resolve());
      });
    }
    const session = tls.connect({ host: '127.0.0.1', port, ca: server.pki.serverCa.cert, ALPNProtocols: ['http/1.1'] });
    const answer = await new Promise<string>((resolve) => {
      session.on('data', (piece) => resolve(String(piece)));
      session.write('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    });
    expect(answer).toContain('200');
    session.destroy();
  });
});
