/** Objects of a definition that goes: what is created after its instances were removed would show again under the next definition of that name. */
import { utf8 } from '../../../base/bytes.ts';
import type { KindInfo } from '../../api/kinds.ts';
import { getPath, type JsonObject } from '../../machinery/json.ts';
import { failure, methodNotSupported } from '../../machinery/status.ts';
import type { Core } from '../context.ts';
import { objectKey } from '../keys.ts';
import type { SideEffects } from '../registry.ts';

/** Nothing is created while the definition goes. Throws 405. */
export function refuseTerminating(kind: KindInfo): void {
  if (kind.custom?.terminating === true) throw goes(kind);
}

function goes(kind: KindInfo): Error {
  const error = methodNotSupported({ group: kind.group, resource: kind.plural }, 'create');
  return failure(
    405,
    'MethodNotAllowed',
    'create not allowed while custom resource definition is terminating',
    error.status.details,
  );
}

/**
 * What the transaction that creates a custom object compares, so that the definition still stands when it happens; undefined for other kinds. A write that
 * fails by it asks again, with `fresh`: the definition is then read, where else what this server knows will do. Throws 404 when the definition is gone, 405
 * when it goes.
 */
export async function definitionStands(
  { kinds, registry, definition }: Pick<Core, 'kinds' | 'registry' | 'definition'>,
  kind: KindInfo,
  fresh: boolean,
): Promise<SideEffects | undefined> {
  if (kind.custom === undefined) return undefined;
  const { definition: name, definitionUid: uid } = kind.custom;
  const definitions = kinds.byGroupResource('apiextensions.k8s.io', 'customresourcedefinitions')!;
  const read = (): Promise<JsonObject | undefined> => registry.getObject(definitions, '', name);
  const now = fresh ? await read() : (definition(name) ?? (await read()));
  if (now === undefined || getPath(now, 'metadata', 'uid') !== uid)
    throw failure(404, 'NotFound', 'the server could not find the requested resource', {});
  if ((getPath(now, 'metadata', 'deletionTimestamp') ?? null) !== null) throw goes(kind);
  const revision = Number(getPath(now, 'metadata', 'resourceVersion'));
  return {
    compare: [{ key: utf8(objectKey(definitions, '', name)), target: 'mod', result: 'equal', value: revision }],
    ops: [],
  };
}
