import { isObject, type JsonObject } from '../machinery/json.ts';
import { compareQuantities, parseQuantity, tryQuantity } from '../machinery/quantity.ts';
import { objects } from './defaults/helpers.ts';
import { hasPodLevelResources } from './pod-amounts.ts';

/**
 * Quality of service of a pod (pkg/apis/core/v1/helper/qos): decides what the node evicts first. Only cpu and memory count, of the pod as a whole where
 * it says so (KEP-2837), else of its containers.
 */
export function qosClass(spec: JsonObject): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  let any = false;
  let guaranteed = true;
  const whole = hasPodLevelResources(spec);
  for (const container of whole ? [spec] : [...objects(spec.containers), ...objects(spec.initContainers)]) {
    const resources = isObject(container.resources) ? container.resources : {};
    const limits = isObject(resources.limits) ? resources.limits : {};
    const requests = isObject(resources.requests) ? resources.requests : {};
    for (const name of ['cpu', 'memory']) {
      const limit = tryQuantity(limits[name]);
      const request = tryQuantity(requests[name]) ?? limit;
      const zero = parseQuantity('0');
      if (limit !== undefined && compareQuantities(limit, zero) > 0) any = true;
      if (request !== undefined && compareQuantities(request, zero) > 0) any = true;
      if (
        limit === undefined ||
        request === undefined ||
        compareQuantities(limit, zero) === 0 ||
        compareQuantities(limit, request) !== 0
      )
        guaranteed = false;
    }
  }
  if (!any) return 'BestEffort';
  return guaranteed ? 'Guaranteed' : 'Burstable';
}
