import { chmod, lstat, mkdir, readlink, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, errorCode, errorText } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import { removeTree } from '../../../base/mounts-system.ts';
import type { Clock } from '../../../base/clock.ts';
import type { Random } from '../../../base/random.ts';
import type { PersistentVolume, Volume } from '../../api/types.ts';
import type { ObjectCache } from '../object-cache-client.ts';
import type { PodPlace } from '../pod/fields.ts';
import { quantityValue } from '../pod/quantity.ts';
import { type Pod, podNamespace, podUid } from '../pod-types.ts';
import { writeAtomically } from './atomic-writer-shell.ts';
import { type CsiVolumes, list } from './csi-volumes-shell.ts';
import { isMounted, mountTmpfs, removeMountPoints, unmountTree } from './mount-shell.ts';
import { applyFsGroup } from './ownership-shell.ts';
import { hasPayload, volumePayload } from './payload.ts';
import type { TokenManager } from './token-client.ts';

export interface PodVolumesOptions {
  readonly podsDir: string;
  readonly csi: CsiVolumes;
  readonly objects: ObjectCache;
  readonly tokens: TokenManager;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

const plugin = (volume: Volume): string => {
  if (volume.emptyDir) return 'empty-dir';
  if (volume.configMap) return 'configmap';
  if (volume.secret) return 'secret';
  if (volume.projected) return 'projected';
  if (volume.downwardAPI) return 'downward-api';
  if (volume.persistentVolumeClaim || volume.csi || volume.ephemeral) return 'csi';
  if (volume.hostPath) return 'host-path';
  return Object.keys(volume).find((key) => key !== 'name') ?? 'empty-dir';
};

/** Volumes of this node's pods: makes them, keeps their files current, takes them away. */
export class PodVolumes {
  readonly #options: PodVolumesOptions;

  constructor(options: PodVolumesOptions) {
    this.#options = options;
  }

  #directory(pod: Pod, volume: Volume): string {
    return join(this.#options.podsDir, podUid(pod), 'volumes', `kubernetes.io~${plugin(volume)}`, volume.name);
  }

  /**
   * Makes every volume of the pod that is not there yet, and brings files up to date. Returns host directories by volume name. The first
   * volume that cannot be made throws an AppError that names it.
   */
  async setUp(pod: Pod, place: PodPlace): Promise<Map<string, string>> {
    const out = new Map<string, string>();
    for (const volume of pod.spec.volumes ?? []) {
      try {
        out.set(volume.name, await this.#setUpOne(pod, volume, place));
      } catch (error) {
        throw new AppError('VOLUME', `MountVolume.SetUp failed for volume "${volume.name}" : ${errorText(error)}`, {
          cause: error,
        });
      }
    }
    return out;
  }

  async #setUpOne(pod: Pod, volume: Volume, place: PodPlace): Promise<string> {
    const directory = this.#directory(pod, volume);
    if (hasPayload(volume)) return this.#files(pod, volume, place, directory);
    if (volume.hostPath) return hostPath(volume.hostPath.path, volume.hostPath.type ?? '');
    const claim =
      volume.persistentVolumeClaim?.claimName ?? (volume.ephemeral ? `${pod.metadata.name}-${volume.name}` : undefined);
    if (claim !== undefined) return this.#claim(pod, volume, claim);
    if (volume.csi)
      return (
        (await this.#options.csi.mounted(pod, volume.name)) ??
        this.#options.csi.setUp(pod, volume, undefined, undefined)
      );
    if (volume.emptyDir || Object.keys(volume).length === 1) return this.#emptyDir(pod, volume, directory);
    throw new AppError('UNSUPPORTED', `volumes of kind ${plugin(volume)} are not supported`);
  }

  async #claim(pod: Pod, volume: Volume, claimName: string): Promise<string> {
    const present = await this.#options.csi.mounted(pod, volume.name);
    if (present) return present;
    const { claim, pv } = await this.#options.csi.resolve(pod, claimName);
    if (pv.spec?.csi) return this.#options.csi.setUp(pod, volume, pv, claim);
    return persistentHostPath(pv);
  }

  async #emptyDir(pod: Pod, volume: Volume, directory: string): Promise<string> {
    const ready = join(this.#options.podsDir, podUid(pod), 'plugins', 'kubernetes.io~empty-dir', volume.name, 'ready');
    const memory = volume.emptyDir?.medium === 'Memory';
    const made = await exists(ready);
    if (made && (!memory || (await isMounted(directory)))) return directory;
    await mkdir(directory, { recursive: true });
    if (memory && !(await isMounted(directory))) {
      const limit = volume.emptyDir?.sizeLimit;
      await mountTmpfs(directory, limit === undefined ? undefined : Math.ceil(quantityValue(limit)));
    } else if (!memory && volume.emptyDir?.medium)
      throw new AppError('UNSUPPORTED', `emptyDir medium ${volume.emptyDir.medium} is not supported`);
    await chmod(directory, 0o777);
    const fsGroup = pod.spec.securityContext?.fsGroup;
    if (fsGroup !== undefined) await applyFsGroup(directory, fsGroup, false);
    await mkdir(join(ready, '..'), { recursive: true });
    await writeFile(ready, '');
    return directory;
  }

