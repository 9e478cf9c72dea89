import { readFileSync } from 'node:fs';
import { utf8Text } from '../../internal/base/bytes.ts';
import { AppError, errorText, isRefused } from '../../internal/base/errors.ts';
import { readFileIfThere } from '../../internal/base/files-system.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { confMonHosts } from '../../internal/ceph/client/ceph-conf.ts';
import type { Config } from '../../internal/config/config.ts';
import { runningConfig } from '../../internal/config/machine-system.ts';
import { nodePaths, type Paths } from '../../internal/config/paths.ts';
import type { Node, Pod } from '../../internal/kube/api/types.ts';
import type { KubeClient, KubeObject } from '../../internal/kube/client/api.ts';
import { knownServers } from '../../internal/join/identity-system.ts';
import { createKubeClient } from '../../internal/kube/client/client.ts';
import { httpsTransport } from '../../internal/kube/client/https-transport.ts';
import { nodesRef, podsRef } from '../../internal/kube/client/resources.ts';
import { apiClient } from '../../internal/kube/kubelet/api-client.ts';
import { connectMon, storageUsers } from '../../internal/node/ceph-connect-client.ts';
import { clockProblem } from '../../internal/base/last-time-system.ts';
import { authorityWarning } from '../../internal/pki/authority-ends.ts';
import { readAuthorityLives } from '../../internal/pki/authority-ends-system.ts';
import { ownStoreAccess } from '../../internal/node/store-access.ts';
import { openExternalEtcd } from '../../internal/store/external/external-client.ts';
import { memberStates } from '../../internal/store/external/member-states-client.ts';
import { systemClock } from '../../internal/base/system.ts';
import { controlRequest } from '../../internal/node/control-system.ts';
import type { NodeStatus } from '../../internal/node/status.ts';
import { type CommandModule, configArguments, type OutputFormat, withExamples, withOutput } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { print, printOn } from './output.ts';
import { type Facts, report, type StatusReport, statusText } from './status-report.ts';
import { terminal } from './terminal.ts';

export type { StatusReport } from './status-report.ts';

const answerMs = 5000;

export const command: CommandModule = {
  define(command) {
    withOutput(command).option('-w, --watch [seconds]', 'again and again, every 2 seconds or as many as are given');
    withExamples(command, [
      ['appliance status', 'exit code 0: all is well, 1: something is not, 3: nothing runs'],
      ['appliance status --watch', 'until Ctrl-C'],
      ['appliance status -o json', 'everything that is known, for programs'],
    ]).action((options: { output: OutputFormat; watch?: true | string }) =>
      status(runningConfig(configArguments(command)), options.output, options.watch),
    );
  },
};

async function status(config: Config, output: OutputFormat, watch: true | string | undefined): Promise<void> {
  const everyMs = 1000 * (watch === undefined || watch === true ? 2 : Number(watch));
  if (!(everyMs >= 500 && everyMs <= 3_600_000))
    throw new AppError('USAGE', `--watch takes seconds from 0.5 to 3600, got ${String(watch)}`);
  const { live } = terminal(process.stdout);
  // The first answer may take seconds.
  if (watch !== undefined && live && output === 'table') process.stdout.write('\x1b[H\x1b[Jasking…\n');
  for (;;) {
    const result = await readStatus(config);
    // Home and erase below: the screen does not flicker as it does when it is cleared first.
    if (watch !== undefined && live) process.stdout.write('\x1b[H\x1b[J');
    const text = (): string => statusText(result, process.stdout.columns);
    if (watch === undefined) {
      print(output, result, text);
      process.exit(exitCodes[result.ok ? 'ok' : result.facts.supervisor ? 'failed' : 'notRunning'].code);
    }
    await printOn(output, result, text);
    if (!live && output !== 'json') process.stdout.write(output === 'yaml' ? '---\n' : '\n');
    await Bun.sleep(everyMs);
  }
}

