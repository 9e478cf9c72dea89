import {
  compareText,
  compareUTime,
  Decoder,
  type Encoder,
  encoded,
  type UTime,
  utimeZero,
} from '../../wire/encoding.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { EINVAL, ENOENT } from './errno.ts';
import { decodeStored, entriesWith, readKey, writeKey } from './omap-values.ts';

/** Entries that one call gives or looks at, at most. */
const maxEntries = 1000;

interface Bucket {
  name: string;
  marker: string;
  id: string;
  placement: string;
  dataPool: string;
  indexPool: string;
  extraPool: string;
}

interface BucketEntry {
  bucket: Bucket;
  size: bigint;
  sizeRounded: bigint;
  created: UTime;
  count: bigint;
  counted: boolean;
}

interface Stats {
  entries: bigint;
  bytes: bigint;
  bytesRounded: bigint;
}

interface Header {
  stats: Stats;
  lastSync: UTime;
  lastUpdate: UTime;
}

const noStats = (): Stats => ({ entries: 0n, bytes: 0n, bytesRounded: 0n });

/** Versions 3 to 9; those before 4 had a number for the id. */
const decodeBucket = (d: Decoder): Bucket =>
  d.struct('cls_user_bucket', 9, (_, version) => {
    const bucket = { name: d.string(), marker: '', id: '', placement: '', dataPool: '', indexPool: '', extraPool: '' };
    if (version < 8) bucket.dataPool = d.string();
    bucket.marker = d.string();
    bucket.id = version <= 3 ? String(d.u64b()) : d.string();
    if (version < 8) {
      bucket.indexPool = version >= 5 ? d.string() : bucket.dataPool;
      if (version >= 7) bucket.extraPool = d.string();
      return bucket;
    }
    bucket.placement = d.string();
    if (version === 8 && bucket.placement === '') {
      bucket.dataPool = d.string();
      bucket.indexPool = d.string();
      bucket.extraPool = d.string();
    }
    return bucket;
  });

function encodeBucket(e: Encoder, b: Bucket): void {
  if (b.placement === '')
    e.struct(7, 3, () =>
      e.string(b.name).string(b.dataPool).string(b.marker).string(b.id).string(b.indexPool).string(b.extraPool),
    );
  else e.struct(9, 8, () => e.string(b.name).string(b.marker).string(b.id).string(b.placement));
}

const decodeEntry = (d: Decoder): BucketEntry =>
  d.struct('cls_user_bucket_entry', 9, (_, version) => {
    d.string();
    const size = d.u64b();
    let created: UTime = { sec: d.u32(), nsec: 0 };
    const count = d.u64b();
    const bucket = decodeBucket(d);
    const sizeRounded = d.u64b();
    const counted = version >= 6 && d.bool();
    if (version >= 7) created = d.utime();
    if (version === 8) d.string();
    return { bucket, size, sizeRounded, created, count, counted };
  });

function encodeEntry(e: Encoder, entry: BucketEntry): void {
  e.struct(9, 5, () => {
    e.string('').u64b(entry.size).u32(entry.created.sec).u64b(entry.count);
    encodeBucket(e, entry.bucket);
    e.u64b(entry.sizeRounded).bool(entry.counted).utime(entry.created);
  });
}

const decodeStats = (d: Decoder): Stats =>
  d.struct('cls_user_stats', 1, () => ({ entries: d.u64b(), bytes: d.u64b(), bytesRounded: d.u64b() }));

function encodeStats(e: Encoder, stats: Stats): void {
  e.struct(1, 1, () => e.u64b(stats.entries).u64b(stats.bytes).u64b(stats.bytesRounded));
}

function encodeHeader(e: Encoder, { stats, lastSync, lastUpdate }: Header): void {
  e.struct(1, 1, () => {
    encodeStats(e, stats);
    e.utime(lastSync).utime(lastUpdate);
  });
}

function readHeader(ctx: ClassContext): Header {
  const bytes = ctx.omapHeader();
  if (bytes.length === 0) return { stats: noStats(), lastSync: utimeZero, lastUpdate: utimeZero };
  return decodeStored(bytes, (d) =>
    d.struct('cls_user_header', 1, () => ({ stats: decodeStats(d), lastSync: d.utime(), lastUpdate: d.utime() })),
  );
}

function writeHeader(ctx: ClassContext, header: Header): void {
  ctx.setOmapHeader(encoded((e) => encodeHeader(e, header)));
}

/** A sum as upstream keeps it: it goes round below zero. */
function count(stats: Stats, entry: BucketEntry, sign: 1n | -1n): void {
  stats.entries = BigInt.asUintN(64, stats.entries + sign * entry.count);
  stats.bytes = BigInt.asUintN(64, stats.bytes + sign * entry.size);
  stats.bytesRounded = BigInt.asUintN(64, stats.bytesRounded + sign * entry.sizeRounded);
}

