import { utf8Text } from '../../../internal/base/bytes.ts';
import type { Mon } from '../../../internal/ceph/mon/mon.ts';
import { FEATURES_PACIFIC } from '../../../internal/ceph/wire/features.ts';
import { Message, type MessageCodec } from '../../../internal/ceph/wire/message.ts';
import { MMonCommand, MMonCommandAck } from '../../../internal/ceph/wire/messages/command.ts';
import { MMonGetVersion, MMonGetVersionReply } from '../../../internal/ceph/wire/messages/mon.ts';
import type { Connection, RawMessage } from '../../../internal/ceph/wire/messenger.ts';
import { addrV2, type EntityName } from '../../../internal/ceph/wire/types.ts';

let nextConnection = 1;

/** Somebody's connection with a mon, without a wire between. */
export class Peer {
  readonly #mon: Mon;
  readonly #connection: Connection;
  #open = true;
  #nextTid = 1;
  readonly #waiting = new Map<number, { codec: MessageCodec<unknown>; resolve(value: unknown): void }>();
  readonly #closed = Promise.withResolvers<never>();

  constructor(mon: Mon, name: EntityName) {
    this.#mon = mon;
    this.#closed.promise.catch(() => undefined);
    const receive = (raw: RawMessage): void => this.#receive(raw);
    const id = nextConnection++;
    const isOpen = (): boolean => this.#open;
    const close = (): void => this.close();
    this.#connection = {
      id,
      policy: 'stateless-server',
      accepted: true,
      peer: { type: name.type, num: id },
      identity: { name, globalId: BigInt(id), caps: 'allow *', allowAll: true },
      peerAddrs: [addrV2('10.1.0.1', 1000 + id, id)],
      remoteIp: '10.1.0.1',
      localAddr: addrV2('10.0.0.1', 3300, 0),
      features: FEATURES_PACIFIC,
      mode: 2,
      get open() {
        return isOpen();
      },
      outstandingBytes: 0,
      lastReceivedMs: 0,
      session: undefined,
      send(codec, value, options = {}) {
        const { type, version, compat } = codec;
        receive({
          type,
          version,
          compat,
          ...codec.encode(value, FEATURES_PACIFIC),
          ...(options.tid !== undefined && { tid: options.tid }),
        });
      },
      sendRaw: receive,
      drained: () => Promise.resolve(),
      keepalive: () => undefined,
      close,
    };
    mon.dispatcher.onReady?.(this.#connection);
  }

  get open(): boolean {
    return this.#open;
  }

  /** The mon is gone, or gave this session up. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#closed.reject(new Error('the session ended'));
  }

  #receive(raw: RawMessage): void {
    if (!this.#open) return;
    const waiting = this.#waiting.get(raw.tid ?? 0);
    if (waiting === undefined || waiting.codec.type !== raw.type) return;
    this.#waiting.delete(raw.tid ?? 0);
    waiting.resolve(this.#message(raw).decode(waiting.codec));
  }

  #message({ type, version, compat, tid = 0, front, middle, data }: RawMessage): Message {
    const header = { type, version, compat, seq: 0, tid, priority: 0 };
    return new Message(
      header,
      { front, ...(middle && { middle }), ...(data?.[0] && { data: Buffer.concat(data) }) },
      FEATURES_PACIFIC,
    );
  }

  /** Rejects when the session ends before there is an answer. */
  async ask<T, R>(codec: MessageCodec<T>, value: T, reply: MessageCodec<R>): Promise<R> {
    const tid = this.#nextTid++;
    const { type, version, compat } = codec;
    const answer = new Promise<R>((resolve) =>
      this.#waiting.set(tid, { codec: reply as MessageCodec<unknown>, resolve: resolve as (value: unknown) => void }),
    );
    const message = this.#message({ type, version, compat, ...codec.encode(value, FEATURES_PACIFIC), tid });
    const handled = this.#mon.dispatcher.onMessage(this.#connection, message);
    // What a handler throws ends the session.
    if (handled instanceof Promise) handled.catch(() => this.close());
    return Promise.race([answer, this.#closed.promise]);
  }

  async command(command: Record<string, unknown>): Promise<{ code: number; status: string; output: string }> {
    const ack = await this.ask(
      MMonCommand,
      { fsid: this.#mon.state.fsid, command: [JSON.stringify(command)], input: new Uint8Array(0) },
      MMonCommandAck,
    );
    return { code: ack.code, status: ack.status, output: utf8Text(ack.output) };
  }

  async osdmapVersion(): Promise<number> {
    return (await this.ask(MMonGetVersion, { handle: 1, what: 'osdmap' }, MMonGetVersionReply)).version;
  }
}
