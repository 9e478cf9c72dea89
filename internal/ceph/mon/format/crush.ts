import {
  BUCKET_LIST,
  BUCKET_STRAW,
  BUCKET_STRAW2,
  BUCKET_TREE,
  type CrushMap,
  type CrushRule,
  type CrushTunables,
  DEFAULT_CHOOSE_ARGS,
  RULE_CHOOSE_FIRSTN,
  RULE_CHOOSE_INDEP,
  RULE_CHOOSELEAF_FIRSTN,
  RULE_CHOOSELEAF_INDEP,
  RULE_EMIT,
  RULE_SET_CHOOSE_TRIES,
  RULE_SET_CHOOSELEAF_TRIES,
  RULE_TAKE,
} from '../../crush/map.ts';
import type { Json } from './json.ts';

const algNames = new Map([
  [1, 'uniform'],
  [BUCKET_LIST, 'list'],
  [BUCKET_TREE, 'tree'],
  [BUCKET_STRAW, 'straw'],
  [BUCKET_STRAW2, 'straw2'],
]);

const stepNames = new Map([
  [RULE_CHOOSE_FIRSTN, 'choose_firstn'],
  [RULE_CHOOSE_INDEP, 'choose_indep'],
  [RULE_CHOOSELEAF_FIRSTN, 'chooseleaf_firstn'],
  [RULE_CHOOSELEAF_INDEP, 'chooseleaf_indep'],
]);

function stepJson(map: CrushMap, step: CrushRule['steps'][number]): Json {
  const choose = stepNames.get(step.op);
  if (choose !== undefined) return { op: choose, num: step.arg1, type: map.typeNames.get(step.arg2) ?? '' };
  switch (step.op) {
    case RULE_TAKE:
      return { op: 'take', item: step.arg1, item_name: map.nameOf(step.arg1) ?? '' };
    case RULE_EMIT:
      return { op: 'emit' };
    case RULE_SET_CHOOSE_TRIES:
      return { op: 'set_choose_tries', num: step.arg1 };
    case RULE_SET_CHOOSELEAF_TRIES:
      return { op: 'set_chooseleaf_tries', num: step.arg1 };
    default:
      return { opcode: step.op, arg1: step.arg1, arg2: step.arg2 };
  }
}

export function ruleJson(map: CrushMap, id: number): Json {
  const rule = map.rules[id]!;
  return {
    rule_id: id,
    rule_name: map.ruleNames.get(id) ?? '',
    ruleset: rule.ruleset,
    type: rule.type,
    min_size: rule.minSize,
    max_size: rule.maxSize,
    steps: rule.steps.map((step) => stepJson(map, step)),
  };
}

export function rulesJson(map: CrushMap): Json[] {
  return map.rules.flatMap((rule, id) => (rule === undefined ? [] : [ruleJson(map, id)]));
}

function is(
  t: CrushTunables,
  tries: number,
  once: number,
  vary: number,
  stable: number,
  calc: number,
  algs: number,
): boolean {
  return (
    t.chooseLocalTries === 0 &&
    t.chooseLocalFallbackTries === 0 &&
    t.chooseTotalTries === tries &&
    t.chooseleafDescendOnce === once &&
    t.chooseleafVaryR === vary &&
    t.chooseleafStable === stable &&
    t.strawCalcVersion === calc &&
    t.allowedBucketAlgs === algs
  );
}

function profileName(t: CrushTunables): string {
  if (is(t, 50, 1, 1, 1, 1, 54)) return 'jewel';
  if (is(t, 50, 1, 1, 0, 1, 54)) return 'hammer';
  if (is(t, 50, 1, 1, 0, 1, 22) || is(t, 50, 1, 1, 0, 0, 22)) return 'firefly';
  if (is(t, 50, 1, 0, 0, 0, 22)) return 'bobtail';
  if (t.chooseLocalTries === 2 && t.chooseLocalFallbackTries === 5 && t.chooseTotalTries === 19) return 'argonaut';
  return 'unknown';
}

