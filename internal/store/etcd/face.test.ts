import { X509Certificate } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import { connect, type SecureVersion } from 'node:tls';
import { Writer } from 'protobufjs/minimal.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { utf8 } from '../../base/bytes.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { silentLogger } from '../../base/log.ts';
import { seededRandom } from '../../base/random.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import { issueCertificate, type KeyPair, makeAuthority } from '../../pki/certificates.ts';
import type { Store } from '../api.ts';
import { GrpcConnection, type ClientStream } from '../grpc/client.ts';
import { GrpcError, grpcCode } from '../grpc/status.ts';
import { openStore } from '../store.ts';
import { serveEtcd } from './face-server.ts';
import { safeNumber } from '../mvccpb.ts';
import { codec } from './messages.ts';

const dir = fs.mkdtempSync(`${os.tmpdir()}/etcd-face-`);
let store: Store;
let face: { port: number; close(): Promise<void> };
let connection: GrpcConnection;

beforeAll(async () => {
  store = await openStore({
    dir: `${dir}/store`,
    disk: systemDisk,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    writer: 'inline',
  });
  face = await serveEtcd({
    store,
    addresses: ['127.0.0.1'],
    port: 0,
    limits: { progressNotifyMs: 30, watchBytes: 100_000 },
    clock: systemClock,
    random: seededRandom(3),
    log: silentLogger,
  });
  connection = await GrpcConnection.connect({ host: '127.0.0.1', port: face.port }, () => undefined);
});
afterAll(async () => {
  connection.close();
  await face.close();
  await store.close();
  fs.rmSync(dir, { recursive: true });
});

const call = (path: string, message: Uint8Array = new Uint8Array()): Promise<Uint8Array> =>
  connection.unary(path.includes('/') ? path : `/etcdserverpb.KV/${path}`, message, 20_000);
const encode = (name: string, fields: object): Uint8Array => codec(name).encode(fields);
const put = (key: string, value: string | Uint8Array) =>
  call('Put', encode('PutRequest', { key: utf8(key), value: typeof value === 'string' ? utf8(value) : value }));
/** A transaction that holds one, which holds one, and so on, this deep. */
function chain(depth: number): Uint8Array {
  let inner = new Uint8Array();
  for (; depth > 0; depth--) {
    const operation = Writer.create().uint32(34).bytes(inner).finish();
    inner = Writer.create().uint32(18).bytes(operation).finish() as Uint8Array<ArrayBuffer>;
  }
  return inner;
}
const refusal = async (work: Promise<unknown>): Promise<[number, string]> => {
  const error = await work.then(
    () => new Error('was accepted'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof GrpcError)) throw error;
  return [error.status, error.message];
};

interface WatchAnswer {
  watchId: number;
  created: boolean;
  canceled: boolean;
  compactRevision: number;
  cancelReason: string;
  fragment: boolean;
  header: { revision: number };
  events: { type: number; kv: { key: Uint8Array; value: Uint8Array; modRevision: number }; prevKv: object | null }[];
}
const watchCodec = codec<WatchAnswer>('WatchResponse');

/** With plain numbers: none of these tests has large ones. */
function readWatchAnswer(bytes: Uint8Array): WatchAnswer {
  const { watchId, created, canceled, compactRevision, cancelReason, fragment, header, events } =
    watchCodec.decode(bytes);
  return {
    watchId: safeNumber(watchId),
    created,
    canceled,
    compactRevision: safeNumber(compactRevision),
    cancelReason,
    fragment,
    header: { revision: safeNumber(header.revision) },
    events: events.map(({ type, kv, prevKv }) => ({
      type,
      kv: { key: kv.key, value: kv.value, modRevision: safeNumber(kv.modRevision) },
      prevKv,
    })),
  };
}

