import { AppError } from '../../base/errors.ts';
import { addBucket, appendItem, itemWeightAt, makeBucket } from './bucket.ts';
import { BUCKET_STRAW2, type CrushBucket, type CrushMap, RULE_TAKE } from './map.ts';

/**
 * Device classes: a rule that takes `default~ssd` sees a shadow tree, a copy of the tree `default` with only the devices of that class. Shadow
 * trees are made anew after every change; a shadow bucket keeps its id, so that rules stay right.
 */
export function rebuildShadowTrees(map: CrushMap): void {
  const before = new Map([...map.classBuckets].map(([id, classes]) => [id, new Map(classes)]));
  dropDeadClasses(map);
  for (const bucket of [...map.buckets]) {
    if (bucket !== undefined && map.isShadow(bucket.id) && !isItemOfAny(map, bucket.id)) dropTree(map, bucket.id);
  }
  map.classBuckets.clear();
  const used = new Set<number>();
  for (const classes of before.values()) for (const id of classes.values()) used.add(id);
  const roots = [...map.buckets].filter((b) => b !== undefined && !map.isShadow(b.id) && !isItemOfAny(map, b.id));
  const rootIds = roots.map((b) => b!.id).sort((a, b) => a - b);
  // choose_args key -> shadow bucket -> its weight at each position.
  const sums = new Map<number, Map<number, number[]>>();
  const classes = [...map.classNames.keys()].sort((a, b) => a - b);
  for (const root of rootIds) for (const cls of classes) cloneForClass(map, root, cls, before, used, sums);
}

function isItemOfAny(map: CrushMap, id: number): boolean {
  return map.buckets.some((bucket) => bucket?.items.includes(id) ?? false);
}

function dropTree(map: CrushMap, id: number): void {
  const bucket = map.bucket(id);
  if (bucket === undefined) return;
  for (const item of bucket.items) if (item < 0) dropTree(map, item);
  map.buckets[-1 - id] = undefined;
  map.names.delete(id);
  map.classBuckets.delete(id);
  map.classOf.delete(id);
  for (const args of map.chooseArgs.values()) args[-1 - id] = undefined;
}

function isDead(map: CrushMap, cls: number): boolean {
  for (const [item, of] of map.classOf) if (item >= 0 && of === cls) return false;
  return !ruleUsesClass(map, cls);
}

function ruleUsesClass(map: CrushMap, cls: number): boolean {
  return map.rules.some((_, id) => ruleTakesClass(map, id, cls));
}

/** Whether a rule takes a shadow tree of the class. */
export function ruleTakesClass(map: CrushMap, ruleId: number, cls: number): boolean {
  return (
    map.rules[ruleId]?.steps.some((step) => {
      if (step.op !== RULE_TAKE) return false;
      for (const classes of map.classBuckets.values()) if (classes.get(cls) === step.arg1) return true;
      return false;
    }) ?? false
  );
}

function dropDeadClasses(map: CrushMap): void {
  for (const cls of [...map.classNames.keys()]) if (isDead(map, cls)) map.classNames.delete(cls);
}

function cloneForClass(
  map: CrushMap,
  original: number,
  cls: number,
  before: ReadonlyMap<number, ReadonlyMap<number, number>>,
  used: ReadonlySet<number>,
  sums: Map<number, Map<number, number[]>>,
): number {
  const copyName = `${map.nameOf(original) ?? ''}~${map.classNames.get(cls) ?? ''}`;
  const existing = map.idOfName(copyName);
  if (existing !== undefined) return existing;
  const bucket = map.bucket(original)!;
  const copy = makeBucket(map.tunables, bucket.alg, bucket.hash, bucket.type, [], []);
  const from: number[] = [];
  bucket.items.forEach((item, at) => {
    if (item >= 0) {
      if (map.classOf.get(item) !== cls) return;
      appendItem(map, copy, item, itemWeightAt(bucket, at));
    } else {
      const child = cloneForClass(map, item, cls, before, used, sums);
      appendItem(map, copy, child, map.bucket(child)!.weight);
    }
    from.push(at);
  });
  let id = before.get(original)?.get(cls) ?? 0;
  if (id === 0) {
    id = -1;
    while (map.bucket(id) !== undefined || used.has(id)) id--;
  }
  addBucket(map, id, copy);
  map.classOf.set(id, cls);
  map.names.set(id, copyName);
  const classes = map.classBuckets.get(original) ?? new Map<number, number>();
  classes.set(cls, id);
  map.classBuckets.set(original, classes);
  cloneChooseArgs(map, original, copy, from, sums);
  return id;
}

function cloneChooseArgs(
  map: CrushMap,
  original: number,
  copy: CrushBucket,
  from: readonly number[],
  sums: Map<number, Map<number, number[]>>,
): void {
  for (const [key, args] of map.chooseArgs) {
    const own = sums.get(key) ?? new Map<number, number[]>();
    sums.set(key, own);
    const sets = args[-1 - original]?.weightSets ?? [];
    if (sets.length === 0) continue;
    const cloned = sets.map((set, position) =>
      copy.items.map((item, i) => (item >= 0 ? set[from[i]!]! : (own.get(item)?.[position] ?? 0))),
    );
    args[-1 - copy.id] = { weightSets: cloned, ids: [] };
    own.set(
      copy.id,
      cloned.map((set) => set.reduce((sum, w) => sum + w, 0)),
    );
  }
}

