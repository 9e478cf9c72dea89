import { randomName, uuid } from '../../base/random.ts';
import { isObject, type Json, type JsonObject, jsonEqual } from '../machinery/json.ts';
import { badRequest, conflict, invalid } from '../machinery/status.ts';
import { formatTime, parseTime } from '../machinery/time.ts';
import { invalidValue } from '../machinery/validation.ts';
import type { KindInfo, StrategyContext } from './kinds.ts';
import { metadataErrors, metadataUpdateErrors } from './metadata.ts';

/**
 * What happens to an object between decoding and the store, for every kind: the rules of metadata and the kind's strategy in upstream's order
 * (k8s.io/apiserver/pkg/registry/rest/{create,update,delete}.go). Admission runs after `fillDefaults` and before `beforeCreate`/`beforeUpdate`.
 */

/** Longest prefix that generateName keeps: the name must fit a DNS label. */
const generatedPrefixMax = 63 - 5;

/** Defaults of the kind. Also for what is read back. */
export function fillDefaults(kind: KindInfo, object: JsonObject): void {
  kind.strategy.defaults?.(object);
}

function metadataOf(object: JsonObject): JsonObject {
  if (!isObject(object.metadata)) object.metadata = {};
  return object.metadata;
}

function checkNamespace(kind: KindInfo, metadata: JsonObject, namespace: string | undefined): void {
  if (!kind.namespaced) {
    delete metadata.namespace;
    return;
  }
  if (namespace === undefined) return;
  if (metadata.namespace === undefined || metadata.namespace === '') metadata.namespace = namespace;
  if (metadata.namespace !== namespace)
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
}

/**
 * Prepares a new object: name from generateName, uid, creationTimestamp, generation, cleared system fields; then validates. Throws StatusError 422, or 400
 * for a namespace that is not the request's. To try another generated name, start again from a copy of the object as it was before.
 */
export function beforeCreate(
  kind: KindInfo,
  object: JsonObject,
  request: { namespace: string | undefined },
  context: StrategyContext,
): void {
  const metadata = metadataOf(object);
  checkNamespace(kind, metadata, request.namespace);
  if (metadata.resourceVersion !== undefined && metadata.resourceVersion !== '')
    throw badRequest('resourceVersion should not be set on objects to be created');
  for (const field of ['deletionTimestamp', 'deletionGracePeriodSeconds', 'selfLink', 'resourceVersion', 'generation'])
    delete metadata[field];
  if (kind.subresources.status !== undefined && kind.strategy.statusOnCreate !== true) delete object.status;
  metadata.creationTimestamp = formatTime(context.now());
  metadata.uid = uuid(context.random);
  if (
    (metadata.name === undefined || metadata.name === '') &&
    typeof metadata.generateName === 'string' &&
    metadata.generateName !== ''
  )
    metadata.name = `${metadata.generateName.slice(0, generatedPrefixMax)}${randomName(context.random)}`;
  // Name and uid are known to it: a Job's labels are made of them.
  kind.strategy.prepareForCreate?.(object, context);
  if (kind.strategy.generation === true) metadata.generation = 1;
  if (kind.virtual) return;
  const errors = [...metadataErrors(kind, metadata), ...(kind.strategy.validate?.(object) ?? [])];
  if (errors.length > 0) throw invalid(kind.group, kind.kind, String(metadata.name ?? ''), errors);
}

/** Everything but metadata and status, as one comparable object. */
function specOf(object: JsonObject): JsonObject {
  const { metadata: _metadata, status: _status, ...rest } = object;
  return rest;
}

/** A subresource that writes status keeps all else, but metadata may change with it (labels, annotations, finalizers). */
function keepAllButStatus(object: JsonObject, old: JsonObject): void {
  for (const key of Object.keys(object)) if (key !== 'metadata' && key !== 'status') delete object[key];
  for (const key in old) if (key !== 'metadata' && key !== 'status') object[key] = old[key] as Json;
}

/**
 * Prepares an update through the main resource (`subresource` '') or a subresource that writes the parent (`status`, …): system fields from `old`, generation
 * + 1 when the spec changed; then validates. Throws StatusError 422, 409 for a uid that differs.
 */
