/** Bucket algorithms (`src/crush/crush.h`). */
export const BUCKET_UNIFORM = 1;
export const BUCKET_LIST = 2;
export const BUCKET_TREE = 3;
export const BUCKET_STRAW = 4;
export const BUCKET_STRAW2 = 5;

/** Rule steps. */
export const RULE_TAKE = 1;
export const RULE_CHOOSE_FIRSTN = 2;
export const RULE_CHOOSE_INDEP = 3;
export const RULE_EMIT = 4;
export const RULE_CHOOSELEAF_FIRSTN = 6;
export const RULE_CHOOSELEAF_INDEP = 7;
export const RULE_SET_CHOOSE_TRIES = 8;
export const RULE_SET_CHOOSELEAF_TRIES = 9;
export const RULE_SET_CHOOSE_LOCAL_TRIES = 10;
export const RULE_SET_CHOOSE_LOCAL_FALLBACK_TRIES = 11;
export const RULE_SET_CHOOSELEAF_VARY_R = 12;
export const RULE_SET_CHOOSELEAF_STABLE = 13;

/** A place that no device fills (`CRUSH_ITEM_NONE`). */
export const ITEM_NONE = 0x7fffffff;
/** Inside the mapper: a place not decided yet. */
export const ITEM_UNDEF = 0x7ffffffe;

/** Weights are 16.16 fixed point: this is 1.0. */
export const WEIGHT_ONE = 0x10000;

/** The choose_args that apply to pools without their own. */
export const DEFAULT_CHOOSE_ARGS = -1;

export const CRUSH_MAX_RULES = 256;

/** A node of the hierarchy. `items` are devices (>= 0) and buckets (< 0). */
export interface CrushBucket {
  /** Negative; its slot in the map is `-1 - id`. */
  id: number;
  /** Key of `typeNames`; devices are type 0. */
  type: number;
  alg: number;
  hash: number;
  /** 16.16. */
  weight: number;
  items: number[];
  /** Weight of each item, 16.16; one shared number in uniform buckets. */
  weights: number[];
  /** list: sums up to and with each item; tree: node weights; straw: straw lengths. Empty for the others. */
  extra: number[];
}

export interface CrushStep {
  op: number;
  arg1: number;
  arg2: number;
}

export interface CrushRule {
  ruleset: number;
  /** 1 replicated, 3 erasure. */
  type: number;
  minSize: number;
  maxSize: number;
  steps: CrushStep[];
}

export interface CrushTunables {
  chooseLocalTries: number;
  chooseLocalFallbackTries: number;
  chooseTotalTries: number;
  chooseleafDescendOnce: number;
  chooseleafVaryR: number;
  strawCalcVersion: number;
  allowedBucketAlgs: number;
  chooseleafStable: number;
}

/** Weights (per position in the result) and ids that replace those of one straw2 bucket. */
export interface ChooseArg {
  weightSets: number[][];
  ids: number[];
}

export const jewelTunables: Readonly<CrushTunables> = Object.freeze({
  chooseLocalTries: 0,
  chooseLocalFallbackTries: 0,
  chooseTotalTries: 50,
  chooseleafDescendOnce: 1,
  chooseleafVaryR: 1,
  strawCalcVersion: 1,
  allowedBucketAlgs: 54,
  chooseleafStable: 1,
});

/** The CRUSH map: plain data. `build.ts` changes it, `codec.ts` reads and writes it, `mapper.ts` places with it. */
export class CrushMap {
  /** Slot `-1 - id`; its length is `max_buckets`. */
  buckets: (CrushBucket | undefined)[] = [];
  /** Index is the rule's id; its length is `max_rules`. */
  rules: (CrushRule | undefined)[] = [];
  maxDevices = 0;
  readonly typeNames = new Map<number, string>();
  readonly names = new Map<number, string>();
  readonly ruleNames = new Map<number, string>();
  tunables: CrushTunables = { ...jewelTunables };
  /** Item to device class; shadow buckets have theirs too. */
  readonly classOf = new Map<number, number>();
  readonly classNames = new Map<number, string>();
  /** Bucket to class to its shadow bucket. */
  readonly classBuckets = new Map<number, Map<number, number>>();
  /** Pool id or DEFAULT_CHOOSE_ARGS to per-slot replacements. */
  readonly chooseArgs = new Map<number, (ChooseArg | undefined)[]>();

  bucket(id: number): CrushBucket | undefined {
    return id < 0 ? this.buckets[-1 - id] : undefined;
  }

  idOfName(name: string): number | undefined {
    for (const [id, text] of this.names) if (text === name) return id;
    return undefined;
  }

  nameOf(id: number): string | undefined {
    return this.names.get(id);
  }

  typeOfName(name: string): number | undefined {
    for (const [type, text] of this.typeNames) if (text === name) return type;
    return undefined;
  }

  /** Type of an item: 0 for devices. */
  typeOf(id: number): number {
    return id >= 0 ? 0 : (this.bucket(id)?.type ?? -1);
  }

  ruleOfName(name: string): number | undefined {
    for (const [rule, text] of this.ruleNames) if (text === name) return rule;
    return undefined;
  }

  classOfName(name: string): number | undefined {
    for (const [id, text] of this.classNames) if (text === name) return id;
    return undefined;
  }

  /** Name of the device class of an item. */
  itemClass(id: number): string | undefined {
    const cls = this.classOf.get(id);
    return cls === undefined ? undefined : this.classNames.get(cls);
  }

  /** True for the per-class copies of buckets (`default~hdd`). */
  isShadow(id: number): boolean {
    return this.names.get(id)?.includes('~') ?? false;
  }

  /** The replacements for a pool: its own, else the default ones. */
  chooseArgsFor(pool: number): (ChooseArg | undefined)[] | undefined {
    return this.chooseArgs.get(pool) ?? this.chooseArgs.get(DEFAULT_CHOOSE_ARGS);
  }

  /** Id of the rule with this ruleset, type and a size range that holds `size`; -1 when there is none. */
  findRule(ruleset: number, type: number, size: number): number {
    for (let i = 0; i < this.rules.length; i++) {
      const rule = this.rules[i];
      if (
        rule !== undefined &&
        rule.ruleset === ruleset &&
        rule.type === type &&
        rule.minSize <= size &&
        rule.maxSize >= size
      )
        return i;
    }
    return -1;
  }

  /** A deep copy. */
  clone(): CrushMap {
    const copy = new CrushMap();
    copy.buckets = structuredClone(this.buckets);
    copy.rules = structuredClone(this.rules);
    copy.maxDevices = this.maxDevices;
    for (const [k, v] of this.typeNames) copy.typeNames.set(k, v);
    for (const [k, v] of this.names) copy.names.set(k, v);
    for (const [k, v] of this.ruleNames) copy.ruleNames.set(k, v);
    copy.tunables = { ...this.tunables };
    for (const [k, v] of this.classOf) copy.classOf.set(k, v);
    for (const [k, v] of this.classNames) copy.classNames.set(k, v);
    for (const [k, v] of this.classBuckets) copy.classBuckets.set(k, new Map(v));
    for (const [k, v] of this.chooseArgs) copy.chooseArgs.set(k, structuredClone(v));
    return copy;
  }
}
