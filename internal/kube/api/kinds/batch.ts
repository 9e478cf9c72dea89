import { getPath } from '../../machinery/json.ts';
import { defineKind, type KindInfo, statusSubresource } from '../kinds.ts';
import { autoscalerPrinter, cronJobPrinter, jobPrinter } from '../printers/batch.ts';
import { autoscalerStrategy, autoscalerV1Strategy, cronJobStrategy, jobStrategy } from '../strategies/batch.ts';
import { autoscalerFromV2, autoscalerToV2 } from './autoscaler-versions.ts';

/** batch and autoscaling. */
export const batchKinds: readonly KindInfo[] = [
  defineKind({
    group: 'autoscaling',
    version: 'v2',
    kind: 'HorizontalPodAutoscaler',
    printer: autoscalerPrinter,
    strategy: autoscalerStrategy,
    plural: 'horizontalpodautoscalers',
    shortNames: ['hpa'],
    categories: ['all'],
    schema: 'io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler',
    subresources: { status: statusSubresource('HorizontalPodAutoscaler') },
  }),
  defineKind({
    group: 'autoscaling',
    version: 'v1',
    kind: 'HorizontalPodAutoscaler',
    printer: { ...autoscalerPrinter, row: (object, nowMs) => autoscalerPrinter.row(autoscalerToV2(object), nowMs) },
    strategy: autoscalerV1Strategy,
    plural: 'horizontalpodautoscalers',
    shortNames: ['hpa'],
    categories: ['all'],
    schema: 'io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler',
    subresources: { status: statusSubresource('HorizontalPodAutoscaler') },
    storage: {
      group: 'autoscaling',
      resource: 'horizontalpodautoscalers',
      encode: autoscalerToV2,
      decode: autoscalerFromV2,
    },
  }),
  defineKind({
    group: 'batch',
    version: 'v1',
    kind: 'CronJob',
    printer: cronJobPrinter,
    strategy: cronJobStrategy,
    plural: 'cronjobs',
    shortNames: ['cj'],
    categories: ['all'],
    schema: 'io.k8s.api.batch.v1.CronJob',
    subresources: { status: statusSubresource('CronJob') },
  }),
  defineKind({
    group: 'batch',
    version: 'v1',
    kind: 'Job',
    printer: jobPrinter,
    strategy: jobStrategy,
    plural: 'jobs',
    categories: ['all'],
    schema: 'io.k8s.api.batch.v1.Job',
    subresources: { status: statusSubresource('Job') },
    selectableFields: { 'status.successful': (object) => String(getPath(object, 'status', 'succeeded') ?? 0) },
  }),
];
