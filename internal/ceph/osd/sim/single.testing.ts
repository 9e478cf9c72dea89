import { concatBytes } from '../../../base/bytes.ts';
import { utimeFromMs } from '../../wire/encoding.ts';
import {
  type MOSDOpReplyValue,
  type MOSDOpValue,
  type MWatchNotifyValue,
  OSD_FLAG_ONDISK,
} from '../../wire/messages/osd_client.ts';
import type { OsdOp } from '../../wire/messages/osd_op.ts';
import { addrV2, ENTITY_CLIENT, NO_SHARD, SNAP_HEAD } from '../../wire/types.ts';
import type { OpClient } from '../op-request.ts';
import type { Watcher } from '../watch.ts';
import { simHash, simPool } from './map.testing.ts';
import { SimCluster } from './world.testing.ts';

export interface Answer {
  result: number;
  userVersion: number;
  /** Per op. */
  rvals: number[];
  outs: Uint8Array[];
  reply: MOSDOpReplyValue;
}

/** A client that talks straight to the one OSD of a small simulated cluster. */
export class TestClient {
  readonly cluster: SimCluster;
  readonly num: number;
  readonly notifies: MWatchNotifyValue[] = [];
  readonly client: OpClient;
  #tid = 0;
  readonly #replies = new Map<number, MOSDOpReplyValue>();
  allow = true;
  /** What it has been sent and does not take from the network, unless it takes all at once. */
  unread: (() => void)[] | undefined;
  /** The OSD it talks to. */
  target = 0;
  /** The PG that it speaks of. */
  seed = 0;

  constructor(cluster: SimCluster, num = 4000) {
    this.cluster = cluster;
    this.num = num;
    const name = { type: ENTITY_CLIENT, num };
    this.client = {
      name,
      globalId: BigInt(num),
      requester: { name, addr: addrV2('10.0.0.9', 0, num), features: 0n },
      open: true,
      watching: new Set<Watcher>(),
      allowed: () => this.allow,
      sendReply: (value, tid, gone) => {
        this.#replies.set(tid, value);
        if (this.unread === undefined) gone();
        else this.unread.push(gone);
      },
      sendNotify: (value) => this.notifies.push(value),
      behind: () => undefined,
    } as OpClient;
  }

  /** What it sends now goes where this object belongs. */
  aim(oid: string): void {
    const pg = this.cluster.map.pgOfHash(simPool, simHash(oid));
    this.seed = pg.seed;
    this.target = this.cluster.map.place(pg).actingPrimary;
  }

  /** Sends ops on an object and waits for the answer. */
  async exec(oid: string, ops: OsdOp[], change: Partial<MOSDOpValue> & { tid?: number } = {}): Promise<Answer> {
    const { cluster } = this;
    const tid = change.tid ?? ++this.#tid;
    this.#tid = Math.max(this.#tid, tid);
    this.#replies.delete(tid);
    const message: MOSDOpValue = {
      pg: { pool: simPool, seed: this.seed, shard: NO_SHARD },
      hash: simHash(oid),
      epoch: cluster.map.epoch,
      flags: OSD_FLAG_ONDISK,
      requestId: { name: { type: 0, num: 0 }, tid: 0, inc: 0 },
      clientInc: 0,
      mtime: utimeFromMs(1_700_000_000_000),
      locator: { pool: simPool, key: '', nspace: '', hash: -1 },
      oid,
      ops,
      snapId: SNAP_HEAD,
      snapSeq: 0n,
      snaps: [],
      retry: 0,
      features: 0n,
      ...change,
    };
    cluster.osds[this.target]!.osd!.onClientOp(this.client, message, tid, () => undefined);
    await cluster.scheduler.run(cluster.scheduler.timeMs + 5000, () => this.#replies.has(tid));
    for (const osd of cluster.osds) if (osd.fatal !== undefined) throw osd.fatal;
    const reply = this.#replies.get(tid);
    if (reply === undefined) throw new Error(`no reply to request ${tid} on ${oid}`);
    return {
      result: reply.result,
      userVersion: reply.userVersion,
      rvals: reply.ops.map((op) => op.rval),
      outs: reply.ops.map((op) => concatBytes(op.out)),
      reply,
    };
  }
}

/** One OSD, one PG, active. */
export async function singleOsd(seed = 1, more: { replyBytes?: number } = {}): Promise<SimCluster> {
  const cluster = new SimCluster({ seed, osds: 1, size: 1, minSize: 1, pgNum: 1, ...more });
  cluster.start(0);
  await cluster.scheduler.run(20_000, () => cluster.allClean());
  return cluster;
}

/** Three OSDs with several PGs of two copies each, clean; clients have to `aim`. */
export async function severalPgs(seed = 1): Promise<{ cluster: SimCluster; client: TestClient }> {
  const cluster = new SimCluster({ seed, osds: 3, size: 2, minSize: 1, pgNum: 8 });
  for (const osd of cluster.osds) cluster.start(osd.id);
  await cluster.scheduler.run(20_000, () => cluster.allClean());
  return { cluster, client: new TestClient(cluster, 4000) };
}

/** Three OSDs, one PG on all of them, clean, and clients that talk to its primary. */
export async function threeOsds(seed = 1): Promise<{ cluster: SimCluster; clients: TestClient[] }> {
  const cluster = new SimCluster({ seed, osds: 3, size: 3, minSize: 2, pgNum: 1 });
  for (const osd of cluster.osds) cluster.start(osd.id);
  await cluster.scheduler.run(20_000, () => cluster.allClean());
  const clients = [new TestClient(cluster, 4000), new TestClient(cluster, 4001)];
  for (const client of clients) client.target = cluster.map.place({ pool: simPool, seed: 0 }).actingPrimary;
  return { cluster, clients };
}
