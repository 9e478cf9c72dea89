import { existsSync, readFileSync } from 'node:fs';
import { sleep } from '../../base/clock.ts';
import { AppError } from '../../base/errors.ts';
import { readFileIfThere, removeFileDurably, writeFileAtomic } from '../../base/files-system.ts';
import type { Config } from '../../config/config.ts';
import type { RoleContext } from '../../node/role.ts';
import type { Identity } from '../../store/identity.ts';
import type { MemberStore } from '../../store/member.ts';
import { findPeers, type PeerFinder } from '../../store/peer-finder.ts';
import { connectPeers, type Peers } from '../../store/peers-transport.ts';
import { confMonAddresses } from '../client/ceph-conf.ts';
import { addrV2 } from '../wire/types.ts';
import { memberUrls } from './quorum/mon-map.ts';

/**
 * Which mon this machine's is, in files beside its store. A machine that made its cluster has none: it is mon.a, as long as it is there. The others were told who they are when they
 * joined (`join/mon-files-system.ts`).
 */

export interface MonSelf {
  readonly name: string;
  /** It came to mons that were there. */
  readonly joined: boolean;
  /** Which member of the group its store is to be, until that exists. */
  readonly join: Identity | undefined;
  /** The others have removed it. */
  readonly removed: boolean;
}

/** The first mon of a cluster. */
const firstName = 'a';

export interface MonName {
  readonly name: string;
  /** Hexadecimal; gone once the store exists. A ceph-mon has neither. */
  readonly cluster?: string | undefined;
  readonly member?: string | undefined;
}

export const selfFile = (dir: string): string => `${dir}/mon.json`;
const removedFile = (dir: string): string => `${dir}/removed`;
/** `ca.crt`, `peer.crt`, `peer.key`: made from the mons' common secret when the node is prepared. */
export const peerDir = (dir: string): string => `${dir}/peer`;

export function monSelf(dir: string): MonSelf {
  const removed = existsSync(removedFile(dir));
  const text = readFileIfThere(selfFile(dir));
  if (text === undefined) return { name: firstName, joined: false, join: undefined, removed };
  let file: MonName;
  try {
    file = JSON.parse(text) as MonName;
  } catch (error) {
    throw new AppError('MON_SELF', `${selfFile(dir)} is damaged`, { hint: joinAgain, cause: error });
  }
  const { cluster, member, name } = file;
  if (cluster !== undefined && member !== undefined) {
    const join = { clusterId: BigInt(`0x${cluster}`), memberId: BigInt(`0x${member}`) };
    return { name, joined: true, join, removed };
  }
  if (!existsSync(`${dir}/state.db`))
    throw new AppError('STORE_LOST', `the store of mon.${name} is gone from ${dir}`, {
      hint: `as the same member it could break promises that it has made. ${joinAgain}`,
    });
  return { name, joined: true, join: undefined, removed };
}

const joinAgain =
  'Join again: `appliance join <token>` with the role mon and a token of `appliance token create --role server`.';

/** The store exists: were it lost, it must not be made again as the same member. */
export function keepSelf(dir: string, name: string): void {
  const text = readFileIfThere(selfFile(dir));
  if (text === undefined || (JSON.parse(text) as MonName).member === undefined) return;
  writeFileAtomic(selfFile(dir), `${JSON.stringify({ name } satisfies MonName)}\n`, 0o600);
}

/** Written when the machine joins, or joins again: another member, whose store begins empty. */
export function writeSelf(dir: string, self: MonName): void {
  writeFileAtomic(selfFile(dir), `${JSON.stringify(self)}\n`, 0o600);
}

export function markRemoved(dir: string): void {
  writeFileAtomic(removedFile(dir), 'the other mons have removed this one\n', 0o600);
}

/** Its store is to be used again: it goes on as another group's. */
export function forgetRemoval(dir: string): void {
  if (existsSync(removedFile(dir))) removeFileDurably(removedFile(dir));
}

/** How a mon's member of the group is called and found, by other members and, as the MonMap has it, by clients. */
export function monMember({ node, ports }: Config, name: string) {
  return {
    name,
    node: node.name,
    peerUrls: [`https://${node.ip}:${ports.monPeer}`],
    clientUrls: memberUrls([addrV2(node.ip, ports.mon, 0)]),
  };
}

/** Nothing to do but to say why, until somebody has read it. */
export async function untilStopped({ clock, config, stopping, waits }: RoleContext): Promise<never> {
  const roles = config.roles.filter((role) => role !== 'mon').join();
  const why = 'the other mons have removed this one';
  const hint = `take the role mon out of the configuration (roles: [${roles}]). ${joinAgain}`;
  while (!stopping.aborted) {
    waits(`${why}; ${hint}`);
    await sleep(clock, 2000, stopping);
  }
  throw new AppError('REMOVED', why, { hint });
}

/** The way to the other mons; undefined where the node was prepared without one: then there are none. */
export function monPeers({ clock, config, log }: RoleContext, dir: string, finder: PeerFinder): Peers | undefined {
  const file = (name: string): string => `${peerDir(dir)}/${name}`;
  if (!existsSync(file('peer.key'))) return undefined;
  const pem = (name: string): string => readFileSync(file(name), 'utf8');
  return connectPeers({
    host: config.node.ip,
    port: config.ports.monPeer,
    tls: () => ({ cert: pem('peer.crt'), key: pem('peer.key'), ca: pem('ca.crt') }),
    clock,
    log,
    elsewhere: finder.elsewhere,
  });
}

/** Looks for the other mons where they may be when their addresses changed while none could agree: on the network, at `mon host` of ceph.conf, at `server`. */
export function monFinder({ clock, config, discover, paths, stopping }: RoleContext): PeerFinder {
  return findPeers({
    port: config.ports.monPeer,
    node: config.node.name,
    clock,
    stopping,
    discover,
    // Read each time: people write new addresses there while this mon waits.
    hosts: () => [
      ...confMonAddresses(readFileIfThere(paths.cephConf) ?? '').filter((ip) => ip !== config.node.ip),
      ...(config.server === undefined ? [] : [new URL(config.server).hostname]),
    ],
  });
}

/** What a mon that cannot serve waits for, in words. */
export function waitingText({ cluster }: MemberStore, peers: Peers | undefined): string {
  const voters = cluster.members().filter(({ learner }) => !learner);
  if (voters.length === 0) return 'waits for the mons that it joined: none has called yet';
  const missing = voters.filter(({ id }) => id !== cluster.memberId && peers?.problem(id) !== undefined);
  const here = voters.length - missing.length;
  if (here * 2 > voters.length) return `waits for the mon that leads: ${here} of ${voters.length} mons are here`;
  const whom = missing.map(({ id, name, node }) => `mon.${name || (node ?? id.toString(16))} (${peers?.problem(id)})`);
  return `waits for a majority of the mons: ${here} of ${voters.length} here; missing ${whom.join(', ')}`;
}
