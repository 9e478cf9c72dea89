import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, errorCode, errorText } from '../../../base/errors.ts';
import { InTurn } from '../../../base/in-turn.ts';
import { writeFileAtomic } from '../../../base/files-system.ts';
import type { Logger } from '../../../base/log.ts';
import type { CSIDriver, PersistentVolume, PersistentVolumeClaim, Secret, Volume } from '../../api/types.ts';
import type { KubeClient } from '../../client/api.ts';
import { isStatus } from '../../machinery/status.ts';
import { claimsRef, csiDriversRef, type Pod, podNamespace, podUid, secretsRef, volumesRef } from '../pod-types.ts';
import { csiAccessMode } from './access-modes.ts';
import type { CsiRegistry } from './csi-registry-shell.ts';
import { applyFsGroup } from './ownership-shell.ts';
import { deadMount, isMounted, removeMountPoints, unmount } from './mount-shell.ts';

/** What is needed to undo a published volume with no API server: kept beside its mount point. */
export interface CsiRecord {
  readonly version: 1;
  readonly driver: string;
  readonly volumeId: string;
  /** '' where the driver does not stage. */
  readonly stagingPath: string;
  readonly podUid: string;
  /** False until the driver has said that the volume is at its place. */
  readonly published: boolean;
}

export const recordName = 'vol_data.json';

export interface CsiVolumesOptions {
  readonly podsDir: string;
  readonly pluginsDir: string;
  readonly registry: CsiRegistry;
  readonly client: KubeClient;
  readonly log: Logger;
}

/** Volumes that CSI drivers provide: staged once a node, published once a pod. The records on disk are the truth about what is mounted. */
export class CsiVolumes {
  readonly #options: CsiVolumesOptions;
  /** Calls about one volume come one after another. */
  readonly #turns = new InTurn();

  constructor(options: CsiVolumesOptions) {
    this.#options = options;
  }

