import { readFileSync } from 'node:fs';
import { utf8Text } from '../../internal/base/bytes.ts';
import { AppError, errorText } from '../../internal/base/errors.ts';
import { silentLogger } from '../../internal/base/log.ts';
import type { Config } from '../../internal/config/config.ts';
import { loadConfig } from '../../internal/config/machine-system.ts';
import { nodePaths, type Paths } from '../../internal/config/paths.ts';
import type { Node, Pod } from '../../internal/kube/api/types.ts';
import type { KubeObject } from '../../internal/kube/client/api.ts';
import { createKubeClient } from '../../internal/kube/client/client.ts';
import { httpsTransport } from '../../internal/kube/client/https-transport.ts';
import { nodesRef, podsRef } from '../../internal/kube/client/resources.ts';
import { connectMon } from '../../internal/node/ceph-connect-client.ts';
import { controlRequest } from '../../internal/node/control-system.ts';
import type { NodeStatus } from '../../internal/node/supervisor-system.ts';
import { type Facts, report, type StatusReport } from './status-report.ts';

export type { StatusReport } from './status-report.ts';

const answerMs = 5000;

/** Prints how the node is. Exit code 0: all is well, 1: something is not, 3: nothing runs. */
export async function status(configPath: string | undefined, output: 'text' | 'json'): Promise<void> {
  const config = loadConfig(configPath);
  const result = await readStatus(config);
  if (output === 'json') console.log(JSON.stringify(result, undefined, 2));
  else console.log(result.sentences.join('\n'));
  process.exit(result.ok ? 0 : result.facts.supervisor ? 1 : 3);
}

async function readStatus(config: Config): Promise<StatusReport> {
  const paths = nodePaths(config.dataDir, config.runDir);
  const configured = { name: config.node.name, roles: config.roles };
  const supervisor = await controlRequest<NodeStatus>(paths.controlSocket, 'GET', '/status');
  if (!supervisor) return report({ configured, supervisor: undefined, kubernetes: undefined, storage: undefined });
  const [kubernetes, storage] = await Promise.all([
    config.roles.includes('server') ? inTime(readKubernetes(config, paths)) : undefined,
    config.roles.includes('mon') ? inTime(readStorage(config, paths)) : undefined,
  ]);
  return report({ configured, supervisor, kubernetes, storage });
}

async function inTime<T>(work: Promise<T>): Promise<T | { error: string }> {
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new AppError('TIMEOUT', `no answer within ${answerMs / 1000} s`)), answerMs).unref();
  });
  try {
    return await Promise.race([work, late]);
  } catch (error) {
    return { error: errorText(error) };
  }
}

async function readKubernetes(config: Config, paths: Paths): Promise<Exclude<Facts['kubernetes'], undefined>> {
  const pem = (name: string): string => readFileSync(`${paths.pki}/${name}`, 'utf8');
  const client = createKubeClient({
    transport: httpsTransport(() => ({ ca: pem('server-ca.crt'), cert: pem('admin.crt'), key: pem('admin.key') })),
    baseUrl: `https://${config.node.ip}:${config.ports.api}`,
    userAgent: 'appliance-status',
  });
  const [nodes, pods] = await Promise.all([
    client.list<Node & KubeObject>(nodesRef),
    client.list<Pod & KubeObject>(podsRef),
  ]);
  return {
    nodes: nodes.items.map((node) => {
      const ready = node.status?.conditions?.find((condition) => condition.type === 'Ready');
      return {
        name: node.metadata.name,
        ready: ready?.status === 'True',
        reason: ready?.message ?? 'it has not reported yet',
      };
    }),
    pods: pods.items.map((pod) => ({
      name: `${pod.metadata.namespace}/${pod.metadata.name}`,
      phase: pod.status?.phase ?? 'Pending',
      ready:
        pod.status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') ?? false,
    })),
  };
}

interface CephStatus {
  health: { status: string; checks: Record<string, { summary: { message: string } }> };
  osdmap: { num_osds: number; num_up_osds: number; num_in_osds: number };
  pgmap: {
    num_pgs: number;
    pgs_by_state: { state_name: string; count: number }[];
    bytes_used: number;
    bytes_total: number;
  };
}

async function readStorage(config: Config, paths: Paths): Promise<Exclude<Facts['storage'], undefined>> {
  const mon = await connectMon(config, paths, silentLogger, answerMs);
  const answer = await mon.command({ prefix: 'status', format: 'json' });
  void mon.close();
  if (answer.code !== 0) throw new AppError('MON', answer.status || `the mon answered ${answer.code}`);
  const { health, osdmap, pgmap } = JSON.parse(utf8Text(answer.output)) as CephStatus;
  return {
    health: health.status,
    checks: Object.entries(health.checks).map(([code, check]) => ({ code, summary: check.summary.message })),
    osds: { total: osdmap.num_osds, up: osdmap.num_up_osds, in: osdmap.num_in_osds },
    pgs: {
      total: pgmap.num_pgs,
      clean: pgmap.pgs_by_state.find((state) => state.state_name === 'active+clean')?.count ?? 0,
    },
    usedBytes: pgmap.bytes_used,
    totalBytes: pgmap.bytes_total,
  };
}
