import type { CrushMap } from '../../crush/map.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import type { Mon } from '../mon.ts';
import { changeCrush } from '../osd/daemons.ts';

/** Changes CRUSH in an epoch of its own; the change may say false when there was nothing to do. Gives whether it changed. */
export function changeMap(mon: Mon, fn: (crush: CrushMap, map: OsdMap) => unknown): Promise<boolean> {
  return mon.update((draft) => {
    let changed = false;
    draft.osdmap((inc, map) => {
      changed = changeCrush(inc, map, (crush) => fn(crush, map));
      return changed;
    });
    return changed;
  });
}
