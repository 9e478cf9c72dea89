import type { PgInfo } from '../wire/messages/osd_pg.ts';
import { compareEVersion, type EVersion } from '../wire/types.ts';
import { noMember, shardOf } from './shards.ts';

function incomplete(info: PgInfo): boolean {
  return !info.lastBackfill.max;
}

/**
 * The OSD whose log is the truth (`PeeringState::find_best_info` for replicated pools): of those that took part in the newest interval known to have
 * gone active, complete copies only, the one with the newest entry; then with the longer log; then ourselves. Undefined: nobody may speak for the PG.
 * In erasure-coded pools the one with the oldest end that is acceptable: an entry that some shard does not have was not acknowledged, may be on too few
 * shards to be read, and can be taken back by the others.
 */
export function findBestInfo(infos: ReadonlyMap<number, PgInfo>, whoami: number, erasure = false): number | undefined {
  let newestStarted = 0;
  for (const info of infos.values()) {
    newestStarted = Math.max(newestStarted, info.history.lastEpochStarted);
    if (!incomplete(info)) newestStarted = Math.max(newestStarted, info.lastEpochStarted);
  }
  // Whoever was active in that interval had every acknowledged entry: older ends are not acceptable.
  let oldestAcceptable: EVersion | undefined;
  for (const info of infos.values())
    if (info.lastEpochStarted >= newestStarted)
      if (oldestAcceptable === undefined || compareEVersion(info.lastUpdate, oldestAcceptable) < 0)
        oldestAcceptable = info.lastUpdate;
  if (oldestAcceptable === undefined) return undefined;

  let best: number | undefined;
  for (const [osd, info] of infos) {
    if (compareEVersion(info.lastUpdate, oldestAcceptable) < 0) continue;
    if (info.lastEpochStarted < newestStarted || incomplete(info)) continue;
    if (best === undefined) {
      best = osd;
      continue;
    }
    const other = infos.get(best)!;
    const byUpdate = compareEVersion(info.lastUpdate, other.lastUpdate);
    if (byUpdate !== 0) {
      if (byUpdate > 0 !== erasure) best = osd;
      continue;
    }
    const byTail = compareEVersion(info.logTail, other.logTail);
    if (byTail !== 0) {
      if (byTail < 0) best = osd;
      continue;
    }
    const whole = (i: PgInfo): boolean => compareEVersion(i.lastComplete, i.lastUpdate) === 0;
    if (whole(info) !== whole(other)) {
      if (whole(info)) best = osd;
      continue;
    }
    if (osd === whoami) best = osd;
  }
  return best;
}

export interface ActingChoice {
  /** The acting set wanted, primary first. */
  want: number[];
  /** Members of the up set that must be filled from scratch or go on being filled. */
  backfill: number[];
}

/**
 * Who should serve a shard each (`calc_ec_acting`): who CRUSH wants when its log meets the best one, else who serves it now, else any stray with this
 * shard.
 */
export function chooseShards(
  infos: ReadonlyMap<number, PgInfo>,
  best: number,
  up: readonly number[],
  acting: readonly number[],
  size: number,
): ActingChoice {
  const { logTail } = infos.get(best)!;
  const usable = (member: number | undefined): boolean => {
    const info = member === undefined || member === noMember ? undefined : infos.get(member);
    return info !== undefined && !incomplete(info) && compareEVersion(info.lastUpdate, logTail) >= 0;
  };
  const choice: ActingChoice = { want: [], backfill: [] };
  for (let shard = 0; shard < size; shard++) {
    const wanted = up[shard] ?? noMember;
    if (usable(wanted)) {
      choice.want.push(wanted);
      continue;
    }
    if (wanted !== noMember) choice.backfill.push(wanted);
    const strays = [...infos.keys()].filter((member) => shardOf(member) === shard).sort((a, b) => a - b);
    choice.want.push([acting[shard], ...strays].find(usable) ?? noMember);
  }
  return choice;
}

/**
 * Who should serve (`calc_replicated_acting`): the up primary when its log meets the best one, else the holder of the best log; then up OSDs, present
 * acting OSDs and strays whose logs meet the primary's, until the pool's size is reached.
 */
export function chooseActing(
  infos: ReadonlyMap<number, PgInfo>,
  best: number,
  upPrimary: number,
  up: readonly number[],
  acting: readonly number[],
  size: number,
): ActingChoice {
  const bestInfo = infos.get(best)!;
  const upInfo = infos.get(upPrimary);
  const primary =
    upInfo !== undefined && !incomplete(upInfo) && compareEVersion(upInfo.lastUpdate, bestInfo.logTail) >= 0
      ? upPrimary
      : best;
  const oldestTail = infos.get(primary)!.logTail;
  const usable = (info: PgInfo): boolean => !incomplete(info) && compareEVersion(info.lastUpdate, oldestTail) >= 0;

  const want = [primary];
  const backfill: number[] = [];
  for (const osd of up) {
    if (osd === primary) continue;
    const info = infos.get(osd);
    if (info !== undefined && usable(info)) want.push(osd);
    else backfill.push(osd);
  }
  const fill = (candidates: Iterable<number>): void => {
    const ready = [...candidates]
      .filter((osd) => !want.includes(osd) && !up.includes(osd) && infos.has(osd) && usable(infos.get(osd)!))
      .sort((a, b) => compareEVersion(infos.get(b)!.lastUpdate, infos.get(a)!.lastUpdate) || a - b);
    for (const osd of ready) if (want.length < size) want.push(osd);
  };
  fill(acting);
  fill(infos.keys());
  return { want, backfill };
}
