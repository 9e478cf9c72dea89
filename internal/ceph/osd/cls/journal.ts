import { Decoder, type Encoder, encoded } from '../../wire/encoding.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { EEXIST, EINVAL, ENOENT, EOVERFLOW, ESTALE } from './errno.ts';
import { asU64, asU8, decodeStored, entriesWith, needKey, writeKey } from './omap-values.ts';

const clientPrefix = 'client_';
const tagPrefix = 'tag_';
/** Asks `tag_create` for a class of its own. */
const newTagClass = 2n ** 64n - 1n;
const disconnected = 1;
/** Entries that one listing gives at most. */
const maxEntries = 1024;

interface ObjectPosition {
  object: bigint;
  tag: bigint;
  entry: bigint;
}

interface Client {
  id: string;
  data: Uint8Array;
  /** Where in each object it has come to. */
  positions: ObjectPosition[];
  state: number;
}

interface Tag {
  tid: bigint;
  tagClass: bigint;
  data: Uint8Array;
}

const decodePositions = (d: Decoder): ObjectPosition[] =>
  d.struct('ObjectSetPosition', 1, () =>
    d.list((x) => x.struct('ObjectPosition', 1, () => ({ object: x.u64b(), tag: x.u64b(), entry: x.u64b() })), 30),
  );

function encodePositions(e: Encoder, positions: readonly ObjectPosition[]): void {
  e.struct(1, 1, () =>
    e.list(positions, (x, p) => {
      x.struct(1, 1, () => x.u64b(p.object).u64b(p.tag).u64b(p.entry));
    }),
  );
}

const decodeClient = (d: Decoder): Client =>
  d.struct('Client', 1, () => ({ id: d.string(), data: d.blob(), positions: decodePositions(d), state: d.u8() }));

function encodeClient(e: Encoder, client: Client): void {
  e.struct(1, 1, () => {
    e.string(client.id).blob(client.data);
    encodePositions(e, client.positions);
    e.u8(client.state);
  });
}

const decodeTag = (d: Decoder): Tag =>
  d.struct('Tag', 1, () => ({ tid: d.u64b(), tagClass: d.u64b(), data: d.blob() }));

function encodeTag(e: Encoder, tag: Tag): void {
  e.struct(1, 1, () => e.u64b(tag.tid).u64b(tag.tagClass).blob(tag.data));
}

const tagKey = (tid: bigint): string => `${tagPrefix}${tid.toString(16).padStart(16, '0')}`;

function* clients(ctx: ClassContext): Generator<Client> {
  for (const [, value] of entriesWith(ctx, clientPrefix)) yield decodeStored(value, decodeClient);
}

function* tags(ctx: ClassContext): Generator<[key: string, tag: Tag]> {
  for (const [key, value] of entriesWith(ctx, tagPrefix)) {
    const tag = decodeStored(value, decodeTag);
    if (tagKey(tag.tid) !== key) throw new ClassFailure(EINVAL);
    yield [key, tag];
  }
}

/** The newest tag of each class among those that a position at `upTo` needs. */
function tagsInUse(ctx: ClassContext, upTo: bigint): Map<bigint, bigint> {
  const newest = new Map<bigint, bigint>();
  for (const [, tag] of tags(ctx)) {
    newest.set(tag.tagClass, tag.tid);
    if (tag.tid >= upTo) break;
  }
  return newest;
}

/** Removes the tags that no client needs any more; `without` is on its way out. */
function expireTags(ctx: ClassContext, without?: string): void {
  let oldest: bigint | undefined;
  for (const client of clients(ctx)) {
    // One that is not connected does not hold the others up; one that has not begun does.
    if (client.id === without || client.state === disconnected) continue;
    if (client.positions.length === 0) return;
    for (const { tag } of client.positions) if (oldest === undefined || tag < oldest) oldest = tag;
  }
  if (oldest === undefined) return;
  const newest = tagsInUse(ctx, oldest);
  const gone: string[] = [];
  for (const [key, tag] of tags(ctx)) {
    if (tag.tid < (newest.get(tag.tagClass) ?? 0n)) gone.push(key);
    if (tag.tid >= oldest) break;
  }
  if (gone.length > 0) ctx.removeOmap(gone);
}

