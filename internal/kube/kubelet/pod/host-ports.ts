import type { HostPort } from '../../network/service-rules.ts';
import type { Pod } from '../pod-types.ts';

/** Ports of the node that lead into pods which run now. */
export function hostPorts(pods: readonly Pod[]): HostPort[] {
  const out: HostPort[] = [];
  for (const pod of pods) {
    const podIP = pod.status?.podIP;
    const ended = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
    if (pod.spec.hostNetwork || !podIP || ended) continue;
    for (const container of [...pod.spec.containers, ...(pod.spec.initContainers ?? [])]) {
      for (const port of container.ports ?? []) {
        if (!port.hostPort) continue;
        out.push({
          protocol: (port.protocol ?? 'TCP').toLowerCase() as HostPort['protocol'],
          hostIP: port.hostIP ?? '',
          hostPort: port.hostPort,
          podIP,
          containerPort: port.containerPort,
        });
      }
    }
  }
  return out;
}
