import { expect, test } from 'vitest';
import { cutAtWord, wrapped } from './words.ts';

test.each([
  ['one two three', 13, 'one two three'],
  ['one two three', 12, 'one two…'],
  ['one two, three', 9, 'one two…'],
  ['one two three', 8, 'one two…'],
  ['onelongword', 6, 'onelo…'],
])('%j cut at %i characters', (text, max, cut) => {
  expect(cutAtWord(text, max)).toBe(cut);
  expect(cut.length).toBeLessThanOrEqual(max);
});

test.each([
  ['one two three', 20, 'one two three'],
  ['one two three', 9, 'one two\n  three'],
  ['one two three four', 9, 'one two\n  three\n  four'],
  ['a onelongword b', 6, 'a\n  onelongword\n  b'],
  ['one two three', 0, 'one two three'],
  ['  led by space', 9, '  led by\n  space'],
])('%j in lines of %i characters', (text, max, lines) => {
  expect(wrapped(text, max)).toBe(lines);
});
