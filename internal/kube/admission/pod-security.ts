import { getPath, isObject, jsonEqual, type Json, type JsonObject } from '../machinery/json.ts';
import { forbidden, invalid } from '../machinery/status.ts';
import { invalidValue, notSupported } from '../machinery/validation.ts';
import { type Level, violations } from './pod-security-checks.ts';
import { type AdmissionPlugin, type AdmissionRequest, isFor } from './types.ts';

/** PodSecurity (docs: concepts/security/pod-security-admission): labels of the namespace say what its pods may do. */
const prefix = 'pod-security.kubernetes.io/';
const levels = ['privileged', 'baseline', 'restricted'];

interface Standard {
  readonly level: Level;
  readonly version: string;
}

function labelsOf(namespace: JsonObject | undefined): JsonObject {
  const labels = getPath(namespace, 'metadata', 'labels');
  return isObject(labels) ? labels : {};
}

function standard(labels: JsonObject, mode: string): Standard {
  const level = labels[`${prefix}${mode}`];
  const version = labels[`${prefix}${mode}-version`];
  return {
    // A level that cannot be read is the strictest one, so that nothing slips through.
    level: level === undefined ? 'privileged' : levels.includes(String(level)) ? (level as Level) : 'restricted',
    version: typeof version === 'string' ? version : 'latest',
  };
}

/** Where the pod template of a workload is. */
const templates: Readonly<Record<string, readonly string[]>> = {
  'apps/deployments': ['spec', 'template'],
  'apps/replicasets': ['spec', 'template'],
  'apps/statefulsets': ['spec', 'template'],
  'apps/daemonsets': ['spec', 'template'],
  'batch/jobs': ['spec', 'template'],
  'batch/cronjobs': ['spec', 'jobTemplate', 'spec', 'template'],
  '/replicationcontrollers': ['spec', 'template'],
  '/podtemplates': ['template'],
};

export const podSecurity: AdmissionPlugin = {
  name: 'PodSecurity',
  async validate(request, { reader }) {
    if (request.operation !== 'CREATE' && request.operation !== 'UPDATE') return;
    if (isFor(request, '', 'namespaces')) return checkNamespace(request, (name) => reader.list('', 'pods', name));
    const isPod = isFor(request, '', 'pods') || isFor(request, '', 'pods', 'ephemeralcontainers');
    const template = request.subresource === '' ? templates[`${request.kind.group}/${request.kind.plural}`] : undefined;
    if (!isPod && template === undefined) return;
    const labels = labelsOf(await reader.get('', 'namespaces', '', request.namespace));
    if (!Object.keys(labels).some((name) => name.startsWith(prefix))) return;
    const spec = isPod ? request.object?.spec : getPath(request.object, ...template!, 'spec');
    if (!isObject(spec)) return;
    if (isPod && request.operation === 'UPDATE' && !significant(spec, request.old?.spec)) return;
    checkSpec(request, labels, spec, isPod);
  },
};

/** Whether an update changes more than what no standard is about (metadata, images, tolerations…). */
function significant(spec: JsonObject, old: Json | undefined): boolean {
  if (!isObject(old)) return true;
  const bare = (one: JsonObject): Json => {
    const { tolerations: _t, activeDeadlineSeconds: _a, terminationGracePeriodSeconds: _g, ...rest } = one;
    return JSON.parse(JSON.stringify(rest, (key, value: Json) => (key === 'image' ? undefined : value))) as Json;
  };
  return !jsonEqual(bare(spec), bare(old));
}

function checkSpec(request: AdmissionRequest, labels: JsonObject, spec: JsonObject, isPod: boolean): void {
  const found = (mode: string): string | undefined => {
    const { level, version } = standard(labels, mode);
    const list = violations(spec, level);
    return list.length === 0 ? undefined : `violate PodSecurity "${level}:${version}": ${list.join(', ')}`;
  };
  const audit = found('audit');
  if (audit !== undefined) request.annotate?.(`${prefix}audit-violations`, `would ${audit}`);
  if (isPod) {
    const { level, version } = standard(labels, 'enforce');
    request.annotate?.(`${prefix}enforce-policy`, `${level}:${version}`);
    const enforce = found('enforce');
    if (enforce !== undefined)
      throw forbidden({ group: '', resource: 'pods' }, request.name, enforce.replace(/^violate /, 'violates '));
  }
  const warn = found('warn');
  if (warn !== undefined) request.warnings.push(`would ${warn}`);
}

const warnedMax = 10;

async function checkNamespace(
  request: AdmissionRequest,
  pods: (namespace: string) => Promise<JsonObject[]>,
): Promise<void> {
  const labels = labelsOf(request.object);
  const errors = ['enforce', 'audit', 'warn'].flatMap((mode) => {
    const level = labels[`${prefix}${mode}`];
    const version = labels[`${prefix}${mode}-version`];
    const out = [];
    if (level !== undefined && !levels.includes(String(level)))
      out.push(notSupported(`metadata.labels[${prefix}${mode}]`, level, levels));
    if (version !== undefined && !/^(latest|v1\.\d+)$/.test(String(version)))
      out.push(invalidValue(`metadata.labels[${prefix}${mode}-version]`, version, 'must be "latest" or "v1.x"'));
    return out;
  });
  if (errors.length > 0) throw invalid('', 'Namespace', request.name, errors);
  if (request.operation !== 'UPDATE') return;
  const next = standard(labels, 'enforce');
  const before = standard(labelsOf(request.old), 'enforce');
  if (levels.indexOf(next.level) <= levels.indexOf(before.level)) return;
  const byViolation = new Map<string, string[]>();
  for (const pod of await pods(request.name)) {
    const spec = pod.spec;
    const list = isObject(spec) ? violations(spec, next.level) : [];
    if (list.length === 0) continue;
    const key = list.map((one) => one.replace(/ \(.*$/, '')).join(', ');
    byViolation.set(key, [...(byViolation.get(key) ?? []), String(getPath(pod, 'metadata', 'name'))]);
  }
  if (byViolation.size === 0) return;
  request.warnings.push(
    `existing pods in namespace ${JSON.stringify(request.name)} violate the new PodSecurity enforce level "${next.level}:${next.version}"`,
  );
  for (const [what, names] of [...byViolation].slice(0, warnedMax)) {
    const others = names.length - 1;
    const more = others === 0 ? '' : others === 1 ? ' (and 1 other pod)' : ` (and ${others} other pods)`;
    request.warnings.push(`${names[0]}${more}: ${what}`);
  }
}
