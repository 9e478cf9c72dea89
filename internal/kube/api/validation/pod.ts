import { osErrors } from './pod-os.ts';
import { podLevelResourceErrors } from './pod-level-resources.ts';
import { isObject, type Json, type JsonObject, jsonEqual } from '../../machinery/json.ts';
import { labelValueErrors, qualifiedNameErrors } from '../../machinery/selectors.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  dns1123LabelErrors,
  dns1123SubdomainErrors,
  duplicate,
  forbiddenField,
  invalidField,
  invalidValue,
  ipErrors,
  notFoundField,
  notSupported,
  required,
} from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { annotationErrors, labelErrors } from '../metadata.ts';
import { idErrors, oneOf, profileErrors, resourceErrors } from './common.ts';
import { containerErrors } from './container.ts';
import { volumesErrors } from './volume.ts';

/** Rules of pods and pod templates (pkg/apis/core/validation/validation.go), with upstream's field paths and words. */
const restartPolicies = ['Always', 'Never', 'OnFailure'];
const dnsPolicies = ['ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None'];
const searchesMax = 32;
const sysctlPattern = /^([a-z0-9][-_a-z0-9]*[a-z0-9]|[a-z0-9])([./]([a-z0-9][-_a-z0-9]*[a-z0-9]|[a-z0-9]))*$/;

export function tolerationErrors(tolerations: Json | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, toleration] of objects(tolerations).entries()) {
    const at = `${path}[${index}]`;
    const key = String(toleration.key ?? '');
    if (key !== '') for (const why of qualifiedNameErrors(key)) errors.push(invalidValue(`${at}.key`, key, why));
    const operator = toleration.operator ?? 'Equal';
    if (key === '' && operator !== 'Exists')
      errors.push(
        invalidValue(
          `${at}.operator`,
          operator,
          'operator must be Exists when `key` is empty, which means "match all values and all keys"',
        ),
      );
    if (toleration.tolerationSeconds !== undefined && toleration.effect !== 'NoExecute')
      errors.push(
        invalidValue(
          `${at}.effect`,
          toleration.effect ?? '',
          "effect must be 'NoExecute' when `tolerationSeconds` is set",
        ),
      );
    const value = String(toleration.value ?? '');
    if (operator === 'Equal' || operator === '') {
      for (const why of labelValueErrors(value)) errors.push(invalidValue(`${at}.operator`, value, why));
    } else if (operator === 'Exists') {
      if (value !== '')
        errors.push(invalidValue(`${at}.operator`, toleration, "value must be empty when `operator` is 'Exists'"));
    } else errors.push(notSupported(`${at}.operator`, operator, ['Equal', 'Exists']));
    const effect = toleration.effect;
    if (
      effect !== undefined &&
      effect !== '' &&
      !['NoSchedule', 'PreferNoSchedule', 'NoExecute'].includes(String(effect))
    )
      errors.push(notSupported(`${at}.effect`, effect, ['NoSchedule', 'PreferNoSchedule', 'NoExecute']));
  }
  return errors;
}

