/** GET of an object and of a collection. */
import { utf8Text } from '../../base/bytes.ts';
import { badRequest, expired, invalid, isStatus, notFound } from '../machinery/status.ts';
import { groupResource, type RequestContext } from './context.ts';
import { negotiate } from './negotiation.ts';
import { parseRevision } from './registry.ts';
import { documentReply, includeObjectOf, listReply, protobufForm, recordReply, transform } from './render.ts';
import type { Reply } from './reply.ts';
import { parseSelection } from './selection.ts';

export async function getOne(context: RequestContext): Promise<Reply> {
  const { core, kind, info } = context;
  const form = negotiate(context.headers.get('accept'), true, protobufForm(core, kind));
  await core.registry.reached(parseRevision(context.query.get('resourceVersion')) ?? 0);
  const record = await core.registry.get(kind, kind.namespaced ? info.namespace : '', info.name);
  if (record === undefined) throw notFound(groupResource(kind), info.name);
  const stored = recordReply(core.registry, kind, record, form, 200, context.warnings);
  if (stored !== undefined) return stored;
  const object = core.registry.objectOf(kind, record);
  const shaped = transform(kind, object, form, includeObjectOf(context.query), core.clock.now());
  return documentReply(shaped, form, 200, context.warnings);
}

interface ContinueToken {
  /** -1: go on at the newest revision. */
  rv: number;
  start: string;
}

function encodeToken(token: ContinueToken): string {
  return Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', ...token })).toString('base64url');
}

function decodeToken(text: string): ContinueToken {
  const bad = (why: string): Error => badRequest(`continue key is not valid: ${why}`);
  if (text.length > 4096) throw bad('too long');
  let value: unknown;
  try {
    value = JSON.parse(utf8Text(Buffer.from(text, 'base64url')));
  } catch {
    throw bad('not base64 of JSON');
  }
  const { v, rv, start } = (value ?? {}) as { v?: unknown; rv?: unknown; start?: unknown };
  if (v !== 'meta.k8s.io/v1') throw bad(`server does not recognize this encoded version "${String(v)}"`);
  if (typeof rv !== 'number' || !Number.isSafeInteger(rv) || rv === 0)
    throw bad('incorrect encoded start resourceVersion (version meta.k8s.io/v1)');
  if (typeof start !== 'string' || start === '') throw bad('encoded start key empty (version meta.k8s.io/v1)');
  return { rv, start };
}

/** metav1.ListOptions: which revision to read, which this member must have, and where to go on. */
function listPosition(query: URLSearchParams): { revision: number; start: string; atLeast: number } {
  const token = query.get('continue') ?? '';
  const match = query.get('resourceVersionMatch') ?? '';
  const asked = parseRevision(query.get('resourceVersion'));
  const refuse = (detail: string): never => {
    throw invalid('meta.k8s.io', 'ListOptions', '', [
      { type: 'FieldValueForbidden', field: 'resourceVersionMatch', detail: `Forbidden: ${detail}` },
    ]);
  };
  if (match !== '') {
    if (match !== 'Exact' && match !== 'NotOlderThan')
      throw invalid('meta.k8s.io', 'ListOptions', '', [
        {
          type: 'FieldValueNotSupported',
          field: 'resourceVersionMatch',
          detail: `Unsupported value: ${JSON.stringify(match)}: supported values: "Exact", "NotOlderThan", ""`,
        },
      ]);
    if (token !== '') refuse('resourceVersionMatch is forbidden when continue is provided');
    if (asked === undefined) refuse('resourceVersionMatch is forbidden unless resourceVersion is provided');
    if (match === 'Exact' && asked === 0) refuse('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"');
  }
  if (token !== '') {
    if (asked !== undefined && asked !== 0)
      throw badRequest('specifying resource version is not allowed when using continue');
    const { rv, start } = decodeToken(token);
    return { revision: Math.max(0, rv), start, atLeast: rv };
  }
  return { revision: match === 'Exact' ? asked! : 0, start: '', atLeast: asked ?? 0 };
}

/** How many objects a client wants at most; 0 for all. Throws 400. */
export function limitOf(query: URLSearchParams): number {
  const text = query.get('limit') ?? '';
  if (!/^\d{0,10}$/.test(text)) throw badRequest(`invalid limit ${JSON.stringify(text)}`);
  return Number(text);
}

export async function list(context: RequestContext): Promise<Reply> {
  const { core, kind, info, query } = context;
  const form = negotiate(context.headers.get('accept'), true, protobufForm(core, kind));
  const selection = parseSelection(kind, query);
  const limit = limitOf(query);
  const { revision, start, atLeast } = listPosition(query);
  await core.registry.reached(atLeast);
  let result: Awaited<ReturnType<typeof core.registry.list>>;
  try {
    result = await core.registry.list({
      kind,
      namespace: kind.namespaced ? info.namespace : '',
      selection,
      limit,
      revision,
      start,
    });
  } catch (error) {
    if (start !== '' && isStatus(error, 'Expired'))
      throw expired(
        'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.',
        encodeToken({ rv: -1, start }),
      );
    throw error;
  }
  const metadata = {
    resourceVersion: String(result.revision),
    ...(result.next === undefined ? {} : { continue: encodeToken({ rv: result.revision, start: result.next }) }),
    ...(result.remaining === undefined || result.remaining === 0 ? {} : { remainingItemCount: result.remaining }),
  };
  return listReply(
    core.registry,
    kind,
    result.records,
    metadata,
    form,
    includeObjectOf(query),
    core.clock.now(),
    context.warnings,
  );
}
