import { isObject, type Json, type JsonObject, jsonEqual } from '../../machinery/json.ts';
import { labelSelectorOf, matchesLabels, qualifiedNameErrors } from '../../machinery/selectors.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  dns1123LabelErrors,
  duplicate,
  invalidField,
  invalidValue,
  notSupported,
  required,
  tooLongField,
  tooManyField,
} from '../../machinery/validation.ts';
import { CronError, parseCron } from '../cron.ts';
import { objects } from '../defaults/helpers.ts';
import { domainPrefixedPathErrors, immutable, nonNegative, specOf } from './common.ts';
import { labelSelectorErrors, podTemplateErrors } from './pod.ts';

/** Rules of Jobs and CronJobs (pkg/apis/batch/validation/validation.go). */
const parallelismMax = 100_000;
const failedIndexesMax = 100_000;
const completionsSoftMax = 100_000;
const parallelismManyMax = 10_000;
const failedIndexesManyMax = 10_000;
const policyRulesMax = 20;
const exitCodesMax = 255;
const patternsMax = 20;
const managedByMax = 63;
const successRulesMax = 20;
const succeededIndexesMax = 64 * 1024;

const policyActions = ['Count', 'FailIndex', 'FailJob', 'Ignore'];
const exitCodeOperators = ['In', 'NotIn'];
const conditionStatuses = ['False', 'True', 'Unknown'];

const quoted = (values: readonly string[]): string => `[${values.map((value) => JSON.stringify(value)).join(' ')}]`;

function exitCodeErrors(requirement: JsonObject, path: string, containers: readonly string[]): FieldError[] {
  const errors: FieldError[] = [];
  const { operator, containerName } = requirement;
  if (!operator) errors.push(required(`${path}.operator`, `valid values: ${quoted(exitCodeOperators)}`));
  else if (!exitCodeOperators.includes(String(operator)))
    errors.push(notSupported(`${path}.operator`, operator, exitCodeOperators));
  if (containerName !== undefined && !containers.includes(String(containerName)))
    errors.push(
      invalidValue(
        `${path}.containerName`,
        containerName,
        'must be one of the container or initContainer names in the pod template',
      ),
    );
  const values = Array.isArray(requirement.values) ? requirement.values : [];
  const at = `${path}.values`;
  if (values.length === 0) errors.push(invalidValue(at, values, 'at least one value is required'));
  else if (values.length > exitCodesMax) errors.push(tooManyField(at, values.length, exitCodesMax));
  let ordered = true;
  for (const [index, value] of values.entries()) {
    if (operator === 'In' && value === 0)
      errors.push(invalidValue(`${at}[${index}]`, value, 'must not be 0 for the In operator'));
    if (values.indexOf(value) < index) errors.push(duplicate(`${at}[${index}]`, value));
    if (index > 0 && Number(values[index - 1]) > Number(value)) ordered = false;
  }
  if (!ordered) errors.push(invalidValue(at, values, 'must be ordered'));
  return errors;
}

function failureRuleErrors(
  spec: JsonObject,
  rule: JsonObject,
  path: string,
  containers: readonly string[],
): FieldError[] {
  const errors: FieldError[] = [];
  const { action } = rule;
  if (!action) errors.push(required(`${path}.action`, `valid values: ${quoted(policyActions)}`));
  else if (action === 'FailIndex') {
    if (spec.backoffLimitPerIndex === undefined)
      errors.push(invalidValue(`${path}.action`, action, 'requires the backoffLimitPerIndex to be set'));
  } else if (!policyActions.includes(String(action)))
    errors.push(notSupported(`${path}.action`, action, policyActions));
  const patterns = objects(rule.onPodConditions);
  if (isObject(rule.onExitCodes)) errors.push(...exitCodeErrors(rule.onExitCodes, `${path}.onExitCodes`, containers));
  if (patterns.length > patternsMax) errors.push(tooManyField(`${path}.onPodConditions`, patterns.length, patternsMax));
  for (const [index, pattern] of patterns.entries()) {
    const at = `${path}.onPodConditions[${index}]`;
    for (const why of qualifiedNameErrors(String(pattern.type ?? '')))
      errors.push(invalidValue(`${at}.type`, pattern.type ?? '', why));
    if (!pattern.status) errors.push(required(`${at}.status`, `valid values: ${quoted(conditionStatuses)}`));
    else if (!conditionStatuses.includes(String(pattern.status)))
      errors.push(notSupported(`${at}.status`, pattern.status, conditionStatuses));
  }
  if (isObject(rule.onExitCodes) && patterns.length > 0)
    errors.push(invalidField(path, 'specifying both OnExitCodes and OnPodConditions is not supported'));
  if (!isObject(rule.onExitCodes) && patterns.length === 0)
    errors.push(invalidField(path, 'specifying one of OnExitCodes and OnPodConditions is required'));
  return errors;
}

