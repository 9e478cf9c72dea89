/** `pods/binding` and `pods/eviction`: requests that change a pod without being one. */
import { cloneJson, getPath, isObject, type JsonObject } from '../machinery/json.ts';
import { labelSelectorOf, matchesLabels } from '../machinery/selectors.ts';
import {
  badRequest,
  conflict,
  failure,
  invalid,
  isStatus,
  notFound,
  type Status,
  success,
  tooManyRequests,
} from '../machinery/status.ts';
import { formatTime, parseTime } from '../machinery/time.ts';
import { admissionRequest, groupResource, type RequestContext, writeParameters } from './context.ts';
import type { StoredRecord } from './record.ts';
import { WriteConflict } from './registry.ts';
import { checkPreconditions, deleteRequestOf, removeObject } from './remove.ts';
import { selectAll } from './selection.ts';
import { decodeKind } from './write.ts';

const pods = { group: '', resource: 'pods' };

/** Sets a condition as upstream's UpdatePodCondition: the transition time changes only with the status. */
export function setCondition(object: JsonObject, condition: JsonObject): void {
  if (!isObject(object.status)) object.status = {};
  const list = Array.isArray(object.status.conditions) ? object.status.conditions.filter(isObject) : [];
  const index = list.findIndex((one) => one.type === condition.type);
  if (index < 0) list.push(condition);
  else {
    const same = list[index]!.status === condition.status;
    list[index] = {
      ...list[index],
      ...condition,
      ...(same ? { lastTransitionTime: list[index]!.lastTransitionTime } : {}),
    };
  }
  object.status.conditions = list;
}

async function changePod(
  context: RequestContext,
  name: string,
  dryRun: boolean,
  change: (pod: JsonObject) => void,
): Promise<JsonObject> {
  const { core, info } = context;
  const kind = core.kinds.byResource('', 'v1', 'pods')!;
  let record: StoredRecord | undefined = await core.registry.get(kind, info.namespace, name);
  for (let attempt = 0; ; attempt++) {
    if (record === undefined) throw notFound(pods, name);
    const pod = core.registry.objectOf(kind, record);
    change(pod);
    if (dryRun) return pod;
    try {
      const { revision } = await core.registry.update(kind, info.namespace, name, record.revision, pod);
      (pod.metadata as JsonObject).resourceVersion = String(revision);
      return pod;
    } catch (error) {
      if (!(error instanceof WriteConflict) || attempt > 30)
        throw error instanceof WriteConflict ? conflict(pods, name) : error;
      record = error.current;
    }
  }
}

