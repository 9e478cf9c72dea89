/** The `scale` subresource: a Scale is a view of two numbers and a selector in the parent. */
import { apiVersionOf, type KindInfo, type SubresourceInfo } from '../api/kinds.ts';
import { decodeObject } from '../machinery/decode.ts';
import { cloneJson, getPath, isObject, type Json, type JsonObject } from '../machinery/json.ts';
import { serverSideApply } from '../machinery/managedfields.ts';
import { applyJsonPatch, applyMergePatch } from '../machinery/patch.ts';
import { parentManagers, type ReplicasPath, scaleManagers } from '../machinery/scale-fields.ts';
import { labelSelectorOf, labelSelectorText, selectorOfMap } from '../machinery/selectors.ts';
import { badRequest, invalid, notFound, unsupportedMediaType } from '../machinery/status.ts';
import { applyStrategicMergePatch } from '../machinery/strategic.ts';
import { checkDepth, groupResource, type RequestContext, type WriteParameters, writeParameters } from './context.ts';
import { appliedBody, decodeKind, management, mediaType, update } from './write.ts';

const scaleKind = {
  group: 'autoscaling',
  version: 'v1',
  kind: 'Scale',
  schema: 'io.k8s.api.autoscaling.v1.Scale',
} as const;

const applyType = 'application/apply-patch+yaml';

type ScalePaths = NonNullable<SubresourceInfo['scale']>;

function pathsOf(kind: KindInfo): ScalePaths {
  const paths = kind.subresources.scale?.scale;
  if (paths === undefined) throw notFound(groupResource(kind), 'scale');
  return paths;
}

/** autoscaling/v1 Scale of an object. */
function scaleOf(kind: KindInfo, object: JsonObject): JsonObject {
  const paths = pathsOf(kind);
  const metadata = object.metadata as JsonObject;
  const selector = getPath(object, ...paths.selector);
  let text = typeof selector === 'string' ? selector : '';
  if (isObject(selector)) {
    const plain = !('matchLabels' in selector) && !('matchExpressions' in selector);
    text = labelSelectorText(plain ? selectorOfMap(selector as Record<string, string>) : labelSelectorOf(selector));
  }
  return {
    kind: scaleKind.kind,
    apiVersion: apiVersionOf(scaleKind),
    metadata: {
      name: metadata.name,
      namespace: metadata.namespace,
      uid: metadata.uid,
      resourceVersion: metadata.resourceVersion,
      creationTimestamp: metadata.creationTimestamp,
    },
    spec: { replicas: getPath(object, ...paths.specReplicas) ?? 0 },
    status: { replicas: getPath(object, ...paths.statusReplicas) ?? 0, ...(text === '' ? {} : { selector: text }) },
  };
}

export async function getScale(context: RequestContext): Promise<JsonObject> {
  const { core, kind, info } = context;
  const object = await core.registry.getObject(kind, info.namespace, info.name);
  if (object === undefined) throw notFound(groupResource(kind), info.name);
  return scaleOf(kind, object);
}

