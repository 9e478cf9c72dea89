import { Environment } from '@marcbachmann/cel-js';

interface Optional {
  orValue(otherwise: unknown): unknown;
}

/** The interpreter does not export its optional values: the type is taken from one of them. */
const none = new Environment({ enableOptionalTypes: true }).evaluate('optional.none()') as Optional;
const type = none.constructor as { of(value: unknown): Optional } & (new () => Optional);

/** `optional.of(value)`; undefined gives `optional.none()`. */
export const optionalOf = type.of;

/** What an optional value holds, undefined for `optional.none()`; any other value itself. */
export const optionalValue = (value: unknown): unknown => (value instanceof type ? value.orValue(undefined) : value);
