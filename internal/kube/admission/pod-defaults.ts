import { getPath, isObject, type JsonObject } from '../machinery/json.ts';
import { forbidden } from '../machinery/status.ts';
import { type AdmissionPlugin, isFor } from './types.ts';

const notReady = 'node.kubernetes.io/not-ready';
const unreachable = 'node.kubernetes.io/unreachable';

/** DefaultTolerationSeconds: a pod stays 300 s on a node that is not ready or unreachable, unless it says otherwise. */
export const defaultTolerationSeconds: AdmissionPlugin = {
  name: 'DefaultTolerationSeconds',
  admit(request) {
    if (request.operation !== 'CREATE' || !isFor(request, '', 'pods')) return;
    const spec = request.object?.spec;
    if (!isObject(spec)) return;
    const tolerations = Array.isArray(spec.tolerations) ? spec.tolerations.filter(isObject) : [];
    const tolerates = (key: string): boolean =>
      tolerations.some(
        (one) =>
          (one.key === key || one.key === undefined || one.key === '') &&
          (one.effect === 'NoExecute' || one.effect === undefined || one.effect === ''),
      );
    const add = [notReady, unreachable]
      .filter((key) => !tolerates(key))
      .map((key) => ({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 }));
    if (add.length > 0) spec.tolerations = [...tolerations, ...add];
  },
};

/** Priority: resolves priorityClassName to priority and preemptionPolicy; refuses classes that do not exist. */
export const priority: AdmissionPlugin = {
  name: 'Priority',
  async admit(request, { reader }) {
    if (!isFor(request, '', 'pods') || request.object === undefined) return;
    const spec = request.object.spec;
    if (!isObject(spec)) return;
    if (request.operation === 'UPDATE') {
      const old = request.old?.spec;
      // The priority of a pod never changes; clients that do not know the fields send objects without them.
      if (!isObject(old)) return;
      if (spec.priority === undefined && old.priority !== undefined) spec.priority = old.priority;
      if (spec.preemptionPolicy === undefined && old.preemptionPolicy !== undefined)
        spec.preemptionPolicy = old.preemptionPolicy;
      return;
    }
    if (request.operation !== 'CREATE') return;
    let value: unknown = 0;
    let preemption: unknown = 'PreemptLowerPriority';
    if (typeof spec.priorityClassName === 'string' && spec.priorityClassName !== '') {
      const found = await reader.get('scheduling.k8s.io', 'priorityclasses', '', spec.priorityClassName);
      if (found === undefined)
        throw forbidden(
          { group: '', resource: 'pods' },
          request.name,
          `no PriorityClass with name ${spec.priorityClassName} was found`,
        );
      value = found.value ?? 0;
      preemption = found.preemptionPolicy ?? preemption;
    } else {
      const defaults = (await reader.list('scheduling.k8s.io', 'priorityclasses', '')).filter(
        (one) => one.globalDefault === true,
      );
      const lowest = defaults.sort((a, b) => Number(a.value ?? 0) - Number(b.value ?? 0))[0];
      if (lowest !== undefined) {
        spec.priorityClassName = String((lowest.metadata as JsonObject).name);
        value = lowest.value ?? 0;
        preemption = lowest.preemptionPolicy ?? preemption;
      }
    }
    if (typeof spec.priority === 'number' && spec.priority !== value)
      throw forbidden(
        { group: '', resource: 'pods' },
        request.name,
        `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${String(value)} from the given PriorityClass name`,
      );
    spec.priority = value as number;
    if (typeof spec.preemptionPolicy === 'string' && spec.preemptionPolicy !== preemption)
      throw forbidden(
        { group: '', resource: 'pods' },
        request.name,
        `the string value of PreemptionPolicy (${spec.preemptionPolicy}) must not be provided in pod spec; priority admission controller computed ${String(preemption)} from the given PriorityClass name`,
      );
    spec.preemptionPolicy = preemption as string;
  },
};

/** RuntimeClass: a pod may only name a class that exists; the class's overhead and node selector become the pod's. */
export const runtimeClass: AdmissionPlugin = {
  name: 'RuntimeClass',
  async admit(request, { reader }) {
    if (request.operation !== 'CREATE' || !isFor(request, '', 'pods')) return;
    const spec = request.object?.spec;
    if (!isObject(spec) || typeof spec.runtimeClassName !== 'string' || spec.runtimeClassName === '') return;
    const found = await reader.get('node.k8s.io', 'runtimeclasses', '', spec.runtimeClassName);
    const pods = { group: '', resource: 'pods' };
    if (found === undefined)
      throw forbidden(pods, request.name, `pod rejected: RuntimeClass "${spec.runtimeClassName}" not found`);
    const overhead = isObject(found.overhead) ? found.overhead.podFixed : undefined;
    if (isObject(overhead)) {
      if (isObject(spec.overhead) && JSON.stringify(spec.overhead) !== JSON.stringify(overhead))
        throw forbidden(
          pods,
          request.name,
          "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        );
      spec.overhead = { ...overhead };
    }
    if (!isObject(found.scheduling)) return;
    if (isObject(found.scheduling.nodeSelector)) {
      const own = isObject(spec.nodeSelector) ? spec.nodeSelector : {};
      for (const [key, value] of Object.entries(found.scheduling.nodeSelector))
        if (own[key] !== undefined && own[key] !== value)
          throw forbidden(pods, request.name, 'pod rejected: conflict: runtimeClass.scheduling.nodeSelector conflicts');
      spec.nodeSelector = { ...own, ...found.scheduling.nodeSelector };
    }
    if (Array.isArray(found.scheduling.tolerations))
      spec.tolerations = [
        ...(Array.isArray(spec.tolerations) ? spec.tolerations : []),
        ...found.scheduling.tolerations,
      ];
  },
};

/** What pods are told of where they run. */
const topologyLabels = ['topology.kubernetes.io/zone', 'topology.kubernetes.io/region'];

/**
 * PodTopologyLabels (KEP-4742): a pod that is bound to a node, or made for one, gets the node's zone and region as labels, unless it or the Binding says
 * otherwise.
 */
export const podTopologyLabels: AdmissionPlugin = {
  name: 'PodTopologyLabels',
  async admit(request, { reader }) {
    const { object } = request;
    if (request.operation !== 'CREATE' || object === undefined) return;
    const target = isFor(request, '', 'pods', 'binding') && isObject(object.target) ? object.target : undefined;
    const spec = isFor(request, '', 'pods') && isObject(object.spec) ? object.spec : undefined;
    const name = target?.kind === 'Node' ? target.name : spec?.nodeName;
    if (typeof name !== 'string' || name === '') return;
    const node = await reader.get('', 'nodes', '', name);
    const known = getPath(node, 'metadata', 'labels');
    if (!isObject(known) || !isObject(object.metadata)) return;
    const labels = Object.fromEntries(topologyLabels.filter((key) => key in known).map((key) => [key, known[key]!]));
    if (Object.keys(labels).length === 0) return;
    const own = isObject(object.metadata.labels) ? object.metadata.labels : {};
    object.metadata.labels = { ...labels, ...own };
  },
};