/** Where a client begins that is new: where the one is that is farthest behind. */
function firstPositions(ctx: ClassContext): ObjectPosition[] {
  let behind: ObjectPosition[] = [];
  for (const { positions } of clients(ctx)) {
    const [first] = positions;
    if (first === undefined) return [];
    const [least] = behind;
    if (least === undefined || first.tag < least.tag || (first.tag === least.tag && first.entry < least.entry))
      behind = positions;
  }
  return behind;
}

function create(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const order = d.u8();
  const splayWidth = d.u8();
  const pool = d.s64b();
  if (ctx.omapValue('order') !== undefined) throw new ClassFailure(EEXIST);
  writeKey(ctx, 'order', (e) => e.u8(order));
  writeKey(ctx, 'splay_width', (e) => e.u8(splayWidth));
  writeKey(ctx, 'pool_id', (e) => e.u64b(pool));
  for (const key of ['active_set', 'minimum_set', 'next_tag_tid', 'next_tag_class'])
    writeKey(ctx, key, (e) => e.u64b(0n));
}

/** A method that gives a stored value as it is. */
const stored = (key: string, bytes: number) => readMethod((ctx) => needKey(ctx, key, (d) => d.bytes(bytes).slice()));

/** Sets of objects only go forward, and the first one in use not past the last. */
const advance = (key: 'active_set' | 'minimum_set') =>
  writeMethod((ctx, input) => {
    const set = new Decoder(input).u64b();
    const active = needKey(ctx, 'active_set', asU64);
    const minimum = needKey(ctx, 'minimum_set', asU64);
    if (key === 'active_set' ? set < minimum : set > active) throw new ClassFailure(EINVAL);
    const now = key === 'active_set' ? active : minimum;
    if (set < now) throw new ClassFailure(ESTALE);
    if (set > now) writeKey(ctx, key, (e) => e.u64b(set));
  });

function needClient(ctx: ClassContext, id: string): Client {
  return needKey(ctx, clientPrefix + id, decodeClient);
}

function storeClient(ctx: ClassContext, client: Client): void {
  writeKey(ctx, clientPrefix + client.id, (e) => encodeClient(e, client));
}

function registerClient(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const id = d.string();
  const data = d.blob();
  needKey(ctx, 'order', asU8);
  if (ctx.omapValue(clientPrefix + id) !== undefined) throw new ClassFailure(EEXIST);
  storeClient(ctx, { id, data, positions: firstPositions(ctx), state: 0 });
}

function unregisterClient(ctx: ClassContext, input: Uint8Array): void {
  const id = new Decoder(input).string();
  if (ctx.omapValue(clientPrefix + id) === undefined) throw new ClassFailure(ENOENT);
  ctx.removeOmap([clientPrefix + id]);
  expireTags(ctx, id);
}

function commit(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const id = d.string();
  const positions = decodePositions(d);
  if (positions.length > needKey(ctx, 'splay_width', asU8)) throw new ClassFailure(EINVAL);
  storeClient(ctx, { ...needClient(ctx, id), positions });
}

function listClients(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const after = d.string();
  const most = d.u64();
  if (ctx.stat() === undefined) throw new ClassFailure(ENOENT);
  const start = after === '' ? '' : clientPrefix + after;
  const { entries } = ctx.omapList(start, clientPrefix, Math.min(most, maxEntries));
  const found = entries.map(([, value]) => decodeStored(value, decodeClient));
  return encoded((e) => e.list(found, encodeClient));
}

