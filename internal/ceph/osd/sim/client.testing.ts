import { bytesEqual, concatBytes, emptyBytes, utf8 } from '../../../base/bytes.ts';
import { Decoder, Encoder, utimeFromMs } from '../../wire/encoding.ts';
import { FEATURES_PACIFIC } from '../../wire/features.ts';
import {
  MOSDOp,
  type MOSDOpReplyValue,
  type MOSDOpValue,
  OSD_FLAG_ONDISK,
  OSD_FLAG_READ,
  OSD_FLAG_WRITE,
} from '../../wire/messages/osd_client.ts';
import { OP, OsdOp } from '../../wire/messages/osd_op.ts';
import { addrV2, ENTITY_CLIENT, NO_SHARD, SNAP_HEAD } from '../../wire/types.ts';
import type { OpClient } from '../op-request.ts';
import type { Watcher } from '../watch.ts';
import { digestOf, type WrittenState } from './reader.testing.ts';
import { simPool } from './map.testing.ts';
import type { SimCluster } from './world.testing.ts';

/** What an object must hold: undefined when it must not exist. */
export type Expected = { data: Uint8Array; omap: Map<string, string> } | undefined;

interface Attempt {
  snapId: bigint;
  tid: number;
  ops: OsdOp[];
  write: boolean;
  oid: string;
  hash: number;
  retry: number;
  answered: (reply: MOSDOpReplyValue) => void;
}

/**
 * A client that owns some objects and does one thing at a time to each: writes, appends, omap, deletes, reads. It repeats a request under the same id
 * until it is answered, and knows what it must read.
 */
export class SimClient {
  readonly num: number;
  readonly cluster: SimCluster;
  readonly expected = new Map<string, Expected>();
  /** States of each object that were acknowledged. */
  readonly history = new Map<string, WrittenState[]>();
  readonly errors: string[] = [];
  acknowledged = 0;
  stopped = false;
  #tid = 0;
  #counter = 0;
  readonly #connections = new Map<string, OpClient>();
  readonly #pending = new Map<number, Attempt>();
  /** Newest map it knows. */
  #epoch = 1;
  #lastVersion = new Map<string, number>();
  /** Snapshots of each object, newest first, with what they must show. */
  readonly #snaps = new Map<string, { id: bigint; state: Expected }[]>();

  constructor(cluster: SimCluster, num: number, objects: number) {
    this.cluster = cluster;
    this.num = num;
    for (let i = 0; i < objects; i++) this.expected.set(String.fromCharCode(97 + ((num * 5 + i) % 26)), undefined);
  }

  get busy(): boolean {
    return this.#pending.size > 0;
  }

  start(): void {
    for (const oid of this.expected.keys()) this.#next(oid);
  }

