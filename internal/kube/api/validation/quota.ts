import { isObject, type Json, type JsonObject, jsonEqual } from '../../machinery/json.ts';
import { compareQuantities, type Quantity, tryQuantity } from '../../machinery/quantity.ts';
import { qualifiedNameErrors } from '../../machinery/selectors.ts';
import type { FieldError } from '../../machinery/status.ts';
import { duplicate, forbiddenField, immutableMessage, invalidValue, required } from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { part, specOf, texts } from './common.ts';

/** Rules of LimitRanges and ResourceQuotas (pkg/apis/core/validation/validation.go). */
const limitTypes = ['Container', 'PersistentVolumeClaim', 'Pod'];
const computeResources = ['cpu', 'ephemeral-storage', 'memory', 'storage'];
const countedObjects = [
  'configmaps',
  'persistentvolumeclaims',
  'pods',
  'replicationcontrollers',
  'resourcequotas',
  'secrets',
  'services',
  'services.loadbalancers',
  'services.nodeports',
];
const quotaResources: ReadonlySet<string> = new Set([
  'cpu',
  'ephemeral-storage',
  'memory',
  'requests.cpu',
  'requests.ephemeral-storage',
  'requests.memory',
  'requests.storage',
  'limits.cpu',
  'limits.ephemeral-storage',
  'limits.memory',
  ...countedObjects,
]);
const integerResources: ReadonlySet<string> = new Set(countedObjects);
const scopes = [
  'BestEffort',
  'CrossNamespacePodAffinity',
  'NotBestEffort',
  'NotTerminating',
  'PriorityClass',
  'Terminating',
  'VolumeAttributesClass',
];
/** What pods that promise nothing can be counted by. */
const bestEffortResources: ReadonlySet<string> = new Set(['pods']);
const podResources: ReadonlySet<string> = new Set([
  'cpu',
  'limits.cpu',
  'limits.memory',
  'memory',
  'pods',
  'requests.cpu',
  'requests.memory',
]);

/** Resources that a scope counts. Names with a domain (extended resources) are left to their own. */
function scopeCounts(scope: string, resource: string): boolean {
  switch (scope) {
    case 'BestEffort':
      return bestEffortResources.has(resource);
    case 'VolumeAttributesClass':
      return resource === 'persistentvolumeclaims' || resource === 'requests.storage';
    default:
      return podResources.has(resource);
  }
}

function isHugePages(resource: string): boolean {
  return /^(requests\.)?hugepages-/.test(resource);
}

function quantities(item: JsonObject, field: string): Map<string, Quantity> {
  const out = new Map<string, Quantity>();
  const list = part(item, field);
  for (const name in list) {
    const quantity = tryQuantity(list[name]);
    if (quantity !== undefined) out.set(name, quantity);
  }
  return out;
}

function resourceNameErrors(type: Json | undefined, name: string, path: string): FieldError[] {
  const errors = qualifiedNameErrors(name).map((why) => invalidValue(path, name, why));
  if (errors.length > 0 || name.includes('/') || isHugePages(name)) return errors;
  if (type !== 'Pod' && type !== 'Container') {
    return computeResources.includes(name) || quotaResources.has(name)
      ? []
      : [invalidValue(path, name, 'must be a standard resource type or fully qualified')];
  }
  return computeResources.slice(0, 3).includes(name)
    ? []
    : [invalidValue(path, name, 'must be a standard resource for containers')];
}

const ratioOf = (a: Quantity, b: Quantity): number => Number(a.nano) / Number(b.nano);

function limitItemErrors(item: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const type = item.type;
  const fields = ['max', 'min', 'default', 'defaultRequest', 'maxLimitRequestRatio'] as const;
  const lists = Object.fromEntries(fields.map((field) => [field, quantities(item, field)])) as Record<
    (typeof fields)[number],
    Map<string, Quantity>
  >;
  const names = new Set<string>();
  for (const field of fields) {
    if (type === 'Pod' && (field === 'default' || field === 'defaultRequest')) {
      if (lists[field].size > 0)
        errors.push(forbiddenField(`${path}.${field}`, "may not be specified when `type` is 'Pod'"));
      continue;
    }
    for (const name of lists[field].keys()) {
      names.add(name);
      errors.push(...resourceNameErrors(type, name, `${path}.${field}[${name}]`));
    }
  }
  if (type === 'PersistentVolumeClaim' && !lists.min.has('storage') && !lists.max.has('storage'))
    errors.push(
      required(`${path}.limits`, 'either minimum or maximum storage value is required, but neither was provided'),
    );
  for (const name of names) {
    const shown = (field: (typeof fields)[number]): string => String(part(item, field)[name]);
    const words = {
      max: 'max value',
      min: 'min value',
      default: 'default value',
      defaultRequest: 'default request value',
    } as const;
    type Bound = keyof typeof words;
    const above = (low: Bound, high: Bound, at: Bound, highWord: string = words[high]): void => {
      const [a, b] = [lists[low].get(name), lists[high].get(name)];
      if (a === undefined || b === undefined || compareQuantities(a, b) <= 0) return;
      errors.push(
        invalidValue(
          `${path}.${at}[${name}]`,
          shown(at),
          `${words[low]} ${shown(low)} is greater than ${highWord} ${shown(high)}`,
        ),
      );
    };
    above('min', 'max', 'min');
    above('min', 'defaultRequest', 'defaultRequest');
    above('defaultRequest', 'max', 'defaultRequest');
    above('defaultRequest', 'default', 'defaultRequest', 'default limit value');
    above('min', 'default', 'default');
    above('default', 'max', 'default');
    const ratio = lists.maxLimitRequestRatio.get(name);
    if (ratio === undefined) continue;
    const at = `${path}.maxLimitRequestRatio[${name}]`;
    const given = shown('maxLimitRequestRatio');
    if (Number(ratio.nano) < 1e9) errors.push(invalidValue(at, given, `ratio ${given} is less than 1`));
    const [min, max] = [lists.min.get(name), lists.max.get(name)];
    if (min !== undefined && max !== undefined && min.nano > 0n) {
      const limit = ratioOf(max, min);
      if (Number(ratio.nano) / 1e9 > limit)
        errors.push(invalidValue(at, given, `ratio ${given} is greater than max/min = ${limit.toFixed(6)}`));
    }
  }
  return errors;
}

