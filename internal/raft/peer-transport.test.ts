import { X509Certificate } from 'node:crypto';
import { connect } from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import { DecodeError, utf8 } from '../base/bytes.ts';
import { AppError } from '../base/errors.ts';
import { type LogFields, silentLogger } from '../base/log.ts';
import { type Random, seededRandom } from '../base/random.ts';
import { systemClock, systemRandom } from '../base/system.ts';
import { issueCertificate, type KeyPair, makeAuthority } from '../pki/certificates.ts';
import { FrameReader, frameHeader, frameKinds } from './frames.ts';
import type { NodeMessage, OutgoingSnapshot, RaftNode } from './node.ts';
import { helloBytes, othersOf, urlAt } from './peer-connection-transport.ts';
import { PeerTransport } from './peer-transport.ts';
import type { Entry, SnapshotMeta } from './types.ts';
import { decodeMessage, encodeMessage } from './wire.ts';

const open: PeerTransport[] = [];
afterEach(() => {
  for (const transport of open.splice(0)) transport.close();
});

const authority = (name: string): Promise<KeyPair> => makeAuthority(name, systemClock.now(), systemRandom.bytes(16));
const certificate = (ca: KeyPair): Promise<KeyPair> =>
  issueCertificate(
    ca,
    { commonName: 'etcd-n', usage: 'peer', dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] },
    systemClock.now(),
    systemRandom.bytes(16),
  );

interface Peer {
  transport: PeerTransport;
  got: NodeMessage[];
  snapshots: { meta: SnapshotMeta; bytes: Uint8Array }[];
  /** What it says of connections that it refused or lost. */
  told: string[];
}

const ports = new Map<number, number>();

const addressOf = (id: number): string[] => (ports.has(id) ? [`https://127.0.0.1:${ports.get(id)}`] : []);

function peer(
  id: number,
  pair: KeyPair,
  ca: string,
  clusterId = 7n,
  tls = () => ({ ...pair, ca }),
  addresses: (to: number) => string[] = addressOf,
): Peer {
  const told: string[] = [];
  const tell = (message: string, fields?: LogFields): void => void told.push(`${message}: ${String(fields?.error)}`);
  const transport = new PeerTransport({
    id,
    clusterId,
    tls,
    clock: systemClock,
    log: { ...silentLogger, info: tell, warn: tell },
    addresses,
  });
  open.push(transport);
  const made: Peer = { transport, got: [], snapshots: [], told };
  transport.attach({
    step: (message: NodeMessage) => made.got.push(message),
    unreachable: () => undefined,
    receiveSnapshot: async (_from: number, _term: number, meta: SnapshotMeta, pieces: AsyncIterable<Uint8Array>) => {
      const all: Uint8Array[] = [];
      for await (const piece of pieces) all.push(piece);
      if (meta.index === 666) throw new Error('no room for it');
      made.snapshots.push({ meta, bytes: Buffer.concat(all) });
    },
  } as unknown as RaftNode);
  ports.set(id, transport.listen('127.0.0.1', 0));
  return made;
}

async function until(condition: () => boolean): Promise<boolean> {
  for (let i = 0; i < 500 && !condition(); i++) await Bun.sleep(10);
  return condition();
}

const heartbeat = (from: number, to: number, commit: number): NodeMessage => ({
  type: 'heartbeat',
  from,
  to,
  term: 1,
  commit,
  read: 0,
});

function snapshot(index: number, bytes: Uint8Array): OutgoingSnapshot {
  return {
    meta: { index, term: 3, configuration: { voters: [1, 2], outgoing: [], learners: [] } },
    bytes: bytes.length,
    pieces: async function* () {
      for (let at = 0; at < bytes.length; at += 65536) yield bytes.subarray(at, at + 65536);
    },
    release: async () => undefined,
  };
}

