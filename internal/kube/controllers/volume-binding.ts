import type { PersistentVolume, PersistentVolumeClaim, StorageClass } from '../api/types.ts';
import { parseQuantity, quantityValue } from '../machinery/quantity.ts';
import { labelSelectorOf, matchesLabels } from '../machinery/selectors.ts';

/** Which volume a claim gets: upstream's rules, without I/O (kube-controller-manager, volume/persistentvolume). */

export const boundByController = 'pv.kubernetes.io/bound-by-controller';
export const bindCompleted = 'pv.kubernetes.io/bind-completed';
export const provisionedBy = 'pv.kubernetes.io/provisioned-by';
export const storageProvisioner = 'volume.kubernetes.io/storage-provisioner';
/** The same under its older name; clients still read it. */
export const storageProvisionerBeta = 'volume.beta.kubernetes.io/storage-provisioner';
export const selectedNode = 'volume.kubernetes.io/selected-node';

const bytes = (quantity: unknown): number =>
  typeof quantity === 'string' || typeof quantity === 'number' ? quantityValue(parseQuantity(quantity)) : 0;

export function claimBytes(claim: PersistentVolumeClaim): number {
  return bytes(claim.spec?.resources?.requests?.storage);
}

/** Whether the volume's claimRef is this claim; a claimRef without uid is a reservation by name. */
export function isClaimRefOf(volume: PersistentVolume, claim: PersistentVolumeClaim): boolean {
  const ref = volume.spec?.claimRef;
  if (!ref || ref.name !== claim.metadata.name || ref.namespace !== claim.metadata.namespace) return false;
  return ref.uid === undefined || ref.uid === '' || ref.uid === claim.metadata.uid;
}

/** Whether a volume can serve a claim. */
export function satisfies(volume: PersistentVolume, claim: PersistentVolumeClaim): boolean {
  if (volume.metadata.deletionTimestamp) return false;
  if (volume.spec?.claimRef && !isClaimRefOf(volume, claim)) return false;
  if (!volume.spec?.claimRef && volume.status?.phase !== 'Available') return false;
  if ((volume.spec?.storageClassName ?? '') !== (claim.spec?.storageClassName ?? '')) return false;
  if ((volume.spec?.volumeMode ?? 'Filesystem') !== (claim.spec?.volumeMode ?? 'Filesystem')) return false;
  if (bytes(volume.spec?.capacity?.storage) < claimBytes(claim)) return false;
  if (!(claim.spec?.accessModes ?? []).every((mode) => volume.spec?.accessModes?.includes(mode))) return false;
  return (
    claim.spec?.selector === undefined || matchesLabels(labelSelectorOf(claim.spec.selector), volume.metadata.labels)
  );
}

/** The smallest volume that serves the claim; one that is reserved for it comes first. */
export function findVolume(
  volumes: readonly PersistentVolume[],
  claim: PersistentVolumeClaim,
): PersistentVolume | undefined {
  let best: PersistentVolume | undefined;
  for (const volume of volumes) {
    if (!satisfies(volume, claim)) continue;
    if (volume.spec?.claimRef) return volume;
    if (!best || bytes(volume.spec?.capacity?.storage) < bytes(best.spec?.capacity?.storage)) best = volume;
  }
  return best;
}

/** What to do with a claim that has no volume. */
export type Provisioning =
  | { do: 'wait'; reason: string; message: string; type: 'Normal' | 'Warning' }
  | { do: 'provision'; storageClass: StorageClass };

export function provisioning(
  claim: PersistentVolumeClaim,
  storageClass: StorageClass | undefined,
  provisioners: ReadonlySet<string>,
): Provisioning {
  const name = claim.spec?.storageClassName ?? '';
  if (name === '')
    return {
      do: 'wait',
      type: 'Normal',
      reason: 'FailedBinding',
      message: 'no persistent volumes available for this claim and no storage class is set',
    };
  if (!storageClass)
    return {
      do: 'wait',
      type: 'Warning',
      reason: 'ProvisioningFailed',
      message: `storageclass.storage.k8s.io "${name}" not found`,
    };
  if (storageClass.provisioner === 'kubernetes.io/no-provisioner')
    return {
      do: 'wait',
      type: 'Normal',
      reason: 'FailedBinding',
      message: 'no persistent volumes available for this claim',
    };
  if (storageClass.volumeBindingMode === 'WaitForFirstConsumer' && !claim.metadata.annotations?.[selectedNode])
    return {
      do: 'wait',
      type: 'Normal',
      reason: 'WaitForFirstConsumer',
      message: 'waiting for first consumer to be created before binding',
    };
  if (!provisioners.has(storageClass.provisioner))
    return {
      do: 'wait',
      type: 'Normal',
      reason: 'ExternalProvisioning',
      message: `Waiting for a volume to be created either by the external provisioner '${storageClass.provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.`,
    };
  return { do: 'provision', storageClass };
}
