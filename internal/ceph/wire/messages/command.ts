import { Decoder, Encoder } from '../encoding.ts';
import type { MessageBody, MessageCodec, MessageParts } from '../message.ts';
import { decodePaxosHead, encodePaxosHead } from './mon.ts';

/** A command: one JSON object as text, as `ceph` sends it; `input` is what `-i` reads. */
export interface CommandValue {
  fsid: string;
  command: readonly string[];
  input: Uint8Array;
}

export interface CommandReplyValue {
  /** 0 or negative errno. */
  code: number;
  /** For stderr. */
  status: string;
  output: Uint8Array;
}

function body(front: Uint8Array, data: Uint8Array): MessageBody {
  return data.length > 0 ? { front, data: [data] } : { front };
}

function commandCodec(type: number, name: string, paxos: boolean): MessageCodec<CommandValue> {
  return {
    type,
    name,
    version: 1,
    compat: 1,
    encode: (m) => {
      const e = new Encoder();
      if (paxos) encodePaxosHead(e);
      e.uuid(m.fsid).list(m.command, (x, text) => x.string(text));
      return body(e.finish(), m.input);
    },
    decode: (parts: MessageParts) => {
      const d = new Decoder(parts.front);
      if (paxos) decodePaxosHead(d);
      return { fsid: d.uuid(), command: d.stringList(), input: parts.data };
    },
  };
}

function replyCodec(type: number, name: string): MessageCodec<CommandReplyValue> {
  return {
    type,
    name,
    version: 1,
    compat: 1,
    encode: (m) => body(new Encoder().s32(m.code).string(m.status).finish(), m.output),
    decode: (parts) => {
      const d = new Decoder(parts.front);
      return { code: d.s32(), status: d.string(), output: parts.data };
    },
  };
}

export const MMonCommand = commandCodec(50, 'MMonCommand', true);

/** The mon's answer repeats the command. */
export const MMonCommandAck: MessageCodec<CommandReplyValue & { command: readonly string[]; version: number }> = {
  type: 51,
  name: 'MMonCommandAck',
  version: 1,
  compat: 1,
  encode: (m) => {
    const e = new Encoder();
    encodePaxosHead(e, m.version);
    e.s32(m.code)
      .string(m.status)
      .list(m.command, (x, text) => x.string(text));
    return body(e.finish(), m.output);
  },
  decode: (parts) => {
    const d = new Decoder(parts.front);
    const version = decodePaxosHead(d);
    return { version, code: d.s32(), status: d.string(), command: d.stringList(), output: parts.data };
  },
};

/** To an OSD, MDS (`ceph tell`), or the mgr of an old client. */
export const MCommand = commandCodec(97, 'MCommand', false);
export const MCommandReply = replyCodec(98, 'MCommandReply');
/** To the mgr. */
export const MMgrCommand = commandCodec(0x709, 'MMgrCommand', false);
export const MMgrCommandReply = replyCodec(0x70a, 'MMgrCommandReply');
