import { createHash } from 'node:crypto';
import { concatBytes } from '../../../base/bytes.ts';
import { utimeZero } from '../../wire/encoding.ts';
import {
  type MOSDOpReplyValue,
  type MOSDOpValue,
  OSD_FLAG_BALANCE_READS,
  OSD_FLAG_ONDISK,
  OSD_FLAG_READ,
} from '../../wire/messages/osd_client.ts';
import { OP, OsdOp } from '../../wire/messages/osd_op.ts';
import { addrV2, ENTITY_CLIENT, NO_SHARD, SNAP_HEAD } from '../../wire/types.ts';
import { ITEM_NONE } from '../../crush/map.ts';
import type { OpClient } from '../op-request.ts';
import { EAGAIN, ENOENT } from '../ops/errno.ts';
import type { Watcher } from '../watch.ts';
import type { SimClient } from './client.testing.ts';
import { simHash, simPool } from './map.testing.ts';
import type { SimCluster } from './world.testing.ts';

/** A state of an object, from the moment its writer began to make it until the next one was acknowledged. */
export interface WrittenState {
  digest: string | undefined;
  begunMs: number;
  acknowledgedMs: number;
}

interface SeenState {
  oid: string;
  osd: number;
  sentMs: number;
  answeredMs: number;
  digest: string | undefined;
}

export function digestOf(data: Uint8Array): string {
  return createHash('sha1').update(data).digest('hex');
}

/**
 * Reads what others write, by maps that may be old, from primaries and replicas, and remembers when it saw what: a read may give any state that was the object's at some
 * moment between question and answer, and no other.
 */
export class SimReader {
  readonly cluster: SimCluster;
  readonly num: number;
  readonly seen: SeenState[] = [];
  /** Answers of OSDs that did not lead the PG by the reader's map. */
  fromReplicas = 0;
  /** Times that a replica sent it to the primary. */
  sentOn = 0;
  stopped = false;
  /** Keeps to its map until an OSD tells it of another. */
  stubborn = false;
  epoch = 1;
  readonly #writers: readonly SimClient[];
  #tid = 0;
  readonly #pending = new Map<number, (reply: MOSDOpReplyValue) => void>();

  constructor(cluster: SimCluster, num: number, writers: readonly SimClient[]) {
    this.cluster = cluster;
    this.num = num;
    this.#writers = writers;
  }

  newMap(epoch: number): void {
    if (!this.stubborn && epoch > this.epoch && this.cluster.chance(0.5)) this.epoch = epoch;
  }

  start(): void {
    const { cluster } = this;
    cluster.scheduler.after(cluster.between(1, 40), () => {
      if (this.stopped) return;
      const writer = this.#writers[cluster.random.uint32() % this.#writers.length]!;
      const oids = [...writer.expected.keys()];
      const oid = oids[cluster.random.uint32() % oids.length]!;
      this.#read(oid, cluster.scheduler.timeMs, cluster.chance(0.6));
      this.start();
    });
  }

  #read(oid: string, sentMs: number, anyCopy: boolean): void {
    const { cluster } = this;
    const map = cluster.maps[this.epoch]!;
    const pg = map.pgOfHash(simPool, simHash(oid));
    const { acting, actingPrimary } = map.place(pg);
    const copies = acting.filter((osd) => osd !== ITEM_NONE);
    const osd = anyCopy && copies.length > 0 ? copies[cluster.random.uint32() % copies.length]! : actingPrimary;
    const target = cluster.osds[osd];
    if (target?.osd === undefined || map.states[osd]!.nonce !== target.nonce) {
      if (!this.stubborn) this.epoch = cluster.map.epoch;
      return;
    }
    const { nonce } = target;
    const tid = ++this.#tid;
    const message: MOSDOpValue = {
      pg: { ...pg, shard: NO_SHARD },
      hash: simHash(oid),
      epoch: this.epoch,
      flags: OSD_FLAG_ONDISK | OSD_FLAG_READ | (anyCopy ? OSD_FLAG_BALANCE_READS : 0),
      requestId: { name: { type: 0, num: 0 }, tid: 0, inc: 0 },
      clientInc: 0,
      mtime: utimeZero,
      locator: { pool: simPool, key: '', nspace: '', hash: -1 },
      oid,
      ops: [OsdOp.extent(OP.READ, 0, 0)],
      snapId: SNAP_HEAD,
      snapSeq: 0n,
      snaps: [],
      retry: 0,
      features: 0n,
    };
    this.#pending.set(tid, (reply) => {
      if (reply.result === EAGAIN) {
        this.sentOn++;
        this.#read(oid, sentMs, false);
        return;
      }
      if (osd !== actingPrimary) this.fromReplicas++;
      const digest =
        reply.result === ENOENT
          ? undefined
          : reply.result < 0
            ? `error ${reply.result}`
            : digestOf(concatBytes(reply.ops[0]!.out));
      this.seen.push({ oid, osd, sentMs, answeredMs: cluster.scheduler.timeMs, digest });
    });
    cluster.deliver(`r${this.num}`, `osd${osd}.${nonce}`, () => {
      if (target.osd !== undefined && target.nonce === nonce)
        target.osd.onClientOp(this.#client(`osd${osd}.${nonce}`), message, tid, () => undefined);
    });
    // Nobody answers: perhaps somebody else would.
    cluster.scheduler.after(1500, () => {
      if (this.#pending.has(tid) && !this.stubborn) this.epoch = cluster.map.epoch;
    });
  }

  #client(from: string): OpClient {
    const { cluster } = this;
    const name = { type: ENTITY_CLIENT, num: 9000 + this.num };
    return {
      name,
      globalId: BigInt(name.num),
      requester: { name, addr: addrV2('10.0.0.8', 0, this.num), features: 0n },
      open: true,
      watching: new Set<Watcher>(),
      allowed: () => true,
      sendNotify: () => undefined,
      sendReply: (reply, tid, gone) => {
        gone();
        cluster.deliver(from, `r${this.num}`, () => {
          const answered = this.#pending.get(tid);
          this.#pending.delete(tid);
          answered?.(reply);
        });
      },
      behind: () => undefined,
    } as OpClient;
  }

  /** What it saw that it must not have seen. */
  wrong(): string[] {
    const wrong: string[] = [];
    for (const { oid, osd, sentMs, answeredMs, digest } of this.seen) {
      const states = this.#writers.find((writer) => writer.expected.has(oid))!.history.get(oid) ?? [];
      const first: WrittenState = { digest: undefined, begunMs: 0, acknowledgedMs: 0 };
      const all = [first, ...states];
      const right = all.some(
        (state, i) =>
          state.digest === digest &&
          state.begunMs <= answeredMs &&
          (all[i + 1]?.acknowledgedMs ?? Number.POSITIVE_INFINITY) >= sentMs,
      );
      const when = `between ${Math.round(sentMs)} and ${Math.round(answeredMs)}`;
      const where = all.findIndex((state) => state.digest === digest);
      const was = all[where];
      const next = all[where + 1];
      const what =
        was === undefined
          ? `${digest}, which nobody wrote`
          : `what was written at ${Math.round(was.begunMs)} and overwritten by ${Math.round(next?.acknowledgedMs ?? 0)}`;
      if (!right) wrong.push(`${oid} read from osd.${osd} ${when}: ${what}`);
    }
    return wrong;
  }
}
