import { describe, expect, test } from 'vitest';
import type { PersistentVolume, PersistentVolumeClaim } from '../api/types.ts';
import { deletionFinalizer, reclaimStep, volumeProtection } from './volume-reclaim.ts';

const drivers = new Set(['rbd']);
interface Facts {
  phase?: string;
  policy?: string;
  uid?: string | undefined;
  deleting?: boolean;
  by?: string;
}
const volume = ({ phase = 'Released', policy = 'Delete', uid = 'u', deleting = false, by = 'rbd' }: Facts) =>
  ({
    metadata: {
      name: 'v',
      annotations: { 'pv.kubernetes.io/provisioned-by': by },
      finalizers: [volumeProtection, deletionFinalizer],
      ...(deleting ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    spec: {
      persistentVolumeReclaimPolicy: policy,
      csi: { driver: by, volumeHandle: 'h' },
      ...(uid === '' ? {} : { claimRef: { namespace: 'n', name: 'c', uid } }),
    },
    status: { phase },
  }) as unknown as PersistentVolume;
const claim = (uid: string, volumeName?: string) =>
  ({ metadata: { name: 'c', namespace: 'n', uid }, spec: { volumeName } }) as unknown as PersistentVolumeClaim;
const step = (facts: Facts, of?: PersistentVolumeClaim) => reclaimStep(volume(facts), of, drivers);

describe('reclaimStep', () => {
  test('data goes only when the claim has gone, the volume says Released and the policy says Delete', () => {
    expect(step({})).toEqual({ do: 'delete-data-and-object' });
    expect(step({}, claim('another'))).toEqual({ do: 'delete-data-and-object' });
    expect(step({ policy: 'Retain' })).toEqual({ do: 'nothing' });
    expect(step({ by: 'other' })).toEqual({ do: 'nothing' });
    expect(step({ phase: 'Bound' })).toEqual({ do: 'mark-released' });
    expect(step({ phase: 'Failed' })).toEqual({ do: 'nothing' });
  });

  test('a claim that lives keeps everything, whatever the phase says', () => {
    for (const phase of ['Bound', 'Released', 'Available', 'Failed'])
      for (const policy of ['Delete', 'Retain'])
        for (const deleting of [false, true])
          for (const name of ['v', undefined])
            expect(step({ phase, policy, deleting }, claim('u', name))).toEqual({ do: 'nothing' });
  });

  test('a claim that lives but is bound elsewhere gives up the object, not the data', () => {
    expect(step({ deleting: true }, claim('u', 'w'))).toEqual({
      do: 'finish',
      deleteData: false,
      finalizers: [deletionFinalizer],
    });
  });

  test('a volume that is being deleted', () => {
    expect(step({ deleting: true })).toEqual({ do: 'finish', deleteData: true, finalizers: [] });
    expect(step({ deleting: true, phase: 'Bound' })).toEqual({ do: 'mark-released' });
    expect(step({ deleting: true, policy: 'Retain' })).toEqual({ do: 'finish', deleteData: false, finalizers: [] });
    expect(step({ deleting: true, by: 'other' })).toEqual({
      do: 'finish',
      deleteData: false,
      finalizers: [deletionFinalizer],
    });
  });

  test('one that was never bound, or was made available again, keeps its data until it is told to let go of it', () => {
    const available = volume({ deleting: true, phase: 'Available', uid: '' });
    expect(reclaimStep(available, undefined, drivers)).toMatchObject({ do: 'finish', deleteData: false });
    available.metadata.finalizers = [deletionFinalizer];
    expect(reclaimStep(available, undefined, drivers)).toMatchObject({ do: 'refuse' });
    available.spec!.persistentVolumeReclaimPolicy = 'Retain';
    expect(reclaimStep(available, undefined, drivers)).toEqual({ do: 'finish', deleteData: false, finalizers: [] });
  });
});
