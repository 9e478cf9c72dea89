import { Decoder, Encoder } from '../wire/encoding.ts';
import {
  encodeAddr,
  encodeEntityNum,
  encodeEVersion,
  encodeHObject,
  encodeLocator,
  encodeRequestId,
  eversionZero,
  type HObject,
  SNAP_HEAD,
} from '../wire/types.ts';
import {
  decodeSnapSet,
  infoXattr,
  type ObjectInfo,
  type SnapSet,
  snapsetXattr,
  userXattrPrefix,
} from './object-info.ts';
import { EAGAIN, EINVAL, ENOENT } from './ops/errno.ts';
import type { Inconsistency, ShardVerdict, SnapInconsistency } from './scrub-compare.ts';
import { osdOf, shardOf } from './shards.ts';
import { SHARD } from './scrub-compare.ts';

/** What the last scrub found, as SCRUBLS tells it (`src/common/scrub_types.cc`, `PrimaryLogPG::do_scrub_ls`). */
export interface ScrubRecord {
  objects: readonly Inconsistency[];
  snapsets: readonly SnapInconsistency[];
}

/** Entries in one answer, whatever the client asks for. */
const maxListed = 1000;
const noRequest = { name: { type: 0, num: 0 }, tid: 0, inc: 0 };

/** Answers SCRUBLS. ENOENT: this primary has not scrubbed the PG; EAGAIN: the interval that the client began its list in is over. */
export function listInconsistent(
  record: ScrubRecord | undefined,
  interval: number,
  primary: number,
  input: Uint8Array,
): { rval: number; out: Uint8Array } {
  const nothing = new Uint8Array(0);
  let given: ReturnType<typeof decodeArgument>;
  try {
    given = decodeArgument(input);
  } catch {
    return { rval: EINVAL, out: nothing };
  }
  if (record === undefined) return { rval: ENOENT, out: nothing };
  const expired = given.interval !== 0 && given.interval !== interval;
  const values: readonly (Inconsistency | SnapInconsistency)[] = expired
    ? []
    : given.snapsets
      ? page(record.snapsets, given)
      : page(record.objects, given);
  const out = new Encoder(256 + values.length * 1024).struct(1, 1, (e) => {
    e.u32(interval).list(values, (x, value) => {
      const bytes = new Encoder(1024);
      if ('shards' in value) encodeInconsistency(bytes, value, primary);
      else encodeSnapInconsistency(bytes, value);
      x.blob(bytes.finish());
    });
  });
  return { rval: expired ? EAGAIN : 0, out: out.finish() };
}

function decodeArgument(input: Uint8Array) {
  return new Decoder(input).struct('scrub_ls_arg_t', 1, (d) => ({
    interval: d.u32(),
    snapsets: d.u32() !== 0,
    name: d.string(),
    nspace: d.string(),
    snap: d.u64b(),
    limit: Number(d.u64b()),
  }));
}

/** What follows the object that the client has seen last. */
function page<T extends { oid: HObject }>(all: readonly T[], given: ReturnType<typeof decodeArgument>): readonly T[] {
  let from = 0;
  if (given.name !== '')
    from =
      1 + all.findIndex(({ oid }) => oid.name === given.name && oid.nspace === given.nspace && oid.snap === given.snap);
  return all.slice(from, from + Math.min(maxListed, given.limit));
}

function encodeObjectId(e: Encoder, oid: HObject): void {
  e.struct(1, 1, () => e.string(oid.name).string(oid.nspace).string(oid.key).u64b(oid.snap));
}

/** `inconsistent_obj_t`. */
function encodeInconsistency(e: Encoder, found: Inconsistency, primary: number): void {
  e.struct(2, 2, () => {
    e.u64(found.errors);
    encodeObjectId(e, found.oid);
    e.u64(found.userVersion).u32(found.shards.length);
    for (const shard of found.shards) {
      e.struct(1, 1, () => e.s32(osdOf(shard.osd)).s8(shardOf(shard.osd) ?? -1));
      encodeShard(e, shard, found.oid, primary);
    }
    e.u64(found.shardErrors);
  });
}

