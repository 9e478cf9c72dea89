import { describe, expect, test } from 'vitest';
import {
  OSD_AUTOOUT,
  OSD_BACKFILLFULL,
  OSD_FULL,
  OSD_IN,
  OSD_NEARFULL,
  OSD_NEW,
  OSD_UP,
} from '../../maps/constants.ts';
import { decodeIncremental } from '../../maps/incremental-codec.ts';
import { applyIncremental } from '../../maps/apply.ts';
import { encodeOsdMap } from '../../maps/osdmap-codec.ts';
import { newPool, POOL_BACKFILLFULL, POOL_FULL, POOL_FULL_QUOTA, POOL_NEARFULL } from '../../maps/pool.ts';
import { OsdMapView } from '../../osd/osd-map-view.ts';
import type { MOSDBoot } from '../../wire/messages/osd_mon.ts';
import { addrV2 } from '../../wire/types.ts';
import { Draft } from '../draft.ts';
import { mkfs } from '../mkfs.ts';
import { bootOsd, markAutoOut, markDead, markDown } from './daemons.ts';
import { DownTimes } from './down-out.ts';
import { FailureReports } from './failures.ts';
import { setOsdFullness } from './fullness.ts';
import { quotaFlags } from './pools.ts';
import { fsid, osdBoot } from '../role.testing.ts';

function cluster(): Draft {
  const addrs = [addrV2('127.0.0.1', 3300)];
  const { state } = mkfs({
    fsid,
    name: 'a',
    addrs,
    entities: new Map(),
    failureDomain: 'osd',
    config: [],
    nowMs: 1e12,
  });
  return new Draft(state, 1e12 + 1000);
}

function booting(osdId: number, host = `h${osdId}`, life = 0): MOSDBoot {
  return osdBoot(osdId, { port: 7000 + osdId * 10 + life * 100, host });
}

function withOsds(count: number, host?: string): Draft {
  const draft = cluster();
  for (let osd = 0; osd < count; osd++) bootOsd(draft, booting(osd, host));
  return draft;
}

const down = { intervalMs: 600_000, minInRatio: 0.75, subtreeLimit: 'rack' };

