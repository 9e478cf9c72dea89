import type { KindInfo } from '../../api/kinds.ts';
import { apiVersionOf } from '../../api/kinds.ts';
import type { Decoded, FieldValidation } from '../../machinery/decode.ts';
import { cloneJson, isObject, type JsonObject } from '../../machinery/json.ts';
import { badRequest, failure, methodNotSupported } from '../../machinery/status.ts';
import { prune } from '../../machinery/structural/values.ts';

const shownMax = 50;

/** Drops what the schema of a custom resource does not name, and tells of it as `fieldValidation` wants. Throws 400. */
export function pruneDecoded(
  kind: Pick<KindInfo, 'kind' | 'version' | 'custom'>,
  decoded: Decoded,
  fieldValidation: FieldValidation,
): Decoded {
  if (kind.custom === undefined) return decoded;
  const unknown = prune(kind.custom.structural, decoded.object)
    .slice(0, shownMax)
    .map((path) => `unknown field ${JSON.stringify(path)}`);
  if (unknown.length === 0 || fieldValidation === 'Ignore') return decoded;
  if (fieldValidation === 'Warn') return { ...decoded, warnings: [...decoded.warnings, ...unknown] };
  throw badRequest(
    `${kind.kind} in version ${JSON.stringify(kind.version)} cannot be handled as a ${kind.kind}: strict decoding error: ${unknown.join(', ')}`,
  );
}

/** Server-side apply takes only fields that the schema has: nobody could own the others. Throws 500 with upstream's text. */
export function refuseUndeclared(kind: KindInfo, applied: JsonObject): void {
  if (kind.custom === undefined) return;
  const unknown = prune(kind.custom.structural, cloneJson(applied));
  if (unknown.length === 0) return;
  const metadata = isObject(applied.metadata) ? applied.metadata : {};
  const where = `${String(metadata.namespace ?? '')}/${String(metadata.name ?? '')}; ${apiVersionOf(kind)}, Kind=${kind.kind}`;
  const paths = unknown.slice(0, shownMax).map((path) => `.${path}: field not declared in schema`);
  throw failure(
    500,
    '',
    `failed to create typed patch object (${where}): ${paths.length === 1 ? paths[0]! : `errors:\n${paths.map((path) => `  ${path}`).join('\n')}`}`,
  );
}

/** Nothing is created while the definition goes. Throws 405. */
export function refuseTerminating(kind: KindInfo): void {
  if (kind.custom?.terminating !== true) return;
  const error = methodNotSupported({ group: kind.group, resource: kind.plural }, 'create');
  error.status.message = `create not allowed while custom resource definition is terminating`;
  throw failure(405, 'MethodNotAllowed', error.status.message, error.status.details);
}