function nodeSelectorTermErrors(term: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, expression] of objects(term.matchExpressions).entries()) {
    const at = `${path}.matchExpressions[${index}]`;
    const values = Array.isArray(expression.values) ? expression.values : [];
    for (const why of qualifiedNameErrors(String(expression.key ?? '')))
      errors.push(invalidValue(`${at}.key`, expression.key ?? '', why));
    switch (expression.operator) {
      case 'In':
      case 'NotIn':
        if (values.length === 0)
          errors.push(required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
        break;
      case 'Exists':
      case 'DoesNotExist':
        if (values.length > 0)
          errors.push(
            forbiddenField(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
          );
        break;
      case 'Gt':
      case 'Lt':
        if (values.length !== 1)
          errors.push(required(`${at}.values`, "must be specified single value when `operator` is 'Lt' or 'Gt'"));
        break;
      default:
        errors.push(invalidValue(`${at}.operator`, expression.operator ?? '', 'not a valid selector operator'));
    }
  }
  for (const [index, field] of objects(term.matchFields).entries()) {
    const at = `${path}.matchFields[${index}]`;
    if (field.key !== 'metadata.name')
      errors.push(invalidValue(`${at}.key`, field.key ?? '', 'not a valid field selector key'));
    if (field.operator !== 'In' && field.operator !== 'NotIn')
      errors.push(invalidValue(`${at}.operator`, field.operator ?? '', 'not a valid selector operator'));
    if (!Array.isArray(field.values) || field.values.length !== 1)
      errors.push(
        required(`${at}.values`, "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"),
      );
  }
  return errors;
}

/** A NodeSelector: node affinity of pods and of volumes. */
export function nodeSelectorErrors(selector: JsonObject, path: string): FieldError[] {
  const terms = objects(selector.nodeSelectorTerms);
  if (terms.length === 0) return [required(`${path}.nodeSelectorTerms`, 'must have at least one node selector term')];
  return terms.flatMap((term, index) => nodeSelectorTermErrors(term, `${path}.nodeSelectorTerms[${index}]`));
}

/** A metav1.LabelSelector. */
export function labelSelectorErrors(selector: Json | undefined, path: string): FieldError[] {
  if (!isObject(selector)) return [];
  const errors = labelErrors(selector.matchLabels, `${path}.matchLabels`);
  for (const [index, expression] of objects(selector.matchExpressions).entries()) {
    const at = `${path}.matchExpressions[${index}]`;
    const values = Array.isArray(expression.values) ? expression.values : [];
    if (expression.operator === 'In' || expression.operator === 'NotIn') {
      if (values.length === 0)
        errors.push(required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
    } else if (expression.operator === 'Exists' || expression.operator === 'DoesNotExist') {
      if (values.length > 0)
        errors.push(
          forbiddenField(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
        );
    } else errors.push(invalidValue(`${at}.operator`, expression.operator ?? '', 'not a valid selector operator'));
    for (const why of qualifiedNameErrors(String(expression.key ?? '')))
      errors.push(invalidValue(`${at}.key`, expression.key ?? '', why));
  }
  return errors;
}

function podAffinityTermErrors(term: JsonObject, path: string): FieldError[] {
  const errors = labelSelectorErrors(term.labelSelector, `${path}.labelSelector`);
  const key = String(term.topologyKey ?? '');
  if (key === '') errors.push(required(`${path}.topologyKey`, 'can not be empty'));
  else for (const why of qualifiedNameErrors(key)) errors.push(invalidValue(`${path}.topologyKey`, key, why));
  return errors;
}

function affinityErrors(affinity: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (isObject(affinity.nodeAffinity)) {
    const at = `${path}.nodeAffinity`;
    const hard = affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution;
    if (isObject(hard))
      errors.push(...nodeSelectorErrors(hard, `${at}.requiredDuringSchedulingIgnoredDuringExecution`));
    for (const [index, term] of objects(
      affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution,
    ).entries()) {
      const place = `${at}.preferredDuringSchedulingIgnoredDuringExecution[${index}]`;
      const weight = Number(term.weight ?? 0);
      if (weight <= 0 || weight > 100)
        errors.push(invalidValue(`${place}.weight`, weight, 'must be in the range 1-100'));
      if (isObject(term.preference)) errors.push(...nodeSelectorTermErrors(term.preference, `${place}.preference`));
    }
  }
  for (const name of ['podAffinity', 'podAntiAffinity']) {
    const value = affinity[name];
    if (!isObject(value)) continue;
    const at = `${path}.${name}`;
    for (const [index, term] of objects(value.requiredDuringSchedulingIgnoredDuringExecution).entries())
      errors.push(...podAffinityTermErrors(term, `${at}.requiredDuringSchedulingIgnoredDuringExecution[${index}]`));
    for (const [index, term] of objects(value.preferredDuringSchedulingIgnoredDuringExecution).entries()) {
      const place = `${at}.preferredDuringSchedulingIgnoredDuringExecution[${index}]`;
      const weight = Number(term.weight ?? 0);
      if (weight <= 0 || weight > 100)
        errors.push(invalidValue(`${place}.weight`, weight, 'must be in the range 1-100'));
      if (isObject(term.podAffinityTerm))
        errors.push(...podAffinityTermErrors(term.podAffinityTerm, `${place}.podAffinityTerm`));
    }
  }
  return errors;
}

function securityContextErrors(context: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const name of ['runAsUser', 'runAsGroup', 'fsGroup']) errors.push(...idErrors(context[name], `${path}.${name}`));
  for (const [index, id] of (Array.isArray(context.supplementalGroups) ? context.supplementalGroups : []).entries())
    errors.push(...idErrors(id, `${path}.supplementalGroups[${index}]`));
  errors.push(
    ...profileErrors(context.seccompProfile, `${path}.seccompProfile`, 'seccomp'),
    ...profileErrors(context.appArmorProfile, `${path}.appArmorProfile`, 'AppArmor'),
    ...oneOf(context.fsGroupChangePolicy, ['Always', 'OnRootMismatch'], `${path}.fsGroupChangePolicy`, true),
    ...oneOf(context.supplementalGroupsPolicy, ['Merge', 'Strict'], `${path}.supplementalGroupsPolicy`, true),
  );
  const seen = new Set<string>();
  for (const [index, sysctl] of objects(context.sysctls).entries()) {
    const name = String(sysctl.name ?? '');
    const at = `${path}.sysctls[${index}].name`;
    if (name === '') errors.push(required(at));
    else if (name.length > 253 || !sysctlPattern.test(name))
      errors.push(
        invalidValue(
          at,
          name,
          'must have at most 253 characters and match regex ^([a-z0-9][-_a-z0-9]*[a-z0-9]|[a-z0-9])([\\./]([a-z0-9][-_a-z0-9]*[a-z0-9]|[a-z0-9]))*$',
        ),
      );
    else if (seen.has(name.replaceAll('/', '.'))) errors.push(duplicate(at, name));
    seen.add(name.replaceAll('/', '.'));
  }
  return errors;
}

function dnsConfigErrors(spec: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const config = isObject(spec.dnsConfig) ? spec.dnsConfig : undefined;
  const servers = Array.isArray(config?.nameservers) ? config.nameservers : [];
  if (spec.dnsPolicy === 'None' && servers.length === 0)
    errors.push(
      required(`${path}.dnsConfig.nameservers`, 'must provide at least one DNS nameserver when `dnsPolicy` is None'),
    );
  if (servers.length > 3)
    errors.push(invalidValue(`${path}.dnsConfig.nameservers`, servers, 'must not have more than 3 nameservers'));
  for (const [index, server] of servers.entries())
    for (const why of ipErrors(String(server)))
      errors.push(invalidValue(`${path}.dnsConfig.nameservers[${index}]`, server, why));
  const searches = Array.isArray(config?.searches) ? config.searches : [];
  if (searches.length > searchesMax)
    errors.push(
      invalidValue(`${path}.dnsConfig.searches`, searches, `must not have more than ${searchesMax} search paths`),
    );
  for (const [index, search] of searches.entries())
    for (const why of dns1123SubdomainErrors(String(search).replace(/\.$/, '').replaceAll('_', '-')))
      if (search !== '.') errors.push(invalidValue(`${path}.dnsConfig.searches[${index}]`, search, why));
  for (const [index, option] of objects(config?.options).entries())
    if (!option.name) errors.push(required(`${path}.dnsConfig.options[${index}]`, 'must not be empty'));
  return errors;
}

/** A pod's spec at `path`. */
export function podSpecErrors(spec: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const volumes = volumesErrors(spec.volumes, `${path}.volumes`);
  errors.push(...volumes.errors);
  errors.push(...containerErrors(spec, path, volumes.names));
  if (!restartPolicies.includes(String(spec.restartPolicy))) {
    if (spec.restartPolicy === undefined || spec.restartPolicy === '') errors.push(required(`${path}.restartPolicy`));
    else errors.push(notSupported(`${path}.restartPolicy`, spec.restartPolicy, restartPolicies));
  }
  if (!dnsPolicies.includes(String(spec.dnsPolicy)))
    errors.push(
      spec.dnsPolicy === undefined || spec.dnsPolicy === ''
        ? required(`${path}.dnsPolicy`)
        : notSupported(`${path}.dnsPolicy`, spec.dnsPolicy, dnsPolicies),
    );
  errors.push(...labelErrors(spec.nodeSelector, `${path}.nodeSelector`));
  errors.push(...dnsConfigErrors(spec, path));
  if (isObject(spec.securityContext))
    errors.push(...securityContextErrors(spec.securityContext, `${path}.securityContext`));
  if (typeof spec.serviceAccountName === 'string' && spec.serviceAccountName !== '')
    for (const why of dns1123SubdomainErrors(spec.serviceAccountName))
      errors.push(invalidValue(`${path}.serviceAccountName`, spec.serviceAccountName, why));
  if (typeof spec.nodeName === 'string' && spec.nodeName !== '')
    for (const why of dns1123SubdomainErrors(spec.nodeName))
      errors.push(invalidValue(`${path}.nodeName`, spec.nodeName, why));
  if (spec.activeDeadlineSeconds !== undefined) {
    const value = Number(spec.activeDeadlineSeconds);
    if (value < 1 || value > 2 ** 31 - 1)
      errors.push(invalidValue(`${path}.activeDeadlineSeconds`, value, 'must be between 1 and 2147483647, inclusive'));
  }
  if (typeof spec.terminationGracePeriodSeconds === 'number' && spec.terminationGracePeriodSeconds < 0)
    errors.push(
      invalidValue(
        `${path}.terminationGracePeriodSeconds`,
        spec.terminationGracePeriodSeconds,
        'must be greater than or equal to 0',
      ),
    );
  for (const name of ['hostname', 'subdomain'])
    if (typeof spec[name] === 'string' && spec[name] !== '')
      for (const why of dns1123LabelErrors(spec[name])) errors.push(invalidValue(`${path}.${name}`, spec[name], why));
  if (isObject(spec.affinity)) errors.push(...affinityErrors(spec.affinity, `${path}.affinity`));
  errors.push(...tolerationErrors(spec.tolerations, `${path}.tolerations`));
  errors.push(...placeErrors(spec, path), ...nodeErrors(spec, path), ...osErrors(spec, path));
  errors.push(...podLevelResourceErrors(spec, path));
  return errors;
}

/** Gates and topology: where a pod may run. */
function placeErrors(spec: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const gates = objects(spec.schedulingGates).map((gate) => String(gate.name ?? ''));
  for (const [index, gate] of gates.entries()) {
    for (const why of qualifiedNameErrors(gate))
      errors.push(invalidValue(`${path}.schedulingGates[${index}]`, gate, why));
    if (gates.indexOf(gate) < index) errors.push(duplicate(`${path}.schedulingGates[${index}]`, gate));
  }
  const constraints = objects(spec.topologySpreadConstraints);
  for (const [index, constraint] of constraints.entries()) {
    const at = `${path}.topologySpreadConstraints[${index}]`;
    const { topologyKey, whenUnsatisfiable, minDomains } = constraint;
    if (Number(constraint.maxSkew ?? 0) <= 0)
      errors.push(invalidValue(`${at}.maxSkew`, constraint.maxSkew ?? 0, 'must be greater than zero'));
    if (!topologyKey) errors.push(required(`${at}.topologyKey`, 'can not be empty'));
    if (!['DoNotSchedule', 'ScheduleAnyway'].includes(String(whenUnsatisfiable)))
      errors.push(
        notSupported(`${at}.whenUnsatisfiable`, whenUnsatisfiable ?? '', ['DoNotSchedule', 'ScheduleAnyway']),
      );
    const same = (other: JsonObject): boolean =>
      other.topologyKey === topologyKey && other.whenUnsatisfiable === whenUnsatisfiable;
    if (constraints.findIndex(same) < index)
      errors.push(
        duplicate(`${at}.{topologyKey, whenUnsatisfiable}`, `{${String(topologyKey)}, ${String(whenUnsatisfiable)}}`),
      );
    if (typeof minDomains === 'number') {
      if (minDomains <= 0) errors.push(invalidValue(`${at}.minDomains`, minDomains, 'must be greater than 0'));
      if (whenUnsatisfiable !== 'DoNotSchedule')
        errors.push(
          invalidValue(
            `${at}.minDomains`,
            minDomains,
            'can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway',
          ),
        );
    }
    for (const field of ['nodeAffinityPolicy', 'nodeTaintsPolicy'])
      errors.push(...oneOf(constraint[field], ['Honor', 'Ignore'], `${at}.${field}`, true));
    errors.push(...labelSelectorErrors(constraint.labelSelector, `${at}.labelSelector`));
  }
  return errors;
}

/** What a pod asks of its node and shares with it. */
function nodeErrors(spec: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, alias] of objects(spec.hostAliases).entries()) {
    const at = `${path}.hostAliases[${index}]`;
    for (const why of ipErrors(String(alias.ip ?? ''))) errors.push(invalidValue(`${at}.ip`, alias.ip ?? '', why));
    for (const [i, name] of (Array.isArray(alias.hostnames) ? alias.hostnames : []).entries())
      for (const why of dns1123SubdomainErrors(String(name)))
        errors.push(invalidValue(`${at}.hostnames[${i}]`, name, why));
  }
  for (const [index, secret] of objects(spec.imagePullSecrets).entries())
    if (!secret.name) errors.push(required(`${path}.imagePullSecrets[${index}].name`));
  for (const [index, gate] of objects(spec.readinessGates).entries())
    for (const why of qualifiedNameErrors(String(gate.conditionType ?? '')))
      errors.push(invalidValue(`${path}.readinessGates[${index}].conditionType`, gate.conditionType ?? '', why));
  if (spec.shareProcessNamespace === true && spec.hostPID === true)
    errors.push(
      invalidValue(`${path}.shareProcessNamespace`, true, 'ShareProcessNamespace and HostPID cannot both be enabled'),
    );
  if (spec.hostUsers === false)
    for (const [field, word] of [
      ['hostNetwork', 'HostNetwork'],
      ['hostPID', 'HostPID'],
      ['hostIPC', 'HostIPC'],
    ] as const)
      if (spec[field] === true)
        errors.push(
          forbiddenField(
            `${path}.${field}`,
            `when \`pod.Spec.HostUsers\` is false, \`pod.Spec.${word}\` must be false`,
          ),
        );
  for (const field of ['runtimeClassName', 'priorityClassName']) {
    const value = spec[field];
    if (typeof value === 'string' && value !== '')
      for (const why of dns1123SubdomainErrors(value)) errors.push(invalidValue(`${path}.${field}`, value, why));
  }
  if (isObject(spec.os)) errors.push(...oneOf(spec.os.name, ['linux', 'windows'], `${path}.os.name`));
  errors.push(...oneOf(spec.preemptionPolicy, ['Never', 'PreemptLowerPriority'], `${path}.preemptionPolicy`, true));
  if (isObject(spec.overhead)) errors.push(...resourceErrors({ limits: spec.overhead }, `${path}.overhead`));
  errors.push(...claimReferenceErrors(spec, path));
  return errors;
}

