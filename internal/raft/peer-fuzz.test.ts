import { connect } from 'node:tls';
import { afterAll, expect, test } from 'vitest';
import { ByteWriter, utf8 } from '../base/bytes.ts';
import { rawCrc32c } from '../base/crc32c.ts';
import { silentLogger } from '../base/log.ts';
import { type Random, seededRandom } from '../base/random.ts';
import { systemClock, systemRandom } from '../base/system.ts';
import { issueCertificate, makeAuthority } from '../pki/certificates.ts';
import { frameHeader, frameKinds } from './frames.ts';
import type { NodeMessage, RaftNode } from './node.ts';
import { PeerTransport } from './peer-transport.ts';
import type { SnapshotMeta } from './types.ts';
import { writeSnapshotMeta } from './wire.ts';

/** Each is a connection with a handshake of its own. */
const rounds = Math.ceil(Number(process.env.FUZZ_ROUNDS ?? 2000) / 20);
const open: PeerTransport[] = [];
afterAll(() => {
  for (const transport of open) transport.close();
});

const frame = (kind: number, payload: Uint8Array): Uint8Array => Buffer.concat([frameHeader(kind, [payload]), payload]);
const data = systemRandom.bytes(3000);

/** What a member sends that brings a snapshot. */
function snapshotFrames(random: Random, hello: object): Uint8Array[] {
  const begin = new ByteWriter(64).u64(3).u64(data.length);
  writeSnapshotMeta(begin, { index: 9, term: 3, configuration: { voters: [1, 2], outgoing: [], learners: [] } });
  const frames: [number, Uint8Array][] = [
    [frameKinds.hello, utf8(JSON.stringify(hello))],
    [frameKinds.snapshotBegin, begin.finish()],
    ...[0, 1000, 2000].map((at): [number, Uint8Array] => [frameKinds.snapshotPiece, data.subarray(at, at + 1000)]),
    [frameKinds.snapshotEnd, new ByteWriter(4).u32(rawCrc32c(0xffff_ffff, data)).finish()],
  ];
  const at = random.uint32() % frames.length;
  const [kind, payload] = frames[at]!;
  switch (random.uint32() % 6) {
    case 0: // Damaged before it was framed: the frame's own checksum is right.
      if (payload.length > 0) {
        const damaged = payload.slice();
        for (let n = random.uint32() % 4; n >= 0; n--) {
          const hit = random.uint32() % damaged.length;
          damaged[hit] = damaged[hit]! ^ (1 + (random.uint32() % 255));
        }
        frames[at] = [kind, damaged];
      }
      break;
    case 1:
      frames[at] = [kind, payload.subarray(0, random.uint32() % (payload.length + 1)).slice()];
      break;
    case 2:
      frames[at] = [random.uint32() % 12, payload];
      break;
    case 3:
      frames.splice(at, random.uint32() % 2, frames[random.uint32() % frames.length]!);
      break;
    case 4:
      frames[0] = [frameKinds.hello, utf8(pick(random, strangeHellos))];
      break;
    default: {
      const bytes = frames.map(([each, content]) => frame(each, content));
      const whole = Buffer.from(bytes[at]!);
      whole[random.uint32() % whole.length] = random.uint32() & 0xff;
      bytes[at] = whole;
      return bytes;
    }
  }
  return frames.map(([each, content]) => frame(each, content));
}

const pick = <T>(random: Random, all: readonly T[]): T => all[random.uint32() % all.length]!;
const strangeHellos = [
  ...['null', '[]', '7', '""', '{', '{}', '{"from":1e400}', '{"from":-1,"purpose":"snapshot"}'],
  '{"cluster":{"toString":1},"from":2,"to":{"valueOf":1,"toString":1},"purpose":"snapshot"}',
  '{"cluster":"7","from":2,"to":"1","purpose":"snapshot"}',
  '{"cluster":"7","from":2.5,"to":1,"purpose":"messages"}',
  '{"cluster":"7","from":0,"to":1,"purpose":"__proto__"}',
  '{"cluster":"7","from":2,"to":1,"purpose":"messages","host":{"toString":1},"port":{},"others":[7,null]}',
  '{"cluster":"7","from":2,"to":1,"purpose":"messages","port":1e9,"others":{"__proto__":"https://[::::]:99999","2":{}}}',
];

test('fuzz: a member that listens takes damaged greetings and snapshots from nobody, and goes on serving', async () => {
  const random = seededRandom(Number(process.env.FUZZ_SEED ?? 5));
  const ca = await makeAuthority('peers', systemClock.now(), systemRandom.bytes(16));
  const pair = await issueCertificate(
    ca,
    { commonName: 'etcd-n', usage: 'peer', dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] },
    systemClock.now(),
    systemRandom.bytes(16),
  );
  const taken: Uint8Array[] = [];
  let receiving = 0;
  const transport = new PeerTransport({
    ...{ id: 1, clusterId: 7n, tls: () => ({ ...pair, ca: ca.cert }), clock: systemClock, log: silentLogger },
    addresses: () => [],
  });
  open.push(transport);
  const got: NodeMessage[] = [];
  transport.attach({
    step: (message: NodeMessage) => got.push(message),
    unreachable: () => undefined,
    receiveSnapshot: async (_from: number, _term: number, _meta: SnapshotMeta, pieces: AsyncIterable<Uint8Array>) => {
      receiving++;
      try {
        const all: Uint8Array[] = [];
        for await (const piece of pieces) all.push(piece);
        taken.push(Buffer.concat(all));
      } finally {
        receiving--;
      }
    },
  } as unknown as RaftNode);
  const port = transport.listen('127.0.0.1', 0);
  /** Sends all, ends its side, and waits until the member ends its own. */
  const call = (frames: readonly Uint8Array[]): Promise<void> =>
    new Promise((resolve) => {
      const tls = { host: '127.0.0.1', port, ca: ca.cert, cert: pair.cert, key: pair.key };
      const socket = connect(tls, () => socket.end(Buffer.concat(frames)));
      socket.on('data', () => undefined);
      socket.on('error', () => undefined);
      socket.on('close', () => resolve());
    });
  const hello = { cluster: '7', from: 2, to: 1, purpose: 'snapshot' };
  for (let round = 0; round < rounds; round++) await call(snapshotFrames(random, hello));
  for (let i = 0; i < 500 && receiving > 0; i++) await Bun.sleep(10);
  expect(receiving, 'snapshots that nobody ends').toBe(0);
  // Whatever was changed, what is taken is what its checksum says.
  for (const bytes of taken) expect(Buffer.compare(bytes, data)).toBe(0);
  expect(got).toEqual([]);

  const other = new PeerTransport({
    ...{ id: 2, clusterId: 7n, tls: () => ({ ...pair, ca: ca.cert }), clock: systemClock, log: silentLogger },
    addresses: () => [`https://127.0.0.1:${port}`],
  });
  open.push(other);
  const heartbeat: NodeMessage = { type: 'heartbeat', from: 2, to: 1, term: 1, commit: 1, read: 0 };
  other.send(heartbeat);
  for (let i = 0; i < 500 && got.length === 0; i++) await Bun.sleep(10);
  expect(got).toEqual([heartbeat]);
});