/** `1,3-5,7`: ascending, none twice, all below `completions`. */
function indexesErrors(text: string, completions: number, path: string): { errors: FieldError[]; total: number } {
  let total = 0;
  let last = -1;
  for (const part of text.split(',')) {
    const [from = '', to = from, ...more] = part.split('-');
    const wrong = (why: string): { errors: FieldError[]; total: number } => ({
      errors: [invalidValue(path, text, `error parsing succeededIndexes: ${why}`)],
      total: 0,
    });
    if (more.length > 0)
      return wrong(
        `the fragment ${JSON.stringify(part)} violates the requirement that an index interval can have at most two parts separated by '-'`,
      );
    for (const bound of [from, to])
      if (!/^\d+$/.test(bound)) return wrong(`cannot convert string to integer for index: ${JSON.stringify(bound)}`);
    for (const bound of [from, to])
      if (Number(bound) >= completions) return wrong(`too large index: ${JSON.stringify(bound)}`);
    if (Number(from) <= last) return wrong(`non-increasing order, previous: ${last}, current: ${Number(from)}`);
    if (to !== from && Number(to) <= Number(from))
      return wrong(`non-increasing order, previous: ${Number(from)}, current: ${Number(to)}`);
    total += Number(to) - Number(from) + 1;
    last = Number(to);
  }
  return { errors: [], total };
}

function successPolicyErrors(spec: JsonObject, policy: JsonObject, path: string): FieldError[] {
  if (spec.completionMode !== 'Indexed') return [invalidValue(path, policy, 'requires indexed completion mode')];
  const rules = objects(policy.rules);
  const errors: FieldError[] = [];
  if (rules.length === 0)
    errors.push(required(`${path}.rules`, 'at least one rules must be specified when the successPolicy is specified'));
  if (rules.length > successRulesMax) errors.push(tooManyField(`${path}.rules`, rules.length, successRulesMax));
  const completions = typeof spec.completions === 'number' ? spec.completions : 0;
  for (const [index, rule] of rules.entries()) {
    const at = `${path}.rules[${index}]`;
    const { succeededCount: count, succeededIndexes: indexes } = rule;
    if (count === undefined && indexes === undefined) {
      errors.push(required(at, 'at least one of succeededCount or succeededIndexes must be specified'));
      continue;
    }
    let total = 0;
    if (typeof indexes === 'string') {
      if (indexes.length > succeededIndexesMax) {
        errors.push(tooLongField(`${at}.succeededIndexes`, succeededIndexesMax));
        continue;
      }
      const parsed = indexesErrors(indexes, completions, `${at}.succeededIndexes`);
      errors.push(...parsed.errors);
      ({ total } = parsed);
    }
    if (typeof count !== 'number') continue;
    errors.push(...nonNegative(count, `${at}.succeededCount`));
    if (count > completions)
      errors.push(
        invalidValue(
          `${at}.succeededCount`,
          count,
          `must be less than or equal to ${completions} (the number of specified completions)`,
        ),
      );
    if (typeof indexes === 'string' && total > 0 && count > total)
      errors.push(
        invalidValue(
          `${at}.succeededCount`,
          count,
          `must be less than or equal to ${total} (the number of indexes in the specified succeededIndexes field)`,
        ),
      );
  }
  return errors;
}

