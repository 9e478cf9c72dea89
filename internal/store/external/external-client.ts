import { AppError, errorCode, errorText } from '../../base/errors.ts';
import { readFileSync } from 'node:fs';
import type { Clock, Timer } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import {
  type Alarm,
  alarmTypes,
  type Cluster,
  type DeleteRequest,
  type KeyValue,
  type Member,
  type PutRequest,
  type RangeRequest,
  type RangeResponse,
  type Store,
  type StoreSnapshot,
  type StoreStatus,
  type TxnRequest,
  type TxnResponse,
  type Watch,
  type WatchHandler,
  type WatchRequest,
} from '../api.ts';
import { ClusterError, InvalidRequestError, LeaseNotFoundError, StoreClosedError } from '../errors.ts';
import type { Wide } from '../etcd/messages.ts';
import type { GrpcTarget } from '../grpc/client.ts';
import { GrpcError, grpcCode } from '../grpc/status.ts';
import { longBits, safeNumber, signedBigint } from '../mvccpb.ts';
import { checkDelete, checkPut, checkRange, checkTxn, isReadOnly } from '../validate.ts';
import { Connections } from './connection-client.ts';
import { storeError } from './errors.ts';
import { type Exchange, exchanges, type Headed } from './exchanges.ts';
import {
  alarmNumber,
  deleteFields,
  deleteResult,
  headerRevision,
  putFields,
  putResult,
  rangeFields,
  rangeResult,
  txnFields,
  txnResult,
} from './fields.ts';
import { ExternalWatch } from './watch.ts';

export interface ExternalEtcdOptions {
  /** `etcd://host:2379,host2:2379`. */
  readonly endpoints: string;
  /** PEM files; with an authority or a certificate TLS is used. They are read again for each connection. */
  readonly tls?: { readonly caFile?: string; readonly certFile?: string; readonly keyFile?: string };
  readonly clock: Clock;
  readonly log: Logger;
}

/** Requests end after this, connecting included. */
const requestMs = 10_000;
/** Defragmenting and hashing a large database take their time. */
const longRequestMs = 120_000;
/** Of a snapshot, before the one that sends it has to wait. */
const snapshotWaitingBytes = 1 << 20;
/** What `status` tells is asked for this often. */
const statusEveryMs = 30_000;
/** Reads are tried again on another address this many times. */
const readAttempts = 4;

/** Opens a real etcd as the store. AppError when none of its addresses answers. */
export async function openExternalEtcd(options: ExternalEtcdOptions): Promise<Store> {
  const store = new ExternalEtcd(options);
  try {
    await store.refresh();
    return store;
  } catch (error) {
    await store.close();
    throw new AppError('DATASTORE', `the etcd at ${options.endpoints} does not answer: ${errorText(error)}`, {
      hint: 'Check that it runs, its address, and datastoreTls in the configuration.',
      cause: error,
    });
  }
}

/** AppError with the system's code. */
function readCertificate(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new AppError(errorCode(error) ?? 'DATASTORE', `${path}, which opens the etcd, cannot be read`, {
      hint: 'The server reads it as the user appliance-server: chgrp appliance-server, and chmod g+r.',
      cause: error,
    });
  }
}

function targets({ endpoints, tls }: ExternalEtcdOptions): GrpcTarget[] {
  const file = (path: string | undefined): string | undefined =>
    path === undefined ? undefined : readCertificate(path);
  const secure = tls?.caFile !== undefined || tls?.certFile !== undefined;
  return endpoints
    .replace(/^etcd:\/\//, '')
    .split(',')
    .map((address) => {
      const colon = address.lastIndexOf(':');
      const [ca, cert, key] = [file(tls?.caFile), file(tls?.certFile), file(tls?.keyFile)];
      return {
        host: address.slice(0, colon).replace(/^\[|\]$/g, ''),
        port: Number(address.slice(colon + 1)),
        ...(secure && { tls: { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) } }),
      };
    });
}

/**
 * A store that a real etcd keeps. Reads are repeated on another address when a connection breaks; writes are not, because nobody knows whether they
 * were done: they are a ClusterError TIMEOUT. `revision` is the newest that any answer has shown.
 */
