import { ITEM_NONE } from '../../crush/map.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import { isErasure } from '../../maps/pool.ts';
import { type PgId, pgText } from '../../wire/types.ts';
import { EAGAIN, EINVAL, ENOENT, Refusal } from '../errno.ts';
import type { CommandContext } from './dispatch.ts';
import { existingPg, parseOsd } from './lookup.ts';
import type { CommandEntry } from './table.ts';

/** Placing single placement groups, and weights, by hand. */

/** `{"0": "65536"}` with weights in 16.16, as the balancing scripts send it. Errors: EINVAL, ENOENT. */
function weightsOf(text: string, exists: (osd: number) => boolean): Map<number, number> {
  const fail = (errno: number): Refusal => new Refusal(errno, `unable to parse 'weights' value '${text}'`);
  let value: unknown;
  try {
    value = JSON.parse(text.replaceAll("'", '"'));
  } catch {
    throw fail(EINVAL);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw fail(EINVAL);
  const weights = new Map<number, number>();
  for (const [osd, weight] of Object.entries(value)) {
    if (!/^\d+$/.test(osd) || typeof weight !== 'string' || !/^\d{1,6}$/.test(weight)) throw fail(EINVAL);
    if (!exists(Number(osd))) throw fail(ENOENT);
    weights.set(Number(osd), Number(weight));
  }
  return weights;
}

/** The command that takes an exception of a placement group back. */
function clearing(
  what: string,
  has: 'pgUpmap' | 'pgUpmapItems',
  old: 'oldPgUpmap' | 'oldPgUpmapItems',
): CommandEntry<CommandContext> {
  return {
    signature: `osd rm-${what} name=pgid,type=CephPgid`,
    help: 'place a placement group as CRUSH says again',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const id = await mon.update((draft) => {
        const pg = existingPg(draft.state.osdmap, args.text('pgid'));
        draft.osdmap((inc, map) => {
          if (map[has].get(pg.pool, pg.seed) === undefined) return false;
          inc[old].set(pg.pool, pg.seed, true);
          return true;
        });
        return pgText(pg);
      });
      return { status: `clear ${id} ${what.replaceAll('-', '_')} mapping` };
    },
  };
}

/**
 * An acting set for a moment, so that the placement group peers again and then asks for the one it should have: the primary alone; where it is alone, another OSD
 * beside it; of shards, whose places must stay, all but one. Errors: EAGAIN.
 */
function otherActing(map: OsdMap, pg: PgId, acting: readonly number[], primary: number): number[] {
  if (primary < 0) throw new Refusal(EAGAIN, 'pg currently has no primary');
  if (isErasure(map.pools.get(pg.pool)!)) {
    const gone = acting.findLast((osd) => osd !== ITEM_NONE && osd !== primary);
    if (gone !== undefined) return acting.map((osd) => (osd === gone ? ITEM_NONE : osd));
  } else if (acting.length > 1) return [primary];
  const other = map.osds().find((osd) => osd !== primary && map.isUp(osd));
  if (other === undefined || isErasure(map.pools.get(pg.pool)!))
    throw new Refusal(EAGAIN, 'not enough up OSDs in the cluster to force repeer');
  return [primary, other];
}

