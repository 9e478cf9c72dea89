import { describe, expect, test } from 'vitest';
import { MSG_OSD_PG_LEASE_ACK } from '../../wire/messages/osd_lease.ts';
import { OSD_FLAG_BALANCE_READS, OSD_FLAG_LOCALIZE_READS, OSD_FLAG_RWORDERED } from '../../wire/messages/osd_client.ts';
import { PG_LAGGY, PG_WAIT } from '../../wire/messages/osd_mgr.ts';
import { OP, OsdOp } from '../../wire/messages/osd_op.ts';
import { MSG_OSD_REPOPREPLY } from '../../wire/messages/osd_osd.ts';
import { utf8 } from '../../../base/bytes.ts';
import { EAGAIN } from '../ops/errno.ts';
import { SimClient } from './client.testing.ts';
import { type SimOptions, simPool } from './map.testing.ts';
import { SimReader } from './reader.testing.ts';
import { TestClient, threeOsds } from './single.testing.ts';
import { noFatal, options } from './storm.testing.ts';
import { SimCluster } from './world.testing.ts';

const leaseMs = 2000;
const pg = { pool: simPool, seed: 0 };

/** A clean cluster of three OSDs with one PG, somebody who writes and somebody who reads by the map of now as long as nobody tells of another. */
async function served(given: Partial<SimOptions> = {}) {
  const cluster = new SimCluster({ ...options(given.seed ?? 1), pgNum: 1, leaseMs, ...given });
  for (const osd of cluster.osds) cluster.start(osd.id);
  await cluster.scheduler.run(20_000, () => cluster.allClean());
  const writer = new SimClient(cluster, 1, 3);
  const reader = new SimReader(cluster, 1, [writer]);
  reader.epoch = cluster.map.epoch;
  reader.stubborn = true;
  cluster.onMap = (map) => writer.newMap(map.epoch);
  writer.newMap(cluster.map.epoch);
  writer.start();
  reader.start();
  await cluster.scheduler.run(cluster.scheduler.timeMs + 2000);
  const { actingPrimary, acting } = cluster.map.place(pg);
  return { cluster, writer, reader, primary: actingPrimary, acting };
}

/** The primary is cut off, and the mon takes it for down at once. Gives what the reader saw that was overwritten. */
async function cutOff(given: Partial<SimOptions> = {}) {
  const { cluster, writer, reader, primary } = await served(given);
  const cutMs = cluster.scheduler.timeMs;
  cluster.cutOff(primary);
  cluster.markDown(primary);
  const before = writer.acknowledged;
  await cluster.scheduler.run(cutMs + 10_000);
  noFatal(cluster);
  const late = reader.seen.filter(({ osd, answeredMs }) => osd === primary && answeredMs > cutMs);
  return { cluster, reader, cutMs, late, written: writer.acknowledged - before };
}

const pgOf = (cluster: SimCluster, osd: number) => cluster.osds[osd]!.osd!.pgs.get('1.0')!;

