import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import { compareHObject, type HObject, hobjectMax, hobjectMin, SNAP_HEAD } from '../wire/types.ts';
import { objectId, objectKey, objectOfKey } from './object-key.ts';

const random = seededRandom(7);
const pick = <T>(list: readonly T[]): T => list[random.uint32() % list.length]!;
const names = ['a', 'b', 'ab', 'a\0', 'a\0b', 'a\u0001', 'é', '\u{1f600}', '\ufffd', 'rbd_data.1.0000'];

function randomObject(): HObject {
  const name = pick(names);
  const key = pick(['', '', 'b', 'a', 'k\0']);
  return {
    key: key === name ? '' : key,
    name,
    snap: pick([SNAP_HEAD, 1n, 4n, 2n ** 40n]),
    hash: pick([0, 1, 2, 0x80000000, 0xdeadbeef]),
    max: false,
    nspace: pick(['', '', 'ns', 'n']),
    pool: 3,
  };
}

describe('object keys', () => {
  test('sort bytewise as hobject_t does, and read back', () => {
    const objects = Array.from({ length: 400 }, randomObject);
    for (const o of objects) expect(objectOfKey(objectKey(o), 3)).toEqual(o);
    for (let i = 0; i + 1 < objects.length; i++) {
      const [a, b] = [objects[i]!, objects[i + 1]!];
      expect(Math.sign(Buffer.compare(objectKey(a), objectKey(b)))).toBe(Math.sign(compareHObject(a, b)));
      expect(objectId(a) === objectId(b)).toBe(compareHObject({ ...a, hash: 0 }, { ...b, hash: 0 }) === 0);
    }
  });

  test('min and max enclose every object', () => {
    const o = objectKey({ key: '', name: 'x', snap: SNAP_HEAD, hash: 0xffffffff, max: false, nspace: '', pool: 3 });
    expect(Buffer.compare(objectKey(hobjectMin), o)).toBeLessThan(0);
    expect(Buffer.compare(objectKey(hobjectMax), o)).toBeGreaterThan(0);
    expect(objectOfKey(objectKey(hobjectMax), 3)).toEqual(hobjectMax);
    expect(objectOfKey(objectKey(hobjectMin), 3)).toEqual(hobjectMin);
  });
});
