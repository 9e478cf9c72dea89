import { isObject, type Json, type JsonObject, jsonEqual } from '../../machinery/json.ts';
import { labelSelectorOf, matchesLabels } from '../../machinery/selectors.ts';
import type { FieldError } from '../../machinery/status.ts';
import { forbiddenField, immutableMessage, invalidValue, notSupported, required } from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { claimSpecErrors } from './storage.ts';
import { nonNegative, oneOf, specOf } from './common.ts';
import { labelSelectorErrors, podTemplateErrors } from './pod.ts';

/** Rules of the apps group (pkg/apis/apps/validation). */
function emptySelector(selector: JsonObject): boolean {
  return (
    (!isObject(selector.matchLabels) || Object.keys(selector.matchLabels).length === 0) &&
    objects(selector.matchExpressions).length === 0
  );
}

/** Selector, template and that they match: what all workloads share. */
function commonErrors(spec: JsonObject, kindName: string): FieldError[] {
  const errors: FieldError[] = [];
  const template = isObject(spec.template) ? spec.template : {};
  if (!isObject(spec.selector)) errors.push(required('spec.selector'));
  else {
    errors.push(...labelSelectorErrors(spec.selector, 'spec.selector'));
    if (emptySelector(spec.selector))
      errors.push(invalidValue('spec.selector', spec.selector, `empty selector is invalid for ${kindName}`));
    else {
      const labels = isObject(template.metadata) && isObject(template.metadata.labels) ? template.metadata.labels : {};
      if (!matchesLabels(labelSelectorOf(spec.selector), labels))
        errors.push(
          invalidValue('spec.template.metadata.labels', labels, '`selector` does not match template `labels`'),
        );
    }
  }
  errors.push(...podTemplateErrors(template, 'spec.template'));
  const podSpec = isObject(template.spec) ? template.spec : {};
  if (podSpec.restartPolicy !== undefined && podSpec.restartPolicy !== 'Always')
    errors.push(notSupported('spec.template.spec.restartPolicy', podSpec.restartPolicy, ['Always']));
  if (podSpec.activeDeadlineSeconds !== undefined)
    errors.push(
      forbiddenField(
        'spec.template.spec.activeDeadlineSeconds',
        `activeDeadlineSeconds in ${kindName} is not Supported`,
      ),
    );
  errors.push(...nonNegative(spec.replicas, 'spec.replicas'));
  errors.push(...nonNegative(spec.minReadySeconds, 'spec.minReadySeconds'));
  errors.push(...nonNegative(spec.revisionHistoryLimit, 'spec.revisionHistoryLimit'));
  return errors;
}

function percentOrCountErrors(value: Json | undefined, path: string): FieldError[] {
  if (typeof value === 'number') return nonNegative(value, path);
  if (typeof value === 'string' && !/^\d+%$/.test(value))
    return [
      invalidValue(
        path,
        value,
        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
      ),
    ];
  return [];
}

function isZero(value: Json | undefined): boolean {
  return value === 0 || (typeof value === 'string' && /^0+%$/.test(value));
}

function over100(value: Json | undefined, path: string): FieldError[] {
  if (typeof value === 'string' && Number(value.slice(0, -1)) > 100)
    return [invalidValue(path, value, 'must not be greater than 100%')];
  return [];
}

function immutableSelector(object: JsonObject, old: JsonObject): FieldError[] {
  const selector = specOf(object).selector;
  return jsonEqual(selector, specOf(old).selector) ? [] : [invalidValue('spec.selector', selector, immutableMessage)];
}

