import type { KubeObject, ResourceRef } from '../client/api.ts';
import { objectKey } from '../client/informer.ts';
import { persistentVolumeClaimsRef, podsRef, servicesRef } from '../client/resources.ts';
import type { JsonObject } from '../machinery/json.ts';
import { isStatus } from '../machinery/status.ts';
import type { ControllerContext } from './context.ts';
import type { PodObject } from './pod-control.ts';
import { countedKinds, quotaStatus } from './resource-quota-plan.ts';
import { canonicalJson } from './revision.ts';

const quotasRef: ResourceRef = { group: '', version: 'v1', resource: 'resourcequotas' };

type QuotaObject = KubeObject & { spec?: { hard?: Record<string, string> }; status?: { hard?: object; used?: object } };

/** Every quota is counted anew after this time, whatever happened (kube-controller-manager's --resource-quota-sync-period). */
const fullMs = 5 * 60_000;
/** Those that count what is not watched here. */
const unwatchedMs = 15_000;

/**
 * Keeps the status of ResourceQuotas (kube-controller-manager's resourcequota controller): admission notes what is added, this what is gone. Pods, services and
 * claims are followed; other kinds are counted every 15 seconds where a quota limits them.
 */
export function resourceQuotaController(context: ControllerContext): void {
  const { client, kinds } = context;
  const quotas = context.informers.of<QuotaObject>(quotasRef);
  const followed = [podsRef, servicesRef, persistentVolumeClaimsRef].map((resource) => ({
    resource,
    informer: context.informers.of<KubeObject>(resource),
  }));
  const queue = context.queue('resource-quotas', reconcile);
  quotas.index('namespace', (quota) => [quota.metadata.namespace!]);
  const changed = (object: KubeObject): void => {
    for (const quota of quotas.by('namespace', object.metadata.namespace!)) queue.add(objectKey(quota));
  };
  quotas.handle({
    onAdd: changed,
    onUpdate: (quota, before) => {
      const same = canonicalJson(quota.spec) === canonicalJson(before.spec);
      if (!same || canonicalJson(quota.status) !== canonicalJson(before.status)) queue.add(objectKey(quota));
    },
    onDelete: changed,
  });
  for (const { informer, resource } of followed) {
    informer.index('namespace', (object) => [object.metadata.namespace!]);
    informer.handle({
      onAdd: changed,
      onUpdate: (object, before) => {
        // Of a pod it is its end and its resources that matter, not each report of its kubelet.
        const of = (one: KubeObject): unknown => [(one as PodObject).spec, (one as PodObject).status?.phase];
        if (resource !== podsRef || canonicalJson(of(object)) !== canonicalJson(of(before))) changed(object);
      },
      onDelete: changed,
    });
  }

  async function reconcile(key: string): Promise<void> {
    const quota = quotas.get(key);
    if (quota === undefined || quota.metadata.deletionTimestamp !== undefined) return;
    const namespace = quota.metadata.namespace!;
    const counted = countedKinds(kinds, (quota.spec?.hard ?? {}) as JsonObject);
    let watched = true;
    const existing = [];
    for (const kind of counted) {
      const own = followed.find(({ resource }) => resource.group === kind.group && resource.resource === kind.plural);
      watched &&= own !== undefined;
      const objects =
        own === undefined
          ? (await client.list({ group: kind.group, version: kind.version, resource: kind.plural }, { namespace }))
              .items
          : own.informer.by('namespace', namespace);
      existing.push({ kind, objects: objects as unknown as JsonObject[] });
    }
    const status = quotaStatus(quota as unknown as JsonObject, existing);
    if (canonicalJson(status) !== canonicalJson(quota.status ?? {}))
      try {
        await client.update(quotasRef, { ...quota, status }, { subresource: 'status' });
      } catch (error) {
        // The informer brings what is there now.
        if (!isStatus(error, 'Conflict', 'NotFound')) throw error;
      }
    queue.addAfter(key, watched ? fullMs : unwatchedMs);
  }
}