async function readStatus(config: Config): Promise<StatusReport> {
  const paths = nodePaths(config.dataDir, config.runDir);
  const externalStorage = config.storage.engine === 'external';
  const configured = { name: config.node.name, roles: config.roles, ...(externalStorage && { externalStorage }) };
  const supervisor = await controlRequest<NodeStatus>(paths.controlSocket, 'GET', '/status');
  if (!supervisor)
    return report({ configured, supervisor: undefined, kubernetes: undefined, storage: undefined, servers: undefined });
  const [kubernetes, storage, servers] = await Promise.all([
    config.roles.includes('server') || config.roles.includes('agent')
      ? inTime(readKubernetes(config, paths))
      : undefined,
    worksWithStorage(config) ? inTime(readStorage(paths)).then((told) => ofExternal(told, config, paths)) : undefined,
    config.roles.includes('server') && config.datastore === undefined ? inTime(readServers(config)) : undefined,
  ]);
  const [server] = knownServers(config, paths);
  return report({
    configured,
    api: server === undefined ? undefined : `https://${server}`,
    supervisor,
    clock: clockProblem(config.dataDir),
    authorities: authorityProblem(paths),
    kubernetes,
    storage,
    servers,
  });
}

/** Undefined as well for who may not read them. */
function authorityProblem(paths: Paths): Facts['authorities'] {
  try {
    return authorityWarning(readAuthorityLives(paths), systemClock.now());
  } catch {
    return undefined;
  }
}

/** Its health is this node's to tell: of its own mon, or as a server of an external cluster. */
function worksWithStorage({ roles, storage }: Config): boolean {
  return roles.includes('mon') || (storage.engine === 'external' && roles.includes('server'));
}

async function inTime<T>(work: Promise<T>): Promise<T | { error: string }> {
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new AppError('TIMEOUT', `no answer within ${answerMs / 1000} s`)), answerMs).unref();
  });
  try {
    return await Promise.race([work, late]);
  } catch (error) {
    // The engine's words for it ask whether a web page can be opened.
    return { error: isRefused(error) ? 'nothing listens at its address' : errorText(error) };
  }
}

function adminClient(config: Config, paths: Paths): KubeClient {
  const pem = (name: string): string => readFileSync(`${paths.pki}/${name}`, 'utf8');
  return createKubeClient({
    transport: httpsTransport(() => ({ ca: pem('server-ca.crt'), cert: pem('admin.crt'), key: pem('admin.key') })),
    baseUrl: `https://${config.node.ip}:${config.ports.api}`,
    userAgent: 'appliance-status',
  });
}

async function readKubernetes(config: Config, paths: Paths): Promise<Exclude<Facts['kubernetes'], undefined>> {
  // A server tells of the cluster, a node that joined of itself.
  const server = config.roles.includes('server');
  const client = server ? adminClient(config, paths) : apiClient(config, paths, 'kubelet', 'appliance-status');
  const [nodes, pods] = await Promise.all([
    client.list<Node & KubeObject>(nodesRef, server ? {} : { fieldSelector: `metadata.name=${config.node.name}` }),
    client.list<Pod & KubeObject>(podsRef, server ? {} : { fieldSelector: `spec.nodeName=${config.node.name}` }),
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

/** How the members of the store say that they are. */
async function readServers(config: Config): Promise<Exclude<Facts['servers'], undefined>> {
  const { endpoints, tls } = ownStoreAccess(config);
  const access = { tls, clock: systemClock, log: silentLogger };
  const store = await openExternalEtcd({ ...access, endpoints });
  try {
    const states = await memberStates(store, access);
    return states.map(({ member, role, state, behind, error, leaderId }) => ({
      name: member.name || (member.node ?? member.peerUrls.join()),
      role,
      state,
      ...(behind !== undefined && { behind }),
      ...(error !== undefined && { error }),
      hasLeader: leaderId !== undefined && leaderId !== 0n,
    }));
  } finally {
    await store.close();
  }
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

/** Of an external cluster that does not answer: which is asked, and as whom. */
function ofExternal<T extends object>(
  told: T | { error: string },
  { storage }: Config,
  paths: Paths,
): T | { error: string } {
  if (!('error' in told) || storage.engine !== 'external') return told;
  const hosts = confMonHosts(readFileIfThere(paths.cephConf) ?? '').join(', ');
  const why = `the Ceph cluster at ${hosts} does not take ${storageUsers(paths).admin}: ${String(told.error)}`;
  return { error: `${why}; \`appliance doctor\` tells what to check` };
}

async function readStorage(paths: Paths): Promise<Exclude<Facts['storage'], undefined>> {
  // Before the limit of the whole question: it says who did not answer.
  const mon = await connectMon(paths, silentLogger, answerMs - 500);
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
