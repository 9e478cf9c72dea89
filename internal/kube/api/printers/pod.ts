import { type Json, type JsonObject, isObject } from '../../machinery/json.ts';
import type { Printer } from '../../machinery/table.ts';
import { age, parseTime } from '../../machinery/time.ts';
import { objects } from '../defaults/helpers.ts';
import { ageColumn, ageOf, column, count, nameColumn, nameOf, orNone, part, text } from './cells.ts';

/** What `kubectl get pods` shows: how a status becomes one word (printPod in pkg/printers/internalversion). */
interface Summary {
  reason: string;
  ready: number;
  total: number;
  restarts: number;
  /** When the last restart was, RFC 3339. */
  lastRestart: string | undefined;
}

function later(a: string | undefined, b: Json | undefined): string | undefined {
  if (typeof b !== 'string') return a;
  return a === undefined || (parseTime(b) ?? 0) > (parseTime(a) ?? 0) ? b : a;
}

function lastEnd(status: JsonObject): Json | undefined {
  return part(part(status, 'lastState'), 'terminated').finishedAt;
}

function hasCondition(status: JsonObject, type: string): boolean {
  return objects(status.conditions).some((condition) => condition.type === type && condition.status === 'True');
}

function exitReason(terminated: JsonObject): string {
  return count(terminated.signal) !== 0
    ? `Signal:${count(terminated.signal)}`
    : `ExitCode:${count(terminated.exitCode)}`;
}

/** The pod's state in one word and its counts. */
export function summarize(pod: JsonObject): Summary {
  const spec = part(pod, 'spec');
  const status = part(pod, 'status');
  const phase = text(status.phase);
  let reason = text(status.reason) || phase;
  if (objects(status.conditions).some((c) => c.type === 'PodScheduled' && c.reason === 'SchedulingGated'))
    reason = 'SchedulingGated';
  const initSpecs = objects(spec.initContainers);
  const isSidecar = (name: Json | undefined): boolean =>
    initSpecs.some((container) => container.name === name && container.restartPolicy === 'Always');
  const total =
    objects(spec.containers).length + initSpecs.filter((container) => container.restartPolicy === 'Always').length;
  let ready = 0;
  let restarts = 0;
  let lastRestart: string | undefined;
  let sidecarRestarts = 0;
  let lastSidecarRestart: string | undefined;
  let initializing = false;
  for (const [index, container] of objects(status.initContainerStatuses).entries()) {
    const state = part(container, 'state');
    restarts += count(container.restartCount);
    lastRestart = later(lastRestart, lastEnd(container));
    const sidecar = isSidecar(container.name);
    if (sidecar) {
      sidecarRestarts += count(container.restartCount);
      lastSidecarRestart = later(lastSidecarRestart, lastEnd(container));
    }
    const terminated = isObject(state.terminated) ? state.terminated : undefined;
    if (terminated !== undefined && count(terminated.exitCode) === 0) continue;
    if (sidecar && container.started === true) {
      if (container.ready === true) ready++;
      continue;
    }
    const waiting = text(part(state, 'waiting').reason);
    if (terminated !== undefined) reason = `Init:${text(terminated.reason) || exitReason(terminated)}`;
    else if (waiting !== '' && waiting !== 'PodInitializing') reason = `Init:${waiting}`;
    else reason = `Init:${index}/${initSpecs.length}`;
    initializing = true;
    break;
  }
  if (!initializing || hasCondition(status, 'Initialized')) {
    restarts = sidecarRestarts;
    lastRestart = lastSidecarRestart;
    let running = false;
    for (const container of objects(status.containerStatuses).reverse()) {
      const state = part(container, 'state');
      restarts += count(container.restartCount);
      lastRestart = later(lastRestart, lastEnd(container));
      const waiting = text(part(state, 'waiting').reason);
      if (waiting !== '') reason = waiting;
      else if (isObject(state.terminated)) reason = text(state.terminated.reason) || exitReason(state.terminated);
      else if (container.ready === true && isObject(state.running)) {
        running = true;
        ready++;
      }
    }
    if (reason === 'Completed' && running) reason = hasCondition(status, 'Ready') ? 'Running' : 'NotReady';
  }
  if (part(pod, 'metadata').deletionTimestamp !== undefined) {
    if (status.reason === 'NodeLost') reason = 'Unknown';
    else if (phase !== 'Succeeded' && phase !== 'Failed') reason = 'Terminating';
  }
  return { reason, ready, total, restarts, lastRestart };
}

export const podPrinter: Printer = {
  columns: [
    nameColumn,
    column('Ready', 'How many of the containers are ready.'),
    column('Status', 'The state of the pod in one word.'),
    column('Restarts', 'How often containers of the pod were restarted, and when last.'),
    ageColumn,
    column('IP', 'Address of the pod. Empty until it has one.', { wide: true }),
    column('Node', 'Node on which the pod runs.', { wide: true }),
    column('Nominated Node', 'Node on which other pods are removed to make room for this one.', { wide: true }),
    column('Readiness Gates', 'How many of the readiness gates are passed.', { wide: true }),
  ],
  row(pod, nowMs) {
    const { reason, ready, total, restarts, lastRestart } = summarize(pod);
    const spec = part(pod, 'spec');
    const status = part(pod, 'status');
    const gates = objects(spec.readinessGates);
    const passed = gates.filter((gate) => hasCondition(status, text(gate.conditionType))).length;
    const podIp = text(objects(status.podIPs)[0]?.ip) || text(status.podIP);
    return [
      nameOf(pod),
      `${ready}/${total}`,
      reason,
      restarts !== 0 && lastRestart !== undefined ? `${restarts} (${age(lastRestart, nowMs)} ago)` : String(restarts),
      ageOf(pod, nowMs),
      orNone(podIp),
      orNone(text(spec.nodeName)),
      orNone(text(status.nominatedNodeName)),
      gates.length === 0 ? '<none>' : `${passed}/${gates.length}`,
    ];
  },
};
