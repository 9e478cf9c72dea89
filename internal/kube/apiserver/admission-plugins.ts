/** The admission plugins in upstream's order (kubernetes/pkg/kubeapiserver/options/plugins.go). */
import { certificateSigning, defaultIngressClass, ownerReferences } from '../admission/certificates.ts';
import { customResourceDefinition } from '../admission/custom-resource-definition.ts';
import { expressionValidation } from '../admission/expression-validation.ts';
import { limitRanger } from '../admission/limit-ranger.ts';
import { namespaceLifecycle } from '../admission/namespace-lifecycle.ts';
import { nodeRestriction, taintNewNodes } from '../admission/node-restriction.ts';
import { defaultTolerationSeconds, priority, runtimeClass } from '../admission/pod-defaults.ts';
import { podResize } from '../admission/pod-resize.ts';
import { podSecurity } from '../admission/pod-security.ts';
import { mutatingPolicies, type PolicyServices, validatingPolicies } from '../admission/policies.ts';
import { rbacEscalation } from '../admission/rbac-escalation.ts';
import { resourceQuota } from '../admission/resource-quota.ts';
import { serviceAccount } from '../admission/service-account.ts';
import { serviceDefaults } from '../admission/service-allocation.ts';
import { claimResize, defaultStorageClass, storageProtection } from '../admission/storage.ts';
import type { AdmissionPlugin } from '../admission/types.ts';
import { mutatingWebhooks, validatingWebhooks } from '../admission/webhooks.ts';
import type { Authorizer } from '../auth/authorizer.ts';
import { getPath, isObject, jsonEqual, type JsonObject } from '../machinery/json.ts';
import type { LiveKinds } from './live-kinds.ts';
import { type Registry, WriteConflict } from './registry.ts';

export function admissionPlugins(options: {
  authorizer: Authorizer;
  services: PolicyServices;
  registry: Registry;
  kinds: LiveKinds;
}): AdmissionPlugin[] {
  const { authorizer, services } = options;
  return [
    namespaceLifecycle,
    limitRanger,
    serviceAccount,
    nodeRestriction,
    taintNewNodes,
    podSecurity,
    priority,
    defaultTolerationSeconds,
    defaultStorageClass,
    storageProtection,
    claimResize,
    runtimeClass,
    podResize,
    certificateSigning(authorizer),
    ownerReferences(authorizer),
    defaultIngressClass,
    serviceDefaults,
    rbacEscalation(authorizer),
    customResourceDefinition,
    expressionValidation,
    mutatingPolicies(services),
    mutatingWebhooks(services),
    validatingPolicies(services),
    validatingWebhooks(services),
    resourceQuota((quota, used) => noteUsed(options, quota, used)),
  ];
}

/** Writes what admission counted into the quota's status, when it says something else. A lost race is no harm: the winner counted, too. */
async function noteUsed(
  { registry, kinds }: { registry: Registry; kinds: LiveKinds },
  quota: JsonObject,
  used: Record<string, string>,
): Promise<void> {
  const kind = kinds.byGroupResource('', 'resourcequotas');
  if (kind === undefined) return;
  const metadata = quota.metadata as JsonObject;
  const before = getPath(quota, 'status', 'used');
  const hard = getPath(quota, 'spec', 'hard');
  const next = { ...(isObject(before) ? before : {}), ...used };
  if (jsonEqual(next, before) && jsonEqual(hard, getPath(quota, 'status', 'hard'))) return;
  try {
    await registry.update(kind, String(metadata.namespace), String(metadata.name), Number(metadata.resourceVersion), {
      ...quota,
      status: { ...(isObject(quota.status) ? quota.status : {}), hard, used: next },
    });
  } catch (error) {
    if (!(error instanceof WriteConflict)) throw error;
  }
}
