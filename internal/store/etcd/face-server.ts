import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import { PrometheusText, prometheusContentType } from '../../base/prometheus.ts';
import type { Random } from '../../base/random.ts';
import type { Store } from '../api.ts';
import { GrpcCounters } from '../grpc/counters.ts';
import { type GrpcLimits, type GrpcServer, type GrpcTls, type HttpAnswer, serveGrpc } from '../grpc/server.ts';
import type { Method } from '../grpc/service.ts';
import { longBits } from '../mvccpb.ts';
import { authService } from './auth-service.ts';
import { clusterService } from './cluster-service.ts';
import { defaultFaceLimits, type FaceContext, type FaceLimits, unaryMethod } from './context.ts';
import { healthService } from './health-service.ts';
import { kvService } from './kv-service.ts';
import { leaseService } from './lease-service.ts';
import { etcdClusterVersion, etcdVersion, maintenanceService } from './maintenance-service.ts';
import { etcdMetrics } from './metrics.ts';
import { HeaderWriter } from './responses.ts';
import { watchService } from './watch-service.ts';

/** Room beside the largest request for what is around it on the wire, as etcd's grpcOverheadBytes. */
const messageOverheadBytes = 512 << 10;

export interface FaceOptions {
  readonly store: Store;
  /** One listener each; port 0: any. */
  readonly addresses: readonly string[];
  readonly port: number;
  /** Absent: plain text, for tests on loopback. */
  readonly tls?: GrpcTls;
  readonly limits?: Partial<FaceLimits>;
  readonly grpcLimits?: Partial<GrpcLimits>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface EtcdFace {
  readonly port: number;
  /** New connections get this certificate; those that are open go on. */
  renew(tls: GrpcTls): void;
  close(): Promise<void>;
}

/** Serves the store as etcd v3 over gRPC, and `/health`, `/metrics` and `/version` over HTTP. */
export async function serveEtcd(options: FaceOptions): Promise<EtcdFace> {
  const { store, clock, random, log, tls } = options;
  const { cluster } = store;
  const limits = { ...defaultFaceLimits, ...options.limits };
  const context: FaceContext = {
    store,
    header: new HeaderWriter(cluster, () => cluster.term),
    headerFields: () => ({
      clusterId: longBits(cluster.clusterId),
      memberId: longBits(cluster.memberId),
      revision: store.revision,
      raftTerm: cluster.term,
    }),
    limits,
    clock,
    random,
    log,
    unary: unaryMethod,
  };
  const services = new Map<string, Map<string, Method>>([
    ['etcdserverpb.KV', kvService(context)],
    ['etcdserverpb.Watch', watchService(context)],
    ['etcdserverpb.Lease', leaseService(context)],
    ['etcdserverpb.Cluster', clusterService(context)],
    ['etcdserverpb.Maintenance', maintenanceService(context)],
    ['etcdserverpb.Auth', authService(context)],
  ]);
  const healthy = async (): Promise<boolean> => {
    if (cluster.leaderId === 0n || (await store.alarms()).length > 0) return false;
    await store.range({ key: new Uint8Array(1), keysOnly: true });
    return true;
  };
  services.set(
    'grpc.health.v1.Health',
    healthService(
      () => services.keys(),
      () => healthy().catch(() => false),
    ),
  );
  const counters = new GrpcCounters();
  const http = async (path: string): Promise<HttpAnswer | undefined> => {
    switch (path.split('?')[0]) {
      case '/version':
        return {
          status: 200,
          body: JSON.stringify({ etcdserver: etcdVersion, etcdcluster: etcdClusterVersion }),
        };
      case '/health': {
        const well = await healthy().catch(() => false);
        return { status: well ? 200 : 503, body: `${JSON.stringify({ health: String(well) })}\n` };
      }
      case '/metrics':
        return {
          status: 200,
          body: etcdMetrics(store, counters) + processMetrics(),
          contentType: prometheusContentType,
        };
      default:
        return undefined;
    }
  };
  const servers: GrpcServer[] = [];
  let port = options.port;
  try {
    for (const host of options.addresses) {
      const server = await serveGrpc({
        host,
        port,
        ...(tls && { tls }),
        services,
        http,
        counters,
        maxMessageBytes: limits.requestBytes + messageOverheadBytes,
        ...(options.grpcLimits && { limits: options.grpcLimits }),
        clock,
        log,
      });
      servers.push(server);
      port = server.port;
    }
  } catch (error) {
    await Promise.all(servers.map((server) => server.close()));
    throw error;
  }
  return {
    port,
    renew: (renewed) => {
      for (const server of servers) server.renew(renewed);
    },
    close: async () => {
      await Promise.all(servers.map((server) => server.close()));
    },
  };
}

/** What Prometheus' clients tell of their process. */
function processMetrics(): string {
  const { user, system } = process.cpuUsage();
  const text = new PrometheusText('process_');
  text.add('counter', 'cpu_seconds_total', 'Total user and system CPU time spent in seconds.', (user + system) / 1e6);
  text.add('gauge', 'resident_memory_bytes', 'Resident memory size in bytes.', process.memoryUsage.rss());
  const started = Date.now() / 1000 - process.uptime();
  text.add('gauge', 'start_time_seconds', 'Start time of the process since unix epoch in seconds.', started);
  return text.toString();
}
