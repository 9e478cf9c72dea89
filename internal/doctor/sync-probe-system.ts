import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { open, rm, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseMountInfo } from '../base/mountinfo.ts';
import { errorCode, errorText } from '../base/errors.ts';
import type { Config, OsdConfig } from '../config/config.ts';
import { nodePaths } from '../config/paths.ts';
import type { Fact, SyncProbe } from './facts.ts';

const fileBytes = 1 << 20;
const blockBytes = 4096;
const maxWrites = 100;
const maxMs = 3_000;
/** Of a disk that has less room than this nothing is taken, not even for a moment. */
const roomBytes = 16 * fileBytes;

/** The fsync times of the data directory, and of each OSD's disk that is another one. */
export async function syncFacts(config: Config): Promise<SyncProbe[]> {
  const out: SyncProbe[] = [
    { what: 'data directory', path: config.dataDir, timesMs: await probeSync(existing(config.dataDir)) },
  ];
  // One after another: together they would measure each other.
  const probed = new Set([statSync(existing(config.dataDir)).dev]);
  for (const osd of config.storage.osd) {
    const what = `osd.${osd.id < 0 ? '?' : osd.id}`;
    if ('device' in osd || 'serial' in osd) {
      const path = 'device' in osd ? osd.device : `serial ${osd.serial}`;
      out.push({ what, path, timesMs: await probeDevice(osd, config) });
      continue;
    }
    const path = 'file' in osd ? dirname(osd.file) : osd.directory;
    const at = existing(path);
    if (probed.has(statSync(at).dev)) continue;
    probed.add(statSync(at).dev);
    out.push({ what, path, timesMs: await probeSync(at) });
  }
  return out;
}

/**
 * Of an OSD on a device: measured in its file system, which the running OSD has mounted where only it sees it. To the device itself nothing is ever written, so one that
 * no OSD runs on is not measured.
 */
async function probeDevice({ id }: OsdConfig, config: Config): Promise<Fact<readonly number[]>> {
  if (id < 0) return { unknown: 'not measured: it has no id yet; the first start asks for one' };
  const mounted = mountedDisk(`osd.${id}`, config);
  return typeof mounted === 'string' ? probeSync(mounted) : mounted;
}

/** The directory of a running OSD's file system as this process reaches it (proc(5), /proc/pid/root). */
function mountedDisk(instance: string, config: Config): string | { unknown: string } {
  const paths = nodePaths(config.dataDir, config.runDir);
  const configFile = `${paths.instanceRunDir(instance)}/config.json`;
  const target = `${paths.instanceDir(instance)}/disk`;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
    try {
      const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      if (!argv.includes(configFile)) continue;
      const mounts = parseMountInfo(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));
      if (mounts.some((mount) => mount.target === target)) return `/proc/${pid}/root${target}`;
    } catch {
      // Ended meanwhile, or not for us to look at.
    }
  if (process.getuid?.() !== 0) return { unknown: 'not measured: only root reaches the file system of an OSD' };
  return {
    unknown: `not measured: ${instance} does not run, and to a device that no OSD has mounted nothing is written`,
  };
}

/** The directory or the nearest one above it that is there. */
export function existing(path: string): string {
  let at = path;
  while (!existsSync(at) && at !== '/') at = dirname(at);
  return at;
}

/**
 * How long fdatasync takes after a write of 4 KiB into a preallocated file in `directory`: as many as fit into three seconds, at most a hundred. Nothing is left of the file.
 */
export async function probeSync(directory: string): Promise<Fact<readonly number[]>> {
  const path = join(directory, `.doctor-${process.pid}`);
  try {
    const { bavail, bsize } = await statfs(directory);
    if (bavail * bsize < roomBytes) return { unknown: 'not probed: the disk is nearly full' };
    const file = await open(path, 'wx', 0o600);
    try {
      // Without a name it is gone with this process, however that ends.
      await rm(path);
      await file.write(Buffer.alloc(fileBytes, 1));
      await file.sync();
      const block = Buffer.alloc(blockBytes, 2);
      const times: number[] = [];
      const began = performance.now();
      for (let i = 0; i < maxWrites && performance.now() - began < maxMs; i++) {
        await file.write(block, 0, blockBytes, (i * blockBytes) % fileBytes);
        const at = performance.now();
        await file.datasync();
        times.push(performance.now() - at);
      }
      return times;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return { unknown: 'not probed: it is made at the first start' };
    return { unknown: `not probed: ${errorText(error)}` };
  }
}
