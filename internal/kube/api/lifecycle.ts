import { AppError } from '../../base/errors.ts';
import type { JsonObject } from '../machinery/json.ts';
import type { KindInfo, StrategyContext } from './kinds.ts';

/**
 * What happens to an object between decoding and the store, for every kind: the rules of metadata and the kind's strategy in upstream's order.
 * Admission runs after `fillDefaults` and before `beforeCreate`/`beforeUpdate`.
 */

/** Defaults of the kind. Also for what is read back. */
export function fillDefaults(kind: KindInfo, object: JsonObject): void {
  kind.strategy.defaults?.(object);
}

/**
 * Prepares a new object: name from generateName, uid, creationTimestamp, generation, cleared system fields; then validates. Throws StatusError 422, or 400
 * for a namespace that is not the request's.
 */
export function beforeCreate(
  _kind: KindInfo,
  _object: JsonObject,
  _request: { namespace: string | undefined },
  _context: StrategyContext,
): void {
  throw new AppError('UNFINISHED', 'beforeCreate is being written');
}

/**
 * Prepares an update through the main resource (`subresource` '') or a subresource that writes the parent (`status`, …): system fields from `old`, generation
 * + 1 when the spec changed; then validates. Throws StatusError 422, 409 for a uid that differs.
 */
export function beforeUpdate(
  _kind: KindInfo,
  _subresource: string,
  _object: JsonObject,
  _old: JsonObject,
  _context: StrategyContext,
): void {
  throw new AppError('UNFINISHED', 'beforeUpdate is being written');
}

/** The fields of an object that a field selector of this kind may name. */
export function fieldReader(kind: KindInfo, field: string): ((object: JsonObject) => string) | undefined {
  if (field === 'metadata.name') return (object) => String((object.metadata as JsonObject | undefined)?.name ?? '');
  if (field === 'metadata.namespace' && kind.namespaced)
    return (object) => String((object.metadata as JsonObject | undefined)?.namespace ?? '');
  return kind.selectableFields[field];
}
