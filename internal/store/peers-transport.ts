import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { type PeerTls, PeerTransport } from '../raft/peer-transport.ts';
import { raftId } from './members.ts';
import type { StoreOptions } from './store.ts';

export interface PeersOptions {
  /** Where other members reach this one. */
  host: string;
  /** 2380 as etcd's. */
  port: number;
  /** Of the etcd-peer authority (`pki/leaves.ts`); asked for each connection. */
  tls: () => PeerTls;
  clock: Clock;
  log: Logger;
}

/**
 * The way of a store to its other members; they are found by the peer URLs that the group keeps. `renew` shows those that call what `tls` gives from now
 * on.
 */
export function connectPeers({ host, port, tls, clock, log }: PeersOptions): {
  connect: NonNullable<StoreOptions['connect']>;
  renew(): void;
} {
  let transport: PeerTransport | undefined;
  const connect: NonNullable<StoreOptions['connect']> = ({ identity, store, log: entries }) => {
    transport = new PeerTransport({
      id: raftId(identity.memberId),
      clusterId: identity.clusterId,
      tls,
      clock,
      log,
      address: (id) => store.membership.records.find((record) => raftId(record.id) === id)?.peerUrls[0],
    });
    transport.attach(entries.node);
    transport.listen(host, port);
    return transport;
  };
  return { connect, renew: () => transport?.renew() };
}
