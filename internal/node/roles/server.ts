import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { MonClient } from '../../ceph/client/api.ts';
import { builtinKinds, builtinOpenApi, builtinSchemas } from '../../kube/api/builtin.ts';
import { createApiServer } from '../../kube/apiserver/apiserver.ts';
import { goArchitecture } from '../../kube/kubelet/pause/elf.ts';
import { createKubeClient, type Transport } from '../../kube/client/client.ts';
import { fenced } from '../../kube/client/leader-election.ts';
import { controllerObjects } from '../../operator/objects.ts';
import { applyObject } from '../../operator/operator.ts';
import { readEncryptionKey } from '../../pki/server-pki-system.ts';
import { connectMon, hasCephKeys } from '../ceph-connect-client.ts';
import { startAnnouncer } from '../discovery/mdns-system.ts';
import { keepRoleLabels, roleLabels } from '../role-labels-client.ts';
import type { RoleContext, RoleHandle } from '../role.ts';
import { openControlStore } from './control-store.ts';
import { startAudit } from './server-audit.ts';
import { notYetJoining } from '../../join/join-service.ts';
import { startJoining } from './server-join.ts';
import { type ClientOf, operatorClient, startLeading } from './server-leader.ts';

/** The control plane of a node: store, API server, controllers, scheduler, operator, and the controller side of our CSI driver. */
export async function start(context: RoleContext): Promise<RoleHandle> {
  const { config, paths, log, clock, random } = context;
  const pem = (name: string): string => readFileSync(`${paths.pki}/${name}`, 'utf8');
  const pair = (name: string): { cert: string; key: string } => ({ cert: pem(`${name}.crt`), key: pem(`${name}.key`) });
  // Before it can serve: servers that wait for each other are found by it, too.
  const announcer = !config.mdns
    ? undefined
    : startAnnouncer({
        announcement: {
          node: config.node.name,
          port: config.ports.api,
          caHash: createHash('sha256').update(pem('server-ca.crt')).digest('hex'),
          roles: config.roles,
        },
        clusterNetworks: [config.cluster.podCIDR, config.cluster.serviceCIDR],
        clock,
        log: log.with({ component: 'mdns' }),
      });
  const control = await openControlStore(context);
  const { store } = control;
  const audit = await startAudit(context);
  const api = await createApiServer({
    audit,
    store,
    kinds: builtinKinds,
    schemas: builtinSchemas,
    openapi: builtinOpenApi,
    pki: {
      server: pair('apiserver'),
      clientCa: pem('client-ca.crt'),
      requestHeaderCa: pem('request-header-ca.crt'),
      requestHeaderClient: pair('request-header-client'),
      kubeletCa: pem('server-ca.crt'),
      kubeletClient: pair('apiserver-kubelet-client'),
      serviceAccount: { key: pem('service-account.key'), publicKeys: [pem('service-account.pub')] },
      encryptionKey: readEncryptionKey(paths),
    },
    config: {
      serviceCIDR: config.cluster.serviceCIDR,
      nodePortRange: config.cluster.serviceNodePortRange,
      domain: config.cluster.domain,
      advertiseAddress: config.node.ip,
      architecture: goArchitecture(process.arch),
      port: config.ports.api,
      secretsEncryption: config.secretsEncryption,
      keepsHistory: config.compaction.keepMinutes + config.compaction.keepRevisions > 0,
    },
    clock,
    random,
    log,
  });
  // Nodes that start together with this server ask as soon as the port is open: until `startJoining`.
  api.extend((request) => notYetJoining(new URL(request.url).pathname));
  const listener = await api.listen({ port: config.ports.api, host: '0.0.0.0' });
  log.info('the API server listens', { port: config.ports.api });
  const clientOf: ClientOf = (leadership, name, ...groups) => {
    const own: Transport = (request) =>
      api.fetch(request, { identity: { name, groups: [...groups, 'system:authenticated'] } });
    return createKubeClient({
      transport: leadership ? fenced(own, leadership) : own,
      baseUrl: 'https://in-process',
      userAgent: `appliance/${name}`,
    });
  };
  const admin = operatorClient(clientOf, undefined);
  for (const desired of controllerObjects()) await applyObject(admin, desired);

  let mon: Promise<MonClient> | undefined;
  const connectedMon = (): Promise<MonClient> => {
    if (!mon) {
      mon = connectMon(paths, log.with({ component: 'operator' }), 10_000);
      mon.catch(() => {
        mon = undefined;
      });
    }
    return mon;
  };
  const ceph = hasCephKeys(paths) ? connectedMon : undefined;
  const joining = await startJoining({ context, api, client: admin, control, mon: ceph });
  const stopping = new AbortController();
  const labelling = keepRoleLabels({
    client: admin,
    node: config.node.name,
    labels: roleLabels(config),
    clock,
    log,
    stopping: stopping.signal,
  });
  const leading = await startLeading({ context, clientOf, control, mon: ceph });

  return {
    health: () => {
      const why = api.notReady();
      return { ok: why === '', detail: why || leading.detail() };
    },
    stop: async () => {
      await announcer?.close();
      await leading.stop();
      stopping.abort();
      await labelling;
      await joining.stop();
      await mon?.then((one) => one.close()).catch(() => undefined);
      await api.close();
      await listener.close();
      await control.close();
      await audit?.close();
    },
  };
}
