/** From a request for a resource to the handler: one table of verbs, one of subresources. */
import type { KindInfo, SubresourceInfo, Verb } from '../api/kinds.ts';
import type { JsonObject } from '../machinery/json.ts';
import { badRequest, failure, methodNotSupported, notFound } from '../machinery/status.ts';
import { groupResource, type RequestContext } from './context.ts';
import { type Negotiated, negotiate } from './negotiation.ts';
import { bind, evict } from './pod-actions.ts';
import { getOne, list } from './read.ts';
import { deleteCollection, deleteOne } from './remove.ts';
import { documentReply, includeObjectOf, listDocument, protobufForm, recordReply, transform } from './render.ts';
import type { Reply } from './reply.ts';
import { requestToken, review } from './reviews.ts';
import { getScale, writeScale } from './scale.ts';
import { watch } from './watch.ts';
import { createFromBody, patchFromBody, replaceFromBody, type Written } from './write.ts';

/** Handles subresources that talk to a node (log, exec, proxy…): given by the shell. */
export type Connect = (context: RequestContext) => Promise<Reply>;

function written(context: RequestContext, form: Negotiated, result: Written): Reply {
  const { core, kind, query } = context;
  const status = result.created ? 201 : 200;
  const { record } = result;
  const stored = record && recordReply(core.registry, kind, record, form, status, context.warnings);
  if (stored !== undefined) return stored;
  const shaped = transform(kind, result.object, form, includeObjectOf(query), core.clock.now());
  return documentReply(shaped, form, status, context.warnings);
}

const verbHandlers: Record<string, (context: RequestContext) => Promise<Reply>> = {
  get: getOne,
  list,
  watch,
  create: async (context) => {
    const form = negotiate(context.headers.get('accept'), true, protobufForm(context.core, context.kind));
    return written(context, form, await createFromBody(context));
  },
  update: async (context) => {
    const form = negotiate(context.headers.get('accept'), true, protobufForm(context.core, context.kind));
    return written(context, form, await replaceFromBody(context));
  },
  patch: async (context) => {
    const form = negotiate(context.headers.get('accept'), true, protobufForm(context.core, context.kind));
    return written(context, form, await patchFromBody(context));
  },
  delete: async (context) => {
    const form = negotiate(context.headers.get('accept'), true, protobufForm(context.core, context.kind));
    const removed = await deleteOne(context);
    const body = removed.isObject
      ? transform(
          context.kind,
          removed.body as JsonObject,
          form,
          includeObjectOf(context.query),
          context.core.clock.now(),
        )
      : removed.body;
    return documentReply(body, form, removed.accepted ? 202 : 200, context.warnings);
  },
  deletecollection: async (context) => {
    const { core, kind } = context;
    const form = negotiate(context.headers.get('accept'), true, protobufForm(context.core, context.kind));
    const objects = await deleteCollection(context);
    const metadata = { resourceVersion: String(core.registry.store.revision) };
    const body = listDocument(kind, objects, metadata, form, includeObjectOf(context.query), core.clock.now());
    return documentReply(body, form, 200, context.warnings);
  },
};

/** `GET`, `POST` as people read them in errors. */
const actionNames: Record<string, string> = { deletecollection: 'delete collection' };

function unsupported(context: RequestContext): Error {
  const { info, kind } = context;
  return methodNotSupported(groupResource(kind), actionNames[info.verb] ?? info.verb);
}

/** Serves a request that is authenticated and authorized. Throws StatusError. */
export async function serveResource(context: RequestContext, connect: Connect): Promise<Reply> {
  const { info, kind } = context;
  for (const part of [info.name, info.namespace]) {
    // Names are parts of keys in the store.
    if (part.includes('/') || part === '.' || part === '..')
      throw badRequest(`invalid name or namespace ${JSON.stringify(part)} in the path`);
  }
  if (info.subresource !== '') return serveSubresource(context, connect);
  if (kind.deprecation !== undefined) context.warnings.push(kind.deprecation);
  if (kind.namespaced && info.namespace === '' && (info.name !== '' || info.verb === 'create'))
    throw failure(400, 'BadRequest', 'an empty namespace may not be set during creation');
  if (!kind.namespaced && info.namespace !== '' && kind.plural !== 'namespaces') throw pathNotFound();
  if (!kind.verbs.includes(info.verb as Verb)) throw unsupported(context);
  if (kind.virtual) {
    const form = negotiate(context.headers.get('accept'), false, protobufForm(context.core, kind));
    if (kind.kind === 'Binding') return documentReply(await bind(context), form, 201, context.warnings);
    const answer = await review(context);
    if (answer === undefined) throw unsupported(context);
    return documentReply(answer, form, 201, context.warnings);
  }
  const handler = Object.hasOwn(verbHandlers, info.verb) ? verbHandlers[info.verb] : undefined;
  if (handler === undefined || (info.name === '') !== collectionVerbs.has(info.verb)) {
    // A watch of one object is a watch of the collection with that name.
    if (handler === undefined || (info.verb !== 'watch' && info.verb !== 'list')) throw unsupported(context);
  }
  return handler(context);
}

const collectionVerbs = new Set(['list', 'watch', 'create', 'deletecollection']);

export function pathNotFound(): Error {
  return failure(404, 'NotFound', 'the server could not find the requested resource', {});
}

async function serveSubresource(context: RequestContext, connect: Connect): Promise<Reply> {
  const { info, kind } = context;
  const subresource = subresourceOf(kind, info.subresource);
  if (subresource === undefined) throw pathNotFound();
  if (info.name === '') throw unsupported(context);
  const connects = subresource.kind.endsWith('Options') || info.subresource === 'log' || info.subresource === 'proxy';
  if (connects) return connect(context);
  if (!subresource.verbs.includes(info.verb)) throw unsupported(context);
  const parent = writesParent(kind, info.subresource);
  const form = negotiate(context.headers.get('accept'), parent, parent ? protobufForm(context.core, kind) : undefined);
  switch (info.subresource) {
    case 'scale':
      return documentReply(
        info.verb === 'get' ? await getScale(context) : await writeScale(context),
        form,
        200,
        context.warnings,
      );
    case 'binding':
      return documentReply(await bind(context), form, 201, context.warnings);
    case 'eviction':
      return documentReply(await evict(context), form, 201, context.warnings);
    case 'token':
      return documentReply(await requestToken(context), form, 201, context.warnings);
  }
  if (!writesParent(kind, info.subresource)) throw notFound(groupResource(kind), info.subresource);
  const handler = Object.hasOwn(verbHandlers, info.verb) ? verbHandlers[info.verb] : undefined;
  if (handler === undefined) throw unsupported(context);
  return handler(context);
}

/** Names of subresources come from the URL: `constructor` is none. */
export function subresourceOf(kind: KindInfo, name: string): SubresourceInfo | undefined {
  return Object.hasOwn(kind.subresources, name) ? kind.subresources[name] : undefined;
}

/** status, finalize, ephemeralcontainers…: subresources whose body is the parent. */
function writesParent(kind: KindInfo, subresource: string): boolean {
  return subresourceOf(kind, subresource)?.kind === kind.kind;
}
