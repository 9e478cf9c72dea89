import type { Plugin } from '../framework.ts';
import { nodeAffinity, nodeName, nodePorts, nodeUnschedulable, taintToleration } from './node.ts';
import { interPodAffinity, type NamespaceLabels } from './inter-pod.ts';
import { nodeResourcesFit } from './resources.ts';
import { podTopologySpread } from './spread.ts';
import { type VolumeBinder, type VolumeLister, volumeBinding } from './volumes.ts';

/** The plug-ins in the order in which they are asked: cheap and decisive ones first. */
export function defaultPlugins(
  lister: VolumeLister,
  binder: VolumeBinder,
  namespaceLabels: NamespaceLabels = () => undefined,
): Plugin[] {
  return [
    nodeUnschedulable,
    nodeName,
    taintToleration,
    nodeAffinity,
    nodePorts,
    nodeResourcesFit,
    volumeBinding(lister, binder),
    podTopologySpread(),
    interPodAffinity(namespaceLabels),
  ];
}
