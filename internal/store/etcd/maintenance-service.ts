import { type Alarm, alarmTypes } from '../api.ts';
import { AppError } from '../../base/errors.ts';
import { GrpcError, grpcCode } from '../grpc/status.ts';
import type { Method, ServerStream } from '../grpc/service.ts';
import { longBits, safeNumber } from '../mvccpb.ts';
import { memberId } from './cluster-service.ts';
import type { FaceContext } from './context.ts';
import { etcdError, toEtcdError } from './errors.ts';
import { codec, type Wide } from './messages.ts';

/** The etcd whose behaviour this is; clients decide by it what they may ask for. */
export const etcdVersion = '3.5.21';
export const etcdClusterVersion = '3.5.0';

const messages = {
  alarm: codec<{ action: number; memberID: Wide; alarm: number }>('AlarmRequest'),
  alarms: codec('AlarmResponse'),
  status: codec('StatusResponse'),
  header: codec('DefragmentResponse'),
  hash: codec('HashResponse'),
  hashKvRequest: codec<{ revision: Wide }>('HashKVRequest'),
  hashKv: codec('HashKVResponse'),
  snapshot: codec('SnapshotResponse'),
  moveLeader: codec<{ targetID: Wide }>('MoveLeaderRequest'),
  downgrade: codec<{ action: number; version: string }>('DowngradeRequest'),
};

/** `etcdserverpb.Maintenance`. */
export function maintenanceService(context: FaceContext): Map<string, Method> {
  const { store, unary, headerFields } = context;
  const headerOnly = (): Uint8Array => messages.header.encode({ header: headerFields() });
  return new Map<string, Method>([
    [
      'Alarm',
      unary(async (bytes) => {
        const { action, memberID, alarm } = messages.alarm.decode(bytes);
        const alarms = await actions[action]?.(context, memberId(memberID), alarm);
        if (alarms === undefined) throw new GrpcError(grpcCode.invalidArgument, `unknown alarm action ${action}`);
        return messages.alarms.encode({ header: headerFields(), alarms: alarms.map(alarmFields) });
      }),
    ],
    ['Status', unary(async () => messages.status.encode(await status(context)))],
    [
      'Defragment',
      unary(async () => {
        await store.defragment();
        return headerOnly();
      }),
    ],
    [
      'Hash',
      unary(async () => {
        const { hash } = await store.hashKv();
        return messages.hash.encode({ header: headerFields(), hash });
      }),
    ],
    [
      'HashKV',
      unary(async (bytes) => {
        const asked = safeNumber(messages.hashKvRequest.decode(bytes).revision);
        const { hash, revision, compactRevision } = await store.hashKv(asked);
        return messages.hashKv.encode({
          header: { ...headerFields(), revision },
          hash,
          // etcd says -1 until the first compaction.
          compactRevision: compactRevision || -1,
          hashRevision: asked > 0 ? asked : revision,
        });
      }),
    ],
    ['Snapshot', { kind: 'stream', open: (stream) => void sendSnapshot(context, stream) }],
    [
      'MoveLeader',
      unary(async (bytes) => {
        const { cluster } = store;
        if (cluster.leaderId !== cluster.memberId) throw etcdError('NOT_LEADER');
        await cluster.moveLeader(memberId(messages.moveLeader.decode(bytes).targetID));
        return headerOnly();
      }),
    ],
    [
      'Downgrade',
      unary(async (bytes) => {
        const { action, version } = messages.downgrade.decode(bytes);
        if (action === 2) throw etcdError('NO_INFLIGHT_DOWNGRADE');
        if (!/^\d+\.\d+(\.\d+)?$/.test(version)) throw etcdError('DOWNGRADE_VERSION_FORMAT');
        // The store has one format of its own: there is no older etcd to go back to.
        throw etcdError('INVALID_DOWNGRADE_VERSION');
      }),
    ],
  ]);
}

const alarmNumber = (type: Alarm['type']): number => alarmTypes.indexOf(type) + 1;

function alarmFields({ memberId: id, type }: Alarm): object {
  return { memberID: longBits(id), alarm: alarmNumber(type) };
}

/** GET, ACTIVATE and DEACTIVATE by their numbers; alarm 0 means every one when reading and none otherwise. */
const actions: Record<number, (context: FaceContext, member: bigint, alarm: number) => Promise<Alarm[]>> = {
  0: async ({ store }, _member, alarm) =>
    (await store.alarms()).filter(({ type }) => alarm === 0 || alarmNumber(type) === alarm),
  1: async ({ store }, member, alarm) => {
    const type = alarmTypes[alarm - 1];
    if (type === undefined) return [];
    await store.raiseAlarm({ memberId: member, type });
    return [{ memberId: member, type }];
  },
  2: async ({ store }, member, alarm) => {
    const type = alarmTypes[alarm - 1];
    return type === undefined ? [] : store.disarmAlarm({ memberId: member, type });
  },
};

async function status({ store, headerFields }: FaceContext): Promise<object> {
  const { cluster } = store;
  const found = store.status();
  const alarms = await store.alarms();
  return {
    header: headerFields(),
    version: etcdVersion,
    dbSize: found.databaseBytes,
    dbSizeInUse: found.databaseBytesInUse,
    leader: longBits(cluster.leaderId),
    raftIndex: cluster.commitIndex,
    raftTerm: cluster.term,
    raftAppliedIndex: found.appliedIndex,
    isLearner: cluster.members().some(({ id, learner }) => id === cluster.memberId && learner),
    errors: [
      ...(cluster.leaderId === 0n ? ['etcdserver: no leader'] : []),
      // As Go prints an AlarmMember.
      ...alarms.map(({ memberId: id, type }) => `memberID:${id} alarm:${type.toUpperCase()} `),
    ],
  };
}

/** Sends no faster than the client takes. */
async function sendSnapshot({ store }: FaceContext, stream: ServerStream): Promise<void> {
  let open = true;
  let drained: () => void = () => undefined;
  stream.onClose(() => {
    open = false;
    drained();
  });
  stream.onDrain(() => drained());
  try {
    const { bytes, pieces } = await store.snapshot();
    let left = bytes;
    for await (const blob of pieces()) {
      if (!open) return;
      left -= blob.length;
      const more = stream.send([messages.snapshot.encode({ remainingBytes: left, blob })]);
      if (!more && open)
        await new Promise<void>((resolve) => {
          drained = resolve;
        });
    }
    stream.end();
  } catch (error) {
    const told = error instanceof AppError ? toEtcdError(error) : error;
    stream.end(told instanceof GrpcError ? told : new GrpcError(grpcCode.internal, String(error)));
  }
}
