import type { Plugin } from '../framework.ts';
import { nodeAffinity, nodeName, nodePorts, nodeUnschedulable, taintToleration } from './node.ts';
import { nodeResourcesFit, unsupportedConstraints } from './resources.ts';
import { type VolumeBinder, type VolumeLister, volumeBinding } from './volumes.ts';

/** The plug-ins in the order in which they are asked: cheap and decisive ones first. */
export function defaultPlugins(lister: VolumeLister, binder: VolumeBinder): Plugin[] {
  return [
    unsupportedConstraints,
    nodeUnschedulable,
    nodeName,
    taintToleration,
    nodeAffinity,
    nodePorts,
    nodeResourcesFit,
    volumeBinding(lister, binder),
  ];
}