describe('raft peers', () => {
  test('messages and snapshots arrive; who is not known is answered where it called', async () => {
    const ca = await authority('peers');
    const a = peer(1, await certificate(ca), ca.cert);
    const b = peer(2, await certificate(ca), ca.cert);
    for (let i = 0; i < 100; i++) a.transport.send(heartbeat(1, 2, i));
    expect(await until(() => b.got.length === 100)).toBe(true);
    expect(b.got).toEqual(Array.from({ length: 100 }, (_, i) => heartbeat(1, 2, i)));
    ports.delete(1);
    b.transport.send(heartbeat(2, 1, 5));
    expect(await until(() => a.got.length === 1)).toBe(true);
    const large = systemRandom.bytes(5_000_000);
    await a.transport.sendSnapshot(2, 3, snapshot(9, large));
    expect(b.snapshots[0]!.meta).toEqual(snapshot(9, large).meta);
    expect(Buffer.compare(b.snapshots[0]!.bytes, large)).toBe(0);
    await expect(a.transport.sendSnapshot(2, 3, snapshot(666, large))).rejects.toThrow('no room for it');
  });

  test('another authority, another cluster and a wrong member are refused', async () => {
    const ca = await authority('peers');
    const other = await authority('others');
    const a = peer(1, await certificate(ca), ca.cert);
    const foreign = peer(2, await certificate(other), other.cert);
    // It trusts us, but has no certificate that we would trust.
    const guest = peer(3, await certificate(other), ca.cert);
    const cousin = peer(4, await certificate(ca), ca.cert, 8n);
    ports.set(5, ports.get(1)!);
    const lost = peer(6, await certificate(ca), ca.cert);
    /** One call, and what both sides say of it. */
    const call = async (from: Peer, id: number, to: Peer, toId: number, says: RegExp): Promise<void> => {
      const before = { caller: from.told.length, called: to.told.length };
      const news = (): string => [...from.told.slice(before.caller), ...to.told.slice(before.called)].join('; ');
      from.transport.send(heartbeat(id, toId, 1));
      await until(() => says.test(news()));
      expect(news(), `${id} calls ${toId}`).toMatch(says);
    };
    await call(foreign, 2, a, 1, /the connection to a member ended: no certificate of this cluster was shown/);
    await call(guest, 3, a, 1, /a caller was refused: no certificate of this cluster was shown/);
    await call(cousin, 4, a, 1, /a caller was refused: member 4 is of cluster 8, this is 7/);
    await call(lost, 6, a, 5, /a caller was refused: a call for member 5, this is 1/);
    await call(a, 1, foreign, 2, /the connection to a member ended: no certificate of this cluster was shown/);
    await call(a, 1, cousin, 4, /a caller was refused: member 1 is of cluster 7, this is 8/);
    expect([a, foreign, guest, cousin].map(({ got }) => got)).toEqual([[], [], [], []]);
    await expect(foreign.transport.sendSnapshot(1, 1, snapshot(1, utf8('x')))).rejects.toThrow();
    expect(a.snapshots).toEqual([]);
  });

  test('a member that comes back is called again', async () => {
    const ca = await authority('peers');
    const pair = await certificate(ca);
    const a = peer(1, pair, ca.cert);
    const b = peer(2, pair, ca.cert);
    a.transport.send(heartbeat(1, 2, 1));
    expect(await until(() => b.got.length === 1)).toBe(true);
    b.transport.close();
    const again = peer(2, pair, ca.cert);
    const arrived = await until(() => {
      a.transport.send(heartbeat(1, 2, 2));
      return again.got.length > 0;
    });
    expect(arrived).toBe(true);
  });

  test('two that know only where a third one is hear from it where the other is; nobody who is no member is called', async () => {
    const ca = await authority('peers');
    const pair = await certificate(ca);
    // Nobody listens there any more.
    const first = peer(9, pair, ca.cert);
    const before = addressOf(9);
    first.transport.close();
    const tls = (): KeyPair & { ca: string } => ({ ...pair, ca: ca.cert });
    const all = (to: number): string[] => (to <= 4 ? before : []);
    const hub = peer(1, pair, ca.cert, 7n, tls, all);
    const knowsHub = (to: number): string[] => (to === 1 ? addressOf(1) : all(to));
    const b = peer(2, pair, ca.cert, 7n, tls, knowsHub);
    const c = peer(3, pair, ca.cert, 7n, tls, (to) => (to === 4 ? [] : knowsHub(to)));
    const d = peer(4, pair, ca.cert, 7n, tls, knowsHub);
    for (const [n, one] of [d, b, c].entries()) {
      const from = [4, 2, 3][n]!;
      one.transport.send(heartbeat(from, 1, from));
      expect(await until(() => hub.got.some((message) => message.from === from))).toBe(true);
    }
    const reaches = (from: Peer, message: NodeMessage, to: Peer): Promise<boolean> =>
      until(() => {
        from.transport.send(message);
        return to.got.length > 0;
      });
    c.transport.send(heartbeat(3, 4, 1));
    expect(await reaches(c, heartbeat(3, 2, 1), b)).toBe(true);
    expect(await until(() => c.transport.problem(2) === undefined)).toBe(true);
    expect(await reaches(b, heartbeat(2, 3, 1), c)).toBe(true);
    // The one that is called calls the caller, too, where it is: a snapshot goes on a connection of its own.
    let arrived = false;
    for (let n = 0; n < 500 && !arrived; n++) {
      hub.transport.send(heartbeat(1, 2, n));
      arrived = await hub.transport.sendSnapshot(2, 1, snapshot(1, utf8('x'))).then(
        () => true,
        () => Bun.sleep(10).then(() => false),
      );
    }
    expect(b.snapshots).toHaveLength(1);
    expect(c.transport.problem(4)).toBe('no answer yet');
    expect(d.got).toEqual([]);
  });

  test('a greeting of the largest group is not too long for who reads it, and what is no address in it is left out', () => {
    const url = `https://[${'fd00:'.repeat(7)}0001]:65535`;
    const id = 'f'.repeat(14);
    const others = Object.fromEntries(Array.from({ length: 8 }, (_, n) => [`${id.slice(1)}${n}`, url]));
    const member = Number.MAX_SAFE_INTEGER;
    const hello = {
      cluster: 'f'.repeat(16),
      from: member,
      to: member,
      purpose: 'messages',
      host: url,
      port: 65535,
    } as const;
    expect(utf8(JSON.stringify({ ...hello, others })).length).toBeLessThan(helloBytes);
    const given = {
      a: 'https://10.0.0.1:2380',
      x: 'https://10.0.0.1:2380',
      b: 'https://example.org:1',
      c: 7,
      d: 'https://10.0.0.1',
    };
    const strange = given as unknown as Record<string, string>;
    expect([...othersOf({ ...hello, others: strange })]).toEqual([[10, 'https://10.0.0.1:2380']]);
    expect(othersOf(hello).size).toBe(0);
    expect([urlAt('10.0.0.1', 1), urlAt('fd00::1', 2), urlAt(undefined, 3), urlAt('10.0.0.1', undefined)]).toEqual([
      'https://10.0.0.1:1',
      'https://[fd00::1]:2',
      undefined,
      undefined,
    ]);
  });

  test('a renewed certificate is shown to who calls from then on; connections that are open go on', async () => {
    const ca = await authority('peers');
    const [first, renewed] = [await certificate(ca), await certificate(ca)];
    let pair = first;
    const a = peer(1, first, ca.cert, 7n, () => ({ ...pair, ca: ca.cert }));
    const b = peer(2, first, ca.cert);
    const shown = (): Promise<string | undefined> =>
      new Promise((resolve, reject) => {
        const socket = connect(
          { host: '127.0.0.1', port: ports.get(1)!, ca: ca.cert, cert: first.cert, key: first.key },
          () => {
            resolve(socket.getPeerX509Certificate()?.fingerprint256);
            socket.destroy();
          },
        );
        socket.on('error', reject);
      });
    b.transport.send(heartbeat(2, 1, 1));
    expect(await until(() => a.got.length === 1)).toBe(true);
    expect(await shown()).toBe(new X509Certificate(first.cert).fingerprint256);
    pair = renewed;
    a.transport.renew();
    expect(await shown()).toBe(new X509Certificate(renewed.cert).fingerprint256);
    b.transport.send(heartbeat(2, 1, 2));
    a.transport.send(heartbeat(1, 2, 3));
    expect(await until(() => a.got.length === 2 && b.got.length === 1)).toBe(true);
  });
});

