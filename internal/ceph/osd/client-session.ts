import type { Logger } from '../../base/log.ts';
import { OsdCap } from '../auth/osd-cap.ts';
import {
  type MOSDOpReplyValue,
  MOSDOpReply,
  MWatchNotify,
  type MWatchNotifyValue,
} from '../wire/messages/osd_client.ts';
import type { Connection } from '../wire/messenger.ts';
import { blankAddr, type EntityNum } from '../wire/types.ts';
import type { OpClient } from './op-request.ts';
import type { OpKinds } from './ops/classify.ts';
import type { Requester } from './ops/op-context.ts';
import type { Watcher } from './watch.ts';

/** A client's connection with what it may do and what it watches. */
export class ClientSession implements OpClient {
  readonly connection: Connection;
  readonly requester: Requester;
  readonly watching = new Set<Watcher>();
  readonly #cap: OsdCap;
  readonly #all: boolean;
  /** Newest map sent to it. */
  sharedEpoch = 0;
  /** Of replies that the kernel has not taken. */
  readonly #unsent = new Set<() => void>();

  readonly #recycle: (bytes: Uint8Array) => void;

  /** `recycle` gets payloads of replies that are sent. */
  constructor(connection: Connection, log: Logger, recycle: (bytes: Uint8Array) => void) {
    this.connection = connection;
    this.#recycle = recycle;
    const addr = connection.peerAddrs[0] ?? blankAddr;
    this.requester = { name: connection.peer, addr, features: connection.features };
    const { identity } = connection;
    let cap = OsdCap.none;
    if (identity?.allowAll) cap = OsdCap.all;
    else if (identity !== undefined) {
      try {
        cap = OsdCap.parse(identity.caps);
      } catch (error) {
        log.warn('capabilities of a client cannot be read: it may do nothing', { caps: identity.caps, error });
      }
    }
    this.#cap = cap;
    this.#all = cap.allowAll;
  }

  get name(): EntityNum {
    return this.connection.peer;
  }
  get globalId(): bigint {
    return BigInt(this.connection.peer.num);
  }
  get open(): boolean {
    return this.connection.open;
  }
  /** Everything everywhere, as the admin may. */
  get privileged(): boolean {
    return this.#all;
  }

  sendReply(value: MOSDOpReplyValue, tid: number, gone: () => void): void {
    if (!this.open) {
      gone();
      return;
    }
    const sent = (): void => {
      this.#unsent.delete(gone);
      gone();
      for (const { out } of value.ops) for (const piece of out) this.#recycle(piece);
    };
    this.#unsent.add(gone);
    this.connection.send(MOSDOpReply, value, { tid, sent });
  }

  /** The connection is gone, and with it what was not sent. */
  closed(): void {
    const unsent = [...this.#unsent];
    this.#unsent.clear();
    for (const gone of unsent) gone();
  }

  sendNotify(value: MWatchNotifyValue): void {
    this.connection.send(MWatchNotify, value);
  }

  allowed(
    pool: { name: string; applications: ReadonlyMap<string, ReadonlyMap<string, string>> },
    nspace: string,
    object: string,
    kinds: OpKinds,
  ): boolean {
    if (this.#all) return true;
    return this.#cap.allows({
      pool: pool.name,
      nspace,
      applications: pool.applications,
      object,
      read: kinds.needsRead,
      write: kinds.needsWrite,
      calls: (kinds.classes ?? []).map((call) => ({
        className: call.name,
        methodName: call.method,
        read: call.read,
        write: call.write,
        allowed: true,
      })),
      ip: this.connection.remoteIp,
    });
  }
}
