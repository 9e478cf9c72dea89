import { emptyBytes } from '../../base/bytes.ts';
import type { Timer } from '../../base/clock.ts';
import { assert } from '../../base/errors.ts';
import { plantedFault } from '../../base/planted-fault.ts';
import type { TransactionOp } from '../blockstore/api.ts';
import { FEATURES_PACIFIC } from '../wire/features.ts';
import { MOSDPGInfo, MOSDRepOp, MOSDRepOpReply } from '../wire/messages/osd_osd.ts';
import { PG_CLEAN } from '../wire/messages/osd_mgr.ts';
import type { LogEntry } from '../wire/messages/osd_pg.ts';
import { compareEVersion, type EVersion, eversionText, eversionZero, type HObject } from '../wire/types.ts';
import { decodeObjectInfo, infoXattr } from './object-info.ts';
import { objectKey } from './object-key.ts';
import { ENOENT } from './ops/errno.ts';
import type { PgCore } from './pg-core.ts';
import { completeUpTo } from './pg-meta.ts';
import { shardOf } from './shards.ts';
import { decodeStoreOps, encodeStoreOps } from './store-ops.ts';

/** A write on its way to all disks. */
interface PendingWrite {
  tid: number;
  version: EVersion;
  entries: readonly LogEntry[];
  /** OSDs that have not answered; -1 is our own disk. */
  waiting: Set<number>;
  committed: () => void;
}

const OWN_DISK = -1;
/** After the last write its copies for taking it back are given up, at this distance. */
const forwardMs = 500;

function beforeVersion({ epoch, version }: EVersion): EVersion {
  return { epoch, version: version - 1 };
}

/** How long logs get: entries kept while clean and while copies are behind. Older ones stay on disk a while, for duplicates only. */
export interface LogLimits {
  clean: number;
  degraded: number;
}

/**
 * Primary-copy replication: the primary gives the order, sends each write with its log entries to every member, and acknowledges when it is on all
 * their disks. Data that a backfill target does not hold yet is not sent to it; the log entries are.
 */
export class Replication {
  readonly #core: PgCore;
  readonly #limits: () => LogLimits;
  readonly #pending = new Map<number, PendingWrite>();
  #nextTid = 1;
  #idle: Timer | undefined;
  /** Whether a backfill target takes the write of an object as a whole, or only its log entries; set by Backfill. */
  takesWhole: (osd: number, head: HObject, key: Uint8Array, entries: readonly LogEntry[]) => boolean = () => false;
  /** A member could not follow a write because it has lost what that builds on: calls `ready` when it has been given the object; set by Recovery. */
  memberLacks: (osd: number, entries: readonly LogEntry[], ready: () => void) => void = () => undefined;

  constructor(core: PgCore, limits: () => LogLimits) {
    this.#core = core;
    this.#limits = limits;
    core.committedTo = () => this.#committedTo();
  }

  get pending(): number {
    return this.#pending.size;
  }

