import { isObject, type JsonObject, jsonEqual } from '../../machinery/json.ts';
import { parseTime } from '../../machinery/time.ts';
import {
  csiDriverDefaults,
  daemonSetDefaults,
  deploymentDefaults,
  endpointSliceDefaults,
  priorityClassDefaults,
  replicaSetDefaults,
  roleBindingDefaults,
  statefulSetDefaults,
  storageClassDefaults,
} from '../defaults/kinds.ts';
import type { Strategy } from '../kinds.ts';
import { endpointSliceErrors, endpointSliceUpdateErrors, leaseErrors } from '../validation/core.ts';
import {
  priorityClassErrors,
  priorityClassUpdateErrors,
  roleBindingErrors,
  roleBindingUpdateErrors,
  roleErrors,
} from '../validation/rbac.ts';
import {
  csiDriverErrors,
  csiDriverUpdateErrors,
  csiNodeErrors,
  storageClassErrors,
  storageClassUpdateErrors,
  volumeAttachmentErrors,
  volumeAttachmentUpdateErrors,
} from '../validation/storage.ts';
import {
  controllerRevisionErrors,
  controllerRevisionUpdateErrors,
  daemonSetErrors,
  daemonSetStatusErrors,
  daemonSetUpdateErrors,
  deploymentErrors,
  deploymentStatusErrors,
  deploymentUpdateErrors,
  disruptionBudgetErrors,
  replicaSetErrors,
  replicaStatusErrors,
  replicaSetUpdateErrors,
  statefulSetErrors,
  statefulSetStatusErrors,
  statefulSetUpdateErrors,
} from '../validation/workloads.ts';
import { storageCapacityWarnings, storageClassWarnings } from '../warnings/objects.ts';
import { templateWarnings } from '../warnings/objects.ts';

/** How objects of the named groups come to be and change (pkg/registry/<group>/…/strategy.go). */
function annotationsOf(object: JsonObject): unknown {
  return isObject(object.metadata) ? object.metadata.annotations : undefined;
}

export const deploymentStrategy: Strategy = {
  defaults: deploymentDefaults,
  generation: true,
  // Annotations of a Deployment are copied to its ReplicaSets, so they count as its specification.
  specChanged: (object, old) =>
    !jsonEqual(object.spec, old.spec) || !jsonEqual(annotationsOf(object), annotationsOf(old)),
  prepareForCreate(deployment) {
    deployment.status = {};
  },
  validate: deploymentErrors,
  validateUpdate: deploymentUpdateErrors,
  warnings: templateWarnings('spec.template'),
  subresources: { status: { validateUpdate: deploymentStatusErrors } },
};

export const replicaSetStrategy: Strategy = {
  defaults: replicaSetDefaults,
  generation: true,
  prepareForCreate(set) {
    set.status = { replicas: 0 };
  },
  validate: replicaSetErrors,
  validateUpdate: replicaSetUpdateErrors,
  warnings: templateWarnings('spec.template'),
  subresources: { status: { validateUpdate: replicaStatusErrors } },
};

export const statefulSetStrategy: Strategy = {
  defaults: statefulSetDefaults,
  generation: true,
  prepareForCreate(set) {
    set.status = { replicas: 0, availableReplicas: 0 };
  },
  validate: statefulSetErrors,
  validateUpdate: statefulSetUpdateErrors,
  warnings: templateWarnings('spec.template', false),
  subresources: { status: { validateUpdate: statefulSetStatusErrors } },
};

export const daemonSetStrategy: Strategy = {
  defaults: daemonSetDefaults,
  generation: true,
  prepareForCreate(set) {
    set.status = { currentNumberScheduled: 0, numberMisscheduled: 0, desiredNumberScheduled: 0, numberReady: 0 };
  },
  validate: daemonSetErrors,
  validateUpdate: daemonSetUpdateErrors,
  warnings: templateWarnings('spec.template', false),
  subresources: { status: { validateUpdate: daemonSetStatusErrors } },
};

export const controllerRevisionStrategy: Strategy = {
  validate: controllerRevisionErrors,
  validateUpdate: controllerRevisionUpdateErrors,
};

export const disruptionBudgetStrategy: Strategy = {
  generation: true,
  prepareForCreate(budget) {
    budget.status = { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 };
  },
  validate: disruptionBudgetErrors,
};

export const endpointSliceStrategy: Strategy = {
  defaults: endpointSliceDefaults,
  generation: true,
  validate: endpointSliceErrors,
  validateUpdate: endpointSliceUpdateErrors,
};

/** A Lease whose times do not parse cannot be compared by its holders; decoding has checked that already. */
export const leaseStrategy: Strategy = {
  allowCreateOnUpdate: true,
  allowUnconditionalUpdate: false,
  validate: leaseErrors,
  warnings: (lease) => {
    const renew = isObject(lease.spec) ? lease.spec.renewTime : undefined;
    return renew !== undefined && parseTime(renew) === undefined ? ['spec.renewTime is not a time'] : [];
  },
};

export const roleStrategy: Strategy = { allowCreateOnUpdate: true, validate: (role) => roleErrors(role, true) };
export const clusterRoleStrategy: Strategy = { allowCreateOnUpdate: true, validate: (role) => roleErrors(role, false) };
export const namespacedBindingStrategy: Strategy = {
  defaults: roleBindingDefaults,
  allowCreateOnUpdate: true,
  validate: (binding) => roleBindingErrors(binding, true),
  validateUpdate: (binding, old) => roleBindingUpdateErrors(binding, old, true),
};
export const clusterBindingStrategy: Strategy = {
  defaults: roleBindingDefaults,
  allowCreateOnUpdate: true,
  validate: (binding) => roleBindingErrors(binding, false),
  validateUpdate: (binding, old) => roleBindingUpdateErrors(binding, old, false),
};

export const storageClassStrategy: Strategy = {
  defaults: storageClassDefaults,
  validate: storageClassErrors,
  validateUpdate: storageClassUpdateErrors,
  warnings: storageClassWarnings,
};

export const csiStorageCapacityStrategy: Strategy = { warnings: storageCapacityWarnings };

export const csiDriverStrategy: Strategy = {
  defaults: csiDriverDefaults,
  validate: csiDriverErrors,
  validateUpdate: csiDriverUpdateErrors,
};

export const csiNodeStrategy: Strategy = { validate: csiNodeErrors, validateUpdate: csiNodeErrors };

export const volumeAttachmentStrategy: Strategy = {
  prepareForCreate(attachment) {
    attachment.status = { attached: false };
  },
  validate: volumeAttachmentErrors,
  validateUpdate: volumeAttachmentUpdateErrors,
};

export const priorityClassStrategy: Strategy = {
  defaults: priorityClassDefaults,
  validate: priorityClassErrors,
  validateUpdate: priorityClassUpdateErrors,
};
