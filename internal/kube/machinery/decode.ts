import { AppError } from '../../base/errors.ts';
import type { JsonObject } from './json.ts';
import type { SchemaSource } from './openapi.ts';

/** The `fieldValidation` query parameter; Warn is the server's default. */
export type FieldValidation = 'Ignore' | 'Warn' | 'Strict';

export interface DecodeOptions {
  /** Definition to decode into; undefined keeps every field (unstructured). */
  schema?: string;
  source: SchemaSource;
  fieldValidation: FieldValidation;
}

export interface Decoded {
  object: JsonObject;
  /** Texts for `Warning: 299` headers. */
  warnings: string[];
}

/**
 * A request body as an object: JSON or YAML by media type (`application/json`, `application/yaml`, `application/apply-patch+yaml`, …), unknown fields
 * dropped and reported, duplicate keys reported, scalars checked against the schema. Throws StatusError 400 or 415.
 */
export function decodeBody(_body: Uint8Array, _mediaType: string, _options: DecodeOptions): Decoded {
  throw new AppError('UNFINISHED', 'decodeBody is being written');
}

/** The same checks for an object that is already parsed (the result of a patch). */
export function decodeObject(_value: unknown, _options: DecodeOptions): Decoded {
  throw new AppError('UNFINISHED', 'decodeObject is being written');
}
