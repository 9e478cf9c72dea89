import { compareText, Decoder, type Encoder, encoded, type UTime, utimeZero } from '../../wire/encoding.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { ENODATA } from './errno.ts';

/** Entries that one listing gives at most. */
const maxEntries = 1000;
const prefix = '1_';

interface Entry {
  section: string;
  name: string;
  time: UTime;
  data: Uint8Array;
  id: string;
}

interface Header {
  maxMarker: string;
  maxTime: UTime;
}

const compareTime = (a: UTime, b: UTime): number => a.sec - b.sec || a.nsec - b.nsec;

function decodeEntry(d: Decoder): Entry {
  return d.struct('cls_log_entry', 1, (_, version) => ({
    section: d.string(),
    name: d.string(),
    time: d.utime(),
    data: d.blob(),
    id: version >= 2 ? d.string() : '',
  }));
}

function encodeEntry(e: Encoder, entry: Entry): void {
  e.struct(2, 1, () => e.string(entry.section).string(entry.name).utime(entry.time).blob(entry.data).string(entry.id));
}

function readHeader(ctx: ClassContext): Header {
  const bytes = ctx.omapHeader();
  const none = { maxMarker: '', maxTime: utimeZero };
  if (bytes.length === 0) return none;
  const d = new Decoder(bytes);
  return d.struct('cls_log_header', 1, () => ({ maxMarker: d.string(), maxTime: d.utime() }));
}

function encodeHeader(e: Encoder, header: Header): void {
  e.struct(1, 1, () => e.string(header.maxMarker).utime(header.maxTime));
}

/** Keys sort by time, in microseconds. */
function timeKey({ sec, nsec }: UTime): string {
  const micros = Math.floor(nsec / 1000);
  return `${prefix}${String(sec).padStart(10, '0')}.${String(micros).padStart(6, '0')}_`;
}

function add(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const op = d.struct('cls_log_add_op', 1, (_, version) => ({
    entries: d.list(decodeEntry, 26),
    monotonic: version >= 2 ? d.bool() : true,
  }));
  let { maxMarker, maxTime } = readHeader(ctx);
  const values = new Map<string, Uint8Array>();
  for (const entry of op.entries) {
    let { time } = entry;
    if (op.monotonic && compareTime(time, maxTime) < 0) time = maxTime;
    else if (compareTime(time, maxTime) > 0) maxTime = time;
    // What makes the key unique is the object's version and the place of this call in the request.
    const id = entry.id === '' ? `${timeKey(time)}${ctx.userVersion}.${ctx.opIndex}` : entry.id;
    if (compareText(id, maxMarker) > 0) maxMarker = id;
    values.set(
      id,
      encoded((e) => encodeEntry(e, { ...entry, id })),
    );
  }
  if (values.size > 0) ctx.setOmap(values);
  ctx.setOmapHeader(encoded((e) => encodeHeader(e, { maxMarker, maxTime })));
}

function list(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const op = d.struct('cls_log_list_op', 1, () => ({
    from: d.utime(),
    marker: d.string(),
    to: d.utime(),
    limit: d.s32(),
  }));
  const bounded = compareTime(op.from, utimeZero) !== 0 && compareTime(op.to, op.from) >= 0;
  const end = timeKey(op.to);
  const limit = op.limit <= 0 || op.limit > maxEntries ? maxEntries : op.limit;
  const after = op.marker === '' ? timeKey(op.from) : op.marker;
  const page = ctx.omapList(after, prefix, limit);
  const found: Entry[] = [];
  let truncated = page.more;
  let marker = '';
  for (const [key, value] of page.entries) {
    marker = key;
    if (bounded && compareText(key.slice(0, end.length), end) >= 0) {
      truncated = false;
      break;
    }
    found.push(decodeEntry(new Decoder(value)));
  }
  return encoded((e) =>
    e.struct(1, 1, () =>
      e
        .list(found, (x, entry) => encodeEntry(x, entry))
        .string(marker)
        .bool(truncated),
    ),
  );
}

/** ENODATA once nothing is left to trim: clients repeat until then. */
function trim(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const op = d.struct('cls_log_trim_op', 1, (_, version) => ({
    from: d.utime(),
    to: d.utime(),
    fromMarker: version >= 2 ? d.string() : '',
    toMarker: version >= 2 ? d.string() : '',
  }));
  const after = op.fromMarker === '' ? timeKey(op.from) : op.fromMarker;
  const { sec, nsec } = op.to;
  const carry = nsec + 1000 >= 1e9;
  const past = timeKey({ sec: carry ? sec + 1 : sec, nsec: carry ? nsec + 1000 - 1e9 : nsec + 1000 });
  const end = op.toMarker === '' ? past : `${op.toMarker}\0`;
  const first = ctx.omapList(after, '', 1).entries[0]?.[0];
  if (first === undefined || compareText(end, first) < 0) throw new ClassFailure(ENODATA);
  ctx.removeOmapRange(first, end);
}

/** Class `log` (`src/cls/log`): entries ordered by time in an object's omap, with the newest in its header. */
export const logMethods: ClassMethods = {
  add: writeMethod(add),
  list: readMethod(list),
  trim: writeMethod(trim),
  info: readMethod((ctx, input) => {
    new Decoder(input).open('cls_log_info_op', 1);
    return encoded((e) => e.struct(1, 1, () => encodeHeader(e, readHeader(ctx))));
  }),
};
