import { describe, expect, test } from 'vitest';
import { BANNER_BYTES, checkBanner, type Frame, readMessageHeader, TAG_MESSAGE } from './frame-format.ts';
import { FEATURES_PACIFIC } from './features.ts';
import { FrameReader } from './frame-reader.ts';
import { Message, type MessageCodec } from './message.ts';
import * as command from './messages/command.ts';
import * as fs from './messages/fs.ts';
import * as log from './messages/log.ts';
import * as mgr from './messages/mgr.ts';
import * as mon from './messages/mon.ts';
import * as stats from './messages/mon_stats.ts';
import * as osd from './messages/osd_client.ts';
import { haveRecorded, recordedConnections, recordedScenarios } from './recorded.testing.ts';

const codecs = new Map<number, MessageCodec<unknown>>();
for (const family of [command, fs, log, mgr, mon, stats, osd])
  for (const value of Object.values(family))
    if (typeof value === 'object' && value !== null && 'encode' in value && 'type' in value)
      codecs.set((value as MessageCodec<unknown>).type, value as MessageCodec<unknown>);

function messagesOf(stream: Uint8Array): Message[] {
  const frames: Frame[] = [];
  const reader = new FrameReader(
    BANNER_BYTES,
    { maxFrontBytes: 64 << 20, maxDataBytes: 128 << 20 },
    { banner: checkBanner, admit: () => true, frame: (frame) => frames.push(frame) },
  );
  reader.feed(stream);
  return frames
    .filter((f) => f.tag === TAG_MESSAGE)
    .map(
      (f) =>
        new Message(
          readMessageHeader(f.segments[0]),
          { front: f.segments[1], middle: f.segments[2], data: f.segments[3] },
          FEATURES_PACIFIC,
        ),
    );
}

describe.skipIf(!haveRecorded)('messages of recorded conversations', () => {
  const seen = new Map<string, number>();
  for (const scenario of haveRecorded ? recordedScenarios().filter((s) => !s.startsWith('02')) : [])
    test(`${scenario}: every message with a codec is read, and written again byte for byte`, () => {
      for (const connection of recordedConnections(scenario))
        for (const stream of [connection.c2s, connection.s2c])
          for (const message of messagesOf(stream)) {
            const codec = codecs.get(message.type);
            if (codec === undefined) continue;
            const where = `${connection.file} ${codec.name} seq ${message.seq}`;
            const again = codec.encode(message.decode(codec), FEATURES_PACIFIC);
            expect(Buffer.from(again.front).toString('hex'), where).toBe(Buffer.from(message.front).toString('hex'));
            expect(Buffer.concat(again.data ?? []).equals(message.data), `${where} data`).toBe(true);
            seen.set(codec.name, (seen.get(codec.name) ?? 0) + 1);
          }
    });
  test('the recordings cover the families', () => {
    expect(seen.get('MOSDOp')).toBeGreaterThan(500);
    for (const name of [
      'MOSDOpReply',
      'MOSDMap',
      'MMonCommandAck',
      'MWatchNotify',
      'MPoolOpReply',
      'MAuth',
      'MLog',
      'MMgrReport',
    ])
      expect(seen.get(name), name).toBeGreaterThan(0);
  });
});