describe('read leases', () => {
  test('a primary that is cut off answers while its lease lasts and not after it; its successor begins then, and nobody reads what was overwritten', async () => {
    const { reader, cutMs, late, written } = await cutOff();
    expect(reader.wrong()).toEqual([]);
    expect(late.length).toBeGreaterThan(0);
    expect(Math.max(...late.map(({ answeredMs }) => answeredMs))).toBeLessThan(cutMs + leaseMs + 100);
    expect(written).toBeGreaterThan(50);
  });

  for (const fault of ['stopped-clock', 'rash-mon'] as const)
    test(`a planted fault is found: ${fault}`, async () => {
      const { reader } = await cutOff({ fault });
      expect(reader.wrong().length).toBeGreaterThan(0);
    });

  for (const dead of [true, false])
    test(`a primary whose process is gone: its successor ${dead ? 'serves at once when the mon knows' : 'waits for its leases while the mon does not know'}`, async () => {
      const { cluster, writer, primary } = await served();
      const { scheduler } = cluster;
      const beganMs = scheduler.timeMs;
      cluster.crash(primary);
      cluster.markDown(primary, dead);
      let waited = false;
      const before = writer.acknowledged;
      await scheduler.run(beganMs + 10_000, () => {
        const successor = cluster.map.place(pg).actingPrimary;
        waited ||= pgOf(cluster, successor).core.hasState(PG_WAIT);
        return writer.acknowledged > before + 10;
      });
      expect(writer.acknowledged).toBeGreaterThan(before + 10);
      expect(waited).toBe(!dead);
      if (!dead) expect(scheduler.timeMs - beganMs).toBeGreaterThan(leaseMs / 4);
    });

  test('an OSD that is taken for down and lives says that it knows: its successor does not wait for the end of its leases', async () => {
    const { cluster, writer, reader, primary } = await served({ leaseMs: 60_000 });
    const { scheduler } = cluster;
    const before = writer.acknowledged;
    cluster.markDown(primary);
    await scheduler.run(scheduler.timeMs + 8000, () => writer.acknowledged > before + 50);
    expect(writer.acknowledged).toBeGreaterThan(before + 50);
    expect(reader.wrong()).toEqual([]);
  });

  test('replicas that do not acknowledge leases make the PG laggy: it answers again when they do', async () => {
    const { cluster, clients } = await threeOsds();
    const [client] = clients;
    const { scheduler } = cluster;
    await client!.exec('a', [OsdOp.extent(OP.WRITEFULL, 0, 1, [utf8('1')])]);
    const { core } = pgOf(cluster, client!.target);
    cluster.dropMessage = (_from, _to, type) => type === MSG_OSD_PG_LEASE_ACK;
    await scheduler.run(scheduler.timeMs + leaseMs + 500);
    const read = client!.exec('a', [OsdOp.extent(OP.READ, 0, 0)]);
    await scheduler.run(scheduler.timeMs + 1000);
    expect(core.hasState(PG_LAGGY)).toBe(true);
    cluster.dropMessage = undefined;
    expect((await read).outs[0]).toEqual(utf8('1'));
    expect(core.hasState(PG_LAGGY)).toBe(false);
  });

  test('an OSD that restarts has forgotten what it promised: it waits for those that may still be readable', async () => {
    const { cluster, writer, reader, primary } = await served();
    const { scheduler } = cluster;
    const cutMs = scheduler.timeMs;
    cluster.cutOff(primary);
    for (const osd of cluster.osds) if (osd.id !== primary) cluster.crash(osd.id);
    for (const osd of cluster.osds) if (osd.id !== primary) cluster.start(osd.id);
    cluster.markDown(primary);
    const before = writer.acknowledged;
    await scheduler.run(cutMs + 15_000);
    noFatal(cluster);
    expect(reader.wrong()).toEqual([]);
    expect(writer.acknowledged).toBeGreaterThan(before + 20);
  });
});

describe('reads from replicas', () => {
  test('replicas answer readers that leave the choice to us, and send those on who ask for what is being written', async () => {
    const { cluster, reader } = await served();
    const { scheduler } = cluster;
    await scheduler.run(scheduler.timeMs + 8000);
    expect(reader.fromReplicas).toBeGreaterThan(30);
    expect(reader.sentOn).toBeGreaterThan(5);
    expect(reader.wrong()).toEqual([]);
  });

  test('a replica does not show a write of which it does not know that it is on all disks, and does so when it is told', async () => {
    const { cluster, clients } = await threeOsds();
    const { scheduler } = cluster;
    const [client] = clients;
    const primary = client!.target;
    const [replica, other] = cluster.map.place(pg).acting.filter((osd) => osd !== primary);
    const asker = new TestClient(cluster, 4002);
    asker.target = replica!;
    const ask = async (flags = OSD_FLAG_BALANCE_READS, ops = [OsdOp.extent(OP.READ, 0, 0)]) =>
      asker.exec('a', ops, { flags });
    await client!.exec('a', [OsdOp.extent(OP.WRITEFULL, 0, 1, [utf8('1')])]);
    await scheduler.run(scheduler.timeMs + leaseMs * 1.3);
    expect((await ask()).outs[0]).toEqual(utf8('1'));
    expect((await ask(OSD_FLAG_LOCALIZE_READS)).outs[0]).toEqual(utf8('1'));
    expect((await ask(OSD_FLAG_BALANCE_READS | OSD_FLAG_RWORDERED)).result).toBe(EAGAIN);
    // The other replica's answer is lost: the write is on all disks, but nobody can know.
    cluster.dropMessage = (from, _to, type) => from === other && type === MSG_OSD_REPOPREPLY;
    const write = client!.exec('a', [OsdOp.extent(OP.WRITEFULL, 0, 1, [utf8('2')])]).catch((error: unknown) => error);
    await scheduler.run(scheduler.timeMs + 1000);
    expect((await ask()).result).toBe(EAGAIN);
    cluster.dropMessage = undefined;
    await write;
    cluster.markDown(other!);
    await scheduler.run(scheduler.timeMs + 20_000, () => cluster.allClean());
    // Between two renewals: what a replica is granted ends about when the next one comes.
    await scheduler.run(scheduler.timeMs + leaseMs * 0.7);
    const now = await ask();
    // It may lead now.
    expect([now.result, now.outs[0]]).toEqual([0, utf8('2')]);
  });
});
