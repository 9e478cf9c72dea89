import { AppError, errorCode } from '../../../base/errors.ts';
import { MOSDECSubOpRead, MOSDECSubOpReadReply } from '../../wire/messages/osd_ec.ts';
import { compareEVersion, type EVersion, eversionZero, type HObject } from '../../wire/types.ts';
import type { PoolCode } from '../map-view.ts';
import { decodeObjectInfo, infoXattr } from '../object-info.ts';
import { objectId, objectKey } from '../object-key.ts';
import { EIO, ENOENT } from '../ops/errno.ts';
import type { PgCore } from '../pg-core.ts';
import { type Member, shardOf } from '../shards.ts';

/** The same stretch of several shards of an object. */
export interface ShardRead {
  oid: HObject;
  /** Every shard must have the object in exactly this version. */
  version: EVersion;
  offset: number;
  length: number;
  /** The shards that are wanted: read, or made of others. */
  wanted: readonly number[];
  /** Its xattrs, too. */
  attrs: boolean;
}

export interface ShardsRead {
  /** Those that were wanted, for whoever asked alone. */
  chunks: Map<number, Uint8Array>;
  xattrs: Map<string, Uint8Array> | undefined;
}

interface Reading {
  read: ShardRead;
  chunks: Map<number, Uint8Array>;
  xattrs: Map<string, Uint8Array> | undefined;
  /** Members asked and not heard of, by shard. */
  asked: Map<number, Member>;
  failed: Set<Member>;
  resolve: (read: ShardsRead) => void;
  reject: (error: AppError) => void;
}

/** Copies are being asked whether they have an object. */
interface Search {
  oid: HObject;
  version: EVersion;
  found: () => void;
}

/** Copies that no log vouches for, of one object in one version: whether they turned out to have it. */
interface Held {
  version: EVersion;
  members: Map<Member, boolean>;
}

export interface ShardReadHooks {
  /** Members that should have an object in this version, and have not, or not undamaged. */
  damaged(oid: HObject, version: EVersion, members: readonly Member[]): void;
}

/** Reads of shards: from those that are wanted where they are, else from any k. Also gives out what lies here. */
export class ShardReads {
  readonly #core: PgCore;
  readonly #code: PoolCode;
  readonly #hooks: ShardReadHooks;
  readonly #readings = new Map<number, Reading>();
  readonly #searches = new Map<number, Search>();
  readonly #held = new Map<string, Held>();
  #nextTid = 1;
  #generation = 0;

  constructor(core: PgCore, code: PoolCode, hooks: ShardReadHooks) {
    this.#core = core;
    this.#code = code;
    this.#hooks = hooks;
  }