export function deploymentErrors(deployment: JsonObject): FieldError[] {
  const spec = specOf(deployment);
  const errors = commonErrors(spec, 'deployment');
  const strategy = isObject(spec.strategy) ? spec.strategy : {};
  if (strategy.type === 'Recreate') {
    if (strategy.rollingUpdate !== undefined)
      errors.push(
        forbiddenField('spec.strategy.rollingUpdate', "may not be specified when strategy `type` is 'Recreate'"),
      );
  } else if (strategy.type === 'RollingUpdate') {
    const rolling = isObject(strategy.rollingUpdate) ? strategy.rollingUpdate : {};
    const at = 'spec.strategy.rollingUpdate';
    errors.push(...percentOrCountErrors(rolling.maxUnavailable, `${at}.maxUnavailable`));
    errors.push(...percentOrCountErrors(rolling.maxSurge, `${at}.maxSurge`));
    if (isZero(rolling.maxUnavailable) && isZero(rolling.maxSurge))
      errors.push(invalidValue(`${at}.maxUnavailable`, rolling.maxUnavailable, 'may not be 0 when `maxSurge` is 0'));
    errors.push(...over100(rolling.maxUnavailable, `${at}.maxUnavailable`));
  } else errors.push(notSupported('spec.strategy.type', strategy.type ?? '', ['Recreate', 'RollingUpdate']));
  if (typeof spec.progressDeadlineSeconds === 'number') {
    errors.push(...nonNegative(spec.progressDeadlineSeconds, 'spec.progressDeadlineSeconds'));
    if (spec.progressDeadlineSeconds <= Number(spec.minReadySeconds ?? 0))
      errors.push(
        invalidValue(
          'spec.progressDeadlineSeconds',
          spec.progressDeadlineSeconds,
          'must be greater than minReadySeconds',
        ),
      );
  }
  return errors;
}

export function deploymentUpdateErrors(deployment: JsonObject, old: JsonObject): FieldError[] {
  return [...deploymentErrors(deployment), ...immutableSelector(deployment, old)];
}

export function replicaSetErrors(set: JsonObject): FieldError[] {
  return commonErrors(specOf(set), 'replicaset');
}

export function replicaSetUpdateErrors(set: JsonObject, old: JsonObject): FieldError[] {
  return [...replicaSetErrors(set), ...immutableSelector(set, old)];
}

/** The template may mount what its claim templates will give it: for the check those are volumes too. */
function withClaimVolumes(spec: JsonObject): JsonObject {
  const template = isObject(spec.template) ? spec.template : {};
  const podSpec = isObject(template.spec) ? template.spec : {};
  const own = objects(podSpec.volumes);
  const names = own.map((volume) => volume.name);
  const claims = objects(spec.volumeClaimTemplates)
    .map((claim) => (isObject(claim.metadata) ? claim.metadata.name : undefined))
    .filter((name) => name !== undefined && !names.includes(name))
    .map((name): JsonObject => ({ name: name!, persistentVolumeClaim: { claimName: name! } }));
  return { ...spec, template: { ...template, spec: { ...podSpec, volumes: [...own, ...claims] } } };
}

export function statefulSetErrors(set: JsonObject): FieldError[] {
  const spec = specOf(set);
  const errors = commonErrors(withClaimVolumes(spec), 'statefulset');
  if (spec.podManagementPolicy !== 'OrderedReady' && spec.podManagementPolicy !== 'Parallel')
    errors.push(notSupported('spec.podManagementPolicy', spec.podManagementPolicy ?? '', ['OrderedReady', 'Parallel']));
  const strategy = isObject(spec.updateStrategy) ? spec.updateStrategy : {};
  if (strategy.type === 'OnDelete') {
    if (strategy.rollingUpdate !== undefined)
      errors.push(
        invalidValue(
          'spec.updateStrategy.rollingUpdate',
          strategy.rollingUpdate,
          "only allowed for updateStrategy 'RollingUpdate'",
        ),
      );
  } else if (strategy.type === 'RollingUpdate') {
    const rolling = isObject(strategy.rollingUpdate) ? strategy.rollingUpdate : {};
    errors.push(...nonNegative(rolling.partition, 'spec.updateStrategy.rollingUpdate.partition'));
  } else errors.push(notSupported('spec.updateStrategy.type', strategy.type ?? '', ['OnDelete', 'RollingUpdate']));
  const ordinals = isObject(spec.ordinals) ? spec.ordinals : {};
  errors.push(...nonNegative(ordinals.start, 'spec.ordinals.start'));
  const retention = isObject(spec.persistentVolumeClaimRetentionPolicy)
    ? spec.persistentVolumeClaimRetentionPolicy
    : {};
  for (const field of ['whenDeleted', 'whenScaled'])
    errors.push(
      ...oneOf(retention[field], ['Delete', 'Retain'], `spec.persistentVolumeClaimRetentionPolicy.${field}`, true),
    );
  for (const [index, claim] of objects(spec.volumeClaimTemplates).entries())
    errors.push(...claimSpecErrors(isObject(claim.spec) ? claim.spec : {}, `spec.volumeClaimTemplates[${index}].spec`));
  return errors;
}

