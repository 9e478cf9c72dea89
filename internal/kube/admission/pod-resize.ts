import { podAmounts } from '../api/pod-amounts.ts';
import { getPath, isObject, type JsonObject } from '../machinery/json.ts';
import { parseQuantity, quantityMilli, quantityValue, tryQuantity } from '../machinery/quantity.ts';
import { forbidden, StatusError } from '../machinery/status.ts';
import { type AdmissionPlugin, type AdmissionRequest, isFor } from './types.ts';

/**
 * PodResizeValidator (plugin/pkg/admission/podresize, since 1.36): a pod that has a node is not resized to more than the node could ever give, nor on a node
 * that is no Linux. Refusals carry the causes `NodeCapacity` and `UnsupportedPlatform`, which autoscalers look for.
 */
export const podResize: AdmissionPlugin = {
  name: 'PodResizeValidator',
  async validate(request, { reader }) {
    if (request.operation !== 'UPDATE' || !isFor(request, '', 'pods', 'resize') || request.object === undefined) return;
    const name = getPath(request.object, 'spec', 'nodeName');
    if (typeof name !== 'string' || name === '') return;
    if (getPath(request.object, 'metadata', 'generation') === getPath(request.old, 'metadata', 'generation')) return;
    const node = await reader.get('', 'nodes', '', name);
    if (node === undefined) throw refusal(request, `node ${JSON.stringify(name)} not found`);
    const why = tooMuch(request.object, node);
    if (why !== '') throw refusal(request, `Node didn't have enough allocatable resources: ${why}`, 'NodeCapacity');
    const os = String(getPath(node, 'metadata', 'labels', 'kubernetes.io/os') ?? '');
    if (os !== 'linux')
      throw refusal(
        request,
        `pod resize is only supported on linux nodes, node ${JSON.stringify(name)} is ${JSON.stringify(os)}`,
        'UnsupportedPlatform',
      );
  },
};

function tooMuch(pod: JsonObject, node: JsonObject): string {
  const wanted = podAmounts(pod, 'requests');
  const allocatable = getPath(node, 'status', 'allocatable');
  const parts: string[] = [];
  for (const [resource, numberOf] of [
    ['cpu', quantityMilli],
    ['memory', quantityValue],
  ] as const) {
    const has = tryQuantity(isObject(allocatable) ? allocatable[resource] : undefined) ?? parseQuantity('0');
    const asked = wanted[resource];
    if (asked !== undefined && numberOf(asked) > numberOf(has))
      parts.push(`${resource}, requested: ${numberOf(asked)}, allocatable: ${numberOf(has)}`);
  }
  return parts.join('; ');
}

function refusal(request: AdmissionRequest, why: string, cause?: string): StatusError {
  const error = forbidden({ group: '', resource: 'pods' }, request.name, why);
  if (cause === undefined) return error;
  const details = { ...error.status.details, causes: [{ reason: cause, message: '' }] };
  return new StatusError({ ...error.status, details });
}
