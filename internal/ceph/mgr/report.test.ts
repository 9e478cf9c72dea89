import { describe, expect, test } from 'vitest';
import { fuzzDecoder } from '../../base/fuzz.testing.ts';
import { seededRandom } from '../../base/random.ts';
import { decodeServiceMap, encodeServiceMap } from '../maps/servicemap.ts';
import type { MessageCodec } from '../wire/message.ts';
import { MMgrBeacon, type MMgrBeaconValue, MMonMgrReport } from '../wire/messages/mgr_mon.ts';
import { PG_ACTIVE, PG_CLEAN, PG_DEGRADED } from '../wire/messages/osd_mgr.ts';
import { addrV2 } from '../wire/types.ts';
import { mgrCommandDescriptions } from './commands.ts';
import { mgrCommandTable } from './answers/table.ts';
import { ClusterStats } from './cluster-stats.ts';
import { makeReport } from './digest.ts';
import { defaultHealthOptions } from './health.ts';
import { ProgressTracker } from './progress.ts';
import { serviceMapJson, Services } from './services.ts';
import { report, smallMap } from './small-cluster.testing.ts';

function stats(): ClusterStats {
  const made = new ClusterStats(smallMap());
  made.applyMap(made.map, 1000);
  for (const osd of [0, 1, 2])
    made.applyReport({
      ...report(made, osd, 1),
      pools: new Map([
        [
          1,
          {
            dataBytes: 100,
            allocatedBytes: 4096,
            omapBytes: 7,
            compressed: { stored: 900, allocated: 2048, original: 8192 },
          },
        ],
      ]),
    });
  made.sample(2000);
  return made;
}

const fsid = smallMap().fsid;
const beacon: MMgrBeaconValue = {
  fsid,
  gid: 4100n,
  name: 'a',
  addrs: [addrV2('10.0.0.1', 6800, 77)],
  available: true,
  features: 0x3fn,
  metadata: new Map([['hostname', 'h']]),
  modules: ['progress'],
  clients: [{ name: 'x', addrs: [addrV2('10.0.0.1', 0, 5)] }],
  services: new Map([['prometheus', 'http://10.0.0.1:9283/']]),
};

function front<T>(codec: MessageCodec<T>, value: T): Uint8Array {
  return codec.encode(value, 0xffffffffffffffffn).front;
}
function read<T>(codec: MessageCodec<T>, bytes: Uint8Array): T {
  const none = new Uint8Array(0);
  return codec.decode({
    front: bytes,
    middle: none,
    data: none,
    version: codec.version,
    compat: codec.compat,
    features: 0n,
  });
}

describe('what the mgr sends to the mon', () => {
  const value = makeReport(stats(), { fsid, gid: 4100n }, 3000, defaultHealthOptions, {
    progress: [{ id: 'x', message: 'Global Recovery Event (1s)', progress: 0.5 }],
    serviceMap: new Uint8Array([1, 2]),
  });

  test('the digest has the sums', () => {
    expect(value).toMatchObject({ pgs: 8, pgsActive: 8, pgsUnknown: 0, osdmapEpoch: 1, version: 1 });
    expect(value.pools.get(1)).toMatchObject({ pgs: 8, up: 16, acting: 16, dataBytes: 300, storeReports: 3 });
    // 8 GiB are free of 10 on each of three OSDs, 5 % of them not to be used, and two copies of everything.
    expect(value.pools.get(1)!.maxAvailBytes / 2 ** 30).toBeCloseTo((7.5 * 3) / 2, 3);
    expect([...value.osds.values()].reduce((n, osd) => n + osd.primaryPgs, 0)).toBe(8);
    expect(value.osds.get(0)!.statSeq).toBe((1n << 32n) + 1n);
  });

  test('beacons and reports go through their codecs', () => {
    expect(read(MMgrBeacon, front(MMgrBeacon, beacon))).toEqual(beacon);
    expect(read(MMonMgrReport, front(MMonMgrReport, value))).toEqual(value);
  });

  test.each([
    ['beacon', MMgrBeacon, front(MMgrBeacon, beacon)],
    ['report', MMonMgrReport, front(MMonMgrReport, value)],
  ] as [string, MessageCodec<unknown>, Uint8Array][])(
    'fuzz: a damaged %s is a DecodeError or another one',
    { timeout: 3_600_000 },
    (_, codec, good) => {
      expect(fuzzDecoder([good], (bytes) => read(codec, bytes))).toBeGreaterThan(0);
    },
  );
});

test('the mon lists every command that the mgr answers, as flagged for it', () => {
  const table = mgrCommandTable();
  const described = Object.values(JSON.parse(table.descriptions())) as unknown[];
  expect(described.length).toBe(mgrCommandDescriptions.length);
  expect(mgrCommandDescriptions.every(({ flags }) => (flags & 8) !== 0)).toBe(true);
});

test('services come, are heard of, and go', () => {
  const services = new Services();
  const open = (daemon: string): boolean =>
    services.open(
      { service: 'rgw', daemon, gid: 5n, addr: addrV2('10.0.0.2', 0, 9), metadata: new Map([['zone', 'z']]) },
      3,
      1_700_000_000_000,
    );
  expect(open('x')).toBe(true);
  open('y');
  expect(services.map.epoch).toBe(2);
  const copy = decodeServiceMap(encodeServiceMap(services.map));
  expect(copy).toEqual(services.map);
  expect(
    JSON.stringify([...(serviceMapJson(services.map) as { services: Map<string, unknown> }).services.keys()]),
  ).toBe('["rgw"]');
  services.heard('rgw', 'y', 1_700_000_050_000);
  services.tick(1_700_000_061_000);
  expect([...services.map.services.get('rgw')!.daemons.keys()]).toEqual(['y']);
  services.close('rgw', 'y', 1_700_000_062_000);
  expect(services.map.services.size).toBe(0);
  for (let i = 0; i < 300; i++) open(`n${i}`);
  expect(services.map.services.get('rgw')!.daemons.size).toBe(256);
});

test('recovery is one event from its begin to its end', () => {
  const made = stats();
  const progress = new ProgressTracker(seededRandom(3));
  progress.update(made, 1000);
  expect(progress.digest(1000)).toEqual([]);
  const led = made.pgsByOsd().get(0)!.primary;
  made.applyReport(report(made, 0, 2, { state: PG_ACTIVE + PG_DEGRADED }));
  progress.update(made, 2000);
  expect(progress.digest(7000)).toMatchObject([{ message: 'Global Recovery Event (5s)', progress: (8 - led) / 8 }]);
  expect(progress.text(7000)).toContain('Global Recovery Event (5s)\n    [');
  made.applyReport(report(made, 0, 3, { state: PG_ACTIVE + PG_CLEAN }));
  progress.update(made, 9000);
  expect(progress.digest(9000)).toEqual([]);
  expect(progress.text(9000)).toBe(`[Complete]: Global Recovery Event (0s)\n    [${'='.repeat(28)}] \n`);
});
