import { isObject, type JsonObject, jsonEqual } from '../../machinery/json.ts';
import type { FieldError } from '../../machinery/status.ts';
import { formatTime } from '../../machinery/time.ts';
import { forbiddenField, immutableMessage, invalidValue } from '../../machinery/validation.ts';
import { child, objects } from '../defaults/helpers.ts';
import {
  claimDefaults,
  endpointsDefaults,
  namespaceDefaults,
  nodeDefaults,
  secretDefaults,
  serviceDefaults,
  volumeDefaults,
} from '../defaults/kinds.ts';
import { podDefaults } from '../defaults/pod.ts';
import type { Strategy } from '../kinds.ts';
import { qosClass } from '../qos.ts';
import {
  configMapErrors,
  configMapUpdateErrors,
  endpointsErrors,
  eventErrors,
  nodeErrors,
  nodeUpdateErrors,
  secretErrors,
  secretUpdateErrors,
} from '../validation/core.ts';
import { podErrors, podSpecErrors, podUpdateErrors } from '../validation/pod.ts';
import { keepAllButResources, podResizeErrors } from '../validation/pod-resize.ts';
import { serviceErrors, serviceStatusErrors, serviceUpdateErrors } from '../validation/service.ts';
import { claimErrors, claimUpdateErrors, volumeErrors, volumeUpdateErrors } from '../validation/storage.ts';
import { claimWarnings, nodeWarnings, serviceWarnings, volumeWarnings } from '../warnings/objects.ts';
import { ownPodWarnings } from '../warnings/pod.ts';

/** How objects of the core group come to be and change (pkg/registry/core/…/strategy.go). */
function specOf(object: JsonObject): JsonObject {
  return isObject(object.spec) ? object.spec : {};
}

/** Default grace period of a pod: what the request says, else the pod's; none for a pod without node or already ended. */
function podGrace(pod: JsonObject, requested: number | undefined): number {
  const status = isObject(pod.status) ? pod.status : {};
  const spec = specOf(pod);
  let seconds =
    requested ?? (typeof spec.terminationGracePeriodSeconds === 'number' ? spec.terminationGracePeriodSeconds : 0);
  if (typeof spec.nodeName !== 'string' || spec.nodeName === '') seconds = 0;
  if (status.phase === 'Failed' || status.phase === 'Succeeded') seconds = 0;
  return seconds < 0 ? 1 : seconds;
}

/** What a subresource that is about something else leaves of metadata as it was (ResetObjectMetaForStatus). */
function keepMetadata(object: JsonObject, old: JsonObject): void {
  const metadata = child(object, 'metadata');
  const before = isObject(old.metadata) ? old.metadata : {};
  for (const field of ['labels', 'annotations', 'finalizers', 'ownerReferences'])
    if (before[field] === undefined) delete metadata[field];
    else metadata[field] = before[field];
}

/** Containers for debugging are only added; what they are is checked as for a new pod. */
function ephemeralContainerErrors(pod: JsonObject, old: JsonObject): FieldError[] {
  const annotations = isObject(old.metadata) && isObject(old.metadata.annotations) ? old.metadata.annotations : {};
  if (annotations['kubernetes.io/config.mirror'] !== undefined)
    return [forbiddenField('', 'static pods do not support ephemeral containers')];
  const errors = podSpecErrors(specOf(pod), 'spec');
  const after = objects(specOf(pod).ephemeralContainers);
  for (const container of objects(specOf(old).ephemeralContainers)) {
    const kept = after.find((other) => other.name === container.name);
    const what = kept === undefined ? 'removed' : jsonEqual(kept, container) ? '' : 'changed';
    if (what !== '')
      errors.push(
        forbiddenField(
          'spec.ephemeralContainers',
          `existing ephemeral containers ${JSON.stringify(container.name)} may not be ${what}\n`,
        ),
      );
  }
  return errors;
}

/** A status without observedGeneration, in itself or in a condition, keeps the one that was there (preserveOldObservedGeneration). */
function keepObservedGeneration(status: JsonObject, before: JsonObject): void {
  if (!status.observedGeneration && before.observedGeneration) status.observedGeneration = before.observedGeneration;
  for (const condition of objects(status.conditions)) {
    if (condition.observedGeneration) continue;
    const old = objects(before.conditions).find(({ type }) => type === condition.type);
    if (old?.observedGeneration) condition.observedGeneration = old.observedGeneration;
  }
}

