import { Decoder, encoded } from '../../wire/encoding.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { EBADF, EBUSY, EEXIST, EINVAL, ENOENT, ESTALE } from './errno.ts';
import { asString, asU8, decodeStored, entriesWith, mustExist, needKey, readKey, writeKey } from './omap-values.ts';
import { isValidId } from './rbd-types.ts';

const idKey = (id: string): string => `id_${id}`;
const namePrefix = 'name_';
const nameKey = (name: string): string => namePrefix + name;

/** Name and id point at each other under `name_NAME` and `id_ID`; `rbd_directory` and `rbd_group_directory` are both so. */
export function directoryAdd(ctx: ClassContext, name: string, id: string, uniqueId: boolean): void {
  if (name === '' || !isValidId(id)) throw new ClassFailure(EINVAL);
  if (readKey(ctx, nameKey(name), asString) !== undefined) throw new ClassFailure(EEXIST);
  if (uniqueId && readKey(ctx, idKey(id), asString) !== undefined) throw new ClassFailure(EBADF);
  ctx.setOmap(
    new Map([
      [nameKey(name), encoded((e) => e.string(id))],
      [idKey(id), encoded((e) => e.string(name))],
    ]),
  );
}

export function directoryRemove(ctx: ClassContext, name: string, id: string): void {
  const storedId = needKey(ctx, nameKey(name), asString);
  const storedName = needKey(ctx, idKey(id), asString);
  // It was renamed meanwhile.
  if (storedName !== name || storedId !== id) throw new ClassFailure(ESTALE);
  ctx.removeOmap([nameKey(name), idKey(id)]);
}

/** Names after a name with their ids. */
export function directoryList(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const after = d.string();
  const limit = Number(d.u64b());
  const found = new Map<string, string>();
  for (const [key, value] of entriesWith(ctx, namePrefix, nameKey(after))) {
    if (found.size >= limit) break;
    found.set(key.slice(namePrefix.length), decodeStored(value, asString));
  }
  return encoded((e) => e.stringStringMap(found));
}

export const directoryAddMethod = writeMethod((ctx, input) => {
  ctx.create(false);
  const d = new Decoder(input);
  directoryAdd(ctx, d.string(), d.string(), true);
});

export const directoryRemoveMethod = writeMethod((ctx, input) => {
  const d = new Decoder(input);
  directoryRemove(ctx, d.string(), d.string());
});

export const directoryRenameMethod = writeMethod((ctx, input) => {
  const d = new Decoder(input);
  const from = d.string();
  const to = d.string();
  const id = d.string();
  directoryRemove(ctx, from, id);
  // The removal cannot be seen yet: the id is still there.
  directoryAdd(ctx, to, id, false);
});

const directoryReady = 0;
const directoryAddDisabled = 1;

function stateSet(ctx: ClassContext, input: Uint8Array): void {
  const state = new Decoder(input).u8();
  if (state === directoryAddDisabled) {
    mustExist(ctx);
    for (const _ of entriesWith(ctx, namePrefix)) throw new ClassFailure(EBUSY);
  } else if (state !== directoryReady) throw new ClassFailure(EINVAL);
  writeKey(ctx, 'state', (e) => e.u8(state));
}

async function getId(ctx: ClassContext): Promise<Uint8Array> {
  const { size } = mustExist(ctx);
  if (size === 0) throw new ClassFailure(ENOENT);
  const id = decodeStored(await ctx.read(0, size), asString);
  return encoded((e) => e.string(id));
}

function setId(ctx: ClassContext, input: Uint8Array): void {
  const { size } = mustExist(ctx);
  const id = new Decoder(input).string();
  if (!isValidId(id)) throw new ClassFailure(EINVAL);
  if (size !== 0) throw new ClassFailure(EEXIST);
  ctx.write(
    0,
    encoded((e) => e.string(id)),
  );
}

// ---- rbd_trash ----

const trashPrefix = 'id_';

/** A TrashImageSpec is stored as the client encoded it; only its state is looked at. */
function readTrashSpec(d: Decoder): { spec: Uint8Array; state: number; stateAt: number } {
  const start = d.at;
  const opened = d.open('TrashImageSpec', 2);
  d.skip(1);
  d.string();
  d.skip(16);
  const stateAt = opened.version >= 2 ? d.at - start : -1;
  const state = opened.version >= 2 ? d.u8() : 0;
  d.close(opened);
  return { spec: d.source.slice(start, d.at), state, stateAt };
}

