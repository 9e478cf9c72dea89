/** POST, PUT and PATCH of objects and of subresources that write their parent. */
import { DecodeError } from '../../base/bytes.ts';
import { randomName } from '../../base/random.ts';
import { type AdmissionRequest, together } from '../admission/types.ts';
import { apiVersionOf, type KindInfo } from '../api/kinds.ts';
import { forbiddenText } from '../auth/authorizer.ts';
import { beforeCreate, beforeUpdate, fillDefaults, ignoredFields } from '../api/lifecycle.ts';
import { type Decoded, decodeBody, decodeObject, type ExpectedType } from '../machinery/decode.ts';
import { cloneJson, isObject, type Json, jsonEqual, type JsonObject } from '../machinery/json.ts';
import { type FieldManagement, serverSideApply, trackUpdate } from '../machinery/managedfields.ts';
import { applyJsonPatch, applyMergePatch, applyStrategicMergePatch } from '../machinery/patch.ts';
import {
  alreadyExists,
  badRequest,
  conflict,
  forbidden,
  generateNameConflict,
  invalid,
  isStatus,
  notFound,
  unsupportedMediaType,
} from '../machinery/status.ts';
import { formatTime } from '../machinery/time.ts';
import {
  admissionRequest,
  checkDepth,
  groupResource,
  type RequestContext,
  type WriteParameters,
  writeParameters,
} from './context.ts';
import { pruneDecoded, refuseUntyped } from './custom/decode.ts';
import { definitionStands, refuseTerminating } from './custom/definition-guard.ts';
import { customEnvelope } from './live-kinds.ts';
import { decodeProtobuf, protobufMediaType } from './protobuf/decode.ts';
import type { StoredRecord } from './record.ts';
import { SideConflict, WriteConflict } from './registry.ts';

export interface Written {
  /** The object as it is now, with resourceVersion, in the requested kind's form. */
  readonly object: JsonObject;
  /** The same as it was stored, in the form of `object`'s kind or another; undefined when nothing was: a dry run, no change, a removal. */
  readonly record?: StoredRecord;
  readonly created: boolean;
}

const attemptsMax = 8;
const retriesMax = 30;

/** How a write finds its manager in metadata.managedFields. */
export function management(context: RequestContext, parameters: WriteParameters): FieldManagement {
  return {
    schema: context.kind.schema,
    source: context.core.schemas,
    apiVersion: apiVersionOf(context.kind),
    manager: parameters.fieldManager,
    subresource: context.info.subresource,
    time: formatTime(context.core.clock.now()),
    ignored: ignoredFields(context.kind, context.info.subresource),
  };
}

/** Decodes a body of this kind: default kind and apiVersion, then they must match; `alsoVersion` is another apiVersion of the same structure. */
export function decodeKind(
  context: RequestContext,
  kind: Pick<KindInfo, 'group' | 'version' | 'kind' | 'schema' | 'custom'>,
  body: Uint8Array,
  fieldValidation: WriteParameters['fieldValidation'],
  alsoVersion?: string,
): JsonObject {
  const expect = {
    apiVersion: apiVersionOf(kind),
    kind: kind.kind,
    ...(alsoVersion === undefined ? {} : { alsoVersion }),
  };
  const decoded = decodeAny(context, bodySchema(kind), body, fieldValidation, expect);
  return accept(context, kind, pruneDecoded(kind, decoded, fieldValidation, context.core.schemas));
}

/** What a body is decoded as: custom resources have their schema looked at afterwards. */
export function bodySchema(kind: Pick<KindInfo, 'schema' | 'custom'>): string {
  return kind.custom === undefined ? kind.schema : customEnvelope;
}

/** A body in any of the encodings that are served, as an object of the definition `schema`. Throws 400, 415. */
export function decodeAny(
  context: RequestContext,
  schema: string,
  body: Uint8Array,
  fieldValidation: WriteParameters['fieldValidation'],
  expect?: ExpectedType,
): Decoded {
  const media = mediaType(context.headers.get('content-type'));
  const options = {
    schema,
    source: context.core.schemas,
    fieldValidation,
    ...(expect === undefined ? {} : { expect }),
  };
  if (media === protobufMediaType && schema !== customEnvelope) {
    try {
      return decodeObject(decodeProtobuf(body, schema, context.core.schemas), options);
    } catch (error) {
      if (error instanceof DecodeError) throw badRequest(error.message);
      throw error;
    }
  }
  if (media.endsWith('json')) checkDepth(body);
  return decodeBody(body, media, options);
}