class ExternalEtcd implements Store {
  readonly #options: ExternalEtcdOptions;
  readonly #connections: Connections;
  readonly #watches = new Set<ExternalWatch>();
  #revision = 0;
  #compactRevision = 0;
  #status: StoreStatus;
  #members: Member[] = [];
  #ids = { clusterId: 0n, memberId: 0n, leaderId: 0n, term: 0, commitIndex: 0 };
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: ExternalEtcdOptions) {
    this.#options = options;
    this.#connections = new Connections(targets(options), options.clock, options.log);
    this.#status = {
      revision: 0,
      compactRevision: 0,
      appliedIndex: 0,
      journalBytes: 0,
      databaseBytes: 0,
      databaseBytesInUse: 0,
      quotaBytes: 0,
      keys: 0,
      bytesWritten: 0,
    };
  }

  get revision(): number {
    return this.#revision;
  }
  get compactRevision(): number {
    return this.#compactRevision;
  }

  /** Learns what `status`, `cluster` and `revision` tell, and does so again from time to time. */
  async refresh(): Promise<void> {
    const status = await this.#ask(exchanges.status, '/etcdserverpb.Maintenance/Status', {}, 'read');
    const { kvs: _, count } = await this.range({
      key: new Uint8Array(1),
      rangeEnd: new Uint8Array(1),
      countOnly: true,
      // A member without a majority can still say how it is.
      serializable: true,
    });
    const list = await this.#ask(exchanges.members, '/etcdserverpb.Cluster/MemberList', {}, 'read');
    const unsigned = (value: Wide): bigint => BigInt.asUintN(64, signedBigint(value));
    this.#members = list.members.map((member) => ({
      id: unsigned(member.ID),
      name: member.name,
      peerUrls: member.peerURLs,
      clientUrls: member.clientURLs,
      learner: member.isLearner,
    }));
    this.#ids = {
      clusterId: unsigned(status.header?.clusterId ?? 0),
      memberId: unsigned(status.header?.memberId ?? 0),
      leaderId: unsigned(status.leader),
      term: safeNumber(status.raftTerm),
      commitIndex: safeNumber(status.raftIndex),
    };
    this.#status = {
      ...this.#status,
      appliedIndex: safeNumber(status.raftAppliedIndex),
      databaseBytes: safeNumber(status.dbSize),
      databaseBytesInUse: safeNumber(status.dbSizeInUse),
      keys: count,
    };
    if (this.#closed) return;
    this.#timer?.cancel();
    this.#timer = this.#options.clock.after(statusEveryMs, () => {
      this.refresh().catch((error: unknown) => {
        this.#options.log.warn('the etcd does not answer', { error: errorText(error) });
        this.#timer = this.#options.clock.after(statusEveryMs, () => void this.refresh().catch(() => undefined));
      });
    });
  }

  #saw(revision: number): void {
    if (revision > this.#revision) this.#revision = revision;
  }

  #checkOpen(): void {
    if (this.#closed) throw new StoreClosedError(this.#options.endpoints);
  }

  async #ask<T extends Headed>(
    { request, response }: Exchange<T>,
    path: string,
    fields: object,
    kind: 'read' | 'write',
    timeoutMs = requestMs,
  ): Promise<T> {
    this.#checkOpen();
    const bytes = request.encode(fields);
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = response.decode(await this.#connections.unary(path, bytes, timeoutMs));
        this.#saw(headerRevision(answer.header));
        return answer;
      } catch (error) {
        const broken = error instanceof GrpcError && error.status === grpcCode.unavailable;
        if (broken && kind === 'read' && attempt < readAttempts && !this.#closed) continue;
        throw error;
      }
    }
  }

  /** An answer, or the error that our own store would give. `about`: what etcd's text does not say. */
  async #call<T extends Headed>(
    exchange: Exchange<T>,
    path: string,
    fields: object,
    kind: 'read' | 'write',
    about: { revision?: number; lease?: bigint; timeoutMs?: number } = {},
  ): Promise<T> {
    try {
      return await this.#ask(exchange, path, fields, kind, about.timeoutMs);
    } catch (error) {
      throw this.#storeError(error, about);
    }
  }

  #storeError(error: unknown, about: { revision?: number; lease?: bigint }): unknown {
    return storeError(error, {
      ...about,
      current: this.#revision,
      compacted: this.#compactRevision,
      endpoints: this.#options.endpoints,
    });
  }

  async range(request: RangeRequest): Promise<RangeResponse> {
    checkRange(request);
    const about = request.revision ? { revision: request.revision } : {};
    return rangeResult(
      await this.#call(exchanges.range, '/etcdserverpb.KV/Range', rangeFields(request), 'read', about),
    );
  }

  async put(request: PutRequest): Promise<{ revision: number; prevKv?: KeyValue }> {
    checkPut(request);
    const about = { lease: request.lease ?? 0n };
    return putResult(await this.#call(exchanges.put, '/etcdserverpb.KV/Put', putFields(request), 'write', about));
  }

  async delete(request: DeleteRequest): Promise<{ revision: number; deleted: number; prevKvs: KeyValue[] }> {
    checkDelete(request);
    return deleteResult(
      await this.#call(exchanges.delete, '/etcdserverpb.KV/DeleteRange', deleteFields(request), 'write'),
    );
  }

  async txn(request: TxnRequest): Promise<TxnResponse> {
    checkTxn(request);
    const kind = isReadOnly(request) ? 'read' : 'write';
    return txnResult(await this.#call(exchanges.txn, '/etcdserverpb.KV/Txn', txnFields(request), kind));
  }

  watch(request: WatchRequest, handler: WatchHandler): Watch {
    this.#checkOpen();
    if (request.key.length === 0 && request.rangeEnd === undefined)
      throw new InvalidRequestError('key is not provided', 'EMPTY_KEY');
    const watch: ExternalWatch = new ExternalWatch(
      {
        clock: this.#options.clock,
        revision: () => this.#revision,
        saw: (revision) => this.#saw(revision),
        sawCompaction: (revision) => {
          this.#compactRevision = Math.max(this.#compactRevision, revision);
        },
        open: (path, handlers) => this.#connections.stream(path, handlers),
      },
      request,
      {
        onEvents: (events, revision) => handler.onEvents(events, revision),
        onEnd: (error) => {
          this.#watches.delete(watch);
          handler.onEnd(error);
        },
      },
    );
    this.#watches.add(watch);
    return {
      progress: () => watch.progress(),
      close: () => {
        this.#watches.delete(watch);
        watch.close();
      },
    };
  }

  async compact(revision: number, options: { physical?: boolean } = {}): Promise<void> {
    const fields = { revision, physical: options.physical ?? false };
    await this.#call(exchanges.compact, '/etcdserverpb.KV/Compact', fields, 'write', {
      revision,
      timeoutMs: longRequestMs,
    });
    this.#compactRevision = Math.max(this.#compactRevision, revision);
  }

  async leaseGrant(ttlSeconds: number, id = 0n): Promise<{ id: bigint; ttlSeconds: number }> {
    const fields = { TTL: Math.floor(ttlSeconds), ID: longBits(id) };
    const { ID, TTL } = await this.#call(exchanges.grant, '/etcdserverpb.Lease/LeaseGrant', fields, 'write', {
      lease: id,
    });
    return { id: signedBigint(ID), ttlSeconds: safeNumber(TTL) };
  }

  async leaseRevoke(id: bigint): Promise<void> {
    await this.#call(exchanges.revoke, '/etcdserverpb.Lease/LeaseRevoke', { ID: longBits(id) }, 'write', { lease: id });
  }

  async leaseKeepAlive(id: bigint): Promise<{ ttlSeconds: number }> {
    const fields = { ID: longBits(id) };
    // A stream with one renewal; it may be repeated.
    const { TTL } = await this.#call(exchanges.keepAlive, '/etcdserverpb.Lease/LeaseKeepAlive', fields, 'read', {
      lease: id,
    });
    const ttlSeconds = safeNumber(TTL);
    if (ttlSeconds <= 0) throw new LeaseNotFoundError(id);
    return { ttlSeconds };
  }

  async leaseTimeToLive(
    id: bigint,
    options: { keys?: boolean } = {},
  ): Promise<{ ttlSeconds: number; grantedTtlSeconds: number; keys: Uint8Array[] }> {
    const fields = { ID: longBits(id), keys: options.keys ?? false };
    const answer = await this.#call(exchanges.timeToLive, '/etcdserverpb.Lease/LeaseTimeToLive', fields, 'read');
    const ttlSeconds = safeNumber(answer.TTL);
    if (ttlSeconds < 0) throw new LeaseNotFoundError(id);
    const keys = [...answer.keys].sort((a, b) => Buffer.compare(a, b));
    return { ttlSeconds, grantedTtlSeconds: safeNumber(answer.grantedTTL), keys };
  }

  async leases(): Promise<bigint[]> {
    const { leases } = await this.#call(exchanges.leases, '/etcdserverpb.Lease/LeaseLeases', {}, 'read');
    return leases.map(({ ID }) => signedBigint(ID));
  }

  async #alarm(action: number, memberId: bigint, alarm: number): Promise<Alarm[]> {
    const fields = { action, memberID: longBits(memberId), alarm };
    const { alarms } = await this.#call(
      exchanges.alarm,
      '/etcdserverpb.Maintenance/Alarm',
      fields,
      action === 0 ? 'read' : 'write',
    );
    return alarms.flatMap(({ memberID, alarm: number }) => {
      const type = alarmTypes[number - 1];
      return type === undefined ? [] : [{ memberId: BigInt.asUintN(64, signedBigint(memberID)), type }];
    });
  }

  alarms(): Promise<Alarm[]> {
    return this.#alarm(0, 0n, 0);
  }

  async raiseAlarm({ memberId, type }: Alarm): Promise<void> {
    await this.#alarm(1, memberId, alarmNumber(type));
  }

  async disarmAlarm({ memberId, type }: Alarm): Promise<Alarm[]> {
    // etcd itself knows no "any member": each is taken back by its name.
    const there = (await this.alarms()).filter(
      (alarm) => alarm.type === type && (memberId === 0n || alarm.memberId === memberId),
    );
    for (const alarm of there) await this.#alarm(2, alarm.memberId, alarmNumber(alarm.type));
    return there;
  }

  async hashKv(revision = 0): Promise<{ hash: number; revision: number; compactRevision: number }> {
    const about = { revision, timeoutMs: longRequestMs };
    const answer = await this.#call(exchanges.hashKv, '/etcdserverpb.Maintenance/HashKV', { revision }, 'read', about);
    return {
      hash: answer.hash >>> 0,
      revision: headerRevision(answer.header),
      compactRevision: Math.max(0, safeNumber(answer.compactRevision)),
    };
  }

  async defragment(): Promise<void> {
    await this.#call(exchanges.defragment, '/etcdserverpb.Maintenance/Defragment', {}, 'write', {
      timeoutMs: longRequestMs,
    });
    // What `status` tells of the size has changed.
    await this.refresh();
  }

  async snapshot(): Promise<StoreSnapshot> {
    this.#checkOpen();
    const pieces: Uint8Array[] = [];
    let failed: GrpcError | undefined;
    let ended = false;
    let bytes: number | undefined;
    let waiting = 0;
    let wake: () => void = () => undefined;
    const stream = await this.#connections.stream('/etcdserverpb.Maintenance/Snapshot', {
      onMessage: (message) => {
        const { blob, remainingBytes } = exchanges.snapshot.response.decode(message.slice());
        bytes ??= blob.length + safeNumber(remainingBytes);
        pieces.push(blob);
        waiting += blob.length;
        // Whoever writes it to a disk or a bucket may be slower than the etcd that sends it.
        if (waiting > snapshotWaitingBytes) stream.pause();
        wake();
      },
      onEnd: (error) => {
        failed = error;
        ended = true;
        wake();
      },
    });
    stream.send(exchanges.snapshot.request.encode({}));
    stream.endSending();
    const more = (): Promise<void> =>
      new Promise((resolve) => {
        wake = resolve;
        if (pieces.length > 0 || ended) resolve();
      });
    await more();
    if (failed) throw this.#storeError(failed, {});
    const storeError = (error: GrpcError): unknown => this.#storeError(error, {});
    return {
      revision: this.#revision,
      bytes: bytes ?? 0,
      async *pieces() {
        try {
          for (;;) {
            const piece = pieces.shift();
            if (piece !== undefined) {
              waiting -= piece.length;
              if (waiting <= snapshotWaitingBytes) stream.resume();
              yield piece;
            } else if (failed) throw storeError(failed);
            else if (ended) return;
            else await more();
          }
        } finally {
          stream.cancel();
        }
      },
    };
  }

  get cluster(): Cluster {
    const elsewhere = async (): Promise<never> => {
      throw new ClusterError('NOT_LEADER', 'members of an etcd are added and moved with etcdctl');
    };
    return {
      ...this.#ids,
      members: () => this.#members,
      addMember: elsewhere,
      removeMember: async (id) => {
        const about = { timeoutMs: longRequestMs };
        await this.#call(
          exchanges.removeMember,
          '/etcdserverpb.Cluster/MemberRemove',
          { ID: longBits(id) },
          'write',
          about,
        );
      },
      updateMember: elsewhere,
      promoteMember: elsewhere,
      successor: () => undefined,
      moveLeader: elsewhere,
    };
  }

  status(): StoreStatus {
    return { ...this.#status, revision: this.#revision, compactRevision: this.#compactRevision };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    const watches = [...this.#watches];
    this.#watches.clear();
    for (const watch of watches) watch.end(new StoreClosedError(this.#options.endpoints));
    this.#connections.close();
  }
}