function trashAdd(ctx: ClassContext, input: Uint8Array): void {
  ctx.create(false);
  const d = new Decoder(input);
  const id = d.string();
  const { spec } = readTrashSpec(d);
  if (!isValidId(id)) throw new ClassFailure(EINVAL);
  if (ctx.omapValue(trashPrefix + id) !== undefined) throw new ClassFailure(EEXIST);
  ctx.setOmap(new Map([[trashPrefix + id, spec]]));
}

function trashKeyOf(ctx: ClassContext, input: Uint8Array): { key: string; value: Uint8Array } {
  const key = trashPrefix + new Decoder(input).string();
  const value = ctx.omapValue(key);
  if (value === undefined) throw new ClassFailure(ENOENT);
  return { key, value };
}

function trashList(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const after = d.string();
  const limit = Number(d.u64b());
  const found = new Map<string, Uint8Array>();
  for (const [key, value] of entriesWith(ctx, trashPrefix, trashPrefix + after)) {
    if (found.size >= limit) break;
    found.set(key.slice(trashPrefix.length), value);
  }
  return encoded((e) => e.stringMap(found, (x, v) => x.bytes(v)));
}

function trashStateSet(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const id = d.string();
  const wanted = d.u8();
  const expected = d.u8();
  const { spec, state, stateAt } = needKey(ctx, trashPrefix + id, readTrashSpec);
  if (state === expected && stateAt >= 0) {
    spec[stateAt] = wanted;
    ctx.setOmap(new Map([[trashPrefix + id, spec]]));
  } else if (state !== wanted) throw new ClassFailure(ESTALE);
}

// ---- rbd_namespace ----

function namespaceAdd(ctx: ClassContext, input: Uint8Array): void {
  const key = nameKey(new Decoder(input).string());
  if (ctx.omapValue(key) !== undefined) throw new ClassFailure(EEXIST);
  ctx.setOmap(new Map([[key, new Uint8Array(0)]]));
}

function namespaceRemove(ctx: ClassContext, input: Uint8Array): void {
  const key = nameKey(new Decoder(input).string());
  if (ctx.omapValue(key) === undefined) throw new ClassFailure(ENOENT);
  ctx.removeOmap([key]);
}

function namespaceList(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const after = d.string();
  const limit = Number(d.u64b());
  const found: string[] = [];
  for (const [key] of entriesWith(ctx, namePrefix, nameKey(after))) {
    if (found.length >= limit) break;
    found.push(key.slice(namePrefix.length));
  }
  return encoded((e) => e.list(found, (x, name) => x.string(name)));
}

/** Methods on `rbd_directory`, `rbd_id.NAME`, `rbd_trash` and `rbd_namespace`. */
export const rbdDirectoryMethods: ClassMethods = {
  dir_get_id: readMethod((ctx, input) => {
    const id = needKey(ctx, nameKey(new Decoder(input).string()), asString);
    return encoded((e) => e.string(id));
  }),
  dir_get_name: readMethod((ctx, input) => {
    const name = needKey(ctx, idKey(new Decoder(input).string()), asString);
    return encoded((e) => e.string(name));
  }),
  dir_list: readMethod(directoryList),
  dir_add_image: directoryAddMethod,
  dir_remove_image: directoryRemoveMethod,
  dir_rename_image: directoryRenameMethod,
  dir_state_assert: readMethod((ctx, input) => {
    const state = new Decoder(input).u8();
    if (needKey(ctx, 'state', asU8) !== state) throw new ClassFailure(ENOENT);
  }),
  dir_state_set: writeMethod(stateSet),
  get_id: readMethod(getId),
  set_id: writeMethod(setId),
  trash_add: writeMethod(trashAdd),
  trash_remove: writeMethod((ctx, input) => ctx.removeOmap([trashKeyOf(ctx, input).key])),
  trash_list: readMethod(trashList),
  trash_get: readMethod((ctx, input) => trashKeyOf(ctx, input).value),
  trash_state_set: writeMethod(trashStateSet),
  namespace_add: writeMethod(namespaceAdd),
  namespace_remove: writeMethod(namespaceRemove),
  namespace_list: readMethod(namespaceList),
};
