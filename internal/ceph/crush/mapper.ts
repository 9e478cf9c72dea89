import { crushHash2, crushHash3, crushHash4 } from './hash.ts';
import { straw2Logarithms } from './ln.ts';
import {
  BUCKET_LIST,
  BUCKET_STRAW,
  BUCKET_STRAW2,
  BUCKET_TREE,
  BUCKET_UNIFORM,
  type ChooseArg,
  type CrushBucket,
  type CrushMap,
  ITEM_NONE,
  ITEM_UNDEF,
  RULE_CHOOSE_FIRSTN,
  RULE_CHOOSE_INDEP,
  RULE_CHOOSELEAF_FIRSTN,
  RULE_CHOOSELEAF_INDEP,
  RULE_EMIT,
  RULE_SET_CHOOSE_LOCAL_FALLBACK_TRIES,
  RULE_SET_CHOOSE_LOCAL_TRIES,
  RULE_SET_CHOOSE_TRIES,
  RULE_SET_CHOOSELEAF_STABLE,
  RULE_SET_CHOOSELEAF_TRIES,
  RULE_SET_CHOOSELEAF_VARY_R,
  RULE_TAKE,
  WEIGHT_ONE,
} from './map.ts';

type Args = readonly (ChooseArg | undefined)[] | undefined;

/** A permutation of a bucket's items for one input, built as far as it was needed. */
interface Permutation {
  x: number;
  count: number;
  order: number[];
}

/**
 * Places inputs with a CRUSH map (`src/crush/mapper.c`). Keeps scratch arrays: one mapping allocates nothing. Not re-entrant; the map must not
 * change while a mapper is kept for it.
 */
export class CrushMapper {
  readonly #map: CrushMap;
  readonly #ln = straw2Logarithms();
  readonly #permutations: (Permutation | undefined)[] = [];
  #work = new Int32Array(64);
  #out = new Int32Array(64);
  #leaves = new Int32Array(64);

  // What stays the same during one rule.
  #weights: Uint32Array | readonly number[] = [];
  #args: Args;
  #x = 0;
  #localTries = 0;
  #localFallbackTries = 0;
  #varyR = 0;
  #stable = 0;

  constructor(map: CrushMap) {
    this.#map = map;
  }

  /**
   * Runs rule `ruleId` for input `x` and writes at most `resultMax` devices to `result`; returns how many. `weights` are the OSDs' in/out weights
   * (16.16, index = id; a device beyond its end is out). With `indep` steps, places may be ITEM_NONE.
   */
  doRule(
    ruleId: number,
    x: number,
    result: Int32Array,
    resultMax: number,
    weights: Uint32Array | readonly number[],
    args: Args,
  ): number {
    const map = this.#map;
    const rule = map.rules[ruleId];
    if (rule === undefined || resultMax <= 0) return 0;
    if (this.#work.length < resultMax) {
      this.#work = new Int32Array(resultMax);
      this.#out = new Int32Array(resultMax);
      this.#leaves = new Int32Array(resultMax);
    }
    const t = map.tunables;
    this.#weights = weights;
    this.#args = args;
    this.#x = x | 0;
    // Upstream once counted retries instead of tries: the stored total is one too small.
    let chooseTries = t.chooseTotalTries + 1;
    let leafTries = 0;
    this.#localTries = t.chooseLocalTries;
    this.#localFallbackTries = t.chooseLocalFallbackTries;
    this.#varyR = t.chooseleafVaryR;
    this.#stable = t.chooseleafStable;

    let workSize = 0;
    let resultSize = 0;
    for (const step of rule.steps) {
      const arg = step.arg1;
      switch (step.op) {
        case RULE_TAKE:
          if ((arg >= 0 && arg < map.maxDevices) || map.bucket(arg) !== undefined) {
            this.#work[0] = arg;
            workSize = 1;
          }
          break;
        case RULE_SET_CHOOSE_TRIES:
          if (arg > 0) chooseTries = arg;
          break;
        case RULE_SET_CHOOSELEAF_TRIES:
          if (arg > 0) leafTries = arg;
          break;
        case RULE_SET_CHOOSE_LOCAL_TRIES:
          if (arg >= 0) this.#localTries = arg;
          break;
        case RULE_SET_CHOOSE_LOCAL_FALLBACK_TRIES:
          if (arg >= 0) this.#localFallbackTries = arg;
          break;
        case RULE_SET_CHOOSELEAF_VARY_R:
          if (arg >= 0) this.#varyR = arg;
          break;
        case RULE_SET_CHOOSELEAF_STABLE:
          if (arg >= 0) this.#stable = arg;
          break;
        case RULE_CHOOSE_FIRSTN:
        case RULE_CHOOSE_INDEP:
        case RULE_CHOOSELEAF_FIRSTN:
        case RULE_CHOOSELEAF_INDEP:
          if (workSize > 0)
            workSize = this.#chooseStep(step.op, arg, step.arg2, workSize, resultMax, chooseTries, leafTries);
          break;
        case RULE_EMIT:
          for (let i = 0; i < workSize && resultSize < resultMax; i++) result[resultSize++] = this.#work[i]!;
          workSize = 0;
          break;
      }
    }
    return resultSize;
  }

