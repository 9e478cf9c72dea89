/** DELETE of an object and of a collection. */
import type { KindInfo } from '../api/kinds.ts';
import { markDeleted } from '../api/lifecycle.ts';
import { isObject, type JsonObject } from '../machinery/json.ts';
import {
  badRequest,
  conflict,
  type FieldError,
  invalid,
  isStatus,
  notFound,
  type Status,
  success,
} from '../machinery/status.ts';
import { invalidValue, notSupported } from '../machinery/validation.ts';
import { admissionRequest, groupResource, type RequestContext } from './context.ts';
import { WriteConflict } from './registry.ts';
import type { StoredRecord } from './record.ts';
import { limitOf } from './read.ts';
import { parseSelection } from './selection.ts';
import { decodeAny } from './write.ts';

/** metav1.DeleteOptions as far as it is served. */
export interface DeleteRequest {
  readonly gracePeriodSeconds: number | undefined;
  readonly propagation: 'Orphan' | 'Background' | 'Foreground' | undefined;
  readonly uid: string | undefined;
  readonly resourceVersion: string | undefined;
  readonly dryRun: boolean;
}

export interface Removed {
  /** The object, when it is kept for a while or the kind answers with it; else the Status. */
  readonly body: JsonObject | Status;
  readonly isObject: boolean;
  /** 202 when dependents or finalizers still hold it on the client's wish. */
  readonly accepted: boolean;
}

const policies = ['Orphan', 'Background', 'Foreground'] as const;
/** Kinds whose DELETE answers with the deleted object, as upstream's registries do. */
const returnsObject = new Set([
  'pods',
  'persistentvolumeclaims',
  'persistentvolumes',
  'services',
  'serviceaccounts',
  'podtemplates',
  'resourcequotas',
]);

/** Reads DeleteOptions from the body, else from the query. Throws 400, 422. */
export async function deleteRequest(context: RequestContext): Promise<DeleteRequest> {
  const body = await context.body();
  const { query } = context;
  let options: JsonObject = {};
  if (body.length > 0) {
    options = decodeAny(context, 'io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions', body, 'Ignore').object;
    if (options.kind !== undefined && options.kind !== 'DeleteOptions')
      throw badRequest(`decoded object cannot be converted to DeleteOptions: kind is ${JSON.stringify(options.kind)}`);
  } else {
    const grace = query.get('gracePeriodSeconds');
    if (grace !== null && grace !== '') {
      if (!/^-?\d{1,10}$/.test(grace)) throw badRequest(`invalid gracePeriodSeconds ${JSON.stringify(grace)}`);
      options.gracePeriodSeconds = Number(grace);
    }
    const policy = query.get('propagationPolicy');
    if (policy !== null && policy !== '') options.propagationPolicy = policy;
    const orphan = query.get('orphanDependents');
    if (orphan !== null && orphan !== '') options.orphanDependents = orphan === 'true';
    const dryRun = query.getAll('dryRun').filter((value) => value !== '');
    if (dryRun.length > 0) options.dryRun = dryRun;
  }
  return deleteRequestOf(options);
}

/** What DeleteOptions ask for. Throws 422. */
export function deleteRequestOf(options: JsonObject): DeleteRequest {
  let propagation = (options.propagationPolicy ?? undefined) as DeleteRequest['propagation'];
  const orphan = options.orphanDependents ?? undefined;
  const dryRun = Array.isArray(options.dryRun) ? options.dryRun : [];
  const errors: FieldError[] = [];
  if (propagation !== undefined && orphan !== undefined)
    errors.push(
      invalidValue('propagationPolicy', propagation, 'orphanDependents and deletionPropagation cannot be both set'),
    );
  if (propagation !== undefined && !policies.includes(propagation))
    errors.push(notSupported('propagationPolicy', propagation, [...policies, 'nil']));
  for (const value of dryRun) if (value !== 'All') errors.push(notSupported('dryRun', value, ['All']));
  if (errors.length > 0) throw invalid('meta.k8s.io', 'DeleteOptions', '', errors);
  if (orphan !== undefined) propagation = orphan === true ? 'Orphan' : 'Background';
  const preconditions = isObject(options.preconditions) ? options.preconditions : {};
  const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
  const grace = options.gracePeriodSeconds;
  return {
    // What is negative is a second, not none: that would be a deletion by force.
    gracePeriodSeconds: typeof grace === 'number' ? (grace < 0 ? 1 : grace) : undefined,
    propagation,
    uid: text(preconditions.uid),
    resourceVersion: text(preconditions.resourceVersion),
    dryRun: dryRun.length > 0,
  };
}