/** `osd crush show-tunables`. */
export function tunablesJson(map: CrushMap): { [name: string]: Json } {
  const t = map.tunables;
  const profile = profileName(t);
  const uses = (ops: readonly number[]): boolean =>
    map.rules.some((rule) => rule?.steps.some((step) => ops.includes(step.op)));
  const legacy = profile === 'argonaut';
  const v2 = uses([RULE_CHOOSE_INDEP, RULE_CHOOSELEAF_INDEP, RULE_SET_CHOOSE_TRIES, RULE_SET_CHOOSELEAF_TRIES]);
  const v4 = map.buckets.some((bucket) => bucket?.alg === BUCKET_STRAW2);
  const needs5 = t.chooseleafStable !== 0;
  const needs3 = t.chooseleafVaryR !== 0;
  const flag = (value: boolean): number => (value ? 1 : 0);
  return {
    choose_local_tries: t.chooseLocalTries,
    choose_local_fallback_tries: t.chooseLocalFallbackTries,
    choose_total_tries: t.chooseTotalTries,
    chooseleaf_descend_once: t.chooseleafDescendOnce,
    chooseleaf_vary_r: t.chooseleafVaryR,
    chooseleaf_stable: t.chooseleafStable,
    straw_calc_version: t.strawCalcVersion,
    allowed_bucket_algs: t.allowedBucketAlgs,
    profile,
    optimal_tunables: flag(profile === 'jewel'),
    legacy_tunables: flag(legacy),
    minimum_required_version: needs5 ? 'jewel' : v4 ? 'hammer' : needs3 ? 'firefly' : legacy ? 'argonaut' : 'bobtail',
    require_feature_tunables: flag(!legacy),
    require_feature_tunables2: flag(!legacy),
    has_v2_rules: flag(v2),
    require_feature_tunables3: flag(needs3),
    has_v3_rules: 0,
    has_v4_buckets: flag(v4),
    require_feature_tunables5: flag(needs5),
    has_v5_rules: 0,
  };
}

/** `osd crush dump`. */
export function crushJson(map: CrushMap): Json {
  const devices: Json[] = [];
  for (let id = 0; id < map.maxDevices; id++) {
    const name = map.nameOf(id);
    const cls = map.itemClass(id);
    if (name !== undefined) devices.push({ id, name, ...(cls !== undefined && { class: cls }) });
    else devices.push({ id, name: `device${id}`, ...(cls !== undefined && { class: cls }) });
  }
  return {
    devices,
    types: [...map.typeNames].map(([type, name]) => ({ type_id: type, name })),
    buckets: map.buckets.flatMap((bucket) =>
      bucket === undefined
        ? []
        : [
            {
              id: bucket.id,
              name: map.nameOf(bucket.id) ?? '',
              type_id: bucket.type,
              type_name: map.typeNames.get(bucket.type) ?? '',
              weight: bucket.weight,
              alg: algNames.get(bucket.alg) ?? 'unknown',
              hash: bucket.hash === 0 ? 'rjenkins1' : 'unknown',
              items: bucket.items.map((id, pos) => ({
                id,
                weight: bucket.weights[pos] ?? bucket.weights[0] ?? 0,
                pos,
              })),
            },
          ],
    ),
    rules: rulesJson(map),
    tunables: tunablesJson(map),
    choose_args: chooseArgsJson(map),
  };
}

export function chooseArgsJson(map: CrushMap): Json {
  return new Map(
    [...map.chooseArgs].map(([key, args]): [string, Json] => [
      key === DEFAULT_CHOOSE_ARGS ? '-1' : String(key),
      args.flatMap((arg, i) =>
        arg === undefined || (arg.weightSets.length === 0 && arg.ids.length === 0)
          ? []
          : [
              {
                bucket_id: -1 - i,
                ...(arg.weightSets.length > 0 && {
                  weight_set: arg.weightSets.map((set) => set.map((weight) => Math.fround(weight / 0x10000))),
                }),
                ...(arg.ids.length > 0 && { ids: arg.ids }),
              },
            ],
      ),
    ]),
  );
}
