import { PrometheusText } from '../../base/prometheus.ts';
import type { Store } from '../api.ts';
import type { GrpcCounters } from '../grpc/counters.ts';
import { etcdClusterVersion, etcdVersion } from './maintenance-service.ts';

/** What etcd tells at `/metrics` and its dashboards and alerts ask for, by etcd's names (etcd.io/docs/v3.5/metrics). */
export function etcdMetrics(store: Store, grpc: GrpcCounters): string {
  const { cluster } = store;
  const status = store.status();
  const { counters } = status;
  const text = new PrometheusText();
  const gauge = (name: string, help: string, value: number): void => text.add('gauge', name, help, value);
  const counter = (name: string, help: string, value: number): void => text.add('counter', name, help, value);
  const leads = cluster.leaderId === cluster.memberId;
  const learner = cluster.members().some(({ id, learner }) => id === cluster.memberId && learner);

  gauge(
    'etcd_server_has_leader',
    'Whether or not a leader exists. 1 is existence, 0 is not.',
    Number(cluster.leaderId !== 0n),
  );
  gauge('etcd_server_is_leader', 'Whether or not this member is a leader. 1 if is, 0 otherwise.', Number(leads));
  gauge('etcd_server_is_learner', 'Whether or not this member is a learner. 1 if is, 0 otherwise.', Number(learner));
  text.add('gauge', 'etcd_server_id', 'Server or member ID in hexadecimal format. 1 for current server_id.', [
    [{ server_id: cluster.memberId.toString(16) }, 1],
  ]);
  text.add('gauge', 'etcd_server_version', 'Which version is running. 1 for current version.', [
    [{ server_version: etcdVersion }, 1],
  ]);
  text.add('gauge', 'etcd_cluster_version', 'Which version is running. 1 for current version.', [
    [{ cluster_version: etcdClusterVersion.replace(/\.\d+$/, '') }, 1],
  ]);
  gauge(
    'etcd_server_proposals_committed_total',
    'The total number of consensus proposals committed.',
    cluster.commitIndex,
  );
  gauge('etcd_server_proposals_applied_total', 'The total number of consensus proposals applied.', status.appliedIndex);
  gauge('etcd_server_quota_backend_bytes', 'Current backend storage quota size in bytes.', status.quotaBytes);
  gauge(
    'etcd_mvcc_db_total_size_in_bytes',
    'Total size of the underlying database physically allocated in bytes.',
    status.databaseBytes,
  );
  gauge(
    'etcd_mvcc_db_total_size_in_use_in_bytes',
    'Total size of the underlying database logically in use in bytes.',
    status.databaseBytesInUse,
  );
  gauge('etcd_debugging_mvcc_keys_total', 'Total number of keys.', status.keys);
  gauge('etcd_debugging_mvcc_current_revision', 'The current revision of store.', status.revision);
  gauge(
    'etcd_debugging_mvcc_compact_revision',
    'The revision of the last compaction in store.',
    status.compactRevision,
  );
  if (counters !== undefined) {
    counter('etcd_server_leader_changes_seen_total', 'The number of leader changes seen.', counters.leaderChanges);
    gauge(
      'etcd_server_proposals_pending',
      'The current number of pending proposals to commit.',
      counters.proposalsPending,
    );
    counter(
      'etcd_server_proposals_failed_total',
      'The total number of failed proposals seen.',
      counters.proposalsFailed,
    );
    counter('etcd_mvcc_put_total', 'Total number of puts seen by this member.', counters.puts);
    counter('etcd_mvcc_delete_total', 'Total number of deletes seen by this member.', counters.deletes);
    counter('etcd_mvcc_range_total', 'Total number of ranges seen by this member.', counters.ranges);
    counter('etcd_mvcc_txn_total', 'Total number of txns seen by this member.', counters.txns);
    gauge('etcd_debugging_mvcc_watcher_total', 'Total number of watchers.', counters.watches);
    gauge('etcd_debugging_lease_total', 'Total number of leases.', counters.leases);
    text.histogram(
      'etcd_disk_wal_fsync_duration_seconds',
      'The latency distributions of fsync called by WAL.',
      counters.logSyncSeconds,
    );
    text.histogram(
      'etcd_disk_backend_commit_duration_seconds',
      'The latency distributions of commit called by backend.',
      counters.databaseWriteSeconds,
    );
  }
  counter(
    'etcd_network_client_grpc_received_bytes_total',
    'The total number of bytes received from grpc clients.',
    grpc.receivedBytes,
  );
  counter(
    'etcd_network_client_grpc_sent_bytes_total',
    'The total number of bytes sent to grpc clients.',
    grpc.sentBytes,
  );
  grpcMetrics(text, grpc);
  return text.toString();
}

/** By the names of grpc-ecosystem/go-grpc-prometheus, which etcd has. */
function grpcMetrics(text: PrometheusText, grpc: GrpcCounters): void {
  const methods = [...grpc.methods()].map((counts) => ({
    counts,
    labels: { grpc_type: counts.type, grpc_service: counts.service, grpc_method: counts.method },
  }));
  const add = (name: string, help: string, value: (counts: (typeof methods)[number]['counts']) => number): void =>
    text.add(
      'counter',
      name,
      help,
      methods.map(({ labels, counts }) => [labels, value(counts)] as const),
    );
  add('grpc_server_started_total', 'Total number of RPCs started on the server.', ({ started }) => started);
  add(
    'grpc_server_msg_received_total',
    'Total number of RPC stream messages received on the server.',
    ({ received }) => received,
  );
  add('grpc_server_msg_sent_total', 'Total number of gRPC stream messages sent by the server.', ({ sent }) => sent);
  text.add(
    'counter',
    'grpc_server_handled_total',
    'Total number of RPCs completed on the server, regardless of success or failure.',
    methods.flatMap(({ labels, counts }) =>
      [...counts.handled].map(([grpc_code, value]) => [{ ...labels, grpc_code }, value] as const),
    ),
  );
}
