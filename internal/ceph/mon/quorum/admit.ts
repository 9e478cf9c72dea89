import { sleep } from '../../../base/clock.ts';
import { AppError } from '../../../base/errors.ts';
import { decideMember } from '../../../store/joining-member.ts';
import { type EntityAddr, parseAddr } from '../../wire/types.ts';
import type { Draft } from '../draft.ts';
import { cryptoKeyText } from '../../auth/crypto.ts';
import { EBUSY, EINVAL, ENOENT, ESTALE, Refusal } from '../errno.ts';
import type { Mon } from '../mon.ts';
import { addrsOfMember, freeName, withMon } from './mon-map.ts';
import { isElsewhere } from './quorum.ts';

export interface JoiningMon {
  readonly node: string;
  /** `v2:10.0.0.2:3300/0`. */
  readonly addr: string;
  /** `https://10.0.0.2:3301`. */
  readonly peerUrl: string;
  /** Hexadecimal id of the member that its store belongs to, when it has one. */
  readonly member: string | undefined;
}

const tries = 20;
const againMs = 500;

/**
 * Who a node's mon is: which member of the group, and its name. The same when it asks again. One that has lost its store is another member, for it may have voted;
 * it keeps its name. Errors: Refusal.
 */
export async function admitMon(
  mon: Mon,
  asked: JoiningMon,
): Promise<{ name: string; cluster: string; member: string; key: string }> {
  const { cluster } = mon.group;
  const addr = parseAddr(asked.addr);
  if (addr === undefined || !/^https:\/\/[\d.]+:\d+$/.test(asked.peerUrl))
    throw new Refusal(EINVAL, `a mon is not reached at ${asked.addr} and ${asked.peerUrl}`);
  const entry = mon.state.auth.entities.get('mon.');
  if (entry === undefined) throw new Refusal(ENOENT, 'the cluster has no key of mon., which mons know each other by');
  const key = cryptoKeyText(entry.key);
  const known =
    asked.member !== undefined && /^[0-9a-f]{1,14}$/.test(asked.member) ? BigInt(`0x${asked.member}`) : undefined;
  let name: string | undefined;
  for (let n = 1; ; n++) {
    try {
      const members = cluster.members();
      const decision = decideMember(members, { node: asked.node, peerUrl: asked.peerUrl, member: known });
      if (decision.do === 'refuse')
        throw new Refusal(ESTALE, `the mon's store of ${asked.node} is of a member that was removed`);
      const before = members.find(({ id }) => 'id' in decision && id === decision.id);
      if (before !== undefined && addrsOfMember(before) !== undefined) name = before.name;
      let id: bigint;
      if (decision.do === 'keep') {
        id = decision.id;
        if (before?.peerUrls.includes(asked.peerUrl) === false) await cluster.updateMember(id, [asked.peerUrl]);
      } else {
        if (decision.do === 'replace') await cluster.removeMember(decision.id);
        id = (await cluster.addMember([asked.peerUrl], true, asked.node)).id;
      }
      // It is in the map from now on, so that nobody else gets its name.
      const named = await mon.update((draft) => nameIn(draft, addr, name));
      return { name: named, cluster: cluster.clusterId.toString(16), member: id.toString(16), key };
    } catch (error) {
      if (error instanceof Refusal || !(error instanceof AppError)) throw error;
      if (isElsewhere(error) && !mon.quorum.leads) throw error;
      if (n === tries) throw new Refusal(EBUSY, `the mons cannot agree on one more: ${error.message}`);
      await sleep(mon.clock, againMs);
    }
  }
}

/** The mon of an address, which is put into the map when it is not there: `name`, else the one added by hand for this address, else the next letter. */
function nameIn(draft: Draft, addr: EntityAddr, name: string | undefined): string {
  const { monmap } = draft.state;
  const there = monmap.mons.find(({ addrs }) => addrs.some(({ ip, port }) => ip === addr.ip && port === addr.port));
  const chosen = name ?? there?.name ?? freeName(new Set(monmap.mons.map((info) => info.name)));
  if (monmap.mons.every((info) => info.name !== chosen))
    draft.setMonMap(withMon(monmap, { name: chosen, addrs: [addr] }, draft.now));
  return chosen;
}
