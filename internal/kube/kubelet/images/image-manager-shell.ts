import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { tmpdir } from 'node:os';
import { type Clock, sleep } from '../../../base/clock.ts';
import { AppError, errorCode, errorText } from '../../../base/errors.ts';
import { readFileIfThere, writeFileAtomic } from '../../../base/files-system.ts';
import { InTurn } from '../../../base/in-turn.ts';
import type { Logger } from '../../../base/log.ts';
import { runCommand } from '../../../base/command-system.ts';
import type { CriClient } from '../cri/cri-client.ts';
import type { CriImage } from '../cri/types.ts';
import { pauseArchive, pauseImage } from '../pause/archive.ts';
import { goArchitecture } from '../pause/elf.ts';
import { type PullPolicy, pullDecision } from './pull-policy.ts';
import { doubtful, parseStableImages, type StableImages } from './stable-images.ts';

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
  /** Remembers which images are wholly on disk. */
  readonly stableFile: string;
  /** Another one after each start of the machine. */
  readonly bootId: string;
  readonly clock: Clock;
  readonly log: Logger;
}

const firstPullDelayMs = 10_000;
const maxPullDelayMs = 300_000;
const unpackPrefix = '.unpack-';
const archivePattern = /\.(tar|tar\.gz|tgz|oci)$/;

/** Images of this node: archives that are imported, and pulls with back-off. */
export class ImageManager {
  readonly #options: ImageManagerOptions;
  readonly #pulls = new Map<string, Promise<string>>();
  readonly #failed = new Map<string, { delayMs: number; atMs: number; message: string }>();
  readonly #turns = new InTurn();
  #imported: Record<string, string> = {};
  /** Ids of images that are not whole and could not be replaced: the next start tries again. */
  readonly #broken = new Set<string>();
  /** Ids of images that are wholly on disk, as the file says. */
  #stable: ReadonlySet<string> = new Set();

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
    await this.#unpackDoubtful();
    await this.ensurePause();
    await this.importArchives();
  }

  /** What a power loss may have taken files of is unpacked once more, from what containerd has downloaded; where that is gone, too, it has to be fetched again. */
  async #unpackDoubtful(): Promise<void> {
    const { bootId, cri, log, stableFile } = this.#options;
    const text = readFileIfThere(stableFile);
    const record = parseStableImages(text);
    if (text !== undefined && !record) log.warn('the record of images is unreadable: all of them are taken for whole');
    const bad = doubtful(await cri.listImages(), record, bootId);
    if (bad.length > 0) {
      // Archives bring back what cannot be unpacked again, also when this is interrupted.
      this.#imported = {};
      this.#rememberArchives();
    }
    for (const image of bad) {
      const names = [...image.repoTags, ...image.repoDigests];
      log.warn('the machine went down before this image was on disk: unpacked again', { image: names[0] ?? image.id });
      await this.#unpackAgain(image, names.length > 0 ? names : [image.id]);
    }
    this.#stable = new Set(record?.ids);
    await this.makeStable();
  }

  async #unpackAgain(image: CriImage, names: readonly string[]): Promise<void> {
    const { contentDir, cri, log } = this.#options;
    for (const name of await readdir(contentDir))
      if (name.startsWith(unpackPrefix)) await rm(join(contentDir, name), { recursive: true });
    const directory = await mkdtemp(join(contentDir, unpackPrefix));
    const file = join(directory, 'image.tar');
    try {
      const exported = await this.#ctr('export', file, ...names).then(
        () => true,
        (error: unknown) => {
          log.warn('the image is not whole and has to be fetched again', { image: names[0], error: errorText(error) });
          return false;
        },
      );
      // Its unpacked files go with it: no container had it yet, for that waits until it is on disk.
      await cri.removeImage(image.id);
      if (!exported) return;
      await this.#ctr('import', file);
      await this.#shown(names[0]!);
    } catch (error) {
      this.#broken.add(image.id);
      log.warn('the image could not be unpacked again', { image: names[0], error: errorText(error) });
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }

  /** Notes what is on disk now: images that are there and not noted yet after a sync, and no longer those that are gone. To be called again and again. */
  makeStable(): Promise<void> {
    return this.#turns.run('stable', async () => {
      const ids = (await this.#options.cri.listImages()).map(({ id }) => id).filter((id) => !this.#broken.has(id));
      // What was listed is unpacked, so that a sync that begins now covers it.
      if (ids.some((id) => !this.#stable.has(id))) await this.#sync();
      this.#note(ids);
    });
  }

  #note(ids: readonly string[]): void {
    const { bootId, stableFile } = this.#options;
    const sorted = [...new Set(ids)].sort();
    const record: StableImages = { format: 1, bootId, ids: sorted };
    const text = `${JSON.stringify(record)}\n`;
    if (readFileIfThere(stableFile) !== text) writeFileAtomic(stableFile, text, 0o600);
    this.#stable = new Set(sorted);
  }

  /** Forgets what is gone before the same images may come back: they will be unpacked anew. */
  async #beforeUnpacking(): Promise<void> {
    await this.#turns.run('stable', async () => {
      const ids = (await this.#options.cri.listImages()).map(({ id }) => id);
      if ([...this.#stable].some((id) => !ids.includes(id))) this.#note(ids.filter((id) => this.#stable.has(id)));
    });
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
    await this.#shown(pauseImage);
    await this.makeStable();
  }

  /** containerd's CRI part learns of an import through an event. */
  async #shown(image: string): Promise<void> {
    for (let i = 0; i < 50; i++) {
      if (await this.#options.cri.imageStatus(image)) return;
      await sleep(this.#options.clock, 100);
    }
    throw new AppError('IMAGE', `${image} was imported, but the container runtime does not show it`);
  }

  async #import(file: string): Promise<void> {
    await this.#beforeUnpacking();
    await this.#ctr('import', file);
    await this.makeStable();
  }

  async #ctr(what: 'import' | 'export', ...argv: string[]): Promise<void> {
    const { containerdCommand, socket } = this.#options;
    const ctr = isAbsolute(containerdCommand) ? join(dirname(containerdCommand), 'ctr') : 'ctr';
    await runCommand([ctr, '--address', socket, '--namespace', 'k8s.io', 'images', what, ...argv], {
      timeoutMs: 600_000,
    });
  }

  /** containerd does not sync what it unpacks: after a power loss its database would name images whose files are empty. */
  async #sync(): Promise<void> {
    await runCommand(['sync', '-f', this.#options.contentDir], { timeoutMs: 600_000 });
  }

  #rememberArchives(): void {
    writeFileAtomic(this.#options.recordFile, JSON.stringify(this.#imported), 0o600);
  }

  /** Imports archives that are new or changed; returns how many. One that is broken is told and left out until it changes. */
  async importArchives(): Promise<number> {
    const { imagesDir, log } = this.#options;
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
      this.#rememberArchives();
      this.#failed.clear();
    }
    return count;
  }

  async #pull(image: string, auth: object | undefined): Promise<string> {
    await this.#beforeUnpacking();
    const id = await this.#options.cri.pullImage(image, auth);
    await this.makeStable();
    return id;
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
      // Another pod's pull may just have unpacked it.
      if (!this.#stable.has(present!.id)) await this.makeStable();
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
        pull = this.#pull(image, auth);
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