function createTag(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const tag: Tag = { tid: d.u64b(), tagClass: d.u64b(), data: d.blob() };
  if (ctx.omapValue(tagKey(tag.tid)) !== undefined) throw new ClassFailure(EEXIST);
  if (tag.tid !== needKey(ctx, 'next_tag_tid', asU64)) throw new ClassFailure(ESTALE);
  const nextClass = needKey(ctx, 'next_tag_class', asU64);
  if (tag.tagClass === newTagClass) {
    tag.tagClass = nextClass;
    writeKey(ctx, 'next_tag_class', (e) => e.u64b(nextClass + 1n));
  } else if (tag.tagClass >= nextClass) throw new ClassFailure(EINVAL);
  expireTags(ctx);
  writeKey(ctx, 'next_tag_tid', (e) => e.u64b(tag.tid + 1n));
  writeKey(ctx, tagKey(tag.tid), (e) => encodeTag(e, tag));
}

/** The tags that a client may still meet. */
function listTags(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const after = d.u64b();
  const most = d.u64();
  const client = needClient(ctx, d.string());
  const wanted = d.bool() ? d.u64b() : undefined;
  let oldest: bigint | undefined;
  for (const { tag } of client.positions) if (oldest === undefined || tag < oldest) oldest = tag;
  const newest = oldest === undefined ? new Map<bigint, bigint>() : tagsInUse(ctx, oldest);
  const found: Tag[] = [];
  for (const [, tag] of tags(ctx)) {
    if (after !== 0n && tag.tid <= after) continue;
    if (tag.tid >= (newest.get(tag.tagClass) ?? 0n) && (wanted === undefined || wanted === tag.tagClass))
      found.push(tag);
    if (found.length >= most) break;
  }
  return encoded((e) => e.list(found, encodeTag));
}

/** The object must be smaller than that: EOVERFLOW. */
function requireSmaller(ctx: ClassContext, softMax: bigint): number {
  const stat = ctx.stat();
  if (stat !== undefined && BigInt(stat.size) >= softMax) throw new ClassFailure(EOVERFLOW);
  return stat?.size ?? 0;
}

/** Class `journal` (`src/cls/journal`): the header of a journal of images, and appending to its objects. */
export const journalMethods: ClassMethods = {
  create: writeMethod(create),
  get_order: stored('order', 1),
  get_splay_width: stored('splay_width', 1),
  get_pool_id: stored('pool_id', 8),
  get_minimum_set: stored('minimum_set', 8),
  set_minimum_set: advance('minimum_set'),
  get_active_set: stored('active_set', 8),
  set_active_set: advance('active_set'),
  get_client: readMethod((ctx, input) => {
    const client = needClient(ctx, new Decoder(input).string());
    return encoded((e) => encodeClient(e, client));
  }),
  client_register: writeMethod(registerClient),
  client_update_data: writeMethod((ctx, input) => {
    const d = new Decoder(input);
    const id = d.string();
    const data = d.blob();
    storeClient(ctx, { ...needClient(ctx, id), data });
  }),
  client_update_state: writeMethod((ctx, input) => {
    const d = new Decoder(input);
    const id = d.string();
    const state = d.u8();
    storeClient(ctx, { ...needClient(ctx, id), state });
  }),
  client_unregister: writeMethod(unregisterClient),
  client_commit: writeMethod(commit),
  client_list: readMethod(listClients),
  get_next_tag_tid: stored('next_tag_tid', 8),
  get_tag: readMethod((ctx, input) => {
    const tag = needKey(ctx, tagKey(new Decoder(input).u64b()), decodeTag);
    return encoded((e) => encodeTag(e, tag));
  }),
  tag_create: writeMethod(createTag),
  tag_list: readMethod(listTags),
  guard_append: writeMethod((ctx, input) => void requireSmaller(ctx, new Decoder(input).u64b())),
  append: writeMethod((ctx, input) => {
    const d = new Decoder(input);
    const softMax = d.u64b();
    const data = d.blob();
    ctx.write(requireSmaller(ctx, softMax), data);
  }),
};
