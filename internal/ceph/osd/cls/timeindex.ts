import { compareText, Decoder, type Encoder, encoded, compareUTime, type UTime } from '../../wire/encoding.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { ENODATA } from './errno.ts';

/** Entries that one listing gives, and one trimming removes, at most. */
const maxEntries = 1000;
const prefix = '1_';

interface Entry {
  time: UTime;
  name: string;
  value: Uint8Array;
}

/** Keys sort by time, in microseconds. */
function timeKey({ sec, nsec }: UTime): string {
  return `${prefix}${String(sec).padStart(10, '0')}.${String(Math.floor(nsec / 1000)).padStart(6, '0')}_`;
}

const decodeEntry = (d: Decoder): Entry =>
  d.struct('cls_timeindex_entry', 1, () => ({ time: d.utime(), name: d.string(), value: d.blob() }));

function encodeEntry(e: Encoder, { time, name, value }: Entry): void {
  e.struct(1, 1, () => e.utime(time).string(name).blob(value));
}

/** The time comes back as upstream gives it: the microseconds where nanoseconds belong. */
function entryOf(key: string, value: Uint8Array): Entry | undefined {
  const found = /^1_(\d+)\.(\d+)_(\S{0,255})/.exec(key);
  return found === null
    ? undefined
    : { time: { sec: Number(found[1]), nsec: Number(found[2]) }, name: found[3]!, value };
}

const reaches = (key: string, end: string): number => compareText(key.slice(0, end.length), end);

function add(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const entries = d.struct('cls_timeindex_add_op', 1, () => d.list(decodeEntry, 22));
  ctx.create(false);
  if (entries.length > 0) ctx.setOmap(new Map(entries.map(({ time, name, value }) => [timeKey(time) + name, value])));
}

function list(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const op = d.struct('cls_timeindex_list_op', 1, () => ({
    from: d.utime(),
    marker: d.string(),
    to: d.utime(),
    limit: d.u32(),
  }));
  const end = compareUTime(op.to, op.from) >= 0 ? timeKey(op.to) : undefined;
  const page = ctx.omapList(op.marker === '' ? timeKey(op.from) : op.marker, prefix, Math.min(op.limit, maxEntries));
  const found: Entry[] = [];
  let truncated = page.more;
  let marker = '';
  for (const [key, value] of page.entries) {
    marker = key;
    if (end !== undefined && reaches(key, end) >= 0) {
      truncated = false;
      break;
    }
    const entry = entryOf(key, value);
    if (entry !== undefined) found.push(entry);
  }
  return encoded((e) => e.struct(1, 1, () => e.list(found, encodeEntry).string(marker).bool(truncated)));
}

/** ENODATA once nothing is left to trim: clients repeat until then. */
function trim(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const op = d.struct('cls_timeindex_trim_op', 1, () => ({
    from: d.utime(),
    to: d.utime(),
    fromMarker: d.string(),
    toMarker: d.string(),
  }));
  const end = op.toMarker === '' ? timeKey(op.to) : op.toMarker;
  const keys: string[] = [];
  const page = ctx.omapList(op.fromMarker === '' ? timeKey(op.from) : op.fromMarker, prefix, maxEntries);
  for (const [key] of page.entries) {
    if (reaches(key, end) > 0) break;
    keys.push(key);
  }
  if (keys.length === 0) throw new ClassFailure(ENODATA);
  ctx.removeOmap(keys);
}

/** Class `timeindex` (`src/cls/timeindex`): values by time in an object's omap. */
export const timeindexMethods: ClassMethods = {
  add: writeMethod(add),
  list: readMethod(list),
  trim: writeMethod(trim),
};