const later = (a: UTime, b: UTime): UTime => (compareUTime(a, b) < 0 ? b : a);

function setBuckets(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const op = d.struct('cls_user_set_buckets_op', 1, () => ({
    entries: d.list(decodeEntry, 60),
    add: d.bool(),
    time: d.utime(),
  }));
  const header = readHeader(ctx);
  for (const update of op.entries) {
    const { name } = update.bucket;
    if (name === '') throw new ClassFailure(EINVAL);
    const old = readKey(ctx, name, decodeEntry);
    // Without `add` its bucket was removed meanwhile.
    if (old === undefined && !op.add) continue;
    if (old === undefined ? update.counted : old.counted) count(header.stats, old ?? update, -1n);
    const { size, sizeRounded, count: objects } = update;
    const entry = { ...(old ?? update), size, sizeRounded, count: objects, counted: true };
    writeKey(ctx, name, (e) => encodeEntry(e, entry));
    count(header.stats, entry, 1n);
  }
  writeHeader(ctx, { ...header, lastUpdate: later(header.lastUpdate, op.time) });
}

function listBuckets(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const op = d.struct('cls_user_list_buckets_op', 2, (_, version) => ({
    marker: d.string(),
    limit: d.u32(),
    end: version >= 2 ? d.string() : '',
  }));
  if (ctx.stat() === undefined) throw new ClassFailure(ENOENT);
  const page = ctx.omapList(op.marker, '', Math.min(op.limit, maxEntries));
  const found: BucketEntry[] = [];
  let truncated = page.more;
  let marker = '';
  for (const [key, value] of page.entries) {
    marker = key;
    if (op.end !== '' && compareText(op.end, key) <= 0) {
      truncated = false;
      break;
    }
    found.push(decodeStored(value, decodeEntry));
  }
  return encoded((e) =>
    e.struct(1, 1, () =>
      e
        .list(found, encodeEntry)
        .string(truncated ? marker : '')
        .bool(truncated),
    ),
  );
}

function removeBucket(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const { name } = d.struct('cls_user_remove_bucket_op', 1, () => decodeBucket(d));
  if (name === '') throw new ClassFailure(EINVAL);
  if (readKey(ctx, name, decodeEntry) !== undefined) ctx.removeOmap([name]);
}

/** The sums of all entries become the header's. */
function resetStats(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const time = d.struct('cls_user_reset_stats_op', 1, () => d.utime());
  const stats = noStats();
  for (const [, value] of entriesWith(ctx, '')) count(stats, decodeStored(value, decodeEntry), 1n);
  writeHeader(ctx, { ...readHeader(ctx), stats, lastUpdate: time });
}

/** The same in steps: the client brings back the sums until there. */
function resetStatsStep(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const op = d.struct('cls_user_reset_stats2_op', 1, () => ({
    time: d.utime(),
    marker: d.string(),
    stats: decodeStats(d),
  }));
  const page = ctx.omapList(op.marker, '', maxEntries);
  for (const [, value] of page.entries) count(op.stats, decodeStored(value, decodeEntry), 1n);
  if (!page.more) writeHeader(ctx, { ...readHeader(ctx), stats: op.stats, lastUpdate: op.time });
  const marker = page.entries.at(-1)?.[0] ?? '';
  return encoded((e) =>
    e.struct(1, 1, () => {
      e.string(marker);
      encodeStats(e, op.stats);
      e.bool(page.more);
    }),
  );
}

/** Class `user` (`src/cls/user`): the buckets of a user of an object gateway, with sums. */
export const userMethods: ClassMethods = {
  set_buckets_info: writeMethod(setBuckets),
  complete_stats_sync: writeMethod((ctx, input) => {
    const d = new Decoder(input);
    const time = d.struct('cls_user_complete_stats_sync_op', 1, () => d.utime());
    const header = readHeader(ctx);
    writeHeader(ctx, { ...header, lastSync: later(header.lastSync, time) });
  }),
  // The sums stay as they are, as upstream: a reset of them follows.
  remove_bucket: writeMethod(removeBucket),
  list_buckets: readMethod(listBuckets),
  get_header: readMethod((ctx, input) => {
    new Decoder(input).open('cls_user_get_header_op', 1);
    const header = readHeader(ctx);
    return encoded((e) => e.struct(1, 1, () => encodeHeader(e, header)));
  }),
  reset_user_stats: writeMethod(resetStats),
  reset_user_stats2: writeMethod(resetStatsStep),
};
