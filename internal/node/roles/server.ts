import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { errorText } from '../../base/errors.ts';
import { cryptoKeyText } from '../../ceph/auth/crypto.ts';
import type { MonClient } from '../../ceph/client/api.ts';
import type { Rados } from '../../ceph/client/rados-client.ts';
import { serveCsi } from '../../csi/grpc-server.ts';
import { identityService, rbdDriverName } from '../../csi/identity.ts';
import { csiProvisioner } from '../../csi/provisioner-client.ts';
import { rbdControllerService } from '../../csi/rbd-controller.ts';
import { builtinKinds, builtinOpenApi, builtinSchemas } from '../../kube/api/builtin.ts';
import { createApiServer } from '../../kube/apiserver/apiserver.ts';
import type { KubeClient, KubeObject } from '../../kube/client/api.ts';
import { createKubeClient } from '../../kube/client/client.ts';
import { startControllers } from '../../kube/controllers/index.ts';
import { startScheduler } from '../../kube/scheduler/scheduler.ts';
import {
  controllerObjects,
  controllersGroup,
  type Desired,
  edgeObjects,
  storageObjects,
} from '../../operator/objects.ts';
import { applyObject, startOperator } from '../../operator/operator.ts';
import { edgeUserName } from '../../pki/leaves.ts';
import { connectMon, connectRadosAs, keyringKey } from '../ceph-connect-client.ts';
import { startAnnouncer } from '../discovery/mdns-system.ts';
import { keepRoleLabels, roleLabels } from '../role-labels-client.ts';
import type { RoleContext, RoleHandle } from '../role.ts';
import { openControlStore } from './control-store.ts';
import { startJoining } from './server-join.ts';

/** The control plane of a node: store, API server, controllers, scheduler, operator, and the controller side of our CSI driver. */
export async function start(context: RoleContext): Promise<RoleHandle> {
  const { config, paths, log, clock, random } = context;
  const pem = (name: string): string => readFileSync(`${paths.pki}/${name}`, 'utf8');
  const pair = (name: string): { cert: string; key: string } => ({ cert: pem(`${name}.crt`), key: pem(`${name}.key`) });
  const { store, close: closeStore } = await openControlStore(context);
  const api = await createApiServer({
    store,
    kinds: builtinKinds,
    schemas: builtinSchemas,
    openapi: builtinOpenApi,
    pki: {
      server: pair('apiserver'),
      clientCa: pem('client-ca.crt'),
      requestHeaderCa: pem('request-header-ca.crt'),
      kubeletCa: pem('server-ca.crt'),
      kubeletClient: pair('apiserver-kubelet-client'),
      serviceAccount: { key: pem('service-account.key'), publicKeys: [pem('service-account.pub')] },
    },
    config: {
      serviceCIDR: config.cluster.serviceCIDR,
      nodePortRange: config.cluster.serviceNodePortRange,
      domain: config.cluster.domain,
      advertiseAddress: config.node.ip,
      port: config.ports.api,
      keepsHistory: config.compaction.keepMinutes + config.compaction.keepRevisions > 0,
    },
    clock,
    random,
    log,
  });
  const listener = await api.listen({ port: config.ports.api, host: '0.0.0.0' });
  log.info('the API server listens', { port: config.ports.api });
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

  const clientOf = (name: string, ...groups: string[]): KubeClient =>
    createKubeClient({
      transport: (request) => api.fetch(request, { identity: { name, groups: [...groups, 'system:authenticated'] } }),
      baseUrl: 'https://in-process',
      userAgent: `appliance/${name}`,
    });
  const admin = clientOf('system:appliance:operator', 'system:masters');
  for (const desired of controllerObjects()) await applyObject(admin, desired);

  const ceph = config.roles.includes('mon');
  let mon: Promise<MonClient> | undefined;
  const connectedMon = (): Promise<MonClient> => {
    if (!mon) {
      mon = connectMon(config, paths, log.with({ component: 'operator' }), 10_000);
      mon.catch(() => {
        mon = undefined;
      });
    }
    return mon;
  };
  const joining = await startJoining({ context, api, client: admin, mon: ceph ? connectedMon : undefined });
  const stopping = new AbortController();
  const labelling = keepRoleLabels({
    client: admin,
    node: config.node.name,
    labels: roleLabels(config),
    clock,
    log,
    stopping: stopping.signal,
  });
  const driver = ceph ? await startDriver(context) : undefined;
  const controllers = startControllers({
    client: clientOf('system:kube-controller-manager', controllersGroup),
    kinds: builtinKinds,
    clock,
    random,
    log: log.with({ component: 'controllers' }),
    host: config.node.name,
    rootCa: pem('server-ca.crt'),
    podCIDR: config.cluster.podCIDR,
    dnsPort: config.ports.dns,
    provisioners: driver ? [csiProvisioner(rbdDriverName, driver.socket)] : [],
  });
  const scheduler = startScheduler({
    client: clientOf('system:kube-scheduler'),
    clock,
    log: log.with({ component: 'scheduler' }),
    host: config.node.name,
  });
  const operator = startOperator({
    client: admin,
    mon: ceph ? connectedMon : undefined,
    objects: [
      ...edgeObjects(config, edgeUserName),
      ...(ceph ? storageObjects(config, csiUsers(context)) : []),
      ...manifests(config.manifestsDir, context),
    ],
    clock,
    log: log.with({ component: 'operator' }),
  });

  return {
    health: () => {
      const why = api.notReady();
      const pending = operator.pending();
      return { ok: why === '', detail: why || (pending ? `serves; still to do: ${pending}` : 'serves') };
    },
    stop: async () => {
      await announcer?.close();
      await operator.stop();
      stopping.abort();
      await labelling;
      await joining.stop();
      await mon?.then((one) => one.close()).catch(() => undefined);
      await scheduler.stop();
      await controllers.stop();
      await driver?.close();
      await listener.close();
      await api.close();
      await closeStore();
    },
  };
}