  /** A new interval: what was asked in the old one is not answered any more. */
  reset(): void {
    this.#generation++;
    const readings = [...this.#readings.values()];
    this.#readings.clear();
    this.#searches.clear();
    this.#held.clear();
    for (const { reject } of readings) reject(new AppError('UNREADABLE', `pg ${this.#core.text}: a new interval`));
  }

  /** Who has an object in a version, one member a shard. */
  sources(oid: HObject, version: EVersion, without: ReadonlySet<Member> = new Set()): Map<number, Member> {
    const core = this.#core;
    const out = new Map<number, Member>();
    const self = core.env.whoami;
    if (!core.meta.missing.has(oid) && !without.has(self)) out.set(shardOf(self)!, self);
    const strays = [...core.peers.keys()].filter((member) => !core.members.includes(member));
    for (const member of [...core.members, ...strays]) {
      const shard = shardOf(member)!;
      if (out.has(shard) || without.has(member) || !core.map.isUp(member)) continue;
      if (core.peerHas(member, oid, version)) out.set(shard, member);
    }
    for (const [member, has] of this.#heldOf(oid, version)?.members ?? [])
      if (has && !out.has(shardOf(member)!) && !without.has(member) && core.map.isUp(member))
        out.set(shardOf(member)!, member);
    return out;
  }

  #heldOf(oid: HObject, version: EVersion): Held | undefined {
    const held = this.#held.get(objectId(oid));
    return held !== undefined && compareEVersion(held.version, version) === 0 ? held : undefined;
  }

  /**
   * Asks all copies that may have an object, though no log says so: one that was away for longer than the log reaches is filled from nothing, and its shard may be
   * the one that is needed. `found` is called when enough shards are known.
   */
  search(oid: HObject, version: EVersion, found: () => void): void {
    const core = this.#core;
    const id = objectId(oid);
    for (const [tid, search] of this.#searches) if (objectId(search.oid) === id) this.#searches.delete(tid);
    const known = this.sources(oid, version);
    const held = this.#heldOf(oid, version);
    const tid = this.#nextTid++;
    this.#searches.set(tid, { oid, version, found });
    for (const [member, { missing }] of core.peers) {
      if (known.has(shardOf(member)!) || missing?.has(oid) || held?.members.has(member)) continue;
      core.env.send(member, MOSDECSubOpRead, { ...core.head(), tid, oid, offset: 0, length: 0, attrs: false });
    }
  }

  #onSearched(from: Member, { oid, version, found }: Search, m: MOSDECSubOpReadReply): void {
    if (m.result !== 0 || compareEVersion(m.version, version) !== 0) return;
    const held = this.#heldOf(oid, version) ?? { version, members: new Map<Member, boolean>() };
    this.#held.set(objectId(oid), held);
    held.members.set(from, true);
    if (!this.readable(oid, version)) return;
    this.#searches.delete(m.tid);
    found();
  }

  /** True when nobody but the copy itself had said that it has the object. It is not asked again. */
  #notHeld(oid: HObject, version: EVersion, member: Member): boolean {
    const held = this.#heldOf(oid, version);
    if (held?.members.get(member) !== true) return false;
    held.members.set(member, false);
    return true;
  }

  /** Whether enough shards of an object are there to read it. */
  readable(oid: HObject, version: EVersion): boolean {
    return this.sources(oid, version).size >= this.#code.code.k;
  }

  /** Errors: UNREADABLE (fewer than k shards could be read, or a new interval began), TOO_FEW_SHARDS (fewer than k are there at the moment). */
  read(read: ShardRead): Promise<ShardsRead> {
    return new Promise((resolve, reject) => {
      const tid = this.#nextTid++;
      const chunks = new Map<number, Uint8Array>();
      const reading: Reading = {
        read,
        chunks,
        xattrs: undefined,
        asked: new Map(),
        failed: new Set(),
        resolve,
        reject,
      };
      this.#readings.set(tid, reading);
      this.#ask(tid, reading);
    });
  }

  /** Asks whom it takes; ends the reading when all is here, or cannot be. */
  #ask(tid: number, reading: Reading): void {
    const { read, chunks, asked, failed } = reading;
    const { k } = this.#code.code;
    const direct = read.wanted.every((shard) => chunks.has(shard));
    if (direct || chunks.size >= k) {
      this.#readings.delete(tid);
      const missing = read.wanted.filter((shard) => !chunks.has(shard));
      const { env } = this.#core;
      const made = missing.length === 0 ? chunks : this.#code.code.rebuild(chunks, read.wanted, env.take);
      for (const [shard, bytes] of chunks)
        if (!read.wanted.includes(shard)) {
          chunks.delete(shard);
          env.recycle(bytes);
        }
      reading.resolve({ chunks: made, xattrs: reading.xattrs });
      if (failed.size > 0) this.#hooks.damaged(read.oid, read.version, [...failed]);
      return;
    }
    const sources = this.sources(read.oid, read.version, failed);
    const there = (shard: number): boolean => chunks.has(shard) || asked.has(shard) || sources.has(shard);
    let take: number[];
    if (read.wanted.every(there)) take = [...read.wanted];
    else {
      const self = shardOf(this.#core.env.whoami)!;
      const rank = (shard: number): number =>
        chunks.has(shard) || asked.has(shard) ? 0 : read.wanted.includes(shard) ? 1 : shard === self ? 2 : 3 + shard;
      take = [...new Set([...chunks.keys(), ...asked.keys(), ...sources.keys()])]
        .sort((a, b) => rank(a) - rank(b))
        .slice(0, k);
      if (take.length < k) {
        this.#readings.delete(tid);
        const { name } = read.oid;
        // Those that are away may come back; those that failed do not get better by waiting.
        const code = failed.size > 0 ? 'UNREADABLE' : 'TOO_FEW_SHARDS';
        reading.reject(new AppError(code, `pg ${this.#core.text}: ${take.length} of ${k} shards of ${name}`));
        if (failed.size > 0) this.#hooks.damaged(read.oid, read.version, [...failed]);
        return;
      }
    }
    for (const shard of take) {
      if (chunks.has(shard) || asked.has(shard)) continue;
      const member = sources.get(shard)!;
      asked.set(shard, member);
      this.#send(tid, reading, member);
    }
  }

