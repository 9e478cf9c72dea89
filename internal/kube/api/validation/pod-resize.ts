import { isObject, type JsonObject, jsonEqual } from '../../machinery/json.ts';
import { compareQuantities, tryQuantity } from '../../machinery/quantity.ts';
import type { FieldError } from '../../machinery/status.ts';
import { forbiddenField, invalidValue } from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { qosClass } from '../qos.ts';
import { podSpecErrors } from './pod.ts';

/** Rules of the subresource `pods/resize` (KEP-1287; ValidatePodResize in pkg/apis/core/validation), with upstream's field paths and words. */
const resizable = ['cpu', 'memory'];
const lists = ['containers', 'initContainers'] as const;

function part(object: JsonObject, field: string): JsonObject {
  return isObject(object[field]) ? object[field] : {};
}

/**
 * Keeps of a resize what it may be about: resources of the pod and of its containers, and their resize policies. Where containers were added, removed or
 * renamed, everything is left as it was sent: `podResizeErrors` says so.
 */
export function keepAllButResources(pod: JsonObject, old: JsonObject): void {
  const spec = part(pod, 'spec');
  const before = part(old, 'spec');
  if (orderErrors(spec, before).length > 0) return;
  const next: JsonObject = { ...before };
  for (const list of lists)
    if (before[list] !== undefined)
      next[list] = objects(before[list]).map((container, index) => {
        const { resources: _resources, resizePolicy: _policy, ...rest } = container;
        const sent = objects(spec[list])[index]!;
        return {
          ...rest,
          ...(sent.resources === undefined ? {} : { resources: sent.resources }),
          ...(sent.resizePolicy === undefined ? {} : { resizePolicy: sent.resizePolicy }),
        };
      });
  if (spec.resources === undefined) delete next.resources;
  else next.resources = spec.resources;
  pod.spec = next;
  if (old.status === undefined) delete pod.status;
  else pod.status = old.status;
}

function orderErrors(spec: JsonObject, old: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  for (const list of lists) {
    const before = objects(old[list]);
    const now = objects(spec[list]);
    if (before.length !== now.length)
      errors.push(forbiddenField(`spec.${list}`, `${list} may not be added or removed on resize`));
    else
      for (const [index, container] of before.entries())
        if (now[index]!.name !== container.name)
          errors.push(
            forbiddenField(`spec.${list}[${index}].name`, `${list} may not be renamed or reordered on resize`),
          );
  }
  return errors;
}

/** What an update through `resize` may not do. */
export function podResizeErrors(pod: JsonObject, old: JsonObject): FieldError[] {
  const spec = part(pod, 'spec');
  const before = part(old, 'spec');
  if (Object.hasOwn(part(part(old, 'metadata'), 'annotations'), 'kubernetes.io/config.mirror'))
    return [forbiddenField('', 'static pods cannot be resized')];
  if (part(before, 'os').name === 'windows') return [forbiddenField('', 'windows pods cannot be resized')];
  const errors = podSpecErrors(spec, 'spec');
  const status = part(old, 'status');
  if ((status.qosClass ?? qosClass(before)) !== qosClass(spec))
    errors.push(
      invalidValue('spec', part(pod, 'status').qosClass ?? '', 'Pod QOS Class may not change as a result of resizing'),
    );
  if (!nodeCanResize(old)) errors.push(forbiddenField('spec', 'Pod running on node without support for resize'));
  errors.push(...podLevelErrors(spec, before));
  const order = orderErrors(spec, before);
  if (order.length > 0) return [...errors, ...order];
  for (const list of ['initContainers', 'containers'] as const)
    for (const [index, container] of objects(before[list]).entries())
      errors.push(...containerResizeErrors(objects(spec[list])[index]!, container, list, index));
  return errors;
}

function containerResizeErrors(
  container: JsonObject,
  old: JsonObject,
  list: (typeof lists)[number],
  index: number,
): FieldError[] {
  const errors: FieldError[] = [];
  const at = `spec.${list}[${index}]`;
  for (const field of ['requests', 'limits'])
    if (removed(part(part(container, 'resources'), field), part(part(old, 'resources'), field)))
      errors.push(forbiddenField(`${at}.resources.${field}`, `resource ${field} cannot be removed`));
  const others = (one: JsonObject): JsonObject => ({ ...one, resources: withoutResizable(part(one, 'resources')) });
  if (!sameContainer(others(container), others(old)))
    errors.push(
      list === 'containers'
        ? forbiddenField('spec', 'only cpu and memory resources are mutable')
        : forbiddenField(at, 'only cpu and memory resources for init or sidecar containers are mutable'),
    );
  if (
    list === 'initContainers' &&
    container.restartPolicy !== 'Always' &&
    !sameContainer(container, old) &&
    objects(container.resizePolicy).some((policy) => policy.restartPolicy === 'RestartContainer')
  )
    errors.push(
      forbiddenField(at, 'non-sidecar init containers with a resize policy of RestartContainer cannot be resized'),
    );
  return errors;
}

/** Resources of the pod as a whole (`spec.resources`, KEP-2837). */
function podLevelErrors(spec: JsonObject, old: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const before = part(old, 'resources');
  const now = part(spec, 'resources');
  if (old.resources !== undefined && spec.resources === undefined)
    return [forbiddenField('spec.resources', 'pod-level resources cannot be removed')];
  for (const field of ['requests', 'limits'])
    if (removed(part(now, field), part(before, field)))
      errors.push(forbiddenField(`spec.resources.${field}`, `pod-level resource ${field} cannot be removed`));
  if (!sameResources(withoutResizable(now), withoutResizable(before)))
    errors.push(forbiddenField('spec', 'only cpu and memory resources are mutable at pod-level'));
  return errors;
}

/** A node that can resize says what its running containers have. */
function nodeCanResize(pod: JsonObject): boolean {
  const containers = objects(part(pod, 'spec').containers);
  const running = objects(part(pod, 'status').containerStatuses).find((one) => isObject(part(one, 'state').running));
  if (running === undefined || running.resources !== undefined) return true;
  const container = containers.find((one) => one.name === running.name);
  return Object.keys(part(container ?? {}, 'resources')).length === 0;
}

function removed(list: JsonObject, old: JsonObject): boolean {
  return Object.keys(old).some((name) => !Object.hasOwn(list, name));
}

function withoutResizable(resources: JsonObject): JsonObject {
  const out: JsonObject = { ...resources };
  for (const field of ['requests', 'limits'])
    if (isObject(out[field]))
      out[field] = Object.fromEntries(Object.entries(out[field]).filter(([name]) => !resizable.includes(name)));
  return out;
}

function sameContainer(a: JsonObject, b: JsonObject): boolean {
  const { resources: left, ...one } = a;
  const { resources: right, ...other } = b;
  return jsonEqual(one, other) && sameResources(isObject(left) ? left : {}, isObject(right) ? right : {});
}

/** Equal where an empty list of amounts is none, and amounts are what they stand for. */
function sameResources(a: JsonObject, b: JsonObject): boolean {
  for (const field of ['requests', 'limits']) {
    const left = part(a, field);
    const right = part(b, field);
    if (removed(left, right) || removed(right, left)) return false;
    for (const name in left) {
      const one = tryQuantity(left[name]);
      const other = tryQuantity(right[name]);
      if (one === undefined || other === undefined || compareQuantities(one, other) !== 0) return false;
    }
  }
  return jsonEqual(a.claims ?? null, b.claims ?? null);
}
