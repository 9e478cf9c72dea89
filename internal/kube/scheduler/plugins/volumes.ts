import type { PersistentVolume, PersistentVolumeClaim, Pod, StorageClass } from '../../api/types.ts';
import type { Plugin, Rejection } from '../framework.ts';
import { matchesTerm } from './node.ts';

/** What the plug-in reads; fed by informers. */
export interface VolumeLister {
  claim(namespace: string, name: string): PersistentVolumeClaim | undefined;
  volume(name: string): PersistentVolume | undefined;
  storageClass(name: string): StorageClass | undefined;
}

/** What the plug-in does before a pod is bound. */
export interface VolumeBinder {
  /** Tells the provisioner which node a claim is for. */
  selectNode(claim: PersistentVolumeClaim, nodeName: string): Promise<void>;
  /** Resolves when the claim is bound; rejects when `signal` aborts or it takes too long. */
  untilBound(namespace: string, name: string, signal: AbortSignal): Promise<void>;
}

/** Claims of a pod by name, those of generic ephemeral volumes among them. */
export function podClaims(pod: Pod): string[] {
  return (pod.spec?.volumes ?? []).flatMap((volume) => {
    if (volume.persistentVolumeClaim) return [volume.persistentVolumeClaim.claimName];
    if (volume.ephemeral) return [`${pod.metadata.name}-${volume.name}`];
    return [];
  });
}

/** Pods wait for their claims and go where their volumes can be used; claims that wait for a pod are told its node. */
export function volumeBinding(lister: VolumeLister, binder: VolumeBinder): Plugin {
  const claimsOf = (pod: Pod): { name: string; claim: PersistentVolumeClaim | undefined }[] =>
    podClaims(pod).map((name) => ({ name, claim: lister.claim(pod.metadata.namespace!, name) }));
  const waitsForPod = (claim: PersistentVolumeClaim): boolean =>
    lister.storageClass(claim.spec?.storageClassName ?? '')?.volumeBindingMode === 'WaitForFirstConsumer';
  return {
    name: 'VolumeBinding',
    preFilter: (pod): Rejection | undefined => {
      for (const { name, claim } of claimsOf(pod)) {
        if (!claim) return { reason: `persistentvolumeclaim "${name}" not found`, unresolvable: true };
        if (claim.metadata.deletionTimestamp)
          return { reason: `persistentvolumeclaim "${name}" is being deleted`, unresolvable: true };
        if (claim.status?.phase === 'Lost')
          return {
            reason: `persistentvolumeclaim "${name}" bound to non-existent persistentvolume "${claim.spec?.volumeName}"`,
            unresolvable: true,
          };
        if (!claim.spec?.volumeName && !waitsForPod(claim))
          return { reason: 'pod has unbound immediate PersistentVolumeClaims', unresolvable: true };
      }
      return undefined;
    },
    filter: (pod, { node }): Rejection | undefined => {
      for (const { claim } of claimsOf(pod)) {
        if (!claim?.spec?.volumeName) continue;
        const volume = lister.volume(claim.spec.volumeName);
        if (!volume)
          return {
            reason: 'node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)',
            unresolvable: true,
          };
        const required = volume.spec?.nodeAffinity?.required;
        if (required && !required.nodeSelectorTerms.some((term) => matchesTerm(term, node)))
          return { reason: "node(s) didn't match PersistentVolume's node affinity", unresolvable: true };
      }
      return undefined;
    },
    preBind: async (pod, nodeName, signal) => {
      const unbound = claimsOf(pod).filter(({ claim }) => claim && claim.status?.phase !== 'Bound');
      for (const { claim } of unbound) if (claim && waitsForPod(claim)) await binder.selectNode(claim, nodeName);
      for (const { name } of unbound) await binder.untilBound(pod.metadata.namespace!, name, signal);
    },
  };
}
