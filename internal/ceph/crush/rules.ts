import { AppError } from '../../base/errors.ts';
import { rebuildShadowTrees } from './classes.ts';
import {
  CRUSH_MAX_RULES,
  type CrushMap,
  type CrushRule,
  type CrushStep,
  RULE_CHOOSE_FIRSTN,
  RULE_CHOOSE_INDEP,
  RULE_CHOOSELEAF_FIRSTN,
  RULE_CHOOSELEAF_INDEP,
  RULE_EMIT,
  RULE_SET_CHOOSE_TRIES,
  RULE_SET_CHOOSELEAF_TRIES,
  RULE_TAKE,
} from './map.ts';

export interface SimpleRule {
  name: string;
  /** Bucket to start from. */
  root: string;
  /** Type name to spread over; empty or `osd` for devices. */
  failureDomain: string;
  deviceClass?: string;
  mode: 'firstn' | 'indep';
  /** 1 replicated, 3 erasure. */
  type: number;
  /** The largest pool size that it takes, where it is not the mode's own. */
  maxSize?: number;
}

/** Adds a rule under its id, which must be free. */
export function addRule(map: CrushMap, id: number, name: string, rule: CrushRule): void {
  if (id >= CRUSH_MAX_RULES) throw new AppError('ENOSPC', `crush: no room for rule ${id}`);
  while (map.rules.length <= id) map.rules.push(undefined);
  map.rules[id] = rule;
  map.ruleNames.set(id, name);
}

/** `osd crush rule create-replicated` and `create-erasure`; returns the rule's id. Errors: EEXIST, ENOENT, EINVAL. */
export function addSimpleRule(map: CrushMap, spec: SimpleRule, at = -1): number {
  const { name, mode } = spec;
  if (map.ruleOfName(name) !== undefined) throw new AppError('EEXIST', `rule ${name} exists`);
  const taken = (id: number): boolean =>
    map.rules[id] !== undefined || map.rules.some((rule) => rule !== undefined && rule.ruleset === id);
  let id = at;
  if (id < 0) for (id = 0; id < map.rules.length && taken(id); id++);
  else if (taken(id)) throw new AppError('EEXIST', `rule with ruleno ${id} exists`);
  let root = map.idOfName(spec.root);
  if (root === undefined) throw new AppError('ENOENT', `root item ${spec.root} does not exist`);
  let type = 0;
  if (spec.failureDomain !== '') {
    const found = map.typeOfName(spec.failureDomain);
    if (found === undefined) throw new AppError('EINVAL', `unknown type ${spec.failureDomain}`);
    type = found;
  }
  if (spec.deviceClass !== undefined && spec.deviceClass !== '') {
    const cls = map.classOfName(spec.deviceClass);
    if (cls === undefined) throw new AppError('EINVAL', `device class ${spec.deviceClass} does not exist`);
    const shadow = map.classBuckets.get(root)?.get(cls);
    if (shadow === undefined)
      throw new AppError('EINVAL', `root ${spec.root} has no devices with class ${spec.deviceClass}`);
    root = shadow;
  }
  const steps: CrushStep[] = [];
  if (mode === 'indep') {
    steps.push({ op: RULE_SET_CHOOSELEAF_TRIES, arg1: 5, arg2: 0 });
    steps.push({ op: RULE_SET_CHOOSE_TRIES, arg1: 100, arg2: 0 });
  }
  steps.push({ op: RULE_TAKE, arg1: root, arg2: 0 });
  const op =
    mode === 'firstn'
      ? type === 0
        ? RULE_CHOOSE_FIRSTN
        : RULE_CHOOSELEAF_FIRSTN
      : type === 0
        ? RULE_CHOOSE_INDEP
        : RULE_CHOOSELEAF_INDEP;
  steps.push({ op, arg1: 0, arg2: type });
  steps.push({ op: RULE_EMIT, arg1: 0, arg2: 0 });
  const [minSize, maxSize] = mode === 'firstn' ? [1, 10] : [3, 20];
  addRule(map, id, name, { ruleset: id, type: spec.type, minSize, maxSize: spec.maxSize ?? maxSize, steps });
  return id;
}

/** Errors: ENOENT. The caller checks that no pool uses it. */
export function removeRule(map: CrushMap, id: number): void {
  if (map.rules[id] === undefined) throw new AppError('ENOENT', `crush rule ${id} does not exist`);
  map.rules[id] = undefined;
  map.ruleNames.delete(id);
  rebuildShadowTrees(map);
}

/** Buckets and devices that a rule takes. */
export function ruleTakes(rule: CrushRule): number[] {
  return rule.steps.filter((step) => step.op === RULE_TAKE).map((step) => step.arg1);
}

/** Share of each device in what a rule places: weights below its takes, normalised per take (`get_rule_weight_osd_map`). */
export function ruleWeights(map: CrushMap, ruleId: number): Map<number, number> {
  const out = new Map<number, number>();
  for (const take of map.rules[ruleId] === undefined ? [] : ruleTakes(map.rules[ruleId]!)) {
    const weights = new Map<number, number>();
    const visit = (id: number): void => {
      const bucket = map.bucket(id);
      bucket?.items.forEach((item, at) => {
        if (item >= 0) weights.set(item, bucket.weights[at] ?? 0);
        else visit(item);
      });
    };
    if (take >= 0) weights.set(take, 1);
    else visit(take);
    const sum = [...weights.values()].reduce((a, b) => a + b, 0);
    for (const [osd, weight] of weights) out.set(osd, (out.get(osd) ?? 0) + (sum === 0 ? 0 : weight / sum));
  }
  return out;
}