function indexedErrors(spec: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const { completions, parallelism, maxFailedIndexes: failed, backoffLimitPerIndex: perIndex } = spec;
  if (completions === undefined) errors.push(required(`${path}.completions`, 'when completion mode is Indexed'));
  if (typeof parallelism === 'number' && parallelism > parallelismMax)
    errors.push(
      invalidValue(
        `${path}.parallelism`,
        parallelism,
        `must be less than or equal to ${parallelismMax} when completion mode is Indexed`,
      ),
    );
  if (typeof failed === 'number') {
    if (typeof completions === 'number' && failed > completions)
      errors.push(invalidValue(`${path}.maxFailedIndexes`, failed, 'must be less than or equal to completions'));
    if (failed > failedIndexesMax)
      errors.push(
        invalidValue(`${path}.maxFailedIndexes`, failed, `must be less than or equal to ${failedIndexesMax}`),
      );
  }
  if (typeof completions !== 'number' || completions <= completionsSoftMax || perIndex === undefined) return errors;
  const many = (max: number): string =>
    `must be less than or equal to ${max} when completions are above ${completionsSoftMax} and used with backoff limit per index`;
  if (failed === undefined)
    errors.push(
      required(`${path}.maxFailedIndexes`, `must be specified when completions is above ${completionsSoftMax}`),
    );
  if (typeof parallelism === 'number' && parallelism > parallelismManyMax)
    errors.push(invalidValue(`${path}.parallelism`, parallelism, many(parallelismManyMax)));
  if (typeof failed === 'number' && failed > failedIndexesManyMax)
    errors.push(invalidValue(`${path}.maxFailedIndexes`, failed, many(failedIndexesManyMax)));
  return errors;
}

function restartPolicyErrors(spec: JsonObject, policy: Json | undefined, path: string): FieldError[] {
  if (policy === undefined || policy === '' || policy === 'Always')
    return [required(path, 'valid values: "OnFailure", "Never"')];
  if (policy !== 'OnFailure' && policy !== 'Never') return [notSupported(path, policy, ['OnFailure', 'Never'])];
  if (spec.podFailurePolicy !== undefined && policy !== 'Never')
    return [invalidValue(path, policy, 'only "Never" is supported when podFailurePolicy is specified')];
  return [];
}

/** What a Job and the template of a CronJob share. */
function jobSpecErrors(spec: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of [
    'parallelism',
    'completions',
    'activeDeadlineSeconds',
    'backoffLimit',
    'ttlSecondsAfterFinished',
    'backoffLimitPerIndex',
    'maxFailedIndexes',
  ])
    errors.push(...nonNegative(spec[field], `${path}.${field}`));
  if (spec.maxFailedIndexes !== undefined && spec.backoffLimitPerIndex === undefined)
    errors.push(required(`${path}.backoffLimitPerIndex`, 'when maxFailedIndexes is specified'));
  if (typeof spec.managedBy === 'string') {
    errors.push(...domainPrefixedPathErrors(spec.managedBy, `${path}.managedBy`));
    if (spec.managedBy.length > managedByMax) errors.push(tooLongField(`${path}.managedBy`, managedByMax));
  }
  const mode = spec.completionMode;
  if (mode !== undefined && mode !== 'NonIndexed' && mode !== 'Indexed')
    errors.push(notSupported(`${path}.completionMode`, mode, ['NonIndexed', 'Indexed']));
  if (mode === 'Indexed') errors.push(...indexedErrors(spec, path));
  if (mode === undefined || mode === 'NonIndexed')
    for (const field of ['backoffLimitPerIndex', 'maxFailedIndexes'])
      if (spec[field] !== undefined)
        errors.push(invalidValue(`${path}.${field}`, spec[field], 'requires indexed completion mode'));
  const template = isObject(spec.template) ? spec.template : {};
  const podSpec = isObject(template.spec) ? template.spec : {};
  if (isObject(spec.podFailurePolicy)) {
    const rules = objects(spec.podFailurePolicy.rules);
    const at = `${path}.podFailurePolicy.rules`;
    if (rules.length > policyRulesMax) errors.push(tooManyField(at, rules.length, policyRulesMax));
    const names = [...objects(podSpec.containers), ...objects(podSpec.initContainers)].map((one) => String(one.name));
    for (const [index, rule] of rules.entries())
      errors.push(...failureRuleErrors(spec, rule, `${at}[${index}]`, names));
  }
  if (isObject(spec.successPolicy))
    errors.push(...successPolicyErrors(spec, spec.successPolicy, `${path}.successPolicy`));
  const replacement = spec.podReplacementPolicy;
  if (replacement !== undefined) {
    const allowed = spec.podFailurePolicy === undefined ? ['Failed', 'TerminatingOrFailed'] : ['Failed'];
    if (!allowed.includes(String(replacement)))
      errors.push(notSupported(`${path}.podReplacementPolicy`, replacement, allowed));
  }
  errors.push(...podTemplateErrors(template, `${path}.template`));
  errors.push(...restartPolicyErrors(spec, podSpec.restartPolicy, `${path}.template.spec.restartPolicy`));
  return errors;
}

