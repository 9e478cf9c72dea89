import { dlopen } from 'bun:ffi';
import * as fs from 'node:fs';

export interface LossyOptions {
  /** Names become stable only by a sync of their directory; default false: as on ext4, any sync makes all earlier names stable. */
  strict?: boolean;
  /** Share of unsynced changes that reach the disk all the same, 0..1; default 0: all of them are lost. */
  early?: number;
  seed?: number;
  /** Regular expression: syncs of files and directories with such a path (from the mount point) do nothing; a planted fault. */
  ignoreSync?: string;
  /** What is older is written back unasked, as a kernel does; 0 never; default 30000. */
  writebackMs?: number;
}

export interface LossyStats {
  writes: number;
  syncs: number;
  dirtyPages: number;
  early: number;
  /** Of them pages of which only some sectors did. */
  torn: number;
  /** Syncs that `ignoreSync` swallowed. */
  ignored: number;
}

const mntForce = 1;
const mntDetach = 2;
let libc: { umount2: (path: Buffer, flags: number) => number } | undefined;

function unmount(path: string, flags: number): boolean {
  libc ??= dlopen('libc.so.6', { umount2: { args: ['cstring', 'i32'], returns: 'i32' } })
    .symbols as unknown as typeof libc;
  return libc!.umount2(Buffer.from(`${path}\0`), flags) === 0;
}

/** A mounted file system that forgets what was not synced when `crash` is called. Needs root and /dev/fuse. */
export class LossyMount {
  readonly backing: string;
  readonly mountpoint: string;
  readonly #options: Required<LossyOptions>;
  #server: Bun.Subprocess<'ignore', 'pipe', 'inherit'> | undefined;
  #starts = 0;

  constructor(backing: string, mountpoint: string, options: LossyOptions = {}) {
    this.backing = fs.realpathSync(makeDirectory(backing));
    this.mountpoint = mountpoint;
    this.#options = { strict: false, early: 0, seed: 1, ignoreSync: '', writebackMs: 30_000, ...options };
  }

  /** The power comes on: mounts what is stable. */
  async start(): Promise<void> {
    if (this.#server) throw new Error(`${this.mountpoint} is mounted`);
    // A mount whose server is gone is in the way.
    while (unmount(this.mountpoint, mntDetach));
    makeDirectory(this.mountpoint);
    const options = { ...this.#options, seed: this.#options.seed + this.#starts++ };
    const script = new URL('./server-process.ts', import.meta.url).pathname;
    const server = Bun.spawn([process.execPath, script, this.backing, this.mountpoint, JSON.stringify(options)], {
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'inherit',
      // Signals of a terminal are for the parent.
      detached: true,
    });
    const { value } = await server.stdout.getReader().read();
    if (value === undefined)
      throw new Error(`the file system for ${this.mountpoint} did not start (code ${await server.exited})`);
    this.#server = server;
  }

  /**
   * The power fails: from this moment every access fails (ENOTCONN), and what was not synced is gone. Stop what used it, then `start`.
   */
  async crash(): Promise<void> {
    const server = this.#server;
    if (!server) throw new Error(`${this.mountpoint} is not mounted`);
    server.kill('SIGKILL');
    await server.exited;
    this.#server = undefined;
    unmount(this.mountpoint, mntForce | mntDetach);
  }

  /** Makes everything stable and unmounts. */
  async stop(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.sync();
    this.#server = undefined;
    if (!unmount(this.mountpoint, 0)) {
      unmount(this.mountpoint, mntForce | mntDetach);
      server.kill('SIGKILL');
    }
    await server.exited;
  }

  /** Makes everything stable. */
  sync(): void {
    this.#command('sync');
  }

  /** The disk becomes slow: each sync takes so many milliseconds longer, and all else waits meanwhile. 0: as before. */
  slow(ms: number): void {
    this.#command(`slow ${ms}`);
  }

  /** The disk is full: what needs new room fails with ENOSPC. False: there is room again. */
  full(full = true): void {
    this.#command(full ? 'full' : 'full off');
  }

  #command(line: string): void {
    fs.writeFileSync(`${this.mountpoint}/.lossy-control`, line);
  }

  /** Where the stable bytes of a file lie, for those who want to damage them. */
  backingFile(path: string): string {
    return `${this.backing}/data/${fs.statSync(path).ino}`;
  }

  stats(): LossyStats {
    return JSON.parse(fs.readFileSync(`${this.mountpoint}/.lossy-control`, 'utf8')) as LossyStats;
  }
}

function makeDirectory(path: string): string {
  fs.mkdirSync(path, { recursive: true });
  return path;
}