const rounds = Number(process.env.FUZZ_ROUNDS ?? 2000);

function randomMessage(random: Random): NodeMessage {
  const n = (): number => random.uint32() * (random.uint32() % 2 === 0 ? 1 : 2 ** 20);
  const envelope = { from: n(), to: n(), term: n() };
  const flag = random.uint32() % 2 === 0;
  const data = random.bytes(random.uint32() % 50);
  const prevIndex = n();
  const entries = Array.from({ length: random.uint32() % 4 }, (_, i): Entry => {
    const bytes = random.bytes(random.uint32() % 20);
    const type = (['command', 'empty', 'membership'] as const)[random.uint32() % 3]!;
    return { index: prevIndex + 1 + i, term: n(), type, bytes: bytes.length, data: bytes.length > 0 ? [bytes] : [] };
  });
  const configuration = { voters: [n(), n()], outgoing: flag ? [n()] : [], learners: [] };
  const all: NodeMessage[] = [
    { ...envelope, type: 'vote', lastIndex: n(), lastTerm: n(), transfer: flag },
    { ...envelope, type: 'pre-vote-reply', granted: flag },
    { ...envelope, type: 'append', prevIndex, prevTerm: n(), commit: n(), entries },
    { ...envelope, type: 'append-reply', index: n(), rejected: flag, hintIndex: n(), hintTerm: n() },
    { ...envelope, type: 'heartbeat', commit: n(), read: n() },
    { ...envelope, type: 'heartbeat-reply', read: n() },
    { ...envelope, type: 'snapshot', meta: { index: n(), term: n(), configuration } },
    { ...envelope, type: 'timeout-now' },
    { ...envelope, type: 'read-index', context: n() },
    { ...envelope, type: 'read-index-reply', context: n(), index: n() },
    { ...envelope, type: 'propose', sequence: n(), data: [data] },
    { ...envelope, type: 'ask', context: n(), data },
    { ...envelope, type: 'ask-reply', context: n(), code: 'SOME_CODE', data },
  ];
  return all[random.uint32() % all.length]!;
}

