import type { JsonObject } from '../../machinery/json.ts';
import type { Printer } from '../../machinery/table.ts';
import { age, humanDuration, parseTime } from '../../machinery/time.ts';
import { objects } from '../defaults/helpers.ts';
import {
  ageColumn,
  ageOf,
  column,
  containerCells,
  containerColumns,
  count,
  labelsText,
  nameColumn,
  nameOf,
  orNone,
  part,
  selectorColumn,
  selectorText,
  text,
} from './cells.ts';

/** Columns of batch, autoscaling and the templates and controllers of the core group. */
const integer = { type: 'integer' } as const;

function jobStatus(job: JsonObject): string {
  const conditions = objects(part(job, 'status').conditions);
  const holds = (type: string): boolean =>
    conditions.some((condition) => condition.type === type && condition.status === 'True');
  if (holds('Complete')) return 'Complete';
  if (holds('Failed')) return 'Failed';
  if (part(job, 'metadata').deletionTimestamp !== undefined) return 'Terminating';
  if (holds('Suspended')) return 'Suspended';
  if (holds('FailureTarget')) return 'FailureTarget';
  if (holds('SuccessCriteriaMet')) return 'SuccessCriteriaMet';
  return 'Running';
}

export const jobPrinter: Printer = {
  columns: [
    nameColumn,
    column('Status', 'Whether it runs, is complete, failed, suspended or being deleted.'),
    column('Completions', 'How many pods have succeeded, of how many.'),
    column('Duration', 'From its start to its end, or until now.'),
    ageColumn,
    ...containerColumns,
    selectorColumn,
  ],
  row(job, nowMs) {
    const spec = part(job, 'spec');
    const status = part(job, 'status');
    const done = count(status.succeeded);
    const parallelism = typeof spec.parallelism === 'number' ? spec.parallelism : 0;
    const completions =
      typeof spec.completions === 'number'
        ? `${done}/${spec.completions}`
        : parallelism > 1
          ? `${done}/1 of ${parallelism}`
          : `${done}/1`;
    const started = parseTime(status.startTime);
    const ended = parseTime(status.completionTime);
    return [
      nameOf(job),
      jobStatus(job),
      completions,
      started === undefined ? '' : humanDuration((ended ?? nowMs) - started),
      ageOf(job, nowMs),
      ...containerCells(spec),
      selectorText(spec.selector),
    ];
  },
};

export const cronJobPrinter: Printer = {
  columns: [
    nameColumn,
    column('Schedule', 'When it runs, as cron writes it.'),
    column('Timezone', 'The time zone of the schedule.'),
    column('Suspend', 'Whether no new runs are started.', { type: 'boolean' }),
    column('Active', 'How many jobs run.', integer),
    column('Last Schedule', 'Time since the last run was due.'),
    ageColumn,
    ...containerColumns,
    selectorColumn,
  ],
  row(cronJob, nowMs) {
    const spec = part(cronJob, 'spec');
    const status = part(cronJob, 'status');
    const jobSpec = part(part(spec, 'jobTemplate'), 'spec');
    return [
      nameOf(cronJob),
      text(spec.schedule),
      orNone(text(spec.timeZone)),
      spec.suspend === undefined ? '<unset>' : spec.suspend === true ? 'True' : 'False',
      objects(status.active).length,
      status.lastScheduleTime === undefined ? '<none>' : age(status.lastScheduleTime, nowMs),
      ageOf(cronJob, nowMs),
      ...containerCells(jobSpec),
      selectorText(jobSpec.selector),
    ];
  },
};

export const podTemplatePrinter: Printer = {
  columns: [
    nameColumn,
    column('Containers', 'Names of each container in the template.'),
    column('Images', 'Images referenced by each container in the template.'),
    column('Pod Labels', 'The labels for the pod template.'),
  ],
  row: (template) => [
    nameOf(template),
    ...containerCells(template),
    labelsText(part(part(template, 'template'), 'metadata').labels),
  ],
};

export const replicationControllerPrinter: Printer = {
  columns: [
    nameColumn,
    column('Desired', 'How many pods there should be.', integer),
    column('Current', 'How many pods there are.', integer),
    column('Ready', 'How many of them are ready.', integer),
    ageColumn,
    ...containerColumns,
    selectorColumn,
  ],
  row(controller, nowMs) {
    const spec = part(controller, 'spec');
    const status = part(controller, 'status');
    return [
      nameOf(controller),
      count(spec.replicas),
      count(status.replicas),
      count(status.readyReplicas),
      ageOf(controller, nowMs),
      ...containerCells(spec),
      labelsText(spec.selector),
    ];
  },
};

