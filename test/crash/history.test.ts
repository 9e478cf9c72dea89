import { describe, expect, test } from 'vitest';
import { History } from './history.ts';

const judged = (...lines: string[]): string[] => {
  const history = new History();
  for (const line of lines) history.line(line);
  return history.judge();
};

describe('history of an object: what a read may find', () => {
  test('the newest acknowledged version, or one under way', () => {
    expect(
      judged('W p/o 1 10', 'A p/o 1 20', 'R p/o 1 30 40', 'W p/o 2 50', 'R p/o 1 55 60', 'R p/o 2 61 70', 'A p/o 2 80'),
    ).toEqual([]);
  });
  test('an older one than was acknowledged before: stale', () => {
    expect(judged('W p/o 1 10', 'A p/o 1 20', 'W p/o 2 21', 'A p/o 2 30', 'R p/o 1 31 40')).toEqual([
      'STALE p/o: version 1 read, 2 was acknowledged before',
    ]);
    expect(judged('W p/o 1 10', 'A p/o 1 20', 'W p/o 2 21', 'R p/o 1 29 40', 'A p/o 2 30')).toEqual([]);
  });
  test('an older one than a read that had ended: what was seen may not be taken back', () => {
    expect(judged('W p/o 1 10', 'A p/o 1 20', 'W p/o 2 21', 'R p/o 2 22 30', 'R p/o 1 31 40')).toEqual([
      'STALE p/o: version 1 read, 2 had been read before',
    ]);
    expect(judged('W p/o 1 10', 'A p/o 1 20', 'W p/o 2 21', 'R p/o 2 22 30', 'R p/o 1 29 40')).toEqual([]);
  });
  test('one that nobody wrote yet: wrong', () => {
    expect(judged('W p/o 1 10', 'A p/o 1 20', 'R p/o 2 30 40', 'W p/o 2 50')).toEqual([
      'WRONG p/o: version 2 read, 1 is the newest that was tried',
    ]);
  });
  test('no object: before the first write, while or after it is removed, and at no other time', () => {
    expect(judged('R p/o 0 1 2', 'W p/o 1 10', 'R p/o 0 11 12', 'A p/o 1 20')).toEqual([]);
    expect(judged('W p/o 1 10', 'A p/o 1 20', 'R p/o 0 30 40')).toEqual([
      'LOST p/o: not there, version 1 was acknowledged or seen, 1 tried',
    ]);
    expect(judged('W p/o 7 10', 'A p/o 7 20', 'W p/o 8 30', 'R p/o 0 31 40', 'A p/o 8 50', 'R p/o 0 60 70')).toEqual(
      [],
    );
    expect(judged('W p/o 8 30', 'A p/o 8 50', 'W p/o 9 55', 'A p/o 9 57', 'R p/o 0 60 70')).toHaveLength(1);
    expect(judged('W p/o 8 30', 'A p/o 8 50', 'R p/o 7 60 70')).toHaveLength(1);
  });
  test('what was judged still counts for later reads', () => {
    const history = new History();
    for (const line of ['W p/o 1 10', 'A p/o 1 20', 'W p/o 2 21', 'A p/o 2 30']) history.line(line);
    expect(history.judge()).toEqual([]);
    history.line('R p/o 2 40 41');
    expect(history.judge()).toEqual([]);
    history.line('R p/o 1 50 51');
    history.line('R p/o 0 50 51');
    expect(history.judge()).toHaveLength(2);
    expect(history.tried()).toEqual(new Map([['p/o', 2]]));
  });
  test('bytes of no version', () => {
    expect(judged('D p/o 12 bytes')).toEqual(['DAMAGED p/o: 12 bytes']);
  });
});

describe('an object that all append to', () => {
  const acknowledged = ['C p/log 0 1', 'C p/log 1 1', 'C p/log 0 2'];
  test('every acknowledged record, perhaps one more of each client', () => {
    expect(judged(...acknowledged, 'L p/log 1:1,0:1,0:2,0:3')).toEqual([]);
  });
  test('a record that is gone, one that is there twice', () => {
    expect(judged(...acknowledged, 'L p/log 0:1,0:2')).toEqual([
      'LOST p/log: record 1 of client 1; the newest there is undefined',
    ]);
    expect(judged(...acknowledged, 'L p/log 0:1,0:1,0:2,1:1')).toEqual([
      'WRONG p/log: record 1 of client 0 stands behind 1',
    ]);
    expect(judged(...acknowledged, 'L p/log -')).toHaveLength(2);
  });
});
