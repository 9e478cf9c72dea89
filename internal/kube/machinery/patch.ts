import { AppError } from '../../base/errors.ts';
import type { Json, JsonObject } from './json.ts';
import type { SchemaSource } from './openapi.ts';

/** RFC 6902. `patch` is the parsed body. Throws StatusError 400 (malformed), 422 (a test failed, a path is missing). */
export function applyJsonPatch(_object: JsonObject, _patch: unknown): JsonObject {
  throw new AppError('UNFINISHED', 'applyJsonPatch is being written');
}

/** RFC 7386. */
export function applyMergePatch(_object: JsonObject, _patch: Json): Json {
  throw new AppError('UNFINISHED', 'applyMergePatch is being written');
}

/** Strategic merge patch with $patch, $retainKeys, $setElementOrder, $deleteFromPrimitiveList. Throws StatusError 400. */
export function applyStrategicMergePatch(
  _object: JsonObject,
  _patch: unknown,
  _schema: string,
  _source: SchemaSource,
): JsonObject {
  throw new AppError('UNFINISHED', 'applyStrategicMergePatch is being written');
}
