import type { KubeObject, ResourceRef } from '../client/api.ts';
import { namespacesRef } from '../client/resources.ts';
import { isStatus } from '../machinery/status.ts';
import { parseTime } from '../machinery/time.ts';
import type { ControllerContext } from './context.ts';

/** A deletion is acted on after so long: whoever deletes a namespace and its content together gets to finish (upstream's grace period). */
const graceMs = 5000;
/** How often a namespace whose content is still ending is looked at. */
const retryMs = 500;

interface Namespace extends KubeObject {
  spec?: { finalizers?: string[] };
  status?: { phase?: string };
}

/** Empties a namespace that is being deleted, then takes its `kubernetes` finalizer away (kube-controller-manager's namespace controller). */
export function namespaceController(context: ControllerContext): void {
  const { client, clock, kinds } = context;
  const namespaces = context.informers.of<Namespace>(namespacesRef);
  const queue = context.queue('namespace', reconcile);
  const wanted = (namespace: Namespace): void => {
    if (!namespace.metadata.deletionTimestamp) return;
    const since = parseTime(namespace.metadata.deletionTimestamp) ?? clock.now();
    queue.addAfter(namespace.metadata.name, Math.max(0, Math.min(graceMs, since + graceMs - clock.now())));
  };
  namespaces.handle({ onAdd: wanted, onUpdate: wanted });
  const resources: ResourceRef[] = kinds.all
    .filter(
      (kind) =>
        kind.namespaced &&
        !kind.virtual &&
        // The same objects under another name: they go once.
        kind.storage === undefined &&
        kind.verbs.includes('list') &&
        kind.verbs.includes('delete'),
    )
    .map((kind) => ({ group: kind.group, version: kind.version, resource: kind.plural }));

  async function reconcile(name: string): Promise<void> {
    const namespace = namespaces.get(name);
    if (!namespace?.metadata.deletionTimestamp || !namespace.spec?.finalizers?.includes('kubernetes')) return;
    let left = 0;
    for (const resource of resources) {
      const { items } = await client.list(resource, { namespace: name });
      left += items.length;
      for (const object of items) {
        if (object.metadata.deletionTimestamp) continue;
        try {
          await client.delete(resource, object.metadata.name, name, {
            propagationPolicy: 'Background',
            preconditions: { uid: object.metadata.uid! },
          });
        } catch (error) {
          if (!isStatus(error, 'NotFound', 'Conflict')) throw error;
        }
      }
    }
    if (left > 0) {
      queue.addAfter(name, retryMs);
      return;
    }
    const finalizers = namespace.spec.finalizers.filter((one) => one !== 'kubernetes');
    try {
      await client.raw('PUT', `/api/v1/namespaces/${encodeURIComponent(name)}/finalize`, {
        ...namespace,
        spec: { ...namespace.spec, finalizers },
      });
    } catch (error) {
      if (!isStatus(error, 'NotFound', 'Conflict')) throw error;
      if (isStatus(error, 'Conflict')) queue.addAfter(name, retryMs);
    }
  }
}
