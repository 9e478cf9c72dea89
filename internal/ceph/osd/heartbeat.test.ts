import { expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { seededRandom } from '../../base/random.ts';
import type { MOSDPing } from '../wire/messages/osd_ping.ts';
import { addrV2, addrVecText, type EntityAddrVec } from '../wire/types.ts';
import { ClockDeltas } from './clock-deltas.ts';
import { Heartbeats } from './heartbeat.ts';
import type { MapView } from './map-view.ts';
import { defaultOsdOptions } from './osd-options.ts';
import { SimScheduler } from './sim/scheduler.testing.ts';

const on = (network: number, osd: number): EntityAddrVec => [addrV2(`10.${network}.0.1`, 6800 + osd, 1)];

/** OSD 0 of three, whose pings to `mute` addresses are not answered. */
function beating(given: { mute: (addrs: string, ms: number) => boolean; grace?: number; oneNetwork?: boolean }) {
  const scheduler = new SimScheduler();
  const reports: string[] = [];
  const options = { ...defaultOsdOptions, heartbeatGrace: given.grace ?? 20 };
  const map = {
    epoch: 3,
    osds: () => [0, 1, 2],
    isUp: () => true,
    heartbeatAddrs: (osd: number) => on(1, osd),
    heartbeatFrontAddrs: (osd: number) => on(given.oneNetwork === true ? 1 : 2, osd),
  } as unknown as MapView;
  const pinged = new Set<string>();
  const beats = new Heartbeats({
    whoami: 0,
    fsid: 'f',
    clock: scheduler,
    log: silentLogger,
    random: seededRandom(1),
    options: () => options,
    map: () => map,
    upFrom: () => 1,
    clockDeltas: () => new ClockDeltas(),
    peers: () => new Set([1]),
    sendPing: (osd, addrs, ping: MOSDPing) => {
      pinged.add(addrVecText(addrs));
      if (given.mute(addrVecText(addrs), scheduler.timeMs)) return;
      scheduler.after(2, () => beats.onReply(osd, addrs, { ...ping, op: 'reply' }));
    },
    forget: () => undefined,
    reportFailure: (osd, kind) => void reports.push(`${kind} ${osd} ${Math.floor(scheduler.timeMs / 1000)}`),
  });
  const loop = (): void => {
    scheduler.after(beats.nextTickMs(), () => {
      beats.tick();
      loop();
    });
  };
  loop();
  return { scheduler, reports, pinged, beats, options };
}

test('peers are pinged on both networks; silence on one of them is reported, and taken back when it ends', async () => {
  const { scheduler, reports, pinged } = beating({
    mute: (addrs, ms) => addrs.includes('10.2.0.1:6802') && ms < 60_000,
  });
  await scheduler.run(15_000);
  expect(pinged.size).toBe(4);
  expect(reports).toEqual([]);
  await scheduler.run(90_000);
  expect(reports[0]).toMatch(/^failed 2 2\d$/);
  expect(reports.at(-1)).toMatch(/^alive 2 6\d$/);
  expect(reports.filter((line) => !line.includes(' 2 '))).toEqual([]);
});

test('where both networks are one, a peer is pinged once, and the grace may change while it runs', async () => {
  const { scheduler, reports, pinged, beats, options } = beating({ mute: () => true, oneNetwork: true });
  await scheduler.run(10_000);
  expect([pinged.size, reports.length]).toEqual([2, 0]);
  options.heartbeatGrace = 5;
  await scheduler.run(20_000);
  expect(new Set(reports.map((line) => line.slice(0, 8)))).toEqual(new Set(['failed 1', 'failed 2']));
  expect(beats.pings()).toMatchObject([{ osd: 1, front: undefined }, { osd: 2 }]);
});

test('how long pings take is known by the minute', async () => {
  const { scheduler, beats } = beating({ mute: () => false });
  await scheduler.run(30_000);
  expect(beats.pings()[0]!.back.updatedSec).toBe(0);
  await scheduler.run(70_000);
  expect(beats.pings()[0]!.back).toMatchObject({ average: [2000, 2000, 2000], least: [2000, 2000, 2000], last: 2000 });
});
