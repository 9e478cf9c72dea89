import type { KindInfo } from '../api/kinds.ts';
import { getPath, isObject, type JsonObject } from '../machinery/json.ts';
import { addQuantities, compareQuantities, formatQuantity, type Quantity, tryQuantity } from '../machinery/quantity.ts';
import { forbidden } from '../machinery/status.ts';
import { addUsage, concerns, inScope, usageOf, type Usage } from './quota-usage.ts';
import { type AdmissionContext, type AdmissionPlugin, type AdmissionRequest, isFor } from './types.ts';

/** What was admitted and is not in the store yet: counted until it shows, or for this long. */
const reservedMs = 5000;

interface Reservation {
  readonly kind: KindInfo;
  readonly name: string;
  readonly object: JsonObject;
  readonly until: number;
}

/** Resources that every container has to say when a quota limits them. */
const mustBeSaid = ['cpu', 'memory'];

/** Writes the new use into the quota's status; false when another was faster. */
export type NoteUsed = (quota: JsonObject, used: Record<string, string>) => Promise<void>;

/**
 * ResourceQuota: what a new or grown object uses, with all that is there, must fit every quota of its namespace. Use is counted from the objects themselves, so
 * that it is right whoever deleted what.
 */
export function resourceQuota(noteUsed: NoteUsed): AdmissionPlugin {
  const reservations = new Map<string, Reservation[]>();
  /** One after the other in a namespace: two requests must not both take the last place. */
  const turns = new Map<string, Promise<void>>();

  const check = async (request: AdmissionRequest, context: AdmissionContext): Promise<void> => {
    const { kind, namespace } = request;
    const object = request.object!;
    const quotas = (await context.reader.list('', 'resourcequotas', namespace)).filter((quota) => {
      const hard = getPath(quota, 'spec', 'hard');
      return isObject(hard) && Object.keys(hard).some((name) => concerns(kind, name)) && inScope(quota, kind, object);
    });
    if (quotas.length === 0) return;
    const wanted = usageOf(kind, object);
    const before = request.old === undefined ? {} : usageOf(kind, request.old);
    for (const quota of quotas) refuseUnsaid(request, quota);
    const now = context.now();
    const held = (reservations.get(namespace) ?? []).filter((one) => one.until > now);
    const existing = await context.reader.list(kind.group, kind.plural, namespace);
    const names = new Set(existing.map((one) => String(getPath(one, 'metadata', 'name'))));
    const waiting = held.filter((one) => one.kind === kind && !names.has(one.name)).map((one) => one.object);
    const others = [...existing.filter((one) => getPath(one, 'metadata', 'name') !== request.name), ...waiting];
    const notes: [JsonObject, Record<string, string>][] = [];
    for (const quota of quotas) {
      const used: Usage = {};
      for (const one of others) if (inScope(quota, kind, one)) addUsage(used, usageOf(kind, one));
      notes.push([quota, useAfter(request, quota, used, wanted, before)]);
    }
    if (request.dryRun) return;
    held.push({ kind, name: request.name, object, until: now + reservedMs });
    reservations.set(namespace, held);
    for (const [quota, used] of notes) await noteUsed(quota, used);
  };

  return {
    name: 'ResourceQuota',
    async validate(request, context) {
      if (!request.kind.namespaced || request.object === undefined) return;
      if (request.subresource !== '' && !isFor(request, '', 'pods', 'resize')) return;
      if (request.operation !== 'CREATE' && request.operation !== 'UPDATE') return;
      const key = request.namespace;
      const before = turns.get(key) ?? Promise.resolve();
      const turn = before.then(() => check(request, context));
      const settled = turn.catch(() => undefined);
      turns.set(key, settled);
      try {
        await turn;
      } finally {
        if (turns.get(key) === settled) turns.delete(key);
      }
    },
  };
}

/** The use of the quota after the request. Throws 403 when it does not fit. */
function useAfter(
  request: AdmissionRequest,
  quota: JsonObject,
  used: Usage,
  wanted: Usage,
  before: Usage,
): Record<string, string> {
  const hard = getPath(quota, 'spec', 'hard') as JsonObject;
  const exceeded: { name: string; requested: Quantity; used: Quantity; limited: Quantity }[] = [];
  const after: Record<string, string> = {};
  const zero: Quantity = { nano: 0n, format: 'DecimalSI' };
  for (const name of Object.keys(hard).sort()) {
    const limited = tryQuantity(hard[name]);
    if (limited === undefined || !concerns(request.kind, name)) continue;
    const have = used[name] ?? zero;
    const own = wanted[name] ?? zero;
    const total = addQuantities(have, own);
    after[name] = formatQuantity(total);
    // What does not grow is not refused, even where the quota is exceeded already.
    if (own.nano <= (before[name] ?? zero).nano) continue;
    if (compareQuantities(total, limited) > 0) {
      const old = before[name] ?? zero;
      exceeded.push({
        name,
        requested: { ...own, nano: own.nano - old.nano },
        used: addQuantities(have, old),
        limited,
      });
    }
  }
  if (exceeded.length > 0) {
    const list = (of: 'requested' | 'used' | 'limited'): string =>
      exceeded.map((one) => `${one.name}=${formatQuantity(one[of])}`).join(',');
    throw forbidden(
      { group: request.kind.group, resource: request.kind.plural },
      request.name,
      `exceeded quota: ${String(getPath(quota, 'metadata', 'name'))}, requested: ${list('requested')}, used: ${list('used')}, limited: ${list('limited')}`,
    );
  }
  return after;
}

/** A quota of cpu or memory makes every container say them. */
function refuseUnsaid(request: AdmissionRequest, quota: JsonObject): void {
  if (request.kind.group !== '' || request.kind.plural !== 'pods' || request.operation !== 'CREATE') return;
  const hard = getPath(quota, 'spec', 'hard') as JsonObject;
  const spec = request.object?.spec;
  if (!isObject(spec)) return;
  const containers = [spec.initContainers, spec.containers].flatMap((list) =>
    Array.isArray(list) ? list.filter(isObject) : [],
  );
  const missing: string[] = [];
  for (const name of Object.keys(hard).sort()) {
    const [field, resource] = name.startsWith('limits.')
      ? (['limits', name.slice('limits.'.length)] as const)
      : (['requests', name.replace(/^requests\./, '')] as const);
    if (!mustBeSaid.includes(resource)) continue;
    if (tryQuantity(getPath(spec, 'resources', field, resource)) !== undefined) continue;
    const silent = containers.filter((one) => getPath(one, 'resources', field, resource) === undefined);
    if (silent.length > 0) missing.push(`${name} for: ${silent.map((one) => String(one.name)).join(',')}`);
  }
  if (missing.length > 0)
    throw forbidden(
      { group: '', resource: 'pods' },
      request.name,
      `failed quota: ${String(getPath(quota, 'metadata', 'name'))}: must specify ${missing.join('; ')}`,
    );
}
