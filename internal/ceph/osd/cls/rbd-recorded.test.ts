import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { Decoder, type Encoder, encoded, textFromBytes } from '../../wire/encoding.ts';
import { BANNER_BYTES, checkBanner, readMessageHeader, TAG_MESSAGE } from '../../wire/frame-format.ts';
import { FEATURES_PACIFIC } from '../../wire/features.ts';
import { FrameReader } from '../../wire/frame-reader.ts';
import { Message } from '../../wire/message.ts';
import { MOSDOp, MOSDOpReply } from '../../wire/messages/osd_client.ts';
import { OP, OP_FLAG_EXCL } from '../../wire/messages/osd_op.ts';
import { haveRecorded, recordedRoot } from '../../wire/recorded.testing.ts';
import { BitVector } from './bit-vector.ts';
import { callOn, MemoryObject } from './memory.testing.ts';
import { decodeChild, decodeParent, decodeSnapshot, encodeChild, encodeParent, encodeSnapshot } from './rbd-types.ts';

interface Timed {
  t: number;
  toServer: boolean;
  connection: string;
  message: Message;
}

/** Every message of a scenario in the order in which it was seen. */
function conversation(scenario: string): Timed[] {
  const folder = join(recordedRoot, 'wire', scenario);
  const index = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')) as { connections: { file: string }[] };
  const out: Timed[] = [];
  for (const { file } of index.connections) {
    const raw = readFileSync(join(folder, file));
    const lines = (file.endsWith('.gz') ? gunzipSync(raw) : raw).toString('utf8').split('\n');
    let t = 0;
    let toServer = true;
    const reader = (side: boolean): FrameReader =>
      new FrameReader(
        BANNER_BYTES,
        { maxFrontBytes: 64 << 20, maxDataBytes: 128 << 20 },
        {
          banner: checkBanner,
          admit: () => true,
          frame: (frame) => {
            if (frame.tag !== TAG_MESSAGE) return;
            const [header, front, middle, data] = frame.segments;
            const message = new Message(readMessageHeader(header), { front, middle, data }, FEATURES_PACIFIC);
            out.push({ t, toServer: side, connection: file, message });
          },
        },
      );
    const sides = { c2s: reader(true), s2c: reader(false) };
    for (const line of lines) {
      if (line === '') continue;
      const record = JSON.parse(line) as { dir: 'c2s' | 's2c'; t: number; hex: string };
      t = record.t;
      toServer = record.dir === 'c2s';
      sides[record.dir].feed(new Uint8Array(Buffer.from(record.hex, 'hex')));
    }
    void toServer;
  }
  return out.sort((a, b) => a.t - b.t);
}

/** Outputs that hold the time of the call or are random. */
const timed = new Set(['get_create_timestamp', 'get_access_timestamp', 'get_modify_timestamp', 'snapshot_get']);

