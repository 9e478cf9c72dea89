import { describe, expect, test } from 'vitest';
import { ByteWriter } from '../../base/bytes.ts';
import { newCollection } from './index-rows.ts';
import { Onode } from './onode.ts';
import { RecordWriter } from './record-writer.ts';

const collection = newCollection('1.0', 1);

function made(): Onode {
  const onode = new Onode(collection, 'name', 1, 1);
  onode.size = 5000;
  onode.omapId = 7;
  onode.omapHeader = Uint8Array.of(1, 2, 3);
  onode.xattrs.set('oi', Uint8Array.of(9, 9));
  onode.table.set(0, 17, 0x1234, 0);
  onode.table.set(1, 18, 0x5678, 3);
  return onode;
}
const facts = (onode: Onode): unknown => [
  onode.size,
  onode.omapId,
  [...onode.omapHeader],
  [...onode.xattrs].map(([name, value]) => [name, [...value]]),
  onode.gaps,
  [0, 1].map((block) => [onode.table.physical(block), onode.table.crc(block), onode.table.share(block)]),
];

describe("an object's row", () => {
  test('what is written is read', () => {
    const row = made().encode(new RecordWriter());
    expect(facts(Onode.decode(collection, 'name', 1, 0, row))).toEqual(facts(made()));
  });

  test('gaps make it a row of format 4, and only they', () => {
    const onode = made();
    expect(onode.encode(new RecordWriter())[0]).toBe(2);
    onode.gaps = [10, 20, 4100, 4200];
    const row = onode.encode(new RecordWriter());
    expect(row[0]).toBe(4);
    expect(facts(Onode.decode(collection, 'name', 1, 0, row))).toEqual(facts(onode));
    expect(onode.storedBytes).toBe(5000 - 110);
  });

  test('every wrong bit is noticed, and the row of another object', () => {
    const row = made().encode(new RecordWriter());
    for (let bit = 0; bit < row.length * 8; bit++) {
      const wrong = row.slice();
      wrong[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => Onode.decode(collection, 'name', 1, 0, wrong), `bit ${bit}`).toThrow();
    }
    expect(() => Onode.decode(collection, 'other', 1, 0, row)).toThrow('wrong checksum');
  });

  test('a row of format 1, which has no checksum, is read', () => {
    const writer = new ByteWriter(64);
    writer
      .u8(1)
      .u64(5000)
      .u64(7)
      .u32(3)
      .bytes(Uint8Array.of(1, 2, 3))
      .u16(1);
    writer.u16(2).bytes(Buffer.from('oi')).u32(2).bytes(Uint8Array.of(9, 9));
    made().table.encode(writer);
    expect(facts(Onode.decode(collection, 'name', 1, 0, writer.finish()))).toEqual(facts(made()));
  });
});
