import { createHash } from 'node:crypto';
import { readdirSync, rmdirSync, rmSync, statfsSync } from 'node:fs';
import { assertBlank } from '../base/blank-system.ts';
import { errorCode, errorText } from '../base/errors.ts';
import { makeDirectory, readFileIfThere, writeFileAtomic } from '../base/files-system.ts';
import type { Logger } from '../base/log.ts';
import { runCommand } from '../base/command-system.ts';
import { CsiError, type CsiService } from './grpc-server.ts';
import { mountsAt } from '../base/mounts-system.ts';
import { type Mapping, mapImage, mappingAlive, unmapImage } from './rbd-map-system.ts';
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
  version: 1;
  volumeId: string;
  stagingPath: string;
  mapping: Mapping;
}

const fileSystems: Record<string, { make: string[]; check?: string[] }> = {
  ext4: {
    make: ['mkfs.ext4', '-q', '-m0', '-E', 'nodiscard,lazy_itable_init=1,lazy_journal_init=1'],
    check: ['fsck.ext4', '-p'],
  },
  xfs: { make: ['mkfs.xfs', '-q', '-K'] },
};

/** The node's part of the rbd driver: attaches images, makes and mounts file systems. Calls for one volume come one after another. */
export class RbdNode {
  readonly #options: { nodeId: string; stateDir: string; cephConf: string; log: Logger };
  readonly #queues = new Map<string, Promise<unknown>>();

  constructor(options: { nodeId: string; stateDir: string; cephConf: string; log: Logger }) {
    this.#options = options;
    makeDirectory(options.stateDir);
  }

  service(): CsiService {
    const inTurn =
      <T extends { volumeId: string }>(fn: (request: T) => Promise<object>) =>
      (request: never): Promise<object> =>
        this.#inTurn((request as T).volumeId, () => fn(request as T));
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
        await this.#inTurn(staged.volumeId, () => this.#undo(staged));
      } catch (error) {
        failures.push(`${staged.volumeId}: ${errorText(error)}`);
      }
    }
    return failures;
  }

  #inTurn<T>(volumeId: string, fn: () => Promise<T>): Promise<T> {
    const before = this.#queues.get(volumeId) ?? Promise.resolve();
    const run = before.then(fn, fn);
    const settled = run.then(
      () => undefined,
      () => undefined,
    );
    this.#queues.set(volumeId, settled);
    void settled.then(() => {
      if (this.#queues.get(volumeId) === settled) this.#queues.delete(volumeId);
    });
    return run;
  }

  #id(volumeId: string): string {
    return createHash('sha256').update(volumeId).digest('hex').slice(0, 16);
  }

  #read(id: string): StagedVolume | undefined {
    const text = readFileIfThere(`${this.#options.stateDir}/${id}.json`);
    return text === undefined ? undefined : (JSON.parse(text) as StagedVolume);
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
    const mapping = await mapImage(
      { cephConf: this.#options.cephConf, pool, image, userId: userID, userKey },
      directory,
      this.#options.log,
    );
    const staged: StagedVolume = { version: 1, volumeId, stagingPath, mapping };
    writeFileAtomic(`${this.#options.stateDir}/${id}.json`, JSON.stringify(staged), 0o600);
    try {
      await this.#prepareFileSystem(mapping.device, fsType, fileSystem);
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
      await this.#undo(staged);
      throw new CsiError('INTERNAL', `cannot mount ${pool}/${image}: ${errorText(error)}`, error);
    }
    return {};
  }

  async #prepareFileSystem(device: string, fsType: string, fileSystem: (typeof fileSystems)[string]): Promise<void> {
    // 2: nothing recognised on the device.
    const { code, stdout } = await runCommand(['blkid', '-p', '-o', 'value', '-s', 'TYPE', device], {
      okCodes: [0, 2],
    });
    const found = stdout.trim();
    if (code === 0 && found !== '' && found !== fsType)
      throw new CsiError('INTERNAL', `${device} holds ${found}, not ${fsType}: it is left as it is`);
    if (found === '') {
      await assertBlank(device);
      await runCommand([...fileSystem.make, device], { timeoutMs: 300_000 });
    }
    // 1: errors were corrected.
    else if (fileSystem.check) await runCommand([...fileSystem.check, device], { okCodes: [0, 1], timeoutMs: 300_000 });
  }

  async #unstage(request: { volumeId: string; stagingTargetPath: string }): Promise<object> {
    const staged = this.#read(this.#id(request.volumeId));
    if (staged) await this.#undo(staged);
    else await unmountAll(request.stagingTargetPath);
    return {};
  }

  async #undo(staged: StagedVolume): Promise<void> {
    await unmountAll(staged.stagingPath, !mappingAlive(staged.mapping));
    const id = this.#id(staged.volumeId);
    await unmapImage(staged.mapping, `${this.#options.stateDir}/${id}`);
    rmSync(`${this.#options.stateDir}/${id}.json`, { force: true });
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
