import type { KubeObject, ObjectMeta, OwnerReference, ResourceRef } from '../client/api.ts';
import { isStatus } from '../machinery/status.ts';
import type { ControllerContext } from './context.ts';
import { unlessGone } from './unless-gone.ts';

/**
 * Removes what its owners left behind, and carries out the propagation that a deletion asked for (kube-controller-manager's garbagecollector).
 * Follows every kind that can be listed and deleted, except those that are never owned.
 */

/** What is known of an object that exists, or that others name as owner. */
interface Item {
  uid: string;
  /** Of the object that this was read from. */
  resourceVersion: string;
  resource: ResourceRef;
  namespace: string | undefined;
  name: string;
  owners: readonly OwnerReference[];
  finalizers: readonly string[];
  deleting: boolean;
}

const orphanFinalizer = 'orphan';
const foregroundFinalizer = 'foregroundDeletion';
/** Short-lived or without owners by their nature. */
const ignored = new Set(['events', 'leases']);

function itemOf(resource: ResourceRef, metadata: ObjectMeta): Item {
  return {
    uid: metadata.uid!,
    resourceVersion: metadata.resourceVersion!,
    resource,
    namespace: metadata.namespace,
    name: metadata.name,
    owners: metadata.ownerReferences ?? [],
    finalizers: metadata.finalizers ?? [],
    deleting: metadata.deletionTimestamp !== undefined,
  };
}

type OwnerState = 'present' | 'absent' | 'deleting-foreground';

/** Writes that lose against others are repeated so often at once; then the work queue comes back later. */
const attempts = 5;

/** What the owners of an object tell to do with it. */
export function fate(
  owners: readonly OwnerReference[],
  ownerState: (owner: OwnerReference) => OwnerState,
): { do: 'keep' } | { do: 'drop-references'; uids: string[] } | { do: 'delete'; foreground: boolean } {
  const states = owners.map((owner) => ({ owner, state: ownerState(owner) }));
  const solid = states.filter(({ state }) => state === 'present');
  const gone = states.filter(({ state }) => state === 'absent').map(({ owner }) => owner.uid);
  const waiting = states.filter(({ state }) => state === 'deleting-foreground').map(({ owner }) => owner.uid);
  if (solid.length > 0) {
    const drop = [...gone, ...waiting];
    return drop.length === 0 ? { do: 'keep' } : { do: 'drop-references', uids: drop };
  }
  return states.length === 0 ? { do: 'keep' } : { do: 'delete', foreground: waiting.length > 0 };
}

