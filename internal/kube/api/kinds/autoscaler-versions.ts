import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import { objects } from '../defaults/helpers.ts';

/**
 * HorizontalPodAutoscaler of autoscaling/v1, which knows processor use alone, and of v2, in which it is stored. What v1 has no field for is kept in
 * annotations, in the shapes that v1 gives it (pkg/apis/autoscaling/v1/conversion.go).
 */
const annotation = {
  metrics: 'autoscaling.alpha.kubernetes.io/metrics',
  currentMetrics: 'autoscaling.alpha.kubernetes.io/current-metrics',
  conditions: 'autoscaling.alpha.kubernetes.io/conditions',
  behavior: 'autoscaling.alpha.kubernetes.io/behavior',
} as const;

const v1 = 'autoscaling/v1';
const v2 = 'autoscaling/v2';

function part(object: JsonObject, key: string): JsonObject {
  const value = object[key];
  return isObject(value) ? value : {};
}

/** Without fields that are not there. */
function present(object: Record<string, Json | undefined>): JsonObject {
  const out: JsonObject = {};
  for (const key in object) if (object[key] !== undefined) out[key] = object[key];
  return out;
}

const word = {
  Resource: 'resource',
  ContainerResource: 'containerResource',
  Pods: 'pods',
  Object: 'object',
  External: 'external',
};
type MetricType = keyof typeof word;

function typeOf(metric: JsonObject): MetricType | undefined {
  return typeof metric.type === 'string' && Object.hasOwn(word, metric.type) ? (metric.type as MetricType) : undefined;
}

/** How each type of metric is written in v1's annotation, from its v2 form; `values` is the target or the current value. */
const toV1: Readonly<
  Record<MetricType, (source: JsonObject, values: JsonObject, when: 'target' | 'current') => JsonObject>
> = {
  Resource: (source, values, when) =>
    present({
      name: source.name,
      [`${when}AverageUtilization`]: values.averageUtilization,
      [`${when}AverageValue`]: values.averageValue,
    }),
  ContainerResource: (source, values, when) =>
    present({
      name: source.name,
      container: source.container,
      [`${when}AverageUtilization`]: values.averageUtilization,
      [`${when}AverageValue`]: values.averageValue,
    }),
  Pods: (source, values, when) =>
    present({
      metricName: part(source, 'metric').name,
      [`${when}AverageValue`]: values.averageValue,
      selector: part(source, 'metric').selector,
    }),
  Object: (source, values, when) =>
    present({
      target: source.describedObject,
      metricName: part(source, 'metric').name,
      [when === 'target' ? 'targetValue' : 'currentValue']: values.value ?? '0',
      selector: part(source, 'metric').selector,
      averageValue: values.averageValue,
    }),
  External: (source, values, when) =>
    present({
      metricName: part(source, 'metric').name,
      metricSelector: part(source, 'metric').selector,
      [`${when}Value`]: values.value,
      [`${when}AverageValue`]: values.averageValue,
    }),
};

function targetType(values: JsonObject): JsonObject {
  const type =
    values.averageUtilization !== undefined
      ? 'Utilization'
      : values.averageValue !== undefined
        ? 'AverageValue'
        : 'Value';
  return { type, ...values };
}

/** The reverse. */
function fromV1(type: MetricType, source: JsonObject, when: 'target' | 'current'): JsonObject {
  const metric = present({ name: source.metricName, selector: source.selector ?? source.metricSelector });
  const values = present({
    averageUtilization: source[`${when}AverageUtilization`],
    averageValue: source[`${when}AverageValue`] ?? (type === 'Object' ? source.averageValue : undefined),
    value: type === 'Object' && source.averageValue !== undefined ? undefined : source[`${when}Value`],
  });
  const side = { [when]: when === 'target' ? targetType(values) : values };
  switch (type) {
    case 'Resource':
      return present({ name: source.name, ...side });
    case 'ContainerResource':
      return present({ name: source.name, container: source.container, ...side });
    case 'Object':
      return present({ describedObject: source.target, metric, ...side });
    default:
      return { metric, ...side };
  }
}

function isCpuUtilization(metric: JsonObject, when: 'target' | 'current'): boolean {
  const resource = part(metric, 'resource');
  return metric.type === 'Resource' && resource.name === 'cpu' && part(resource, when).averageUtilization !== undefined;
}

function metricsToV1(metrics: readonly JsonObject[], when: 'target' | 'current'): Json[] {
  return metrics.map((metric) => {
    const type = typeOf(metric);
    if (type === undefined) return metric;
    const source = part(metric, word[type]);
    return { type, [word[type]]: toV1[type](source, part(source, when), when) };
  });
}

