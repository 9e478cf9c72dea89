import { isObject, type JsonObject } from '../../machinery/json.ts';
import { tryQuantity } from '../../machinery/quantity.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  dns1123LabelErrors,
  forbiddenField,
  invalidValue,
  notSupported,
  pathSegmentErrors,
  required,
} from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { nonNegative, part, specOf } from './common.ts';
import { labelSelectorErrors } from './pod.ts';

/** Rules of HorizontalPodAutoscalers (pkg/apis/autoscaling/validation/validation.go). */
const stabilizationMax = 3600;
const periodMax = 1800;
const selectPolicies = ['Disabled', 'Max', 'Min'];
const policyTypes = ['Percent', 'Pods'];
/** Fields of a metric by its type, in the order in which they are looked at. */
const sources = {
  Object: 'object',
  External: 'external',
  Pods: 'pods',
  Resource: 'resource',
  ContainerResource: 'containerResource',
} as const;
type MetricType = keyof typeof sources;
const metricTypes = Object.keys(sources).sort();

function referenceErrors(reference: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ['kind', 'name']) {
    const value = String(reference[field] ?? '');
    if (value === '') errors.push(required(`${path}.${field}`));
    else for (const why of pathSegmentErrors(value)) errors.push(invalidValue(`${path}.${field}`, value, why));
  }
  return errors;
}

function identifierErrors(metric: JsonObject, path: string): FieldError[] {
  const name = String(metric.name ?? '');
  if (name === '') return [required(`${path}.name`, 'must specify a metric name')];
  return [
    ...pathSegmentErrors(name).map((why) => invalidValue(`${path}.name`, name, why)),
    ...labelSelectorErrors(metric.selector, `${path}.selector`),
  ];
}

function targetErrors(target: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const { type } = target;
  if (!type) errors.push(required(`${path}.type`, 'must specify a metric target type'));
  else if (!['Utilization', 'Value', 'AverageValue'].includes(String(type)))
    errors.push(invalidValue(`${path}.type`, type, 'must be either Utilization, Value, or AverageValue'));
  for (const field of ['value', 'averageValue']) {
    const quantity = target[field] === undefined ? undefined : tryQuantity(target[field]);
    if (quantity !== undefined && quantity.nano <= 0n)
      errors.push(invalidValue(`${path}.${field}`, target[field], 'must be positive'));
  }
  const utilization = target.averageUtilization;
  if (typeof utilization === 'number' && utilization < 1)
    errors.push(invalidValue(`${path}.averageUtilization`, utilization, 'must be greater than 0'));
  return errors;
}

function utilizationErrors(target: JsonObject, path: string): FieldError[] {
  const has = (field: string): boolean => target[field] !== undefined;
  const errors: FieldError[] = [];
  if (!has('averageUtilization') && !has('averageValue'))
    errors.push(required(`${path}.averageUtilization`, 'must set either a target raw value or a target utilization'));
  if (has('averageUtilization') && has('averageValue'))
    errors.push(forbiddenField(`${path}.averageValue`, 'may not set both a target raw value and a target utilization'));
  return errors;
}

const sourceErrors: Readonly<Record<MetricType, (source: JsonObject, path: string) => FieldError[]>> = {
  Object(source, path) {
    const target = part(source, 'target');
    return [
      ...referenceErrors(part(source, 'describedObject'), `${path}.describedObject`),
      ...identifierErrors(part(source, 'metric'), `${path}.metric`),
      ...targetErrors(target, `${path}.target`),
      ...(target.value === undefined && target.averageValue === undefined
        ? [required(`${path}.target.averageValue`, 'must set either a target value or averageValue')]
        : []),
    ];
  },
  External(source, path) {
    const target = part(source, 'target');
    const errors = [
      ...identifierErrors(part(source, 'metric'), `${path}.metric`),
      ...targetErrors(target, `${path}.target`),
    ];
    if (target.value === undefined && target.averageValue === undefined)
      errors.push(
        required(`${path}.target.averageValue`, 'must set either a target value for metric or a per-pod target'),
      );
    if (target.value !== undefined && target.averageValue !== undefined)
      errors.push(
        forbiddenField(`${path}.target.value`, 'may not set both a target value for metric and a per-pod target'),
      );
    return errors;
  },
  Pods(source, path) {
    const target = part(source, 'target');
    return [
      ...identifierErrors(part(source, 'metric'), `${path}.metric`),
      ...targetErrors(target, `${path}.target`),
      ...(target.averageValue === undefined
        ? [required(`${path}.target.averageValue`, 'must specify a positive target averageValue')]
        : []),
    ];
  },
  Resource(source, path) {
    const target = part(source, 'target');
    return [
      ...(source.name ? [] : [required(`${path}.name`, 'must specify a resource name')]),
      ...targetErrors(target, `${path}.target`),
      ...utilizationErrors(target, `${path}.target`),
    ];
  },
  ContainerResource(source, path) {
    const target = part(source, 'target');
    const container = String(source.container ?? '');
    return [
      ...(source.name ? [] : [required(`${path}.name`, 'must specify a resource name')]),
      ...(container === ''
        ? [required(`${path}.container`, 'must specify a container')]
        : dns1123LabelErrors(container).map((why) => invalidValue(`${path}.container`, container, why))),
      ...targetErrors(target, `${path}.target`),
      ...utilizationErrors(target, `${path}.target`),
    ];
  },
};

