import { expect, test } from 'vitest';
import { OSD_FLAG_FULL_FORCE, OSD_FLAG_FULL_TRY } from '../wire/messages/osd_client.ts';
import { OP, OsdOp } from '../wire/messages/osd_op.ts';
import { ENTITY_MDS } from '../wire/types.ts';
import { fullVerdict } from './admission.ts';
import { fullnessOf } from './fullness.ts';
import {
  FULLNESS_BACKFILLFULL,
  FULLNESS_FULL,
  FULLNESS_NEARFULL,
  FULLNESS_NONE,
  type MapView,
  type PoolView,
} from './map-view.ts';
import type { OpRequest } from './op-request.ts';
import { EDQUOT, ENOSPC } from './ops/errno.ts';
import type { PgCore } from './pg-core.ts';
import { singleOsd, TestClient } from './sim/single.testing.ts';

test('a disk is as full as the ratios of the map say', () => {
  const map = { nearfullRatio: 0.85, backfillfullRatio: 0.9, fullRatio: 0.95 } as MapView;
  const used = (percent: number): number => fullnessOf({ totalBytes: 1000, availableBytes: 1000 - percent * 10 }, map);
  expect([84, 86, 91, 96].map(used)).toEqual([FULLNESS_NONE, FULLNESS_NEARFULL, FULLNESS_BACKFILLFULL, FULLNESS_FULL]);
  expect(fullnessOf({ totalBytes: 0, availableBytes: 0 }, map)).toBe(FULLNESS_NONE);
});

test('a full pool refuses what takes space, lets go what frees it, and what is forced; a disk at its end only what frees', async () => {
  const cluster = await singleOsd();
  const { core } = [...cluster.osds[0]!.osd!.pgs.values()][0]!;
  const { client } = new TestClient(cluster);
  const write = OsdOp.extent(OP.WRITEFULL, 0, 1, [new Uint8Array(1)]);
  const remove = OsdOp.make(OP.DELETE, []);
  const verdict = (
    ops: OsdOp[],
    flags: number,
    how: { pool?: Partial<PoolView>; diskFull?: boolean; mds?: boolean } = {},
  ): unknown => {
    const pool = { ...core.map.pool(core.id.pool)!, ...how.pool };
    const map = new Proxy(core.map, {
      get: (of, name) => {
        if (name === 'pool') return () => pool;
        const value: unknown = Reflect.get(of, name, of);
        return typeof value === 'function' ? value.bind(of) : value;
      },
    });
    const shown = new Proxy(core, { get: (of, name) => (name === 'map' ? map : Reflect.get(of, name, of)) }) as PgCore;
    const request = {
      client: how.mds === true ? { ...client, name: { type: ENTITY_MDS, num: 1 } } : client,
      kinds: { mayWrite: true, pgOp: false },
      message: {
        epoch: cluster.map.epoch,
        flags,
        oid: 'o',
        locator: { pool: core.id.pool, key: '', nspace: '', hash: -1 },
        hash: 0,
        snapId: 0xfffffffffffffffen,
        ops,
      },
    } as unknown as OpRequest;
    return fullVerdict(shown, request, how.diskFull === true) ?? 'runs';
  };
  const full = { pool: { full: true } };
  expect(verdict([write], 0)).toBe('runs');
  expect(verdict([write], 0, full)).toBe('drop');
  expect(verdict([write], OSD_FLAG_FULL_TRY, full)).toBe(ENOSPC);
  expect(verdict([write], OSD_FLAG_FULL_TRY, { pool: { full: true, fullQuota: true } })).toBe(EDQUOT);
  expect(verdict([write], OSD_FLAG_FULL_FORCE, full)).toBe('runs');
  expect(verdict([write], 0, { ...full, mds: true })).toBe('runs');
  expect(verdict([remove], 0, full)).toBe('runs');
  expect(verdict([write], OSD_FLAG_FULL_FORCE, { diskFull: true })).toBe('drop');
  expect(verdict([write], OSD_FLAG_FULL_TRY, { diskFull: true })).toBe(ENOSPC);
  expect(verdict([remove], 0, { diskFull: true })).toBe('runs');
});