  /** The version for the next log entry; `after` counts entries that the same write has before it. */
  nextVersion(after = 0): EVersion {
    return { epoch: this.#core.map.epoch, version: this.#core.info.lastUpdate.version + 1 + after };
  }

  /**
   * Starts a write of the object `oid` (its head); `committed` is called when it is on every member's disk. `shards`: the operations of each shard of an
   * erasure-coded PG, where they are not the same for all.
   */
  submit(
    oid: HObject,
    entries: LogEntry[],
    ops: TransactionOp[],
    committed: () => void,
    shards?: readonly TransactionOp[][],
  ): void {
    const core = this.#core;
    const { meta, info } = core;
    const tid = this.#nextTid++;
    const committedTo = this.#committedTo();
    const own = shards?.[core.id.shard!] ?? ops;
    const undo = core.erasure ? [...meta.rollback.note(core.env.store, entries), ...this.#forward()] : [];
    const version = entries[entries.length - 1]!.version;
    for (const entry of entries) {
      meta.append(entry);
      if (entry.userVersion > info.lastUserVersion) info.lastUserVersion = entry.userVersion;
    }
    info.lastUpdate = version;
    if (meta.missing.size === 0) info.lastComplete = version;
    const trimTo = this.#trimPoint();
    meta.trim(trimTo);

    const waiting = new Set<number>([OWN_DISK, ...core.members]);
    this.#pending.set(tid, { tid, version, entries, waiting, committed });
    if (core.members.length > 0) {
      const same = shards === undefined ? encodeStoreOps(ops) : undefined;
      const entriesOnly = {
        ...core.head(),
        tid,
        entries,
        trimTo,
        lastUserVersion: info.lastUserVersion,
        forwardTo: core.forwardTo,
        committedTo,
        sums: info.sums,
      };
      const message: MOSDRepOp | undefined =
        same === undefined ? undefined : { ...entriesOnly, ops: same.bytes, data: same.data };
      let key: Uint8Array | undefined;
      for (const osd of core.members) {
        const peer = core.peers.get(osd)!;
        peer.info.lastUpdate = version;
        if (peer.missing!.size === 0) peer.info.lastComplete = version;
        let whole = true;
        if (core.backfillTargets.has(osd) && !peer.info.lastBackfill.max) {
          key ??= objectKey(oid);
          whole = this.takesWhole(osd, oid, key, entries);
        }
        if (plantedFault('skip-replica') && osd === core.members[core.members.length - 1]) whole = false;
        if (whole && message === undefined) {
          const { bytes, data } = encodeStoreOps(shards![shardOf(osd)!]!);
          core.env.send(osd, MOSDRepOp, { ...entriesOnly, ops: bytes, data });
        } else if (whole) {
          if (!core.erasure) message!.encoded ??= MOSDRepOp.encode(message!, FEATURES_PACIFIC);
          core.env.send(osd, MOSDRepOp, message!);
        } else core.env.send(osd, MOSDRepOp, { ...entriesOnly, ops: emptyBytes, data: [] });
      }
    }
    core.env.commit([...undo, ...own, ...meta.writeOps()], () => this.#done(tid, OWN_DISK));
    if (plantedFault('ack-before-commit')) for (const osd of [...waiting]) this.#done(tid, osd);
  }

  /** Trims in steps, so that not every write pays for it. */
  #trimPoint(): EVersion {
    const { log } = this.#core.meta;
    const limits = this.#limits();
    const keep = this.#core.hasState(PG_CLEAN) ? limits.clean : limits.degraded;
    const step = Math.max(4, keep >> 4);
    if (log.length < keep + step) return eversionZero;
    const to = log.trimPoint(keep) ?? eversionZero;
    // What may have to be taken back stays.
    const { erasure, forwardTo } = this.#core;
    return erasure && forwardTo.version < to.version ? forwardTo : to;
  }

  #done(tid: number, from: number): void {
    const write = this.#pending.get(tid);
    if (write === undefined || !write.waiting.delete(from) || write.waiting.size > 0) return;
    this.#pending.delete(tid);
    write.committed();
    if (this.#core.erasure && this.#pending.size === 0) this.#forwardSoon();
  }

  /** Writes end in any order; the oldest that has not bounds them. */
  #committedTo(): EVersion {
    const oldest = this.#pending.values().next().value;
    return oldest === undefined ? this.#core.info.lastUpdate : beforeVersion(oldest.entries[0]!.version);
  }

  /** What is on all shards needs no way back: notes how far that goes, and gives up what was kept here. */
  #forward(): TransactionOp[] {
    const core = this.#core;
    core.forwardTo = this.#committedTo();
    return core.meta.rollback.forward(core.forwardTo);
  }

  /** No write follows that would tell the other shards: they are told after a while. */
  #forwardSoon(): void {
    const core = this.#core;
    this.#idle ??= core.env.clock.after(forwardMs, () => {
      this.#idle = undefined;
      if (this.#pending.size > 0 || core.meta.rollback.size === 0) return;
      core.env.commit([...this.#forward(), ...core.meta.writeOps()]);
      for (const member of core.members)
        core.env.send(member, MOSDPGInfo, {
          ...core.head(),
          info: core.infoCopy(),
          activated: false,
          forwardTo: core.forwardTo,
          committedTo: core.forwardTo,
          leaseAckMs: undefined,
        });
    });
  }