function accept(
  context: RequestContext,
  kind: Pick<KindInfo, 'group' | 'version' | 'kind'>,
  decoded: Decoded,
): JsonObject {
  context.warnings.push(...decoded.warnings);
  const { object } = decoded;
  const apiVersion = apiVersionOf(kind);
  object.apiVersion ??= apiVersion;
  object.kind ??= kind.kind;
  if (object.apiVersion !== apiVersion)
    throw badRequest(
      `the API version in the data (${String(object.apiVersion)}) does not match the expected API version (${apiVersion})`,
    );
  if (object.kind !== kind.kind)
    throw badRequest(
      `${kind.kind} in version ${JSON.stringify(kind.version)} cannot be handled as a ${kind.kind}: the kind in the data is ${JSON.stringify(object.kind)}`,
    );
  object.metadata ??= {};
  if (!isObject(object.metadata)) throw badRequest('metadata is not an object');
  return object;
}

export function mediaType(header: string | null): string {
  const type = (header ?? '').split(';', 1)[0]!.trim().toLowerCase();
  return type === '' || type === '*/*' ? 'application/json' : type;
}

function metadataOf(object: JsonObject): JsonObject {
  return object.metadata as JsonObject;
}

function checkNamespace(context: RequestContext, object: JsonObject): void {
  const metadata = metadataOf(object);
  if (!context.kind.namespaced) return;
  if (metadata.namespace === undefined || metadata.namespace === '') metadata.namespace = context.info.namespace;
  if (metadata.namespace !== context.info.namespace)
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
}

/** POST to the collection. */
export async function createFromBody(context: RequestContext): Promise<Written> {
  const parameters = writeParameters(context, 'CreateOptions');
  const object = decodeKind(context, context.kind, await context.body(), parameters.fieldValidation);
  checkNamespace(context, object);
  fillDefaults(context.kind, object);
  const tracked = cloneJson(object);
  if (context.kind.subresources.status !== undefined) delete tracked.status;
  trackUpdate(undefined, tracked, management(context, parameters));
  setManagedFields(object, tracked);
  return persistNew(context, object, parameters.dryRun);
}

function setManagedFields(object: JsonObject, from: JsonObject): void {
  const list = metadataOf(from).managedFields;
  if (list === undefined) delete metadataOf(object).managedFields;
  else metadataOf(object).managedFields = list;
}

/** Admission, strategy and store for a new object that has its defaults and managedFields. */
export async function persistNew(context: RequestContext, object: JsonObject, dryRun: boolean): Promise<Written> {
  const { core, kind } = context;
  refuseTerminating(kind);
  const request = admissionRequest(context, 'CREATE', {
    name: String(metadataOf(object).name ?? ''),
    object,
    old: undefined,
    dryRun,
  });
  await core.admission.admit(request);
  const { generateName, name } = metadataOf(object);
  const generated = typeof generateName === 'string' && generateName !== '' && (name === undefined || name === '');
  const namespace = kind.namespaced ? context.info.namespace : '';
  beforeCreate(
    kind,
    object,
    { namespace: kind.namespaced ? namespace : undefined },
    { ...core.strategy, user: context.user },
  );
  if (kind.strategy.warnings !== undefined) context.warnings.push(...kind.strategy.warnings(object, undefined));
  await core.admission.validate({ ...request, name: String(metadataOf(object).name) });
  let lost = false;
  for (let attempt = 0; ; attempt++) {
    const stands = await definitionStands(core, kind, lost);
    const finalName = String(metadataOf(object).name);
    const candidate = core.allocation.concerns(kind) ? cloneJson(object) : object;
    const side = core.allocation.concerns(kind) ? await core.allocation.allocate(candidate, undefined) : undefined;
    if (dryRun) {
      if (!generated && (await core.registry.get(kind, namespace, finalName)) !== undefined)
        throw alreadyExists(groupResource(kind), finalName);
      return { object: candidate, created: true };
    }
    try {
      const record = await core.admission.store({ ...request, name: finalName, object: candidate }, (beside) =>
        core.registry.create(kind, namespace, finalName, candidate, together([side, stands, beside])),
      );
      metadataOf(candidate).resourceVersion = String(record.revision);
      return { object: candidate, record, created: true };
    } catch (error) {
      lost = error instanceof SideConflict;
      if (lost && attempt < attemptsMax) continue;
      if (lost && kind.custom !== undefined) throw conflict(groupResource(kind), finalName);
      if (lost) throw core.allocation.exhausted(candidate);
      if (!generated || !isStatus(error, 'AlreadyExists')) throw error;
      if (attempt >= attemptsMax) throw generateNameConflict(groupResource(kind), finalName);
      metadataOf(object).name = `${String(generateName)}${randomName(core.random)}`;
    }
  }
}

