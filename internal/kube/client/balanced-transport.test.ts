import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { systemClock, systemRandom } from '../../base/system.ts';
import { issueCertificate, type KeyPair, makeAuthority } from '../../pki/certificates.ts';
import { balancedTransport } from './balanced-transport.ts';
import type { TlsMaterial } from './https-transport.ts';

/** Real HTTPS servers on loopback that answer, are silent, or are gone. */

const serial = (): Uint8Array => systemRandom.bytes(16);
let ca: KeyPair;
let pair: KeyPair;
let material: TlsMaterial;
const stops: (() => void)[] = [];

beforeAll(async () => {
  ca = await makeAuthority('ca', systemClock.now(), serial());
  const request = { commonName: 'x', usage: 'peer' as const, dnsNames: ['kubernetes'], ipAddresses: ['127.0.0.1'] };
  pair = await issueCertificate(ca, request, systemClock.now(), serial());
  material = { ca: ca.cert, cert: pair.cert, key: pair.key, serverName: 'kubernetes' };
});
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

class Api {
  readonly asked: string[] = [];
  status = 200;
  silent = false;
  ready = true;
  readonly #server: Bun.Server<undefined>;

  constructor(readonly name: string) {
    this.#server = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      tls: { cert: pair.cert, key: pair.key },
      fetch: (request) => this.#answer(request),
    });
    stops.push(() => this.stop());
  }

  get address(): string {
    return `127.0.0.1:${this.#server.port}`;
  }

  fail(how: 'silent' | 'not ready'): void {
    if (how === 'silent') this.silent = true;
    else this.ready = false;
  }

  stop(): void {
    void this.#server.stop(true);
  }

  async #answer(request: Request): Promise<Response> {
    const url = new URL(request.url);
    if (this.silent) await new Promise(() => undefined);
    if (url.pathname === '/readyz') return new Response('', { status: this.ready ? 200 : 500 });
    this.asked.push(`${request.method} ${url.pathname}`);
    if (!url.searchParams.has('watch')) return new Response(this.name, { status: this.status });
    const body = new ReadableStream({ start: (stream) => stream.enqueue(Buffer.from(`${this.name}\n`)) });
    return new Response(body);
  }
}

const times = { answerMs: 3000, probeEveryMs: 50, probeMs: 400 };
const connect = (...servers: Api[]) =>
  balancedTransport(
    () => material,
    () => servers.map(({ address }) => address),
    times,
  );
const get = (path = '/a') => new Request(`https://kubernetes${path}`);
const put = () => new Request('https://kubernetes/a', { method: 'PUT', body: 'x' });

describe('requests to one of several servers', () => {
  test('it stays with one that answers, and goes on with another one when that is gone', async () => {
    const [a, b] = [new Api('a'), new Api('b')];
    const send = connect(a, b);
    for (let i = 0; i < 3; i++) expect(await (await send(get())).text()).toBe('a');
    a.stop();
    expect(await (await send(get())).text()).toBe('b');
    expect(await (await send(put())).text()).toBe('b');
    expect(b.asked).toEqual(['GET /a', 'PUT /a']);
  });

  test('a silent server: reads go on elsewhere, a write is told to have failed and is not sent twice', async () => {
    const [a, b] = [new Api('a'), new Api('b')];
    const send = connect(a, b);
    a.silent = true;
    await expect(send(put())).rejects.toThrow();
    expect(b.asked).toEqual([]);
    expect(await (await send(put())).text()).toBe('b');
    b.silent = true;
    a.silent = false;
    expect(await (await send(get())).text()).toBe('a');
  });

  test('a server without a majority: reads go on elsewhere, and writes from the next one on; with nobody left its words are told', async () => {
    const [a, b] = [new Api('a'), new Api('b')];
    const send = connect(a, b);
    a.status = 500;
    expect((await send(put())).status).toBe(500);
    expect((await send(put())).status).toBe(200);
    b.status = 503;
    const refused = await send(get());
    expect(refused.status).toBeGreaterThanOrEqual(500);
    expect(await refused.text()).toMatch(/^[ab]$/);
  });

  test.each<[string, (a: Api) => void]>([
    ['is silent', (a) => a.fail('silent')],
    ['has lost the others', (a) => a.fail('not ready')],
  ])('a watch ends when its server %s, and is opened elsewhere', async (_what, fail) => {
    const [a, b] = [new Api('a'), new Api('b')];
    const send = connect(a, b);
    const first = (await send(get('/pods?watch=true'))).body!.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    expect(Buffer.from((await first.read()).value!).toString()).toBe('a\n');
    // Silence alone ends no watch.
    const next = first.read();
    expect(await Promise.race([next.catch(() => 'ended'), Bun.sleep(800).then(() => 'open')])).toBe('open');
    fail(a);
    await expect(next).rejects.toThrow();
    const second = (await send(get('/pods?watch=true'))).body!.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    expect(Buffer.from((await second.read()).value!).toString()).toBe('b\n');
    await second.cancel();
  });
});
