import type { Clock } from '../base/clock.ts';
import { AppError, errorCode } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type PeerTls, PeerTransport } from '../raft/peer-transport.ts';
import { type MemberRecord, raftId } from './members.ts';
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
  /** Where a member may be when it is not where the group knows it, `https://host:port`: addresses change while nobody can agree on it. */
  elsewhere?(record: MemberRecord): readonly string[];
}

/** The way of a store to its other members. */
export interface Peers {
  connect: NonNullable<StoreOptions['connect']>;
  /** Shows those that call what `tls` gives from now on. */
  renew(): void;
  /** Why this member is not reached; undefined: it is. */
  problem(id: bigint): string | undefined;
}

/** Members are found by the peer URLs that the group keeps, or `elsewhere`: who they are is told by certificate and id, never by address. */
export function connectPeers({ host, port, tls, clock, log, elsewhere }: PeersOptions): Peers {
  let transport: PeerTransport | undefined;
  const connect: NonNullable<StoreOptions['connect']> = ({ identity, store, log: entries }) => {
    transport = new PeerTransport({
      id: raftId(identity.memberId),
      clusterId: identity.clusterId,
      tls,
      clock,
      log,
      addresses: (id) => {
        const record = store.membership.records.find((one) => raftId(one.id) === id);
        return record === undefined ? [] : [...new Set([...record.peerUrls, ...(elsewhere?.(record) ?? [])])];
      },
    });
    transport.attach(entries.node);
    try {
      transport.listen(host, port);
    } catch (error) {
      if (errorCode(error) !== 'EADDRINUSE') throw error;
      throw new AppError('PORT', `port ${port} of ${host} is in use`, {
        hint: 'End what listens there, or set ports.etcdPeer in the configuration.',
        cause: error,
      });
    }
    return transport;
  };
  return {
    connect,
    renew: () => transport?.renew(),
    problem: (id) => transport?.problem(raftId(id)),
  };
}