describe('osd map', () => {
  test('every increment leads to the map with the checksum that it names', () => {
    const draft = cluster();
    let map = draft.state.osdmap;
    for (let osd = 0; osd < 4; osd++) bootOsd(draft, booting(osd));
    markDown(draft, 2);
    expect(draft.increments.size).toBeGreaterThan(8);
    for (const bytes of draft.increments.values()) {
      const inc = decodeIncremental(bytes);
      map = applyIncremental(map, inc);
      encodeOsdMap(map);
      expect(map.crc).toBe(inc.fullCrc);
    }
    expect(map.epoch).toBe(draft.state.osdmap.epoch);
  });

  test('an OSD that boots again under other addresses is seen down in between', () => {
    const draft = withOsds(1);
    const before = draft.state.osdmap.epoch;
    expect(bootOsd(draft, booting(0)).kind).toBe('already');
    expect(draft.state.osdmap.epoch).toBe(before);
    bootOsd(draft, booting(0, 'h0', 1));
    expect(draft.state.osdmap.epoch).toBe(before + 2);
    expect(draft.state.osdmap.infoOf(0).downAt).toBe(before + 1);
    expect(draft.state.osdmap.infoOf(0).upFrom).toBe(before + 2);
  });

  test('a mutator that throws leaves no trace', () => {
    const draft = withOsds(2);
    const { osdmap } = draft.state;
    const changes = draft.changes.length;
    expect(() =>
      draft.branch((d) => {
        markDown(d, 0);
        throw new Error('no');
      }),
    ).toThrow('no');
    expect(draft.state.osdmap).toBe(osdmap);
    expect(draft.changes.length).toBe(changes);
    markDown(draft, 1);
    expect(draft.state.osdmap.isUp(0)).toBe(true);
  });

  test('down for long is out, with its weight kept, and comes in again by itself', () => {
    const draft = withOsds(4);
    markDown(draft, 1);
    const times = new DownTimes();
    expect(times.due(draft.state.osdmap, 1000, down)).toEqual([]);
    expect(times.due(draft.state.osdmap, 600_999, down)).toEqual([]);
    expect(times.due(draft.state.osdmap, 601_000, down)).toEqual([{ osd: 1, downMs: 600_000 }]);
    draft.osdmap((inc, map) => markAutoOut(inc, map, 1));
    expect(draft.state.osdmap.isOut(1)).toBe(true);
    expect(draft.state.osdmap.osdState[1]! & OSD_AUTOOUT).not.toBe(0);
    bootOsd(draft, booting(1, 'h1', 1));
    expect(draft.state.osdmap.osdWeight[1]).toBe(OSD_IN);
    expect(draft.state.osdmap.osdState[1]! & (OSD_AUTOOUT | OSD_NEW)).toBe(0);
  });

  test('not out: too few would stay in, or everything is down, or the mon stood still', () => {
    const draft = withOsds(3);
    markDown(draft, 0);
    const times = new DownTimes();
    times.due(draft.state.osdmap, 0, down);
    // One of three may go, a second one not.
    markDown(draft, 1);
    times.due(draft.state.osdmap, 1, down);
    expect(times.due(draft.state.osdmap, 900_000, down).map(({ osd }) => osd)).toEqual([0]);
    markDown(draft, 2);
    expect(times.due(draft.state.osdmap, 900_000, down)).toEqual([]);
    const other = withOsds(4);
    markDown(other, 0);
    const stalled = new DownTimes();
    stalled.due(other.state.osdmap, 0, down);
    stalled.forgive(500_000);
    expect(stalled.due(other.state.osdmap, 700_000, down)).toEqual([]);
  });

  test('failure reports: two hosts after the grace, a connection refused at once, taken back when alive', () => {
    const draft = withOsds(4);
    const map = draft.state.osdmap;
    const limits = { minReporters: 2, reporterLevel: 'host', graceMs: 20_000, minUpRatio: 0.3 };
    const reports = new FailureReports();
    const about = (reporter: number, kind: 'failed' | 'immediate' | 'alive', failedForMs = 5000) => ({
      fsid,
      reporter,
      target: 3,
      targetAddrs: map.clientAddrsOf(3),
      kind,
      failedForMs,
      epoch: map.epoch,
    });
    expect(reports.report(map, about(0, 'failed'), 100_000, limits)).toBeUndefined();
    expect(reports.report(map, about(1, 'failed'), 100_000, limits)).toBeUndefined();
    expect(reports.check(map, 110_000, limits)).toEqual([]);
    reports.report(map, about(1, 'alive'), 110_000, limits);
    expect(reports.check(map, 200_000, limits)).toEqual([]);
    expect(reports.report(map, about(1, 'failed', 30_000), 200_000, limits)).toMatchObject({ osd: 3, dead: false });
    expect(reports.report(map, about(2, 'immediate', 0), 200_000, limits)).toMatchObject({ osd: 3, dead: true });
    expect(reports.report(map, { ...about(2, 'immediate', 0), targetAddrs: [] }, 200_000, limits)).toBeUndefined();
  });

  test('failure reports: OSDs of one host count once, but where there is no other host they must do', () => {
    const draft = withOsds(3, 'only');
    const map = draft.state.osdmap;
    const limits = { minReporters: 2, reporterLevel: 'host', graceMs: 20_000, minUpRatio: 0.3 };
    const report = {
      fsid,
      reporter: 0,
      target: 2,
      targetAddrs: map.clientAddrsOf(2),
      kind: 'failed',
      failedForMs: 25_000,
      epoch: map.epoch,
    } as const;
    expect(new FailureReports().report(map, report, 1e6, limits)?.osd).toBe(2);
    expect(new FailureReports().report(map, report, 1e6, { ...limits, reporterLevel: 'osd' })).toBeUndefined();
  });

  test('an OSD that is down is dead when its process is gone, or when it says that it knows; not any more when it is up again', () => {
    const draft = withOsds(3);
    const view = () => new OsdMapView(draft.state.osdmap);
    markDown(draft, 0);
    markDown(draft, 1, undefined, true);
    expect([0, 1, 2].map((osd) => view().isDead(osd))).toEqual([false, true, false]);
    expect(draft.state.osdmap.xinfoOf(1).deadEpoch).toBe(draft.state.osdmap.epoch);
    const { epoch } = draft.state.osdmap;
    // Of a map that nobody has made, of one in which it was not up yet, and of one that is up.
    expect(markDead(draft, 0, epoch + 1)).toBe(false);
    expect(markDead(draft, 0, draft.state.osdmap.infoOf(0).upFrom)).toBe(false);
    expect(markDead(draft, 2, epoch)).toBe(false);
    expect(markDead(draft, 0, epoch)).toBe(true);
    expect(view().isDead(0)).toBe(true);
    expect(markDead(draft, 0, epoch)).toBe(false);
    bootOsd(draft, booting(0, 'h0', 1));
    markDown(draft, 0);
    expect(view().isDead(0)).toBe(false);
    expect(view().isDead(7)).toBe(false);
  });

  test('a quota fills a pool and frees it', () => {
    const pool = newPool({ quotaMaxObjects: 10, quotaMaxBytes: 0 });
    const full = quotaFlags(pool, { bytes: 1e9, objects: 10 });
    expect(full & POOL_FULL).not.toBe(0);
    expect(full & POOL_FULL_QUOTA).not.toBe(0);
    expect(quotaFlags({ ...pool, flags: full }, { bytes: 0, objects: 9 })).toBe(pool.flags);
  });

  test('a full disk fills the pools that have data there, until it has room again', () => {
    const draft = withOsds(3);
    draft.osdmap((inc) => {
      inc.newPoolMax = 2;
      inc.newPools.set(1, newPool({ size: 2, pgNum: 1, crushRule: 0, flags: 0 }));
      inc.newPoolNames.set(1, 'a');
      inc.newPools.set(2, newPool({ size: 2, pgNum: 1, crushRule: 0, flags: POOL_FULL | POOL_FULL_QUOTA }));
      inc.newPoolNames.set(2, 'b');
    });
    const told = (osd: number, state: number): number[] => {
      draft.osdmap((inc, map) => setOsdFullness(inc, map, osd, state));
      return [1, 2].map((id) => draft.state.osdmap.pools.get(id)!.flags);
    };
    const quota = POOL_FULL | POOL_FULL_QUOTA;
    expect(told(0, OSD_NEARFULL)).toEqual([POOL_NEARFULL, POOL_NEARFULL | quota]);
    expect(told(1, OSD_BACKFILLFULL)).toEqual([POOL_BACKFILLFULL, POOL_BACKFILLFULL | quota]);
    expect(told(1, OSD_FULL)).toEqual([POOL_FULL, quota]);
    // What an OSD says of other things than its disk is not believed.
    expect(told(1, OSD_FULL | OSD_UP)).toEqual([POOL_FULL, quota]);
    expect(draft.state.osdmap.isUp(1)).toBe(true);
    const { epoch } = draft.state.osdmap;
    expect(told(1, OSD_FULL)).toEqual([POOL_FULL, quota]);
    expect(draft.state.osdmap.epoch).toBe(epoch);
    // A quota that is not reached leaves what its disks made full.
    const pool = draft.state.osdmap.pools.get(1)!;
    expect(quotaFlags(pool, { bytes: 0, objects: 0 })).toBe(pool.flags);
    markDown(draft, 1);
    expect(told(0, OSD_NEARFULL)).toEqual([POOL_NEARFULL, POOL_NEARFULL | quota]);
    expect(told(0, 0)).toEqual([0, quota]);
  });
});
