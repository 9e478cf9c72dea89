import { isObject, type JsonObject } from '../../machinery/json.ts';
import { compareQuantities, formatQuantity } from '../../machinery/quantity.ts';
import type { FieldError } from '../../machinery/status.ts';
import { forbiddenField, invalidValue, notSupported } from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { type Amounts, amountsOf, containerAmounts, isPodLevelResource } from '../pod-amounts.ts';
import { part, resourceErrors, unsharedErrors } from './common.ts';

/** What a pod asks for as a whole (KEP-2837; validatePodResources in pkg/apis/core/validation), with upstream's words and paths. */
export function podLevelResourceErrors(spec: JsonObject, path: string): FieldError[] {
  const { resources } = spec;
  if (!isObject(resources)) return [];
  const at = `${path}.resources`;
  if (part(spec, 'os').name === 'windows') return [forbiddenField(at, 'may not be set for a windows pod')];
  const errors = [...resourceErrors(resources, at), ...unsharedErrors(resources, at)];
  if (resources.claims !== undefined)
    errors.push(forbiddenField(`${at}.claims`, 'claims cannot be set for Resources at pod-level'));
  for (const list of ['limits', 'requests'])
    for (const name in part(resources, list))
      if (!isPodLevelResource(name))
        errors.push(notSupported(`${at}.${list}[${name}]`, name, ['cpu', 'hugepages-', 'memory']));
  const limits = amountsOf(resources.limits);
  errors.push(
    ...sumErrors(containerAmounts({ spec }, 'requests'), amountsOf(resources.requests), `${at}.requests`, 'requests'),
  );
  const pages = Object.entries(containerAmounts({ spec }, 'limits')).filter(([name]) => name.startsWith('hugepages-'));
  errors.push(...sumErrors(Object.fromEntries(pages), limits, `${at}.limits`, 'limits'));
  for (const [index, container] of objects(spec.containers).entries())
    for (const [name, limit] of Object.entries(amountsOf(part(container, 'resources').limits)))
      if (limits[name] !== undefined && compareQuantities(limit, limits[name]) > 0)
        errors.push(
          invalidValue(
            `${at}.containers[${index}][${name}].limits`,
            formatQuantity(limit),
            `must be less than or equal to pod limits of ${formatQuantity(limits[name])}`,
          ),
        );
  return errors;
}

function sumErrors(sums: Amounts, whole: Amounts, path: string, what: string): FieldError[] {
  return Object.entries(sums).flatMap(([name, sum]) => {
    const own = whole[name];
    if (own === undefined || compareQuantities(sum, own) <= 0) return [];
    const why = `must be greater than or equal to aggregate container ${what} of ${formatQuantity(sum)}`;
    return [invalidValue(`${path}[${name}]`, formatQuantity(own), why)];
  });
}
