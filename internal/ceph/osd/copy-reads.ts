import type { Clock, Timer } from '../../base/clock.ts';
import type { MessageCodec } from '../wire/message.ts';
import { MOSDCopyGet, type MOSDCopyGetReply } from '../wire/messages/osd_copy.ts';
import type { PushCursor } from '../wire/messages/osd_osd.ts';
import type { HObject, PgId } from '../wire/types.ts';
import type { MapView } from './map-view.ts';
import { ENOENT, ETIMEDOUT } from './ops/errno.ts';
import { leadingPg } from './shards.ts';

/** A request or its answer may be lost with an OSD, or come too early for a PG that is being made: it is sent again after that. */
const retryMs = 2000;
/** Two objects that are copied into each other at once wait for each other's lock: one of them has to give up. */
const timeoutMs = 60_000;

export type CopyPiece = Pick<MOSDCopyGetReply, 'result' | 'userVersion' | 'mtime' | 'truncateSeq' | 'truncateSize'> & {
  item: MOSDCopyGetReply['item'] | undefined;
};

interface Read {
  tid: number;
  oid: HObject;
  pg: PgId;
  from: PushCursor;
  userVersion: number;
  /** Where it was sent; -1: nowhere yet. */
  osd: number;
  resolve: (piece: CopyPiece) => void;
  retry: Timer | undefined;
  deadline: Timer;
}

export interface CopyReadsHost {
  readonly whoami: number;
  readonly clock: Clock;
  map(): MapView | undefined;
  sendOsd<T>(osd: number, codec: MessageCodec<T>, body: T): void;
  /** The source's PG is led by this OSD itself. */
  local(m: MOSDCopyGet): void;
}

const failed = (result: number): CopyPiece => ({
  result,
  userVersion: 0,
  mtime: { sec: 0, nsec: 0 },
  truncateSeq: 0,
  truncateSize: 0,
  item: undefined,
});

/** Reads of objects that are copied, at whichever OSD leads their PG; sent again when that changes. Reading twice does no harm. */
export class CopyReads {
  readonly #host: CopyReadsHost;
  readonly #reads = new Map<number, Read>();
  #nextTid = 1;

  constructor(host: CopyReadsHost) {
    this.#host = host;
  }

  /** The piece of the object that follows `from`; `userVersion`: the version that it must have, or 0. */
  read(oid: HObject, from: PushCursor, userVersion: number): Promise<CopyPiece> {
    return new Promise((resolve) => {
      const tid = this.#nextTid++;
      const deadline = this.#host.clock.after(timeoutMs, () => this.#end(tid, failed(ETIMEDOUT)));
      const pg = { pool: oid.pool, seed: 0 };
      const read: Read = { tid, oid, pg, from, userVersion, osd: -1, resolve, retry: undefined, deadline };
      this.#reads.set(tid, read);
      this.#send(read);
    });
  }

  #end(tid: number, piece: CopyPiece): void {
    const read = this.#reads.get(tid);
    if (read === undefined) return;
    this.#reads.delete(tid);
    read.retry?.cancel();
    read.deadline.cancel();
    read.resolve(piece);
  }

  #send(read: Read): void {
    const { clock, whoami } = this.#host;
    const map = this.#host.map();
    read.retry?.cancel();
    if (map === undefined) return;
    if (map.pool(read.oid.pool) === undefined) {
      this.#end(read.tid, failed(ENOENT));
      return;
    }
    read.pg = map.pgOfHash(read.oid.pool, read.oid.hash);
    read.osd = map.place(read.pg).actingPrimary;
    read.retry = clock.after(retryMs, () => this.#send(read));
    if (read.osd < 0) return;
    const { tid, oid, from, userVersion } = read;
    const pg = leadingPg(map, read.pg);
    const m: MOSDCopyGet = { pg, epoch: map.epoch, interval: map.epoch, tid, oid, from, userVersion };
    if (read.osd === whoami) this.#host.local(m);
    else this.#host.sendOsd(read.osd, MOSDCopyGet, m);
  }

  onReply(m: MOSDCopyGetReply): void {
    this.#end(m.tid, m);
  }

  /** A newer map: what is led by another OSD now is asked there. */
  onMap(): void {
    const map = this.#host.map()!;
    for (const read of [...this.#reads.values()]) {
      const pool = map.pool(read.oid.pool);
      if (pool === undefined || map.place(map.pgOfHash(pool.id, read.oid.hash)).actingPrimary !== read.osd)
        this.#send(read);
    }
  }

  stop(): void {
    for (const read of this.#reads.values()) {
      read.retry?.cancel();
      read.deadline.cancel();
    }
    this.#reads.clear();
  }
}
