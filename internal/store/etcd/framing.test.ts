import * as fs from 'node:fs';
import http2 from 'node:http2';
import * as os from 'node:os';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { utf8 } from '../../base/bytes.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { silentLogger } from '../../base/log.ts';
import { seededRandom } from '../../base/random.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import type { Store } from '../api.ts';
import { frame, MessageReader } from '../grpc/frame.ts';
import { safeNumber } from '../mvccpb.ts';
import { openStore } from '../store.ts';
import { serveEtcd } from './face-server.ts';
import { codec } from './messages.ts';

const dir = fs.mkdtempSync(`${os.tmpdir()}/etcd-framing-`);
const common = { clock: systemClock, random: systemRandom, log: silentLogger };
let store: Store;
let face: { port: number; close(): Promise<void> };

beforeAll(async () => {
  store = await openStore({ ...common, dir: `${dir}/store`, disk: systemDisk, writer: 'inline' });
  face = await serveEtcd({ ...common, store, addresses: ['127.0.0.1'], port: 0 });
});
afterAll(async () => {
  await face.close();
  await store.close();
  fs.rmSync(dir, { recursive: true });
});

const encode = (name: string, fields: object): Uint8Array => codec(name).encode(fields);

/** A request as bytes on an HTTP/2 stream, for what no proper client sends; `on`: a session that goes on. */
function raw(
  options: { headers?: http2.OutgoingHttpHeaders; body?: Uint8Array; end?: boolean },
  on?: http2.ClientHttp2Session,
): Promise<{ http: number; status: string; message: string }> {
  return new Promise((resolve, reject) => {
    const session = on ?? http2.connect(`http://127.0.0.1:${face.port}`);
    if (on === undefined) session.on('error', reject);
    const request = session.request({
      ':method': 'POST',
      ':path': '/etcdserverpb.KV/Put',
      'content-type': 'application/grpc',
      te: 'trailers',
      ...options.headers,
    });
    const found = { http: 0, status: '', message: '' };
    const take = (headers: http2.IncomingHttpHeaders): void => {
      found.http ||= Number(headers[':status'] ?? 0);
      found.status ||= String(headers['grpc-status'] ?? '');
      found.message ||= decodeURIComponent(String(headers['grpc-message'] ?? ''));
    };
    request.on('response', take);
    request.on('trailers', take);
    request.on('data', () => undefined);
    request.on('error', () => undefined);
    request.on('close', () => {
      if (on === undefined) session.destroy();
      resolve(found);
    });
    if (options.body) request.write(options.body);
    if (options.end ?? true) request.end();
  });
}

