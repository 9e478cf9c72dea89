import { DecodeError } from '../../base/bytes.ts';
import { Decoder, Encoder } from '../wire/encoding.ts';
import {
  BUCKET_LIST,
  BUCKET_STRAW,
  BUCKET_STRAW2,
  BUCKET_TREE,
  BUCKET_UNIFORM,
  type ChooseArg,
  CRUSH_MAX_RULES,
  type CrushBucket,
  CrushMap,
  type CrushRule,
} from './map.ts';

const magic = 0x00010000;

/** Buckets nest at most this deep: a mapping descends once per level. */
const maxDepth = 64;

/** The compiled map as `ceph osd getcrushmap` gives it (`CrushWrapper::encode`, with every Pacific field). */
export function encodeCrushMap(map: CrushMap): Uint8Array {
  const e = new Encoder(1024);
  e.u32(magic).s32(map.buckets.length).u32(map.rules.length).s32(map.maxDevices);
  for (const bucket of map.buckets) encodeBucket(e, bucket);
  for (const rule of map.rules) {
    if (rule === undefined) {
      e.u32(0);
      continue;
    }
    e.u32(1).u32(rule.steps.length).u8(rule.ruleset).u8(rule.type).u8(rule.minSize).u8(rule.maxSize);
    for (const step of rule.steps) e.u32(step.op).s32(step.arg1).s32(step.arg2);
  }
  encodeNames(e, map.typeNames);
  encodeNames(e, map.names);
  encodeNames(e, map.ruleNames);
  const t = map.tunables;
  e.u32(t.chooseLocalTries).u32(t.chooseLocalFallbackTries).u32(t.chooseTotalTries).u32(t.chooseleafDescendOnce);
  e.u8(t.chooseleafVaryR).u8(t.strawCalcVersion).u32(t.allowedBucketAlgs).u8(t.chooseleafStable);
  e.numberMap(
    map.classOf,
    (x, k) => x.s32(k),
    (x, v) => x.s32(v),
  );
  encodeNames(e, map.classNames);
  e.numberMap(
    map.classBuckets,
    (x, k) => x.s32(k),
    (x, v) =>
      x.numberMap(
        v,
        (y, k) => y.s32(k),
        (y, w) => y.s32(w),
      ),
  );
  e.numberMap(map.chooseArgs, (x, k) => x.s64(k), encodeChooseArgs);
  return e.finish();
}

function encodeNames(e: Encoder, names: ReadonlyMap<number, string>): void {
  e.numberMap(
    names,
    (x, k) => x.s32(k),
    (x, v) => x.string(v),
  );
}

function encodeBucket(e: Encoder, b: CrushBucket | undefined): void {
  if (b === undefined) {
    e.u32(0);
    return;
  }
  e.u32(b.alg).s32(b.id).u16(b.type).u8(b.alg).u8(b.hash).u32(b.weight).u32(b.items.length);
  for (const item of b.items) e.s32(item);
  switch (b.alg) {
    case BUCKET_UNIFORM:
      e.u32(b.weights[0] ?? 0);
      break;
    case BUCKET_LIST:
    case BUCKET_STRAW:
      for (let i = 0; i < b.items.length; i++) e.u32(b.weights[i]!).u32(b.extra[i]!);
      break;
    case BUCKET_TREE:
      e.u8(b.extra.length);
      for (const w of b.extra) e.u32(w);
      break;
    case BUCKET_STRAW2:
      for (const w of b.weights) e.u32(w);
      break;
    default:
      throw new RangeError(`crush: bucket ${b.id} has unknown algorithm ${b.alg}`);
  }
}

function encodeChooseArgs(e: Encoder, args: readonly (ChooseArg | undefined)[]): void {
  const at = e.size;
  let count = 0;
  e.u32(0);
  args.forEach((arg, slot) => {
    if (arg === undefined || (arg.weightSets.length === 0 && arg.ids.length === 0)) return;
    count++;
    e.u32(slot);
    e.list(arg.weightSets, (x, set) => x.list(set, (y, w) => y.u32(w)));
    e.list(arg.ids, (x, id) => x.s32(id));
  });
  e.patchU32(at, count);
}

/** Reads a compiled map and checks what a mapping relies on: known algorithms, existing items, no cycles. */
export function decodeCrushMap(bytes: Uint8Array): CrushMap {
  const d = new Decoder(bytes);
  const found = d.u32();
  if (found !== magic) throw new DecodeError(`crush: magic 0x${found.toString(16)} instead of 0x${magic.toString(16)}`);
  const maxBuckets = d.u32();
  const maxRules = d.u32();
  const map = new CrushMap();
  map.maxDevices = d.s32();
  if (maxBuckets * 4 > d.remaining) throw new DecodeError(`crush: ${maxBuckets} buckets in ${d.remaining} bytes`);
  if (maxRules > CRUSH_MAX_RULES) throw new DecodeError(`crush: ${maxRules} rules`);
  for (let slot = 0; slot < maxBuckets; slot++) map.buckets.push(decodeBucket(d, slot));
  for (let i = 0; i < maxRules; i++) map.rules.push(decodeRule(d));
  decodeNames(d, map.typeNames);
  decodeNames(d, map.names);
  decodeNames(d, map.ruleNames);
  decodeTail(d, map);
  checkHierarchy(map);
  return map;
}