/** `shard_info_t`. */
function encodeShard(
  e: Encoder,
  { osd, errors, object, info, selected }: ShardVerdict,
  oid: HObject,
  primary: number,
): void {
  e.struct(3, 3, () => {
    e.u64(errors).bool(osd === primary);
    if (object === undefined || (errors & SHARD.missing) !== 0) return;
    const attrs = new Map<string, Uint8Array>();
    for (const [name, value] of object.xattrs) if (name.startsWith(userXattrPrefix)) attrs.set(name, value);
    const raw = object.xattrs.get(infoXattr);
    if (raw !== undefined) attrs.set('_', info === undefined ? raw : upstreamObjectInfo(oid, info));
    const snapset = object.xattrs.get(snapsetXattr);
    if (snapset !== undefined)
      attrs.set('snapset', (errors & SHARD.snapsetCorrupted) !== 0 ? snapset : upstreamSnapSet(decodeSnapSet(snapset)));
    else if (oid.snap === SNAP_HEAD && (errors & SHARD.snapsetMissing) === 0)
      attrs.set('snapset', upstreamSnapSet({ seq: 0n, clones: [] }));
    e.stringMap(attrs, (x, value) => x.blob(value));
    e.u64(object.size);
    e.bool(object.omapDigest !== undefined).u32(object.omapDigest ?? 0);
    e.bool(object.dataDigest !== undefined).u32(object.dataDigest ?? 0);
    e.bool(selected);
  });
}

/** `inconsistent_snapset_t`. */
function encodeSnapInconsistency(e: Encoder, found: SnapInconsistency): void {
  e.struct(2, 1, () => {
    e.u64(found.errors);
    encodeObjectId(e, found.oid);
    e.list(found.extra, (x, snap) => x.u64b(snap)).list(found.missing, (x, snap) => x.u64b(snap));
    e.blob(found.snapset === undefined ? new Uint8Array(0) : upstreamSnapSet(found.snapset));
  });
}

const FLAG_WHITEOUT = 1 << 1;
const FLAG_DIRTY = 1 << 2;
const FLAG_OMAP = 1 << 3;
const FLAG_DATA_DIGEST = 1 << 4;
const FLAG_OMAP_DIGEST = 1 << 5;

/** `object_info_t` as clients print it. What upstream keeps and we do not is zero. */
function upstreamObjectInfo(oid: HObject, info: ObjectInfo): Uint8Array {
  const e = new Encoder(512);
  const watchers = (): void => {
    e.list(info.watchers, (_, w) => {
      e.u64b(w.cookie);
      encodeEntityNum(e, w.name);
      encodeWatch(e, w);
    });
  };
  e.struct(17, 8, () => {
    encodeHObject(e, oid);
    encodeLocator(e, { pool: oid.pool, key: oid.key, nspace: oid.nspace, hash: -1 });
    e.u32(0);
    encodeEVersion(e, info.version);
    encodeEVersion(e, eversionZero);
    encodeRequestId(e, noRequest);
    e.u64(info.size).utime(info.mtime);
    if (oid.snap === SNAP_HEAD) encodeRequestId(e, noRequest);
    else e.u32(0);
    e.u64(info.truncateSeq).u64(info.truncateSize).bool(false).u32(0);
    encodeEVersion(e, { epoch: 0, version: info.userVersion });
    e.bool(false);
    watchers();
    const { dataDigest, omapDigest } = info;
    e.u32(
      (info.whiteout ? FLAG_WHITEOUT : 0) |
        FLAG_DIRTY |
        (info.omap ? FLAG_OMAP : 0) |
        (dataDigest === undefined ? 0 : FLAG_DATA_DIGEST) |
        (omapDigest === undefined ? 0 : FLAG_OMAP_DIGEST),
    );
    e.utime(info.mtime);
    e.u32(dataDigest ?? 0xffffffff).u32(omapDigest ?? 0xffffffff);
    e.u64(info.expectedObjectSize).u64(info.expectedWriteSize).u32(info.allocHintFlags);
  });
  return e.finish();
}

/** `watch_info_t`. */
function encodeWatch(e: Encoder, watch: ObjectInfo['watchers'][number]): void {
  e.struct(4, 3, () => {
    e.u64b(watch.cookie).u32(watch.timeoutSec);
    encodeAddr(e, watch.addr);
  });
}

/** `SnapSet`. */
function upstreamSnapSet({ seq, clones }: SnapSet): Uint8Array {
  const e = new Encoder(256);
  const snapId = (x: Encoder, snap: bigint): void => void x.u64b(snap);
  const byClone = (value: (clone: SnapSet['clones'][number]) => void): void => {
    e.u32(clones.length);
    for (const clone of clones) {
      e.u64b(clone.id);
      value(clone);
    }
  };
  e.struct(3, 2, () => {
    const all = [...new Set(clones.flatMap((clone) => clone.snaps))].sort((a, b) => (a < b ? 1 : -1));
    e.u64b(seq).bool(true).list(all, snapId);
    e.list(
      clones.map((clone) => clone.id),
      snapId,
    );
    byClone((clone) => e.list(clone.overlap, (x, [offset, length]) => x.u64(offset).u64(length)));
    byClone((clone) => e.u64(clone.size));
    byClone((clone) => e.list(clone.snaps, snapId));
  });
  return e.finish();
}