function classId(map: CrushMap, name: string): number {
  const known = map.classOfName(name);
  if (known !== undefined) return known;
  const id = map.classNames.size === 0 ? 0 : Math.max(...map.classNames.keys()) + 1;
  map.classNames.set(id, name);
  return id;
}

/**
 * `osd crush set-device-class`. Returns whether the map changed. Errors: EBUSY when the device has another class, ENOENT when it is not in the map.
 */
export function setDeviceClass(map: CrushMap, device: number, name: string): boolean {
  if (!map.names.has(device)) throw new AppError('ENOENT', `osd.${device} does not exist in the crush map`);
  const old = map.itemClass(device);
  if (old === name) return false;
  if (old !== undefined)
    throw new AppError(
      'EBUSY',
      `osd.${device} has already bound to class '${old}', can not reset class to '${name}'; use 'ceph osd crush rm-device-class <id>' to remove old class first`,
    );
  map.classOf.set(device, classId(map, name));
  rebuildShadowTrees(map);
  return true;
}

/** `osd crush rm-device-class`. Returns whether there was one. */
export function removeDeviceClass(map: CrushMap, device: number): boolean {
  if (!map.classOf.delete(device)) return false;
  rebuildShadowTrees(map);
  return true;
}

/** `osd crush class create`; the class's id. One without devices goes with the next change of a shadow tree, as upstream. */
export function createDeviceClass(map: CrushMap, name: string): number {
  return classId(map, name);
}

/** `osd crush class rm`, with its devices taken out of it. Errors: EBUSY when a rule takes it. */
export function removeClass(map: CrushMap, name: string): void {
  const cls = map.classOfName(name)!;
  const rule = map.rules.findIndex((_, id) => ruleTakesClass(map, id, cls));
  if (rule >= 0)
    throw new AppError('EBUSY', `class '${name}' still referenced by crush_rule '${map.ruleNames.get(rule) ?? rule}'`);
  for (const device of devicesOfClass(map, name)) map.classOf.delete(device);
  map.classNames.delete(cls);
  rebuildShadowTrees(map);
}

/** `osd crush class rename`: shadow trees are called anew. Errors: ENOENT, EEXIST. */
export function renameClass(map: CrushMap, from: string, to: string): void {
  const fail = (code: string, why: string): AppError =>
    new AppError(code, `fail to rename '${from}' to '${to}' : ${why}`);
  const cls = map.classOfName(from);
  if (cls === undefined) throw fail('ENOENT', '(2) No such file or directory');
  if (map.classOfName(to) !== undefined) throw fail('EEXIST', '(17) File exists');
  map.classNames.set(cls, to);
  for (const [original, classes] of map.classBuckets) {
    const shadow = classes.get(cls);
    if (shadow !== undefined) map.names.set(shadow, `${map.nameOf(original) ?? ''}~${to}`);
  }
}

/** Devices of a class, ascending. */
export function devicesOfClass(map: CrushMap, name: string): number[] {
  const cls = map.classOfName(name);
  return [...map.classOf]
    .filter(([item, of]) => item >= 0 && of === cls)
    .map(([item]) => item)
    .sort((a, b) => a - b);
}

/**
 * `osd crush weight-set create` and `create-compat` (key DEFAULT_CHOOSE_ARGS): weights of every straw2 bucket for a pool, equal to the real ones at
 * first. Returns false when there is one already.
 */
export function createWeightSet(map: CrushMap, key: number, positions: number): boolean {
  if (map.chooseArgs.has(key)) return false;
  map.chooseArgs.set(
    key,
    map.buckets.map((bucket) =>
      bucket === undefined || bucket.alg !== BUCKET_STRAW2
        ? undefined
        : { weightSets: Array.from({ length: positions }, () => [...bucket.weights]), ids: [] },
    ),
  );
  return true;
}

/** Returns false when there was none. */
export function removeWeightSet(map: CrushMap, key: number): boolean {
  return map.chooseArgs.delete(key);
}

/** Positions of a weight-set; 0 when there is none. */
export function weightSetPositions(map: CrushMap, key: number): number {
  for (const arg of map.chooseArgs.get(key) ?? []) if (arg !== undefined) return arg.weightSets.length;
  return 0;
}

/**
 * `osd crush weight-set reweight` (`CrushWrapper::choose_args_adjust_item_weight`): weights (16.16) of an item at each position, wherever it is; what it is in weighs then
 * as much as its items together. Returns false when it is nowhere.
 */
export function adjustWeightSet(map: CrushMap, key: number, item: number, weights: readonly number[]): boolean {
  const args = map.chooseArgs.get(key)!;
  let changed = false;
  for (const bucket of map.buckets) {
    if (bucket === undefined || bucket.alg !== BUCKET_STRAW2 || !bucket.items.includes(item)) continue;
    const slot = -1 - bucket.id;
    const sets = (args[slot]?.weightSets ?? []).map((set) => [...set]);
    if (sets.length === 0) for (const _ of weights) sets.push([...bucket.weights]);
    if (sets.length !== weights.length) continue;
    for (const [position, set] of sets.entries())
      for (const [at, each] of bucket.items.entries()) if (each === item) set[at] = weights[position]!;
    args[slot] = { weightSets: sets, ids: args[slot]?.ids ?? [] };
    changed = true;
    adjustWeightSet(
      map,
      key,
      bucket.id,
      sets.map((set) => set.reduce((sum, weight) => sum + weight, 0)),
    );
  }
  return changed;
}