export async function deleteOne(context: RequestContext): Promise<Removed> {
  const request = await deleteRequest(context);
  warnOfDefault(context, request);
  return removeObject(context, context.info.name, request);
}

/** DELETE on a collection: every selected object, one after the other; answers with the list of them. */
export async function deleteCollection(context: RequestContext): Promise<JsonObject[]> {
  const { core, kind, info } = context;
  const request = await deleteRequest(context);
  warnOfDefault(context, request);
  const selection = parseSelection(kind, context.query);
  const { records } = await core.registry.list({
    kind,
    namespace: info.namespace,
    selection,
    limit: limitOf(context.query),
    revision: 0,
    start: '',
  });
  const out: JsonObject[] = [];
  for (const { rest, record } of records) {
    const slash = rest.indexOf('/');
    const name = rest.slice(slash + 1);
    const inNamespace = slash < 0 ? context : { ...context, info: { ...info, namespace: rest.slice(0, slash) } };
    try {
      await removeObject(inNamespace, name, request);
      out.push(core.registry.objectOf(kind, record));
    } catch (error) {
      if (!isStatus(error, 'NotFound')) throw error;
    }
  }
  return out;
}

function warnOfDefault({ kind, warnings }: RequestContext, request: DeleteRequest): void {
  const warning = kind.strategy.defaultPropagation?.warning;
  if (request.propagation === undefined && warning !== undefined) warnings.push(warning);
}

const metadataOf = (object: JsonObject): JsonObject => object.metadata as JsonObject;
const finalizersOf = (object: JsonObject): string[] => {
  const list = metadataOf(object).finalizers;
  return Array.isArray(list) ? (list as string[]) : [];
};

export async function removeObject(context: RequestContext, name: string, request: DeleteRequest): Promise<Removed> {
  const { core, kind } = context;
  const namespace = kind.namespaced ? context.info.namespace : '';
  let record = await core.registry.get(kind, namespace, name);
  for (let attempt = 0; ; attempt++) {
    if (record === undefined) throw notFound(groupResource(kind), name);
    const live = core.registry.objectOf(kind, record);
    checkPreconditions(kind, name, live, request);
    const admission = admissionRequest(context, 'DELETE', {
      name,
      object: undefined,
      old: live,
      dryRun: request.dryRun,
    });
    await core.admission.admit(admission);
    await core.admission.validate(admission);
    try {
      return await removeOnce(context, namespace, name, record, live, request);
    } catch (error) {
      if (!(error instanceof WriteConflict)) throw error;
      if (attempt >= 30) throw conflict(groupResource(kind), name);
      record = error.current;
    }
  }
}

/** Throws 409 when the object is not the one, or not as, the client said. */
export function checkPreconditions(
  kind: KindInfo,
  name: string,
  live: JsonObject,
  request: Pick<DeleteRequest, 'uid' | 'resourceVersion'>,
): void {
  const { uid, resourceVersion } = metadataOf(live);
  if (request.uid !== undefined && request.uid !== uid)
    throw conflict(
      groupResource(kind),
      name,
      `Precondition failed: UID in precondition: ${request.uid}, UID in object meta: ${String(uid)}`,
    );
  if (request.resourceVersion !== undefined && request.resourceVersion !== resourceVersion)
    throw conflict(
      groupResource(kind),
      name,
      `Precondition failed: ResourceVersion in precondition: ${request.resourceVersion}, ResourceVersion in object meta: ${String(resourceVersion)}`,
    );
}