/** A selector that was made by the server selects just this Job's pods. */
function generatedSelectorErrors(job: JsonObject): FieldError[] {
  const spec = specOf(job);
  if (spec.manualSelector === true || !isObject(spec.selector)) return [];
  const metadata = isObject(job.metadata) ? job.metadata : {};
  const template = isObject(spec.template) ? spec.template : {};
  const given =
    isObject(template.metadata) && isObject(template.metadata.labels) ? template.metadata.labels : ({} as JsonObject);
  const uid = String(metadata.uid ?? '');
  const name = String(metadata.name ?? '');
  const wanted: Record<string, string> = {
    'controller-uid': uid,
    'job-name': name,
    'batch.kubernetes.io/controller-uid': uid,
    'batch.kubernetes.io/job-name': name,
  };
  const errors: FieldError[] = [];
  const path = 'spec.template.metadata.labels';
  for (const label in wanted) {
    if (given[label] === undefined) errors.push(required(`${path}[${label}]`, `must be '${wanted[label]}'`));
    else if (given[label] !== wanted[label])
      errors.push(invalidValue(`${path}[${label}]`, given, `must be '${wanted[label]}'`));
  }
  if (!matchesLabels(labelSelectorOf(spec.selector), wanted))
    errors.push(invalidValue('spec.selector', spec.selector, '`selector` not auto-generated'));
  return errors;
}

function selectorErrors(spec: JsonObject): FieldError[] {
  if (!isObject(spec.selector)) return [required('spec.selector')];
  const errors = labelSelectorErrors(spec.selector, 'spec.selector');
  const template = isObject(spec.template) ? spec.template : {};
  const labels = isObject(template.metadata) && isObject(template.metadata.labels) ? template.metadata.labels : {};
  if (errors.length === 0 && !matchesLabels(labelSelectorOf(spec.selector), labels))
    errors.push(invalidValue('spec.template.metadata.labels', labels, '`selector` does not match template `labels`'));
  return errors;
}

export function jobErrors(job: JsonObject): FieldError[] {
  const spec = specOf(job);
  const errors = [...generatedSelectorErrors(job), ...jobSpecErrors(spec, 'spec'), ...selectorErrors(spec)];
  const name = String((isObject(job.metadata) ? job.metadata.name : undefined) ?? '');
  if (spec.completionMode === 'Indexed' && typeof spec.completions === 'number' && spec.completions > 0) {
    const hostname = `${name}-${spec.completions - 1}`;
    if (dns1123LabelErrors(hostname).length > 0)
      errors.push(
        invalidValue('metadata.name', name, `will not able to create pod with invalid DNS label: ${hostname}`),
      );
  }
  return errors;
}

