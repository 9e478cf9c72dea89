import { describe, expect, test } from 'vitest';
import { concatBytes, DecodeError, emptyBytes } from '../../../base/bytes.ts';
import { FEATURES_PACIFIC } from '../features.ts';
import type { MessageCodec } from '../message.ts';
import { type HObject, hobjectMax, hobjectMin, SNAP_HEAD } from '../types.ts';
import { MOSDCopyGet, MOSDCopyGetReply } from './osd_copy.ts';
import { zeroObjectSums } from './osd_mgr.ts';
import * as ec from './osd_ec.ts';
import * as osd from './osd_osd.ts';
import { MOSDPGLease, MOSDPGLeaseAck } from './osd_lease.ts';
import { MOSDPing } from './osd_ping.ts';
import * as scrub from './osd_scrub.ts';
import { emptyPgHistory, emptyPgInfo, type LogEntry } from './osd_pg.ts';

const oid: HObject = { key: '', name: 'o', snap: SNAP_HEAD, hash: 7, max: false, nspace: '', pool: 1 };
const clone: HObject = { key: 'k', name: 'a longer name', snap: 4n, hash: 9, max: false, nspace: 'ns', pool: 1 };
const version = { epoch: 3, version: 9 };
const head = { pg: { pool: 1, seed: 5 }, epoch: 12, interval: 10 };
const shardHead = { pg: { pool: 1, seed: 5, shard: 2 }, fromShard: 0, epoch: 12, interval: 10 };
/** The interval is not written: a lease counts in the newest that its epoch can be of. */
const leaseHead = { pg: { pool: 1, seed: 5 }, epoch: 12, interval: 12 };
const leaseShard = { pg: { pool: 1, seed: 5, shard: 2 }, fromShard: 3 };
const lease = { readableUntilMs: 1000.125, readableUntilUbMs: 17_000.5, intervalMs: 16_000 };
const never = { epoch: 0, version: 0 };
const entry: LogEntry = {
  op: 'modify',
  oid,
  version,
  prior: { epoch: 0, version: 0 },
  userVersion: 4,
  reqid: undefined,
  mtime: { sec: 1, nsec: 2 },
  returnCode: 0,
  returns: undefined,
};
const full: LogEntry = {
  ...entry,
  op: 'error',
  oid: clone,
  version: { epoch: 3, version: 10 },
  reqid: { name: { type: 8, num: 4123 }, tid: 17, inc: 0 },
  returnCode: -2,
  returns: [{ rval: 1, data: Uint8Array.of(1, 2) }],
};
const log = { tail: { epoch: 0, version: 0 }, head: full.version, entries: [entry, full], dups: [entry] };
const cursor = { dataTo: 5, dataDone: false, omapAfter: 'x', omapDone: false };
const past = [{ first: 1, last: 2, up: [0, 1], acting: [1], upPrimary: 0, primary: 1, maybeWentRw: true }];
const sums = { ...zeroObjectSums(), bytes: 2 ** 40, objectsRepaired: 1, objects: 3 };