function openWatch(on = connection) {
  const answers: WatchAnswer[] = [];
  let ended: GrpcError | undefined | null = null;
  const stream: ClientStream = on.stream('/etcdserverpb.Watch/Watch', {
    onMessage: (bytes) => answers.push(readWatchAnswer(bytes)),
    onEnd: (error) => {
      ended = error;
    },
  });
  return {
    answers,
    ended: () => ended,
    cancel: () => stream.cancel(),
    send: (fields: object) => stream.send(encode('WatchRequest', fields)),
    create: (fields: object) => stream.send(encode('WatchRequest', { createRequest: fields })),
  };
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 3000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 3));
  expect(condition()).toBe(true);
}

describe('etcd face: refusals are etcd’s', () => {
  const key = utf8('k');
  const range = (fields: object) => () => call('Range', encode('RangeRequest', { key, ...fields }));
  const putOf = (fields: object) => () => call('Put', encode('PutRequest', { key, ...fields }));
  const txn = (fields: object) => () => call('Txn', encode('TxnRequest', fields));
  const one = { requestPut: { key, value: key } };
  const ops = (count: number) => Array.from({ length: count }, (_, i) => ({ requestRange: { key: utf8(`k${i}`) } }));
  const nested = (depth: number): object => ({
    requestTxn: {
      success: [{ requestRange: { key } }, { requestRange: { key } }, ...(depth > 0 ? [nested(depth - 1)] : [])],
    },
  });
  const table: [string, () => Promise<unknown>, number, string][] = [
    ['an empty key', range({ key: '' }), grpcCode.invalidArgument, 'etcdserver: key is not provided'],
    ['an empty key of a put', putOf({ key: '' }), grpcCode.invalidArgument, 'etcdserver: key is not provided'],
    ['a sort of no known kind', range({ sortTarget: 9 }), grpcCode.invalidArgument, 'etcdserver: invalid sort option'],
    [
      'a future revision',
      range({ revision: 1e9 }),
      grpcCode.outOfRange,
      'etcdserver: mvcc: required revision is a future revision',
    ],
    [
      'a value beside ignore_value',
      putOf({ value: key, ignoreValue: true }),
      grpcCode.invalidArgument,
      'etcdserver: value is provided',
    ],
    [
      'a lease beside ignore_lease',
      putOf({ lease: 5, ignoreLease: true }),
      grpcCode.invalidArgument,
      'etcdserver: lease is provided',
    ],
    [
      'ignore_value of no key',
      putOf({ key: utf8('none'), ignoreValue: true }),
      grpcCode.invalidArgument,
      'etcdserver: key not found',
    ],
    ['a lease that does not exist', putOf({ lease: 77 }), grpcCode.notFound, 'etcdserver: requested lease not found'],
    [
      'a key put twice',
      txn({ success: [one, one] }),
      grpcCode.invalidArgument,
      'etcdserver: duplicate key given in txn request',
    ],
    [
      '129 operations',
      txn({ success: ops(129) }),
      grpcCode.invalidArgument,
      'etcdserver: too many operations in txn request',
    ],
    [
      '100,000 operations',
      txn({ success: ops(100_000) }),
      grpcCode.invalidArgument,
      'etcdserver: too many operations in txn request',
    ],
    [
      '44 nested transactions of three operations',
      txn({ success: [nested(44)] }),
      grpcCode.invalidArgument,
      'etcdserver: too many operations in txn request',
    ],
    [
      '130 transactions in one another',
      () => call('Txn', chain(129)),
      grpcCode.invalidArgument,
      'etcdserver: too many operations in txn request',
    ],
    [
      '3001 transactions in one another',
      () => call('Txn', chain(3000)),
      grpcCode.invalidArgument,
      'etcdserver: too many operations in txn request',
    ],
    ['an operation of no kind', txn({ success: [{}] }), grpcCode.invalidArgument, 'etcdserver: key not found'],
    [
      '1.6 MiB',
      putOf({ value: new Uint8Array(1.6 * 2 ** 20) }),
      grpcCode.invalidArgument,
      'etcdserver: request is too large',
    ],
    [
      '3 MiB',
      putOf({ value: new Uint8Array(3 * 2 ** 20) }),
      grpcCode.resourceExhausted,
      'grpc: received message larger than max',
    ],
    [
      'a compaction in the future',
      () => call('Compact', encode('CompactionRequest', { revision: 1e9 })),
      grpcCode.outOfRange,
      'etcdserver: mvcc: required revision is a future revision',
    ],
    [
      'a compaction of a negative revision',
      () => call('Compact', encode('CompactionRequest', { revision: -3 })),
      grpcCode.outOfRange,
      'etcdserver: mvcc: required revision has been compacted',
    ],
    [
      'a lease id twice',
      async () => {
        await grant(4242);
        await grant(4242);
      },
      grpcCode.failedPrecondition,
      'etcdserver: lease already exists',
    ],
    [
      'a lease of 300 years',
      () => call('/etcdserverpb.Lease/LeaseGrant', encode('LeaseGrantRequest', { TTL: 9_000_000_001 })),
      grpcCode.outOfRange,
      'etcdserver: too large lease TTL',
    ],
    [
      'revoking no lease',
      () => call('/etcdserverpb.Lease/LeaseRevoke', encode('LeaseRevokeRequest', { ID: 99 })),
      grpcCode.notFound,
      'etcdserver: requested lease not found',
    ],
    [
      'moving to no member',
      () => call('/etcdserverpb.Maintenance/MoveLeader', encode('MoveLeaderRequest', { targetID: 5 })),
      grpcCode.failedPrecondition,
      'etcdserver: bad leader transferee',
    ],
    [
      'a downgrade',
      () => call('/etcdserverpb.Maintenance/Downgrade', encode('DowngradeRequest', { version: '3.4.0' })),
      grpcCode.invalidArgument,
      'etcdserver: invalid downgrade target version',
    ],
    [
      'a member’s URL that is none',
      () => call('/etcdserverpb.Cluster/MemberAdd', encode('MemberAddRequest', { peerURLs: ['x'] })),
      grpcCode.invalidArgument,
      'etcdserver: given member URLs are invalid',
    ],
    [
      'removing no member',
      () => call('/etcdserverpb.Cluster/MemberRemove', encode('MemberRemoveRequest', { ID: 5 })),
      grpcCode.notFound,
      'etcdserver: member not found',
    ],
    [
      'Authenticate',
      () => call('/etcdserverpb.Auth/Authenticate'),
      grpcCode.failedPrecondition,
      'etcdserver: authentication is not enabled',
    ],
    [
      'a wrong service',
      () => call('/etcdserverpb.Nope/Put'),
      grpcCode.unimplemented,
      'unknown service etcdserverpb.Nope',
    ],
    [
      'the lock service, which etcdctl’s lock does not need',
      () => call('/v3lockpb.Lock/Lock'),
      grpcCode.unimplemented,
      'unknown service v3lockpb.Lock',
    ],
    [
      'the election service',
      () => call('/v3electionpb.Election/Campaign'),
      grpcCode.unimplemented,
      'unknown service v3electionpb.Election',
    ],
    ['a wrong method', () => call('Nope'), grpcCode.unimplemented, 'unknown method Nope for service etcdserverpb.KV'],
    [
      'bytes that are no message',
      () => call('Put', new Uint8Array([0x0a, 0xff, 0xff])),
      grpcCode.internal,
      'grpc: error unmarshalling request',
    ],
  ];
  const grant = (id: number) =>
    call('/etcdserverpb.Lease/LeaseGrant', encode('LeaseGrantRequest', { TTL: 60, ID: id }));

  test.each(table)('%s', async (_what, work, status, text) => {
    const [code, message] = await refusal(work());
    expect(message).toContain(text);
    expect(code).toBe(status);
  });

  test('transactions are taken as deep in one another as etcd takes them: the innermost is the 129th', async () => {
    const answer = await call('Txn', chain(128));
    expect(codec<{ succeeded: boolean }>('TxnResponse').decode(answer).succeeded).toBe(true);
  });

  test('unknown fields are skipped and negative numbers mean what they mean in etcd', async () => {
    const unknown = Writer.create()
      .uint32(8002)
      .bytes(utf8('later'))
      .uint32(10)
      .bytes(utf8('u'))
      .uint32(18)
      .bytes(utf8('v'));
    await call('Put', unknown.finish());
    // A value that is not there is an empty one, also to compare with.
    await call('Put', encode('PutRequest', { key: utf8('empty') }));
    const compared = await call('Txn', encode('TxnRequest', { compare: [{ key: utf8('empty'), target: 3 }] }));
    expect(codec<{ succeeded: boolean }>('TxnResponse').decode(compared).succeeded).toBe(true);
    const answer = codec<{ kvs: { value: Uint8Array }[] }>('RangeResponse').decode(
      await call('Range', encode('RangeRequest', { key: utf8('u'), revision: -5, limit: -1 })),
    );
    expect(Buffer.from(answer.kvs[0]!.value).toString()).toBe('v');
  });
});

