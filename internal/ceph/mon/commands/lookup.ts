import type { OsdMap } from '../../maps/osdmap.ts';
import { type PgId, parsePg } from '../../wire/types.ts';
import { EINVAL, ENOENT, Refusal } from '../errno.ts';
import { findOsdMap } from '../load.ts';
import type { Mon } from '../mon.ts';

/** `3` and `osd.3`. Errors: EINVAL. */
export function parseOsd(text: string): number {
  const match = /^(?:osd\.)?(\d{1,9})$/.exec(text);
  if (match === null) throw new Refusal(EINVAL, `Expected option value to be integer, got '${text}'invalid osd id-1`);
  return Number(match[1]);
}

/** An OSD that exists. Errors: EINVAL, ENOENT. */
export function existingOsd(map: OsdMap, text: string): number {
  const osd = parseOsd(text);
  if (!map.exists(osd)) throw new Refusal(ENOENT, `osd.${osd} does not exist`);
  return osd;
}

/** OSDs of an argument list; `all`, `any` and `*` stand for every one that exists. */
export function osdList(map: OsdMap, ids: readonly string[]): number[] {
  if (ids.length === 1 && (ids[0] === 'all' || ids[0] === 'any' || ids[0] === '*')) return map.osds();
  return ids.map(parseOsd);
}

export function existingPool(map: OsdMap, name: string): number {
  const id = map.poolId(name);
  if (id === undefined) throw new Refusal(ENOENT, `unrecognized pool '${name}'`);
  return id;
}

export function existingPg(map: OsdMap, text: string, named = text): PgId {
  const pg = parsePg(text);
  if (pg === undefined) throw new Refusal(EINVAL, `invalid pgid '${text}'`);
  const pool = map.pools.get(pg.pool);
  if (pool === undefined || pg.seed >= pool.pgNum) throw new Refusal(ENOENT, `pg ${named} does not exist`);
  return pg;
}

/** The map of the epoch that was asked for; the newest without one. Errors: ENOENT. */
export async function mapAt(mon: Mon, epoch: number | undefined): Promise<OsdMap> {
  const { osdmap } = mon.state;
  if (epoch === undefined || epoch === 0 || epoch === osdmap.epoch) return osdmap;
  const found = epoch > osdmap.epoch ? undefined : await findOsdMap(mon.store, epoch);
  if (found === undefined) throw new Refusal(ENOENT, `there is no map for epoch ${epoch}`);
  return found;
}
