import { utf8, utf8Text } from '../base/bytes.ts';
import { devicePath } from '../base/block-devices-system.ts';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import { readFileIfThere, removeFileDurably, writeFileAtomic } from '../base/files-system.ts';
import type { Logger } from '../base/log.ts';
import { type Random, uuid } from '../base/random.ts';
import { cryptoKeyText, newCryptoKey } from '../ceph/auth/crypto.ts';
import type { MonClient } from '../ceph/client/api.ts';
import { blueStoreOn, blueStorePath } from '../ceph/engine/bluestore-place-system.ts';
import { osdOn } from '../ceph/osd/disk-owner-system.ts';
import { type Config, type OsdConfig, unallocatedOsd } from '../config/config.ts';
import { osdPlace } from '../config/load.ts';
import type { Paths } from '../config/paths.ts';
import { knownFsid } from '../ceph/client/ceph-conf-system.ts';
import { connectMonAs } from './ceph-connect-client.ts';

/** What is asked for one OSD, written down first: after a crash the same uuid and key are asked for again, and the mon gives the same id. */
interface Asked {
  readonly uuid: string;
  /** Base64 cephx secret. */
  readonly key: string;
}

const monMs = 30_000;

function readRecord<T>(file: string): Record<string, T> {
  return JSON.parse(readFileIfThere(file) ?? '{}') as Record<string, T>;
}

/**
 * Ids and keys for the OSDs of a node without a mon, got as ceph-volume gets them: `osd new` as client.bootstrap-osd. Returns the configured OSDs, each with its
 * id. Errors: MON, NO_MON, FOREIGN_DISK.
 */
export async function allocateOsds(
  config: Config,
  paths: Paths,
  clock: Clock,
  random: Random,
  log: Logger,
): Promise<readonly OsdConfig[]> {
  if (config.storage.osd.every((osd) => osd.id !== unallocatedOsd)) return config.storage.osd;
  const givenFile = `${paths.identity}/osds.json`;
  const askedFile = `${paths.identity}/osds-asked.json`;
  const given = readRecord<{ id: number; uuid: string }>(givenFile);
  const asked = readRecord<Asked>(askedFile);
  const result: OsdConfig[] = [];
  const mon: MonClient = await connectMonAs(paths, 'client.bootstrap-osd', log, monMs);
  try {
    for (const osd of config.storage.osd) {
      if (osd.id !== unallocatedOsd) {
        result.push(osd);
        continue;
      }
      const place = osdPlace(osd);
      const owner =
        config.storage.engine === 'ceph'
          ? blueStoreOn(blueStorePath(osd))
          : 'directory' in osd
            ? undefined
            : await osdOn('file' in osd ? osd.file : devicePath(osd));
      if (owner !== undefined) throw unknownOsd(place, owner, paths);
      const ask = asked[place] ?? { uuid: uuid(random), key: cryptoKeyText(newCryptoKey(clock.now(), random)) };
      asked[place] = ask;
      writeFileAtomic(askedFile, JSON.stringify(asked), 0o600);
      const answer = await mon.command(
        { prefix: 'osd new', uuid: ask.uuid, format: 'json' },
        utf8(JSON.stringify({ cephx_secret: ask.key })),
      );
      if (answer.code !== 0)
        throw new AppError('MON', `the mon gives no id for ${place}: ${answer.status || `error ${answer.code}`}`);
      const { osdid } = JSON.parse(utf8Text(answer.output)) as { osdid: number };
      writeFileAtomic(paths.keyring(`osd.${osdid}`), `[osd.${osdid}]\n\tkey = ${ask.key}\n`, 0o600);
      given[place] = { id: osdid, uuid: ask.uuid };
      writeFileAtomic(givenFile, `${JSON.stringify(given)}\n`, 0o644);
      log.info('the mon gave an OSD id', { osd: osdid, place });
      result.push({ ...osd, id: osdid, uuid: ask.uuid });
    }
    removeFileDurably(askedFile);
  } finally {
    await mon.close();
  }
  return result;
}

/** A disk whose OSD this node is not known to have: another cluster's is never its own. */
function unknownOsd(
  place: string,
  { osd, fsid }: { osd: number | undefined; fsid: string | undefined },
  paths: Paths,
): AppError {
  const name = `osd.${osd ?? '?'}`;
  const blank =
    'Is its data not needed? Then make it blank: `appliance osd wipe`. Else give it back to the node that it was on';
  const own = knownFsid(paths);
  if (fsid !== undefined && own !== undefined && fsid !== own)
    return new AppError('FOREIGN_DISK', `${place} is the disk of ${name} of another cluster: ${fsid}`, {
      hint: `this node's cluster is ${own}. ${blank}`,
    });
  return new AppError('FOREIGN_DISK', `${place} is the disk of ${name}, of which this node knows nothing`, {
    hint:
      `is it of this cluster, and was this node installed again? Then \`ceph auth get ${name} -o ${name}.keyring\` on a server, put that file to ` +
      `${paths.keyring(name)} and name the id in storage.osd: {id: ${osd ?? '?'}, …}. ${blank}`,
  });
}
