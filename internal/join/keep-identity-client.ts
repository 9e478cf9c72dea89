import { sleep } from '../base/clock.ts';
import { errorCode, errorText } from '../base/errors.ts';
import { readFileIfThere } from '../base/files-system.ts';
import type { Config } from '../config/config.ts';
import { effectiveConfigFile, type Paths } from '../config/paths.ts';
import type { RoleContext } from '../node/role.ts';
import { keepCertificates } from '../pki/keep-certificates.ts';
import { ensureNodePassword, publishKubeconfig } from '../pki/server-pki-system.ts';
import {
  ownClient,
  readServers,
  rememberServers,
  renewIdentity,
  requestCeph,
  writeCephConf,
  writeServers,
} from './identity-system.ts';
import { z } from 'zod';
import type { EndpointSlice } from '../kube/api/types.ts';
import type { KubeObject } from '../kube/client/api.ts';
import { Informer } from '../kube/client/informer.ts';
import { endpointSlicesRef } from '../kube/client/resources.ts';
import { apiClient } from '../kube/kubelet/api-client.ts';
import { serverAddress, serverAddresses } from './cluster-info.ts';

/** The list of servers is asked for so often; a node that misses a change still has the others. */
const serversMs = 300_000;
const kubeconfigMs = 60_000;
const monsMs = 60_000;

/** Keeps what a node knows of itself and its cluster fresh while it runs: its certificates, and where the servers are. Ends when `stopping` aborts. */
export async function keepIdentity(
  context: RoleContext,
  options: {
    /** The node's certificates are new. */
    renewed: () => void;
    /** Looks for servers of the cluster on the network, `host:port`. */
    discover: () => Promise<readonly string[]>;
    stopping: AbortSignal;
  },
): Promise<void> {
  const { renewed, stopping } = options;
  const { clock, config, paths, random } = context;
  const log = context.log.with({ component: 'identity' });
  const loops = [
    keepCertificates({
      addresses: () => [config.node.ip],
      ensure: (addresses) => renewIdentity(config, paths, addresses, clock, random),
      changed: renewed,
      clock,
      log,
      stopping,
    }),
  ];
  loops.push(config.roles.includes('server') ? keepKubeconfig(context, stopping) : keepServers(context, options));
  loops.push(followServers(context, stopping), keepMons(context, stopping));
  await Promise.all(loops);
}

/** The mode that holds now: a reload changes it while this role runs with what it was started with. */
export function kubeconfigMode(config: Config, { runDir }: Paths): string {
  const text = readFileIfThere(effectiveConfigFile(runDir));
  const running = text === undefined ? config : (JSON.parse(text) as Config);
  return running.writeKubeconfigMode;
}

/** The server renews the administrator's certificate; where people look for the kubeconfig only root may write. */
async function keepKubeconfig({ clock, config, log, paths }: RoleContext, stopping: AbortSignal): Promise<void> {
  while (!stopping.aborted) {
    await sleep(clock, kubeconfigMs, stopping);
    if (stopping.aborted) return;
    try {
      if (publishKubeconfig({ writeKubeconfigMode: kubeconfigMode(config, paths) }, paths))
        log.info('the kubeconfig has a renewed certificate');
    } catch (error) {
      log.warn('the kubeconfig could not be written', { file: paths.adminKubeconfig, error: errorText(error) });
    }
  }
}

/** Takes over which servers there are as soon as the Service `kubernetes` says so, so that one that joins is known before another one dies. */
async function followServers({ clock, config, log, paths }: RoleContext, stopping: AbortSignal): Promise<void> {
  const slices = new Informer<EndpointSlice & KubeObject>({
    client: apiClient(config, paths, 'edge', 'appliance-servers'),
    resource: endpointSlicesRef,
    list: { namespace: 'default', labelSelector: 'kubernetes.io/service-name=kubernetes' },
    clock,
    log,
  });
  const changed = (): void => {
    const live = slices.list().flatMap(serverAddresses);
    if (live.length > 0) rememberServers(config, paths, live);
  };
  slices.handle({ onAdd: changed, onUpdate: changed });
  await slices.run(stopping);
}

/** Follows which mons there are, for whoever starts from ceph.conf; who is connected hears of it from the mons. */
async function keepMons({ clock, config, log, paths, random }: RoleContext, stopping: AbortSignal): Promise<void> {
  while (!stopping.aborted) {
    await sleep(clock, monsMs, stopping);
    if (stopping.aborted || readFileIfThere(paths.cephConf) === undefined) continue;
    try {
      const self = { name: config.node.name, password: ensureNodePassword(paths, random) };
      const access = await requestCeph(ownClient(config, paths, clock, random), self);
      if (access && writeCephConf(paths, access))
        log.info('ceph.conf names other mons', { mons: access.monHosts.join() });
    } catch (error) {
      log.debug('the list of mons is the old one', { error: errorText(error) });
    }
  }
}

async function keepServers(
  { clock, config, log, paths, random }: RoleContext,
  { discover, stopping }: { discover: () => Promise<readonly string[]>; stopping: AbortSignal },
): Promise<void> {
  while (!stopping.aborted) {
    await sleep(clock, serversMs, stopping);
    if (stopping.aborted) return;
    try {
      const client = ownClient(config, paths, clock, random);
      const servers = z
        .array(serverAddress)
        .max(64)
        .parse(JSON.parse(await client.ask('/v1-k3s/apiservers')));
      if (servers.length > 0) rememberServers(config, paths, servers);
    } catch (error) {
      log.debug('the list of servers is the old one', { error: errorText(error) });
      if (errorCode(error) !== 'UNREACHABLE') continue;
      const found = await discover().catch(() => []);
      if (found.length > 0) {
        log.info('servers were found on the network', { servers: found.join() });
        writeServers(paths, [...found, ...readServers(paths)]);
      }
    }
  }
}
