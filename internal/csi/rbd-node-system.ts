import { createHash } from 'node:crypto';
import { readdirSync, rmdirSync, statfsSync } from 'node:fs';
import { errorCode, errorText } from '../base/errors.ts';
import { makeDirectory, readFileIfThere, removeFileDurably, writeFileAtomic } from '../base/files-system.ts';
import { InTurn } from '../base/in-turn.ts';
import type { Logger } from '../base/log.ts';
import { runCommand } from '../base/command-system.ts';
import { FormattingMark, fileSystems, prepareFileSystem } from './file-system.ts';
import { CsiError, type CsiService } from './grpc-server.ts';
import { mountsAt } from '../base/mounts-system.ts';
import { type Mapping, type MappingStart, mapImage, mappingAlive, mappingStart, unmapImage } from './rbd-map-system.ts';
import { imageName, parseVolumeId } from './volume-id.ts';

interface VolumeCapability {
  block?: object | null;
  mount?: { fsType: string; mountFlags: string[] } | null;
  accessMode?: { mode: string } | null;
}

interface StageRequest {
  volumeId: string;
  stagingTargetPath: string;
  volumeCapability: VolumeCapability | null;
  secrets: Record<string, string>;
  volumeContext: Record<string, string>;
}

interface PublishRequest {
  volumeId: string;
  stagingTargetPath: string;
  targetPath: string;
  volumeCapability: VolumeCapability | null;
  readonly: boolean;
}

/** What is staged, one file a volume: any later process can undo it. */
interface StagedVolume {
  version: 2;
  volumeId: string;
  stagingPath: string;
  /** Written before the image is attached. */
  start: MappingStart;
  /** Missing while the image is being attached. */
  mapping?: Mapping;
}

export interface RbdNodeOptions {
  nodeId: string;
  stateDir: string;
  cephConf: string;
  /** `cgroup.procs` of the group for what backs mounted volumes; undefined: where this process is. */
  cgroupProcs: string | undefined;
  log: Logger;
}

/** The node's part of the rbd driver: attaches images, makes and mounts file systems. Calls for one volume come one after another. */
export class RbdNode {
  readonly #options: RbdNodeOptions;
  readonly #turns = new InTurn();

  constructor(options: RbdNodeOptions) {
    this.#options = options;
    makeDirectory(options.stateDir);
  }