  #send(tid: number, { read }: Reading, member: Member): void {
    const core = this.#core;
    const { oid, offset, length, attrs } = read;
    const m: MOSDECSubOpRead = { ...core.head(), tid, oid, offset, length, attrs };
    if (member !== core.env.whoami) {
      core.env.send(member, MOSDECSubOpRead, m);
      return;
    }
    const generation = this.#generation;
    this.#local(m, (reply) => {
      if (generation === this.#generation) this.onReply(member, { ...core.head(), tid, ...reply });
    });
  }

  #local(
    m: MOSDECSubOpRead,
    answer: (reply: Omit<MOSDECSubOpReadReply, 'pg' | 'epoch' | 'interval' | 'tid'>) => void,
  ): void {
    const { env, meta, text } = this.#core;
    const key = objectKey(m.oid);
    const nothing = { version: eversionZero, xattrs: new Map<string, Uint8Array>(), data: new Uint8Array(0) };
    const absent = meta.missing.has(m.oid) || env.store.stat(meta.cid, key)?.damaged;
    const info = absent ? undefined : env.store.xattr(meta.cid, key, infoXattr);
    if (info === undefined) {
      answer({ ...nothing, result: ENOENT });
      return;
    }
    const { version } = decodeObjectInfo(info);
    const xattrs = m.attrs ? env.store.xattrs(meta.cid, key) : nothing.xattrs;
    env.store.read(meta.cid, key, m.offset, m.length).then(
      (data) => answer(data === undefined ? { ...nothing, result: ENOENT } : { result: 0, version, xattrs, data }),
      (error: unknown) => {
        if (errorCode(error) !== 'CHECKSUM') env.log.error('a shard could not be read', { pg: text, error });
        answer({ ...nothing, result: EIO });
      },
    );
  }

  /** The primary reads what lies here. */
  onRead(from: Member, m: MOSDECSubOpRead): void {
    const core = this.#core;
    const { interval } = core;
    this.#local(m, (reply) => {
      const gone = (): void => core.env.recycle(reply.data);
      if (core.interval === interval)
        core.env.send(from, MOSDECSubOpReadReply, { ...core.head(), tid: m.tid, ...reply }, gone);
      else gone();
    });
  }

  onReply(from: Member, m: MOSDECSubOpReadReply): void {
    const search = this.#searches.get(m.tid);
    if (search !== undefined) {
      this.#onSearched(from, search, m);
      return;
    }
    const reading = this.#readings.get(m.tid);
    const shard = shardOf(from)!;
    if (reading === undefined || reading.asked.get(shard) !== from) return;
    reading.asked.delete(shard);
    const { read } = reading;
    const right = m.result === 0 && compareEVersion(m.version, read.version) === 0 && m.data.length === read.length;
    if (right) {
      reading.chunks.set(shard, m.data);
      if (read.attrs) reading.xattrs ??= m.xattrs;
    } else if (!this.#notHeld(read.oid, read.version, from)) {
      this.#core.env.log.error('a shard does not have its part of an object', {
        pg: this.#core.text,
        shard,
        oid: read.oid.name,
        result: m.result,
      });
      reading.failed.add(from);
    }
    this.#ask(m.tid, reading);
  }

  /** A newer map of the same interval: whom it does not know any more is not waited for. */
  onMap(): void {
    for (const [tid, reading] of [...this.#readings]) {
      let gone = false;
      for (const [shard, member] of reading.asked)
        if (member !== this.#core.env.whoami && !this.#core.peers.has(member)) {
          reading.asked.delete(shard);
          gone = true;
        }
      if (gone) this.#ask(tid, reading);
    }
  }
}