export const osdPlacingCommands: readonly CommandEntry<CommandContext>[] = [
  {
    signature: 'osd pg-temp name=pgid,type=CephPgid name=id,type=CephOsdName,n=N,req=false',
    help: 'let other OSDs serve a placement group for now (for developers)',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const osds = args.list('id').map(parseOsd);
      const id = await mon.update((draft) => {
        const { osdmap } = draft.state;
        const pg = existingPg(osdmap, args.text('pgid'));
        for (const osd of osds) if (!osdmap.exists(osd)) throw new Refusal(ENOENT, `osd.${osd} does not exist`);
        draft.osdmap((inc) => {
          inc.newPgTemp.set(pg.pool, pg.seed, osds);
        });
        return pgText(pg);
      });
      return { status: `set ${id} pg_temp mapping to [${osds.join(',')}]` };
    },
  },
  {
    signature: 'pg repeer name=pgid,type=CephPgid',
    help: 'let a placement group peer again',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      await mon.update((draft) => {
        const pg = existingPg(draft.state.osdmap, args.text('pgid'), `'${args.text('pgid')}'`);
        const { acting, actingPrimary } = mon.placement.mapPg(pg.pool, pg.seed);
        draft.osdmap((inc, map) => {
          inc.newPgTemp.set(pg.pool, pg.seed, otherActing(map, pg, acting, actingPrimary));
        });
      });
      return {};
    },
  },
  {
    signature: 'osd pg-upmap-items name=pgid,type=CephPgid name=id,type=CephOsdName,n=N',
    help: 'place copies of a placement group on other OSDs: pairs of from and to',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const list = args.list('id').map(parseOsd);
      if (list.length === 0 || list.length % 2 !== 0)
        throw new Refusal(EINVAL, 'you must specify pairs of osd ids to be remapped');
      const pairs: [number, number][] = [];
      for (let i = 0; i < list.length; i += 2) pairs.push([list[i]!, list[i + 1]!]);
      const id = await mon.update((draft) => {
        const { osdmap } = draft.state;
        const pg = existingPg(osdmap, args.text('pgid'));
        for (const osd of list) if (!osdmap.exists(osd)) throw new Refusal(ENOENT, `osd.${osd} does not exist`);
        draft.osdmap((inc) => {
          inc.newPgUpmapItems.set(pg.pool, pg.seed, pairs);
        });
        return pgText(pg);
      });
      return {
        status: `set ${id} pg_upmap_items mapping to [${pairs.map(([from, to]) => `${from}->${to}`).join(',')}]`,
      };
    },
  },
  clearing('pg-upmap-items', 'pgUpmapItems', 'oldPgUpmapItems'),
  {
    signature: 'osd primary-temp name=pgid,type=CephPgid name=id,type=CephOsdName',
    help: 'let another OSD lead a placement group for now (for developers)',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      // -1 takes it back.
      const osd = args.text('id') === '-1' ? -1 : parseOsd(args.text('id'));
      const id = await mon.update((draft) => {
        const { osdmap } = draft.state;
        const pg = existingPg(osdmap, args.text('pgid'));
        if (osd !== -1 && !osdmap.exists(osd)) throw new Refusal(ENOENT, `osd.${osd} does not exist`);
        draft.osdmap((inc) => {
          inc.newPrimaryTemp.set(pg.pool, pg.seed, osd);
        });
        return pgText(pg);
      });
      return { status: `set ${id} primary_temp mapping to ${osd}` };
    },
  },
  {
    signature: 'osd pg-upmap name=pgid,type=CephPgid name=id,type=CephOsdName,n=N',
    help: 'place a placement group on exactly these OSDs',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const osds = [...new Set(args.list('id').map(parseOsd))];
      const id = await mon.update((draft) => {
        const { osdmap } = draft.state;
        const pg = existingPg(osdmap, args.text('pgid'));
        for (const osd of osds) if (!osdmap.exists(osd)) throw new Refusal(ENOENT, `osd.${osd} does not exist`);
        const { minSize, size } = osdmap.pools.get(pg.pool)!;
        if (osds.length < minSize)
          throw new Refusal(EINVAL, `num of osds (${osds.length}) < pool min size (${minSize})`);
        if (osds.length > size) throw new Refusal(EINVAL, `num of osds (${osds.length}) > pool size (${size})`);
        draft.osdmap((inc) => {
          inc.newPgUpmap.set(pg.pool, pg.seed, osds);
        });
        return pgText(pg);
      });
      return { status: `set ${id} pg_upmap mapping to [${osds.join(',')}]` };
    },
  },
  clearing('pg-upmap', 'pgUpmap', 'oldPgUpmap'),
  {
    signature: 'osd reweightn name=weights,type=CephString',
    help: 'set the weights of several OSDs at once',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      await mon.update((draft) => {
        const weights = weightsOf(args.text('weights'), (osd) => draft.state.osdmap.exists(osd));
        if (weights.size > 0)
          draft.osdmap((inc) => {
            for (const [osd, weight] of weights) inc.newWeight.set(osd, weight);
          });
      });
      return {};
    },
  },
];