  service(): CsiService {
    const inTurn =
      <T extends { volumeId: string }>(fn: (request: T) => Promise<object>) =>
      (request: never): Promise<object> =>
        this.#turns.run((request as T).volumeId, () => fn(request as T));
    return {
      NodeGetInfo: () => ({ nodeId: this.#options.nodeId }),
      NodeGetCapabilities: () => ({
        capabilities: ['STAGE_UNSTAGE_VOLUME', 'GET_VOLUME_STATS', 'VOLUME_CONDITION'].map((type) => ({
          rpc: { type },
        })),
      }),
      NodeStageVolume: inTurn((request: StageRequest) => this.#stage(request)),
      NodeUnstageVolume: inTurn((request: { volumeId: string; stagingTargetPath: string }) => this.#unstage(request)),
      NodePublishVolume: inTurn((request: PublishRequest) => this.#publish(request)),
      NodeUnpublishVolume: inTurn((request: { volumeId: string; targetPath: string }) => this.#unpublish(request)),
      NodeGetVolumeStats: inTurn((request: { volumeId: string; volumePath: string }) => this.#stats(request)),
    };
  }

  /** Undoes everything that is staged on this node; for a full stop. Errors are told, the rest is still undone. */
  async unstageAll(): Promise<string[]> {
    const failures: string[] = [];
    for (const name of readdirSync(this.#options.stateDir).filter((name) => name.endsWith('.json'))) {
      const staged = this.#read(name.slice(0, -5));
      if (!staged) continue;
      try {
        await this.#turns.run(staged.volumeId, () => this.#undo(staged));
      } catch (error) {
        failures.push(`${staged.volumeId}: ${errorText(error)}`);
      }
    }
    return failures;
  }

  #id(volumeId: string): string {
    return createHash('sha256').update(volumeId).digest('hex').slice(0, 16);
  }

  #read(id: string): StagedVolume | undefined {
    const text = readFileIfThere(this.#file(id));
    return text === undefined ? undefined : (JSON.parse(text) as StagedVolume);
  }

  #write(id: string, staged: StagedVolume): void {
    writeFileAtomic(this.#file(id), JSON.stringify(staged), 0o600);
  }

  #file(id: string): string {
    return `${this.#options.stateDir}/${id}.json`;
  }

  async #stage(request: StageRequest): Promise<object> {
    const { volumeId, stagingTargetPath: stagingPath } = request;
    if (!volumeId || !stagingPath) throw new CsiError('INVALID_ARGUMENT', 'expected volume_id and staging_target_path');
    if (!request.volumeCapability?.mount)
      throw new CsiError(
        'INVALID_ARGUMENT',
        'raw block volumes are not supported by this version: use volumeMode Filesystem',
      );
    const { fsType: asked, mountFlags } = request.volumeCapability.mount;
    const fsType = asked || 'ext4';
    const fileSystem = fileSystems[fsType];
    if (!fileSystem)
      throw new CsiError(
        'INVALID_ARGUMENT',
        `file system ${fsType} is not supported: expected ${Object.keys(fileSystems).join(' or ')}`,
      );
    const { userID, userKey } = request.secrets;
    if (!userID || !userKey)
      throw new CsiError('INVALID_ARGUMENT', 'expected userID and userKey in the node-stage secret');
    const pool = request.volumeContext.pool;
    if (!pool) throw new CsiError('INVALID_ARGUMENT', `volume ${volumeId}: expected "pool" in its volume attributes`);
    const image = request.volumeContext.imageName ?? imageName(parseVolumeId(volumeId).uuid);

    const id = this.#id(volumeId);
    const existing = this.#read(id);
    if (existing) {
      if (existing.stagingPath === stagingPath && mappingAlive(existing.mapping) && mountsAt(stagingPath).length > 0)
        return {};
      this.#options.log.warn('volume was staged and what backs it is gone: staging it anew', { volume: volumeId });
      await this.#undo(existing);
    }
    const directory = `${this.#options.stateDir}/${id}`;
    const { cephConf, cgroupProcs } = this.#options;
    const rbdImage = { cephConf, cgroupProcs, pool, image, userId: userID, userKey };
    // Written first: whatever happens from here on can be undone.
    let staged: StagedVolume = { version: 2, volumeId, stagingPath, start: mappingStart(rbdImage) };
    this.#write(id, staged);
    try {
      const mapping = await mapImage(rbdImage, directory, this.#options.log);
      staged = { ...staged, mapping };
      this.#write(id, staged);
      await prepareFileSystem(mapping.device, fsType, fileSystem, new FormattingMark(this.#options.stateDir, id));
      makeDirectory(stagingPath, 0o750);
      await runCommand([
        'mount',
        '-t',
        fsType,
        '-o',
        ['rw', 'relatime', ...mountFlags].join(','),
        mapping.device,
        stagingPath,
      ]);
    } catch (error) {
      // What cannot be undone now stays on record: the next call tries again.
      await this.#undo(staged).catch((again: unknown) =>
        this.#options.log.warn('cannot undo', { volume: volumeId, error: errorText(again) }),
      );
      throw new CsiError('INTERNAL', `cannot mount ${pool}/${image}: ${errorText(error)}`, error);
    }
    return {};
  }

  async #unstage(request: { volumeId: string; stagingTargetPath: string }): Promise<object> {
    const staged = this.#read(this.#id(request.volumeId));
    if (staged) await this.#undo(staged);
    else await unmountAll(request.stagingTargetPath);
    return {};
  }

  async #undo(staged: StagedVolume): Promise<void> {
    const alive = mappingAlive(staged.mapping);
    // Another mount namespace may hold the file system: then unmounting it here writes nothing out.
    if (alive && mountsAt(staged.stagingPath).length > 0) {
      // 1: the file system has failed, and does not get better by staying mounted.
      const { code } = await runCommand(['sync', '-f', staged.stagingPath], { timeoutMs: 60_000, okCodes: [0, 1] });
      if (code !== 0) this.#options.log.warn('volume could not be written out', { volume: staged.volumeId });
    }
    await unmountAll(staged.stagingPath, !alive);
    const id = this.#id(staged.volumeId);
    await unmapImage(staged.start, staged.mapping, `${this.#options.stateDir}/${id}`);
    removeFileDurably(this.#file(id));
  }

  async #publish(request: PublishRequest): Promise<object> {
    const { volumeId, stagingTargetPath, targetPath } = request;
    if (!volumeId || !stagingTargetPath || !targetPath)
      throw new CsiError('INVALID_ARGUMENT', 'expected volume_id, staging_target_path and target_path');
    const staged = this.#read(this.#id(volumeId));
    const source = mountsAt(stagingTargetPath).at(-1);
    if (!staged || !source || !mappingAlive(staged.mapping))
      throw new CsiError(
        'FAILED_PRECONDITION',
        `volume ${volumeId} is not staged at ${stagingTargetPath}, or what backs it is gone: stage it again`,
      );
    const present = mountsAt(targetPath).at(-1);
    if (present?.device === source.device) return {};
    await unmountAll(targetPath, true);
    makeDirectory(targetPath, 0o750);
    await runCommand(['mount', '--bind', stagingTargetPath, targetPath]);
    if (request.readonly) await runCommand(['mount', '-o', 'remount,bind,ro', targetPath]);
    return {};
  }

  async #unpublish(request: { volumeId: string; targetPath: string }): Promise<object> {
    if (!request.targetPath) throw new CsiError('INVALID_ARGUMENT', 'expected target_path');
    const staged = this.#read(this.#id(request.volumeId));
    await unmountAll(request.targetPath, staged !== undefined && !mappingAlive(staged.mapping));
    try {
      rmdirSync(request.targetPath);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
    return {};
  }

  async #stats(request: { volumeId: string; volumePath: string }): Promise<object> {
    const staged = this.#read(this.#id(request.volumeId));
    if (!staged || mountsAt(request.volumePath).length === 0)
      throw new CsiError('NOT_FOUND', `volume ${request.volumeId} is not mounted at ${request.volumePath}`);
    if (!mappingAlive(staged.mapping))
      return {
        usage: [],
        volumeCondition: {
          abnormal: true,
          message: 'what backs the volume is gone; it is mounted anew when its pod restarts',
        },
      };
    const stat = statfsSync(request.volumePath);
    return {
      usage: [
        {
          unit: 'BYTES',
          available: stat.bavail * stat.bsize,
          total: stat.blocks * stat.bsize,
          used: (stat.blocks - stat.bfree) * stat.bsize,
        },
        { unit: 'INODES', available: stat.ffree, total: stat.files, used: stat.files - stat.ffree },
      ],
      volumeCondition: { abnormal: false, message: 'mounted' },
    };
  }
}

/** Unmounts everything at `target`; `dead` mounts are detached at once: nothing can be written to them any more. */
async function unmountAll(target: string, dead = false): Promise<void> {
  for (let round = 0; mountsAt(target).length > 0; round++) {
    if (round === 8) throw new CsiError('INTERNAL', `${target} is still mounted`);
    await runCommand(['umount', ...(dead ? ['-l'] : []), target], { timeoutMs: 60_000 });
  }
}
