import { describe, expect, test } from 'vitest';
import type { Member } from '../../../store/api.ts';
import { type MonMap, newMonMap } from '../../maps/monmap.ts';
import { addrV2 } from '../../wire/types.ts';
import { followMembers, freeName, memberUrls, withMon } from './mon-map.ts';

const now = { sec: 9, nsec: 0 };
const addrs = (n: number) => [addrV2(`10.0.0.${n}`, 3300, 0)];
const mapOf = (...mons: [string, number][]): MonMap =>
  newMonMap({
    fsid: 'f',
    created: now,
    mons: mons.map(([name, n]) => ({ name, addrs: addrs(n), priority: 0, weight: 0, crushLocation: new Map() })),
  });
const member = (n: number, name: string): Member => ({
  id: BigInt(n),
  name,
  peerUrls: [`https://10.0.0.${n}:3301`],
  clientUrls: name === '' ? [] : memberUrls(addrs(n)),
  learner: false,
});
const names = (map: MonMap | undefined): string[] | undefined => map?.mons.map(({ name }) => name);

describe('the MonMap follows the members', () => {
  test('names are letters, then two of them', () => {
    expect(freeName(new Set(['a', 'c']))).toBe('b');
    const all = new Set(Array.from({ length: 26 }, (_, i) => String.fromCharCode(97 + i)));
    expect(freeName(all)).toBe('aa');
    expect(freeName(new Set([...all, 'aa']))).toBe('ab');
  });

  test('who starts is added behind the others, who moves is moved, who is no member goes with its rank', () => {
    const one = mapOf(['a', 1]);
    expect(followMembers(one, [member(1, 'a')], now)).toBeUndefined();
    const two = followMembers(one, [member(1, 'a'), member(2, 'b')], now)!;
    expect([names(two), two.epoch, two.lastChanged]).toEqual([['a', 'b'], 2, now]);
    const moved = followMembers(two, [member(7, 'a'), member(2, 'b')], now)!;
    expect(moved.mons[0]!.addrs).toEqual(addrs(7));
    const left = followMembers(two, [member(2, 'b')], now)!;
    expect([names(left), left.removedRanks]).toEqual([['b'], [0]]);
  });

  test('one that was added and has not started stays; a member that has not said what it is keeps all', () => {
    const added = withMon(mapOf(['a', 1]), { name: 'b', addrs: addrs(2) }, now);
    expect(followMembers(added, [member(1, 'a'), member(2, '')], now)).toBeUndefined();
    expect(names(followMembers(added, [member(1, 'a')], now))).toEqual(['a']);
    const old: Member = { id: 1n, name: 'default', peerUrls: [], clientUrls: [], learner: false };
    expect(followMembers(mapOf(['a', 1]), [old], now)).toBeUndefined();
    expect(followMembers(added, [old, member(3, 'c')], now)?.mons).toHaveLength(3);
  });

  test('the last one is never taken away', () => {
    expect(followMembers(mapOf(['a', 1]), [member(2, '')], now)).toBeUndefined();
  });
});
