import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';

/** Sets a field that is absent. */
export function fill(object: JsonObject, key: string, value: Json): void {
  if (object[key] === undefined || object[key] === null) object[key] = value;
}

/** Sets a field that is absent or the empty string, which Go does not tell apart. */
export function fillText(object: JsonObject, key: string, value: string): void {
  if (object[key] === undefined || object[key] === null || object[key] === '') object[key] = value;
}

/** The object at `key`, made when it is missing. */
export function child(object: JsonObject, key: string): JsonObject {
  const value = object[key];
  if (isObject(value)) return value;
  const made: JsonObject = {};
  object[key] = made;
  return made;
}

/** The objects of a list; nothing for what is no list. */
export function objects(value: Json | undefined): JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}