  /** One choose step over every bucket in the working set, which its result replaces. */
  #chooseStep(
    op: number,
    count: number,
    type: number,
    workSize: number,
    resultMax: number,
    chooseTries: number,
    leafTries: number,
  ): number {
    const map = this.#map;
    const toLeaf = op === RULE_CHOOSELEAF_FIRSTN || op === RULE_CHOOSELEAF_INDEP;
    const work = this.#work;
    const out = this.#out;
    let size = 0;
    for (let i = 0; i < workSize; i++) {
      const replicas = count > 0 ? count : count + resultMax;
      if (replicas <= 0) continue;
      const bucket = map.bucket(work[i]!);
      if (bucket === undefined) continue;
      if (op === RULE_CHOOSE_FIRSTN || op === RULE_CHOOSELEAF_FIRSTN) {
        const recurseTries = leafTries > 0 ? leafTries : map.tunables.chooseleafDescendOnce !== 0 ? 1 : chooseTries;
        size += this.#firstn(
          bucket,
          replicas,
          type,
          out,
          size,
          0,
          resultMax - size,
          chooseTries,
          recurseTries,
          toLeaf,
          this.#leaves,
          0,
        );
      } else {
        const places = Math.min(replicas, resultMax - size);
        this.#indep(
          bucket,
          places,
          replicas,
          type,
          out,
          size,
          0,
          chooseTries,
          leafTries > 0 ? leafTries : 1,
          toLeaf,
          toLeaf ? this.#leaves : undefined,
          0,
        );
        size += places;
      }
    }
    if (toLeaf) out.set(this.#leaves.subarray(0, size));
    this.#work = out;
    this.#out = work;
    return size;
  }

  /**
   * Distinct items of `type`, in order, without holes. `base` is where this call's part of `out` and `leaves` begins: positions count from there.
   * Returns the position behind the last one chosen.
   */
  #firstn(
    start: CrushBucket,
    replicas: number,
    type: number,
    out: Int32Array,
    base: number,
    position: number,
    room: number,
    tries: number,
    recurseTries: number,
    toLeaf: boolean,
    leaves: Int32Array | undefined,
    parentR: number,
  ): number {
    const map = this.#map;
    for (let rep = this.#stable !== 0 ? 0 : position; rep < replicas && room > 0; rep++) {
      let failures = 0;
      let item = 0;
      let skip = false;
      let retryDescent: boolean;
      do {
        retryDescent = false;
        let inside = start;
        let localFailures = 0;
        let retryBucket: boolean;
        do {
          retryBucket = false;
          let collide = false;
          let reject = false;
          const r = (rep + parentR + failures) | 0;
          if (inside.items.length === 0) {
            reject = true;
          } else {
            item =
              this.#localFallbackTries > 0 &&
              localFailures >= inside.items.length >>> 1 &&
              localFailures > this.#localFallbackTries
                ? this.#permChoose(inside, r)
                : this.#choose(inside, r, position);
            if (item >= map.maxDevices) {
              skip = true;
              break;
            }
            const child = map.bucket(item);
            const itemType = item >= 0 ? 0 : child === undefined ? -1 : child.type;
            if (itemType !== type) {
              if (child === undefined) {
                skip = true;
                break;
              }
              inside = child;
              retryBucket = true;
              continue;
            }
            for (let i = 0; i < position; i++) {
              if (out[base + i] === item) {
                collide = true;
                break;
              }
            }
            if (!collide && toLeaf && leaves !== undefined) {
              if (child !== undefined) {
                const subR = this.#varyR !== 0 ? r >> (this.#varyR - 1) : 0;
                const got = this.#firstn(
                  child,
                  this.#stable !== 0 ? 1 : position + 1,
                  0,
                  leaves,
                  base,
                  position,
                  room,
                  recurseTries,
                  0,
                  false,
                  undefined,
                  subR,
                );
                if (got <= position) reject = true;
              } else {
                leaves[base + position] = item;
              }
            }
            if (!reject && !collide && itemType === 0) reject = this.#isOut(item);
          }
          if (reject || collide) {
            failures++;
            localFailures++;
            if (collide && localFailures <= this.#localTries) retryBucket = true;
            else if (this.#localFallbackTries > 0 && localFailures <= inside.items.length + this.#localFallbackTries)
              retryBucket = true;
            else if (failures < tries) retryDescent = true;
            else skip = true;
          }
        } while (retryBucket);
      } while (retryDescent);
      if (skip) continue;
      out[base + position] = item;
      position++;
      room--;
    }
    return position;
  }

  /** Breadth-first and stable by position: fills `left` places from `position`, ITEM_NONE where nothing was found. */
  #indep(
    start: CrushBucket,
    left: number,
    replicas: number,
    type: number,
    out: Int32Array,
    base: number,
    position: number,
    tries: number,
    recurseTries: number,
    toLeaf: boolean,
    leaves: Int32Array | undefined,
    parentR: number,
  ): void {
    const map = this.#map;
    const first = base + position;
    const end = first + left;
    for (let at = first; at < end; at++) {
      out[at] = ITEM_UNDEF;
      if (leaves !== undefined) leaves[at] = ITEM_UNDEF;
    }
    for (let failures = 0; left > 0 && failures < tries; failures++) {
      for (let at = first; at < end; at++) {
        if (out[at] !== ITEM_UNDEF) continue;
        let inside = start;
        for (;;) {
          let r = at - base + parentR;
          const size = inside.items.length;
          r += (inside.alg === BUCKET_UNIFORM && size % replicas === 0 ? replicas + 1 : replicas) * failures;
          if (size === 0) break;
          const item = this.#choose(inside, r | 0, position);
          const child = map.bucket(item);
          const itemType = item >= 0 ? 0 : child === undefined ? -1 : child.type;
          if (item >= map.maxDevices || (itemType !== type && child === undefined)) {
            out[at] = ITEM_NONE;
            if (leaves !== undefined) leaves[at] = ITEM_NONE;
            left--;
            break;
          }
          if (itemType !== type) {
            inside = child!;
            continue;
          }
          let collide = false;
          for (let i = first; i < end; i++) {
            if (out[i] === item) {
              collide = true;
              break;
            }
          }
          if (collide) break;
          if (toLeaf && leaves !== undefined) {
            if (child !== undefined) {
              this.#indep(child, 1, replicas, 0, leaves, base, at - base, recurseTries, 0, false, undefined, r);
              if (leaves[at] === ITEM_NONE) break;
            } else {
              leaves[at] = item;
            }
          }
          if (itemType === 0 && this.#isOut(item)) break;
          out[at] = item;
          left--;
          break;
        }
      }
    }
    for (let at = first; at < end; at++) {
      if (out[at] === ITEM_UNDEF) out[at] = ITEM_NONE;
      if (leaves !== undefined && leaves[at] === ITEM_UNDEF) leaves[at] = ITEM_NONE;
    }
  }

  #isOut(osd: number): boolean {
    const weights = this.#weights;
    if (osd >= weights.length) return true;
    const weight = weights[osd]!;
    if (weight >= WEIGHT_ONE) return false;
    if (weight === 0) return true;
    return (crushHash2(this.#x, osd) & 0xffff) >= weight;
  }

  #choose(bucket: CrushBucket, r: number, position: number): number {
    switch (bucket.alg) {
      case BUCKET_STRAW2:
        return this.#straw2(bucket, r, position);
      case BUCKET_UNIFORM:
        return this.#permChoose(bucket, r);
      case BUCKET_LIST:
        return this.#list(bucket, r);
      case BUCKET_TREE:
        return this.#tree(bucket, r);
      case BUCKET_STRAW:
        return this.#straw(bucket, r);
      default:
        return bucket.items[0]!;
    }
  }

  #straw2(bucket: CrushBucket, r: number, position: number): number {
    const items = bucket.items;
    let weights = bucket.weights;
    let ids = items;
    const arg = this.#args?.[-1 - bucket.id];
    if (arg !== undefined) {
      const sets = arg.weightSets;
      if (sets.length > 0) weights = sets[position < sets.length ? position : sets.length - 1]!;
      if (arg.ids.length > 0) ids = arg.ids;
    }
    const ln = this.#ln;
    const x = this.#x;
    let high = 0;
    let highDraw = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < items.length; i++) {
      const weight = weights[i]!;
      if (weight === 0) continue;
      // Doubles are exact here: |ln| < 2^48 and truncation cannot cross an integer (the quotient's error is far below 1/weight).
      const draw = Math.trunc(ln[crushHash3(x, ids[i]!, r) & 0xffff]! / weight);
      if (draw > highDraw) {
        high = i;
        highDraw = draw;
      }
    }
    return items[high]!;
  }

  #straw(bucket: CrushBucket, r: number): number {
    const { items, extra } = bucket;
    let high = 0;
    let highDraw = -1;
    for (let i = 0; i < items.length; i++) {
      const draw = (crushHash3(this.#x, items[i]!, r) & 0xffff) * extra[i]!;
      if (draw > highDraw) {
        high = i;
        highDraw = draw;
      }
    }
    return items[high]!;
  }

  #list(bucket: CrushBucket, r: number): number {
    const { items, weights, extra } = bucket;
    for (let i = items.length - 1; i >= 0; i--) {
      const w = crushHash4(this.#x, items[i]!, r, bucket.id) & 0xffff;
      if (Math.floor((w * extra[i]!) / 0x10000) < weights[i]!) return items[i]!;
    }
    return items[0]!;
  }

  #tree(bucket: CrushBucket, r: number): number {
    const nodes = bucket.extra;
    let n = nodes.length >>> 1;
    while ((n & 1) === 0) {
      const w = nodes[n]!;
      const h = crushHash4(this.#x, n, r, bucket.id);
      // floor(h * w / 2^32) in two exact halves.
      const t = Math.floor(((h >>> 16) * w + Math.floor(((h & 0xffff) * w) / 0x10000)) / 0x10000);
      const half = (n & -n) >>> 1;
      n = t < nodes[n - half]! ? n - half : n + half;
    }
    return bucket.items[n >>> 1] ?? bucket.items[0]!;
  }

  /** Item at place `r` of a pseudo-random permutation that depends on the input. */
  #permChoose(bucket: CrushBucket, r: number): number {
    const items = bucket.items;
    const size = items.length;
    const place = (r >>> 0) % size;
    const slot = -1 - bucket.id;
    let p = this.#permutations[slot];
    if (p === undefined) {
      p = { x: 0, count: 0, order: new Array<number>(size).fill(0) };
      this.#permutations[slot] = p;
    }
    const order = p.order;
    if (p.count === 0 || p.x !== this.#x) {
      p.x = this.#x;
      p.count = 0;
      for (let i = 0; i < size; i++) order[i] = i;
    }
    while (p.count <= place) {
      const at = p.count;
      if (at < size - 1) {
        const other = at + (crushHash3(this.#x, bucket.id, at) % (size - at));
        const kept = order[other]!;
        order[other] = order[at]!;
        order[at] = kept;
      }
      p.count++;
    }
    return items[order[place]!]!;
  }
}
