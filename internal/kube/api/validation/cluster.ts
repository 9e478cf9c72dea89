import { isObject, type JsonObject, jsonEqual } from '../../machinery/json.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  dns1035LabelErrors,
  dns1123LabelErrors,
  dns1123SubdomainErrors,
  duplicate,
  forbiddenField,
  invalidValue,
  portNumberErrors,
  required,
} from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { labelErrors } from '../metadata.ts';
import { immutable, metadataOf, oneOf, part, resourceErrors, specOf } from './common.ts';
import { tolerationErrors } from './pod.ts';
import { parametersErrors, provisionerErrors } from './storage.ts';

/** Rules of RuntimeClasses, VolumeAttributesClasses and APIServices. */

/** pkg/apis/node/validation/validation.go */
export function runtimeClassErrors(runtimeClass: JsonObject): FieldError[] {
  const handler = String(runtimeClass.handler ?? '');
  const errors = dns1123LabelErrors(handler).map((why) => invalidValue('handler', handler, why));
  if (isObject(runtimeClass.overhead) && isObject(runtimeClass.overhead.podFixed))
    errors.push(...resourceErrors({ limits: runtimeClass.overhead.podFixed }, 'overhead.podFixed'));
  const scheduling = part(runtimeClass, 'scheduling');
  errors.push(...labelErrors(scheduling.nodeSelector, 'scheduling.nodeSelector'));
  const tolerations = objects(scheduling.tolerations);
  errors.push(...tolerationErrors(scheduling.tolerations, 'scheduling.tolerations'));
  for (const [index, toleration] of tolerations.entries())
    if (tolerations.findIndex((other) => jsonEqual(other, toleration)) < index)
      errors.push(duplicate(`scheduling.tolerations[${index}]`, toleration));
  return errors;
}

export function runtimeClassUpdateErrors(runtimeClass: JsonObject, old: JsonObject): FieldError[] {
  return immutable(runtimeClass, old, 'handler', '');
}

/** pkg/apis/storage/validation/validation.go */
export function volumeAttributesClassErrors(attributes: JsonObject): FieldError[] {
  const errors = provisionerErrors(attributes.driverName, 'driverName');
  if (Object.keys(part(attributes, 'parameters')).length === 0)
    errors.push(required('parameters', 'must contain at least one key/value pair'));
  return [...errors, ...parametersErrors(attributes.parameters, 'parameters')];
}

export function volumeAttributesClassUpdateErrors(attributes: JsonObject, old: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  if (attributes.driverName !== old.driverName)
    errors.push(forbiddenField('driverName', 'updates to driverName are forbidden.'));
  if (!jsonEqual(attributes.parameters, old.parameters))
    errors.push(forbiddenField('parameters', 'updates to parameters are forbidden.'));
  return errors;
}

const groupPriorityMax = 20_000;
const versionPriorityMax = 1000;

/** k8s.io/kube-aggregator/pkg/apis/apiregistration/validation */
export function apiServiceErrors(apiService: JsonObject): FieldError[] {
  const spec = specOf(apiService);
  const group = String(spec.group ?? '');
  const version = String(spec.version ?? '');
  const errors: FieldError[] = [];
  const name = String(metadataOf(apiService).name ?? '');
  if (name !== `${version}.${group}`)
    errors.push(
      invalidValue(
        'metadata.name',
        name,
        `must be \`spec.version+"."+spec.group\`: ${JSON.stringify(`${version}.${group}`)}`,
      ),
    );
  if (group === '' && version !== 'v1')
    errors.push(required('spec.group', 'only v1 may have an empty group and it better be legacy kube'));
  if (group !== '')
    for (const why of dns1123SubdomainErrors(group)) errors.push(invalidValue('spec.group', group, why));
  for (const why of dns1035LabelErrors(version)) errors.push(invalidValue('spec.version', version, why));
  for (const [field, max] of [
    ['groupPriorityMinimum', groupPriorityMax],
    ['versionPriority', versionPriorityMax],
  ] as const) {
    const value = Number(spec[field] ?? 0);
    if (value <= 0 || value > max)
      errors.push(invalidValue(`spec.${field}`, value, `must be positive and less than ${max}`));
  }
  const bundle = String(spec.caBundle ?? '');
  const insecure = spec.insecureSkipTLSVerify === true;
  if (!isObject(spec.service)) {
    if (bundle !== '')
      errors.push(
        invalidValue(
          'spec.caBundle',
          `${Buffer.from(bundle, 'base64').length} bytes`,
          'local APIServices may not have a caBundle',
        ),
      );
    if (insecure)
      errors.push(
        invalidValue('spec.insecureSkipTLSVerify', true, 'local APIServices may not have insecureSkipTLSVerify'),
      );
    return errors;
  }
  for (const field of ['namespace', 'name']) if (!spec.service[field]) errors.push(required(`spec.service.${field}`));
  const port = Number(spec.service.port ?? 0);
  const why = portNumberErrors(port);
  if (why.length > 0) errors.push(invalidValue('spec.service.port', port, `port is not valid: ${why.join(', ')}`));
  if (insecure && bundle !== '')
    errors.push(invalidValue('spec.insecureSkipTLSVerify', true, 'may not be true if caBundle is present'));
  return errors;
}

export function apiServiceStatusErrors(apiService: JsonObject): FieldError[] {
  return objects(part(apiService, 'status').conditions).flatMap((condition, index) =>
    oneOf(condition.status, ['False', 'True', 'Unknown'], `status.conditions[${index}].status`),
  );
}
