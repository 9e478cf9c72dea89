import type { PersistentVolume, PersistentVolumeClaim } from '../api/types.ts';
import { provisionedBy } from './volume-binding.ts';

/**
 * When a volume's data may be destroyed, without I/O. The rules are those of external-provisioner (sig-storage-lib-external-provisioner,
 * shouldDelete): phase Released, reclaim policy Delete, provisioned by the driver that is asked; and the claim must really have gone.
 */

export const deletionFinalizer = 'external-provisioner.volume.kubernetes.io/finalizer';
export const volumeProtection = 'kubernetes.io/pv-protection';

export type ReclaimStep =
  | { do: 'nothing' }
  /** The claim has gone and the volume does not say so yet. Nothing is destroyed before it does. */
  | { do: 'mark-released' }
  /** The object is to be deleted once its data has been. */
  | { do: 'delete-data-and-object' }
  /** The object is being deleted: these finalizers stay on it. */
  | { do: 'finish'; deleteData: boolean; finalizers: string[] }
  /** The object is being deleted, but whose data it has cannot be told: it waits. */
  | { do: 'refuse'; why: string };

/**
 * What to do with a volume that has a claimRef with a uid, or that is being deleted.
 * @param volume as the server has it, read after `claim`
 * @param claim what the server has by the name in the volume's claimRef; a cache's word is not enough, nor its silence
 * @param drivers the names of the provisioners at hand
 */
export function reclaimStep(
  volume: PersistentVolume,
  claim: PersistentVolumeClaim | undefined,
  drivers: ReadonlySet<string>,
): ReclaimStep {
  const uid = volume.spec?.claimRef?.uid || undefined;
  const deleting = volume.metadata.deletionTimestamp !== undefined;
  const claimLives = uid !== undefined && claim?.metadata.uid === uid;
  const phase = volume.status?.phase;
  // A claim that is bound to another volume does not use this one, but its data is not touched while the claim lives.
  const inUse = claimLives && (!claim.spec?.volumeName || claim.spec.volumeName === volume.metadata.name);
  if (inUse || (claimLives && !deleting)) return { do: 'nothing' };
  if (uid !== undefined && !claimLives && phase !== 'Released' && phase !== 'Failed') return { do: 'mark-released' };

  const driver = volume.metadata.annotations?.[provisionedBy];
  const ours = driver !== undefined && drivers.has(driver) && volume.spec?.csi?.driver === driver;
  const wantsDeletion = volume.spec?.persistentVolumeReclaimPolicy === 'Delete';
  const mayDestroy = ours && wantsDeletion && uid !== undefined && !claimLives && phase === 'Released';
  if (!deleting) return mayDestroy ? { do: 'delete-data-and-object' } : { do: 'nothing' };

  const before = volume.metadata.finalizers ?? [];
  let finalizers = before.filter((one) => one !== volumeProtection);
  const deleteData = mayDestroy && finalizers.includes(deletionFinalizer);
  if (ours && (deleteData || !wantsDeletion)) finalizers = finalizers.filter((one) => one !== deletionFinalizer);
  if (finalizers.length < before.length) return { do: 'finish', deleteData, finalizers };
  if (!ours || !finalizers.includes(deletionFinalizer)) return { do: 'nothing' };
  return {
    do: 'refuse',
    why: `the volume is being deleted with reclaim policy Delete, but its phase is ${phase ?? 'unknown'}, not Released: its data stays; set the policy to Retain to let the object go without its data`,
  };
}
