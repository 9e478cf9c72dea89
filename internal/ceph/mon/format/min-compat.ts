import { BUCKET_STRAW2 } from '../../crush/map.ts';
import type { OsdMap } from '../../maps/osdmap.ts';

/** The oldest release whose clients can read the map (`OSDMap::get_min_compat_client`). */
export function minCompatClient(map: OsdMap): number {
  const { crush } = map;
  if (map.pgUpmap.size > 0 || map.pgUpmapItems.size > 0 || crush.chooseArgs.size > 0) return 12;
  if (crush.tunables.chooseleafStable !== 0) return 10;
  if (crush.buckets.some((bucket) => bucket?.alg === BUCKET_STRAW2)) return 8;
  if (crush.tunables.chooseleafVaryR !== 0) return 6;
  if (crush.tunables.chooseTotalTries !== 19 || crush.tunables.chooseleafDescendOnce !== 0) return 3;
  return 1;
}
