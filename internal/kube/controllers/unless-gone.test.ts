import { expect, test } from 'vitest';
import { conflict, notFound } from '../machinery/status.ts';
import { unlessGone } from './unless-gone.ts';

const pods = { group: '', resource: 'pods' };

test('only what has gone is undefined; a conflict only where it means replaced', async () => {
  expect(await unlessGone(Promise.resolve(1))).toBe(1);
  expect(await unlessGone(Promise.reject(notFound(pods, 'p')))).toBeUndefined();
  await expect(unlessGone(Promise.reject(conflict(pods, 'p')))).rejects.toThrow(/Operation cannot be fulfilled/);
  expect(await unlessGone(Promise.reject(conflict(pods, 'p')), { orReplaced: true })).toBeUndefined();
  await expect(unlessGone(Promise.reject(new Error('no route')), { orReplaced: true })).rejects.toThrow('no route');
});