/** PUT of the object or of a subresource that writes it. */
export async function replaceFromBody(context: RequestContext): Promise<Written> {
  const { kind, info } = context;
  const parameters = writeParameters(context, 'UpdateOptions');
  const object = decodeKind(context, kind, await context.body(), parameters.fieldValidation);
  checkNamespace(context, object);
  const metadata = metadataOf(object);
  metadata.name ??= info.name;
  if (metadata.name !== info.name)
    throw badRequest(
      `the name of the object (${String(metadata.name)}) does not match the name on the URL (${info.name})`,
    );
  fillDefaults(kind, object);
  return update(context, parameters, {
    track: true,
    change: () => cloneJson(object),
    create: kind.strategy.allowCreateOnUpdate === true && info.subresource === '',
  });
}

const patchTypes = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
  'application/apply-patch+yaml',
];

/** PATCH in its four forms. */
export async function patchFromBody(context: RequestContext): Promise<Written> {
  const { core, kind, info } = context;
  const media = mediaType(context.headers.get('content-type'));
  const parameters = writeParameters(context, 'PatchOptions');
  const body = await context.body();
  if (media === 'application/apply-patch+yaml') return apply(context, parameters, body);
  const types = kind.custom === undefined ? patchTypes : patchTypes.filter((type) => !type.includes('strategic'));
  if (!types.includes(media)) throw unsupportedMediaType(media, types);
  if (context.query.has('force'))
    throw invalid('meta.k8s.io', 'PatchOptions', '', [
      { type: 'FieldValueForbidden', field: 'force', detail: 'Forbidden: may not be specified for non-apply patch' },
    ]);
  checkDepth(body);
  let patch: Json;
  try {
    patch = JSON.parse(new TextDecoder().decode(body)) as Json;
  } catch (error) {
    throw badRequest(`error decoding patch: ${error instanceof Error ? error.message : String(error)}`);
  }
  return update(context, parameters, {
    track: true,
    create: false,
    change: (live) => {
      if (live === undefined) throw notFound(groupResource(kind), info.name);
      let patched: Json;
      if (media === 'application/json-patch+json') patched = applyJsonPatch(cloneJson(live), patch);
      else if (media === 'application/merge-patch+json') patched = applyMergePatch(cloneJson(live), patch);
      else patched = applyStrategicMergePatch(cloneJson(live), patch, kind.schema, core.schemas);
      const decoded = decodeObject(patched, {
        schema: bodySchema(kind),
        source: core.schemas,
        fieldValidation: parameters.fieldValidation,
      });
      context.warnings.length = 0;
      const next = accept(context, kind, pruneDecoded(kind, decoded, parameters.fieldValidation, core.schemas));
      if (metadataOf(next).name !== info.name)
        throw invalid(kind.group, kind.kind, info.name, [
          {
            type: 'FieldValueInvalid',
            field: 'metadata.name',
            detail: `Invalid value: ${JSON.stringify(metadataOf(next).name ?? null)}: field is immutable`,
          },
        ]);
      checkNamespace(context, next);
      fillDefaults(kind, next);
      return next;
    },
  });
}

