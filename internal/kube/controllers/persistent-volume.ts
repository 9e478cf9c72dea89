import { AppError, errorText } from '../../base/errors.ts';
import type { PersistentVolume, PersistentVolumeClaim, Pod, StorageClass } from '../api/types.ts';
import type { KubeObject } from '../client/api.ts';
import { objectKey } from '../client/informer.ts';
import {
  persistentVolumeClaimsRef,
  persistentVolumesRef,
  podsRef,
  secretsRef,
  storageClassesRef,
} from '../client/resources.ts';
import { isStatus } from '../machinery/status.ts';
import type { ControllerContext, SetUpController } from './context.ts';
import { unlessGone } from './unless-gone.ts';
import {
  bindCompleted,
  boundByController,
  claimBytes,
  findVolume,
  isClaimRefOf,
  provisionedBy,
  provisioning,
  storageProvisioner,
  storageProvisionerBeta,
} from './volume-binding.ts';
import { deletionFinalizer, reclaimStep } from './volume-reclaim.ts';

/** Makes and deletes volumes; what external-provisioner is to a CSI driver. */
export interface VolumeProvisioner {
  /** The driver's name, as StorageClasses name it. */
  readonly name: string;
  /** May be repeated for the same name: gives the same volume. */
  createVolume(request: {
    name: string;
    bytes: number;
    accessModes: readonly string[];
    volumeMode: string;
    fsType: string;
    parameters: Record<string, string>;
    secrets: Record<string, string>;
  }): Promise<{ handle: string; bytes: number; attributes: Record<string, string> }>;
  deleteVolume(handle: string, secrets: Record<string, string>): Promise<void>;
}

type Claim = PersistentVolumeClaim & KubeObject;
type Volume = PersistentVolume & KubeObject;

const claimProtection = 'kubernetes.io/pvc-protection';
const deletionSecretName = 'volume.kubernetes.io/provisioner-deletion-secret-name';
const deletionSecretNamespace = 'volume.kubernetes.io/provisioner-deletion-secret-namespace';
const secretParameter = (use: string, part: 'name' | 'namespace'): string => `csi.storage.k8s.io/${use}-secret-${part}`;

/**
 * Binds claims and volumes, provisions volumes for claims by `provisioners`, reclaims released volumes, and keeps what is in use from being deleted.
 */
