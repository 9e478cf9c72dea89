import { AppError } from '../../base/errors.ts';
import { addBucket, appendItem, itemWeightAt, makeBucket, removeItemAt, setItemWeightAt } from './bucket.ts';
import { rebuildShadowTrees } from './classes.ts';
import { CRUSH_HASH_RJENKINS1 } from './hash.ts';
import {
  BUCKET_LIST,
  BUCKET_STRAW,
  BUCKET_STRAW2,
  BUCKET_TREE,
  BUCKET_UNIFORM,
  type CrushBucket,
  type CrushMap,
  RULE_TAKE,
} from './map.ts';

/** Type name to bucket name: `{root: 'default', host: 'pi'}`. */
export type CrushLocation = Readonly<Record<string, string>>;

/**
 * Errors of this file carry the errno that the mon answers with: EINVAL, ENOENT, EEXIST, ENOTEMPTY, EBUSY, ELOOP, ENOTDIR, EALREADY. A change
 * that threw may be half done: work on a clone and drop it.
 */
function problem(code: string, message: string): AppError {
  return new AppError(code, message);
}

const validName = /^[A-Za-z0-9_.-]+$/;

export function isValidCrushName(name: string): boolean {
  return validName.test(name);
}

function checkName(name: string): void {
  if (!isValidCrushName(name)) throw problem('EINVAL', `crush name '${name}' has characters other than [A-Za-z0-9_.-]`);
}

function checkLocation(loc: CrushLocation): void {
  for (const [type, name] of Object.entries(loc)) {
    checkName(type);
    checkName(name);
  }
}

/** A weight in TiB as 16.16: the argument is a C float in upstream, so it is rounded to one first. */
export function weightToFixed(weight: number): number {
  const fixed = Math.trunc(Math.fround(Math.fround(weight) * 0x10000));
  if (!(fixed >= 0 && fixed <= 0xffffffff))
    throw problem('EOVERFLOW', `crush weight ${weight} is not between 0 and 65535`);
  return fixed;
}

export function weightFromFixed(fixed: number): number {
  return Math.fround(fixed / 0x10000);
}

/** The bucket algorithm that new buckets get. */
export function defaultBucketAlg(map: CrushMap): number {
  for (const alg of [BUCKET_STRAW2, BUCKET_STRAW, BUCKET_TREE, BUCKET_LIST, BUCKET_UNIFORM])
    if (map.tunables.allowedBucketAlgs & (1 << alg)) return alg;
  throw problem('EINVAL', 'crush tunables allow no bucket algorithm');
}

function positionOf(bucket: CrushBucket, item: number): number {
  return bucket.items.indexOf(item);
}

function* bucketsOf(map: CrushMap): Generator<CrushBucket> {
  for (const bucket of map.buckets) if (bucket !== undefined) yield bucket;
}

function isReferenced(map: CrushMap, item: number): boolean {
  for (const bucket of bucketsOf(map)) if (positionOf(bucket, item) >= 0) return true;
  return false;
}

export function subtreeContains(map: CrushMap, root: number, item: number): boolean {
  if (root === item) return true;
  return map.bucket(root)?.items.some((child) => subtreeContains(map, child, item)) ?? false;
}

/** The bucket that holds the item, shadow buckets not counted. */
export function parentOf(map: CrushMap, item: number): CrushBucket | undefined {
  for (const bucket of bucketsOf(map)) {
    if (positionOf(bucket, item) >= 0 && !map.isShadow(bucket.id)) return bucket;
  }
  return undefined;
}

/** From the parent up to the root: type name and bucket name. */
export function fullLocation(map: CrushMap, item: number): [type: string, name: string][] {
  const path: [string, string][] = [];
  for (let at = parentOf(map, item); at !== undefined; at = parentOf(map, at.id))
    path.push([map.typeNames.get(at.type) ?? '', map.nameOf(at.id) ?? '']);
  return path;
}

/** All devices below an item. */
export function leavesOf(map: CrushMap, item: number): number[] {
  if (item >= 0) return [item];
  return map.bucket(item)?.items.flatMap((child) => leavesOf(map, child)) ?? [];
}

/** Buckets that no other bucket holds, shadow trees included, ascending by id. */
export function findRoots(map: CrushMap): number[] {
  const out: number[] = [];
  for (const bucket of bucketsOf(map)) if (!isReferenced(map, bucket.id)) out.push(bucket.id);
  return out.sort((a, b) => a - b);
}

