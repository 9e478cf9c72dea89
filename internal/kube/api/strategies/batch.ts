import { isObject, type JsonObject } from '../../machinery/json.ts';
import {
  autoscalerDefaults,
  autoscalerV1Defaults,
  cronJobDefaults,
  jobDefaults,
  limitRangeDefaults,
  podTemplateObjectDefaults,
  replicationControllerDefaults,
  resourceQuotaDefaults,
} from '../defaults/batch.ts';
import { child } from '../defaults/helpers.ts';
import { autoscalerToV2 } from '../kinds/autoscaler-versions.ts';
import type { Strategy } from '../kinds.ts';
import { autoscalerErrors, autoscalerStatusErrors, autoscalerUpdateErrors } from '../validation/autoscaling.ts';
import {
  cronJobErrors,
  cronJobUpdateErrors,
  jobErrors,
  jobStatusErrors,
  jobUpdateErrors,
} from '../validation/batch.ts';
import {
  limitRangeErrors,
  resourceQuotaErrors,
  resourceQuotaStatusErrors,
  resourceQuotaUpdateErrors,
} from '../validation/quota.ts';
import { podTemplateObjectErrors, replicaStatusErrors, replicationControllerErrors } from '../validation/workloads.ts';
import { templateWarnings } from '../warnings/objects.ts';

/** How objects of batch and autoscaling, and quotas, templates and controllers of the core group come to be and change. */

/** Labels by which a Job's pods are its own; the first two are what old clients look for. */
function jobLabels(job: JsonObject): Record<string, string> {
  const metadata = child(job, 'metadata');
  const uid = String(metadata.uid ?? '');
  const name = String(metadata.name ?? '');
  return {
    'controller-uid': uid,
    'job-name': name,
    'batch.kubernetes.io/controller-uid': uid,
    'batch.kubernetes.io/job-name': name,
  };
}

export const jobStrategy: Strategy = {
  defaults: jobDefaults,
  generation: true,
  // As before there was a garbage collector.
  defaultPropagation: {
    policy: 'Orphan',
    warning:
      'child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning',
  },
  prepareForCreate(job) {
    job.status = {};
    const spec = child(job, 'spec');
    if (spec.manualSelector === true) return;
    const own = jobLabels(job);
    const labels = child(child(child(spec, 'template'), 'metadata'), 'labels');
    // A label that is there already stays: validation tells when it is another Job's.
    for (const name in own) labels[name] ??= own[name]!;
    const selector = child(spec, 'selector');
    if (!isObject(selector.matchLabels)) selector.matchLabels = {};
    const uidLabel = 'batch.kubernetes.io/controller-uid';
    selector.matchLabels[uidLabel] ??= own[uidLabel]!;
  },
  validate: jobErrors,
  validateUpdate: jobUpdateErrors,
  warnings: templateWarnings('spec.template'),
  subresources: { status: { validateUpdate: jobStatusErrors } },
};

export const cronJobStrategy: Strategy = {
  defaults: cronJobDefaults,
  generation: true,
  prepareForCreate(cronJob) {
    cronJob.status = {};
  },
  validate: cronJobErrors,
  validateUpdate: cronJobUpdateErrors,
  warnings: templateWarnings('spec.jobTemplate.spec.template'),
};

export const podTemplateStrategy: Strategy = {
  defaults: podTemplateObjectDefaults,
  generation: true,
  validate: podTemplateObjectErrors,
  warnings: templateWarnings('template', false),
};

export const replicationControllerStrategy: Strategy = {
  defaults: replicationControllerDefaults,
  generation: true,
  defaultPropagation: { policy: 'Orphan' },
  prepareForCreate(controller) {
    controller.status = { replicas: 0 };
  },
  validate: replicationControllerErrors,
  warnings: templateWarnings('spec.template'),
  subresources: { status: { validateUpdate: replicaStatusErrors } },
};

export const limitRangeStrategy: Strategy = { defaults: limitRangeDefaults, validate: limitRangeErrors };

export const resourceQuotaStrategy: Strategy = {
  defaults: resourceQuotaDefaults,
  prepareForCreate(quota) {
    quota.status = {};
  },
  validate: resourceQuotaErrors,
  validateUpdate: resourceQuotaUpdateErrors,
  subresources: { status: { validateUpdate: resourceQuotaStatusErrors } },
};

export const autoscalerStrategy: Strategy = {
  defaults: autoscalerDefaults,
  prepareForCreate(autoscaler) {
    autoscaler.status = { desiredReplicas: 0 };
  },
  validate: autoscalerErrors,
  validateUpdate: autoscalerUpdateErrors,
  subresources: { status: { validateUpdate: autoscalerStatusErrors } },
};

/** v1 is checked as what it becomes: only its one target has another name in what is refused. */
export const autoscalerV1Strategy: Strategy = {
  defaults: autoscalerV1Defaults,
  prepareForCreate(autoscaler) {
    autoscaler.status = { currentReplicas: 0, desiredReplicas: 0 };
  },
  validate: (object) => autoscalerErrors(autoscalerToV2(object)),
  validateUpdate: (object, old) => autoscalerUpdateErrors(autoscalerToV2(object), autoscalerToV2(old)),
  subresources: { status: { validateUpdate: autoscalerStatusErrors } },
};