describe('raft on the wire', () => {
  test('every message comes back as it was', () => {
    const random = seededRandom(1);
    for (let i = 0; i < 500; i++) {
      const message = randomMessage(random);
      expect(decodeMessage(encodeMessage(message))).toEqual(message);
    }
  });

  test('fuzz: damaged messages and garbage are DecodeErrors', () => {
    const random = seededRandom(Number(process.env.FUZZ_SEED ?? 2));
    for (let i = 0; i < rounds; i++) {
      const bytes =
        random.uint32() % 4 === 0 ? random.bytes(random.uint32() % 80) : encodeMessage(randomMessage(random));
      for (let n = random.uint32() % 3; n > 0 && bytes.length > 0; n--)
        bytes[random.uint32() % bytes.length] = random.uint32();
      const cut = bytes.subarray(0, random.uint32() % 3 === 0 ? random.uint32() % (bytes.length + 1) : bytes.length);
      try {
        decodeMessage(cut);
      } catch (error) {
        expect(error).toBeInstanceOf(AppError);
      }
    }
  });

  test('frames come whole out of any pieces', () => {
    const random = seededRandom(3);
    const payloads = Array.from({ length: 50 }, () => random.bytes(random.uint32() % 3000));
    payloads.push(random.bytes(300_000), new Uint8Array());
    const stream = Buffer.concat(payloads.flatMap((bytes) => [frameHeader(frameKinds.message, [bytes]), bytes]));
    const reader = new FrameReader(1 << 20);
    const got: Uint8Array[] = [];
    for (let at = 0; at < stream.length; ) {
      const count = 1 + (random.uint32() % (random.uint32() % 2 === 0 ? 20 : 5000));
      for (const { payload } of reader.push(stream.subarray(at, at + count))) got.push(payload.slice());
      at += count;
    }
    expect(got.map((bytes) => Buffer.from(bytes).toString('hex'))).toEqual(
      payloads.map((bytes) => Buffer.from(bytes).toString('hex')),
    );
  });

  test('fuzz: garbage and damaged frames are DecodeErrors; an announced length costs nothing', () => {
    const random = seededRandom(Number(process.env.FUZZ_SEED ?? 4));
    for (let i = 0; i < rounds; i++) {
      const payload = random.bytes(random.uint32() % 100);
      const bytes = Buffer.concat([frameHeader(frameKinds.message, [payload]), payload]);
      const hit = random.uint32() % bytes.length;
      bytes[hit] = bytes[hit]! ^ (1 + (random.uint32() % 255));
      const reader = new FrameReader(1 << 20);
      try {
        for (const { kind } of reader.push(bytes)) expect(kind).not.toBe(frameKinds.message);
      } catch (error) {
        expect(error).toBeInstanceOf(DecodeError);
      }
    }
    expect(() => [...new FrameReader(100).push(frameHeader(1, [new Uint8Array(101)]))]).toThrow('at most 100');
  });
});