  onReply(from: number, m: MOSDRepOpReply): void {
    if (m.result === 0) {
      this.#done(m.tid, from);
      return;
    }
    assert(m.result === ENOENT, () => `osd.${from} could not apply a write of pg ${this.#core.text}: ${m.result}`);
    const write = this.#pending.get(m.tid);
    // Acknowledged when the member has the object again: until then it is on fewer disks than it seems.
    if (write?.waiting.has(from) === true) this.memberLacks(from, write.entries, () => this.#done(m.tid, from));
  }

  /** A write from the primary. */
  onRepOp(from: number, m: MOSDRepOp): void {
    const core = this.#core;
    const { meta, info } = core;
    const last = m.entries[m.entries.length - 1];
    assert(last !== undefined, () => `write without log entries for pg ${core.text}`);
    assert(
      compareEVersion(m.entries[0]!.version, info.lastUpdate) > 0,
      () => `pg ${core.text}: write ${eversionText(m.entries[0]!.version)} after ${eversionText(info.lastUpdate)}`,
    );
    let ops = decodeStoreOps(m.ops, m.data[0] ?? new Uint8Array(0), meta.cid);
    const lacks = ops.length > 0 && lacksBase(core, m.entries, ops);
    if (lacks) {
      core.env.countRepair();
      core.env.log.error('a copy is lost: the write to it is left to recovery', { pg: core.text, oid: last.oid.name });
      ops = markLacking(core, m.entries);
    }
    const undo = core.erasure && ops.length > 0 && !lacks ? meta.rollback.note(core.env.store, m.entries) : [];
    if (core.erasure) undo.push(...meta.rollback.forward(m.forwardTo));
    for (const entry of m.entries) meta.append(entry);
    if (!core.erasure) {
      core.unstable.add(m.entries);
      core.unstable.committed(m.committedTo);
    }
    info.lastUpdate = last.version;
    info.lastComplete = meta.missing.size === 0 ? last.version : completeUpTo(meta.log, meta.missing, last.version);
    info.lastUserVersion = m.lastUserVersion;
    info.sums = m.sums;
    meta.trim(m.trimTo);
    const { interval } = core;
    core.env.commit([...undo, ...ops, ...meta.writeOps()], () => {
      for (const piece of m.data) core.env.recycle(piece);
      if (core.interval !== interval) return;
      const result = lacks ? ENOENT : 0;
      core.env.send(from, MOSDRepOpReply, { ...core.head(), tid: m.tid, result, lastComplete: info.lastComplete });
    });
  }

  /** A new interval: nothing of the old one is acknowledged. What was logged is found again by its request id. */
  reset(): void {
    this.#pending.clear();
    this.#idle?.cancel();
    this.#idle = undefined;
  }
}

function isSound({ meta, env }: PgCore, key: Uint8Array): boolean {
  const stat = env.store.stat(meta.cid, key);
  return stat !== undefined && !stat.damaged;
}

/** Whether a write builds on an object that this copy should have and does not: its disk has lost it, or it is missing already. */
function lacksBase(core: PgCore, entries: readonly LogEntry[], ops: readonly TransactionOp[]): boolean {
  const { meta, env } = core;
  for (const entry of entries) {
    if (entry.op !== 'modify') continue;
    if (meta.missing.has(entry.oid)) return true;
    if (entry.prior.version === 0) continue;
    const key = objectKey(entry.oid);
    if (!isSound(core, key)) return true;
    // A shard of another version would become a mixture that nobody could tell from the right one.
    const info = core.erasure ? env.store.xattr(meta.cid, key, infoXattr) : undefined;
    if (core.erasure && (info === undefined || compareEVersion(decodeObjectInfo(info).version, entry.prior) !== 0))
      return true;
  }
  const made = new Set<string>();
  const nameOf = (key: Uint8Array): string => Buffer.from(key).toString('latin1');
  for (const op of ops) {
    if (op.op === 'clone' || op.op === 'clone-range') {
      if (!made.has(nameOf(op.from)) && !isSound(core, op.from)) return true;
      made.add(nameOf(op.to));
    } else if (op.op === 'touch' || op.op === 'write') made.add(nameOf(op.key));
  }
  return false;
}

/** The objects of a write that this copy cannot follow are missing from now on. Gives the removals that are left of it. */
function markLacking(core: PgCore, entries: readonly LogEntry[]): TransactionOp[] {
  const { meta } = core;
  const removals: TransactionOp[] = [];
  for (const { op, oid, version } of entries) {
    if (op === 'error') continue;
    if (op === 'delete') {
      meta.missing.delete(oid);
      removals.push({ op: 'remove', cid: meta.cid, key: objectKey(oid) });
    } else meta.missing.set(oid, version, eversionZero);
  }
  return removals;
}
