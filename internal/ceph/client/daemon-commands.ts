import type { Clock, Timer } from '../../base/clock.ts';
import { AppError } from '../../base/errors.ts';
import { decodeMgrMap } from '../maps/mgrmap.ts';
import type { Message, MessageCodec } from '../wire/message.ts';
import {
  type CommandReplyValue,
  type CommandValue,
  MCommand,
  MCommandReply,
  MMgrCommand,
  MMgrCommandReply,
} from '../wire/messages/command.ts';
import { MMgrMap } from '../wire/messages/mgr.ts';
import type { Connection, Messenger } from '../wire/messenger.ts';
import { ENTITY_MGR, ENTITY_OSD, type EntityAddrVec, sameAddrs } from '../wire/types.ts';
import type { CommandResult, MonClient } from './api.ts';

interface Pending {
  connection: Connection;
  reply: MessageCodec<CommandReplyValue>;
  resolve(result: CommandResult): void;
  reject(error: Error): void;
  timer: Timer;
}

/** Commands to the active mgr and to OSDs (`ceph tell`). */
export class DaemonCommands {
  readonly #mon: MonClient;
  readonly #messenger: Messenger;
  readonly #clock: Clock;
  readonly #pending = new Map<number, Pending>();
  #nextTid = 1;
  #mgrAddrs: EntityAddrVec = [];
  #mgrWaiters: (() => void)[] = [];
  #mgr: Connection | undefined;
  #subscribed = false;

  constructor(mon: MonClient, clock: Clock) {
    this.#mon = mon;
    this.#messenger = mon.messenger;
    this.#clock = clock;
    mon.on(MMgrMap, ({ map }) => this.#onMgrMap(map));
  }

  #onMgrMap(bytes: Uint8Array): void {
    const map = decodeMgrMap(bytes);
    this.#mon.got('mgrmap', map.epoch);
    this.#mgrAddrs = map.available ? map.activeAddrs : [];
    // Whoever waits for one that is gone is told so now, not when its connection breaks.
    if (this.#mgr !== undefined && !sameAddrs(this.#mgr.peerAddrs, this.#mgrAddrs)) {
      const gone = this.#mgr;
      gone.close();
      this.onClose(gone, 'another mgr is active');
    }
    if (this.#mgrAddrs.length === 0) return;
    for (const wake of this.#mgrWaiters.splice(0)) wake();
  }

  async mgr(command: Record<string, unknown>, input?: Uint8Array, timeoutMs = 60_000): Promise<CommandResult> {
    if (!this.#subscribed) {
      this.#subscribed = true;
      this.#mon.subscribe('mgrmap', 0);
    }
    if (this.#mgrAddrs.length === 0) {
      await new Promise<void>((resolve, reject) => {
        const timer = this.#clock.after(timeoutMs, () =>
          reject(new AppError('NO_MGR', 'no mgr is active', { hint: 'see `ceph mgr stat`' })),
        );
        this.#mgrWaiters.push(() => {
          timer.cancel();
          resolve();
        });
      });
    }
    if (this.#mgr === undefined || !this.#mgr.open)
      this.#mgr = this.#messenger.connect(ENTITY_MGR, this.#mgrAddrs, 'lossy-client');
    return this.#send(this.#mgr, MMgrCommand, MMgrCommandReply, command, input, timeoutMs);
  }

  async osd(
    addrs: EntityAddrVec,
    command: Record<string, unknown>,
    input?: Uint8Array,
    timeoutMs = 60_000,
  ): Promise<CommandResult> {
    const connection = this.#messenger.connect(ENTITY_OSD, addrs, 'lossy-client');
    try {
      return await this.#send(connection, MCommand, MCommandReply, command, input, timeoutMs);
    } finally {
      connection.close();
    }
  }

  #send(
    connection: Connection,
    codec: MessageCodec<CommandValue>,
    reply: MessageCodec<CommandReplyValue>,
    command: Record<string, unknown>,
    input: Uint8Array | undefined,
    timeoutMs: number,
  ): Promise<CommandResult> {
    const tid = this.#nextTid++;
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(timeoutMs, () => {
        this.#pending.delete(tid);
        reject(new AppError('TIMEOUT', `no answer to the command "${String(command.prefix)}"`));
      });
      this.#pending.set(tid, { connection, reply, resolve, reject, timer });
      const value = { fsid: this.#mon.fsid, command: [JSON.stringify(command)], input: input ?? new Uint8Array(0) };
      connection.send(codec, value, { tid });
    });
  }

  /** True when the message was an answer to one of ours. */
  handle(message: Message): boolean {
    const pending = this.#pending.get(message.tid);
    if (pending === undefined || pending.reply.type !== message.type) return false;
    this.#pending.delete(message.tid);
    pending.timer.cancel();
    pending.resolve(message.decode(pending.reply));
    return true;
  }

  onClose(connection: Connection, reason: string): void {
    if (this.#mgr === connection) this.#mgr = undefined;
    for (const [tid, pending] of this.#pending)
      if (pending.connection === connection) {
        this.#pending.delete(tid);
        pending.timer.cancel();
        pending.reject(new AppError('CONNECTION', `the connection was lost before the answer: ${reason}`));
      }
  }

  close(): void {
    for (const pending of this.#pending.values()) {
      pending.timer.cancel();
      pending.reject(new AppError('CLOSED', 'the RADOS client was closed'));
    }
    this.#pending.clear();
  }
}
