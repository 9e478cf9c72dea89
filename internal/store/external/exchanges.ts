import { codec, type HeaderMessage, type Wide } from '../etcd/messages.ts';
import type { DeleteResponseMessage, PutResponseMessage, RangeResponseMessage, TxnResponseMessage } from './fields.ts';

/** Every answer of etcd has a header. */
export interface Headed {
  header: HeaderMessage | null;
}
/** A request's message and its answer's. */
export interface Exchange<T extends Headed> {
  request: { encode(fields: object): Uint8Array };
  response: { decode(bytes: Uint8Array): T };
}

/** The calls of etcd that make up a store. */
export const exchanges = {
  range: { request: codec('RangeRequest'), response: codec<RangeResponseMessage>('RangeResponse') },
  put: { request: codec('PutRequest'), response: codec<PutResponseMessage>('PutResponse') },
  delete: { request: codec('DeleteRangeRequest'), response: codec<DeleteResponseMessage>('DeleteRangeResponse') },
  txn: { request: codec('TxnRequest'), response: codec<TxnResponseMessage>('TxnResponse') },
  compact: { request: codec('CompactionRequest'), response: codec<Headed>('CompactionResponse') },
  grant: {
    request: codec('LeaseGrantRequest'),
    response: codec<Headed & { ID: Wide; TTL: Wide }>('LeaseGrantResponse'),
  },
  revoke: { request: codec('LeaseRevokeRequest'), response: codec<Headed>('LeaseRevokeResponse') },
  timeToLive: {
    request: codec('LeaseTimeToLiveRequest'),
    response: codec<Headed & { TTL: Wide; grantedTTL: Wide; keys: Uint8Array[] }>('LeaseTimeToLiveResponse'),
  },
  leases: {
    request: codec('LeaseLeasesRequest'),
    response: codec<Headed & { leases: { ID: Wide }[] }>('LeaseLeasesResponse'),
  },
  keepAlive: {
    request: codec('LeaseKeepAliveRequest'),
    response: codec<Headed & { TTL: Wide }>('LeaseKeepAliveResponse'),
  },
  alarm: {
    request: codec('AlarmRequest'),
    response: codec<Headed & { alarms: { memberID: Wide; alarm: number }[] }>('AlarmResponse'),
  },
  status: {
    request: codec('StatusRequest'),
    response: codec<
      Headed & {
        dbSize: Wide;
        dbSizeInUse: Wide;
        leader: Wide;
        raftIndex: Wide;
        raftTerm: Wide;
        raftAppliedIndex: Wide;
      }
    >('StatusResponse'),
  },
  hashKv: {
    request: codec('HashKVRequest'),
    response: codec<Headed & { hash: number; compactRevision: Wide }>('HashKVResponse'),
  },
  defragment: { request: codec('DefragmentRequest'), response: codec<Headed>('DefragmentResponse') },
  snapshot: {
    request: codec('SnapshotRequest'),
    response: codec<{ remainingBytes: Wide; blob: Uint8Array }>('SnapshotResponse'),
  },
  members: {
    request: codec('MemberListRequest'),
    response: codec<
      Headed & { members: { ID: Wide; name: string; peerURLs: string[]; clientURLs: string[]; isLearner: boolean }[] }
    >('MemberListResponse'),
  },
  removeMember: { request: codec('MemberRemoveRequest'), response: codec<Headed>('MemberRemoveResponse') },
};