function metricsFromV1(text: Json | undefined, when: 'target' | 'current'): JsonObject[] {
  return objects(parsed(text)).map((metric) => {
    const type = typeOf(metric);
    return type === undefined ? metric : { type, [word[type]]: fromV1(type, part(metric, word[type]), when) };
  });
}

/** An annotation's JSON; anything else in it is as if it were not there. */
function parsed(text: Json | undefined): Json | undefined {
  if (typeof text !== 'string') return undefined;
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

/** autoscaling/v2 -> autoscaling/v1. */
export function autoscalerFromV2(object: JsonObject): JsonObject {
  const { metrics, behavior, ...spec } = part(object, 'spec');
  const { currentMetrics, conditions, ...status } = part(object, 'status');
  const wanted = objects(metrics);
  const current = objects(currentMetrics);
  const cpu = wanted.find((metric) => isCpuUtilization(metric, 'target'));
  const cpuNow = current.find((metric) => isCpuUtilization(metric, 'current'));
  const extra: Record<string, string> = {};
  const rest = wanted.filter((metric) => metric !== cpu);
  if (rest.length > 0) extra[annotation.metrics] = JSON.stringify(metricsToV1(rest, 'target'));
  if (current.length > 0) extra[annotation.currentMetrics] = JSON.stringify(metricsToV1(current, 'current'));
  if (objects(conditions).length > 0) extra[annotation.conditions] = JSON.stringify(conditions);
  if (isObject(behavior)) extra[annotation.behavior] = JSON.stringify(behaviorWords(behavior, true));
  const metadata = part(object, 'metadata');
  const annotations = { ...part(metadata, 'annotations'), ...extra };
  const utilization = cpu === undefined ? undefined : part(part(cpu, 'resource'), 'target').averageUtilization;
  const utilizationNow =
    cpuNow === undefined ? undefined : part(part(cpuNow, 'resource'), 'current').averageUtilization;
  return {
    ...object,
    apiVersion: v1,
    metadata: Object.keys(annotations).length === 0 ? metadata : { ...metadata, annotations },
    spec: present({ ...spec, targetCPUUtilizationPercentage: utilization }),
    status: present({
      ...status,
      currentReplicas: status.currentReplicas ?? 0,
      currentCPUUtilizationPercentage: utilizationNow,
    }),
  };
}

/** The annotation writes the rules with the names of the internal type's fields. */
function behaviorWords(behavior: JsonObject, toInternal: boolean): JsonObject {
  const out: JsonObject = {};
  for (const key in behavior) {
    const name = toInternal ? key.charAt(0).toUpperCase() + key.slice(1) : key.charAt(0).toLowerCase() + key.slice(1);
    const value = behavior[key];
    out[name] = isObject(value)
      ? behaviorWords(value, toInternal)
      : Array.isArray(value)
        ? value.map((item) => (isObject(item) ? behaviorWords(item, toInternal) : item))
        : (value ?? null);
  }
  return out;
}

/** autoscaling/v1 -> autoscaling/v2. */
export function autoscalerToV2(object: JsonObject): JsonObject {
  const { targetCPUUtilizationPercentage: utilization, ...spec } = part(object, 'spec');
  const { currentCPUUtilizationPercentage: utilizationNow, ...status } = part(object, 'status');
  const metadata = part(object, 'metadata');
  const { ...annotations } = part(metadata, 'annotations');
  const rest = metricsFromV1(annotations[annotation.metrics], 'target');
  const behavior = parsed(annotations[annotation.behavior]);
  const conditions = parsed(annotations[annotation.conditions]);
  const current = metricsFromV1(annotations[annotation.currentMetrics], 'current');
  for (const name of Object.values(annotation)) delete annotations[name];
  const cpu = (side: 'target' | 'current', value: Json): JsonObject => ({
    type: 'Resource',
    resource: {
      name: 'cpu',
      [side]: { ...(side === 'target' ? { type: 'Utilization' } : {}), averageUtilization: value },
    },
  });
  const metrics = [...rest, ...(utilization === undefined ? [] : [cpu('target', utilization)])];
  const currentMetrics =
    current.length > 0 ? current : utilizationNow === undefined ? [] : [cpu('current', utilizationNow)];
  const { annotations: _old, ...otherMetadata } = metadata;
  return {
    ...object,
    apiVersion: v2,
    metadata: Object.keys(annotations).length === 0 ? otherMetadata : { ...otherMetadata, annotations },
    spec: present({
      ...spec,
      metrics: metrics.length === 0 ? undefined : metrics,
      behavior: isObject(behavior) ? behaviorWords(behavior, false) : undefined,
    }),
    status: present({
      ...status,
      currentMetrics: currentMetrics.length === 0 ? undefined : currentMetrics,
      conditions: Array.isArray(conditions) ? conditions : undefined,
    }),
  };
}
