import { describe, expect, test } from 'vitest';
import { DecodeError } from '../../../base/bytes.ts';
import { Decoder, encoded } from '../encoding.ts';
import { addrV2 } from '../types.ts';
import { decodeMPGStats, emptyPgStat, encodeMPGStats, hasPgState, pgStateText, zeroOsdCounters } from './osd_mgr.ts';
import * as mon from './osd_mon.ts';

const fsid = '7b6b2f7a-0d4c-4f6e-9d3c-0a1b2c3d4e5f';
const addrs = [addrV2('10.0.0.1', 6800, 77)];

describe('OSD to mon and mgr messages', () => {
  test('boot survives encode and decode', () => {
    const m: mon.MOSDBoot = {
      fsid,
      osdId: 2,
      osdUuid: fsid,
      bootEpoch: 9,
      clientAddrs: addrs,
      clusterAddrs: addrs,
      hbBackAddrs: addrs,
      hbFrontAddrs: [],
      features: 0x3f01_cfb9_fffd_ffffn,
      crush: { root: 'default', host: 'n1', weightTiB: 0.0098 },
      metadata: new Map([['arch', 'x86_64']]),
    };
    expect(mon.decodeMOSDBoot(new Decoder(encoded((e) => mon.encodeMOSDBoot(e, m))))).toEqual(m);
  });

  test('failure, alive, pg_temp, mark-me-down, beacon survive encode and decode', () => {
    const failure: mon.MOSDFailure = {
      fsid,
      reporter: 0,
      target: 1,
      targetAddrs: addrs,
      kind: 'immediate',
      failedForMs: 0,
      epoch: 3,
    };
    expect(mon.decodeMOSDFailure(new Decoder(encoded((e) => mon.encodeMOSDFailure(e, failure))))).toEqual(failure);
    const alive = { fsid, osdId: 1, epoch: 8, wantUpThru: 7 };
    expect(mon.decodeMOSDAlive(new Decoder(encoded((e) => mon.encodeMOSDAlive(e, alive))))).toEqual(alive);
    const temp = { fsid, osdId: 1, epoch: 8, pgTemp: [{ pg: { pool: 1, seed: 3 }, osds: [2, 1] }] };
    expect(mon.decodeMOSDPGTemp(new Decoder(encoded((e) => mon.encodeMOSDPGTemp(e, temp))))).toEqual(temp);
    const down = { fsid, osdId: 1, addrs, epoch: 8, dead: true };
    expect(mon.decodeMOSDMarkMeDown(new Decoder(encoded((e) => mon.encodeMOSDMarkMeDown(e, down))))).toEqual(down);
    const merge = {
      ...{ fsid, osdId: 1, epoch: 8, source: { pool: 1, seed: 7 }, ready: true },
      ...{ sourceVersion: { epoch: 3, version: 4 }, targetVersion: { epoch: 5, version: 6 } },
      ...{ lastEpochStarted: 7, lastEpochClean: 8 },
    };
    const merged = encoded((e) => mon.encodeMOSDPGReadyToMerge(e, merge));
    expect(mon.decodeMOSDPGReadyToMerge(new Decoder(merged))).toEqual(merge);
    const beacon = { fsid, osdId: 1, epoch: 8, minLastEpochClean: 5 };
    expect(mon.decodeMOSDBeacon(new Decoder(encoded((e) => mon.encodeMOSDBeacon(e, beacon))))).toEqual(beacon);
  });

  test('PG statistics survive encode and decode, cut input is a DecodeError', () => {
    const stat = emptyPgStat({ pool: 4, seed: 0x1f });
    stat.state = 2 ** 1 + 2 ** 33;
    stat.sums.bytes = 2 ** 40;
    stat.up = [1, 2, 0];
    const m = {
      fsid,
      osdId: 0,
      epoch: 4,
      upFrom: 2,
      seq: 3,
      osd: {
        totalBytes: 1e12,
        availableBytes: 1e11,
        dataBytes: 5,
        allocatedBytes: 4096,
        omapBytes: 1,
        metaBytes: 2,
        compressed: { stored: 5, allocated: 4096, original: 8192 },
        pgs: 3,
        primaryPgs: 1,
        commitLatencyMs: 1.5,
        applyLatencyMs: 0.5,
        hbPeers: [1, 2],
        snapTrimQueueLen: 0,
        shardsRepaired: 7,
        counters: { ...zeroOsdCounters(), op: 9, opRwSeconds: 0.25, recoveryBytes: 2 ** 40 },
        pings: [],
        slowOps: { count: 0, oldestSec: 0 },
      },
      pools: new Map([
        [4, { dataBytes: 1, allocatedBytes: 2, omapBytes: 3, compressed: { stored: 6, allocated: 7, original: 8 } }],
        [5, { dataBytes: 1, allocatedBytes: 2, omapBytes: 3, compressed: { stored: 0, allocated: 0, original: 0 } }],
      ]),
      pgs: [stat],
    };
    const bytes = encoded((e) => encodeMPGStats(e, m));
    expect(decodeMPGStats(new Decoder(bytes))).toEqual(m);
    const older = (format: number, length: number): ReturnType<typeof decodeMPGStats> => {
      const before = bytes.slice(0, length);
      before[0] = format;
      new DataView(before.buffer).setUint32(2, before.length - 6, true);
      return decodeMPGStats(new Decoder(before));
    };
    // Programs of before the counters end with what is compressed, those of before compression with the PGs.
    const counters = 4 + 16 * 8;
    const uncounted = older(2, bytes.length - counters);
    expect([uncounted.osd.counters, uncounted.osd.compressed]).toEqual([zeroOsdCounters(), m.osd.compressed]);
    const old = older(1, bytes.length - counters - 24 - 4 - 8 - 24);
    const nothing = { stored: 0, allocated: 0, original: 0 };
    expect([old.osd.compressed, old.pools.get(4)!.compressed, old.pgs.length]).toEqual([nothing, nothing, 1]);
    for (let n = 0; n < bytes.length; n += 7)
      expect(() => decodeMPGStats(new Decoder(bytes.subarray(0, n)))).toThrow(DecodeError);
  });

  test('state text is in upstream order, bits above 31 included', () => {
    expect(pgStateText(2 ** 1 + 2 ** 2)).toBe('active+clean');
    expect(pgStateText(2 ** 1 + 2 ** 10 + 2 ** 23 + 2 ** 33)).toBe('active+undersized+degraded+laggy');
    expect(pgStateText(0)).toBe('unknown');
    expect(hasPgState(2 ** 33, 2 ** 33)).toBe(true);
    expect(hasPgState(2 ** 33, 2 ** 1)).toBe(false);
  });
});