/** Claims of devices: named once, from a claim or from a template, and used by containers by that name. */
function claimReferenceErrors(spec: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const claims = objects(spec.resourceClaims);
  const names = claims.map((claim) => String(claim.name ?? ''));
  for (const [index, claim] of claims.entries()) {
    const at = `${path}.resourceClaims[${index}]`;
    const name = names[index]!;
    if (name === '') errors.push(required(`${at}.name`));
    else for (const why of dns1123LabelErrors(name)) errors.push(invalidValue(`${at}.name`, name, why));
    if (names.indexOf(name) < index) errors.push(duplicate(`${at}.name`, name));
    const sources = ['resourceClaimName', 'resourceClaimTemplateName'].filter((field) => claim[field] !== undefined);
    const rule = 'must specify one of: `resourceClaimName`, `resourceClaimTemplateName`';
    if (sources.length === 0) errors.push(invalidField(at, rule));
    if (sources.length > 1)
      errors.push(
        invalidField(at, 'at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified'),
      );
  }
  for (const list of ['initContainers', 'containers'])
    for (const [index, container] of objects(spec[list]).entries()) {
      const used = isObject(container.resources) ? objects(container.resources.claims) : [];
      for (const [i, claim] of used.entries())
        if (!names.includes(String(claim.name ?? '')))
          errors.push(notFoundField(`${path}.${list}[${index}].resources.claims[${i}]`, claim.name ?? ''));
    }
  return errors;
}

