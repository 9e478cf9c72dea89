import type { Member } from '../../../store/api.ts';
import type { MonInfo, MonMap } from '../../maps/monmap.ts';
import type { UTime } from '../../wire/encoding.ts';
import { addrVecText, type EntityAddrVec, parseAddr, sameAddrs } from '../../wire/types.ts';

/** The MonMap follows the members of the group that keeps the store: who is a mon is decided there, and one change of it at a time. */

/** Mons that may be asked for by name only, until they have been started: letters, as the first one is `a`. */
export function freeName(taken: ReadonlySet<string>): string {
  for (let n = 0; ; n++) {
    // a … z, aa, ab, …
    let name = '';
    for (let rest = n + 1; rest > 0; rest = Math.floor((rest - 1) / 26))
      name = String.fromCharCode(97 + ((rest - 1) % 26)) + name;
    if (!taken.has(name)) return name;
  }
}

/** Where a member's mon is reached; undefined until it has started. */
export function addrsOfMember({ clientUrls }: Pick<Member, 'clientUrls'>): EntityAddrVec | undefined {
  const addrs = clientUrls.flatMap((text) => parseAddr(text) ?? []);
  return addrs.length === 0 ? undefined : addrs;
}

/** The addresses as a member tells the group of them: one each. */
export function memberUrls(addrs: EntityAddrVec): string[] {
  return addrs.map((addr) => addrVecText([addr]).replace(/^\[|\]$/g, ''));
}

const host = (url: string): string => url.replace(/^https:\/\//, '').replace(/:\d+$/, '');

/** The member that a mon of the map is: by its name once it has started, before that by where its store is reached. */
export function memberOf(mon: MonInfo, members: readonly Member[]): Member | undefined {
  const started = members.find((member) => addrsOfMember(member) !== undefined && member.name === mon.name);
  if (started !== undefined) return started;
  return members.find(
    (member) =>
      addrsOfMember(member) === undefined &&
      member.peerUrls.some((url) => mon.addrs.some(({ ip }) => ip === host(url))),
  );
}

/** The map with one mon more, or at other addresses. */
export function withMon(map: MonMap, mon: Pick<MonInfo, 'name' | 'addrs'>, now: UTime): MonMap {
  const known = map.mons.some(({ name }) => name === mon.name);
  const mons = known
    ? map.mons.map((info) => (info.name === mon.name ? { ...info, addrs: mon.addrs } : info))
    : [...map.mons, { ...mon, priority: 0, weight: 0, crushLocation: new Map<string, string>() }];
  return { ...map, epoch: map.epoch + 1, lastChanged: now, removedRanks: [], mons };
}

/** The map without a mon. The ranks behind it move up, and the map says which rank went (`MonMap::remove`). */
export function withoutMon(map: MonMap, name: string, now: UTime): MonMap {
  const rank = map.mons.findIndex((mon) => mon.name === name);
  return {
    ...map,
    epoch: map.epoch + 1,
    lastChanged: now,
    removedRanks: [rank],
    disallowedLeaders: map.disallowedLeaders.filter((each) => each !== name),
    mons: map.mons.filter((mon) => mon.name !== name),
  };
}

/** The next map when it is not what the members are; undefined when it is. */
export function followMembers(map: MonMap, members: readonly Member[], now: UTime): MonMap | undefined {
  for (const member of members) {
    const addrs = addrsOfMember(member);
    if (addrs === undefined) continue;
    const known = map.mons.find(({ name }) => name === member.name);
    if (known === undefined || !sameAddrs(known.addrs, addrs)) return withMon(map, { name: member.name, addrs }, now);
  }
  // A member of an earlier version's store has not said yet which mon it is.
  const unknown = members.some((member) => addrsOfMember(member) === undefined && member.peerUrls.length === 0);
  if (unknown) return undefined;
  const gone = map.mons.find((mon) => memberOf(mon, members) === undefined);
  return gone === undefined || map.mons.length === 1 ? undefined : withoutMon(map, gone.name, now);
}
