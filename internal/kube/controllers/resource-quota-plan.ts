import { addUsage, concerns, inScope, usageOf, type Usage } from '../admission/quota-usage.ts';
import type { KindInfo, KindTable } from '../api/kinds.ts';
import { isObject, type JsonObject } from '../machinery/json.ts';
import { formatQuantity, parseQuantity } from '../machinery/quantity.ts';

/** Kinds that a quota's `hard` counts something of, each resource once. */
export function countedKinds(kinds: KindTable, hard: JsonObject): KindInfo[] {
  const found = new Map<string, KindInfo>();
  for (const kind of kinds.all) {
    const key = `${kind.group}/${kind.plural}`;
    if (!kind.namespaced || kind.virtual || found.has(key) || !kind.verbs.includes('list')) continue;
    if (Object.keys(hard).some((name) => concerns(kind, name))) found.set(key, kind);
  }
  return [...found.values()];
}

/** The status of a quota with these objects of its namespace. What no kind is known for has no use. */
export function quotaStatus(
  quota: JsonObject,
  existing: readonly { readonly kind: KindInfo; readonly objects: readonly JsonObject[] }[],
): { hard: Record<string, string>; used: Record<string, string> } {
  const spec = isObject(quota.spec) ? quota.spec : {};
  const hard = isObject(spec.hard) ? spec.hard : {};
  const total: Usage = {};
  for (const { kind, objects } of existing)
    for (const object of objects) if (inScope(quota, kind, object)) addUsage(total, usageOf(kind, object));
  const zero = parseQuantity('0');
  const used: Record<string, string> = {};
  for (const name of Object.keys(hard).sort())
    if (existing.some(({ kind }) => concerns(kind, name))) used[name] = formatQuantity(total[name] ?? zero);
  return { hard: Object.fromEntries(Object.entries(hard).map(([name, value]) => [name, String(value)])), used };
}