/** What of the template may change while a Job is suspended and has not begun: where its pods may run and what they ask for. */
function withNewDirectives(template: JsonObject, old: JsonObject): JsonObject {
  const spec = isObject(template.spec) ? template.spec : {};
  const before = isObject(old.spec) ? old.spec : {};
  const metadata = isObject(template.metadata) ? template.metadata : {};
  const take = (from: JsonObject, into: JsonObject, fields: readonly string[]): JsonObject => {
    const out: JsonObject = { ...into };
    for (const field of fields) {
      if (from[field] === undefined) delete out[field];
      else out[field] = from[field];
    }
    return out;
  };
  const podSpec = take(spec, before, ['nodeSelector', 'tolerations', 'schedulingGates']);
  const affinity: JsonObject = { ...(isObject(before.affinity) ? before.affinity : {}) };
  const wanted = isObject(spec.affinity) ? spec.affinity.nodeAffinity : undefined;
  if (wanted === undefined) delete affinity.nodeAffinity;
  else affinity.nodeAffinity = wanted;
  if (Object.keys(affinity).length === 0 && !isObject(spec.affinity)) delete podSpec.affinity;
  else podSpec.affinity = affinity;
  const containers = objects(spec.containers);
  podSpec.containers = objects(before.containers).map((container) => {
    const same = containers.find((other) => other.name === container.name);
    return same === undefined ? container : take(same, container, ['resources']);
  });
  return {
    ...old,
    metadata: take(metadata, isObject(old.metadata) ? old.metadata : {}, ['labels', 'annotations']),
    spec: podSpec,
  };
}

function completionsErrors(spec: JsonObject, old: JsonObject): FieldError[] {
  if (jsonEqual(spec.completions, old.completions)) return [];
  const elastic =
    spec.completionMode === 'Indexed' &&
    spec.completions !== undefined &&
    old.completions !== undefined &&
    spec.completions === spec.parallelism;
  if (elastic) return [];
  const why =
    spec.completionMode === 'Indexed' && spec.completions !== undefined
      ? 'can only be modified in tandem with spec.parallelism'
      : 'field is immutable';
  return [invalidValue('spec.completions', spec.completions, why)];
}

export function jobUpdateErrors(job: JsonObject, old: JsonObject): FieldError[] {
  const spec = specOf(job);
  const before = specOf(old);
  const status = isObject(old.status) ? old.status : {};
  const errors = [...jobSpecErrors(spec, 'spec'), ...selectorErrors(spec), ...completionsErrors(spec, before)];
  errors.push(...immutable(spec, before, 'selector', 'spec'));
  const open = before.suspend === true && status.startTime === undefined;
  const template = isObject(spec.template) ? spec.template : {};
  const oldTemplate = isObject(before.template) ? before.template : {};
  if (!jsonEqual(template, open ? withNewDirectives(template, oldTemplate) : oldTemplate))
    errors.push(invalidValue('spec.template', template, 'field is immutable'));
  for (const field of ['completionMode', 'podFailurePolicy', 'backoffLimitPerIndex', 'managedBy', 'successPolicy'])
    errors.push(...immutable(spec, before, field, 'spec'));
  return errors;
}

const finishedTypes = ['Complete', 'Failed'];

export function jobStatusErrors(job: JsonObject): FieldError[] {
  const status = isObject(job.status) ? job.status : {};
  const errors: FieldError[] = [];
  for (const field of ['active', 'succeeded', 'failed', 'ready', 'terminating'])
    errors.push(...nonNegative(status[field], `status.${field}`));
  if (isObject(status.uncountedTerminatedPods))
    for (const list of ['succeeded', 'failed']) {
      const uids = status.uncountedTerminatedPods[list];
      for (const [index, uid] of (Array.isArray(uids) ? uids : []).entries()) {
        const at = `status.uncountedTerminatedPods.${list}[${index}]`;
        if (uid === '') errors.push(invalidValue(at, uid, 'must not be empty'));
        else if ((uids as Json[]).indexOf(uid) < index) errors.push(duplicate(at, uid));
      }
    }
  const holds = (type: string): boolean =>
    objects(status.conditions).some((condition) => condition.type === type && condition.status === 'True');
  if (finishedTypes.every(holds))
    errors.push(invalidField('status.conditions', 'cannot set Complete=True and Failed=true conditions'));
  return errors;
}

