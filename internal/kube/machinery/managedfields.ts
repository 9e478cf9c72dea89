import { AppError } from '../../base/errors.ts';
import type { JsonObject } from './json.ts';
import type { SchemaSource } from './openapi.ts';

/** One entry of metadata.managedFields. */
export interface ManagedFieldsEntry {
  manager: string;
  operation: 'Apply' | 'Update';
  apiVersion: string;
  time?: string;
  fieldsType: 'FieldsV1';
  fieldsV1: JsonObject;
  subresource?: string;
}

export interface FieldManagement {
  schema: string;
  source: SchemaSource;
  /** apiVersion of the object. */
  apiVersion: string;
  manager: string;
  /** '' for the main resource. */
  subresource: string;
  /** RFC 3339, whole seconds. */
  time: string;
}

/**
 * Sets metadata.managedFields of `next` after a create or update by `manager` (POST, PUT, the three plain patches). `live` is undefined on create.
 * Call it after strategy and defaults; objects with `managedFields: []` or a single empty entry in the request reset tracking, as upstream.
 */
export function trackUpdate(_live: JsonObject | undefined, _next: JsonObject, _options: FieldManagement): void {
  throw new AppError('UNFINISHED', 'trackUpdate is being written');
}

/**
 * Server-side apply: merges `applied` (the client's intent, decoded, without managedFields) into `live` (undefined: create). The result has its
 * managedFields; strategy and defaults still have to run. Throws StatusError 409 with causes FieldManagerConflict unless `force`.
 */
export function serverSideApply(
  _live: JsonObject | undefined,
  _applied: JsonObject,
  _options: FieldManagement & { force: boolean },
): JsonObject {
  throw new AppError('UNFINISHED', 'serverSideApply is being written');
}