  newMap(epoch: number): void {
    if (epoch <= this.#epoch) return;
    this.#epoch = epoch;
    for (const attempt of this.#pending.values()) this.#send(attempt);
  }

  #hash(oid: string): number {
    let h = 7;
    for (const c of oid) h = (Math.imul(h, 31) + c.charCodeAt(0)) >>> 0;
    return h;
  }

  #next(oid: string): void {
    const { cluster } = this;
    cluster.scheduler.after(cluster.between(1, 60), () => {
      if (this.stopped) return;
      const before = this.expected.get(oid);
      const snaps = this.#snaps.get(oid) ?? [];
      if (cluster.chance(0.04) && snaps.length < 4) {
        snaps.unshift({ id: BigInt(++cluster.snapSequence), state: before });
        this.#snaps.set(oid, snaps);
      }
      const roll = cluster.random.float();
      const text = `${oid}#${++this.#counter};`;
      const data = utf8(text.repeat(1 + (cluster.random.uint32() % 40)));
      if (cluster.options.erasure !== undefined && roll < 0.72) {
        this.#patch(oid, roll / 0.72, data, before, text);
        return;
      }
      if (roll < 0.35) {
        this.#do(oid, [OsdOp.extent(OP.WRITEFULL, 0, data.length, [data])], true, (reply) => {
          this.#expect(oid, reply, 0);
          this.expected.set(oid, { data, omap: before?.omap ?? new Map() });
        });
      } else if (roll < 0.6) {
        this.#do(oid, [OsdOp.extent(OP.APPEND, 0, data.length, [data])], true, (reply) => {
          this.#expect(oid, reply, 0);
          this.expected.set(oid, {
            data: concatBytes([before?.data ?? new Uint8Array(0), data]),
            omap: before?.omap ?? new Map(),
          });
        });
      } else if (roll < 0.72) {
        const key = `k${cluster.random.uint32() % 5}`;
        const input = new Encoder().stringMap(new Map([[key, text]]), (e, v) => e.string(v)).finish();
        this.#do(oid, [OsdOp.make(OP.OMAPSETVALS, [input])], true, (reply) => {
          this.#expect(oid, reply, 0);
          const omap = new Map(before?.omap);
          omap.set(key, text);
          this.expected.set(oid, { data: before?.data ?? new Uint8Array(0), omap });
        });
      } else if (roll < 0.8) {
        this.#do(oid, [OsdOp.make(OP.DELETE)], true, (reply) => {
          this.#expect(oid, reply, before === undefined ? -2 : 0);
          this.expected.set(oid, undefined);
        });
      } else if (roll < 0.86 && snaps.length > 0) {
        const snap = snaps[cluster.random.uint32() % snaps.length]!;
        this.#readAt(oid, snap.id, snap.state, () => undefined);
      } else this.read(oid, () => undefined);
    });
  }

  /** A write to an object of an erasure-coded pool: anywhere in it, shorter or longer, and xattrs instead of omap. */
  #patch(oid: string, roll: number, data: Uint8Array, before: Expected, text: string): void {
    const { cluster } = this;
    const old = before?.data ?? new Uint8Array(0);
    const omap = before?.omap ?? new Map<string, string>();
    const write = (op: OsdOp, after: Uint8Array, xattrs = omap): void =>
      this.#do(oid, [op], true, (reply) => {
        this.#expect(oid, reply, 0);
        this.expected.set(oid, { data: after, omap: xattrs });
      });
    const at = cluster.random.uint32() % 500;
    if (roll < 0.3) write(OsdOp.extent(OP.WRITEFULL, 0, data.length, [data]), data);
    else if (roll < 0.5) write(OsdOp.extent(OP.APPEND, 0, data.length, [data]), concatBytes([old, data]));
    else if (roll < 0.8) {
      const after = new Uint8Array(Math.max(old.length, at + data.length));
      after.set(old);
      after.set(data, at);
      write(OsdOp.extent(OP.WRITE, at, data.length, [data]), after);
    } else if (roll < 0.88 && before !== undefined) {
      const after = new Uint8Array(at);
      after.set(old.subarray(0, at));
      write(OsdOp.extent(OP.TRUNCATE, at, 0), after);
    } else if (roll < 0.94 && before !== undefined && old.length > at + 40) {
      const after = old.slice();
      after.fill(0, at, at + 40);
      write(OsdOp.extent(OP.ZERO, at, 40), after);
    } else {
      const name = `k${cluster.random.uint32() % 5}`;
      write(OsdOp.xattr(OP.SETXATTR, name, utf8(text)), old, new Map(omap).set(name, text));
    }
  }

  /** Reads the object and all its snapshots and compares. */
  readAll(oid: string, then: () => void): void {
    const rest = [...(this.#snaps.get(oid) ?? [])];
    const next = (): void => {
      const snap = rest.pop();
      if (snap === undefined) this.read(oid, then);
      else this.#readAt(oid, snap.id, snap.state, next);
    };
    next();
  }

  /** Reads the object and compares. */
  read(oid: string, then: () => void): void {
    this.#readAt(oid, SNAP_HEAD, this.expected.get(oid), then);
  }

  #readAt(oid: string, snapId: bigint, want: Expected, then: () => void): void {
    const input = new Encoder().string('').u64(1000).string('').finish();
    const inShards = this.cluster.options.erasure !== undefined;
    const from = this.cluster.random.uint32() % 400;
    const ops = inShards
      ? [OsdOp.extent(OP.READ, 0, 0), OsdOp.make(OP.GETXATTRS), OsdOp.extent(OP.READ, from, 50)]
      : [OsdOp.extent(OP.READ, 0, 0), OsdOp.make(OP.OMAPGETVALS, [input])];
    const what = snapId === SNAP_HEAD ? oid : `${oid}@${snapId}`;
    const check = (reply: MOSDOpReplyValue): void => {
      if (want === undefined) {
        if (reply.result !== -2) this.errors.push(`${what}: read of what was not there gave ${reply.result}`);
      } else if (reply.result < 0) this.errors.push(`${what}: read failed with ${reply.result}`);
      else {
        const got = concatBytes(reply.ops[0]!.out);
        if (!bytesEqual(got, want.data))
          this.errors.push(`${what}: read ${got.length} bytes, expected ${want.data.length}: other content`);
        if (inShards) {
          const xattrs = new Decoder(concatBytes(reply.ops[1]!.out)).stringMap((d) => Buffer.from(d.blob()).toString());
          const same = xattrs.size === want.omap.size && [...want.omap].every(([k, v]) => xattrs.get(k) === v);
          if (!same) this.errors.push(`${what}: other xattrs`);
          if (!bytesEqual(concatBytes(reply.ops[2]!.out), want.data.subarray(from, from + 50)))
            this.errors.push(`${what}: other content at ${from}`);
          then();
          return;
        }
        const omap = new Encoder()
          .list([...want.omap].sort(), (e, [k, v]) => e.string(k).string(v))
          .u8(0)
          .finish();
        if (!bytesEqual(concatBytes(reply.ops[1]!.out), omap)) this.errors.push(`${what}: other omap`);
      }
      then();
    };
    this.#do(oid, ops, false, check, snapId);
  }

  #expect(oid: string, reply: MOSDOpReplyValue, result: number): void {
    if (reply.result !== result) this.errors.push(`${oid}: write gave ${reply.result}, expected ${result}`);
    if (reply.result === 0) {
      const before = this.#lastVersion.get(oid) ?? 0;
      if (reply.userVersion <= before) this.errors.push(`${oid}: user version ${reply.userVersion} after ${before}`);
      this.#lastVersion.set(oid, reply.userVersion);
    }
  }

  #do(
    oid: string,
    ops: OsdOp[],
    write: boolean,
    answered: (reply: MOSDOpReplyValue) => void,
    snapId = SNAP_HEAD,
  ): void {
    const tid = ++this.#tid;
    const begunMs = this.cluster.scheduler.timeMs;
    const attempt: Attempt = {
      snapId,
      tid,
      ops,
      write,
      oid,
      hash: this.#hash(oid),
      retry: -1,
      answered: (reply) => {
        if (!this.#pending.delete(tid)) return;
        if (write) this.acknowledged++;
        answered(reply);
        if (write) this.#remember(oid, begunMs);
        this.#next(oid);
      },
    };
    this.#pending.set(tid, attempt);
    this.#send(attempt);
    this.#watchdog(attempt);
  }

  #remember(oid: string, begunMs: number): void {
    const data = this.expected.get(oid)?.data;
    const states = this.history.get(oid) ?? [];
    this.history.set(oid, states);
    const acknowledgedMs = this.cluster.scheduler.timeMs;
    states.push({ digest: data === undefined ? undefined : digestOf(data), begunMs, acknowledgedMs });
  }

  #watchdog(attempt: Attempt): void {
    this.cluster.scheduler.after(2500, () => {
      if (!this.#pending.has(attempt.tid)) return;
      this.#epoch = this.cluster.map.epoch;
      this.#send(attempt);
      this.#watchdog(attempt);
    });
  }

  #send(attempt: Attempt): void {
    const { cluster } = this;
    attempt.retry++;
    const map = cluster.maps[this.#epoch]!;
    const pg = map.pgOfHash(simPool, attempt.hash);
    const { actingPrimary } = map.place(pg);
    const target = cluster.osds[actingPrimary];
    if (target?.osd === undefined || map.states[actingPrimary]!.nonce !== target.nonce) return;
    const { nonce } = target;
    const message: MOSDOpValue = {
      pg: { ...pg, shard: NO_SHARD },
      hash: attempt.hash,
      epoch: this.#epoch,
      flags: OSD_FLAG_ONDISK | (attempt.write ? OSD_FLAG_WRITE : OSD_FLAG_READ),
      requestId: { name: { type: 0, num: 0 }, tid: 0, inc: 0 },
      clientInc: 0,
      mtime: utimeFromMs(cluster.scheduler.now()),
      locator: { pool: simPool, key: '', nspace: '', hash: -1 },
      oid: attempt.oid,
      ops: attempt.ops,
      snapId: attempt.snapId,
      snapSeq: attempt.write ? (this.#snaps.get(attempt.oid)?.[0]?.id ?? 0n) : 0n,
      snaps: attempt.write ? (this.#snaps.get(attempt.oid)?.map((snap) => snap.id) ?? []) : [],
      retry: attempt.retry,
      features: 0n,
    };
    const client = this.#connection(target.id, nonce);
    cluster.deliver(`c${this.num}`, `osd${target.id}.${nonce}`, () => {
      if (target.osd === undefined || target.nonce !== nonce) return;
      // A copy, as the wire makes one: the OSD may use the memory of payloads again.
      const { front, data, version, compat } = MOSDOp.encode(message, FEATURES_PACIFIC);
      const received = MOSDOp.decode({
        version: version ?? MOSDOp.version,
        compat: compat ?? MOSDOp.compat,
        front: front.slice(),
        middle: emptyBytes,
        data: concatBytes(data ?? []).slice(),
        features: FEATURES_PACIFIC,
      });
      target.osd.onClientOp(client, received, attempt.tid, () => undefined);
    });
  }

  #connection(osd: number, nonce: number): OpClient {
    const id = `${osd}.${nonce}`;
    const known = this.#connections.get(id);
    if (known !== undefined) return known;
    const { cluster } = this;
    const name = { type: ENTITY_CLIENT, num: this.num };
    const client: OpClient & { behind(): void } = {
      name,
      globalId: BigInt(this.num),
      requester: { name, addr: addrV2('10.0.0.9', 0, this.num), features: 0n },
      open: true,
      watching: new Set<Watcher>(),
      allowed: () => true,
      sendNotify: () => undefined,
      sendReply: (reply, tid, gone) => {
        gone();
        cluster.deliver(`osd${id}`, `c${this.num}`, () => this.#pending.get(tid)?.answered(reply));
      },
      behind: () => {
        cluster.scheduler.after(5, () => this.newMap(cluster.map.epoch));
      },
    };
    this.#connections.set(id, client);
    return client;
  }
}