const zonePart = /^[A-Za-z.\-_0-9+]{1,14}$/;

function timeZoneErrors(zone: Json | undefined, path: string): FieldError[] {
  if (typeof zone !== 'string') return [];
  if (zone === '') return [invalidValue(path, zone, 'timeZone must be nil or non-empty string')];
  for (const part of zone.split('/'))
    if (part === '.' || part === '..' || part.startsWith('-') || !zonePart.test(part))
      return [invalidValue(path, zone, `unknown time zone ${zone}`)];
  if (zone.toLowerCase() === 'local')
    return [
      invalidValue(path, zone, 'timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones'),
    ];
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return [];
  } catch {
    return [invalidValue(path, zone, `unknown time zone ${zone}`)];
  }
}

function scheduleErrors(spec: JsonObject, old: JsonObject | undefined): FieldError[] {
  const path = 'spec.schedule';
  const schedule = String(spec.schedule ?? '');
  if (schedule === '') return [required(path)];
  const errors: FieldError[] = [];
  try {
    parseCron(schedule);
  } catch (error) {
    if (!(error instanceof CronError)) throw error;
    errors.push(invalidValue(path, schedule, error.message));
  }
  if (!schedule.includes('TZ')) return errors;
  if (!String(old?.schedule ?? '').includes('TZ'))
    errors.push(invalidValue(path, schedule, 'cannot use TZ or CRON_TZ in schedule, use timeZone field instead'));
  else if (spec.timeZone !== undefined)
    errors.push(invalidValue(path, schedule, 'cannot use both timeZone field and TZ or CRON_TZ in schedule'));
  return errors;
}

const concurrencyPolicies = ['Allow', 'Forbid', 'Replace'];

function cronJobSpecErrors(spec: JsonObject, old: JsonObject | undefined): FieldError[] {
  const errors = scheduleErrors(spec, old);
  errors.push(...nonNegative(spec.startingDeadlineSeconds, 'spec.startingDeadlineSeconds'));
  if (old === undefined || old.timeZone !== spec.timeZone)
    errors.push(...timeZoneErrors(spec.timeZone, 'spec.timeZone'));
  const policy = spec.concurrencyPolicy;
  if (!policy) errors.push(required('spec.concurrencyPolicy'));
  else if (!concurrencyPolicies.includes(String(policy)))
    errors.push(notSupported('spec.concurrencyPolicy', policy, concurrencyPolicies));
  const jobSpec = specOf(isObject(spec.jobTemplate) ? spec.jobTemplate : {});
  const at = 'spec.jobTemplate.spec';
  errors.push(...jobSpecErrors(jobSpec, at));
  if (jobSpec.selector !== undefined)
    errors.push(invalidValue(`${at}.selector`, jobSpec.selector, '`selector` will be auto-generated'));
  if (jobSpec.manualSelector === true) errors.push(notSupported(`${at}.manualSelector`, true, ['nil', 'false']));
  for (const field of ['successfulJobsHistoryLimit', 'failedJobsHistoryLimit'])
    errors.push(...nonNegative(spec[field], `spec.${field}`));
  return errors;
}

/** A Job's name is the CronJob's with eleven characters more. */
const cronJobNameMax = 52;

export function cronJobErrors(cronJob: JsonObject): FieldError[] {
  const errors = cronJobSpecErrors(specOf(cronJob), undefined);
  const name = String((isObject(cronJob.metadata) ? cronJob.metadata.name : undefined) ?? '');
  if (name.length > cronJobNameMax)
    errors.push(invalidValue('metadata.name', name, `must be no more than ${cronJobNameMax} characters`));
  return errors;
}

export function cronJobUpdateErrors(cronJob: JsonObject, old: JsonObject): FieldError[] {
  return cronJobSpecErrors(specOf(cronJob), specOf(old));
}
