import { DecodeError, emptyBytes } from '../../base/bytes.ts';
import { Decoder, Encoder } from './encoding.ts';

/** What a message's encoder gives: its segments. `data` travels as views and is never copied: it must not change until it is sent. */
export interface MessageBody {
  front: Uint8Array;
  middle?: Uint8Array;
  data?: readonly Uint8Array[];
  /** Where this value is written in another version than the codec's newest. */
  version?: number;
  compat?: number;
}

/**
 * One message type. `encode` picks the form that a peer with `features` reads; `decode` reads every version that Nautilus and later write and
 * throws DecodeError on anything else.
 */
export interface MessageCodec<T> {
  /** `CEPH_MSG_*` / `MSG_*` of `src/msg/Message.h`. */
  readonly type: number;
  readonly name: string;
  readonly version: number;
  readonly compat: number;
  encode(value: T, features: bigint): MessageBody;
  decode(message: MessageParts): T;
}

/** A received message's segments, checked against their checksums: views of memory that nobody changes. */
export interface MessageParts {
  readonly version: number;
  readonly compat: number;
  readonly front: Uint8Array;
  readonly middle: Uint8Array;
  /** Handing out views of it is free. */
  readonly data: Uint8Array;
  /** Negotiated features of the connection. */
  readonly features: bigint;
}

/** A received message. */
export class Message implements MessageParts {
  readonly type: number;
  readonly version: number;
  readonly compat: number;
  /** Number in the connection's stream. */
  readonly seq: number;
  /** The request's transaction id: a reply carries the same. */
  readonly tid: number;
  readonly priority: number;
  readonly front: Uint8Array;
  readonly middle: Uint8Array;
  readonly data: Uint8Array;
  readonly features: bigint;

  constructor(
    header: { type: number; version: number; compat: number; seq: number; tid: number; priority: number },
    segments: { front: Uint8Array; middle?: Uint8Array; data?: Uint8Array },
    features: bigint,
  ) {
    this.type = header.type;
    this.version = header.version;
    this.compat = header.compat;
    this.seq = header.seq;
    this.tid = header.tid;
    this.priority = header.priority;
    this.front = segments.front;
    this.middle = segments.middle ?? emptyBytes;
    this.data = segments.data ?? emptyBytes;
    this.features = features;
  }

  /** Bytes it holds in memory. */
  get byteLength(): number {
    return this.front.length + this.middle.length + this.data.length;
  }

  /** The value, or DecodeError: also when the type is another or only a newer reader may read it. */
  decode<T>(codec: MessageCodec<T>): T {
    if (this.type !== codec.type) throw new DecodeError(`message type ${this.type} is not ${codec.name}`);
    if (this.compat > codec.version)
      throw new DecodeError(`${codec.name}: needs version ${this.compat}, this reader knows ${codec.version}`);
    return codec.decode(this);
  }
}

/** Helps to write a codec whose body is the front segment only. */
export function frontCodec<T>(
  spec: { type: number; name: string; version: number; compat: number },
  encode: (e: Encoder, value: T, features: bigint) => void,
  decode: (d: Decoder, version: number, parts: MessageParts) => T,
): MessageCodec<T> {
  return {
    ...spec,
    encode: (value, features) => {
      const e = new Encoder(128);
      encode(e, value, features);
      return { front: e.finish() };
    },
    decode: (parts) => decode(new Decoder(parts.front), parts.version, parts),
  };
}

/** A message type that a peer may send, with what happens then. */
export type MessageHandler<C, T> = (connection: C, value: T, message: Message) => void | Promise<void>;

/** Message type to handler: the one way in which a role registers what it answers. */
export class MessageHandlers<C> {
  readonly #byType = new Map<number, { codec: MessageCodec<unknown>; handler: MessageHandler<C, never> }>();

  on<T>(codec: MessageCodec<T>, handler: MessageHandler<C, T>): this {
    this.#byType.set(codec.type, {
      codec: codec as MessageCodec<unknown>,
      handler: handler as MessageHandler<C, never>,
    });
    return this;
  }

  has(type: number): boolean {
    return this.#byType.has(type);
  }

  /** What a person sees of a message: its name and number. */
  describe({ tid, type }: Message): string {
    return `${this.#byType.get(type)?.codec.name ?? type}(tid ${tid})`;
  }

  /** Undefined when the type has no handler; throws DecodeError on a bad body. */
  dispatch(connection: C, message: Message): true | Promise<void> | undefined {
    const entry = this.#byType.get(message.type);
    if (entry === undefined) return undefined;
    const result = entry.handler(connection, message.decode(entry.codec) as never, message);
    return result ?? true;
  }
}