export function garbageCollector(context: ControllerContext): void {
  const { client, informers, kinds } = context;
  const items = new Map<string, Item>();
  /** Dependents by the uid of an owner that they name. */
  const dependents = new Map<string, Set<string>>();
  const resources = new Map<string, { ref: ResourceRef; namespaced: boolean }>();

  const link = (item: Item): void => {
    items.set(item.uid, item);
    for (const owner of item.owners) {
      const set = dependents.get(owner.uid) ?? new Set();
      set.add(item.uid);
      dependents.set(owner.uid, set);
    }
  };
  const unlink = (uid: string): void => {
    for (const owner of items.get(uid)?.owners ?? []) {
      const set = dependents.get(owner.uid);
      set?.delete(uid);
      if (set?.size === 0) dependents.delete(owner.uid);
    }
    items.delete(uid);
  };
  const dependentsOf = (uid: string): Item[] =>
    [...(dependents.get(uid) ?? [])].map((one) => items.get(one)!).filter(Boolean);

  const queue = context.queue('garbage-collector', (uid) => reconcile(uid), 8);

  for (const kind of kinds.all) {
    if (kind.virtual || ignored.has(kind.plural) || !kind.verbs.includes('list') || !kind.verbs.includes('delete'))
      continue;
    const ref: ResourceRef = { group: kind.group, version: kind.version, resource: kind.plural };
    resources.set(`${kind.group === '' ? kind.version : `${kind.group}/${kind.version}`} ${kind.kind}`, {
      ref,
      namespaced: kind.namespaced,
    });
    // The same objects under another name: they come once.
    if (kind.storage !== undefined) continue;
    const seen = (object: KubeObject): void => {
      const item = itemOf(ref, object.metadata);
      unlink(item.uid);
      link(item);
      if (
        item.owners.length > 0 ||
        (item.deleting && item.finalizers.some((one) => one === orphanFinalizer || one === foregroundFinalizer))
      )
        queue.add(item.uid);
      if (item.deleting) for (const dependent of dependentsOf(item.uid)) queue.add(dependent.uid);
    };
    informers.of(ref).handle({
      onAdd: seen,
      onUpdate: seen,
      onDelete: (object) => {
        const uid = object.metadata.uid!;
        const owners = items.get(uid)?.owners ?? [];
        unlink(uid);
        for (const dependent of dependentsOf(uid)) queue.add(dependent.uid);
        for (const owner of owners) if (items.get(owner.uid)?.deleting) queue.add(owner.uid);
      },
    });
  }

  async function reconcile(uid: string): Promise<void> {
    const item = items.get(uid);
    if (!item) return;
    if (item.deleting) {
      if (item.finalizers.includes(orphanFinalizer)) return orphan(item);
      if (item.finalizers.includes(foregroundFinalizer)) return deleteForeground(item);
      return;
    }
    if ((await decide(item, cachedOwnerState)).do !== 'keep') await settle(item);
  }

  async function decide(item: Item, stateOf: typeof liveOwnerState): Promise<ReturnType<typeof fate>> {
    const states = new Map<string, OwnerState>();
    for (const owner of item.owners) states.set(owner.uid, await stateOf(item, owner));
    return fate(item.owners, (owner) => states.get(owner.uid)!);
  }

  /**
   * Does what the owners tell to an object that the cache thinks is left over. The caches of two kinds are never of one moment: an orphan's
   * owner may be known to be gone while its own reference still shows. So the object and then its owners are asked of the server, and what
   * follows holds only for the object as it was read.
   */
  async function settle(cached: Item): Promise<void> {
    await withCurrent(cached, async (item) => {
      if (item.deleting) return;
      const decision = await decide(item, liveOwnerState);
      if (decision.do === 'drop-references') await writeReferences(item, decision.uids);
      else if (decision.do === 'delete') await remove(item, decision.foreground && dependentsOf(item.uid).length > 0);
    });
  }

  /** Acts on the object as the server has it, anew if it changed meanwhile; not at all if it has gone or was replaced. */
  async function withCurrent(cached: Item, act: (item: Item) => Promise<void>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const object = await unlessGone(client.get(cached.resource, cached.name, cached.namespace));
      if (object?.metadata.uid !== cached.uid) return;
      try {
        return await act(itemOf(cached.resource, object.metadata));
      } catch (error) {
        if (!isStatus(error, 'Conflict') || attempt === attempts) throw error;
      }
    }
  }

  /** The cache may not have seen a new owner yet: what it does not know is asked of the server. */
  async function cachedOwnerState(item: Item, owner: OwnerReference): Promise<OwnerState> {
    const known = items.get(owner.uid);
    return known ? stateOfOwner(known, item) : liveOwnerState(item, owner);
  }

  async function liveOwnerState(item: Item, owner: OwnerReference): Promise<OwnerState> {
    const resource = resources.get(`${owner.apiVersion} ${owner.kind}`);
    // A kind that is not served here cannot be judged.
    if (!resource) return 'present';
    if (resource.namespaced && item.namespace === undefined) return 'absent';
    const object = await unlessGone(
      client.get(resource.ref, owner.name, resource.namespaced ? item.namespace : undefined),
    );
    return object?.metadata.uid === owner.uid ? stateOfOwner(itemOf(resource.ref, object.metadata), item) : 'absent';
  }

  function stateOfOwner(owner: Item, item: Item): OwnerState {
    // A cluster-wide object cannot be owned by a namespaced one, nor one in another namespace.
    if (owner.namespace !== undefined && owner.namespace !== item.namespace) return 'absent';
    return owner.deleting && owner.finalizers.includes(foregroundFinalizer) ? 'deleting-foreground' : 'present';
  }

  /** Fails with Conflict when the object is not as `item` was read. */
  async function remove(item: Item, foreground: boolean): Promise<void> {
    await unlessGone(
      client.delete(item.resource, item.name, item.namespace, {
        propagationPolicy: item.finalizers.includes(orphanFinalizer)
          ? 'Orphan'
          : foreground || item.finalizers.includes(foregroundFinalizer)
            ? 'Foreground'
            : 'Background',
        preconditions: { uid: item.uid, resourceVersion: item.resourceVersion },
      }),
    );
  }

  /** Fails with Conflict when the object is not as `item` was read: a merge patch writes the whole list, an adoption since would be lost. */
  async function writeReferences(item: Item, drop: readonly string[]): Promise<void> {
    const ownerReferences = item.owners.filter((owner) => !drop.includes(owner.uid));
    if (ownerReferences.length === item.owners.length) return;
    await unlessGone(
      client.patch(item.resource, item.name, item.namespace, 'merge', {
        metadata: { uid: item.uid, resourceVersion: item.resourceVersion, ownerReferences },
      }),
    );
  }

  async function orphan(item: Item): Promise<void> {
    for (const dependent of dependentsOf(item.uid))
      await withCurrent(dependent, (current) => writeReferences(current, [item.uid]));
    await dropFinalizer(item, orphanFinalizer);
  }

  async function deleteForeground(item: Item): Promise<void> {
    const blocking = dependentsOf(item.uid).filter((dependent) =>
      dependent.owners.some((owner) => owner.uid === item.uid && owner.blockOwnerDeletion),
    );
    if (blocking.length === 0) {
      await dropFinalizer(item, foregroundFinalizer);
      return;
    }
    for (const dependent of dependentsOf(item.uid)) if (!dependent.deleting) queue.add(dependent.uid);
  }

  async function dropFinalizer(cached: Item, finalizer: string): Promise<void> {
    await withCurrent(cached, async (item) => {
      await unlessGone(
        client.patch(item.resource, item.name, item.namespace, 'merge', {
          metadata: {
            resourceVersion: item.resourceVersion,
            finalizers: item.finalizers.filter((one) => one !== finalizer),
          },
        }),
      );
    });
  }
}