describe('etcd face: framing', () => {
  const message = encode('PutRequest', { key: utf8('f'), value: utf8('v') });

  test.each([
    ['a path that is none', { headers: { ':path': '/nope' } }, '12', 'malformed method name'],
    ['half a frame', { body: frame(message).subarray(0, 8) }, '13', 'unexpected EOF'],
    ['a header only', { body: frame(message).subarray(0, 3) }, '13', 'unexpected EOF'],
    ['no message', {}, '13', 'without a message'],
    ['a flag of no kind', { body: new Uint8Array([7, 0, 0, 0, 0]) }, '13', 'unexpected payload format'],
    ['a length of 4 GiB', { body: new Uint8Array([0, 255, 255, 255, 255]), end: false }, '8', 'larger than max'],
    ['an unknown compression', { headers: { 'grpc-encoding': 'zstd' }, body: frame(message) }, '12', 'not installed'],
    [
      'a compressed flag without a compression',
      { body: Buffer.concat([[1, 0, 0, 0, 1], [0]].map((x) => Buffer.from(x))) },
      '13',
      'compressed flag',
    ],
    [
      'a time that is none',
      { headers: { 'grpc-timeout': 'soon' }, body: frame(message) },
      '13',
      'malformed grpc-timeout',
    ],
    ['a deadline that passes', { headers: { 'grpc-timeout': '1m' }, end: false }, '4', 'deadline exceeded'],
    ['GET', { headers: { ':method': 'GET' } }, '13', 'POST'],
  ] as const)('%s is answered', async (_what, request, status, text) => {
    const answer = await raw(request as Parameters<typeof raw>[0]);
    expect([answer.status, answer.message]).toEqual([status, expect.stringContaining(text)]);
  });

  test('another content type is no gRPC call', async () => {
    expect((await raw({ headers: { 'content-type': 'application/json' } })).http).toBe(404);
    expect((await raw({ headers: { 'content-type': 'text/plain', ':path': '/health' } })).http).toBe(200);
  });

  const headers = { 'grpc-encoding': 'gzip' };
  const packed = (bytes: Uint8Array): Uint8Array => {
    const out = frame(gzipSync(bytes));
    out[0] = 1;
    return out;
  };

  test('what comes behind the message of a call that takes one is not looked at, whatever it unpacks to', async () => {
    const broken = packed(message);
    broken.fill(0, 8);
    for (const first of [message, new Uint8Array()].map(packed))
      expect(await raw({ headers, body: Buffer.concat([first, ...Array<Uint8Array>(100).fill(broken)]) })).toEqual(
        await raw({ headers, body: first }),
      );
  });

  test('messages of a stream are taken in order, packed ones and others', async () => {
    const ids = Array.from({ length: 60 }, (_, i) => 1000 + i);
    await Promise.all(ids.map((id) => store.leaseGrant(id, BigInt(id))));
    const renewal = (ID: number) => encode('LeaseKeepAliveRequest', { ID });
    const answers: number[] = [];
    const session = http2.connect(`http://127.0.0.1:${face.port}`);
    const request = session.request({
      ...{ ':method': 'POST', ':path': '/etcdserverpb.Lease/LeaseKeepAlive', 'content-type': 'application/grpc' },
      ...headers,
    });
    const reader = new MessageReader(1 << 20);
    request.on('data', (chunk: Uint8Array) => {
      for (const { bytes } of reader.push(chunk))
        answers.push(safeNumber(codec<{ ID: number }>('LeaseKeepAliveResponse').decode(bytes).ID));
    });
    const framed = ids.map((id, i) => (i % 3 === 0 ? packed(renewal(id)) : frame(renewal(id))));
    request.write(Buffer.concat(framed.slice(0, 40)));
    for (const one of framed.slice(40)) request.write(one);
    request.end();
    await new Promise((resolve) => request.once('close', resolve));
    session.destroy();
    expect(answers).toEqual(ids);
  });

  test('gzip is unpacked, and a bomb is refused', async () => {
    expect((await raw({ headers, body: packed(message) })).status).toBe('0');
    const bomb = encode('PutRequest', { key: utf8('f'), value: new Uint8Array(50 << 20) });
    expect(await raw({ headers, body: packed(bomb) })).toMatchObject({
      status: '8',
      message: expect.stringContaining('after decompression') as string,
    });
    const broken = packed(message);
    broken.fill(0, 8);
    expect((await raw({ headers, body: broken })).status).toBe('13');
  });

  test('a message in single bytes is one message', async () => {
    const answer = await new Promise<string>((resolve, reject) => {
      const session = http2.connect(`http://127.0.0.1:${face.port}`);
      session.on('error', reject);
      const request = session.request({
        ':method': 'POST',
        ':path': '/etcdserverpb.KV/Put',
        'content-type': 'application/grpc+proto',
      });
      request.on('trailers', (headers) => resolve(String(headers['grpc-status'])));
      request.on('data', () => undefined);
      request.on('close', () => session.destroy());
      for (const byte of frame(message)) request.write(new Uint8Array([byte]));
      request.end();
    });
    expect(answer).toBe('0');
  });

  test('fuzz: damaged calls are answered with a status or accepted, and the face lives', async () => {
    const random = seededRandom(Number(process.env.FUZZ_SEED ?? 1));
    const paths = [
      'KV/Put',
      'KV/Txn',
      'KV/Range',
      'KV/DeleteRange',
      'Lease/LeaseTimeToLive',
      'Cluster/MemberAdd',
      'Watch/Watch',
      'Lease/LeaseKeepAlive',
    ];
    const txn = encode('TxnRequest', {
      compare: [{ key: utf8('a'), target: 3, value: utf8('b') }],
      success: [
        { requestPut: { key: utf8('fuzz'), value: utf8('b') } },
        { requestTxn: { failure: [{ requestDeleteRange: { key: utf8('fz') } }] } },
      ],
    });
    const rounds = Number(process.env.FUZZ_ROUNDS ?? 200);
    // A connection for each would use up the ports of a long run.
    let session = http2.connect(`http://127.0.0.1:${face.port}`);
    for (let round = 0; round < rounds; round++) {
      if (session.destroyed) session = http2.connect(`http://127.0.0.1:${face.port}`);
      const bytes = Buffer.from(random.uint32() % 2 === 0 ? frame(txn) : frame(message));
      for (let i = 0; i <= random.uint32() % 5; i++) bytes[random.uint32() % bytes.length] = random.uint32() & 0xff;
      const answer = await raw(
        {
          headers: { ':path': `/etcdserverpb.${paths[random.uint32() % paths.length]}` },
          body: bytes.subarray(0, random.uint32() % (bytes.length + 1)),
        },
        session,
      );
      expect(answer.status, `round ${round}`).toMatch(/^\d+$/);
    }
    session.destroy();
    await store.put({ key: utf8('alive'), value: utf8('yes') });
    expect((await raw({ body: frame(message) })).status).toBe('0');
  });
});