/** POST of a Binding, at the pod or at the collection `bindings`: the scheduler's decision. */
export async function bind(context: RequestContext): Promise<Status> {
  const { core, info } = context;
  const parameters = writeParameters(context, 'CreateOptions');
  const kind = core.kinds.byResource('', 'v1', 'bindings');
  const binding = decodeKind(
    context,
    kind ?? { group: '', version: 'v1', kind: 'Binding', schema: 'io.k8s.api.core.v1.Binding' },
    await context.body(),
    parameters.fieldValidation,
  );
  const metadata = binding.metadata as JsonObject;
  const name = info.resource === 'pods' ? info.name : String(metadata.name ?? '');
  if (metadata.name !== undefined && metadata.name !== '' && metadata.name !== name)
    throw badRequest(`name in URL does not match name in Binding object`);
  const target = isObject(binding.target) ? binding.target : {};
  if (target.kind !== undefined && target.kind !== '' && target.kind !== 'Node')
    throw invalid('', 'Binding', name, [
      {
        type: 'FieldValueNotSupported',
        field: 'target.kind',
        detail: `Unsupported value: ${JSON.stringify(target.kind)}: supported values: "Node", "<empty>"`,
      },
    ]);
  if (typeof target.name !== 'string' || target.name === '')
    throw invalid('', 'Binding', name, [
      { type: 'FieldValueRequired', field: 'target.name', detail: 'Required value' },
    ]);
  const node = target.name;
  const admission = admissionRequest({ ...context, info: { ...info, subresource: 'binding' } }, 'CREATE', {
    name,
    object: binding,
    old: undefined,
    dryRun: parameters.dryRun,
  });
  await core.admission.admit(admission);
  await core.admission.validate(admission);
  await changePod(context, name, parameters.dryRun, (pod) => {
    const podMetadata = pod.metadata as JsonObject;
    if (typeof metadata.uid === 'string' && metadata.uid !== '' && metadata.uid !== podMetadata.uid)
      throw conflict(
        pods,
        name,
        `Precondition failed: UID in precondition: ${metadata.uid}, UID in object meta: ${String(podMetadata.uid)}`,
      );
    const version = metadata.resourceVersion;
    if (typeof version === 'string' && version !== '' && version !== podMetadata.resourceVersion)
      throw conflict(
        pods,
        name,
        `Precondition failed: ResourceVersion in precondition: ${version}, ResourceVersion in object meta: ${String(podMetadata.resourceVersion)}`,
      );
    if (podMetadata.deletionTimestamp !== undefined && podMetadata.deletionTimestamp !== null)
      throw conflict(
        { group: '', resource: 'pods/binding' },
        name,
        `pod ${name} is being deleted, cannot be assigned to a host`,
      );
    if (!isObject(pod.spec)) pod.spec = {};
    if (typeof pod.spec.nodeName === 'string' && pod.spec.nodeName !== '')
      throw conflict(
        { group: '', resource: 'pods/binding' },
        name,
        `pod ${name} is already assigned to node ${JSON.stringify(pod.spec.nodeName)}`,
      );
    if (Array.isArray(pod.spec.schedulingGates) && pod.spec.schedulingGates.length > 0)
      throw conflict({ group: '', resource: 'pods/binding' }, name, `pod ${name} has non-empty .spec.schedulingGates`);
    pod.spec.nodeName = node;
    if (isObject(pod.status)) delete pod.status.nominatedNodeName;
    // Admission may have put labels of the node there.
    for (const field of ['annotations', 'labels']) {
      const told = metadata[field];
      if (!isObject(told) || Object.keys(told).length === 0) continue;
      const own = podMetadata[field];
      podMetadata[field] = { ...(isObject(own) ? own : {}), ...told };
    }
    setCondition(pod, {
      type: 'PodScheduled',
      status: 'True',
      lastProbeTime: null,
      lastTransitionTime: formatTime(core.clock.now()),
      ...(typeof podMetadata.generation === 'number' ? { observedGeneration: podMetadata.generation } : {}),
    });
  });
  return { ...success(), code: 201 };
}

const budgetMessage = "Cannot evict pod as it would violate the pod's disruption budget.";
/** A budget remembers an eviction this long, until its controller has counted the pod as gone. */
const disruptedPodMs = 2 * 60_000;
const disruptedPodsMax = 2000;

function refusal(message: string, retryAfterSeconds = 0): Error {
  return tooManyRequests(budgetMessage, retryAfterSeconds, [{ reason: 'DisruptionBudget', message }]);
}

/** POST of an Eviction: a delete that the pod's disruption budgets must allow. */
export async function evict(context: RequestContext): Promise<Status> {
  const { core, info } = context;
  const parameters = writeParameters(context, 'CreateOptions');
  const eviction = decodeKind(
    context,
    { group: 'policy', version: 'v1', kind: 'Eviction', schema: 'io.k8s.api.policy.v1.Eviction' },
    await context.body(),
    parameters.fieldValidation,
    // Clients from before 1.22 send it (pkg/registry/core/pod/storage/eviction.go, AcceptsGroupVersion).
    'policy/v1beta1',
  );
  const name = String(getPath(eviction, 'metadata', 'name') ?? info.name);
  if (name !== info.name) throw badRequest('name in URL does not match name in Eviction object');
  const admission = admissionRequest(context, 'CREATE', {
    name,
    object: eviction,
    old: undefined,
    dryRun: parameters.dryRun,
  });
  await core.admission.admit(admission);
  await core.admission.validate(admission);
  const pod = await core.registry.getObject(context.kind, info.namespace, name);
  if (pod === undefined) throw notFound(pods, name);
  let request = deleteRequestOf(isObject(eviction.deleteOptions) ? eviction.deleteOptions : {});
  const dryRun = parameters.dryRun || request.dryRun;
  request = { ...request, dryRun };
  checkPreconditions(context.kind, name, pod, request);
  const phase = getPath(pod, 'status', 'phase');
  const deleting = getPath(pod, 'metadata', 'deletionTimestamp');
  const free =
    phase === 'Succeeded' || phase === 'Failed' || phase === 'Pending' || (deleting !== undefined && deleting !== null);
  if (!free) {
    await takeFromBudget(context, pod, name, dryRun);
    const marked = await changePod(context, name, dryRun, (live) => {
      checkPreconditions(context.kind, name, live, request);
      setCondition(live, {
        type: 'DisruptionTarget',
        status: 'True',
        reason: 'EvictionByEvictionAPI',
        message: 'Eviction API: evicting',
        lastProbeTime: null,
        lastTransitionTime: formatTime(core.clock.now()),
      });
    });
    // The pod as the client knew it, with the condition.
    if (request.resourceVersion !== undefined)
      request = { ...request, resourceVersion: String(getPath(marked, 'metadata', 'resourceVersion')) };
  }
  try {
    await removeObject({ ...context, info: { ...info, subresource: '' } }, name, request);
  } catch (error) {
    if (!isStatus(error, 'NotFound')) throw error;
  }
  return { ...success(), code: 201 };
}

