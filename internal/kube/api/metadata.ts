import { isObject, type JsonObject, jsonEqual } from '../machinery/json.ts';
import { labelValueErrors, qualifiedNameErrors } from '../machinery/selectors.ts';
import type { FieldError } from '../machinery/status.ts';
import {
  dns1035LabelErrors,
  dns1123LabelErrors,
  dns1123SubdomainErrors,
  forbiddenField,
  immutableMessage,
  invalidValue,
  pathSegmentErrors,
  required,
  tooLongField,
} from '../machinery/validation.ts';
import type { KindInfo } from './kinds.ts';

/** Rules of ObjectMeta that hold for every kind (k8s.io/apimachinery/pkg/api/validation). */
const annotationsBytesMax = 256 * 1024;

function nameErrors(rule: KindInfo['nameRule'], name: string): string[] {
  switch (rule) {
    case 'label':
      return dns1123LabelErrors(name);
    case 'label1035':
      return dns1035LabelErrors(name);
    case 'subdomain':
      return dns1123SubdomainErrors(name);
    default:
      return pathSegmentErrors(name);
  }
}

export function labelErrors(labels: unknown, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!isObject(labels)) return errors;
  for (const key in labels) {
    for (const why of qualifiedNameErrors(key)) errors.push(invalidValue(path, key, why));
    for (const why of labelValueErrors(String(labels[key]))) errors.push(invalidValue(path, labels[key], why));
  }
  return errors;
}

export function annotationErrors(annotations: unknown, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!isObject(annotations)) return errors;
  let bytes = 0;
  for (const key in annotations) {
    for (const why of qualifiedNameErrors(key.toLowerCase())) errors.push(invalidValue(path, key, why));
    bytes += Buffer.byteLength(key) + Buffer.byteLength(String(annotations[key]));
  }
  if (bytes > annotationsBytesMax) errors.push(tooLongField(path, annotationsBytesMax));
  return errors;
}

function ownerErrors(owners: unknown, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!Array.isArray(owners)) return errors;
  let controller: string | undefined;
  for (const [index, owner] of owners.entries()) {
    if (!isObject(owner)) continue;
    const at = `${path}[${index}]`;
    if (!owner.apiVersion) errors.push(invalidValue(`${at}.apiVersion`, '', 'version must not be empty'));
    if (!owner.kind) errors.push(invalidValue(`${at}.kind`, '', 'must not be empty'));
    if (!owner.name) errors.push(invalidValue(`${at}.name`, '', 'must not be empty'));
    if (!owner.uid) errors.push(invalidValue(`${at}.uid`, '', 'must not be empty'));
    if (owner.apiVersion === 'v1' && owner.kind === 'Event')
      errors.push(invalidValue(at, owner, `${owner.apiVersion}, Kind=${owner.kind} is disallowed from being an owner`));
    if (owner.controller !== true) continue;
    const name = `${String(owner.apiVersion)}/${String(owner.kind)}/${String(owner.name)}`;
    if (controller !== undefined)
      errors.push(
        invalidValue(
          path,
          owners,
          `Only one reference can have Controller set to true. Found "true" in references for ${controller} and ${name}`,
        ),
      );
    controller = name;
  }
  return errors;
}

const legacyFinalizers = ['kubernetes', 'orphan', 'foregroundDeletion'];

function finalizerErrors(finalizers: unknown, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!Array.isArray(finalizers)) return errors;
  for (const [index, name] of finalizers.entries()) {
    const text = String(name);
    for (const why of qualifiedNameErrors(text)) errors.push(invalidValue(`${path}[${index}]`, text, why));
    if (!text.includes('/') && !legacyFinalizers.includes(text))
      errors.push(
        invalidValue(`${path}[${index}]`, text, 'name is neither a standard finalizer name nor is it fully qualified'),
      );
  }
  if (finalizers.includes('orphan') && finalizers.includes('foregroundDeletion'))
    errors.push(invalidValue(path, finalizers, 'finalizer orphan and foregroundDeletion cannot be both set'));
  return errors;
}

/** Everything that can be wrong with the metadata of a new object. */
export function metadataErrors(kind: Pick<KindInfo, 'namespaced' | 'nameRule'>, metadata: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const name = String(metadata.name ?? '');
  if (metadata.generateName !== undefined && metadata.generateName !== '') {
    // A trailing dash is allowed in a prefix: upstream masks it.
    const prefix = String(metadata.generateName).replace(/-$/, 'a');
    for (const why of nameErrors(kind.nameRule, prefix))
      errors.push(invalidValue('metadata.generateName', metadata.generateName, why));
  }
  if (name === '') errors.push(required('metadata.name', 'name or generateName is required'));
  else for (const why of nameErrors(kind.nameRule, name)) errors.push(invalidValue('metadata.name', name, why));
  const namespace = String(metadata.namespace ?? '');
  if (kind.namespaced) {
    if (namespace === '') errors.push(required('metadata.namespace'));
    else
      for (const why of dns1123LabelErrors(namespace)) errors.push(invalidValue('metadata.namespace', namespace, why));
  } else if (namespace !== '') errors.push(forbiddenField('metadata.namespace', 'not allowed on this type'));
  errors.push(
    ...labelErrors(metadata.labels, 'metadata.labels'),
    ...annotationErrors(metadata.annotations, 'metadata.annotations'),
    ...ownerErrors(metadata.ownerReferences, 'metadata.ownerReferences'),
    ...finalizerErrors(metadata.finalizers, 'metadata.finalizers'),
  );
  return errors;
}

/** What may not change in metadata by an update. System fields are already carried over from `old`. */
export function metadataUpdateErrors(metadata: JsonObject, old: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of [
    'name',
    'namespace',
    'uid',
    'creationTimestamp',
    'deletionTimestamp',
    'deletionGracePeriodSeconds',
  ])
    if (!jsonEqual(metadata[field], old[field]))
      errors.push(invalidValue(`metadata.${field}`, metadata[field], immutableMessage));
  if (old.deletionTimestamp !== undefined) {
    const before = Array.isArray(old.finalizers) ? old.finalizers : [];
    const added = (Array.isArray(metadata.finalizers) ? metadata.finalizers : []).filter(
      (name) => !before.includes(name),
    );
    if (added.length > 0)
      errors.push(
        forbiddenField(
          'metadata.finalizers',
          `no new finalizers can be added if the object is being deleted, found new finalizers []string{${added.map((name) => JSON.stringify(name)).join(', ')}}`,
        ),
      );
  }
  errors.push(
    ...labelErrors(metadata.labels, 'metadata.labels'),
    ...annotationErrors(metadata.annotations, 'metadata.annotations'),
    ...ownerErrors(metadata.ownerReferences, 'metadata.ownerReferences'),
    ...finalizerErrors(
      (Array.isArray(metadata.finalizers) ? metadata.finalizers : []).filter(
        (name) => !(Array.isArray(old.finalizers) && old.finalizers.includes(name)),
      ),
      'metadata.finalizers',
    ),
  );
  return errors;
}