  async #files(pod: Pod, volume: Volume, place: PodPlace, directory: string): Promise<string> {
    const { objects, tokens, clock, random } = this.#options;
    const secret = volume.secret !== undefined || volume.projected !== undefined;
    const namespace = podNamespace(pod);
    let payload: Awaited<ReturnType<typeof volumePayload>>;
    try {
      payload = await volumePayload(pod, volume, {
        configMap: (name) => objects.configMap(namespace, name),
        secret: (name) => objects.secret(namespace, name),
        token: (projection) => tokens.token(pod, projection),
        place,
      });
    } catch (error) {
      // Files that are there serve on while the API server is away; an object that is gone is another matter for a new pod only.
      const there = await readlink(join(directory, '..data')).catch(() => undefined);
      if (there !== undefined && (!secret || (await isMounted(directory)))) return directory;
      throw error;
    }
    await mkdir(directory, { recursive: true });
    // Secrets never touch the disk.
    if (secret && !(await isMounted(directory))) await mountTmpfs(directory, undefined, '0755');
    await chmod(directory, 0o777);
    const fsGroup = pod.spec.securityContext?.fsGroup;
    const stamp = `${new Date(clock.now()).toISOString().slice(0, 19).replace(/[-:T]/g, '_')}.${random.uint32()}`;
    await writeAtomically(directory, payload!, { stamp, group: fsGroup === undefined ? undefined : { gid: fsGroup } });
    return directory;
  }

  /** True while the pod has a volume whose files follow API objects. */
  needsRefresh(pod: Pod): boolean {
    return (pod.spec.volumes ?? []).some(hasPayload);
  }

  /** Names of volumes whose mounts are dead, with the reason. */
  async dead(pod: Pod): Promise<Map<string, string>> {
    const out = new Map<string, string>();
    for (const volume of pod.spec.volumes ?? []) {
      if (!volume.persistentVolumeClaim && !volume.csi && !volume.ephemeral) continue;
      const reason = await this.#options.csi.deadReason(podUid(pod), volume.name);
      if (reason !== undefined) out.set(volume.name, reason);
    }
    return out;
  }

  /** Takes one volume's mount away so that the next `setUp` makes it anew. No container may use it any more. */
  async reset(pod: Pod, name: string): Promise<void> {
    await this.unmountSubpaths(podUid(pod), name);
    await this.#options.csi.tearDown(this.#options.csi.directory(podUid(pod), name));
  }

  async unmountSubpaths(uid: string, volume?: string): Promise<void> {
    const directory = join(this.#options.podsDir, uid, 'volume-subpaths', ...(volume === undefined ? [] : [volume]));
    await unmountTree(directory);
    // Of each volume: containers, of each of those: its mounts.
    await removeMountPoints(directory, volume === undefined ? 3 : 2);
  }

  /** Undoes every mount of a pod that has ended and removes what its volumes held; termination messages stay. */
  async unmount(uid: string): Promise<void> {
    const directory = join(this.#options.podsDir, uid);
    await this.unmountSubpaths(uid);
    const csi = join(directory, 'volumes', 'kubernetes.io~csi');
    for (const name of await list(csi)) await this.#options.csi.tearDown(join(csi, name));
    await removeMountPoints(csi, 0);
    await unmountTree(directory);
    for (const sub of ['volumes', 'plugins']) await removeTree(join(directory, sub));
    this.#options.tokens.forget(uid);
  }

  /** Undoes every mount of a pod and removes its directory. Repeats safely; throws when something is still mounted. */
  async tearDown(uid: string): Promise<void> {
    await this.unmount(uid);
    await removeTree(join(this.#options.podsDir, uid));
  }

  /** Pods that have a directory on this node. */
  async podDirectories(): Promise<string[]> {
    return list(this.#options.podsDir);
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Checks or makes a hostPath by its type (core/v1 HostPathType). */
export async function hostPath(path: string, type: string): Promise<string> {
  if (type === 'DirectoryOrCreate') await mkdir(path, { recursive: true, mode: 0o755 });
  if (type === 'FileOrCreate' && !(await exists(path))) await writeFile(path, '', { mode: 0o644 });
  if (type === '') return path;
  const info = await stat(path).catch((error: unknown) => {
    throw new AppError('HOST_PATH', `hostPath type check failed: ${path} does not exist`, { cause: error });
  });
  const fits: Record<string, boolean> = {
    DirectoryOrCreate: info.isDirectory(),
    Directory: info.isDirectory(),
    FileOrCreate: info.isFile(),
    File: info.isFile(),
    Socket: info.isSocket(),
    CharDevice: info.isCharacterDevice(),
    BlockDevice: info.isBlockDevice(),
  };
  if (fits[type] !== true) throw new AppError('HOST_PATH', `hostPath type check failed: ${path} is not a ${type}`);
  return path;
}

function persistentHostPath(pv: PersistentVolume): string | Promise<string> {
  if (pv.spec?.hostPath) return hostPath(pv.spec.hostPath.path, pv.spec.hostPath.type ?? '');
  if (pv.spec?.local) return hostPath(pv.spec.local.path, 'Directory');
  const kind = ['nfs', 'iscsi', 'rbd', 'cephfs', 'fc'].find((k) => k in (pv.spec ?? {})) ?? 'of its kind';
  throw new AppError(
    'UNSUPPORTED',
    `PersistentVolume ${pv.metadata.name ?? ''}: ${kind} is not supported, only csi, local and hostPath`,
  );
}