async function takeFromBudget(context: RequestContext, pod: JsonObject, name: string, dryRun: boolean): Promise<void> {
  const { core, info } = context;
  const kind = core.kinds.byResource('policy', 'v1', 'poddisruptionbudgets');
  if (kind === undefined) return;
  for (let attempt = 0; ; attempt++) {
    const { records } = await core.registry.list({
      kind,
      namespace: info.namespace,
      selection: selectAll,
      limit: 0,
      revision: 0,
      start: '',
    });
    const labels = getPath(pod, 'metadata', 'labels');
    const matching = records
      .map(({ record }) => ({ record, budget: core.registry.objectOf(kind, record) }))
      .filter(({ budget }) =>
        matchesLabels(labelSelectorOf(getPath(budget, 'spec', 'selector')), isObject(labels) ? labels : {}),
      );
    if (matching.length === 0) return;
    if (matching.length > 1)
      throw failure(
        500,
        'InternalError',
        'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.',
      );
    const { record, budget } = matching[0]!;
    const ready = getPath(pod, 'status', 'conditions');
    const isReady =
      Array.isArray(ready) && ready.some((one) => isObject(one) && one.type === 'Ready' && one.status === 'True');
    const status = isObject(budget.status) ? budget.status : {};
    const policy = getPath(budget, 'spec', 'unhealthyPodEvictionPolicy');
    if (
      !isReady &&
      (policy === 'AlwaysAllow' ||
        Number(status.currentHealthy ?? 0) >= Math.max(1, Number(status.desiredHealthy ?? 0)))
    )
      return;
    const budgetName = String(getPath(budget, 'metadata', 'name'));
    if (Number(status.observedGeneration ?? 0) < Number(getPath(budget, 'metadata', 'generation') ?? 0))
      throw refusal(`The disruption budget ${budgetName} is still being processed by the server.`, 10);
    const allowed = Number(status.disruptionsAllowed ?? 0);
    if (allowed <= 0)
      throw refusal(
        `The disruption budget ${budgetName} needs ${Number(status.desiredHealthy ?? 0)} healthy pods and has ${Number(status.currentHealthy ?? 0)} currently`,
      );
    const now = core.clock.now();
    const disrupted = isObject(status.disruptedPods) ? status.disruptedPods : {};
    const kept = Object.entries(disrupted).filter(([, at]) => now - (parseTime(at) ?? 0) < disruptedPodMs);
    if (kept.length > disruptedPodsMax)
      throw failure(
        403,
        'Forbidden',
        `pod disruption budget ${budgetName} has too many disrupted pods: ${kept.length}`,
      );
    const next = cloneJson(budget);
    next.status = {
      ...status,
      disruptionsAllowed: allowed - 1,
      disruptedPods: { ...Object.fromEntries(kept), [name]: formatTime(now) },
    };
    if (dryRun) return;
    try {
      await core.registry.update(kind, info.namespace, budgetName, record.revision, next);
      return;
    } catch (error) {
      if (!(error instanceof WriteConflict) || attempt > 20)
        throw error instanceof WriteConflict ? conflict(groupResource(kind), budgetName) : error;
    }
  }
}
