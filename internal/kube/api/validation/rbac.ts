import { isObject, type JsonObject, jsonEqual } from '../../machinery/json.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  dns1123SubdomainErrors,
  forbiddenField,
  immutableMessage,
  invalidValue,
  notSupported,
  pathSegmentErrors,
  required,
} from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { labelSelectorErrors } from './pod.ts';

/** Rules of the rbac and scheduling groups (pkg/apis/rbac/validation, pkg/apis/scheduling/validation). */
const group = 'rbac.authorization.k8s.io';

export function roleErrors(role: JsonObject, namespaced: boolean): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, rule] of objects(role.rules).entries()) {
    const at = `rules[${index}]`;
    const list = (key: string): unknown[] => (Array.isArray(rule[key]) ? rule[key] : []);
    if (list('verbs').length === 0) errors.push(required(`${at}.verbs`, 'verbs must contain at least one value'));
    if (list('nonResourceURLs').length > 0) {
      if (namespaced)
        errors.push(
          invalidValue(
            `${at}.nonResourceURLs`,
            rule.nonResourceURLs,
            'namespaced rules cannot apply to non-resource URLs',
          ),
        );
      if (list('apiGroups').length + list('resources').length + list('resourceNames').length > 0)
        errors.push(
          invalidValue(
            `${at}.nonResourceURLs`,
            rule.nonResourceURLs,
            'rules cannot apply to both regular resources and non-resource URLs',
          ),
        );
      continue;
    }
    if (list('apiGroups').length === 0)
      errors.push(required(`${at}.apiGroups`, 'resource rules must supply at least one api group'));
    if (list('resources').length === 0)
      errors.push(required(`${at}.resources`, 'resource rules must supply at least one resource'));
  }
  if (!namespaced && isObject(role.aggregationRule)) {
    const selectors = objects(role.aggregationRule.clusterRoleSelectors);
    const at = 'aggregationRule.clusterRoleSelectors';
    if (selectors.length === 0)
      errors.push(required(at, 'at least one clusterRoleSelector required if aggregationRule is non-nil'));
    for (const [index, selector] of selectors.entries())
      errors.push(...labelSelectorErrors(selector, `${at}[${index}]`));
  }
  return errors;
}

export function roleBindingErrors(binding: JsonObject, namespaced: boolean): FieldError[] {
  const errors: FieldError[] = [];
  const ref = isObject(binding.roleRef) ? binding.roleRef : {};
  const kinds = namespaced ? ['ClusterRole', 'Role'] : ['ClusterRole'];
  if (ref.apiGroup !== group) errors.push(notSupported('roleRef.apiGroup', ref.apiGroup ?? '', [group]));
  if (!kinds.includes(String(ref.kind))) errors.push(notSupported('roleRef.kind', ref.kind ?? '', kinds));
  if (!ref.name) errors.push(required('roleRef.name'));
  else for (const why of pathSegmentErrors(String(ref.name))) errors.push(invalidValue('roleRef.name', ref.name, why));
  for (const [index, subject] of objects(binding.subjects).entries()) {
    const at = `subjects[${index}]`;
    if (!subject.name) errors.push(required(`${at}.name`));
    if (subject.kind === 'ServiceAccount') {
      if (subject.name)
        for (const why of dns1123SubdomainErrors(String(subject.name)))
          errors.push(invalidValue(`${at}.name`, subject.name, why));
      if (subject.apiGroup !== undefined && subject.apiGroup !== '')
        errors.push(notSupported(`${at}.apiGroup`, subject.apiGroup, ['']));
      if (!subject.namespace && !namespaced) errors.push(required(`${at}.namespace`));
    } else if (subject.kind === 'User' || subject.kind === 'Group') {
      if (subject.apiGroup !== group) errors.push(notSupported(`${at}.apiGroup`, subject.apiGroup ?? '', [group]));
    } else errors.push(notSupported(`${at}.kind`, subject.kind ?? '', ['Group', 'ServiceAccount', 'User']));
  }
  return errors;
}

export function roleBindingUpdateErrors(binding: JsonObject, old: JsonObject, namespaced: boolean): FieldError[] {
  const errors = roleBindingErrors(binding, namespaced);
  if (!jsonEqual(binding.roleRef, old.roleRef))
    errors.push(invalidValue('roleRef', binding.roleRef, 'cannot change roleRef'));
  return errors;
}

const systemClasses: Readonly<Record<string, number>> = {
  'system-cluster-critical': 2_000_000_000,
  'system-node-critical': 2_000_001_000,
};

export function priorityClassErrors(priorityClass: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const metadata = isObject(priorityClass.metadata) ? priorityClass.metadata : {};
  const name = String(metadata.name ?? '');
  const value = Number(priorityClass.value ?? 0);
  if (name.startsWith('system-')) {
    if (systemClasses[name] === undefined || systemClasses[name] !== value)
      errors.push(
        forbiddenField(
          'metadata.name',
          "priority class names with 'system-' prefix are reserved for system use only. error: unknown system priority class",
        ),
      );
  } else if (value > 1_000_000_000)
    errors.push(forbiddenField('value', 'maximum allowed value of a user defined priority is 1000000000'));
  if (!['Never', 'PreemptLowerPriority'].includes(String(priorityClass.preemptionPolicy)))
    errors.push(
      notSupported('preemptionPolicy', priorityClass.preemptionPolicy ?? '', ['Never', 'PreemptLowerPriority']),
    );
  return errors;
}

export function priorityClassUpdateErrors(priorityClass: JsonObject, old: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  if (priorityClass.value !== old.value) errors.push(forbiddenField('value', 'may not be changed in an update.'));
  if (priorityClass.preemptionPolicy !== old.preemptionPolicy)
    errors.push(invalidValue('preemptionPolicy', priorityClass.preemptionPolicy, immutableMessage));
  return errors;
}
