import { beforeEach, expect, test } from 'vitest';
import { utf8, utf8Text } from '../../base/bytes.ts';
import { MSG_OSD_PG_LEASE_ACK } from '../wire/messages/osd_lease.ts';
import { OP, OsdOp } from '../wire/messages/osd_op.ts';
import { type HObject, hobjectMin, SNAP_HEAD } from '../wire/types.ts';
import { metaKey, objectKey } from './object-key.ts';
import { simHash, simPool } from './sim/map.testing.ts';
import { singleOsd, TestClient, threeOsds } from './sim/single.testing.ts';
import { SimCluster } from './sim/world.testing.ts';

/** Who is let in, and what becomes of it when maps, disks or the store change meanwhile. */

let cluster: SimCluster;
let client: TestClient;
beforeEach(async () => {
  cluster = await singleOsd();
  client = new TestClient(cluster);
});

const write = (text: string): OsdOp => OsdOp.extent(OP.WRITE, 0, utf8(text).length, [utf8(text)]);
const writeFull = (text: string): OsdOp => OsdOp.extent(OP.WRITEFULL, 0, utf8(text).length, [utf8(text)]);
const read = (): OsdOp => OsdOp.extent(OP.READ, 0, 0);
const oidOf = (name: string): HObject => ({ ...hobjectMin, name, snap: SNAP_HEAD, hash: simHash(name), pool: simPool });

test('a client on the blocklist is not served, neither with what waited from before', async () => {
  const { cluster: three, clients } = await threeOsds();
  const [one] = clients as [TestClient];
  await one.exec('x', [writeFull('first')]);
  const obc = three.osds[one.target]!.osd!.pgs.get('1.0')!.engine.contexts.get(oidOf('x'));
  // As a copy, a scrub or recovery may hold it.
  obc.lock('exclusive', () => undefined);
  const waiting = one.exec('x', [writeFull('late')]);
  three.fence(one.num);
  await three.scheduler.run(three.scheduler.timeMs + 1000);
  expect((await one.exec('y', [writeFull('new')])).result).toBe(-108);
  obc.unlock('exclusive');
  expect((await waiting).result).toBe(-108);
  expect(utf8Text((await (clients[1] as TestClient).exec('x', [read()])).outs[0]!)).toBe('first');
});

test('a write that a new map finds waiting keeps its place when the lease has run out meanwhile', async () => {
  const { cluster: three, clients } = await threeOsds();
  const [one] = clients as [TestClient];
  await one.exec('x', [writeFull('first')]);
  const { core, engine } = three.osds[one.target]!.osd!.pgs.get('1.0')!;
  const obc = engine.contexts.get(oidOf('x'));
  obc.lock('exclusive', () => undefined);
  three.dropMessage = (_from, _to, type) => type === MSG_OSD_PG_LEASE_ACK;
  const writes = [one.exec('x', [writeFull('A')])];
  three.fence(999);
  await three.scheduler.run(three.scheduler.timeMs + 1000);
  writes.push(one.exec('x', [writeFull('B')]));
  const given = writes.map((each) => each.catch(() => undefined));
  await three.scheduler.run(three.scheduler.timeMs + 60_000, () => !core.lease.readable);
  obc.unlock('exclusive');
  three.dropMessage = undefined;
  await three.scheduler.run(three.scheduler.timeMs + 20_000);
  await Promise.all(given);
  expect(utf8Text((await one.exec('x', [read()])).outs[0]!)).toBe('B');
});

test('what there is no room for is refused, and the OSD lives', async () => {
  const small = new SimCluster({ seed: 1, osds: 1, size: 1, minSize: 1, pgNum: 1, diskBytes: 16 << 20 });
  small.start(0);
  await small.scheduler.run(20_000, () => small.allClean());
  const one = new TestClient(small);
  const writeBytes = (length: number): OsdOp[] => [OsdOp.extent(OP.WRITEFULL, 0, length, [new Uint8Array(length)])];
  expect((await one.exec('a', writeBytes(12 << 20))).result).toBe(0);
  expect((await one.exec('b', writeBytes(8 << 20))).result).toBe(-28);
  expect((await one.exec('b', writeBytes(1 << 20))).result).toBe(0);
  expect((await one.exec('a', [OsdOp.make(OP.DELETE)])).result).toBe(0);
  expect((await one.exec('b', writeBytes(8 << 20))).result).toBe(0);
});

test('what describes a PG is lost in its store: the OSD does not start, and removes nothing', async () => {
  await client.exec('a', [write('kept')]);
  await cluster.scheduler.run(cluster.scheduler.timeMs + 1000);
  cluster.crash(0);
  const { store } = cluster.osds[0]!;
  void store.queue({ ops: [{ op: 'omap-remove', cid: '1.0', key: metaKey, keys: ['i'] }] });
  store.commit();
  expect(() => cluster.start(0)).toThrow('pg 1.0 is in its store without the row that describes it');
  await cluster.scheduler.run(cluster.scheduler.timeMs + 5000);
  expect(store.stat('1.0', objectKey(oidOf('a')))?.size).toBe(4);
});