/** Weight of an item where it is found first, as fixed point; undefined when it is nowhere. */
export function itemWeight(map: CrushMap, item: number): number | undefined {
  for (const bucket of bucketsOf(map)) {
    if (bucket.id === item) return bucket.weight;
    const at = positionOf(bucket, item);
    if (at >= 0) return itemWeightAt(bucket, at);
  }
  return undefined;
}

// ---- changes to one bucket, with the choose_args that mirror it ----

function addItemTo(map: CrushMap, bucket: CrushBucket, item: number, weight: number): void {
  appendItem(map, bucket, item, weight);
  for (const args of map.chooseArgs.values()) {
    const arg = args[-1 - bucket.id];
    if (arg === undefined) continue;
    for (const set of arg.weightSets) set.push(weight);
    if (arg.ids.length > 0) arg.ids.push(item);
  }
}

function removeItemFrom(map: CrushMap, bucket: CrushBucket, item: number): void {
  const at = positionOf(bucket, item);
  removeItemAt(map, bucket, at);
  for (const args of map.chooseArgs.values()) {
    const arg = args[-1 - bucket.id];
    if (arg === undefined) continue;
    for (const set of arg.weightSets) set.splice(at, 1);
    if (arg.ids.length > 0) arg.ids.splice(at, 1);
  }
}

/** Sets the weight of an item in one bucket and carries the bucket's new total up; returns whether the item is there. */
function setWeightIn(map: CrushMap, bucket: CrushBucket, item: number, weight: number, weightSets: boolean): boolean {
  const at = positionOf(bucket, item);
  if (at >= 0) {
    setItemWeightAt(map, bucket, at, weight);
    if (weightSets)
      for (const args of map.chooseArgs.values())
        for (const set of args[-1 - bucket.id]?.weightSets ?? []) set[at] = weight;
    setWeightEverywhere(map, bucket.id, bucket.weight, false);
  }
  // Weight-sets keep their own sums.
  for (const args of map.chooseArgs.values()) {
    const sets = args[-1 - bucket.id]?.weightSets;
    if (sets === undefined || sets.length === 0) continue;
    const sums = sets.map((set) => set.reduce((sum, w) => sum + w, 0));
    carryWeightSet(map, args, bucket.id, sums);
  }
  return at >= 0;
}

function carryWeightSet(
  map: CrushMap,
  args: readonly ({ weightSets: number[][] } | undefined)[],
  item: number,
  sums: readonly number[],
): void {
  for (const parent of bucketsOf(map)) {
    const at = positionOf(parent, item);
    const sets = args[-1 - parent.id]?.weightSets;
    if (at < 0 || sets === undefined || sets.length === 0) continue;
    sets.forEach((set, position) => {
      set[at] = sums[position] ?? sums[sums.length - 1] ?? 0;
    });
    carryWeightSet(
      map,
      args,
      parent.id,
      sets.map((set) => set.reduce((sum, w) => sum + w, 0)),
    );
  }
}

function setWeightEverywhere(map: CrushMap, item: number, weight: number, weightSets: boolean): number {
  let changed = 0;
  for (const bucket of bucketsOf(map))
    if (positionOf(bucket, item) >= 0 && setWeightIn(map, bucket, item, weight, weightSets)) changed++;
  return changed;
}

/** `osd crush reweight`: the weight of a device wherever it is. Errors: ENOENT. */
export function reweightItem(map: CrushMap, item: number, fixedWeight: number): void {
  if (setWeightEverywhere(map, item, fixedWeight, true) === 0)
    throw problem('ENOENT', `item ${item} is not in the crush map`);
  rebuildShadowTrees(map);
}

/** `osd crush reweight-subtree`: sets every device below; returns how many. */
export function reweightSubtree(map: CrushMap, root: number, fixedWeight: number): number {
  const bucket = map.bucket(root);
  if (bucket === undefined) throw problem('ENOENT', `bucket ${root} does not exist`);
  let changed = 0;
  const queue = [bucket];
  for (let b = queue.shift(); b !== undefined; b = queue.shift()) {
    for (const item of [...b.items]) {
      if (item >= 0) {
        setWeightIn(map, b, item, fixedWeight, true);
        changed++;
      } else {
        const child = map.bucket(item);
        if (child !== undefined) queue.push(child);
      }
    }
  }
  rebuildShadowTrees(map);
  return changed;
}