/** What a client applies: an object of this kind, or of that a subresource takes. Throws 400, 422, 500. */
export function appliedBody(
  context: RequestContext,
  kind: Pick<KindInfo, 'group' | 'version' | 'kind' | 'schema' | 'custom'>,
  parameters: WriteParameters,
  body: Uint8Array,
): JsonObject {
  const { info, core } = context;
  if (!parameters.namedManager)
    throw invalid('meta.k8s.io', 'PatchOptions', '', [
      { type: 'FieldValueRequired', field: 'fieldManager', detail: 'Required value: is required for apply patch' },
    ]);
  const undeclared: string[] = [];
  const decoded = decodeBody(body, 'application/apply-patch+yaml', {
    undeclared,
    keyedPaths: true,
    schema: bodySchema(kind),
    source: core.schemas,
    fieldValidation: parameters.fieldValidation,
    expect: { apiVersion: apiVersionOf(kind), kind: kind.kind },
  });
  const applied = accept(context, kind, decoded);
  const metadata = metadataOf(applied);
  metadata.name ??= info.name;
  if (metadata.name !== info.name)
    throw badRequest(
      `the name of the object (${String(metadata.name)}) does not match the name on the URL (${info.name})`,
    );
  checkNamespace(context, applied);
  refuseUntyped(kind, applied, undeclared, core.schemas);
  if (Array.isArray(metadata.managedFields) && metadata.managedFields.length > 0)
    throw badRequest('metadata.managedFields must be nil');
  return applied;
}

async function apply(context: RequestContext, parameters: WriteParameters, body: Uint8Array): Promise<Written> {
  const { kind, info } = context;
  const applied = appliedBody(context, kind, parameters, body);
  const metadata = metadataOf(applied);
  return update(context, parameters, {
    track: false,
    create: info.subresource === '',
    change: (live) => {
      if (live === undefined && metadata.uid !== undefined && metadata.uid !== '')
        throw conflict(
          groupResource(kind),
          info.name,
          `uid mismatch: the provided object specified uid ${String(metadata.uid)}, and no existing object was found`,
        );
      const next = serverSideApply(live, cloneJson(applied), {
        ...management(context, parameters),
        force: parameters.force,
      });
      fillDefaults(kind, next);
      return next;
    },
  });
}

export interface Update {
  /** The new object from the live one (undefined: there is none). Called again after a lost race; must not change `live`. */
  change(live: JsonObject | undefined): JsonObject;
  /** Whether managedFields have to be computed from the difference. */
  readonly track: boolean;
  /** Whether a missing object is created. */
  readonly create: boolean;
}

/** Reads, changes, checks and writes, again when another writer was faster, unless the client insisted on a resourceVersion. */
export async function update(context: RequestContext, parameters: WriteParameters, change: Update): Promise<Written> {
  const { core, kind, info } = context;
  const namespace = kind.namespaced ? info.namespace : '';
  let record = await core.registry.get(kind, namespace, info.name);
  for (let attempt = 0; ; attempt++) {
    if (record === undefined) {
      if (!change.create) throw notFound(groupResource(kind), info.name);
      return createThroughUpdate(context, parameters, change);
    }
    const live = core.registry.objectOf(kind, record);
    const next = change.change(live);
    const wanted = metadataOf(next).resourceVersion;
    if (wanted !== undefined && wanted !== '' && wanted !== '0' && wanted !== metadataOf(live).resourceVersion)
      throw conflict(groupResource(kind), info.name);
    const request = admissionRequest(context, 'UPDATE', {
      name: info.name,
      object: next,
      old: live,
      dryRun: parameters.dryRun,
    });
    await core.admission.admit(request);
    beforeUpdate(kind, info.subresource, next, live, core.strategy);
    if (attempt === 0 && info.subresource === '' && kind.strategy.warnings !== undefined)
      context.warnings.push(...kind.strategy.warnings(next, live));
    await core.admission.validate(request);
    if (change.track) trackUpdate(live, next, management(context, parameters));
    metadataOf(next).resourceVersion = metadataOf(live).resourceVersion;
    try {
      return { ...(await write(context, record.revision, request, next, live)), created: false };
    } catch (error) {
      if (error instanceof SideConflict && attempt < retriesMax) continue;
      if (error instanceof SideConflict) throw core.allocation.exhausted(next);
      if (!(error instanceof WriteConflict) || attempt >= retriesMax)
        throw error instanceof WriteConflict ? conflict(groupResource(kind), info.name) : error;
      record = error.current;
    }
  }
}