describe.skipIf(!haveRecorded)('class calls as rbd made them on a real OSD', () => {
  const objects = new Map<string, MemoryObject>();
  const methods = new Set<string>();
  for (const scenario of [
    '09a-rbd-create',
    '09b-rbd-info',
    '09c-rbd-snap',
    '09d-rbd-clone',
    '09e-rbd-write',
    '09f-rbd-rm',
  ])
    test(scenario, async () => {
      const messages = conversation(scenario);
      const replies = new Map<string, Message>();
      for (const { toServer, connection, message } of messages)
        if (!toServer && message.type === MOSDOpReply.type) replies.set(`${connection} ${message.tid}`, message);
      let calls = 0;
      for (const { toServer, connection, message } of messages) {
        if (!toServer || message.type !== MOSDOp.type) continue;
        const request = message.decode(MOSDOp);
        const answer = replies.get(`${connection} ${message.tid}`)?.decode(MOSDOpReply);
        if (answer === undefined) continue;
        const id = `${request.pg.pool}/${request.locator.nspace}/${request.oid}`;
        const object = objects.get(id) ?? new MemoryObject();
        objects.set(id, object);
        const before = object.clone();
        // Of objects that were there before we know nothing: learn from what is answered.
        for (const [i, op] of request.ops.entries()) {
          const recorded = answer.ops[i]!;
          if (recorded.rval < 0 && op.op !== OP.CALL) break;
          if (op.op === OP.CREATE) {
            if (!(op.flags & OP_FLAG_EXCL && object.exists)) object.exists = true;
          } else if (op.op === OP.WRITEFULL) {
            object.exists = true;
            object.data = op.input.slice();
          } else if (op.op === OP.DELETE) Object.assign(object, new MemoryObject());
          else if (op.op === OP.WRITE) object.exists = true;
          if (op.op !== OP.CALL) continue;
          const name = textFromBytes(op.input.subarray(0, op.classLength));
          const method = textFromBytes(op.input.subarray(op.classLength, op.classLength + op.methodLength));
          const input = op.input.subarray(op.classLength + op.methodLength);
          // A request that only reads finds nothing without an object.
          if (!object.exists && recorded.rval === 0 && request.oid === 'rbd_directory') object.exists = true;
          const reads = request.ops.every((o) => o.op === OP.CALL);
          if (reads && !object.exists && answer.result === -2) continue;
          const got = await callOn(object, name, method, input, (ctx) => {
            ctx.time = { sec: 1700000000 + calls, nsec: 0 };
          });
          const where = `${scenario} ${request.oid} ${name}.${method}`;
          expect(got.rval, where).toBe(Math.min(recorded.rval, 0));
          if (got.rval < 0) {
            Object.assign(object, before);
            break;
          }
          const out = Buffer.concat(recorded.out.map((b) => Buffer.from(b))).toString('hex');
          if (!timed.has(method)) expect(Buffer.from(got.out).toString('hex'), where).toBe(out);
          else expect(got.out.length, where).toBe(out.length / 2);
          methods.add(`${name}.${method}`);
          calls++;
        }
      }
      expect(calls).toBeGreaterThan(0);
    });

  test('the recordings cover the methods of the story', () => {
    for (const method of ['rbd.create', 'rbd.snapshot_add', 'rbd.object_map_update', 'lock.lock', 'rbd.parent_attach'])
      expect(methods).toContain(method);
  });
});

interface Step {
  changed_or_new: Record<
    string,
    { xattrs: Record<string, string>; omap: { key: string; value: string }[]; data?: string }
  >;
}

describe.skipIf(!haveRecorded)('what rbd stores', () => {
  const again = <T>(bytes: Uint8Array, decode: (d: Decoder) => T, encode: (e: Encoder, v: T) => void): string =>
    Buffer.from(encoded((e) => encode(e, decode(new Decoder(bytes))))).toString('hex');

  test('snapshots, parents, children and object maps are written as a real OSD wrote them', () => {
    const lines = gunzipSync(readFileSync(join(recordedRoot, 'objects/rbd-steps.jsonl.gz')))
      .toString('utf8')
      .split('\n');
    let checked = 0;
    for (const line of lines) {
      if (line === '') continue;
      for (const [name, object] of Object.entries((JSON.parse(line) as Step).changed_or_new)) {
        if (name.includes('rbd_object_map') && object.data !== undefined) {
          const bytes = Buffer.from(object.data, 'hex');
          expect(Buffer.from(BitVector.decode(bytes, 1000).encode(true)).toString('hex')).toBe(object.data);
          checked++;
        }
        for (const { key, value } of object.omap) {
          const text = Buffer.from(key, 'hex').toString('utf8');
          const bytes = Buffer.from(value, 'hex');
          if (name.includes('rbd_header.') && text.startsWith('snapshot_')) {
            expect(again(bytes, decodeSnapshot, encodeSnapshot)).toBe(value);
            checked++;
          } else if (text === 'parent') {
            expect(again(bytes, decodeParent, encodeParent)).toBe(value);
            checked++;
          } else if (text.startsWith('snap_children_')) {
            const children = new Decoder(bytes).list(decodeChild, 6);
            expect(Buffer.from(encoded((e) => e.list(children, encodeChild))).toString('hex')).toBe(value);
            checked++;
          }
        }
      }
    }
    expect(checked).toBeGreaterThan(20);
  });
});
