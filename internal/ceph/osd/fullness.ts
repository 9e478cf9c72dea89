import { OSD_BACKFILLFULL, OSD_FULL, OSD_NEARFULL } from '../maps/constants.ts';
import type { StoreStatfs } from '../blockstore/api.ts';
import { FULLNESS_BACKFILLFULL, FULLNESS_FULL, FULLNESS_NEARFULL, FULLNESS_NONE, type MapView } from './map-view.ts';

/** Bits of OSD states by `FULLNESS_*`. */
export const fullnessBits: readonly number[] = [0, OSD_NEARFULL, OSD_BACKFILLFULL, OSD_FULL];

/** How full a disk is by the ratios of the map (`OSDService::recalc_full_state`); a ratio of 0 says nothing. */
export function fullnessOf(space: Pick<StoreStatfs, 'totalBytes' | 'availableBytes'>, map: MapView): number {
  if (space.totalBytes <= 0) return FULLNESS_NONE;
  const used = 1 - space.availableBytes / space.totalBytes;
  const over = (ratio: number): boolean => ratio > 0 && used > ratio;
  if (over(map.fullRatio)) return FULLNESS_FULL;
  if (over(map.backfillfullRatio)) return FULLNESS_BACKFILLFULL;
  return over(map.nearfullRatio) ? FULLNESS_NEARFULL : FULLNESS_NONE;
}
