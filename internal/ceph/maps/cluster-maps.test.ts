import { describe, expect, test } from 'vitest';
import { haveRecorded, recordedBytes, recordedLines } from '../crush/recorded.testing.ts';
import { decodeMgrMap, encodeMgrMap } from './mgrmap.ts';
import { decodeMonMap, encodeMonMap } from './monmap.ts';

interface Row {
  prefix: string;
  key: string;
  hex: string;
}

describe.skipIf(!haveRecorded)('maps kept by a real mon are read and written byte for byte', () => {
  test('MonMap', () => {
    const bytes = recordedBytes('maps/monmap.bin');
    const map = decodeMonMap(bytes);
    expect(map.mons.map(({ name }) => name)).toEqual(['a']);
    expect(Buffer.from(encodeMonMap(map)).toString('hex')).toBe(Buffer.from(bytes).toString('hex'));
  });

  test('MgrMap', () => {
    const rows = recordedLines<Row>('maps/monstore-c1.jsonl.gz').filter(
      (r) => r.prefix === 'mgr' && /^\d+$/.test(r.key),
    );
    expect(rows.length).toBeGreaterThan(10);
    for (const { hex } of rows) {
      // The stored value has the pending command descriptions behind the map.
      const map = decodeMgrMap(Buffer.from(hex, 'hex'));
      expect(hex.startsWith(Buffer.from(encodeMgrMap(map)).toString('hex'))).toBe(true);
    }
  });
});
