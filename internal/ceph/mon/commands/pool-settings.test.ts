import { expect, test } from 'vitest';
import { OsdMap } from '../../maps/osdmap.ts';
import { newPool, POOL_EIO } from '../../maps/pool.ts';
import { getSetting, type SettingContext, setSetting } from './pool-settings.ts';

test('eio: set, shown, taken back; shown nowhere before', () => {
  const map = new OsdMap();
  const context = { map, id: 1, name: 'p' } as SettingContext;
  const plain = newPool({ type: 1, size: 3, minSize: 2, crushRule: 0 });
  const failing = setSetting(plain, 'eio', 'true', context);
  expect(failing.flags & POOL_EIO).not.toBe(0);
  expect(getSetting(failing, 'p', 'eio', map).text).toBe('true');
  expect(setSetting(failing, 'eio', '0', context).flags & POOL_EIO).toBe(0);
  expect(() => getSetting(plain, 'p', 'eio', map)).toThrow("option 'eio' is not set on pool 'p'");
  expect(() => setSetting(plain, 'eio', 'maybe', context)).toThrow('expecting value');
});
