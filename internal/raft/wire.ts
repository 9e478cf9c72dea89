import { ByteReader, ByteWriter, DecodeError, utf8, utf8Text } from '../base/bytes.ts';
import { maxMembers, readConfiguration, writeConfiguration } from './membership.ts';
import type { NodeMessage } from './node.ts';
import type { Entry, EntryType, SnapshotMeta } from './types.ts';

/** Messages as bytes, version 1. All integers little-endian; ids, terms and indexes are 64 bits of which 53 are used. */
const formatVersion = 1;

const types: readonly NodeMessage['type'][] = [
  'pre-vote',
  'pre-vote-reply',
  'vote',
  'vote-reply',
  'append',
  'append-reply',
  'heartbeat',
  'heartbeat-reply',
  'snapshot',
  'timeout-now',
  'read-index',
  'read-index-reply',
  'propose',
  'ask',
  'ask-reply',
  'greeting',
  'removed',
];
const entryKinds: readonly EntryType[] = ['command', 'empty', 'membership'];
const maxEntries = 100_000;
const maxCodeBytes = 64;

type Of<T extends NodeMessage['type']> = Extract<NodeMessage, { type: T }>;
type Body<T extends NodeMessage['type']> = Omit<Of<T>, 'type' | 'from' | 'to' | 'term'>;

interface Codec<T extends NodeMessage['type']> {
  write(out: ByteWriter, message: Of<T>): void;
  read(from: ByteReader): Body<T>;
}

const election: Codec<'vote'> & Codec<'pre-vote'> = {
  write: (out, m) =>
    void out
      .u64(m.lastIndex)
      .u64(m.lastTerm)
      .u8(m.transfer ? 1 : 0),
  read: (r) => ({ lastIndex: r.u64(), lastTerm: r.u64(), transfer: flag(r) }),
};
const answer: Codec<'vote-reply'> & Codec<'pre-vote-reply'> = {
  write: (out, m) => void out.u8(m.granted ? 1 : 0),
  read: (r) => ({ granted: flag(r) }),
};

const codecs: { [T in NodeMessage['type']]: Codec<T> } = {
  'pre-vote': election,
  vote: election,
  'pre-vote-reply': answer,
  'vote-reply': answer,
  append: {
    write: (out, m) => {
      out.u64(m.prevIndex).u64(m.prevTerm).u64(m.commit).u32(m.entries.length);
      for (const entry of m.entries) {
        out.u8(entryKinds.indexOf(entry.type)).u64(entry.term).u32(entry.bytes);
        for (const piece of entry.data) out.bytes(piece);
      }
    },
    read: (r) => {
      const prevIndex = r.u64();
      const prevTerm = r.u64();
      const commit = r.u64();
      const count = r.u32();
      if (count > maxEntries) throw new DecodeError(`an append of ${count} entries, at most ${maxEntries}`);
      const entries: Entry[] = [];
      for (let index = prevIndex + 1; index <= prevIndex + count; index++) {
        const type = entryKinds[r.u8()];
        if (type === undefined) throw new DecodeError('an entry of unknown kind');
        const term = r.u64();
        const bytes = r.u32();
        // A copy: the buffer of the connection is used again.
        entries.push({ index, term, type, bytes, data: bytes === 0 ? skipped(r, 0) : [r.bytes(bytes).slice()] });
      }
      return { prevIndex, prevTerm, commit, entries };
    },
  },
  'append-reply': {
    write: (out, m) =>
      void out
        .u64(m.index)
        .u8(m.rejected ? 1 : 0)
        .u64(m.hintIndex)
        .u64(m.hintTerm),
    read: (r) => ({ index: r.u64(), rejected: flag(r), hintIndex: r.u64(), hintTerm: r.u64() }),
  },
  heartbeat: {
    write: (out, m) => void out.u64(m.commit).u64(m.read),
    read: (r) => ({ commit: r.u64(), read: r.u64() }),
  },
  'heartbeat-reply': { write: (out, m) => void out.u64(m.read), read: (r) => ({ read: r.u64() }) },
  snapshot: { write: (out, m) => writeSnapshotMeta(out, m.meta), read: (r) => ({ meta: readSnapshotMeta(r) }) },
  'timeout-now': { write: () => undefined, read: () => ({}) },
  'read-index': { write: (out, m) => void out.u64(m.context), read: (r) => ({ context: r.u64() }) },
  'read-index-reply': {
    write: (out, m) => void out.u64(m.context).u64(m.index),
    read: (r) => ({ context: r.u64(), index: r.u64() }),
  },
  propose: {
    write: (out, m) => {
      out.u64(m.sequence);
      for (const piece of m.data) out.bytes(piece);
    },
    read: (r) => ({ sequence: r.u64(), data: [r.rest().slice()] }),
  },
  ask: {
    write: (out, m) => void out.u64(m.context).bytes(m.data),
    read: (r) => ({ context: r.u64(), data: r.rest().slice() }),
  },
  'ask-reply': {
    write: (out, m) => {
      const code = utf8(m.code).subarray(0, maxCodeBytes);
      out.u64(m.context).u8(code.length).bytes(code).bytes(m.data);
    },
    read: (r) => {
      const context = r.u64();
      const length = r.u8();
      if (length > maxCodeBytes) throw new DecodeError(`an error code of ${length} bytes`);
      return { context, code: utf8Text(r.bytes(length)), data: r.rest().slice() };
    },
  },
  greeting: { write: () => undefined, read: () => ({}) },
  removed: { write: () => undefined, read: () => ({}) },
};

function flag(r: ByteReader): boolean {
  const value = r.u8();
  if (value > 1) throw new DecodeError(`a flag of ${value}`);
  return value === 1;
}

function skipped(r: ByteReader, bytes: number): Uint8Array[] {
  r.skip(bytes);
  return [];
}

export function writeSnapshotMeta(out: ByteWriter, { index, term, configuration }: SnapshotMeta): void {
  out.u64(index).u64(term);
  writeConfiguration(out, configuration);
}

export function readSnapshotMeta(r: ByteReader): SnapshotMeta {
  return { index: r.u64(), term: r.u64(), configuration: readConfiguration(r) };
}

/** Bytes of a snapshot's meta at most. */
export const maxSnapshotMetaBytes = 16 + 3 * (1 + 8 * maxMembers);

export function encodeMessage(message: NodeMessage): Uint8Array {
  const out = new ByteWriter(128);
  out.u8(formatVersion).u8(types.indexOf(message.type)).u64(message.from).u64(message.to).u64(message.term);
  (codecs[message.type] as Codec<NodeMessage['type']>).write(out, message as never);
  return out.finish();
}

/** DecodeError for what is no message. What it gives holds no view of `bytes`. */
export function decodeMessage(bytes: Uint8Array): NodeMessage {
  const r = new ByteReader(bytes);
  const version = r.u8();
  if (version !== formatVersion)
    throw new DecodeError(`a message of format ${version}, this version reads ${formatVersion}`);
  const type = types[r.u8()];
  if (type === undefined) throw new DecodeError('a message of unknown type');
  const envelope = { type, from: r.u64(), to: r.u64(), term: r.u64() };
  const body = codecs[type].read(r);
  if (r.remaining > 0) throw new DecodeError(`${r.remaining} bytes behind a message`);
  return { ...envelope, ...body } as NodeMessage;
}
