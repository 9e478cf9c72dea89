import { sizeWords } from '../../base/words.ts';
import type { Config, OsdConfig } from '../../config/config.ts';
import { type Check, fail, type Finding, ok, unknown, warn } from '../check.ts';
import { isUnknown } from '../facts.ts';

/** The nearest-rank percentile; of few samples it is the largest. */
export function percentile(times: readonly number[], part: number): number {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? 0;
}

/** etcd's advice for disks of a control plane is 10 ms; from the second on, leases and heartbeats come late. */
const slowMs = 25;
const tooSlowMs = 250;

const sync: Check = {
  id: 'fsync',
  title: 'fsync p99',
  why: 'Every acknowledged write waits for it: the control plane, and each OSD.',
  needs: ['sync'],
  evaluate({ sync: probes }) {
    return probes.map(({ path, timesMs, what }): Finding => {
      if (isUnknown(timesMs)) return unknown(`${what} (${path}): ${timesMs.unknown}`);
      const p99 = percentile(timesMs, 0.99);
      const text = `${what} (${path}): ${p99.toFixed(1)} ms over ${timesMs.length} writes, median ${percentile(timesMs, 0.5).toFixed(1)} ms`;
      if (p99 >= tooSlowMs)
        return fail(
          text,
          'use another disk: an SSD on USB 3 instead of an SD card or a USB stick (dataDir, storage.osd)',
        );
      if (p99 >= slowMs) return warn(text, 'an SSD on USB 3 answers in 1 to 5 ms (dataDir, storage.osd)');
      return ok(text);
    });
  },
};

const space: Check = {
  id: 'space',
  title: 'free space and inodes',
  why: 'A full disk stops the control plane and evicts pods.',
  needs: ['space'],
  evaluate({ space: list }) {
    return list.map(({ freeBytes, freeInodes, path, totalBytes, totalInodes, what }): Finding => {
      const text = `${what} (${path}): ${sizeWords(freeBytes)} of ${sizeWords(totalBytes)} free${
        totalInodes > 0 ? `, ${Math.floor((freeInodes / totalInodes) * 100)} % of the inodes` : ''
      }`;
      const fix = `free some: \`du -xh ${path} | sort -h | tail\` shows what is large; or move it to another disk`;
      const part = totalBytes > 0 ? freeBytes / totalBytes : 1;
      const inodes = totalInodes > 0 ? freeInodes / totalInodes : 1;
      if (freeBytes < 256 * 2 ** 20 || inodes < 0.01) return fail(text, fix);
      if (freeBytes < 2 * 2 ** 30 || part < 0.1 || inodes < 0.05) return warn(text, fix);
      return ok(text);
    });
  },
};

/** Why a file system is not for data that must survive. */
const unfit: readonly (readonly [types: RegExp, why: string])[] = [
  [/^(tmpfs|ramfs)$/, 'its contents are gone after a reboot'],
  [/^(vfat|exfat|msdos|ntfs|ntfs3|fuseblk)$/, 'it has no permissions, so keys on it are open to everybody'],
  [/^(nfs4?|cifs|smb3|9p|fuse\..*)$/, 'it is on the network: locks and fsync of databases are not safe there'],
];

const fileSystem: Check = {
  id: 'file-system',
  title: 'file systems',
  why: 'What was acknowledged must survive a power loss, and keys must be readable by their owner alone.',
  needs: ['space'],
  evaluate({ space: list }) {
    return list.map(({ path, type, what }): Finding => {
      const bad = unfit.find(([types]) => types.test(type));
      return bad
        ? fail(`${what} (${path}) is on ${type}: ${bad[1]}`, 'put it on a local disk with ext4 (dataDir, storage.osd)')
        : ok(`${what} (${path}): ${type}`);
    });
  },
};

const osdFiles: Check = {
  id: 'osd-files',
  title: 'room for OSD files',
  why: 'Sparse files promise more than there may be: an OSD that cannot write stops.',
  needs: ['space'],
  concerns: (config) => config.storage.osd.some((osd) => 'file' in osd),
  evaluate({ space: list }, config) {
    const files = config.storage.osd.flatMap((osd) => ('file' in osd ? [osd] : []));
    const where = list.find(({ what }) => what === 'OSD files');
    if (!where) return unknown('not known: the directory is not there yet');
    const promised = files.reduce((sum, { size }) => sum + size, 0);
    const text = `${sizeWords(promised)} promised by ${files.length} files on a disk of ${sizeWords(where.totalBytes)}`;
    return promised > where.totalBytes ? warn(text, 'smaller sizes in storage.osd, or another disk') : ok(text);
  },
};