async function removeOnce(
  context: RequestContext,
  namespace: string,
  name: string,
  record: StoredRecord,
  live: JsonObject,
  request: DeleteRequest,
): Promise<Removed> {
  const { core, kind } = context;
  const next = core.registry.objectOf(kind, record);
  const metadata = metadataOf(next);
  setPropagation(next, request.propagation, kind.strategy.defaultPropagation?.policy);
  const isNamespace = kind.group === '' && kind.plural === 'namespaces';
  const requested = request.gracePeriodSeconds;
  let grace = kind.strategy.gracePeriodSeconds?.(live, requested) ?? 0;
  const deleting = metadata.deletionTimestamp !== undefined && metadata.deletionTimestamp !== null;
  if (deleting) {
    // A second delete may only shorten the time that is left.
    const had = typeof metadata.deletionGracePeriodSeconds === 'number' ? metadata.deletionGracePeriodSeconds : 0;
    if (requested === undefined || grace > had) grace = had;
  }
  const namespaceHeld =
    isNamespace && isObject(next.spec) && Array.isArray(next.spec.finalizers) && next.spec.finalizers.length > 0;
  if (!deleting) kind.strategy.prepareForDelete?.(next, core.strategy);
  const held = finalizersOf(next).length > 0 || namespaceHeld;
  if (!held && grace === 0) {
    if (!request.dryRun) {
      const side = core.allocation.concerns(kind) ? core.allocation.release(live) : undefined;
      metadata.resourceVersion = String(await core.registry.delete(kind, namespace, name, record.revision, side));
    }
    return { ...gone(kind, next, name), accepted: false };
  }
  markDeleted(next, grace, core.clock.now());
  if (isNamespace) delete metadata.deletionGracePeriodSeconds;
  if (isNamespace && !deleting) next.status = { ...(isObject(next.status) ? next.status : {}), phase: 'Terminating' };
  const accepted = request.propagation === 'Foreground' || request.propagation === 'Orphan';
  if (JSON.stringify(next) === JSON.stringify(live)) return { body: live, isObject: true, accepted };
  if (!request.dryRun) {
    const stored = await core.registry.update(kind, namespace, name, record.revision, next);
    metadata.resourceVersion = String(stored.revision);
  }
  return { body: next, isObject: true, accepted };
}

function gone(kind: KindInfo, object: JsonObject, name: string): { body: JsonObject | Status; isObject: boolean } {
  if (returnsObject.has(kind.plural) && kind.group === '') return { body: object, isObject: true };
  const uid = metadataOf(object).uid;
  return {
    body: success({
      name,
      ...(kind.group === '' ? {} : { group: kind.group }),
      kind: kind.plural,
      ...(typeof uid === 'string' ? { uid } : {}),
    }),
    isObject: false,
  };
}

/** The garbage collector's finalizers follow the propagation policy; without one those that are there stay, and where none is the kind's default holds. */
function setPropagation(
  object: JsonObject,
  asked: DeleteRequest['propagation'],
  byDefault: DeleteRequest['propagation'],
): void {
  const had = finalizersOf(object);
  const others = had.filter((one) => one !== 'orphan' && one !== 'foregroundDeletion');
  const policy = asked ?? (others.length === had.length ? byDefault : undefined);
  if (policy === undefined) return;
  if (policy === 'Orphan') others.push('orphan');
  if (policy === 'Foreground') others.push('foregroundDeletion');
  const metadata = metadataOf(object);
  if (others.length > 0) metadata.finalizers = others;
  else delete metadata.finalizers;
}