  directory(podUid: string, volume: string): string {
    return join(this.#options.podsDir, podUid, 'volumes', 'kubernetes.io~csi', volume);
  }

  #staging(driver: string, volumeId: string): string {
    const name = createHash('sha256').update(volumeId).digest('hex');
    return join(this.#options.pluginsDir, 'kubernetes.io', 'csi', driver, name, 'globalmount');
  }

  async #record(directory: string): Promise<CsiRecord | undefined> {
    try {
      return JSON.parse(await readFile(join(directory, recordName), 'utf8')) as CsiRecord;
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** The published directory of the volume if it is mounted already, without asking anybody. */
  async mounted(pod: Pod, name: string): Promise<string | undefined> {
    const directory = this.directory(podUid(pod), name);
    const target = join(directory, 'mount');
    return (await this.#record(directory))?.published && (await isMounted(target)) ? target : undefined;
  }

  /** Mounts a volume for `pod`: `pv` for a claim's, `inline` for one that the pod's spec describes itself. Returns the directory. */
  async setUp(
    pod: Pod,
    volume: Volume,
    pv: PersistentVolume | undefined,
    claim: PersistentVolumeClaim | undefined,
  ): Promise<string> {
    const source = pv?.spec?.csi;
    const driver = source?.driver ?? volume.csi?.driver ?? '';
    const uid = podUid(pod);
    const volumeId = source?.volumeHandle ?? `csi-${createHash('sha256').update(`${uid}${volume.name}`).digest('hex')}`;
    return this.#turns.run(`${driver}\0${volumeId}`, async () => {
      const client = this.#options.registry.client(driver);
      const csiDriver = await this.#csiDriver(driver);
      if (pv && csiDriver?.spec.attachRequired !== false && csiDriver !== undefined)
        throw new AppError('UNSUPPORTED', `driver ${driver} wants volumes attached first, which is not supported`, {
          hint: 'set attachRequired: false in its CSIDriver object',
        });
      if (pv?.spec?.volumeMode === 'Block')
        throw new AppError('UNSUPPORTED', `volume "${volume.name}": raw block volumes are not supported`);
      const fsGroup = pod.spec.securityContext?.fsGroup;
      const delegated = fsGroup !== undefined && (await client.has('VOLUME_MOUNT_GROUP'));
      const fsType = source?.fsType ?? volume.csi?.fsType ?? '';
      const capability = {
        mount: {
          fsType,
          mountFlags: [...(pv?.spec?.mountOptions ?? [])],
          ...(delegated ? { volumeMountGroup: String(fsGroup) } : {}),
        },
        accessMode: {
          mode: csiAccessMode(pv?.spec?.accessModes ?? ['ReadWriteOnce'], await client.has('SINGLE_NODE_MULTI_WRITER')),
        },
      };
      const volumeContext = { ...(source?.volumeAttributes ?? volume.csi?.volumeAttributes) };
      if (csiDriver?.spec.podInfoOnMount) {
        volumeContext['csi.storage.k8s.io/pod.name'] = pod.metadata.name;
        volumeContext['csi.storage.k8s.io/pod.namespace'] = podNamespace(pod);
        volumeContext['csi.storage.k8s.io/pod.uid'] = uid;
        volumeContext['csi.storage.k8s.io/serviceAccount.name'] = pod.spec.serviceAccountName ?? 'default';
        volumeContext['csi.storage.k8s.io/ephemeral'] = String(pv === undefined);
      }
      const stages = pv !== undefined && (await client.has('STAGE_UNSTAGE_VOLUME'));
      const stagingPath = stages ? this.#staging(driver, volumeId) : '';
      const directory = this.directory(uid, volume.name);
      const target = join(directory, 'mount');
      await mkdir(directory, { recursive: true, mode: 0o750 });
      const record: CsiRecord = { version: 1, driver, volumeId, stagingPath, podUid: uid, published: false };
      // Written first: whatever happens from here on can be undone.
      writeFileAtomic(join(directory, recordName), JSON.stringify(record), 0o600);
      if (stages) {
        await mkdir(stagingPath, { recursive: true, mode: 0o750 });
        await client.stage({
          volumeId,
          publishContext: {},
          stagingTargetPath: stagingPath,
          volumeCapability: capability,
          secrets: await this.#secret(source?.nodeStageSecretRef?.namespace, source?.nodeStageSecretRef?.name),
          volumeContext,
        });
      }
      const publishSecret = pv
        ? await this.#secret(source?.nodePublishSecretRef?.namespace, source?.nodePublishSecretRef?.name)
        : await this.#secret(podNamespace(pod), volume.csi?.nodePublishSecretRef?.name);
      const readonly =
        (volume.persistentVolumeClaim?.readOnly ?? volume.csi?.readOnly ?? false) || source?.readOnly === true;
      await client.publish({
        volumeId,
        publishContext: {},
        stagingTargetPath: stagingPath,
        targetPath: target,
        volumeCapability: capability,
        readonly,
        secrets: publishSecret,
        volumeContext,
      });
      writeFileAtomic(join(directory, recordName), JSON.stringify({ ...record, published: true }), 0o600);
      const policy = csiDriver?.spec.fsGroupPolicy ?? 'ReadWriteOnceWithFSType';
      const once = (pv?.spec?.accessModes ?? claim?.spec?.accessModes ?? []).some((m) => m.startsWith('ReadWriteOnce'));
      if (
        fsGroup !== undefined &&
        !delegated &&
        !readonly &&
        (policy === 'File' || (policy === 'ReadWriteOnceWithFSType' && once && fsType !== ''))
      )
        await applyFsGroup(target, fsGroup, pod.spec.securityContext?.fsGroupChangePolicy === 'OnRootMismatch');
      return target;
    });
  }

  async #csiDriver(name: string): Promise<CSIDriver | undefined> {
    try {
      return await this.#options.client.get<CSIDriver & { metadata: { name: string } }>(csiDriversRef, name);
    } catch (error) {
      if (isStatus(error, 'NotFound')) return undefined;
      throw error;
    }
  }