/** PUT and PATCH of a Scale: writes the parent's replicas. */
export async function writeScale(context: RequestContext): Promise<JsonObject> {
  const { kind, info } = context;
  const put = info.verb === 'update';
  const parameters = writeParameters(context, put ? 'UpdateOptions' : 'PatchOptions');
  const body = await context.body();
  const media = mediaType(context.headers.get('content-type'));
  const applies = !put && media === applyType;
  const change = put
    ? (): JsonObject => decodeKind(context, scaleKind, body, parameters.fieldValidation)
    : applies
      ? scaleApply(context, parameters, body)
      : scalePatch(media, body, context);
  const paths = pathsOf(kind);
  const pathOf = replicasPath(context);
  const written = await update(context, parameters, {
    track: !applies,
    create: false,
    change: (live) => {
      if (live === undefined) throw notFound(groupResource(kind), info.name);
      const had = getPath(live, 'metadata', 'managedFields');
      const shown = scaleOf(kind, live);
      if (applies) (shown.metadata as JsonObject).managedFields = scaleManagers(had, pathOf);
      const scale = change(shown);
      const name = getPath(scale, 'metadata', 'name');
      if (name !== undefined && name !== info.name)
        throw badRequest(`the name of the object (${String(name)}) does not match the name on the URL (${info.name})`);
      const replicas = getPath(scale, 'spec', 'replicas') ?? 0;
      if (typeof replicas !== 'number' || replicas < 0)
        throw invalid(scaleKind.group, scaleKind.kind, info.name, [
          {
            type: 'FieldValueInvalid',
            field: 'spec.replicas',
            detail: `Invalid value: ${String(replicas)}: must be greater than or equal to 0`,
          },
        ]);
      const next = cloneJson(live);
      setPath(next, paths.specReplicas, replicas);
      const metadata = next.metadata as JsonObject;
      metadata.resourceVersion = getPath(scale, 'metadata', 'resourceVersion') ?? '';
      const uid = getPath(scale, 'metadata', 'uid');
      if (typeof uid === 'string' && uid !== '') metadata.uid = uid;
      if (applies) {
        const managers = getPath(scale, 'metadata', 'managedFields');
        metadata.managedFields = parentManagers(had, managers, pathOf, apiVersionOf(kind));
      }
      return next;
    },
  });
  return scaleOf(kind, written.object);
}

/** Where objects of the kind have their replicas, in each of its versions. */
function replicasPath({ core, kind }: RequestContext): ReplicasPath {
  return (apiVersion) => {
    const [version, group = ''] = apiVersion.split('/').reverse() as [string, string?];
    if (group !== kind.group) return undefined;
    return core.kinds.byResource(group, version, kind.plural)?.subresources.scale?.scale?.specReplicas;
  };
}

/** Server-side apply: who owns the Scale's replicas owns the parent's. */
function scaleApply(
  context: RequestContext,
  parameters: WriteParameters,
  body: Uint8Array,
): (scale: JsonObject) => JsonObject {
  const applied = appliedBody(context, scaleKind, parameters, body);
  const fields = {
    ...management(context, parameters),
    schema: scaleKind.schema,
    ignored: ['status'],
    force: parameters.force,
  };
  return (scale) => {
    const { resourceVersion: _read, ...metadata } = scale.metadata as JsonObject;
    // Only a resourceVersion that the client sends is a precondition.
    return serverSideApply({ ...scale, metadata }, cloneJson(applied), fields);
  };
}

function scalePatch(media: string, body: Uint8Array, context: RequestContext): (scale: JsonObject) => JsonObject {
  const accepted = [
    'application/json-patch+json',
    'application/merge-patch+json',
    'application/strategic-merge-patch+json',
    applyType,
  ];
  if (!accepted.includes(media)) throw unsupportedMediaType(media, accepted);
  checkDepth(body);
  let patch: Json;
  try {
    patch = JSON.parse(new TextDecoder().decode(body)) as Json;
  } catch (error) {
    throw badRequest(`error decoding patch: ${error instanceof Error ? error.message : String(error)}`);
  }
  return (scale) => {
    let patched: Json;
    if (media === accepted[0]) patched = applyJsonPatch(scale, patch);
    else if (media === accepted[1]) patched = applyMergePatch(scale, patch);
    else patched = applyStrategicMergePatch(scale, patch, scaleKind.schema, context.core.schemas);
    return decodeObject(patched, { schema: scaleKind.schema, source: context.core.schemas, fieldValidation: 'Ignore' })
      .object;
  };
}

function setPath(object: JsonObject, path: readonly string[], value: Json): void {
  let at = object;
  for (const key of path.slice(0, -1)) {
    if (!isObject(at[key])) at[key] = {};
    at = at[key] as JsonObject;
  }
  at[path.at(-1)!] = value;
}
