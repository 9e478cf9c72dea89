import type { CustomKind, KindInfo } from '../../api/kinds.ts';
import { apiVersionOf } from '../../api/kinds.ts';
import { type Decoded, decodeObject, type FieldValidation } from '../../machinery/decode.ts';
import { cloneJson, isObject, type JsonObject } from '../../machinery/json.ts';
import type { SchemaSource } from '../../machinery/openapi.ts';
import { badRequest, failure } from '../../machinery/status.ts';
import { prune } from '../../machinery/structural/values.ts';
import { duplicateItems } from '../../machinery/typed.ts';

const shownMax = 50;

const metadataSchema = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta';

/** Drops, in place, what neither the schema of a custom resource nor, for the metadata of embedded objects, ObjectMeta names. The paths. Throws 400. */
function pruneCustom(custom: CustomKind, object: JsonObject, source: SchemaSource): string[] {
  const embedded: string[] = [];
  const unknown = prune(custom.structural, object, (inner, path) => {
    if (!isObject(inner.metadata)) return;
    const undeclared: string[] = [];
    const options = { schema: metadataSchema, source, fieldValidation: 'Ignore', undeclared } as const;
    inner.metadata = decodeObject(inner.metadata, options).object;
    embedded.push(...undeclared.map((field) => `${path}.metadata.${field}`));
  });
  return [...unknown, ...embedded];
}

/** Drops what the schema of a custom resource does not name, and tells of it as `fieldValidation` wants. Throws 400. */
export function pruneDecoded(
  kind: Pick<KindInfo, 'kind' | 'version' | 'custom'>,
  decoded: Decoded,
  fieldValidation: FieldValidation,
  source: SchemaSource,
): Decoded {
  if (kind.custom === undefined) return decoded;
  const unknown = pruneCustom(kind.custom, decoded.object, source)
    .slice(0, shownMax)
    .map((path) => `unknown field ${JSON.stringify(path)}`);
  if (unknown.length === 0 || fieldValidation === 'Ignore') return decoded;
  if (fieldValidation === 'Warn') return { ...decoded, warnings: [...decoded.warnings, ...unknown] };
  throw badRequest(
    `${kind.kind} in version ${JSON.stringify(kind.version)} cannot be handled as a ${kind.kind}: strict decoding error: ${unknown.join(', ')}`,
  );
}

/**
 * Server-side apply takes only fields that the schema has, whatever the field validation, and each item of a set or a map list once: nobody could own the
 * others. `undeclared` are the fields that decoding has found. Throws 500 with upstream's text.
 */
export function refuseUntyped(
  kind: Pick<KindInfo, 'group' | 'version' | 'kind' | 'schema' | 'custom'>,
  applied: JsonObject,
  undeclared: readonly string[],
  source: SchemaSource,
): void {
  const own = kind.custom === undefined ? [] : pruneCustom(kind.custom, cloneJson(applied), source);
  const unknown = [...undeclared, ...own].map((path) => `.${path}: field not declared in schema`);
  const faults = [...unknown, ...duplicateItems(source, source.definition(kind.schema), applied)].slice(0, shownMax);
  if (faults.length === 0) return;
  const metadata = isObject(applied.metadata) ? applied.metadata : {};
  const where = `${String(metadata.namespace ?? '')}/${String(metadata.name ?? '')}; ${apiVersionOf(kind)}, Kind=${kind.kind}`;
  throw failure(
    500,
    '',
    `failed to create typed patch object (${where}): ${faults.length === 1 ? faults[0]! : `errors:\n${faults.map((fault) => `  ${fault}`).join('\n')}`}`,
  );
}