/** A PodTemplateSpec at `path`. */
export function podTemplateErrors(template: JsonObject, path: string): FieldError[] {
  const metadata = isObject(template.metadata) ? template.metadata : {};
  return [
    ...labelErrors(metadata.labels, `${path}.labels`),
    ...annotationErrors(metadata.annotations, `${path}.annotations`),
    ...podSpecErrors(isObject(template.spec) ? template.spec : {}, `${path}.spec`),
  ];
}

export function podErrors(pod: JsonObject): FieldError[] {
  const spec = isObject(pod.spec) ? pod.spec : {};
  const errors = podSpecErrors(spec, 'spec');
  if (objects(spec.ephemeralContainers).length > 0)
    errors.push(forbiddenField('spec.ephemeralContainers', 'cannot be set on create'));
  if (typeof spec.nodeName === 'string' && spec.nodeName !== '' && objects(spec.schedulingGates).length > 0)
    errors.push(forbiddenField('spec.nodeName', 'cannot be set until all schedulingGates have been cleared'));
  return errors;
}

const updateText =
  'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)';

/** The spec as it would be had none of the changeable fields changed. */
function withOldMutableFields(spec: JsonObject, old: JsonObject): JsonObject {
  const out: JsonObject = { ...spec };
  for (const list of ['containers', 'initContainers']) {
    const before = objects(old[list]);
    if (Array.isArray(spec[list]))
      out[list] = objects(spec[list]).map((container, index) =>
        before[index] === undefined ? container : { ...container, image: before[index].image ?? '' },
      );
  }
  for (const field of ['activeDeadlineSeconds', 'tolerations', 'terminationGracePeriodSeconds', 'schedulingGates'])
    if (old[field] === undefined) delete out[field];
    else out[field] = old[field];
  if (objects(old.schedulingGates).length > 0) {
    // A gated pod is not placed yet: where it may go can still be narrowed.
    for (const field of ['nodeSelector', 'affinity']) {
      if (old[field] === undefined) delete out[field];
      else out[field] = old[field];
    }
  }
  return out;
}

