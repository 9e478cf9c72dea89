import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { tmpdir } from 'node:os';
import { type Clock, sleep } from '../../../base/clock.ts';
import { AppError, errorCode, errorText } from '../../../base/errors.ts';
import { writeFileAtomic } from '../../../base/files-system.ts';
import type { Logger } from '../../../base/log.ts';
import { runCommand } from '../../../base/command-system.ts';
import type { CriClient } from '../cri/cri-client.ts';
import type { CriImage } from '../cri/types.ts';
import { pauseArchive, pauseImage } from '../pause/archive.ts';
import { goArchitecture } from '../pause/elf.ts';
import { type PullPolicy, pullDecision } from './pull-policy.ts';

export interface ImageManagerOptions {
  readonly cri: CriClient;
  readonly socket: string;
  /** containerd's command; `ctr` is looked for beside it. */
  readonly containerdCommand: string;
  readonly imagesDir: string;
  /** A directory on the file system that containerd keeps images on. */
  readonly contentDir: string;
  /** Remembers which archives were imported. */
  readonly recordFile: string;
  readonly clock: Clock;
  readonly log: Logger;
}

const firstPullDelayMs = 10_000;
const maxPullDelayMs = 300_000;
const archivePattern = /\.(tar|tar\.gz|tgz|oci)$/;

/** Images of this node: archives that are imported, and pulls with back-off. */
export class ImageManager {
  readonly #options: ImageManagerOptions;
  readonly #pulls = new Map<string, Promise<string>>();
  readonly #failed = new Map<string, { delayMs: number; atMs: number; message: string }>();
  #imported: Record<string, string> = {};

  constructor(options: ImageManagerOptions) {
    this.#options = options;
  }

  /** Makes sure that the sandbox image is there and imports what lies in the images directory. */
  async start(): Promise<void> {
    try {
      this.#imported = JSON.parse(await readFile(this.#options.recordFile, 'utf8')) as Record<string, string>;
    } catch (error) {
      if (errorCode(error) !== 'ENOENT')
        this.#options.log.warn('image record is unreadable: archives are imported again');
    }
    await this.ensurePause();
    await this.importArchives();
  }

  async ensurePause(): Promise<void> {
    if (await this.#options.cri.imageStatus(pauseImage)) return;
    const directory = await mkdtemp(join(tmpdir(), 'appliance-pause-'));
    try {
      const file = join(directory, 'pause.tar');
      await writeFile(file, pauseArchive(goArchitecture(process.arch)));
      await this.#import(file);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
    // containerd's CRI part learns of an import through an event.
    for (let i = 0; i < 50; i++) {
      if (await this.#options.cri.imageStatus(pauseImage)) return;
      await sleep(this.#options.clock, 100);
    }
    throw new AppError('PAUSE_IMAGE', `${pauseImage} was imported, but the container runtime does not show it`);
  }

  async #import(file: string): Promise<void> {
    const { containerdCommand, socket } = this.#options;
    const ctr = isAbsolute(containerdCommand) ? join(dirname(containerdCommand), 'ctr') : 'ctr';
    await runCommand([ctr, '--address', socket, '--namespace', 'k8s.io', 'images', 'import', file], {
      timeoutMs: 600_000,
    });
    await this.#sync();
  }

  /** containerd does not sync what it unpacks: after a power loss its database would name images whose files are empty. */
  async #sync(): Promise<void> {
    await runCommand(['sync', '-f', this.#options.contentDir], { timeoutMs: 600_000 });
  }

  /** Imports archives that are new or changed; returns how many. One that is broken is told and left out until it changes. */
  async importArchives(): Promise<number> {
    const { imagesDir, log, recordFile } = this.#options;
    let names: string[];
    try {
      names = (await readdir(imagesDir)).filter((name) => archivePattern.test(name)).sort();
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return 0;
      throw error;
    }
    let count = 0;
    for (const name of names) {
      const file = join(imagesDir, name);
      const info = await stat(file).catch(() => undefined);
      if (!info?.isFile()) continue;
      const state = `${info.size}:${info.mtimeMs}`;
      // A file that was changed a moment ago may still be being written.
      if (this.#imported[name] === state || Math.abs(this.#options.clock.now() - info.mtimeMs) < 1_000) continue;
      try {
        await this.#import(file);
        log.info('image archive imported', { file });
        count++;
      } catch (error) {
        log.error('image archive cannot be imported', { file, error: errorText(error) });
      }
      this.#imported[name] = state;
    }
    if (count > 0) {
      writeFileAtomic(recordFile, JSON.stringify(this.#imported), 0o600);
      this.#failed.clear();
    }
    return count;
  }

  /**
   * The image by its policy. Throws AppError with the code that is the waiting reason: ErrImagePull, ImagePullBackOff, ErrImageNeverPull,
   * InvalidImageName. `told` says what happened, for events.
   */
  async ensure(
    image: string,
    policy: PullPolicy,
    auth: object | undefined,
    told: (reason: 'Pulling' | 'Pulled', message: string) => void,
  ): Promise<CriImage> {
    const { cri, clock } = this.#options;
    if (image === '' || /\s/.test(image))
      throw new AppError('InvalidImageName', `Failed to apply default image tag "${image}": couldn't parse image name`);
    const present = await cri.imageStatus(image);
    const decision = pullDecision(policy, present !== null);
    if (decision === 'use') {
      told('Pulled', `Container image "${image}" already present on machine`);
      return present!;
    }
    if (decision === 'refuse')
      throw new AppError('ErrImageNeverPull', `Container image "${image}" is not present with pull policy of Never`);
    const failed = this.#failed.get(image);
    if (failed && clock.monotonic() < failed.atMs + failed.delayMs)
      throw new AppError('ImagePullBackOff', `Back-off pulling image "${image}": ErrImagePull: ${failed.message}`);
    told('Pulling', `Pulling image "${image}"`);
    const begun = clock.monotonic();
    try {
      let pull = this.#pulls.get(image);
      if (!pull) {
        pull = cri.pullImage(image, auth).then(async (id) => {
          await this.#sync();
          return id;
        });
        this.#pulls.set(image, pull);
      }
      await pull;
    } catch (error) {
      const message = errorText(error);
      const delayMs = Math.min(maxPullDelayMs, (failed?.delayMs ?? firstPullDelayMs / 2) * 2);
      this.#failed.set(image, { delayMs, atMs: clock.monotonic(), message });
      throw new AppError('ErrImagePull', message, { cause: undefined });
    } finally {
      this.#pulls.delete(image);
    }
    this.#failed.delete(image);
    const seconds = ((clock.monotonic() - begun) / 1000).toFixed(3);
    told('Pulled', `Successfully pulled image "${image}" in ${seconds}s`);
    const pulled = await cri.imageStatus(image);
    if (!pulled)
      throw new AppError('ErrImagePull', `image "${image}" was pulled, but the container runtime does not show it`);
    return pulled;
  }
}