function decodeTail(d: Decoder, map: CrushMap): void {
  const t = map.tunables;
  // A map that ends early is from an old release and has its tunables.
  Object.assign(t, {
    chooseLocalTries: 2,
    chooseLocalFallbackTries: 5,
    chooseTotalTries: 19,
    chooseleafDescendOnce: 0,
    chooseleafVaryR: 0,
    strawCalcVersion: 0,
    allowedBucketAlgs: 22,
    chooseleafStable: 0,
  });
  if (d.remaining === 0) return;
  t.chooseLocalTries = d.u32();
  t.chooseLocalFallbackTries = d.u32();
  t.chooseTotalTries = d.u32();
  if (d.remaining === 0) return;
  t.chooseleafDescendOnce = d.u32();
  if (d.remaining === 0) return;
  t.chooseleafVaryR = d.u8();
  if (d.remaining === 0) return;
  t.strawCalcVersion = d.u8();
  if (d.remaining === 0) return;
  t.allowedBucketAlgs = d.u32();
  if (d.remaining === 0) return;
  t.chooseleafStable = d.u8();
  if (d.remaining === 0) return;
  for (let n = d.count(8); n > 0; n--) map.classOf.set(d.s32(), d.s32());
  decodeNames(d, map.classNames);
  for (let n = d.count(8); n > 0; n--) {
    const id = d.s32();
    map.classBuckets.set(
      id,
      d.map(
        (x) => x.s32(),
        (x) => x.s32(),
        8,
      ),
    );
  }
  if (d.remaining === 0) return;
  for (let n = d.count(12); n > 0; n--) {
    const pool = d.s64();
    map.chooseArgs.set(pool, decodeChooseArgs(d, map));
  }
}

function decodeNames(d: Decoder, names: Map<number, string>): void {
  for (let n = d.count(8); n > 0; n--) {
    const id = d.s32();
    names.set(id, d.string());
  }
}

function decodeBucket(d: Decoder, slot: number): CrushBucket | undefined {
  const alg = d.u32();
  if (alg === 0) return undefined;
  if (alg > BUCKET_STRAW2) throw new DecodeError(`crush: bucket ${-1 - slot} has unknown algorithm ${alg}`);
  const bucket: CrushBucket = {
    id: d.s32(),
    type: d.u16(),
    alg: d.u8(),
    hash: d.u8(),
    weight: d.u32(),
    items: d.list((x) => x.s32(), 4),
    weights: [],
    extra: [],
  };
  if (bucket.id !== -1 - slot || bucket.alg !== alg)
    throw new DecodeError(`crush: slot ${slot} holds bucket ${bucket.id} of algorithm ${bucket.alg}, says ${alg}`);
  const size = bucket.items.length;
  switch (alg) {
    case BUCKET_UNIFORM: {
      const weight = d.u32();
      bucket.weights = new Array<number>(Math.max(size, 1)).fill(weight);
      break;
    }
    case BUCKET_LIST:
    case BUCKET_STRAW:
      for (let i = 0; i < size; i++) {
        bucket.weights.push(d.u32());
        bucket.extra.push(d.u32());
      }
      break;
    case BUCKET_TREE: {
      const nodes = d.u8();
      for (let i = 0; i < nodes; i++) bucket.extra.push(d.u32());
      if (size > 0 && (nodes < 2 * size || (nodes & (nodes - 1)) !== 0))
        throw new DecodeError(`crush: tree bucket ${bucket.id} has ${nodes} nodes for ${size} items`);
      for (let i = 0; i < size; i++) bucket.weights.push(bucket.extra[2 * i + 1]!);
      break;
    }
    default:
      for (let i = 0; i < size; i++) bucket.weights.push(d.u32());
  }
  return bucket;
}

function decodeRule(d: Decoder): CrushRule | undefined {
  if (d.u32() === 0) return undefined;
  const length = d.count(12);
  const rule: CrushRule = { ruleset: d.u8(), type: d.u8(), minSize: d.u8(), maxSize: d.u8(), steps: [] };
  for (let i = 0; i < length; i++) rule.steps.push({ op: d.u32(), arg1: d.s32(), arg2: d.s32() });
  return rule;
}

function decodeChooseArgs(d: Decoder, map: CrushMap): (ChooseArg | undefined)[] {
  const args: (ChooseArg | undefined)[] = new Array(map.buckets.length).fill(undefined);
  for (let n = d.count(12); n > 0; n--) {
    const slot = d.u32();
    const bucket = map.buckets[slot];
    const arg: ChooseArg = {
      weightSets: d.list((x) => x.list((y) => y.u32(), 4), 4),
      ids: d.list((x) => x.s32(), 4),
    };
    const size = bucket?.items.length;
    if (
      bucket === undefined ||
      arg.weightSets.some((set) => set.length !== size) ||
      (arg.ids.length > 0 && arg.ids.length !== size)
    )
      throw new DecodeError(`crush: choose_args for bucket ${-1 - slot} do not fit it`);
    args[slot] = arg;
  }
  return args;
}

function checkHierarchy(map: CrushMap): void {
  // Height above the devices; a bucket under examination has none yet, meeting it again is a cycle.
  const heights = new Map<number, number>();
  const visit = (bucket: CrushBucket, level: number): number => {
    const known = heights.get(bucket.id);
    if (known === -1) throw new DecodeError(`crush: bucket ${bucket.id} contains itself`);
    if (known !== undefined) return known;
    if (level > maxDepth) throw new DecodeError(`crush: buckets nest deeper than ${maxDepth}`);
    heights.set(bucket.id, -1);
    let height = 0;
    for (const item of bucket.items) {
      if (item >= 0) continue;
      const child = map.bucket(item);
      if (child === undefined) throw new DecodeError(`crush: bucket ${bucket.id} has item ${item} that does not exist`);
      height = Math.max(height, visit(child, level + 1) + 1);
    }
    heights.set(bucket.id, height);
    return height;
  };
  for (const bucket of map.buckets) if (bucket !== undefined) visit(bucket, 0);
}