/** `osd crush reweight-all`: every bucket's weight becomes the sum of its items', from the devices up. */
export function reweightAll(map: CrushMap): void {
  const visit = (bucket: CrushBucket): number => {
    bucket.items.forEach((item, at) => {
      const child = map.bucket(item);
      if (child !== undefined) setItemWeightAt(map, bucket, at, visit(child));
    });
    return bucket.weight;
  };
  for (const root of findRoots(map)) {
    const bucket = map.bucket(root);
    if (bucket !== undefined && !map.isShadow(root)) visit(bucket);
  }
  rebuildShadowTrees(map);
}

// ---- items and where they are ----

/** Adds an empty, parentless bucket (`osd crush add-bucket`); returns its id. Errors: EINVAL, EEXIST. */
export function addEmptyBucket(map: CrushMap, name: string, type: number): number {
  checkName(name);
  if (type <= 0 || !map.typeNames.has(type)) throw problem('EINVAL', `type ${type} is no bucket type`);
  if (map.idOfName(name) !== undefined) throw problem('EEXIST', `bucket '${name}' already exists`);
  const id = addBucket(map, 0, makeBucket(map.tunables, defaultBucketAlg(map), CRUSH_HASH_RJENKINS1, type, [], []));
  map.names.set(id, name);
  return id;
}

function typesUp(map: CrushMap): [number, string][] {
  return [...map.typeNames].filter(([type]) => type !== 0).sort((a, b) => a[0] - b[0]);
}

/** Whether the item is directly in the lowest bucket that `loc` names; its weight there, else undefined. */
export function weightAtLocation(map: CrushMap, item: number, loc: CrushLocation): number | undefined {
  for (const [, typeName] of typesUp(map)) {
    const name = loc[typeName];
    if (name === undefined) continue;
    const bucket = map.bucket(map.idOfName(name) ?? 0);
    if (bucket === undefined) return undefined;
    const at = positionOf(bucket, item);
    return at >= 0 ? itemWeightAt(bucket, at) : undefined;
  }
  return undefined;
}

/**
 * Puts an item where `loc` says, making the buckets that are missing (`CrushWrapper::insert_item`). Weight is fixed point.
 * Errors: EINVAL, EEXIST (the name is another item's), ELOOP.
 */
export function insertItem(
  map: CrushMap,
  item: number,
  fixedWeight: number,
  name: string,
  loc: CrushLocation,
  weightSets = true,
): void {
  checkName(name);
  checkLocation(loc);
  const owner = map.idOfName(name);
  if (owner === undefined) map.names.set(item, name);
  else if (owner !== item) throw problem('EEXIST', `device name '${name}' already exists as id ${owner}`);
  let current = item;
  for (const [type, typeName] of typesUp(map)) {
    const bucketName = loc[typeName];
    if (bucketName === undefined) continue;
    const id = map.idOfName(bucketName);
    if (id === undefined) {
      const bucket = makeBucket(map.tunables, defaultBucketAlg(map), CRUSH_HASH_RJENKINS1, type, [current], [0]);
      const made = addBucket(map, 0, bucket);
      for (const args of map.chooseArgs.values()) {
        const positions = Math.max(1, ...args.map((arg) => arg?.weightSets.length ?? 0));
        args[-1 - made] = { weightSets: Array.from({ length: positions }, () => [0]), ids: [] };
      }
      map.names.set(made, bucketName);
      current = made;
      continue;
    }
    const bucket = map.bucket(id);
    if (bucket === undefined) throw problem('EINVAL', `'${bucketName}' is not a bucket`);
    if (subtreeContains(map, id, current))
      throw problem('EINVAL', `item ${current} already exists beneath ${bucketName}`);
    if (bucket.type !== type)
      throw problem('EINVAL', `bucket ${bucketName} has type '${map.typeNames.get(bucket.type)}', not '${typeName}'`);
    if (subtreeContains(map, current, id)) throw problem('ELOOP', `${bucketName} is beneath item ${current}`);
    addItemTo(map, bucket, current, 0);
    break;
  }
  let placed = false;
  for (const bucketName of Object.values(loc)) {
    const bucket = map.bucket(map.idOfName(bucketName) ?? 0);
    if (bucket !== undefined && positionOf(bucket, item) >= 0)
      placed = setWeightIn(map, bucket, item, fixedWeight, item >= 0 && weightSets) || placed;
  }
  if (!placed) throw problem('EINVAL', `no place for item ${item} in ${JSON.stringify(loc)}`);
  if (item >= map.maxDevices) map.maxDevices = item + 1;
  rebuildShadowTrees(map);
}

/**
 * What an OSD asks for when it boots (`osd crush create-or-move`): leaves it alone when it is at `loc`, moves it with the weight it has when it is
 * elsewhere, else adds it. Returns whether the map changed.
 */
