import { BufferPool } from '../../internal/base/buffer-pool.ts';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { AppError } from '../../internal/base/errors.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock } from '../../internal/base/system.ts';
import { plural, sizeWords } from '../../internal/base/words.ts';
import type { Fault } from '../../internal/ceph/blockstore/fault.ts';
import { openSqliteIndex } from '../../internal/ceph/blockstore/index-sqlite-shell.ts';
import type { OfflineDisk } from '../../internal/ceph/osd/offline-disk-system.ts';
import {
  type FsckOptions,
  type FsckReport,
  fsckStore,
  objectName,
  repairStore,
} from '../../internal/ceph/osd/store-fsck.ts';
import type { OutputFormat } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { print, stepsOf } from './output.ts';
import { WorkProgress } from './osd-target.ts';

/** `appliance osd fsck` and `repair`. */

const keptBufferBytes = 16 << 20;
/** Faults that are listed for people. */
const shownFaults = 50;

function work(disk: OfflineDisk, output: OutputFormat): { options: FsckOptions; end: () => void } {
  const out = output === 'table' ? process.stdout : process.stderr;
  const progress = new WorkProgress(stepsOf(output), out);
  return {
    end: () => progress.end(),
    options: {
      disk: systemDisk,
      dir: disk.dir,
      clock: systemClock,
      log: silentLogger,
      openIndex: openSqliteIndex,
      buffers: new BufferPool(systemDisk.alignedBuffer, keptBufferBytes),
      progress: (what, done, all) =>
        what === 'data' ? progress.bytes('reading data', done, all) : progress.tell(`checking ${what}`, done, all),
      breathe: () => new Promise((resolve) => setImmediate(resolve)),
    },
  };
}

const shownFault = ({ kind, text, mend, cid, key }: Fault) => ({
  kind,
  text,
  mend,
  collection: cid ?? null,
  object: cid === undefined || key === undefined ? null : objectName(cid, key),
});

function summary({ place, identity }: OfflineDisk, report: FsckReport) {
  return {
    disk: place.path,
    osd: identity.osd,
    cluster: identity.fsid,
    uuid: identity.uuid,
    pgs: report.pgs,
    objects: report.statfs?.objects ?? null,
    dataBytes: report.statfs?.dataBytes ?? null,
    faultCount: report.faultCount,
    faults: report.faults.map(shownFault),
  };
}

const mends: Readonly<Record<Fault['mend'], string>> = {
  rebuilt: 'repair makes it anew',
  removed: 'repair takes it out',
  fetched: 'repair has it fetched from another copy',
  none: 'cannot be mended here',
};

function faultLines(faults: readonly Fault[], count: number): string[] {
  const lines = faults.slice(0, shownFaults).map(({ text, mend }) => `  ${text} (${mends[mend]})`);
  if (count > lines.length) lines.push(`  and ${count - lines.length} more: -o json lists them`);
  return lines;
}

function lookedAt({ place, identity }: OfflineDisk, report: FsckReport): string {
  const read =
    report.statfs === undefined
      ? ''
      : `: ${plural(report.pgs, 'PG')}, ${plural(report.statfs.objects, 'object')}, ${sizeWords(report.statfs.dataBytes)} read`;
  return `osd.${identity.osd} on ${place.path}${read}`;
}

export async function fsck(disk: OfflineDisk, output: OutputFormat): Promise<void> {
  const { options, end } = work(disk, output);
  let report: FsckReport;
  try {
    report = await fsckStore(options);
  } finally {
    end();
  }
  print(output, { ...summary(disk, report), clean: report.faultCount === 0 }, () =>
    [
      lookedAt(disk, report),
      ...(report.faultCount === 0
        ? ['nothing is wrong']
        : [`${plural(report.faultCount, 'fault')}:`, ...faultLines(report.faults, report.faultCount)]),
    ].join('\n'),
  );
  if (report.faultCount > 0) process.exitCode = exitCodes.failed.code;
}

export async function repair(disk: OfflineDisk, output: OutputFormat, yes: boolean): Promise<void> {
  const { options, end } = work(disk, output);
  let report: Awaited<ReturnType<typeof repairStore>>;
  try {
    report = await repairStore(options, (removed) => {
      if (yes) return;
      const lines = faultLines(removed, removed.length);
      throw new AppError('CONFIRM', `what cannot be read any more would be taken out:\n${lines.join('\n')}`, {
        hint: 'nothing was changed; --yes takes it out',
      });
    });
  } finally {
    end();
  }
  const { marked, remaining, faultCount } = report;
  const data = {
    ...summary(disk, report),
    fetched: marked.map(({ cid, key }) => objectName(cid, key)),
    remaining: remaining.map(shownFault),
  };
  print(output, data, () => {
    const lines = [lookedAt(disk, report)];
    if (faultCount === 0) return [...lines, 'nothing is wrong, nothing was changed'].join('\n');
    lines.push(`${plural(faultCount, 'fault')} found:`, ...faultLines(report.faults, faultCount));
    if (marked.length > 0)
      lines.push(`${plural(marked.length, 'object')} will be fetched from other copies when the OSD starts`);
    lines.push(
      ...(remaining.length === 0
        ? ['everything is mended']
        : ['not mended:', ...remaining.slice(0, shownFaults).map(({ text }) => `  ${text}`)]),
    );
    return lines.join('\n');
  });
  if (remaining.length > 0) process.exitCode = exitCodes.failed.code;
}