/** The smallest and a full value of each message. */
const samples: [MessageCodec<never>, unknown][] = [
  [osd.MOSDPGNotify, { ...head, info: emptyPgInfo(), past: [] }],
  [osd.MOSDPGNotify, { ...head, info: { ...emptyPgInfo(), sums }, past }],
  [osd.MOSDPGQuery, { ...head, kind: 'fulllog', since: version, history: emptyPgHistory() }],
  [
    osd.MOSDPGInfo,
    { ...head, info: emptyPgInfo(), activated: true, forwardTo: never, committedTo: never, leaseAckMs: 5.5 },
  ],
  [
    osd.MOSDPGInfo,
    {
      ...shardHead,
      info: emptyPgInfo(),
      activated: false,
      forwardTo: version,
      committedTo: version,
      leaseAckMs: undefined,
    },
  ],
  [
    osd.MOSDPGLog,
    {
      ...head,
      info: emptyPgInfo(),
      log,
      missing: [{ oid, need: version, have: version }],
      past,
      undoable: [],
      activate: 'log',
      lease,
    },
  ],
  [
    osd.MOSDPGLog,
    {
      ...shardHead,
      info: emptyPgInfo(),
      log,
      missing: [],
      past: [],
      undoable: [9, 2 ** 40],
      activate: 'rewind',
      lease: undefined,
    },
  ],
  [
    osd.MOSDRepOp,
    {
      ...shardHead,
      tid: 8,
      entries: [entry],
      trimTo: version,
      lastUserVersion: 3,
      forwardTo: version,
      committedTo: version,
      sums,
      ops: emptyBytes,
      data: [emptyBytes],
    },
  ],
  [ec.MOSDECSubOpRead, { ...shardHead, tid: 3, oid: clone, offset: 2 ** 40, length: 4096, attrs: true }],
  [
    ec.MOSDECSubOpReadReply,
    {
      ...shardHead,
      tid: 3,
      result: -5,
      version,
      xattrs: new Map([['_a', Uint8Array.of(1)]]),
      data: Uint8Array.of(1, 2),
    },
  ],
  [osd.MOSDPGRemove, head],
  [
    osd.MOSDRepOp,
    {
      ...head,
      tid: 8,
      entries: [entry, full],
      trimTo: version,
      lastUserVersion: 3,
      forwardTo: never,
      committedTo: never,
      sums,
      ops: Uint8Array.of(1),
      data: [Uint8Array.of(7, 8)],
    },
  ],
  [osd.MOSDRepOpReply, { ...head, tid: 8, result: 0, lastComplete: version }],
  [osd.MOSDPGPull, { ...head, items: [{ oid, need: version, from: osd.pushStart }] }],
  [MOSDCopyGet, { ...head, tid: 5, oid: clone, from: cursor, userVersion: 2 ** 40 }],
  [
    MOSDCopyGetReply,
    {
      ...head,
      tid: 5,
      result: -2,
      userVersion: 7,
      mtime: { sec: 1, nsec: 2 },
      truncateSeq: 3,
      truncateSize: 2 ** 40,
      item: {
        oid: clone,
        version,
        found: true,
        size: 9,
        before: osd.pushStart,
        after: cursor,
        xattrs: new Map([['_a', Uint8Array.of(1)]]),
        omapHeader: Uint8Array.of(2),
        omap: new Map([['k', Uint8Array.of(3)]]),
        extents: [{ offset: 7, length: 2 }],
        data: [Uint8Array.of(4, 5)],
      },
    },
  ],
  [osd.MOSDPGPull, { ...head, items: [{ oid: clone, need: version, from: cursor }] }],
  [
    osd.MOSDPGPush,
    {
      ...head,
      pulled: true,
      items: [
        {
          oid,
          version,
          found: false,
          size: 0,
          before: osd.pushStart,
          after: osd.pushStart,
          xattrs: new Map(),
          omapHeader: emptyBytes,
          omap: new Map(),
          extents: [],
          data: [],
        },
        {
          oid: clone,
          version,
          found: true,
          size: 3,
          before: osd.pushStart,
          after: cursor,
          xattrs: new Map([['oi', Uint8Array.of(1)]]),
          omapHeader: Uint8Array.of(2),
          omap: new Map([['k', Uint8Array.of(3)]]),
          extents: [{ offset: 0, length: 3 }],
          data: [Uint8Array.of(4, 5, 6)],
        },
      ],
    },
  ],
  [osd.MOSDPGPushReply, { ...head, items: [{ oid, version, result: -2, after: osd.pushStart }] }],
  [osd.MOSDPGScan, { ...head, op: 'digest', begin: hobjectMin, end: hobjectMax, items: [{ oid, version }] }],
  [scrub.MOSDScrubReserve, { ...head, op: 'reject', attempt: 7 }],
  [scrub.MOSDRepScrub, { ...head, chunk: 3, begin: hobjectMin, end: hobjectMax, deep: true }],
  [
    scrub.MOSDRepScrubMap,
    {
      ...head,
      chunk: 3,
      objects: [
        {
          oid,
          size: 0,
          xattrs: new Map(),
          readError: true,
          statError: true,
          dataDigest: undefined,
          omapDigest: undefined,
          omapKeys: 0,
          omapBytes: 0,
        },
        {
          oid: clone,
          size: 2 ** 40,
          xattrs: new Map([['oi', Uint8Array.of(1)]]),
          readError: false,
          statError: false,
          dataDigest: 0xffffffff,
          omapDigest: 0,
          omapKeys: 3,
          omapBytes: 9,
        },
      ],
    },
  ],
  [
    scrub.MOSDScrub2,
    {
      fsid: '7b6b2f7a-0d4c-4f6e-9d3c-0a1b2c3d4e5f',
      epoch: 4,
      pgs: [{ pool: 1, seed: 5, shard: -1 }],
      repair: true,
      deep: false,
    },
  ],
  [osd.MOSDPGBackfill, { ...head, op: 'progress', lastBackfill: oid, sums, remove: [oid, hobjectMin] }],
  [
    MOSDPing,
    {
      fsid: '7b6b2f7a-0d4c-4f6e-9d3c-0a1b2c3d4e5f',
      op: 'reply',
      epoch: 2,
      pingStamp: { sec: 7, nsec: 8 },
      upFrom: 1,
      monoPingStampMs: 1.5,
      monoSendStampMs: 1_234_567.25,
      deltaUbMs: -2500.75,
    },
  ],
  [
    MOSDPing,
    {
      fsid: '7b6b2f7a-0d4c-4f6e-9d3c-0a1b2c3d4e5f',
      op: 'ping',
      epoch: 2,
      pingStamp: { sec: 7, nsec: 8 },
      upFrom: 0,
      monoPingStampMs: 1,
      monoSendStampMs: 1,
      deltaUbMs: undefined,
    },
  ],
  [MOSDPGLease, { ...leaseHead, lease, committedTo: version }],
  [MOSDPGLease, { ...leaseHead, ...leaseShard, lease, committedTo: never }],
  [MOSDPGLeaseAck, { ...leaseHead, readableUntilUbMs: 17_000.5 }],
  [MOSDPGLeaseAck, { ...leaseHead, ...leaseShard, readableUntilUbMs: 0 }],
] as [MessageCodec<never>, unknown][];

describe('messages between OSDs', () => {
  test('survive encode and decode, the smallest too; cut ones are DecodeErrors', () => {
    for (const [codec, value] of samples) {
      const body = codec.encode(value as never, FEATURES_PACIFIC);
      const parts = (front: Uint8Array): Parameters<typeof codec.decode>[0] => ({
        version: codec.version,
        compat: codec.compat,
        front,
        middle: emptyBytes,
        data: concatBytes(body.data ?? [emptyBytes]),
        features: FEATURES_PACIFIC,
      });
      expect(codec.decode(parts(body.front)), codec.name).toEqual(value as never);
      for (let n = 0; n < body.front.length; n += 5)
        expect(() => codec.decode(parts(body.front.subarray(0, n))), codec.name).toThrow(DecodeError);
    }
  });
});
