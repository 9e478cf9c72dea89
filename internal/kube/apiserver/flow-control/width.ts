/** How many seats a request is worth: a list of many objects holds the server up for longer than a get (KEP-1040, "Width"; upstream's list_work_estimator.go). */
import type { RequestInfo } from '../request-info.ts';
import { isTrue } from '../request-info.ts';

/** As upstream. */
const objectsPerSeat = 100;
const seatsMax = 10;
/** Collections of which the size is remembered, those read last. */
const collectionsMax = 2000;

/** How many objects collections had when they were last read from their beginning. */
export class CollectionSizes {
  readonly #sizes = new Map<string, number>();

  /** `namespace` '' for all. */
  note(group: string, resource: string, namespace: string, objects: number): void {
    const key = keyOf(group, resource, namespace);
    this.#sizes.delete(key);
    this.#sizes.set(key, objects);
    if (this.#sizes.size > collectionsMax) this.#sizes.delete(this.#sizes.keys().next().value!);
  }

  /** 0 for one that was not read yet. */
  of(group: string, resource: string, namespace: string): number {
    return this.#sizes.get(keyOf(group, resource, namespace)) ?? 0;
  }
}

const keyOf = (group: string, resource: string, namespace: string): string => `${group}/${resource}/${namespace}`;

/**
 * Seats that a request is worth, before its level says how many it may have. A write's watchers add none: they are told in the moment in which it is stored, and
 * this process does nothing else meanwhile.
 */
export function worthOf(info: RequestInfo, query: URLSearchParams, sizes: CollectionSizes): number {
  if (!info.isResource || info.name !== '' || info.subresource !== '') return 1;
  if (info.verb !== 'list' && !(info.verb === 'watch' && listsFirst(query))) return 1;
  const stored = sizes.of(info.group, info.resource, info.namespace);
  const limit = info.verb === 'watch' ? 0 : Number(query.get('limit') ?? 0);
  const narrowed = info.fieldSelector.length > 0 || info.labelSelector.length > 0;
  // With a selector pages are read until enough of their objects are chosen.
  const read = limit > 0 && !narrowed ? Math.min(limit, stored) : stored;
  return Math.max(1, Math.min(seatsMax, Math.ceil(read / objectsPerSeat)));
}

/** Whether a watch begins with all objects. */
function listsFirst(query: URLSearchParams): boolean {
  const send = query.get('sendInitialEvents');
  if (send !== null) return isTrue(send);
  return ['', '0'].includes(query.get('resourceVersion') ?? '');
}