export function limitRangeErrors(range: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, item] of objects(specOf(range).limits).entries()) {
    const path = `spec.limits[${index}]`;
    const type = String(item.type ?? '');
    const wrong = qualifiedNameErrors(type).map((why) => invalidValue(`${path}.type`, type, why));
    if (wrong.length === 0 && !type.includes('/') && !limitTypes.includes(type))
      wrong.push(invalidValue(`${path}.type`, type, 'must be a standard limit type or fully qualified'));
    errors.push(...wrong);
    if (seen.has(type)) errors.push(duplicate(`${path}.type`, type));
    seen.add(type);
    errors.push(...limitItemErrors(item, path));
  }
  return errors;
}

function quantityErrors(resource: string, value: Json | undefined, path: string): FieldError[] {
  const quantity = tryQuantity(value);
  if (quantity === undefined) return [];
  if (quantity.nano < 0n) return [invalidValue(path, value, 'must be greater than or equal to 0')];
  const integer = integerResources.has(resource) || resource.startsWith('count/');
  return integer && quantity.nano % 1_000_000_000n !== 0n ? [invalidValue(path, value, 'must be an integer')] : [];
}

function resourceListErrors(list: Json | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!isObject(list)) return errors;
  for (const name in list) {
    const at = `${path}[${name}]`;
    const wrong = qualifiedNameErrors(name).map((why) => invalidValue(at, name, why));
    if (wrong.length === 0 && !name.includes('/') && !isHugePages(name) && !quotaResources.has(name))
      wrong.push(invalidValue(at, name, 'must be a standard resource for quota'));
    errors.push(...wrong, ...quantityErrors(name, list[name], at));
  }
  return errors;
}

const exclusive = [
  ['BestEffort', 'NotBestEffort'],
  ['Terminating', 'NotTerminating'],
] as const;

function scopeSetErrors(given: readonly string[], hard: readonly string[], path: string, value: Json): FieldError[] {
  const errors: FieldError[] = [];
  for (const scope of new Set(given)) {
    if (!scopes.includes(scope)) errors.push(invalidValue(path, value, 'unsupported scope'));
    else
      for (const resource of hard)
        if (quotaResources.has(resource) && !scopeCounts(scope, resource))
          errors.push(invalidValue(path, value, 'unsupported scope applied to resource'));
  }
  for (const pair of exclusive)
    if (pair.every((scope) => given.includes(scope))) errors.push(invalidValue(path, value, 'conflicting scopes'));
  return errors;
}

const existsOnly = ['BestEffort', 'CrossNamespacePodAffinity', 'NotBestEffort', 'NotTerminating', 'Terminating'];

function scopeSelectorErrors(spec: JsonObject, hard: readonly string[]): FieldError[] {
  const requirements = objects(part(spec, 'scopeSelector').matchExpressions);
  const at = 'spec.scopeSelector.matchExpressions';
  const errors: FieldError[] = [];
  for (const { scopeName, operator, values: given } of requirements) {
    const values = texts(given);
    if (existsOnly.includes(String(scopeName)) && operator !== 'Exists')
      errors.push(
        invalidValue(
          `${at}.operator`,
          operator ?? '',
          "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
        ),
      );
    if (operator === 'In' || operator === 'NotIn') {
      if (values.length === 0)
        errors.push(
          required(`${at}.values`, "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"),
        );
    } else if (operator === 'Exists' || operator === 'DoesNotExist') {
      if (values.length > 0)
        errors.push(
          invalidValue(
            `${at}.values`,
            values,
            "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
          ),
        );
    } else errors.push(invalidValue(`${at}.operator`, operator ?? '', 'not a valid selector operator'));
  }
  const names = requirements.map((requirement) => String(requirement.scopeName));
  return [...errors, ...scopeSetErrors(names, hard, `${at}.scopeName`, names)];
}

export function resourceQuotaErrors(quota: JsonObject): FieldError[] {
  const spec = specOf(quota);
  const hard = Object.keys(part(spec, 'hard'));
  const given = texts(spec.scopes);
  return [
    ...resourceListErrors(spec.hard, 'spec.hard'),
    ...(given.length === 0 ? [] : scopeSetErrors(given, hard, 'spec.scopes', given)),
    ...(isObject(spec.scopeSelector) ? scopeSelectorErrors(spec, hard) : []),
  ];
}

export function resourceQuotaUpdateErrors(quota: JsonObject, old: JsonObject): FieldError[] {
  const errors = resourceQuotaErrors(quota);
  const [now, before] = [texts(specOf(quota).scopes), texts(specOf(old).scopes)];
  if (!jsonEqual([...new Set(now)].sort(), [...new Set(before)].sort()))
    errors.push(invalidValue('spec.scopes', now, immutableMessage));
  return errors;
}

export function resourceQuotaStatusErrors(quota: JsonObject): FieldError[] {
  const status = part(quota, 'status');
  return ['hard', 'used'].flatMap((field) => resourceListErrors(status[field], `status.${field}`));
}