const unknown = '<unknown>';

/** What is measured and what is wanted of one metric: `cpu: 20%/50%`. */
function targetText(spec: JsonObject, current: JsonObject | undefined): string {
  const averageText = (word: string, source: string): string => {
    const target = part(part(spec, source), 'target');
    const now = part(current === undefined ? {} : part(current, source), 'current');
    if (target.averageValue !== undefined)
      return `${word === '' ? '' : `${word}: `}${text(now.averageValue) || unknown}/${text(target.averageValue)}`;
    if (target.averageUtilization !== undefined)
      return `${word === '' ? '' : `${word}: `}${now.averageUtilization === undefined ? unknown : `${text(now.averageUtilization)}%`}/${text(target.averageUtilization)}%`;
    return `${word === '' ? '' : `${word}: `}${unknown}/<auto>`;
  };
  const valueText = (source: string): string => {
    const target = part(part(spec, source), 'target');
    const now = part(current === undefined ? {} : part(current, source), 'current');
    if (target.averageValue !== undefined)
      return `${text(now.averageValue) || unknown}/${text(target.averageValue)} (avg)`;
    return `${text(now.value) || unknown}/${text(target.value)}`;
  };
  switch (spec.type) {
    case 'Resource':
      return averageText(text(part(spec, 'resource').name), 'resource');
    case 'ContainerResource':
      return averageText(text(part(spec, 'containerResource').name), 'containerResource');
    case 'Pods': {
      const now = part(part(current ?? {}, 'pods'), 'current');
      return `${text(now.averageValue) || unknown}/${text(part(part(spec, 'pods'), 'target').averageValue)}`;
    }
    case 'Object':
      return valueText('object');
    case 'External':
      return valueText('external');
    default:
      return '<unknown type>';
  }
}

export const autoscalerPrinter: Printer = {
  columns: [
    nameColumn,
    column('Reference', 'What is scaled.'),
    column('Targets', 'What is measured and what is wanted.'),
    column('MinPods', 'The least number of pods.'),
    column('MaxPods', 'The greatest number of pods.'),
    column('Replicas', 'How many pods there are.'),
    ageColumn,
  ],
  row(autoscaler, nowMs) {
    const spec = part(autoscaler, 'spec');
    const status = part(autoscaler, 'status');
    const reference = part(spec, 'scaleTargetRef');
    const current = objects(status.currentMetrics);
    const shownMax = 2;
    const targets = objects(spec.metrics).map((metric, index) => targetText(metric, current[index]));
    const more = targets.length > shownMax ? ` + ${targets.length - shownMax} more...` : '';
    return [
      nameOf(autoscaler),
      `${text(reference.kind)}/${text(reference.name)}`,
      targets.length === 0 ? '<none>' : `${targets.slice(0, shownMax).join(', ')}${more}`,
      text(spec.minReplicas) || '<unset>',
      count(spec.maxReplicas),
      count(status.currentReplicas),
      ageOf(autoscaler, nowMs),
    ];
  },
};

export const resourceQuotaPrinter: Printer = {
  columns: [
    nameColumn,
    column('Request', 'What is asked for and what may be, of requests and counts.'),
    column('Limit', 'The same of limits.'),
    ageColumn,
  ],
  row(quota, nowMs) {
    const status = part(quota, 'status');
    const hard = part(status, 'hard');
    const used = part(status, 'used');
    const requests: string[] = [];
    const limits: string[] = [];
    for (const name of Object.keys(hard).sort())
      (name.startsWith('limits.') ? limits : requests).push(`${name}: ${text(used[name]) || '0'}/${text(hard[name])}`);
    return [nameOf(quota), requests.join(', '), limits.join(', '), ageOf(quota, nowMs)];
  },
};

export const componentStatusPrinter: Printer = {
  columns: [
    nameColumn,
    column('Status', 'Whether it is healthy.'),
    column('Message', 'What it says of itself.'),
    column('Error', 'What is wrong.'),
  ],
  row(component) {
    const healthy = objects(component.conditions).find((condition) => condition.type === 'Healthy');
    const status = healthy?.status === 'True' ? 'Healthy' : healthy?.status === 'False' ? 'Unhealthy' : 'Unknown';
    return [nameOf(component), status, text(healthy?.message), text(healthy?.error)];
  },
};
