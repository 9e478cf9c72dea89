import { getPath, isObject, type JsonObject } from '../machinery/json.ts';
import { addQuantities, compareQuantities, formatQuantity, type Quantity, tryQuantity } from '../machinery/quantity.ts';
import { conflict, forbidden } from '../machinery/status.ts';
import { addUsage, concerns, inScope, usageOf, type Usage } from './quota-usage.ts';
import {
  type AdmissionContext,
  type AdmissionPlugin,
  type AdmissionRequest,
  isFor,
  nothingBeside,
  together,
  type WriteEffects,
} from './types.ts';

/** Resources that every container has to say when a quota limits them. */
const mustBeSaid = ['cpu', 'memory'];

/** What a quota's use is written with. */
export interface QuotaWriter {
  /** Writes the new use into the status of the quota that was read; fails the transaction when the quota is another by then. */
  beside(quota: JsonObject, used: Record<string, string>): Promise<WriteEffects>;
  /** Whether a write failed because of what stood beside it. */
  isLost(error: unknown): boolean;
}

/** How often use is counted anew because another server wrote in the namespace meanwhile. */
const attemptsMax = 30;

/**
 * ResourceQuota: what a new or grown object uses, with all that is there, must fit every quota of its namespace. Use is counted from the objects themselves, so
 * that it is right whoever deleted what. The object and the use in the quotas' status are one transaction, which fails when a quota has changed since it was
 * read: whatever grew on any server before is counted. (Upstream compares the status alone, and writes the object after it: pkg/quota in k8s.io/apiserver's
 * admission plugin.)
 */
export function resourceQuota(writer: QuotaWriter): AdmissionPlugin {
  /** One after the other in a namespace, so that the requests of this server do not fail each other. */
  const turns = new Map<string, Promise<void>>();

  const quotasFor = async ({ kind, namespace, object }: AdmissionRequest, { reader }: AdmissionContext) =>
    (await reader.list('', 'resourcequotas', namespace)).filter((quota) => {
      const hard = getPath(quota, 'spec', 'hard');
      return isObject(hard) && Object.keys(hard).some((name) => concerns(kind, name)) && inScope(quota, kind, object!);
    });

  /** The quotas and their use after the request. Throws 403 when one is exceeded. */
  const count = async (
    request: AdmissionRequest,
    context: AdmissionContext,
    quotas: readonly JsonObject[],
  ): Promise<[quota: JsonObject, used: Record<string, string>][]> => {
    if (quotas.length === 0) return [];
    const { kind, namespace } = request;
    for (const quota of quotas) refuseUnsaid(request, quota);
    const existing = await context.reader.list(kind.group, kind.plural, namespace);
    const others = existing.filter((one) => getPath(one, 'metadata', 'name') !== request.name);
    return quotas.map((quota) => {
      const used: Usage = {};
      for (const one of others) if (inScope(quota, kind, one)) addUsage(used, usageOf(kind, one));
      return [quota, useAfter(request, quota, used)];
    });
  };

  const writeCounted = async <T>(
    request: AdmissionRequest,
    context: AdmissionContext,
    write: (beside: WriteEffects) => Promise<T>,
  ): Promise<T> => {
    let quotas = await quotasFor(request, context);
    for (let attempt = 1; ; attempt++) {
      const parts = await Promise.all((await count(request, context, quotas)).map((one) => writer.beside(...one)));
      try {
        return await write(together(parts));
      } catch (error) {
        if (!writer.isLost(error)) throw error;
        const now = await quotasFor(request, context);
        // It was lost for something else: what is written may have to be chosen again.
        if (revisions(now) === revisions(quotas)) throw error;
        if (attempt >= attemptsMax)
          throw conflict({ group: request.kind.group, resource: request.kind.plural }, request.name);
        // Not read once more: who lost would always be a read later than the server that won, and lose again.
        quotas = now;
      }
    }
  };

  return {
    name: 'ResourceQuota',
    async validate(request, context) {
      if (request.dryRun && grows(request)) await count(request, context, await quotasFor(request, context));
    },
    async store(request, context, write) {
      if (!grows(request) || (await quotasFor(request, context)).length === 0) return write(nothingBeside);
      const key = request.namespace;
      const before = turns.get(key) ?? Promise.resolve();
      const turn = before.then(() => writeCounted(request, context, write));
      const settled = turn.then(
        () => undefined,
        () => undefined,
      );
      turns.set(key, settled);
      try {
        return await turn;
      } finally {
        if (turns.get(key) === settled) turns.delete(key);
      }
    },
  };
}

/** Whether the request makes the namespace use more of something. */
function grows(request: AdmissionRequest): boolean {
  const { kind, object, old, operation } = request;
  if (!kind.namespaced || object === undefined) return false;
  if (request.subresource !== '' && !isFor(request, '', 'pods', 'resize')) return false;
  if (operation === 'CREATE') return true;
  if (operation !== 'UPDATE' || old === undefined) return false;
  const before = usageOf(kind, old);
  return Object.entries(usageOf(kind, object)).some(([name, { nano }]) => nano > (before[name]?.nano ?? 0n));
}

const revisions = (quotas: readonly JsonObject[]): string =>
  quotas
    .map(({ metadata }) => `${String(getPath(metadata, 'uid'))} ${String(getPath(metadata, 'resourceVersion'))}`)
    .join();

/** The use of the quota after the request. Throws 403 when it does not fit. */
function useAfter(request: AdmissionRequest, quota: JsonObject, used: Usage): Record<string, string> {
  const wanted = usageOf(request.kind, request.object!);
  const before = request.old === undefined ? {} : usageOf(request.kind, request.old);
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
