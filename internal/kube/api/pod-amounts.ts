/** What pods ask for in all. */
import { getPath, isObject, type Json, type JsonObject } from '../machinery/json.ts';
import { addQuantities, compareQuantities, type Quantity, tryQuantity } from '../machinery/quantity.ts';
import { objects } from './defaults/helpers.ts';

/** Quantities by the name of their resource. */
export type Amounts = Record<string, Quantity>;

/** What of a list of resources are quantities. */
export function amountsOf(value: Json | undefined): Amounts {
  const out: Amounts = {};
  if (!isObject(value)) return out;
  for (const name in value) {
    const amount = tryQuantity(value[name]);
    if (amount !== undefined) out[name] = amount;
  }
  return out;
}

/** Whether a pod can ask for a resource as a whole (KEP-2837; IsSupportedPodLevelResource in component-helpers). */
export function isPodLevelResource(name: string): boolean {
  return name === 'cpu' || name === 'memory' || name.startsWith('hugepages-');
}

/** Whether a pod asks for something as a whole. */
export function hasPodLevelResources(spec: JsonObject): boolean {
  return (['requests', 'limits'] as const).some((field) =>
    Object.keys(amountsOf(getPath(spec, 'resources', field))).some(isPodLevelResource),
  );
}

const plus = (a: Amounts, b: Amounts): Amounts => {
  const out = { ...a };
  for (const name in b) out[name] = out[name] === undefined ? b[name]! : addQuantities(out[name], b[name]!);
  return out;
};
const greatest = (a: Amounts, b: Amounts): Amounts => {
  const out = { ...a };
  for (const name in b) if (out[name] === undefined || compareQuantities(b[name]!, out[name]) > 0) out[name] = b[name]!;
  return out;
};

/**
 * What the containers of a pod ask for in all: those that run together with sidecars, or the largest init container while it runs (docs: init-containers,
 * "Resources"). With `held` what its node keeps for it counts where that is more (KEP-1287): while a resize is under way both sizes have to have room.
 */
export function containerAmounts(pod: JsonObject, field: 'requests' | 'limits', held = false): Amounts {
  const own = (container: JsonObject, statuses: string): Amounts => {
    const status = objects(getPath(pod, 'status', statuses)).find((one) => one.name === container.name);
    return sizeOf(pod, container.resources, held ? status : undefined, field);
  };
  let running: Amounts = {};
  for (const container of objects(getPath(pod, 'spec', 'containers')))
    running = plus(running, own(container, 'containerStatuses'));
  let sidecars: Amounts = {};
  let starting: Amounts = {};
  for (const container of objects(getPath(pod, 'spec', 'initContainers'))) {
    const one = own(container, 'initContainerStatuses');
    if (container.restartPolicy === 'Always') {
      sidecars = plus(sidecars, one);
      starting = greatest(starting, sidecars);
    } else starting = greatest(starting, plus(sidecars, one));
  }
  return greatest(plus(running, sidecars), starting);
}

/** What resources say, or what the node keeps for them by `status` where that is more. */
function sizeOf(
  pod: JsonObject,
  resources: Json | undefined,
  status: JsonObject | undefined,
  field: 'requests' | 'limits',
): Amounts {
  const wanted = amountsOf(getPath({ resources }, 'resources', field));
  if (status === undefined) return wanted;
  const actual = amountsOf(getPath(status, 'resources', field));
  const kept = field === 'requests' ? greatest(actual, amountsOf(status.allocatedResources)) : actual;
  // What cannot be done counts for nothing.
  return resizeInfeasible(pod) ? greatest(kept, onlyMissing(wanted, kept)) : greatest(wanted, kept);
}

/** What a pod asks for in all: what it says for itself as a whole (KEP-2837), for other resources what its containers say, and its overhead. */
export function podAmounts(pod: JsonObject, field: 'requests' | 'limits', held = false): Amounts {
  const whole = getPath(pod, 'spec', 'resources');
  const status = held && whole !== undefined && isObject(pod.status) ? pod.status : undefined;
  let total = { ...containerAmounts(pod, field, held), ...sizeOf(pod, whole, status, field) };
  const overhead = amountsOf(getPath(pod, 'spec', 'overhead'));
  for (const name in overhead)
    if (field === 'requests' || total[name] !== undefined) total = plus(total, { [name]: overhead[name]! });
  return total;
}

/** The node has said that it will never do what the pod asks for. */
function resizeInfeasible(pod: JsonObject): boolean {
  return objects(getPath(pod, 'status', 'conditions')).some(
    (one) => one.type === 'PodResizePending' && one.status === 'True' && one.reason === 'Infeasible',
  );
}

function onlyMissing(amounts: Amounts, from: Amounts): Amounts {
  return Object.fromEntries(Object.entries(amounts).filter(([name]) => from[name] === undefined));
}