const statefulSetMutable = [
  'replicas',
  'ordinals',
  'template',
  'updateStrategy',
  'revisionHistoryLimit',
  'persistentVolumeClaimRetentionPolicy',
  'minReadySeconds',
];

export function statefulSetUpdateErrors(set: JsonObject, old: JsonObject): FieldError[] {
  const errors = statefulSetErrors(set);
  const fixed = (spec: JsonObject): JsonObject =>
    Object.fromEntries(Object.entries(spec).filter(([key]) => !statefulSetMutable.includes(key)));
  if (!jsonEqual(fixed(specOf(set)), fixed(specOf(old))))
    errors.push(
      forbiddenField(
        'spec',
        "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
      ),
    );
  return errors;
}

export function daemonSetErrors(set: JsonObject): FieldError[] {
  const spec = specOf(set);
  const errors = commonErrors(spec, 'daemonset');
  const strategy = isObject(spec.updateStrategy) ? spec.updateStrategy : {};
  if (strategy.type === 'RollingUpdate') {
    const rolling = isObject(strategy.rollingUpdate) ? strategy.rollingUpdate : {};
    const at = 'spec.updateStrategy.rollingUpdate';
    errors.push(...percentOrCountErrors(rolling.maxUnavailable, `${at}.maxUnavailable`));
    errors.push(...percentOrCountErrors(rolling.maxSurge, `${at}.maxSurge`));
    if (isZero(rolling.maxUnavailable) && isZero(rolling.maxSurge))
      errors.push(required(`${at}.maxUnavailable`, 'cannot be 0 when maxSurge is 0'));
    if (!isZero(rolling.maxUnavailable) && !isZero(rolling.maxSurge) && rolling.maxSurge !== undefined)
      errors.push(invalidValue(`${at}.maxSurge`, rolling.maxSurge, 'may not be set when maxUnavailable is non-zero'));
  } else if (strategy.type !== 'OnDelete')
    errors.push(notSupported('spec.updateStrategy.type', strategy.type ?? '', ['OnDelete', 'RollingUpdate']));
  return errors;
}

export function daemonSetUpdateErrors(set: JsonObject, old: JsonObject): FieldError[] {
  return [...daemonSetErrors(set), ...immutableSelector(set, old)];
}

export function controllerRevisionErrors(revision: JsonObject): FieldError[] {
  return typeof revision.revision === 'number' && revision.revision < 0
    ? [invalidValue('revision', revision.revision, 'must be greater than or equal to 0')]
    : [];
}

export function controllerRevisionUpdateErrors(revision: JsonObject, old: JsonObject): FieldError[] {
  return jsonEqual(revision.data, old.data) ? [] : [invalidValue('data', revision.data, immutableMessage)];
}

export function disruptionBudgetErrors(budget: JsonObject): FieldError[] {
  const spec = specOf(budget);
  const errors: FieldError[] = [];
  if (spec.minAvailable !== undefined && spec.maxUnavailable !== undefined)
    errors.push(invalidValue('spec', spec, 'minAvailable and maxUnavailable cannot be both set'));
  for (const field of ['minAvailable', 'maxUnavailable']) {
    errors.push(...percentOrCountErrors(spec[field], `spec.${field}`), ...over100(spec[field], `spec.${field}`));
  }
  errors.push(...labelSelectorErrors(spec.selector, 'spec.selector'));
  const policy = spec.unhealthyPodEvictionPolicy;
  if (policy !== undefined && policy !== 'AlwaysAllow' && policy !== 'IfHealthyBudget')
    errors.push(notSupported('spec.unhealthyPodEvictionPolicy', policy, ['AlwaysAllow', 'IfHealthyBudget']));
  return errors;
}

/** Counts of a status: none negative, none greater than what it is a part of. */
function statusCountErrors(
  status: JsonObject,
  counts: readonly string[],
  parts: readonly (readonly [string, string])[],
): FieldError[] {
  const errors = counts.flatMap((field) => nonNegative(status[field], `status.${field}`));
  for (const [part, whole] of parts) {
    const [a, b] = [Number(status[part] ?? 0), Number(status[whole] ?? 0)];
    if (a > b)
      errors.push(
        invalidValue(`status.${part}`, a, `cannot be greater than ${whole === 'replicas' ? 'status.replicas' : whole}`),
      );
  }
  return errors;
}

