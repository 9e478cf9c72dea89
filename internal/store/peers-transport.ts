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
  /** Of the etcd-peer authority (`pki/leaves.ts`). */
  tls: PeerTls;
  clock: Clock;
  log: Logger;
}

/** The way of a store to its other members; they are found by the peer URLs that the group keeps. */
export function connectPeers({ host, port, tls, clock, log }: PeersOptions): NonNullable<StoreOptions['connect']> {
  return ({ identity, store, log: entries }) => {
    const transport = new PeerTransport({
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
}
