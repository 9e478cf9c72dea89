import { describe, expect, test } from 'vitest';
import { bytesEqual, DecodeError } from '../../base/bytes.ts';
import { encodeCrushMap } from '../crush/codec.ts';
import { haveRecorded, recordedLines } from '../crush/recorded.testing.ts';
import { applyIncremental } from './apply.ts';
import { decodeIncremental, encodeIncremental } from './incremental-codec.ts';
import { OsdMap } from './osdmap.ts';
import { decodeOsdMap, encodeOsdMap } from './osdmap-codec.ts';

interface Recorded {
  epoch: number;
  kind: 'full' | 'inc';
  hex: string;
}

const histories = ['w1', 'c1'];

describe.skipIf(!haveRecorded)('OSDMap', () => {
  for (const name of histories) {
    const lines = haveRecorded ? recordedLines<Recorded>(`maps/osdmap-${name}/all-epochs.jsonl.gz`) : [];

    test(`${name}: every full map decodes and encodes to the same bytes, the CRUSH map in it too`, () => {
      for (const { epoch, kind, hex } of lines) {
        if (kind !== 'full') continue;
        const bytes = Buffer.from(hex, 'hex');
        const map = decodeOsdMap(bytes);
        expect(map.epoch).toBe(epoch);
        const again = encodeOsdMap(map);
        if (!bytesEqual(again, bytes)) expect([epoch, Buffer.from(again).toString('hex')]).toEqual([epoch, hex]);
        expect(bytesEqual(encodeCrushMap(map.crush), map.crushBytes)).toBe(true);
      }
    });

    test(`${name}: every incremental decodes and encodes to the same bytes`, () => {
      for (const { epoch, kind, hex } of lines) {
        if (kind !== 'inc') continue;
        const again = encodeIncremental(decodeIncremental(Buffer.from(hex, 'hex')));
        if (Buffer.from(again).toString('hex') !== hex)
          expect([epoch, Buffer.from(again).toString('hex')]).toEqual([epoch, hex]);
      }
    });

    test(`${name}: full(N-1) + inc(N) is full(N) byte for byte`, () => {
      const full = new Map(lines.filter((l) => l.kind === 'full').map((l) => [l.epoch, l.hex]));
      let checked = 0;
      for (const { epoch, kind, hex } of lines) {
        if (kind !== 'inc') continue;
        const before = epoch === 1 ? new OsdMap() : decodeOsdMap(Buffer.from(full.get(epoch - 1)!, 'hex'));
        const inc = decodeIncremental(Buffer.from(hex, 'hex'));
        const next = applyIncremental(before, inc);
        const bytes = Buffer.from(encodeOsdMap(next)).toString('hex');
        if (bytes !== full.get(epoch)) expect([epoch, bytes]).toEqual([epoch, full.get(epoch)]);
        expect(next.crc).toBe(epoch === 1 ? next.crc : inc.fullCrc);
        checked++;
      }
      expect(checked).toBeGreaterThan(100);
    });

    test(`${name}: damaged maps are DecodeErrors`, () => {
      for (const { epoch, kind, hex } of lines) {
        if (epoch % 40 !== 0) continue;
        const bytes = Buffer.from(hex, 'hex');
        const decode = kind === 'full' ? decodeOsdMap : decodeIncremental;
        for (let i = 0; i < bytes.length; i += 3) {
          const copy = Uint8Array.from(bytes);
          copy[i]! ^= 0xff;
          expect(() => decode(copy)).toThrow(DecodeError);
          expect(() => decode(bytes.subarray(0, i))).toThrow(DecodeError);
        }
      }
    });
  }
});