export function beforeUpdate(
  kind: KindInfo,
  subresource: string,
  object: JsonObject,
  old: JsonObject,
  context: StrategyContext,
): void {
  const metadata = metadataOf(object);
  const before = metadataOf(old);
  checkNamespace(kind, metadata, before.namespace as string | undefined);
  if (metadata.uid !== undefined && metadata.uid !== '' && metadata.uid !== before.uid)
    throw conflict(
      { group: kind.group, resource: kind.plural },
      String(before.name),
      `Precondition failed: UID in precondition: ${String(metadata.uid)}, UID in object meta: ${String(before.uid)}`,
    );
  for (const field of ['uid', 'creationTimestamp', 'generation', 'generateName']) {
    if (before[field] === undefined) delete metadata[field];
    else metadata[field] = before[field];
  }
  for (const field of ['deletionTimestamp', 'deletionGracePeriodSeconds'])
    if (before[field] !== undefined) metadata[field] = before[field];
    else if (metadata[field] === null) delete metadata[field];
  delete metadata.selfLink;
  if (
    (metadata.resourceVersion === undefined || metadata.resourceVersion === '') &&
    kind.strategy.allowUnconditionalUpdate === false
  )
    throw invalid(kind.group, kind.kind, String(before.name), [
      invalidValue('metadata.resourceVersion', '', 'must be specified for an update'),
    ]);
  const special = subresource === '' ? undefined : kind.strategy.subresources?.[subresource];
  if (subresource === '') {
    if (kind.subresources.status !== undefined) {
      if (old.status === undefined) delete object.status;
      else object.status = old.status;
    }
    kind.strategy.prepareForUpdate?.(object, old, context);
  } else {
    if (subresource === 'status') keepAllButStatus(object, old);
    special?.prepareForUpdate?.(object, old, context);
  }
  if (kind.strategy.generation === true) {
    const changed = kind.strategy.specChanged?.(object, old) ?? !jsonEqual(specOf(object), specOf(old));
    if (changed) metadata.generation = Number(before.generation ?? 0) + 1;
  }
  const errors = metadataUpdateErrors(metadata, before);
  if (subresource === '')
    errors.push(...(kind.strategy.validateUpdate?.(object, old) ?? kind.strategy.validate?.(object) ?? []));
  else errors.push(...(special?.validateUpdate?.(object, old) ?? []));
  if (errors.length > 0) throw invalid(kind.group, kind.kind, String(before.name), errors);
}

/**
 * Marks an object as being deleted: deletionTimestamp `graceSeconds` from now, generation + 1 when the kind counts generations (registry/rest/delete.go). An
 * object that is marked already keeps the earlier of the two times.
 */
export function markDeleted(object: JsonObject, graceSeconds: number, nowMs: number): void {
  const metadata = metadataOf(object);
  const at = formatTime(nowMs + graceSeconds * 1000);
  if (typeof metadata.deletionTimestamp === 'string') {
    const before = Number(metadata.deletionGracePeriodSeconds ?? 0);
    if (graceSeconds >= before) return;
    const started = (parseTime(metadata.deletionTimestamp) ?? nowMs) - before * 1000;
    metadata.deletionTimestamp = formatTime(started + graceSeconds * 1000);
    metadata.deletionGracePeriodSeconds = graceSeconds;
    return;
  }
  metadata.deletionTimestamp = at;
  metadata.deletionGracePeriodSeconds = graceSeconds;
  if (typeof metadata.generation === 'number' && metadata.generation > 0) metadata.generation += 1;
}

/** The fields of an object that a field selector of this kind may name. */
export function fieldReader(kind: KindInfo, field: string): ((object: JsonObject) => string) | undefined {
  if (field === 'metadata.name') return (object) => String((object.metadata as JsonObject | undefined)?.name ?? '');
  if (field === 'metadata.namespace' && kind.namespaced)
    return (object) => String((object.metadata as JsonObject | undefined)?.namespace ?? '');
  return Object.hasOwn(kind.selectableFields, field) ? kind.selectableFields[field] : undefined;
}

/** Top-level fields that a request to `subresource` cannot own in managedFields, because the server sets them back. */
export function ignoredFields(kind: KindInfo, subresource: string): readonly string[] {
  if (kind.subresources.status === undefined) return [];
  return subresource === 'status' ? ['spec'] : ['status'];
}