function statusOf(object: JsonObject): JsonObject {
  return isObject(object.status) ? object.status : {};
}

function collisionErrors(object: JsonObject, old: JsonObject): FieldError[] {
  const now = statusOf(object).collisionCount;
  const before = statusOf(old).collisionCount;
  if (typeof before !== 'number' || (typeof now === 'number' && now >= before)) return [];
  return [invalidValue('status.collisionCount', now ?? 0, 'cannot be decremented')];
}

export function deploymentStatusErrors(deployment: JsonObject, old: JsonObject): FieldError[] {
  return [
    ...statusCountErrors(
      statusOf(deployment),
      [
        'observedGeneration',
        'replicas',
        'updatedReplicas',
        'readyReplicas',
        'availableReplicas',
        'unavailableReplicas',
        'collisionCount',
      ],
      [
        ['updatedReplicas', 'replicas'],
        ['readyReplicas', 'replicas'],
        ['availableReplicas', 'replicas'],
        ['availableReplicas', 'readyReplicas'],
      ],
    ),
    ...collisionErrors(deployment, old),
  ];
}

/** ReplicaSets and ReplicationControllers. */
export function replicaStatusErrors(set: JsonObject): FieldError[] {
  return statusCountErrors(
    statusOf(set),
    ['replicas', 'fullyLabeledReplicas', 'readyReplicas', 'availableReplicas', 'observedGeneration'],
    [
      ['fullyLabeledReplicas', 'replicas'],
      ['readyReplicas', 'replicas'],
      ['availableReplicas', 'replicas'],
      ['availableReplicas', 'readyReplicas'],
    ],
  );
}

export function statefulSetStatusErrors(set: JsonObject, old: JsonObject): FieldError[] {
  return [
    ...statusCountErrors(
      statusOf(set),
      [
        'replicas',
        'readyReplicas',
        'currentReplicas',
        'updatedReplicas',
        'availableReplicas',
        'observedGeneration',
        'collisionCount',
      ],
      [
        ['readyReplicas', 'replicas'],
        ['currentReplicas', 'replicas'],
        ['updatedReplicas', 'replicas'],
        ['availableReplicas', 'replicas'],
        ['availableReplicas', 'readyReplicas'],
      ],
    ),
    ...collisionErrors(set, old),
  ];
}

export function daemonSetStatusErrors(set: JsonObject, old: JsonObject): FieldError[] {
  return [
    ...statusCountErrors(
      statusOf(set),
      [
        'currentNumberScheduled',
        'numberMisscheduled',
        'desiredNumberScheduled',
        'numberReady',
        'observedGeneration',
        'updatedNumberScheduled',
        'numberAvailable',
        'numberUnavailable',
        'collisionCount',
      ],
      [],
    ),
    ...collisionErrors(set, old),
  ];
}

/** pkg/apis/core/validation, ValidateReplicationController */
export function replicationControllerErrors(controller: JsonObject): FieldError[] {
  const spec = specOf(controller);
  const errors = [
    ...nonNegative(spec.minReadySeconds, 'spec.minReadySeconds'),
    ...nonNegative(spec.replicas, 'spec.replicas'),
  ];
  const selector = isObject(spec.selector) ? spec.selector : {};
  if (Object.keys(selector).length === 0) errors.push(required('spec.selector'));
  if (!isObject(spec.template)) return [...errors, required('spec.template')];
  const { template } = spec;
  const labels = isObject(template.metadata) && isObject(template.metadata.labels) ? template.metadata.labels : {};
  if (Object.entries(selector).some(([key, value]) => labels[key] !== value))
    errors.push(invalidValue('spec.template.metadata.labels', labels, '`selector` does not match template `labels`'));
  errors.push(...podTemplateErrors(template, 'spec.template'));
  const policy = isObject(template.spec) ? template.spec.restartPolicy : undefined;
  if (policy !== undefined && policy !== 'Always')
    errors.push(notSupported('spec.template.spec.restartPolicy', policy, ['Always']));
  return errors;
}

export function podTemplateObjectErrors(template: JsonObject): FieldError[] {
  return podTemplateErrors(isObject(template.template) ? template.template : {}, 'template');
}