  async #secret(namespace: string | undefined, name: string | undefined): Promise<Record<string, string>> {
    if (!name) return {};
    const secret = await this.#options.client.get<Secret & { metadata: { name: string } }>(
      secretsRef,
      name,
      namespace ?? 'default',
    );
    return Object.fromEntries(
      Object.entries(secret.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64').toString('utf8')]),
    );
  }

  /** Why the volume's mount is of no use any more; undefined while it is well, or while its driver cannot be asked. */
  async deadReason(uid: string, name: string): Promise<string | undefined> {
    const directory = this.directory(uid, name);
    const record = await this.#record(directory);
    if (!record?.published) return undefined;
    const target = join(directory, 'mount');
    const dead = await deadMount(target);
    if (dead) return dead;
    try {
      const client = this.#options.registry.client(record.driver);
      if (!(await client.has('VOLUME_CONDITION'))) return undefined;
      const stats = await client.stats(record.volumeId, target, record.stagingPath);
      return stats.volumeCondition?.abnormal ? stats.volumeCondition.message : undefined;
    } catch (error) {
      this.#options.log.debug('cannot ask about volume', { volume: name, error: errorText(error) });
      return undefined;
    }
  }

  /** Undoes the publication in `directory`, and the staging when no other pod has the volume. Repeats safely. */
  async tearDown(directory: string): Promise<void> {
    const record = await this.#record(directory);
    const target = join(directory, 'mount');
    if (!record) {
      await unmount(target);
      await removeCsiDirectory(directory);
      return;
    }
    await this.#turns.run(`${record.driver}\0${record.volumeId}`, async () => {
      const client = this.#options.registry.client(record.driver);
      await client.unpublish(record.volumeId, target);
      await unmount(target);
      if (record.stagingPath !== '' && !(await this.#usedByOthers(record, directory)))
        await client.unstage(record.volumeId, record.stagingPath);
      await removeCsiDirectory(directory);
    });
  }

  async #usedByOthers(record: CsiRecord, except: string): Promise<boolean> {
    for (const uid of await list(this.#options.podsDir)) {
      const parent = join(this.#options.podsDir, uid, 'volumes', 'kubernetes.io~csi');
      for (const name of await list(parent)) {
        const directory = join(parent, name);
        if (directory === except) continue;
        const other = await this.#record(directory);
        if (other?.driver === record.driver && other.volumeId === record.volumeId) return true;
      }
    }
    return false;
  }

  /** The claim and the volume behind it; throws while the claim is not bound. */
  async resolve(pod: Pod, claimName: string): Promise<{ claim: PersistentVolumeClaim; pv: PersistentVolume }> {
    const { client } = this.#options;
    type Claim = PersistentVolumeClaim & { metadata: { name: string } };
    const claim = await client.get<Claim>(claimsRef, claimName, podNamespace(pod));
    const name = claim.spec?.volumeName;
    if (!name || claim.status?.phase !== 'Bound')
      throw new AppError('CLAIM', `PVC ${podNamespace(pod)}/${claimName} is not bound`);
    const pv = await client.get<PersistentVolume & { metadata: { name: string } }>(volumesRef, name);
    if (pv.spec?.claimRef?.uid !== undefined && pv.spec.claimRef.uid !== claim.metadata.uid)
      throw new AppError('CLAIM', `PV ${name} is bound to another claim than ${podNamespace(pod)}/${claimName}`);
    return { claim, pv };
  }
}

/** Removes a volume's directory after it was unmounted: what is in its mount point is never removed with it (ENOTEMPTY). */
export async function removeCsiDirectory(directory: string): Promise<void> {
  await removeMountPoints(join(directory, 'mount'), 0);
  for (const name of [recordName, `.${recordName}.new`]) await rm(join(directory, name), { force: true });
  await removeMountPoints(directory, 0);
}

/** Names in a directory, none when it is missing. */
export async function list(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}
