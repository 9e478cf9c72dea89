import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { FEATURES_PACIFIC } from './features.ts';
import { BANNER_BYTES, checkBanner, readMessageHeader, TAG_MESSAGE } from './frame-format.ts';
import { FrameReader } from './frame-reader.ts';
import { Message } from './message.ts';

/** Recorded conversations of real Ceph 16.2.15 programs; tests skip when they are not there. */
export const recordedRoot = resolve(import.meta.dirname, '../../../../shared/data/ceph-16.2.15');
export const haveRecorded = existsSync(join(recordedRoot, 'wire'));

export interface RecordedConnection {
  scenario: string;
  file: string;
  /** Bytes of each direction, whole. */
  c2s: Uint8Array;
  s2c: Uint8Array;
  /** Segments in the order in which they were seen. */
  pieces: { dir: 'c2s' | 's2c'; bytes: Uint8Array }[];
  complete: boolean;
}

export function recordedScenarios(): string[] {
  return readdirSync(join(recordedRoot, 'wire'))
    .filter((name) => /^\d\d/.test(name))
    .sort();
}

export function recordedConnections(scenario: string): RecordedConnection[] {
  const folder = join(recordedRoot, 'wire', scenario);
  const index = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')) as {
    connections: { file: string; frames_ok: { c2s: boolean; s2c: boolean } }[];
  };
  return index.connections.map((entry) => {
    const raw = readFileSync(join(folder, entry.file));
    const text = (entry.file.endsWith('.gz') ? gunzipSync(raw) : raw).toString('utf8');
    const pieces = text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const record = JSON.parse(line) as { dir: 'c2s' | 's2c'; hex: string };
        return { dir: record.dir, bytes: new Uint8Array(Buffer.from(record.hex, 'hex')) };
      });
    const join1 = (dir: string): Uint8Array =>
      new Uint8Array(Buffer.concat(pieces.filter((p) => p.dir === dir).map((p) => p.bytes)));
    return {
      scenario,
      file: entry.file,
      c2s: join1('c2s'),
      s2c: join1('s2c'),
      pieces,
      complete: entry.frames_ok.c2s && entry.frames_ok.s2c,
    };
  });
}

/** The messages of a scenario, connection by connection, those to the server first. */
export function recordedMessages(scenario: string): Message[] {
  const found: Message[] = [];
  for (const { c2s, s2c } of recordedConnections(scenario))
    for (const stream of [c2s, s2c]) {
      const limits = { maxFrontBytes: 1 << 26, maxDataBytes: 1 << 26 };
      const reader = new FrameReader(BANNER_BYTES, limits, {
        banner: checkBanner,
        admit: () => true,
        frame: ({ tag, segments: [header, front, middle, data] }) => {
          if (tag === TAG_MESSAGE)
            found.push(new Message(readMessageHeader(header), { front, middle, data }, FEATURES_PACIFIC));
        },
      });
      reader.feed(stream);
    }
  return found;
}
