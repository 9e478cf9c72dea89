import type { Pod, Service } from '../api/types.ts';
import { isReady } from './pod-control.ts';

/** Which endpoints a service has, without I/O (kube-controller-manager's endpointslice and endpoints controllers). */

export interface EndpointFacts {
  ip: string;
  podName: string;
  podNamespace: string;
  podUid: string;
  nodeName: string | undefined;
  hostname: string | undefined;
  ready: boolean;
  serving: boolean;
  terminating: boolean;
}

export interface EndpointPortFacts {
  name: string;
  port: number;
  protocol: string;
  appProtocol?: string;
}

/** Endpoints that share the same ports; usually one group a service. */
export interface EndpointGroup {
  ports: EndpointPortFacts[];
  endpoints: EndpointFacts[];
}

/** The number of a target port in a pod; undefined when the pod has no port of that name. */
function targetPort(pod: Pod, target: unknown, port: number, protocol: string): number | undefined {
  if (target === undefined || target === 0 || target === '') return port;
  if (typeof target === 'number') return target;
  const containers = [
    ...(pod.spec?.containers ?? []),
    ...(pod.spec?.initContainers ?? []).filter((one) => one.restartPolicy === 'Always'),
  ];
  for (const container of containers)
    for (const one of container.ports ?? [])
      if (one.name === target && (one.protocol ?? 'TCP') === protocol) return one.containerPort;
  return undefined;
}

export function planEndpoints(service: Service, pods: readonly Pod[]): EndpointGroup[] {
  const groups = new Map<string, EndpointGroup>();
  for (const pod of pods) {
    const ip = pod.status?.podIP;
    if (!ip || pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed') continue;
    const terminating = pod.metadata.deletionTimestamp !== undefined;
    const serving = isReady(pod);
    const ports: EndpointPortFacts[] = [];
    for (const port of service.spec?.ports ?? []) {
      const protocol = port.protocol ?? 'TCP';
      const number = targetPort(pod, port.targetPort, port.port, protocol);
      if (number !== undefined)
        ports.push({
          name: port.name ?? '',
          port: number,
          protocol,
          ...(port.appProtocol ? { appProtocol: port.appProtocol } : {}),
        });
    }
    if (ports.length === 0 && (service.spec?.ports ?? []).length > 0) continue;
    const key = JSON.stringify(ports);
    const group = groups.get(key) ?? { ports, endpoints: [] };
    groups.set(key, group);
    group.endpoints.push({
      ip,
      podName: pod.metadata.name!,
      podNamespace: pod.metadata.namespace!,
      podUid: pod.metadata.uid!,
      nodeName: pod.spec?.nodeName,
      hostname: pod.spec?.hostname && pod.spec.subdomain === service.metadata.name ? pod.spec.hostname : undefined,
      ready: (serving && !terminating) || (service.spec?.publishNotReadyAddresses ?? false),
      serving,
      terminating,
    });
  }
  for (const group of groups.values()) group.endpoints.sort((a, b) => (a.podName < b.podName ? -1 : 1));
  return [...groups.values()];
}
