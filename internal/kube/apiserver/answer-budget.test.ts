import { expect, test } from 'vitest';
import { AnswerBudget } from './answer-budget.ts';

function make(max: number): { budget: AnswerBudget; cuts: string[]; at(ms: number): void } {
  let now = 0;
  const cuts: string[] = [];
  return {
    budget: new AnswerBudget(max, 100, () => now),
    cuts,
    at: (ms) => {
      now = ms;
    },
  };
}

test('what is sent, or given up, makes room', () => {
  const { budget } = make(1000);
  const [a, b, c] = [0, 1, 2].map(() => budget.open(() => undefined));
  expect([a!.take(500), b!.take(400), c!.take(300)]).toEqual([true, true, false]);
  expect(budget.held).toBe(900);
  a!.sent(300);
  expect(budget.held).toBe(600);
  expect(budget.open(() => undefined).take(300)).toBe(true);
  a!.close();
  a!.close();
  a!.sent(200);
  b!.close();
  expect(budget.held).toBe(300);
  expect(b!.take(1)).toBe(false);
});

test('those that stand still are cut when others need the room, the one that stands longest first', () => {
  const { budget, cuts, at } = make(1000);
  const open = (name: string, bytes: number) => {
    const answer = budget.open(() => cuts.push(name));
    expect(answer.take(bytes)).toBe(true);
    return answer;
  };
  const moves = open('moves', 200);
  open('first', 300);
  at(10);
  open('second', 300);
  at(90);
  moves.sent(50);
  expect(budget.open(() => undefined).take(400)).toBe(false);
  expect(cuts).toEqual([]);
  at(115);
  open('third', 300);
  expect(cuts).toEqual(['first']);
  open('fourth', 300);
  expect(cuts).toEqual(['first', 'second']);
  expect(budget.open(() => undefined).take(300)).toBe(false);
  expect(budget.held).toBe(750);
});

test('an answer larger than all room is given when no more than half is taken', () => {
  const { budget } = make(1000);
  const half = budget.open(() => undefined);
  expect(half.take(600)).toBe(true);
  expect(budget.open(() => undefined).take(5000)).toBe(false);
  half.sent(100);
  const large = budget.open(() => undefined);
  expect(large.take(5000)).toBe(true);
  expect(budget.open(() => undefined).take(1)).toBe(false);
  large.close();
  expect(budget.open(() => undefined).take(1)).toBe(true);
});

test('a stream goes on with little that waits, however full it is; with much it has to end', () => {
  const { budget, at } = make(1_000_000);
  const full = budget.open(() => undefined);
  expect(full.take(1_000_000)).toBe(true);
  const stream = budget.open(() => undefined);
  expect(stream.write(60_000)).toBe(true);
  expect(stream.write(10_000)).toBe(false);
  stream.sent(70_000);
  expect(stream.write(60_000)).toBe(true);
  at(200);
  expect(stream.write(10_000)).toBe(true);
  expect(budget.held).toBe(70_000);
});