describe('etcd face: watches', () => {
  test('ids are given or taken, a taken one twice is refused, a cancelled one is told', async () => {
    const watch = openWatch();
    watch.create({ key: utf8('w/1') });
    watch.create({ key: utf8('w/2'), watchId: 7 });
    watch.create({ key: utf8('w/3'), watchId: 7 });
    watch.create({ key: utf8('z'), rangeEnd: utf8('a') });
    watch.send({ cancelRequest: { watchId: 7 } });
    await until(() => watch.answers.length === 5);
    expect(
      watch.answers.map(({ watchId, created, canceled, cancelReason }) => [watchId, created, canceled, cancelReason]),
    ).toEqual([
      [0, true, false, ''],
      [7, true, false, ''],
      [-1, true, true, 'mvcc: duplicate watch ID provided on the WatchStream'],
      [-1, true, true, 'mvcc: watcher range is empty'],
      [7, false, true, ''],
    ]);
    await put('w/1', 'x');
    await put('w/2', 'x');
    await until(() => watch.answers.length === 6);
    expect(watch.answers[5]).toMatchObject({ watchId: 0, events: [{ type: 0 }] });
    watch.cancel();
  });

  test('history, filters, previous values and a compacted begin', async () => {
    const first = store.revision + 1;
    await put('h', '1');
    await put('h', '2');
    await call('DeleteRange', encode('DeleteRangeRequest', { key: utf8('h') }));
    const watch = openWatch();
    watch.create({ key: utf8('h'), startRevision: first, prevKv: true });
    watch.create({ key: utf8('h'), startRevision: first, filters: [0] });
    await until(() => watch.answers.flatMap(({ events }) => events).length === 4);
    const events = (id: number) =>
      watch.answers.filter(({ watchId }) => watchId === id).flatMap((answer) => answer.events);
    expect(events(0).map(({ type, prevKv }) => [type, prevKv !== null])).toEqual([
      [0, false],
      [0, true],
      [1, true],
    ]);
    expect(events(1).map(({ type }) => type)).toEqual([1]);
    await call('Compact', encode('CompactionRequest', { revision: store.revision }));
    watch.create({ key: utf8('h'), startRevision: first, watchId: 5 });
    await until(() => watch.answers.some(({ watchId, canceled }) => watchId === 5 && canceled));
    expect(watch.answers.at(-1)).toMatchObject({ compactRevision: store.revision });
    watch.cancel();
  });

  test('progress comes by itself when nothing happens, and when it is asked for', async () => {
    const watch = openWatch();
    watch.create({ key: utf8('quiet'), progressNotify: true });
    await put('other', '1');
    await until(() =>
      watch.answers.some(
        ({ created, events, header }) => !created && events.length === 0 && header.revision === store.revision,
      ),
    );
    watch.send({ progressRequest: {} });
    await until(() => watch.answers.some(({ watchId }) => watchId === -1));
    watch.cancel();
  });

  test('fragments: a revision larger than a request is cut, and put together it is whole', async () => {
    const value = new Uint8Array(60_000).fill(1);
    const start = store.revision + 1;
    for (let i = 0; i < 3; i++)
      await store.txn({
        compare: [],
        success: Array.from({ length: 60 }, (_, k) => ({
          op: 'put' as const,
          request: { key: utf8(`big/${i}/${k}`), value },
        })),
        failure: [],
      });
    const watch = openWatch();
    watch.create({ key: utf8('big/'), rangeEnd: utf8('big0'), startRevision: start, fragment: true });
    await until(() => watch.answers.flatMap(({ events }) => events).length === 180);
    expect(watch.answers.filter(({ fragment }) => fragment).length).toBeGreaterThan(0);
    expect(watch.answers.at(-1)!.fragment).toBe(false);
    watch.cancel();
  });

  test('a client that does not read is told everything once when it reads again, and holds little of the server', async () => {
    const slow = await GrpcConnection.connect({ host: '127.0.0.1', port: face.port }, () => undefined);
    const watch = openWatch(slow);
    watch.create({ key: utf8('slow/'), rangeEnd: utf8('slow0') });
    await until(() => watch.answers.length === 1);
    // Not reading cannot be told to this client; what is written in one go is far more than a stream holds.
    const value = new Uint8Array(20_000);
    await Promise.all(Array.from({ length: 400 }, (_, i) => store.put({ key: utf8(`slow/${i}`), value })));
    await until(() => watch.answers.flatMap(({ events }) => events).length >= 400);
    const revisions = watch.answers.flatMap(({ events }) => events.map(({ kv }) => kv.modRevision));
    expect(revisions).toEqual([...revisions].sort((a, b) => a - b));
    expect(new Set(revisions).size).toBe(400);
    slow.close();
  });

  test('a client that asks for more than it reads is answered when it reads', async () => {
    const deaf = await GrpcConnection.connect({ host: '127.0.0.1', port: face.port }, () => undefined);
    let answers = 0;
    const stream = deaf.stream('/etcdserverpb.Watch/Watch', { onMessage: () => answers++, onEnd: () => undefined });
    stream.pause();
    // More answers than this client's window (4 MiB) holds.
    const refused = encode('WatchRequest', { createRequest: { key: utf8('z'), rangeEnd: utf8('a') } });
    const asked = 100_000;
    for (let i = 0; i < asked; i++) stream.send(refused);
    await put('others', 'are served');
    stream.resume();
    await until(() => answers === asked);
    deaf.close();
  });

  test('a thousand streams on one connection are each told', async () => {
    const watches = Array.from({ length: 1000 }, () => openWatch());
    for (const watch of watches) watch.create({ key: utf8('many') });
    await until(() => watches.every(({ answers }) => answers.length === 1));
    await put('many', 'x');
    await until(() => watches.every(({ answers }) => answers.length === 2));
    for (const watch of watches) watch.cancel();
  });
});

