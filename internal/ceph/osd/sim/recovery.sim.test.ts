import { describe, expect, test } from 'vitest';
import {
  PG_ACTIVE,
  PG_BACKFILL_TOOFULL,
  PG_BACKFILL_WAIT,
  PG_BACKFILLING,
  PG_FORCED_BACKFILL,
  PG_FORCED_RECOVERY,
  PG_RECOVERY_TOOFULL,
  PG_RECOVERY_WAIT,
} from '../../wire/messages/osd_mgr.ts';
import { FULLNESS_BACKFILLFULL, FULLNESS_FULL, MAP_NOBACKFILL, MAP_NORECOVER } from '../map-view.ts';
import type { Pg } from '../pg.ts';
import { leadingPg, osdOf } from '../shards.ts';
import { pgText } from '../../wire/types.ts';
import { OP, OsdOp } from '../../wire/messages/osd_op.ts';
import { type SimOptions, simPool } from './map.testing.ts';
import { TestClient } from './single.testing.ts';
import { SimCluster } from './world.testing.ts';

const minuteMs = 60_000;

async function cluster(given: Partial<SimOptions> = {}): Promise<SimCluster> {
  const made = new SimCluster({ seed: 5, osds: 3, size: 2, minSize: 1, pgNum: 8, ...given });
  await made.begin([]);
  return made;
}

/** The PGs as those that lead them have them. */
function led(sim: SimCluster): Pg[] {
  return Array.from({ length: sim.map.pgs.pgNum }, (_, seed) => {
    const pg = leadingPg(sim.map, { pool: simPool, seed });
    return sim.osds[sim.map.place(pg).actingPrimary]!.osd!.pgs.get(pgText(pg))!;
  });
}

function withState(sim: SimCluster, ...bits: number[]): Pg[] {
  return led(sim).filter(({ core }) => bits.some((bit) => core.hasState(bit)));
}

/** Objects of all PGs, written while an OSD is away. */
async function behind(sim: SimCluster, away: number, objects = 60): Promise<void> {
  sim.crash(away);
  sim.markDown(away, true);
  await sim.scheduler.run(sim.scheduler.timeMs + minuteMs, () =>
    led(sim).every(({ core }) => core.hasState(PG_ACTIVE)),
  );
  const client = new TestClient(sim);
  for (let i = 0; i < objects; i++) {
    client.aim(`o${i}`);
    const data = new Uint8Array(4096).fill(i);
    await client.exec(`o${i}`, [OsdOp.extent(OP.WRITEFULL, 0, data.length, [data])]);
  }
}

async function settles(sim: SimCluster): Promise<void> {
  await sim.scheduler.run(sim.scheduler.timeMs + 5 * minuteMs, () => sim.allClean());
  expect(sim.allClean()).toBe(true);
  for (const { osd, fatal } of sim.osds) expect([fatal, osd?.reserver.granted ?? 0]).toEqual([undefined, 0]);
}

describe.each([
  ['recovery', {}, MAP_NORECOVER, FULLNESS_FULL, PG_RECOVERY_TOOFULL],
  ['backfill', { logEntries: 2 }, MAP_NOBACKFILL, FULLNESS_BACKFILLFULL, PG_BACKFILL_TOOFULL],
] as const)('%s', (what, given, flag, fullness, tooFull) => {
  test('it does not begin while the flag is set, and begins when it is taken away', async () => {
    const sim = await cluster(given);
    await behind(sim, 2);
    sim.setFlags(flag);
    sim.start(2);
    await sim.scheduler.run(sim.scheduler.timeMs + minuteMs);
    expect(sim.allClean()).toBe(false);
    for (const { osd } of sim.osds) expect(osd!.reserver.granted).toBe(0);
    sim.setFlags(0);
    await settles(sim);
  });

  test('it stops when the flag is set, and gives its place back', async () => {
    const sim = await cluster({ ...given, osd: { recoverySleep: 0.2 } });
    await behind(sim, 2);
    sim.start(2);
    const granted = (): number => Math.max(...sim.osds.map(({ osd }) => osd!.reserver.granted));
    await sim.scheduler.run(sim.scheduler.timeMs + minuteMs, () => granted() > 0);
    expect(granted()).toBeGreaterThan(0);
    sim.setFlags(flag);
    await sim.scheduler.run(sim.scheduler.timeMs + minuteMs);
    expect([granted(), sim.allClean()]).toEqual([0, false]);
    sim.setFlags(0);
    await settles(sim);
  });

  test('a disk without room is told of, and it begins when there is room', async () => {
    const sim = await cluster(given);
    await behind(sim, 2);
    sim.setFullness(2, fullness);
    sim.start(2);
    await sim.scheduler.run(sim.scheduler.timeMs + minuteMs);
    expect(withState(sim, tooFull).length).toBeGreaterThan(0);
    expect(sim.allClean()).toBe(false);
    sim.setFullness(2, 0);
    await settles(sim);
    expect(withState(sim, tooFull)).toEqual([]);
  });

  test('one PG an OSD at a time; what an operator wants first comes first', async () => {
    const sim = await cluster({ ...given, osds: 2, osd: { recoverySleep: 0.2, maxBackfills: 1 } });
    await behind(sim, 1);
    sim.start(1);
    const waits = what === 'recovery' ? PG_RECOVERY_WAIT : PG_BACKFILL_WAIT;
    const waitingAt = (osd: number): Pg[] => withState(sim, waits).filter(({ core }) => osdOf(core.env.whoami) === osd);
    const queue = (): Pg[] => [waitingAt(0), waitingAt(1)].find(({ length }) => length >= 2) ?? [];
    await sim.scheduler.run(sim.scheduler.timeMs + minuteMs, () => queue().length > 0);
    const [, ...others] = queue().reverse();
    const [last] = queue().reverse();
    if (last === undefined) throw new Error('no OSD has two PGs that wait');
    last.force(what, true);
    const forced = what === 'recovery' ? PG_FORCED_RECOVERY : PG_FORCED_BACKFILL;
    expect(last.core.hasState(forced)).toBe(true);
    // It may have another leader in the end.
    const clean = (pg: Pg): boolean => led(sim)[pg.id.seed]?.clean === true;
    let most = 0;
    await sim.scheduler.run(sim.scheduler.timeMs + 5 * minuteMs, () => {
      most = Math.max(most, ...sim.osds.map(({ osd }) => osd!.reserver.granted));
      return clean(last);
    });
    expect(clean(last)).toBe(true);
    expect(others.filter(clean)).toEqual([]);
    expect(most).toBe(1);
    await settles(sim);
    expect(withState(sim, forced)).toEqual([]);
  });
});

test('a PG that is not degraded is not forced; a wish is taken back', async () => {
  const sim = await cluster();
  const [pg] = led(sim);
  pg!.force('recovery', true);
  expect(pg!.core.hasState(PG_FORCED_RECOVERY)).toBe(false);
  await behind(sim, 2);
  const degraded = led(sim).find(({ core }) => core.members.length === 0)!;
  degraded.stat(0);
  degraded.force('backfill', true);
  expect(degraded.core.hasState(PG_FORCED_BACKFILL)).toBe(true);
  degraded.force('backfill', false);
  expect(degraded.core.hasState(PG_FORCED_BACKFILL)).toBe(false);
  expect(degraded.core.hasState(PG_BACKFILLING)).toBe(false);
});
