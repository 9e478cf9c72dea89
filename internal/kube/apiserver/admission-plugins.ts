/** The admission plugins in upstream's order (kubernetes/pkg/kubeapiserver/options/plugins.go). */
import { certificateSigning, defaultIngressClass, ownerReferences } from '../admission/certificates.ts';
import { customResourceDefinition } from '../admission/custom-resource-definition.ts';
import { expressionValidation } from '../admission/expression-validation.ts';
import { limitRanger } from '../admission/limit-ranger.ts';
import { namespaceLifecycle } from '../admission/namespace-lifecycle.ts';
import { nodeRestriction, taintNewNodes } from '../admission/node-restriction.ts';
import { defaultTolerationSeconds, podTopologyLabels, priority, runtimeClass } from '../admission/pod-defaults.ts';
import { podResize } from '../admission/pod-resize.ts';
import { podSecurity } from '../admission/pod-security.ts';
import { mutatingPolicies, type PolicyServices, validatingPolicies } from '../admission/policies.ts';
import { rbacEscalation } from '../admission/rbac-escalation.ts';
import { type QuotaWriter, resourceQuota } from '../admission/resource-quota.ts';
import { serviceAccount } from '../admission/service-account.ts';
import { serviceDefaults } from '../admission/service-allocation.ts';
import { claimResize, defaultStorageClass, storageProtection } from '../admission/storage.ts';
import type { AdmissionPlugin } from '../admission/types.ts';
import { mutatingWebhooks, validatingWebhooks } from '../admission/webhooks.ts';
import type { Authorizer } from '../auth/authorizer.ts';
import { getPath, isObject, type JsonObject } from '../machinery/json.ts';
import type { LiveKinds } from './live-kinds.ts';
import { type Registry, SideConflict } from './registry.ts';

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
    podTopologyLabels,
    serviceDefaults,
    rbacEscalation(authorizer),
    customResourceDefinition,
    expressionValidation,
    mutatingPolicies(services),
    mutatingWebhooks(services),
    validatingPolicies(services),
    validatingWebhooks(services),
    resourceQuota(quotaWriter(options)),
  ];
}

/** How admission writes what it counted into a quota's status: in the transaction of the object, if the quota is what was read. */
function quotaWriter({ registry, kinds }: { registry: Registry; kinds: LiveKinds }): QuotaWriter {
  return {
    async beside(quota, used) {
      const kind = kinds.byGroupResource('', 'resourcequotas')!;
      const metadata = quota.metadata as JsonObject;
      const before = getPath(quota, 'status', 'used');
      const status = {
        ...(isObject(quota.status) ? quota.status : {}),
        hard: getPath(quota, 'spec', 'hard')!,
        used: { ...(isObject(before) ? before : {}), ...used },
      };
      // Also where it says so already: the new revision is what other writers see.
      return registry.besides(
        kind,
        String(metadata.namespace),
        String(metadata.name),
        Number(metadata.resourceVersion),
        {
          ...quota,
          status,
        },
      );
    },
    isLost: (error) => error instanceof SideConflict,
  };
}