export function createOrMoveItem(
  map: CrushMap,
  item: number,
  fixedWeight: number,
  name: string,
  loc: CrushLocation,
): boolean {
  checkName(name);
  if (weightAtLocation(map, item, loc) !== undefined) return false;
  let weight = fixedWeight;
  if (isReferenced(map, item)) {
    weight = itemWeight(map, item) ?? fixedWeight;
    removeItem(map, item, true);
  }
  insertItem(map, item, weight, name, loc);
  return true;
}

/** `osd crush set` and `add`: at `loc` with this weight and name. Returns whether the map changed. */
export function updateItem(
  map: CrushMap,
  item: number,
  fixedWeight: number,
  name: string,
  loc: CrushLocation,
): boolean {
  checkName(name);
  checkLocation(loc);
  const old = weightAtLocation(map, item, loc);
  if (old === undefined) {
    if (map.names.has(item)) removeItem(map, item, true);
    insertItem(map, item, fixedWeight, name, loc);
    return true;
  }
  let changed = false;
  if (old !== fixedWeight) {
    for (const bucketName of Object.values(loc)) {
      const bucket = map.bucket(map.idOfName(bucketName) ?? 0);
      if (bucket !== undefined && positionOf(bucket, item) >= 0) setWeightIn(map, bucket, item, fixedWeight, true);
    }
    rebuildShadowTrees(map);
    changed = true;
  }
  if (map.nameOf(item) !== name) {
    map.names.set(item, name);
    changed = true;
  }
  return changed;
}

/** Moves a bucket with everything below it. Errors: EINVAL for devices, ENOENT. */
export function moveBucket(map: CrushMap, id: number, loc: CrushLocation): void {
  const bucket = map.bucket(id);
  const name = map.nameOf(id);
  if (id >= 0) throw problem('EINVAL', `item ${id} is a device`);
  if (bucket === undefined || name === undefined) throw problem('ENOENT', `bucket ${id} does not exist`);
  const weight = bucket.weight;
  const parent = parentOf(map, id);
  if (parent !== undefined) {
    setWeightIn(map, parent, id, 0, true);
    removeItemFrom(map, parent, id);
  }
  insertItem(map, id, weight, name, loc, false);
}

/** Adds a bucket at a second place. */
export function linkBucket(map: CrushMap, id: number, loc: CrushLocation): void {
  const bucket = map.bucket(id);
  if (id >= 0) throw problem('EINVAL', `item ${id} is a device`);
  if (bucket === undefined) throw problem('ENOENT', `bucket ${id} does not exist`);
  insertItem(map, id, bucket.weight, map.nameOf(id) ?? '', loc);
}

/** Whether a rule takes the bucket (or a class of it) or it is a shadow bucket. */
export function bucketInUse(map: CrushMap, id: number): boolean {
  for (const classes of map.classBuckets.values())
    for (const shadow of classes.values()) if (shadow === id) return true;
  for (const rule of map.rules) {
    for (const step of rule?.steps ?? []) {
      if (step.op !== RULE_TAKE) continue;
      if (step.arg1 === id || shadowOrigin(map, step.arg1) === id) return true;
    }
  }
  return false;
}

/** The bucket that a shadow bucket is a copy of, by its name `origin~class`; the bucket itself when it is none. */
export function shadowOrigin(map: CrushMap, id: number): number | undefined {
  const name = map.nameOf(id);
  const at = name?.indexOf('~') ?? -1;
  return name === undefined || at < 0 ? id : map.idOfName(name.slice(0, at));
}

function dropLastInstance(map: CrushMap, item: number, unlinkOnly: boolean): boolean {
  if (isReferenced(map, item)) return false;
  if (item < 0 && bucketInUse(map, item)) return false;
  if (item < 0 && !unlinkOnly) removeBucketSlot(map, item);
  if ((item >= 0 || !unlinkOnly) && map.names.has(item)) {
    map.names.delete(item);
    if (item >= 0 && !unlinkOnly) map.classOf.delete(item);
  }
  rebuildShadowTrees(map);
  return true;
}

function removeBucketSlot(map: CrushMap, id: number): void {
  map.buckets[-1 - id] = undefined;
  map.classBuckets.delete(id);
  map.classOf.delete(id);
  for (const args of map.chooseArgs.values()) args[-1 - id] = undefined;
}