/** What an update through the main resource may not do. */
export function podUpdateErrors(pod: JsonObject, oldPod: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const spec = isObject(pod.spec) ? pod.spec : {};
  const old = isObject(oldPod.spec) ? oldPod.spec : {};
  for (const list of ['containers', 'initContainers']) {
    const before = objects(old[list]);
    const now = objects(spec[list]);
    if (before.length !== now.length) {
      errors.push(forbiddenField(`spec.${list}`, 'pod updates may not add or remove containers'));
      return errors;
    }
    for (const [index, container] of now.entries())
      if (typeof container.image !== 'string' || container.image === '')
        errors.push(required(`spec.${list}[${index}].image`));
  }
  const deadline = spec.activeDeadlineSeconds;
  if (deadline === undefined && old.activeDeadlineSeconds !== undefined)
    errors.push(
      invalidValue('spec.activeDeadlineSeconds', null, 'must not update from a positive integer to nil value'),
    );
  if (
    typeof deadline === 'number' &&
    typeof old.activeDeadlineSeconds === 'number' &&
    deadline > old.activeDeadlineSeconds
  )
    errors.push(invalidValue('spec.activeDeadlineSeconds', deadline, `must be less than or equal to previous value`));
  const before = objects(old.tolerations);
  const after = objects(spec.tolerations);
  for (const toleration of before)
    if (
      !after.some((other) =>
        jsonEqual({ ...other, tolerationSeconds: undefined }, { ...toleration, tolerationSeconds: undefined }),
      )
    ) {
      errors.push(
        forbiddenField('spec.tolerations', 'existing toleration can not be modified except its tolerationSeconds'),
      );
      break;
    }
  errors.push(...tolerationErrors(spec.tolerations, 'spec.tolerations'));
  const gatesBefore = objects(old.schedulingGates).map((gate) => gate.name);
  for (const gate of objects(spec.schedulingGates))
    if (!gatesBefore.includes(gate.name)) {
      errors.push(forbiddenField('spec.schedulingGates', 'only deletion is allowed, but found new scheduling gate'));
      break;
    }
  if (!jsonEqual(withOldMutableFields(spec, old), old)) errors.push(forbiddenField('spec', updateText));
  return errors;
}
