import { expect, test } from 'vitest';
import { InTurn } from './in-turn.ts';

test('one after another for a key, beside one another for two; a failure keeps nothing back, and nothing is remembered', async () => {
  const turns = new InTurn();
  const seen: string[] = [];
  const gates = { a1: Promise.withResolvers<void>(), b1: Promise.withResolvers<void>() };
  const work = (name: string, gate?: Promise<void>) => async (): Promise<string> => {
    seen.push(`${name} begins`);
    await gate;
    seen.push(`${name} ends`);
    return name;
  };
  const all = [
    turns.run('a', work('a1', gates.a1.promise)),
    turns.run('a', async () => Promise.reject(new Error('a2'))),
    turns.run('a', work('a3')),
    turns.run('b', work('b1', gates.b1.promise)),
  ];
  const results = Promise.allSettled(all);
  gates.b1.resolve();
  await all[3];
  expect(seen).toEqual(['a1 begins', 'b1 begins', 'b1 ends']);
  gates.a1.resolve();
  expect((await results).map((one) => (one.status === 'fulfilled' ? one.value : String(one.reason)))).toEqual([
    'a1',
    'Error: a2',
    'a3',
    'b1',
  ]);
  expect(seen.slice(3)).toEqual(['a1 ends', 'a3 begins', 'a3 ends']);
  await Promise.resolve();
  expect(turns.busy).toBe(0);
});