function csiUsers({ paths }: RoleContext) {
  const user = (id: string) => ({ userID: id, userKey: cryptoKeyText(keyringKey(paths, `client.${id}`)) });
  return { provisioner: user('csi-rbd-provisioner'), node: user('csi-rbd-node') };
}

/** The controller side of the rbd driver on its socket, with one RADOS client a user, made on first use. */
async function startDriver({
  config,
  instance,
  paths,
  log,
  random,
}: RoleContext): Promise<{ socket: string; close(): Promise<void> }> {
  const socket = `${paths.instanceRunDir(instance)}/csi-provisioner.sock`;
  const clients = new Map<string, Promise<Rados>>();
  const driverLog = log.with({ component: 'csi-rbd' });
  const server = await serveCsi(
    socket,
    {
      Identity: identityService({ name: rbdDriverName, version: '1', controller: true }),
      Controller: rbdControllerService({
        random,
        clients: (user) => {
          const key = `${user.userId} ${user.userKey}`;
          let client = clients.get(key);
          if (!client) {
            client = connectRadosAs(config, user, driverLog, 30_000);
            clients.set(key, client);
            client.catch(() => clients.delete(key));
          }
          return client;
        },
      }),
    },
    driverLog,
  );
  return {
    socket,
    close: async () => {
      await server.close();
      for (const client of clients.values()) await client.then((one) => one.close()).catch(() => undefined);
    },
  };
}

/** Objects of the YAML files in the manifests directory; a file that cannot be read is told and left out. */
function manifests(directory: string, { log }: RoleContext): Desired[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((name) => /\.(ya?ml|json)$/.test(name))
    .sort()
    .flatMap((name) => {
      try {
        return parseAllDocuments(readFileSync(join(directory, name), 'utf8'))
          .map((document) => document.toJS() as (KubeObject & Record<string, unknown>) | null)
          .flatMap((object): Desired[] => {
            if (!object) return [];
            const slash = object.apiVersion.lastIndexOf('/');
            const group = slash < 0 ? '' : object.apiVersion.slice(0, slash);
            const version = object.apiVersion.slice(slash + 1);
            const kind = builtinKinds.byKind(group, version, object.kind);
            if (!kind) throw new Error(`${object.apiVersion} ${object.kind} is not served`);
            if (kind.namespaced) object.metadata.namespace ??= 'default';
            return [{ resource: { group, version, resource: kind.plural }, object }];
          });
      } catch (error) {
        log.error('manifest is left out', { file: join(directory, name), error: errorText(error) });
        return [];
      }
    });
}