/** A PUT or PATCH that makes a new object needs the verb `create` beside its own. Throws 403. */
async function mayCreate({ core, info, user }: RequestContext): Promise<void> {
  const { group, version, resource, subresource, namespace, name, path } = info;
  const attributes = {
    user,
    verb: 'create',
    resourceRequest: true,
    ...{ group, version, resource, subresource, namespace, name, path },
  };
  const { allowed, reason } = await core.authorizer.authorize(attributes);
  if (allowed) return;
  const why = forbiddenText(attributes) + (reason === '' ? '' : `: ${reason}`);
  throw forbidden({ group, resource }, name, why);
}

async function createThroughUpdate(
  context: RequestContext,
  parameters: WriteParameters,
  change: Update,
): Promise<Written> {
  await mayCreate(context);
  const object = change.change(undefined);
  const { resourceVersion } = metadataOf(object);
  if (resourceVersion !== undefined && resourceVersion !== '' && resourceVersion !== '0')
    throw notFound(groupResource(context.kind), context.info.name);
  delete metadataOf(object).resourceVersion;
  if (change.track) {
    const tracked = cloneJson(object);
    if (context.kind.subresources.status !== undefined) delete tracked.status;
    trackUpdate(undefined, tracked, management(context, parameters));
    setManagedFields(object, tracked);
  }
  try {
    return await persistNew(context, object, parameters.dryRun);
  } catch (error) {
    // Somebody created it meanwhile: it is an update now.
    if (!isStatus(error, 'AlreadyExists')) throw error;
    return update(context, parameters, { ...change, create: false });
  }
}

/** Stores a checked update: nothing when nothing changed, a removal when the last finalizer of a deleted object went. */
async function write(
  context: RequestContext,
  revision: number,
  request: AdmissionRequest,
  next: JsonObject,
  live: JsonObject,
): Promise<Omit<Written, 'created'>> {
  const { dryRun } = request;
  const { core, kind, info } = context;
  const namespace = kind.namespaced ? info.namespace : '';
  const metadata = metadataOf(next);
  if (deletesNow(kind, next)) {
    if (dryRun) return { object: next };
    const side = core.allocation.concerns(kind) ? core.allocation.release(live) : undefined;
    const at = await core.registry.delete(kind, namespace, info.name, revision, side);
    metadata.resourceVersion = String(at);
    return { object: next };
  }
  const candidate = core.allocation.concerns(kind) ? cloneJson(next) : next;
  const side = core.allocation.concerns(kind) ? await core.allocation.allocate(candidate, live) : undefined;
  if (sameContent(candidate, live)) return { object: live };
  if (dryRun) return { object: candidate };
  const record = await core.admission.store({ ...request, object: candidate }, (beside) =>
    core.registry.update(kind, namespace, info.name, revision, candidate, together([side, beside])),
  );
  metadataOf(candidate).resourceVersion = String(record.revision);
  return { object: candidate, record };
}

/** Whether an object that is being deleted has nothing left that holds it. */
function deletesNow(kind: KindInfo, object: JsonObject): boolean {
  const metadata = metadataOf(object);
  if (metadata.deletionTimestamp === undefined || metadata.deletionTimestamp === null) return false;
  if (Array.isArray(metadata.finalizers) && metadata.finalizers.length > 0) return false;
  if (kind.group === '' && kind.plural === 'namespaces') {
    const finalizers = isObject(object.spec) ? object.spec.finalizers : undefined;
    if (Array.isArray(finalizers) && finalizers.length > 0) return false;
  }
  const grace = metadata.deletionGracePeriodSeconds;
  return grace === undefined || grace === null || grace === 0;
}

/** Equal but for the times of managedFields entries: such an update writes nothing. */
function sameContent(a: JsonObject, b: JsonObject): boolean {
  const left = metadataOf(a);
  const right = metadataOf(b);
  if (!jsonEqual(timeless(left.managedFields), timeless(right.managedFields))) return false;
  return jsonEqual(
    { ...a, metadata: { ...left, managedFields: undefined } },
    { ...b, metadata: { ...right, managedFields: undefined } },
  );
}

function timeless(list: Json | undefined): Json | undefined {
  if (!Array.isArray(list)) return list;
  return list.map((entry) => (isObject(entry) ? { ...entry, time: undefined } : entry));
}