export function persistentVolumeController(provisioners: readonly VolumeProvisioner[]): SetUpController {
  return (context: ControllerContext): void => {
    const { client } = context;
    const claims = context.informers.of<Claim>(persistentVolumeClaimsRef);
    const volumes = context.informers.of<Volume>(persistentVolumesRef);
    const classes = context.informers.of<StorageClass & KubeObject>(storageClassesRef);
    const pods = context.informers.of<Pod & KubeObject>(podsRef);
    const recorder = context.recorder('persistentvolume-controller');
    const byName = new Map(provisioners.map((provisioner) => [provisioner.name, provisioner]));
    const names = new Set(byName.keys());
    pods.index('claim', (pod) =>
      (pod.spec?.volumes ?? []).flatMap((volume) =>
        volume.persistentVolumeClaim ? [`${pod.metadata.namespace}/${volume.persistentVolumeClaim.claimName}`] : [],
      ),
    );

    const claimQueue = context.queue('claims', reconcileClaim);
    const volumeQueue = context.queue('volumes', reconcileVolume);
    const claimOf = (volume: Volume): void => {
      const ref = volume.spec?.claimRef;
      if (ref) claimQueue.add(`${ref.namespace}/${ref.name}`);
      else for (const claim of claims.list()) if (!claim.spec?.volumeName) claimQueue.add(objectKey(claim));
    };
    volumes.index('claim', (volume) => (volume.spec?.claimRef?.uid ? [volume.spec.claimRef.uid] : []));
    const onClaim = (claim: Claim): void => {
      claimQueue.add(objectKey(claim));
      if (claim.spec?.volumeName) volumeQueue.add(claim.spec.volumeName);
      for (const volume of volumes.by('claim', claim.metadata.uid!)) volumeQueue.add(volume.metadata.name);
    };
    const onVolume = (volume: Volume): void => {
      volumeQueue.add(volume.metadata.name);
      claimOf(volume);
    };
    claims.handle({ onAdd: onClaim, onUpdate: onClaim, onDelete: onClaim });
    volumes.handle({ onAdd: onVolume, onUpdate: onVolume, onDelete: claimOf });
    classes.handle({
      onAdd: (storageClass) => {
        for (const claim of claims.list())
          if (claim.spec?.storageClassName === storageClass.metadata.name) claimQueue.add(objectKey(claim));
      },
    });
    const onPod = (pod: Pod & KubeObject): void => {
      for (const volume of pod.spec?.volumes ?? [])
        if (volume.persistentVolumeClaim)
          claimQueue.add(`${pod.metadata.namespace}/${volume.persistentVolumeClaim.claimName}`);
    };
    pods.handle({
      onUpdate: (pod) => {
        if (pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed') onPod(pod);
      },
      onDelete: onPod,
    });

    const subject = (object: Claim | Volume) => ({
      apiVersion: 'v1',
      kind: object.kind,
      name: object.metadata.name,
      ...(object.metadata.namespace === undefined ? {} : { namespace: object.metadata.namespace }),
      uid: object.metadata.uid!,
    });

    async function reconcileClaim(key: string): Promise<void> {
      const claim = claims.get(key);
      if (!claim) return;
      if (claim.metadata.deletionTimestamp) return releaseClaim(claim);
      if (claim.spec?.volumeName) return completeBinding(claim);
      const found = findVolume(volumes.list(), claim);
      if (found) return bind(claim, found as Volume);
      const plan = provisioning(claim, classes.get(claim.spec?.storageClassName ?? ''), names);
      if (plan.do === 'provision') return provision(claim, plan.storageClass);
      recorder.record(subject(claim), plan.type, plan.reason, plan.message);
      if (claim.status?.phase !== 'Pending') await setClaimStatus(claim, { phase: 'Pending' });
    }

    /** The volume first: whoever reads the claim as bound finds a volume that says the same. */
    async function bind(claim: Claim, volume: Volume): Promise<void> {
      if (!volume.spec?.claimRef?.uid)
        await client.patch(persistentVolumesRef, volume.metadata.name, undefined, 'merge', {
          metadata: { resourceVersion: volume.metadata.resourceVersion, annotations: { [boundByController]: 'yes' } },
          spec: { claimRef: claimRef(claim) },
        });
      const bound = await client.patch<Claim>(
        persistentVolumeClaimsRef,
        claim.metadata.name,
        claim.metadata.namespace,
        'merge',
        {
          metadata: {
            resourceVersion: claim.metadata.resourceVersion,
            annotations: { [bindCompleted]: 'yes', [boundByController]: 'yes' },
          },
          spec: { volumeName: volume.metadata.name },
        },
      );
      await setClaimStatus(bound, {
        phase: 'Bound',
        accessModes: volume.spec?.accessModes,
        capacity: volume.spec?.capacity,
      });
      volumeQueue.add(volume.metadata.name);
    }

    async function completeBinding(claim: Claim): Promise<void> {
      const volume = volumes.get(claim.spec!.volumeName!);
      if (!volume) {
        if (claim.metadata.annotations?.[bindCompleted] && claim.status?.phase === 'Bound') {
          // The cache may be behind: only the server's word makes a claim lost.
          if (await unlessGone(client.get(persistentVolumesRef, claim.spec!.volumeName!))) return;
          recorder.record(
            subject(claim),
            'Warning',
            'ClaimLost',
            `Bound claim has lost its PersistentVolume. Data on the volume is lost!`,
          );
          await setClaimStatus(claim, { phase: 'Lost' });
        } else if (claim.status?.phase !== 'Pending') await setClaimStatus(claim, { phase: 'Pending' });
        return;
      }
      if (volume.spec?.claimRef && !isClaimRefOf(volume, claim)) {
        recorder.record(
          subject(claim),
          'Warning',
          'FailedBinding',
          `volume "${volume.metadata.name}" already bound to a different claim.`,
        );
        return;
      }
      if (claim.status?.phase !== 'Bound' || !volume.spec?.claimRef?.uid) await bind(claim, volume);
    }

    async function provision(claim: Claim, storageClass: StorageClass): Promise<void> {
      const provisioner = byName.get(storageClass.provisioner)!;
      if (claim.metadata.annotations?.[storageProvisioner] !== provisioner.name) {
        await client.patch(persistentVolumeClaimsRef, claim.metadata.name, claim.metadata.namespace, 'merge', {
          metadata: {
            annotations: { [storageProvisioner]: provisioner.name, [storageProvisionerBeta]: provisioner.name },
          },
        });
      }
      const name = `pvc-${claim.metadata.uid}`;
      if (await unlessGone(client.get(persistentVolumesRef, name))) return;
      recorder.record(
        subject(claim),
        'Normal',
        'Provisioning',
        `External provisioner is provisioning volume for claim "${objectKey(claim)}"`,
      );
      try {
        await client.create<Volume>(persistentVolumesRef, await makeVolume(name, claim, storageClass, provisioner));
      } catch (error) {
        if (isStatus(error, 'AlreadyExists')) return;
        recorder.record(
          subject(claim),
          'Warning',
          'ProvisioningFailed',
          `failed to provision volume with StorageClass "${storageClass.metadata.name}": ${errorText(error)}`,
        );
        throw error;
      }
      recorder.record(subject(claim), 'Normal', 'ProvisioningSucceeded', `Successfully provisioned volume ${name}`);
    }

    async function makeVolume(
      name: string,
      claim: Claim,
      storageClass: StorageClass,
      provisioner: VolumeProvisioner,
    ): Promise<Volume> {
      const parameters = storageClass.parameters ?? {};
      const secretOf = (use: string): { name: string; namespace: string } | undefined => {
        const fill = (text: string): string =>
          text
            .replaceAll(`$${'{pvc.name}'}`, claim.metadata.name)
            .replaceAll(`$${'{pvc.namespace}'}`, claim.metadata.namespace!)
            .replaceAll(`$${'{pv.name}'}`, name);
        const secretName = parameters[secretParameter(use, 'name')];
        const namespace = parameters[secretParameter(use, 'namespace')];
        return secretName && namespace ? { name: fill(secretName), namespace: fill(namespace) } : undefined;
      };
      const secret = secretOf('provisioner');
      const fsType = parameters['csi.storage.k8s.io/fstype'] ?? 'ext4';
      const volumeMode = claim.spec?.volumeMode ?? 'Filesystem';
      const made = await provisioner.createVolume({
        name,
        bytes: claimBytes(claim),
        accessModes: claim.spec?.accessModes ?? [],
        volumeMode,
        fsType,
        parameters: Object.fromEntries(
          Object.entries(parameters).filter(([key]) => !key.startsWith('csi.storage.k8s.io/')),
        ),
        secrets: secret ? await readSecret(secret) : {},
      });
      const stage = secretOf('node-stage');
      const publish = secretOf('node-publish');
      return {
        apiVersion: 'v1',
        kind: 'PersistentVolume',
        metadata: {
          name,
          annotations: {
            [provisionedBy]: provisioner.name,
            ...(secret ? { [deletionSecretName]: secret.name, [deletionSecretNamespace]: secret.namespace } : {}),
          },
          finalizers: [deletionFinalizer],
        },
        spec: {
          accessModes: claim.spec?.accessModes ?? [],
          capacity: { storage: quantityText(made.bytes) },
          claimRef: claimRef(claim),
          persistentVolumeReclaimPolicy: storageClass.reclaimPolicy ?? 'Delete',
          storageClassName: storageClass.metadata.name,
          volumeMode,
          ...(storageClass.mountOptions ? { mountOptions: storageClass.mountOptions } : {}),
          csi: {
            driver: provisioner.name,
            volumeHandle: made.handle,
            volumeAttributes: made.attributes,
            ...(volumeMode === 'Filesystem' ? { fsType } : {}),
            ...(stage ? { nodeStageSecretRef: stage } : {}),
            ...(publish ? { nodePublishSecretRef: publish } : {}),
          },
        },
      } as Volume;
    }

    async function readSecret(ref: { name: string; namespace: string }): Promise<Record<string, string>> {
      try {
        const secret = await client.get<KubeObject & { data?: Record<string, string> }>(
          secretsRef,
          ref.name,
          ref.namespace,
        );
        return Object.fromEntries(
          Object.entries(secret.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64').toString('utf8')]),
        );
      } catch (error) {
        throw new AppError('SECRET', `failed to get secret ${ref.namespace}/${ref.name}: ${errorText(error)}`);
      }
    }

    /** A claim that is deleted goes when no pod uses it any more. */
    async function releaseClaim(claim: Claim): Promise<void> {
      if (!claim.metadata.finalizers?.includes(claimProtection)) return;
      const users = pods
        .by('claim', objectKey(claim))
        .filter((pod) => pod.spec?.nodeName && pod.status?.phase !== 'Succeeded' && pod.status?.phase !== 'Failed');
      if (users.length > 0) return;
      // A pod may have come after the cache was filled: the server knows.
      const { items } = await client.list<Pod & KubeObject>(podsRef, { namespace: claim.metadata.namespace! });
      const inUse = items.some(
        (pod) =>
          pod.status?.phase !== 'Succeeded' &&
          pod.status?.phase !== 'Failed' &&
          pod.spec?.nodeName &&
          pod.spec.volumes?.some((volume) => volume.persistentVolumeClaim?.claimName === claim.metadata.name),
      );
      if (inUse) return;
      await unlessGone(
        client.patch(persistentVolumeClaimsRef, claim.metadata.name, claim.metadata.namespace, 'merge', {
          metadata: {
            resourceVersion: claim.metadata.resourceVersion,
            finalizers: claim.metadata.finalizers.filter((one) => one !== claimProtection),
          },
        }),
      );
    }

    async function reconcileVolume(name: string): Promise<void> {
      const volume = volumes.get(name);
      if (!volume) return;
      const ref = volume.spec?.claimRef;
      if (!volume.metadata.deletionTimestamp) {
        if (!ref?.uid) {
          if (volume.status?.phase !== 'Available') await setVolumePhase(volume, 'Available');
          return;
        }
        const claim = claims.get(`${ref.namespace}/${ref.name}`);
        if (claim && claim.metadata.uid === ref.uid) {
          if (claim.spec?.volumeName === name && volume.status?.phase !== 'Bound')
            await setVolumePhase(volume, 'Bound');
          return;
        }
      }
      await reclaim(volume);
    }

    /**
     * What is left to do with a volume whose claim seems to have gone, or that is being deleted. It can end in the loss of data, so only what
     * the server says counts. The claim is read first: a uid that has gone never comes back, while a volume's policy may change at any time.
     */
    async function reclaim(cached: Volume): Promise<void> {
      const ref = cached.spec?.claimRef;
      const claim = ref?.name
        ? await unlessGone(client.get<Claim>(persistentVolumeClaimsRef, ref.name, ref.namespace))
        : undefined;
      const volume = await unlessGone(client.get<Volume>(persistentVolumesRef, cached.metadata.name));
      if (!volume || volume.metadata.uid !== cached.metadata.uid) return;
      const now = volume.spec?.claimRef;
      // Another claim was read than the one that counts; the change of the volume brings us here again.
      if (now?.uid !== ref?.uid || now?.name !== ref?.name || now?.namespace !== ref?.namespace) return;
      const step = reclaimStep(volume, claim, names);
      switch (step.do) {
        case 'nothing':
          return;
        case 'mark-released':
          return setVolumePhase(volume, 'Released');
        case 'refuse':
          return recorder.record(subject(volume), 'Warning', 'VolumeFailedDelete', step.why);
        case 'delete-data-and-object':
          await deleteBacking(volume);
          // Without its data the object goes whatever else has become of it: no precondition but that it is still this one.
          await unlessGone(
            client.delete(persistentVolumesRef, volume.metadata.name, undefined, {
              preconditions: { uid: volume.metadata.uid! },
            }),
            { orReplaced: true },
          );
          return;
        case 'finish':
          if (step.deleteData) await deleteBacking(volume);
          await unlessGone(
            client.patch(persistentVolumesRef, volume.metadata.name, undefined, 'merge', {
              metadata: { resourceVersion: volume.metadata.resourceVersion, finalizers: step.finalizers },
            }),
          );
      }
    }

    async function deleteBacking(volume: Volume): Promise<void> {
      const provisioner = byName.get(volume.spec!.csi!.driver)!;
      const { [deletionSecretName]: name, [deletionSecretNamespace]: namespace } = volume.metadata.annotations ?? {};
      try {
        await provisioner.deleteVolume(
          volume.spec!.csi!.volumeHandle,
          name && namespace ? await readSecret({ name, namespace }) : {},
        );
      } catch (error) {
        recorder.record(subject(volume), 'Warning', 'VolumeFailedDelete', errorText(error));
        throw error;
      }
    }

    async function setClaimStatus(claim: Claim, status: object): Promise<void> {
      await client.patch(
        persistentVolumeClaimsRef,
        claim.metadata.name,
        claim.metadata.namespace,
        'merge',
        { status },
        { subresource: 'status' },
      );
    }
    /** Fails with Conflict when the volume is not what the decision was made on. */
    async function setVolumePhase(volume: Volume, phase: string): Promise<void> {
      await unlessGone(
        client.patch(
          persistentVolumesRef,
          volume.metadata.name,
          undefined,
          'merge',
          { metadata: { resourceVersion: volume.metadata.resourceVersion }, status: { phase } },
          { subresource: 'status' },
        ),
      );
    }
  };
}

function claimRef(claim: Claim): object {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    namespace: claim.metadata.namespace,
    name: claim.metadata.name,
    uid: claim.metadata.uid,
    resourceVersion: claim.metadata.resourceVersion,
  };
}

/** Bytes as Kubernetes prints them: in the largest binary unit that divides them. */
export function quantityText(count: number): string {
  for (const [unit, factor] of [
    ['Ti', 2 ** 40],
    ['Gi', 2 ** 30],
    ['Mi', 2 ** 20],
    ['Ki', 2 ** 10],
  ] as const)
    if (count > 0 && count % factor === 0) return `${count / factor}${unit}`;
  return String(count);
}