describe('etcd face: over TLS', () => {
  const serial = () => systemRandom.bytes(16);
  const make = async (authority: KeyPair, usage: 'client' | 'server') =>
    issueCertificate(authority, { commonName: 'x', usage, ipAddresses: ['127.0.0.1'] }, Date.now(), serial());

  test('a renewed certificate is shown to new connections; those that are open go on', async () => {
    const ca = await makeAuthority('ca', Date.now(), serial());
    const [first, renewed, client] = await Promise.all([make(ca, 'server'), make(ca, 'server'), make(ca, 'client')]);
    const common = { store, clock: systemClock, random: systemRandom, log: silentLogger };
    const tls = { ...first, clientCa: ca.cert };
    const secure = await serveEtcd({ ...common, addresses: ['127.0.0.1'], port: 0, tls });
    const shown = (): Promise<string | undefined> =>
      new Promise((resolve, reject) => {
        const socket = connect({ ...client, host: '127.0.0.1', port: secure.port, ca: ca.cert }, () => {
          resolve(socket.getPeerX509Certificate()?.fingerprint256);
          socket.destroy();
        });
        socket.on('error', reject);
      });
    const ask = (on: GrpcConnection) =>
      on.unary('/etcdserverpb.KV/Range', encode('RangeRequest', { key: utf8('a') }), 3000);
    const target = { host: '127.0.0.1', port: secure.port, tls: { ca: ca.cert, cert: client.cert, key: client.key } };
    const open = await GrpcConnection.connect(target, () => undefined);
    await ask(open);
    expect(await shown()).toBe(new X509Certificate(first.cert).fingerprint256);
    secure.renew({ ...renewed, clientCa: ca.cert });
    expect(await shown()).toBe(new X509Certificate(renewed.cert).fingerprint256);
    await ask(open);
    await ask(await GrpcConnection.connect(target, () => undefined));
    await secure.close();
  });

  test('nothing older than 1.2 is spoken, nor after the certificate is renewed', async () => {
    const ca = await makeAuthority('ca', Date.now(), serial());
    const [server, client] = await Promise.all([make(ca, 'server'), make(ca, 'client')]);
    const common = { store, clock: systemClock, random: systemRandom, log: silentLogger };
    const tls = { ...server, clientCa: ca.cert };
    const secure = await serveEtcd({ ...common, addresses: ['127.0.0.1'], port: 0, tls });
    /** With a client that knows but one version; undefined when there is none that both speak. */
    const spoken = (version: SecureVersion): Promise<string | null | undefined> =>
      new Promise((resolve) => {
        const range = { minVersion: version, maxVersion: version };
        const socket = connect({ ...client, ...range, host: '127.0.0.1', port: secure.port, ca: ca.cert });
        socket.once('secureConnect', () => {
          resolve(socket.getProtocol());
          socket.destroy();
        });
        socket.once('error', () => resolve(undefined));
        socket.once('close', () => resolve(undefined));
      });
    for (let renewed = 0; renewed < 2; renewed++) {
      expect(await spoken('TLSv1.3')).toBe('TLSv1.3');
      expect(await spoken('TLSv1.2')).toBe('TLSv1.2');
      expect(await spoken('TLSv1.1')).toBeUndefined();
      expect(await spoken('TLSv1')).toBeUndefined();
      secure.renew(tls);
    }
    await secure.close();
  });

  test('a client needs a certificate of the client CA; a closing server tells and ends its watches', async () => {
    const [ca, other] = await Promise.all(['ca', 'other'].map((name) => makeAuthority(name, Date.now(), serial())));
    const [server, client, stranger] = await Promise.all([
      make(ca!, 'server'),
      make(ca!, 'client'),
      make(other!, 'client'),
    ]);
    const secure = await serveEtcd({
      store,
      addresses: ['127.0.0.1'],
      port: 0,
      tls: { ...server!, clientCa: ca!.cert },
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
    });
    const connect = (pair?: KeyPair) =>
      GrpcConnection.connect(
        {
          host: '127.0.0.1',
          port: secure.port,
          tls: { ca: ca!.cert, ...(pair && { cert: pair.cert, key: pair.key }) },
        },
        () => {
          closed = true;
        },
      );
    let closed = false;
    const ask = (on: GrpcConnection) =>
      on.unary('/etcdserverpb.KV/Range', encode('RangeRequest', { key: utf8('a') }), 3000);
    for (const pair of [undefined, stranger]) {
      const failed = await connect(pair)
        .then(ask)
        .then(
          () => 'was accepted',
          (error: unknown) => error,
        );
      expect(failed).toBeInstanceOf(GrpcError);
    }
    const good = await connect(client);
    await ask(good);
    closed = false;
    const watch = openWatch(good);
    watch.create({ key: utf8('a') });
    await until(() => watch.answers.length === 1);
    await secure.close();
    await until(() => closed && watch.ended() !== null);
  });
});