function metricErrors(metric: JsonObject, path: string): FieldError[] {
  const type = String(metric.type ?? '');
  const errors: FieldError[] = [];
  if (type === '') errors.push(required(`${path}.type`, 'must specify a metric source type'));
  if (!Object.hasOwn(sources, type)) errors.push(notSupported(`${path}.type`, type, metricTypes));
  const given = (Object.keys(sources) as MetricType[]).filter((name) => isObject(metric[sources[name]]));
  const first = given[0];
  if (first !== undefined)
    errors.push(...sourceErrors[first](part(metric, sources[first]), `${path}.${sources[first]}`));
  if (!Object.hasOwn(sources, type)) return errors;
  const wanted = type as MetricType;
  if (!given.includes(wanted))
    errors.push(required(`${path}.${sources[wanted]}`, 'must populate information for the given metric source'));
  if (given.length !== 1)
    for (const other of given)
      if (other !== wanted)
        errors.push(forbiddenField(`${path}.${sources[other]}`, 'must populate the given metric source only'));
  return errors;
}

function rulesErrors(rules: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const window = rules.stabilizationWindowSeconds;
  if (typeof window === 'number' && window < 0)
    errors.push(invalidValue(`${path}.stabilizationWindowSeconds`, window, 'must be greater than or equal to zero'));
  if (typeof window === 'number' && window > stabilizationMax)
    errors.push(
      invalidValue(`${path}.stabilizationWindowSeconds`, window, `must be less than or equal to ${stabilizationMax}`),
    );
  if (rules.selectPolicy !== undefined && !selectPolicies.includes(String(rules.selectPolicy)))
    errors.push(notSupported(`${path}.selectPolicy`, rules.selectPolicy, selectPolicies));
  const tolerance = rules.tolerance === undefined ? undefined : tryQuantity(rules.tolerance);
  if (tolerance !== undefined && tolerance.nano < 0n)
    errors.push(invalidValue(`${path}.tolerance`, rules.tolerance, 'must be greater or equal to zero'));
  const policies = objects(rules.policies);
  if (policies.length === 0) errors.push(required(`${path}.policies`, 'must specify at least one Policy'));
  for (const [index, policy] of policies.entries()) {
    const at = `${path}.policies[${index}]`;
    const { type, value, periodSeconds: period } = policy;
    if (!policyTypes.includes(String(type))) errors.push(notSupported(`${at}.type`, type ?? '', policyTypes));
    if (Number(value ?? 0) <= 0) errors.push(invalidValue(`${at}.value`, value ?? 0, 'must be greater than zero'));
    if (Number(period ?? 0) <= 0)
      errors.push(invalidValue(`${at}.periodSeconds`, period ?? 0, 'must be greater than zero'));
    if (Number(period ?? 0) > periodMax)
      errors.push(invalidValue(`${at}.periodSeconds`, period, `must be less than or equal to ${periodMax}`));
  }
  return errors;
}

function autoscalerSpecErrors(spec: JsonObject, least: number): FieldError[] {
  const errors: FieldError[] = [];
  const min = typeof spec.minReplicas === 'number' ? spec.minReplicas : undefined;
  const max = Number(spec.maxReplicas ?? 0);
  if (min !== undefined && min < least)
    errors.push(invalidValue('spec.minReplicas', min, `must be greater than or equal to ${least}`));
  if (max < 1) errors.push(invalidValue('spec.maxReplicas', max, 'must be greater than 0'));
  if (min !== undefined && max < min)
    errors.push(invalidValue('spec.maxReplicas', max, 'must be greater than or equal to `minReplicas`'));
  errors.push(...referenceErrors(part(spec, 'scaleTargetRef'), 'spec.scaleTargetRef'));
  const metrics = objects(spec.metrics);
  for (const [index, metric] of metrics.entries()) errors.push(...metricErrors(metric, `spec.metrics[${index}]`));
  if (min === 0 && !metrics.some(({ type }) => type === 'Object' || type === 'External'))
    errors.push(
      forbiddenField(
        'spec.metrics',
        'must specify at least one Object or External metric to support scaling to zero replicas',
      ),
    );
  const behavior = part(spec, 'behavior');
  for (const direction of ['scaleUp', 'scaleDown'])
    if (isObject(behavior[direction])) errors.push(...rulesErrors(behavior[direction], `spec.behavior.${direction}`));
  return errors;
}

export function autoscalerErrors(autoscaler: JsonObject): FieldError[] {
  return autoscalerSpecErrors(specOf(autoscaler), 1);
}

export function autoscalerUpdateErrors(autoscaler: JsonObject, old: JsonObject): FieldError[] {
  return autoscalerSpecErrors(specOf(autoscaler), specOf(old).minReplicas === 0 ? 0 : 1);
}

export function autoscalerStatusErrors(autoscaler: JsonObject): FieldError[] {
  const status = part(autoscaler, 'status');
  return ['currentReplicas', 'desiredReplicas'].flatMap((field) => nonNegative(status[field], `status.${field}`));
}
