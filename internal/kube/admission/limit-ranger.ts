import { objects } from '../api/defaults/helpers.ts';
import { type Amounts, amountsOf, podAmounts } from '../api/pod-amounts.ts';
import { getPath, isObject, type Json, type JsonObject } from '../machinery/json.ts';
import { compareQuantities, formatQuantity } from '../machinery/quantity.ts';
import { forbidden } from '../machinery/status.ts';
import { type AdmissionPlugin, type AdmissionRequest, isFor } from './types.ts';

/** LimitRanger (docs: concepts/policy/limit-range): defaults for containers, bounds for containers, pods and claims. */
function itemsOf(ranges: readonly JsonObject[], type: string): JsonObject[] {
  return ranges.flatMap((range) => objects(getPath(range, 'spec', 'limits'))).filter((item) => item.type === type);
}

/** Pods on create; claims on create and when they grow. */
function subject(request: AdmissionRequest): 'pod' | 'claim' | undefined {
  if (request.object === undefined) return undefined;
  if (request.operation === 'CREATE' && isFor(request, '', 'pods')) return 'pod';
  if (request.operation === 'UPDATE' && isFor(request, '', 'pods', 'resize')) return 'pod';
  const writes = request.operation === 'CREATE' || request.operation === 'UPDATE';
  return writes && isFor(request, '', 'persistentvolumeclaims') ? 'claim' : undefined;
}

export const limitRanger: AdmissionPlugin = {
  name: 'LimitRanger',
  async admit(request, { reader }) {
    if (subject(request) !== 'pod') return;
    const ranges = await reader.list('', 'limitranges', request.namespace);
    if (ranges.length > 0) fillDefaults(request.object!, itemsOf(ranges, 'Container'));
  },
  async validate(request, { reader }) {
    const what = subject(request);
    if (what === undefined) return;
    const ranges = await reader.list('', 'limitranges', request.namespace);
    if (ranges.length === 0) return;
    const errors =
      what === 'pod'
        ? [...containerErrors(request.object!, ranges), ...podErrors(request.object!, ranges)]
        : claimErrors(request.object!, ranges);
    if (errors.length === 0) return;
    const why = errors.length === 1 ? errors[0]! : `[${errors.join(', ')}]`;
    throw forbidden({ group: '', resource: request.kind.plural }, request.name, why);
  },
};

function containersOf(pod: JsonObject): JsonObject[] {
  return [...objects(getPath(pod, 'spec', 'initContainers')), ...objects(getPath(pod, 'spec', 'containers'))];
}

/** The first range that has a default for a resource gives it. */
function fillDefaults(pod: JsonObject, items: readonly JsonObject[]): void {
  const notes: string[] = [];
  const defaultsOf = (field: string): Record<string, Json | undefined> =>
    Object.assign({}, ...items.map((item) => (isObject(item[field]) ? item[field] : {})).reverse()) as JsonObject;
  const requests = defaultsOf('defaultRequest');
  const limits = defaultsOf('default');
  const lists = [
    ['container', getPath(pod, 'spec', 'containers')],
    ['init container', getPath(pod, 'spec', 'initContainers')],
  ] as const;
  for (const [called, list] of lists) {
    for (const container of objects(list)) {
      const resources: JsonObject = isObject(container.resources) ? container.resources : {};
      // A limit without a request is the request, too: defaults of limits come first.
      for (const [field, defaults] of [
        ['requests', requests],
        ['limits', limits],
      ] as const) {
        const have: JsonObject = isObject(resources[field]) ? resources[field] : {};
        const set = Object.keys(defaults).filter((name) => have[name] === undefined);
        if (set.length === 0) continue;
        for (const name of set) have[name] = defaults[name];
        resources[field] = have;
        container.resources = resources;
        notes.push(`${set.sort().join(', ')} ${field.slice(0, -1)} for ${called} ${String(container.name)}`);
      }
    }
  }
  if (notes.length === 0) return;
  const metadata = pod.metadata as JsonObject;
  const annotations = isObject(metadata.annotations) ? metadata.annotations : {};
  annotations['kubernetes.io/limit-ranger'] = `LimitRanger plugin set: ${notes.join('; ')}`;
  metadata.annotations = annotations;
}

