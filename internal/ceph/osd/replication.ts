import { emptyBytes } from '../../base/bytes.ts';
import { assert } from '../../base/errors.ts';
import { plantedFault } from '../../base/planted-fault.ts';
import type { TransactionOp } from '../blockstore/api.ts';
import { FEATURES_PACIFIC } from '../wire/features.ts';
import { MOSDRepOp, MOSDRepOpReply } from '../wire/messages/osd_osd.ts';
import { PG_CLEAN } from '../wire/messages/osd_mgr.ts';
import type { LogEntry } from '../wire/messages/osd_pg.ts';
import { compareEVersion, type EVersion, eversionText, eversionZero, type HObject } from '../wire/types.ts';
import { objectKey } from './object-key.ts';
import type { PgCore } from './pg-core.ts';
import { completeUpTo } from './pg-meta.ts';
import { decodeStoreOps, encodeStoreOps } from './store-ops.ts';

/** A write on its way to all disks. */
interface PendingWrite {
  tid: number;
  version: EVersion;
  /** OSDs that have not answered; -1 is our own disk. */
  waiting: Set<number>;
  committed: () => void;
}

const OWN_DISK = -1;

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
  /** Whether a backfill target takes the write of an object as a whole, or only its log entries; set by Backfill. */
  takesWhole: (osd: number, head: HObject, key: Uint8Array, entries: readonly LogEntry[]) => boolean = () => false;

  constructor(core: PgCore, limits: () => LogLimits) {
    this.#core = core;
    this.#limits = limits;
  }

  get pending(): number {
    return this.#pending.size;
  }

  /** The version for the next log entry; `after` counts entries that the same write has before it. */
  nextVersion(after = 0): EVersion {
    return { epoch: this.#core.map.epoch, version: this.#core.info.lastUpdate.version + 1 + after };
  }

  /** Starts a write of the object `oid` (its head); `committed` is called when it is on every member's disk. */
  submit(oid: HObject, entries: LogEntry[], ops: TransactionOp[], committed: () => void): void {
    const core = this.#core;
    const { meta, info } = core;
    const tid = this.#nextTid++;
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
    this.#pending.set(tid, { tid, version, waiting, committed });
    if (core.members.length > 0) {
      const { bytes, data } = encodeStoreOps(ops);
      const entriesOnly = {
        ...core.head(),
        tid,
        entries,
        trimTo,
        lastUserVersion: info.lastUserVersion,
        sums: info.sums,
      };
      const message: MOSDRepOp = { ...entriesOnly, ops: bytes, data };
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
        if (whole) {
          message.encoded ??= MOSDRepOp.encode(message, FEATURES_PACIFIC);
          core.env.send(osd, MOSDRepOp, message);
        } else core.env.send(osd, MOSDRepOp, { ...entriesOnly, ops: emptyBytes, data: [] });
      }
    }
    core.env.commit([...ops, ...meta.writeOps()], () => this.#done(tid, OWN_DISK));
    if (plantedFault('ack-before-commit')) for (const osd of [...waiting]) this.#done(tid, osd);
  }

  /** Trims in steps, so that not every write pays for it. */
  #trimPoint(): EVersion {
    const { log } = this.#core.meta;
    const limits = this.#limits();
    const keep = this.#core.hasState(PG_CLEAN) ? limits.clean : limits.degraded;
    const step = Math.max(4, keep >> 4);
    if (log.length < keep + step) return eversionZero;
    return log.trimPoint(keep) ?? eversionZero;
  }

  #done(tid: number, from: number): void {
    const write = this.#pending.get(tid);
    if (write === undefined || !write.waiting.delete(from) || write.waiting.size > 0) return;
    this.#pending.delete(tid);
    write.committed();
  }

  onReply(from: number, m: MOSDRepOpReply): void {
    assert(m.result === 0, () => `osd.${from} could not apply a write of pg ${this.#core.text}: ${m.result}`);
    this.#done(m.tid, from);
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
    const ops = decodeStoreOps(m.ops, m.data[0] ?? new Uint8Array(0), meta.cid);
    for (const entry of m.entries) meta.append(entry);
    info.lastUpdate = last.version;
    info.lastComplete = meta.missing.size === 0 ? last.version : completeUpTo(meta.log, meta.missing, last.version);
    info.lastUserVersion = m.lastUserVersion;
    info.sums = m.sums;
    meta.trim(m.trimTo);
    const { interval } = core;
    core.env.commit([...ops, ...meta.writeOps()], () => {
      for (const piece of m.data) core.env.recycle(piece);
      if (core.interval !== interval) return;
      core.env.send(from, MOSDRepOpReply, { ...core.head(), tid: m.tid, result: 0, lastComplete: info.lastComplete });
    });
  }

  /** A new interval: nothing of the old one is acknowledged. What was logged is found again by its request id. */
  reset(): void {
    this.#pending.clear();
  }
}
