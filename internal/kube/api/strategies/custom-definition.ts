import { isObject, type JsonObject } from '../../machinery/json.ts';
import { formatTime } from '../../machinery/time.ts';
import type { StrategyContext } from '../kinds.ts';

/** Keeps a CustomResourceDefinition until its instances are removed. */
export const cleanupFinalizer = 'customresourcecleanup.apiextensions.k8s.io';

/** `conditions` with one set; its time changes with its status only. */
export function withCondition(conditions: readonly JsonObject[], condition: JsonObject, time: string): JsonObject[] {
  const before = conditions.find((one) => one.type === condition.type);
  const since = before?.status === condition.status ? before?.lastTransitionTime : undefined;
  const next = { lastTransitionTime: since ?? time, ...condition };
  if (before === undefined) return [...conditions, next];
  return conditions.map((one) => (one === before ? next : one));
}

/** A CustomResourceDefinition goes after its instances (k8s.io/apiextensions-apiserver/pkg/registry/customresourcedefinition/etcd.go). */
export function holdForInstances(definition: JsonObject, context: StrategyContext): void {
  const metadata = definition.metadata as JsonObject;
  const finalizers = Array.isArray(metadata.finalizers) ? metadata.finalizers : [];
  if (!finalizers.includes(cleanupFinalizer)) metadata.finalizers = [...finalizers, cleanupFinalizer];
  const status = isObject(definition.status) ? definition.status : {};
  const conditions = Array.isArray(status.conditions) ? status.conditions.filter(isObject) : [];
  definition.status = {
    ...status,
    conditions: withCondition(
      conditions,
      {
        message: 'CustomResource deletion is in progress',
        reason: 'InstanceDeletionInProgress',
        status: 'True',
        type: 'Terminating',
      },
      formatTime(context.now()),
    ),
  };
}