const disks: Check = {
  id: 'osd-disks',
  title: 'disks of OSDs',
  why: 'A disk that holds an OSD of another cluster is never taken over by itself: it may be the last copy of something.',
  needs: ['disks', 'storageFsid'],
  evaluate({ disks: list, storageFsid }, config) {
    if (list.length === 0) return ok('none configured, none found');
    return list.map(({ exists, inUse, osd, owner, ownerFsid, path }): Finding => {
      const name = osd === undefined ? path : `osd.${osd} (${path})`;
      if (!exists)
        return osd !== undefined && isMade(config, path)
          ? ok(`${name}: is made at the first start`)
          : fail(`${name}: is not there`, '`lsblk -o NAME,SIZE,SERIAL,LABEL` lists disks; correct storage.osd');
      if (isUnknown(owner)) return unknown(`${name}: ${owner.unknown}`);
      if (owner === undefined) return ok(`${name}: ${inUse ? 'in use' : 'holds no OSD'}`);
      const ours = ownerFsid !== undefined && ownerFsid === storageFsid;
      if (osd === undefined) return leftOver({ name, path, owner, ours });
      if (ours && owner.startsWith(`osd.${osd} `)) return ok(`${name}: holds ${owner}`);
      return fail(
        `${name}: holds ${owner}, which is ${ours ? 'another OSD of this cluster' : notOursText(ownerFsid, storageFsid)}`,
        `give it back to its OSD and name another disk in storage.osd; or, if nobody needs its data, ${
          config.storage.osd.some((one) => isDirectory(one, path)) ? 'empty the directory' : blankText(path)
        }`,
      );
    });
  },
};

const blankText = (path: string): string =>
  `\`appliance osd wipe ${path} --foreign --yes\` makes it blank (this destroys the data)`;

function notOursText(ownerFsid: string | undefined, own: string | undefined): string {
  if (ownerFsid === undefined) return 'not known to be of this cluster';
  return own === undefined ? 'not of this node, which has no storage cluster yet' : `not this cluster, ${own}`;
}

/** A disk with an OSD that the configuration does not name. */
function leftOver(disk: { name: string; path: string; owner: string; ours: boolean }): Finding {
  const { name, path, owner, ours } = disk;
  return ours
    ? warn(
        `${name}: holds ${owner}: of this cluster, but this node does not name it`,
        `name it in storage.osd of the node that ran it: {id: ${/^osd\.(\d+)/.exec(owner)?.[1] ?? 'N'}, device: ${path}}; or, when \`ceph osd purge\` has taken that OSD out, ${blankText(path)}`,
      )
    : warn(
        `${name}: holds ${owner}: of another cluster than this node's`,
        `if its data is needed, name it in storage.osd of a node of that cluster; else ${blankText(path)}`,
      );
}

/** A file or directory, which an OSD makes for itself. */
function isMade(config: Config, path: string): boolean {
  return config.storage.osd.some((osd) => ('file' in osd && osd.file === path) || isDirectory(osd, path));
}

function isDirectory(osd: OsdConfig, path: string): boolean {
  return 'directory' in osd && osd.directory === path;
}

const external: Check = {
  id: 'external-ceph',
  title: 'external Ceph cluster',
  why: 'Volumes are on it: pods that have one wait for its answers.',
  needs: ['externalCeph', 'storageFsid'],
  concerns: ({ externalCeph, storage }) => storage.engine === 'external' && externalCeph.monHosts.length > 0,
  evaluate({ externalCeph: fsid, storageFsid }, { externalCeph: { monHosts, user } }) {
    if (isUnknown(fsid))
      return fail(
        fsid.unknown,
        `\`ceph mon dump\` there tells the addresses (v2), \`ceph auth get client.${user}\` the key: correct externalCeph; firewalls let TCP to the monitors and to ports 6800-7568 of the OSDs pass`,
      );
    if (storageFsid !== undefined && fsid !== storageFsid)
      return fail(
        `${monHosts.join(', ')}: is the cluster ${fsid}, but this node's volumes are on ${storageFsid}`,
        'correct externalCeph.monHosts',
      );
    return ok(`${monHosts.join(', ')}: answers as ${fsid}`);
  },
};

export const storageChecks: readonly Check[] = [fileSystem, sync, space, osdFiles, disks, external];
