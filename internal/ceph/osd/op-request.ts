import type { MOSDOpReplyValue, MOSDOpValue } from '../wire/messages/osd_client.ts';
import { pgText, type RequestId } from '../wire/types.ts';
import type { OpKinds } from './ops/classify.ts';
import type { Requester } from './ops/op-context.ts';
import type { HeldReply } from './reply-budget.ts';
import type { WatchClient } from './watch.ts';

/** A client's connection as PGs see it. */
export interface OpClient extends WatchClient {
  readonly requester: Requester;
  readonly open: boolean;
  /** `gone` is called once the reply takes no memory any more: sent, or never to be sent. */
  sendReply(value: MOSDOpReplyValue, tid: number, gone: () => void): void;
  /** Whether its capabilities allow this; `write` and class methods included. */
  allowed(
    pool: { name: string; applications: ReadonlyMap<string, ReadonlyMap<string, string>> },
    nspace: string,
    oid: string,
    kinds: OpKinds,
  ): boolean;
}

/** A request from its arrival to its reply. */
export class OpRequest {
  readonly client: OpClient;
  readonly message: MOSDOpValue;
  readonly tid: number;
  readonly id: RequestId;
  /** `requestKey(id)`. */
  readonly key: string;
  readonly kinds: OpKinds;
  /** Grows with arrival. */
  readonly sequence: number;
  readonly receivedMs: number;
  /** What it waits for, in words, for `dump_ops_in_flight`. */
  stage = 'queued';
  restarted = false;
  replied = false;
  /** Epoch of the map by which it was let in. */
  admittedAt = 0;
  /** Epoch of the map under which shards that it read went away. */
  shardsGoneAt = 0;
  /** Its part of the memory for replies. */
  held: HeldReply | undefined;
  readonly #finished: (reply?: MOSDOpReplyValue) => void;

  constructor(
    fields: {
      client: OpClient;
      message: MOSDOpValue;
      tid: number;
      id: RequestId;
      key: string;
      kinds: OpKinds;
      sequence: number;
      receivedMs: number;
    },
    /** `reply`: none when it is dropped. */
    finished: (reply?: MOSDOpReplyValue) => void,
  ) {
    this.client = fields.client;
    this.message = fields.message;
    this.tid = fields.tid;
    this.id = fields.id;
    this.key = fields.key;
    this.kinds = fields.kinds;
    this.sequence = fields.sequence;
    this.receivedMs = fields.receivedMs;
    this.#finished = finished;
  }

  /** It may have been carried out before: its client sent it again, or a new interval made it start over. */
  get mayRepeat(): boolean {
    return this.message.retry > 0 || this.restarted;
  }

  /** It starts over in a new interval. */
  restart(): void {
    this.stage = 'waiting for peering';
    this.restarted = true;
    this.giveBack();
  }

  /** It gives nothing back for now, and needs no memory for that. */
  giveBack(): void {
    this.held?.give();
    this.held = undefined;
  }

  /** As `ceph tell osd.0 dump_ops_in_flight` shows it. */
  describe(): string {
    return `osd_op(${this.key} ${pgText(this.message.pg)} ${this.message.oid} [${this.message.ops.map((op) => op.name).join(',')}])`;
  }

  reply(value: MOSDOpReplyValue): void {
    if (this.replied) return;
    this.replied = true;
    this.client.sendReply(value, this.tid, () => this.held?.give());
    this.#finished(value);
  }

  /** Ends it without an answer: the client will send it again, here or elsewhere. */
  drop(): void {
    if (this.replied) return;
    this.replied = true;
    this.giveBack();
    this.#finished();
  }
}
