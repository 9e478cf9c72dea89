import { isObject, type JsonObject } from '../../machinery/json.ts';
import { child, fill, fillText, objects } from './helpers.ts';
import { podTemplateDefaults } from './pod.ts';

/** Defaults of batch, autoscaling, and of quotas, templates and controllers of the core group (pkg/apis/{batch,autoscaling,core}/…/defaults.go). */
const int32Max = 2 ** 31 - 1;
/** Per cent of the requested processor time. */
const defaultUtilization = 80;

function hasEntries(value: unknown): value is JsonObject {
  if (!isObject(value)) return false;
  for (const _ in value) return true;
  return false;
}

/** Labels of the template are those of an object without own ones. */
function labelsFromTemplate(object: JsonObject, template: JsonObject): JsonObject | undefined {
  const labels =
    isObject(template.metadata) && hasEntries(template.metadata.labels) ? template.metadata.labels : undefined;
  const metadata = child(object, 'metadata');
  if (labels !== undefined && !hasEntries(metadata.labels)) metadata.labels = { ...labels };
  return labels;
}

export function jobDefaults(job: JsonObject): void {
  const spec = child(job, 'spec');
  if (spec.completions === undefined && spec.parallelism === undefined) {
    spec.completions = 1;
    spec.parallelism = 1;
  }
  fill(spec, 'parallelism', 1);
  fill(spec, 'backoffLimit', spec.backoffLimitPerIndex === undefined ? 6 : int32Max);
  labelsFromTemplate(job, child(spec, 'template'));
  fillText(spec, 'completionMode', 'NonIndexed');
  fill(spec, 'suspend', false);
  if (isObject(spec.podFailurePolicy))
    for (const rule of objects(spec.podFailurePolicy.rules))
      for (const pattern of objects(rule.onPodConditions)) fillText(pattern, 'status', 'True');
  fillText(spec, 'podReplacementPolicy', spec.podFailurePolicy === undefined ? 'TerminatingOrFailed' : 'Failed');
  fill(spec, 'manualSelector', false);
  podTemplateDefaults(child(spec, 'template'));
  child(job, 'status');
}

export function cronJobDefaults(cronJob: JsonObject): void {
  const spec = child(cronJob, 'spec');
  fillText(spec, 'concurrencyPolicy', 'Allow');
  fill(spec, 'suspend', false);
  fill(spec, 'successfulJobsHistoryLimit', 3);
  fill(spec, 'failedJobsHistoryLimit', 1);
  const template = child(spec, 'jobTemplate');
  child(template, 'metadata');
  podTemplateDefaults(child(child(template, 'spec'), 'template'));
  child(cronJob, 'status');
}

export function podTemplateObjectDefaults(template: JsonObject): void {
  podTemplateDefaults(child(template, 'template'));
}

export function replicationControllerDefaults(controller: JsonObject): void {
  const spec = child(controller, 'spec');
  if (isObject(spec.template)) {
    const labels = labelsFromTemplate(controller, spec.template);
    if (labels !== undefined && !hasEntries(spec.selector)) spec.selector = { ...labels };
    podTemplateDefaults(spec.template);
  }
  fill(spec, 'replicas', 1);
  fill(child(controller, 'status'), 'replicas', 0);
}

/** What containers get that say nothing: the maximum, and as request the default or the minimum. */
export function limitRangeDefaults(range: JsonObject): void {
  for (const item of objects(child(range, 'spec').limits)) {
    if (item.type !== 'Container') continue;
    const limits = isObject(item.default) ? item.default : {};
    const requests = isObject(item.defaultRequest) ? item.defaultRequest : {};
    if (isObject(item.max)) for (const name in item.max) fill(limits, name, item.max[name]!);
    for (const name in limits) fill(requests, name, limits[name]!);
    if (isObject(item.min)) for (const name in item.min) fill(requests, name, item.min[name]!);
    if (hasEntries(limits)) item.default = limits;
    if (hasEntries(requests)) item.defaultRequest = requests;
  }
}

export function resourceQuotaDefaults(quota: JsonObject): void {
  child(quota, 'spec');
  child(quota, 'status');
}

/** What is stored is the form of v2, whose default is a target of processor use: v1 says so at once, not only when it is read back. */
export function autoscalerV1Defaults(autoscaler: JsonObject): void {
  const spec = child(autoscaler, 'spec');
  fill(spec, 'minReplicas', 1);
  const metadata = isObject(autoscaler.metadata) ? autoscaler.metadata : {};
  const annotations = isObject(metadata.annotations) ? metadata.annotations : {};
  if (annotations['autoscaling.alpha.kubernetes.io/metrics'] === undefined)
    fill(spec, 'targetCPUUtilizationPercentage', defaultUtilization);
  child(autoscaler, 'status');
}

export function autoscalerDefaults(autoscaler: JsonObject): void {
  const spec = child(autoscaler, 'spec');
  fill(spec, 'minReplicas', 1);
  if (objects(spec.metrics).length === 0)
    spec.metrics = [
      {
        type: 'Resource',
        resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: defaultUtilization } },
      },
    ];
  if (isObject(spec.behavior)) {
    const up = child(spec.behavior, 'scaleUp');
    fill(up, 'stabilizationWindowSeconds', 0);
    fillText(up, 'selectPolicy', 'Max');
    fill(up, 'policies', [
      { type: 'Pods', value: 4, periodSeconds: 15 },
      { type: 'Percent', value: 100, periodSeconds: 15 },
    ]);
    const down = child(spec.behavior, 'scaleDown');
    fillText(down, 'selectPolicy', 'Max');
    fill(down, 'policies', [{ type: 'Percent', value: 100, periodSeconds: 15 }]);
  }
  const status = child(autoscaler, 'status');
  fill(status, 'desiredReplicas', 0);
}
