import { Environment } from '@marcbachmann/cel-js';

/** The interpreter does not export its optional values: the type is taken from one of them. */
const none = new Environment({ enableOptionalTypes: true }).evaluate('optional.none()') as { constructor: unknown };

/** `optional.of(value)`; undefined gives `optional.none()`. */
export const optionalOf = (none.constructor as { of(value: unknown): unknown }).of;