/** Removes an item everywhere; with `unlinkOnly` it keeps its name, class and (a bucket) itself. Errors: ENOENT, ENOTEMPTY, EBUSY. */
export function removeItem(map: CrushMap, item: number, unlinkOnly = false): void {
  if (item < 0 && !unlinkOnly) checkRemovable(map, item);
  let found = false;
  for (const bucket of bucketsOf(map)) {
    if (positionOf(bucket, item) < 0) continue;
    setWeightIn(map, bucket, item, 0, true);
    removeItemFrom(map, bucket, item);
    found = true;
  }
  if (dropLastInstance(map, item, unlinkOnly)) found = true;
  if (!found) throw problem('ENOENT', `item ${item} is not in the crush map`);
}

function checkRemovable(map: CrushMap, id: number): void {
  const bucket = map.bucket(id);
  if (bucket === undefined) throw problem('ENOENT', `bucket ${id} does not exist`);
  if (bucket.items.length > 0)
    throw problem('ENOTEMPTY', `bucket ${map.nameOf(id)} has ${bucket.items.length} items, not empty`);
  if (bucketInUse(map, id)) throw problem('EBUSY', `bucket ${map.nameOf(id)} is used by a rule`);
}

/** Removes an item below one bucket only. */
export function removeItemUnder(map: CrushMap, item: number, ancestor: number, unlinkOnly = false): void {
  if (!unlinkOnly && item < 0 && bucketInUse(map, item))
    throw problem('EBUSY', `bucket ${map.nameOf(item)} is used by a rule`);
  const under = map.bucket(ancestor);
  if (under === undefined) throw problem('EINVAL', `bucket ${ancestor} does not exist`);
  const remove = (bucket: CrushBucket): boolean => {
    let found = false;
    for (const id of [...bucket.items]) {
      const child = map.bucket(id);
      if (id === item) {
        setWeightIn(map, bucket, item, 0, true);
        removeItemFrom(map, bucket, item);
        found = true;
      } else if (child !== undefined) found = remove(child) || found;
    }
    return found;
  };
  if (!remove(under)) throw problem('ENOENT', `item ${item} is not beneath ${map.nameOf(ancestor)}`);
  if (item < 0 && !unlinkOnly && map.bucket(item)!.items.length > 0)
    throw problem('ENOTEMPTY', `bucket ${map.nameOf(item)} is not empty`);
  dropLastInstance(map, item, unlinkOnly);
}

/** `osd crush rename-bucket`. Errors: ENOENT, EEXIST, EALREADY (done before), ENOTDIR (a device), EINVAL. */
export function renameBucket(map: CrushMap, from: string, to: string): void {
  const id = map.idOfName(from);
  const taken = map.idOfName(to) !== undefined;
  if (id === undefined) {
    if (taken) throw problem('EALREADY', `srcname = '${from}' does not exist and dstname = '${to}' already exists`);
    throw problem('ENOENT', `srcname = '${from}' does not exist`);
  }
  if (taken) throw problem('EEXIST', `dstname = '${to}' already exists`);
  if (!isValidCrushName(to)) throw problem('EINVAL', `dstname = '${to}' does not match [-_.0-9a-zA-Z]+`);
  if (id >= 0) throw problem('ENOTDIR', `srcname = '${from}' is not a bucket because its id = ${id} is >= 0`);
  // Shadow buckets keep their old names until the next rebuild, as upstream.
  map.names.set(id, to);
}

/** Exchanges contents, weights and names of two buckets. */
export function swapBuckets(map: CrushMap, a: number, b: number): void {
  const [first, second] = [map.bucket(a), map.bucket(b)];
  if (first === undefined || second === undefined) throw problem('EINVAL', 'only buckets can be swapped');
  if (subtreeContains(map, a, b) || subtreeContains(map, b, a))
    throw problem('EINVAL', 'one bucket is beneath the other');
  const [wa, wb] = [first.weight, second.weight];
  setWeightEverywhere(map, a, wb, true);
  setWeightEverywhere(map, b, wa, true);
  const take = (bucket: CrushBucket): [number, number][] => {
    const items = bucket.items.map((item, at): [number, number] => [item, itemWeightAt(bucket, at)]);
    for (const [item] of items) removeItemFrom(map, bucket, item);
    return items;
  };
  const [fromA, fromB] = [take(first), take(second)];
  for (const [item, weight] of fromB) addItemTo(map, first, item, weight);
  for (const [item, weight] of fromA.sort((x, y) => x[0] - y[0])) addItemTo(map, second, item, weight);
  const [na, nb] = [map.nameOf(a) ?? '', map.nameOf(b) ?? ''];
  map.names.set(a, nb);
  map.names.set(b, na);
  rebuildShadowTrees(map);
}