function containerErrors(pod: JsonObject, ranges: readonly JsonObject[]): string[] {
  const items = itemsOf(ranges, 'Container');
  return containersOf(pod).flatMap((container) =>
    items.flatMap((item) =>
      boundErrors(
        item,
        'Container',
        amountsOf(getPath(container, 'resources', 'requests')),
        amountsOf(getPath(container, 'resources', 'limits')),
      ),
    ),
  );
}

function podErrors(pod: JsonObject, ranges: readonly JsonObject[]): string[] {
  const items = itemsOf(ranges, 'Pod');
  if (items.length === 0) return [];
  const requests = podAmounts(pod, 'requests');
  const limits = podAmounts(pod, 'limits');
  return items.flatMap((item) => boundErrors(item, 'Pod', requests, limits));
}

function claimErrors(claim: JsonObject, ranges: readonly JsonObject[]): string[] {
  const requests = amountsOf(getPath(claim, 'spec', 'resources', 'requests'));
  const out: string[] = [];
  for (const item of itemsOf(ranges, 'PersistentVolumeClaim')) {
    out.push(...minErrors(amountsOf(item.min), 'PersistentVolumeClaim', requests, {}));
    for (const [name, most] of Object.entries(amountsOf(item.max))) {
      const asked = requests[name];
      if (asked !== undefined && compareQuantities(asked, most) > 0)
        out.push(
          `maximum ${name} usage per PersistentVolumeClaim is ${formatQuantity(most)}, but request is ${formatQuantity(asked)}`,
        );
    }
  }
  return out;
}

function minErrors(least: Amounts, type: string, requests: Amounts, limits: Amounts): string[] {
  const out: string[] = [];
  for (const [name, min] of Object.entries(least)) {
    const text = `minimum ${name} usage per ${type} is ${formatQuantity(min)}`;
    const request = requests[name];
    const limit = limits[name];
    if (request === undefined) out.push(`${text}.  No request is specified`);
    else if (compareQuantities(request, min) < 0) out.push(`${text}, but request is ${formatQuantity(request)}`);
    else if (limit !== undefined && compareQuantities(limit, min) < 0)
      out.push(`${text}, but limit is ${formatQuantity(limit)}`);
  }
  return out;
}

function boundErrors(item: JsonObject, type: string, requests: Amounts, limits: Amounts): string[] {
  const out = minErrors(amountsOf(item.min), type, requests, limits);
  for (const [name, max] of Object.entries(amountsOf(item.max))) {
    const text = `maximum ${name} usage per ${type} is ${formatQuantity(max)}`;
    const request = requests[name];
    const limit = limits[name];
    if (limit === undefined) out.push(`${text}.  No limit is specified`);
    else if (compareQuantities(limit, max) > 0) out.push(`${text}, but limit is ${formatQuantity(limit)}`);
    else if (request !== undefined && compareQuantities(request, max) > 0)
      out.push(`${text}, but request is ${formatQuantity(request)}`);
  }
  for (const [name, ratio] of Object.entries(amountsOf(item.maxLimitRequestRatio))) {
    const text = `${name} max limit to request ratio per ${type} is ${formatQuantity(ratio)}`;
    const request = requests[name];
    const limit = limits[name];
    if (request === undefined || request.nano === 0n) out.push(`${text}, but no request is specified or request is 0`);
    else if (limit === undefined || limit.nano === 0n) out.push(`${text}, but no limit is specified or limit is 0`);
    else {
      const have = Number(limit.nano) / Number(request.nano);
      if (have > Number(ratio.nano) / 1e9) out.push(`${text}, but provided ratio is ${have.toFixed(6)}`);
    }
  }
  return out;
}
