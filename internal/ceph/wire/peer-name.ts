import { AppError } from '../../base/errors.ts';
import type { PeerIdentity } from './messenger.ts';
import {
  ENTITY_CLIENT,
  ENTITY_MGR,
  ENTITY_OSD,
  type EntityAddrVec,
  type EntityNum,
  addrVecText,
  entityNameText,
  entityTypeName,
} from './types.ts';

/**
 * Who an accepted peer is to us: the type that it said in HELLO and the number in CLIENT_IDENT are taken only as far as what it proved bears them out. A
 * daemon may come as a client (librados inside of ceph-mgr, `ceph -n osd.0`), nobody comes as a daemon of a type that is not its own. An OSD's number is
 * its id; clients and managers are numbered by their global ids, which is what they say themselves (all recorded exchanges with 16.2.15); an MDS tells its
 * rank. Upstream takes both by their word (`ProtocolV2::handle_client_ident`), so that whoever has any ticket can pass for an OSD.
 *
 * Throws AppError AUTH_REFUSED for a peer that says to be what it is not.
 */
export function acceptedPeer(said: EntityNum, { name, globalId }: PeerIdentity): EntityNum {
  const { type, num } = said;
  if (type !== name.type && type !== ENTITY_CLIENT)
    throw new AppError(
      'AUTH_REFUSED',
      `${entityNameText(name)} says that it is of type ${entityTypeName(type)}, which its key does not bear out`,
    );
  if (type === ENTITY_CLIENT || type === ENTITY_MGR) return { type, num: Number(globalId) };
  if (type === ENTITY_OSD && String(num) !== name.id)
    throw new AppError('AUTH_REFUSED', `${entityNameText(name)} says that it is osd.${num}`);
  return said;
}

/** Names an accepted lossless session: of nobody but this identity, at the addresses that it publishes. */
export function acceptedKey({ name }: PeerIdentity, addrs: EntityAddrVec): string {
  return `accepted|${entityNameText(name)}|${addrVecText(addrs)}`;
}
