import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter } from './bytes.ts';

describe('bytes', () => {
  test('what was written is read again, whatever its size', () => {
    for (const capacity of [0, 16, 4096, 10_000]) {
      const w = new ByteWriter(capacity);
      w.u8(0xfe)
        .u16(0xfedc)
        .u32(0xfedc_ba98)
        .s32(-2)
        .u64(2 ** 53 - 1)
        .u64(-3)
        .u64b(-4n)
        .u64b(0xfedc_ba98_7654_3210n);
      w.f32(-1.5).f64(Math.PI);
      const at = w.size;
      w.u32(0).zeros(3).bytes(new Uint8Array(5000).fill(7)).patchU32(at, 0x8000_0001);
      const bytes = w.finish();
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      expect(view.getUint16(1, true)).toBe(0xfedc);
      expect(view.getFloat64(at - 8, true)).toBe(Math.PI);
      const r = new ByteReader(bytes);
      expect([r.u8(), r.u16(), r.u32(), r.s32(), r.u64(), r.s64()]).toEqual([
        0xfe,
        0xfedc,
        0xfedc_ba98,
        -2,
        2 ** 53 - 1,
        -3,
      ]);
      expect([r.u64b(), r.u64b()]).toEqual([2n ** 64n - 4n, 0xfedc_ba98_7654_3210n]);
      expect([r.f32(), r.f64(), r.u32()]).toEqual([-1.5, Math.PI, 0x8000_0001]);
      expect([...r.bytes(3)]).toEqual([0, 0, 0]);
      expect(r.rest().every((byte) => byte === 7)).toBe(true);
      expect(r.remaining).toBe(0);
    }
  });

  test('a result stays as it is when the next writer uses the same memory; writers that are open at once do not meet', () => {
    const first = new ByteWriter().u32(1);
    const second = new ByteWriter().u32(2);
    const one = first.finish();
    const third = new ByteWriter().u32(3).u32(4);
    expect([...one, ...second.finish(), ...third.finish()]).toEqual([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0]);
    expect(new ByteWriter().zeros(8).finish()).toEqual(new Uint8Array(8));
  });

  test('a writer that was finished takes nothing more', () => {
    const writer = new ByteWriter().u8(1);
    writer.finish();
    expect(() => writer.u8(2)).toThrow(RangeError);
    expect(() => writer.finish()).toThrow(RangeError);
  });
});