export const podStrategy: Strategy = {
  defaults: podDefaults,
  generation: true,
  prepareForCreate(pod) {
    const spec = child(pod, 'spec');
    const gated = objects(spec.schedulingGates).length > 0;
    pod.status = {
      phase: 'Pending',
      ...(gated
        ? {
            conditions: [
              {
                type: 'PodScheduled',
                status: 'False',
                reason: 'SchedulingGated',
                message: 'Scheduling is blocked due to non-empty scheduling gates',
                lastProbeTime: null,
                lastTransitionTime: (pod.metadata as JsonObject | undefined)?.creationTimestamp ?? null,
              },
            ],
          }
        : {}),
      qosClass: qosClass(spec),
    };
  },
  validate: podErrors,
  validateUpdate: podUpdateErrors,
  subresources: {
    status: {
      prepareForUpdate(pod, old) {
        // Status writers have no say in who owns the pod.
        const owners = (old.metadata as JsonObject).ownerReferences;
        const metadata = child(pod, 'metadata');
        if (owners === undefined) delete metadata.ownerReferences;
        else metadata.ownerReferences = owners;
        const before = isObject(old.status) ? old.status : {};
        const status = child(pod, 'status');
        if (status.qosClass === undefined && before.qosClass !== undefined) status.qosClass = before.qosClass;
        keepObservedGeneration(status, before);
      },
      validateUpdate(pod, old) {
        const status = isObject(pod.status) ? pod.status : {};
        const before = isObject(old.status) ? old.status : {};
        // A pod that somebody stored without one gets it from its node.
        if (before.qosClass === undefined || status.qosClass === before.qosClass) return [];
        return [invalidValue('status.qosClass', status.qosClass ?? '', immutableMessage)];
      },
    },
    ephemeralcontainers: {
      prepareForUpdate(pod, old) {
        const wanted = specOf(pod).ephemeralContainers;
        pod.spec = { ...specOf(old), ...(wanted === undefined ? {} : { ephemeralContainers: wanted }) };
        if (old.status !== undefined) pod.status = old.status;
        keepMetadata(pod, old);
      },
      validateUpdate: ephemeralContainerErrors,
    },
    resize: {
      prepareForUpdate(pod, old) {
        keepAllButResources(pod, old);
        keepMetadata(pod, old);
      },
      validateUpdate: podResizeErrors,
    },
  },
  gracePeriodSeconds: podGrace,
  // Controllers write pods all the time, people only new ones.
  warnings: (pod, old) => (old === undefined ? ownPodWarnings(pod) : []),
};

export const serviceStrategy: Strategy = {
  defaults: serviceDefaults,
  prepareForCreate(service) {
    service.status = { loadBalancer: {} };
  },
  prepareForUpdate(service, old) {
    const spec = child(service, 'spec');
    const before = specOf(old);
    // A client that leaves the addresses out means to keep them.
    if (spec.type !== 'ExternalName' && before.type !== 'ExternalName') {
      for (const field of ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy'])
        if ((spec[field] === undefined || spec[field] === '') && before[field] !== undefined)
          spec[field] = before[field];
    }
  },
  validate: serviceErrors,
  validateUpdate: serviceUpdateErrors,
  subresources: { status: { validateUpdate: serviceStatusErrors } },
  warnings: serviceWarnings,
};

export const claimStrategy: Strategy = {
  defaults: claimDefaults,
  prepareForCreate(claim) {
    claim.status = { phase: 'Pending' };
  },
  validate: claimErrors,
  validateUpdate: claimUpdateErrors,
  warnings: claimWarnings,
};

export const volumeStrategy: Strategy = {
  defaults: volumeDefaults,
  prepareForCreate(volume, context) {
    volume.status = {
      phase: 'Pending',
      lastPhaseTransitionTime: formatTime(context.now()),
    };
  },
  validate: volumeErrors,
  validateUpdate: volumeUpdateErrors,
  warnings: volumeWarnings,
  subresources: {
    status: {
      /** Who tells a phase may tell since when; else it is since now, or what it was (registry/core/persistentvolume/strategy.go). */
      prepareForUpdate(volume, old, context) {
        const now = child(volume, 'status');
        const before = isObject(old.status) ? old.status : {};
        const told = now.lastPhaseTransitionTime ?? undefined;
        if (now.phase === before.phase) {
          if (told === undefined && before.lastPhaseTransitionTime !== undefined)
            now.lastPhaseTransitionTime = before.lastPhaseTransitionTime;
        } else if (told === undefined || told === before.lastPhaseTransitionTime)
          now.lastPhaseTransitionTime = formatTime(context.now());
      },
    },
  },
};

export const namespaceStrategy: Strategy = {
  defaults: namespaceDefaults,
  prepareForCreate(namespace) {
    const finalizers = specOf(namespace).finalizers;
    namespace.spec = {
      finalizers:
        Array.isArray(finalizers) && finalizers.includes('kubernetes')
          ? finalizers
          : [...(Array.isArray(finalizers) ? finalizers : []), 'kubernetes'],
    };
    namespace.status = { phase: 'Active' };
  },
  prepareForUpdate(namespace, old) {
    // spec.finalizers changes through /finalize only.
    namespace.spec = specOf(old);
  },
  subresources: {
    status: {
      prepareForUpdate(namespace, old) {
        namespace.spec = specOf(old);
      },
    },
    finalize: {
      prepareForUpdate(namespace, old) {
        if (old.status !== undefined) namespace.status = old.status;
      },
    },
  },
};

export const nodeStrategy: Strategy = {
  defaults: nodeDefaults,
  statusOnCreate: true,
  validate: nodeErrors,
  validateUpdate: nodeUpdateErrors,
  warnings: nodeWarnings,
};

export const configMapStrategy: Strategy = { validate: configMapErrors, validateUpdate: configMapUpdateErrors };

export const secretStrategy: Strategy = {
  defaults: secretDefaults,
  validate: secretErrors,
  validateUpdate: secretUpdateErrors,
};

export const endpointsStrategy: Strategy = {
  defaults: endpointsDefaults,
  validate: endpointsErrors,
  allowCreateOnUpdate: true,
};

export const eventStrategy: Strategy = {
  validate: eventErrors,
  validateUpdate: eventErrors,
  allowCreateOnUpdate: true,
};
