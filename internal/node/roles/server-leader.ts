import { readFileSync } from 'node:fs';
import { builtinKinds } from '../../kube/api/builtin.ts';
import type { MonClient } from '../../ceph/client/api.ts';
import { readEngineRecord } from '../../ceph/engine/engine-record-system.ts';
import { addrHostPort } from '../../ceph/wire/types.ts';
import { csiProvisioner } from '../../csi/provisioner-client.ts';
import { rbdDriverName } from '../../csi/identity.ts';
import type { KubeClient } from '../../kube/client/api.ts';
import { LeaderElection, type Leadership } from '../../kube/client/leader-election.ts';
import { secretTokenSigner } from '../../kube/auth/service-account-tokens.ts';
import { startControllers } from '../../kube/controllers/index.ts';
import { startScheduler } from '../../kube/scheduler/scheduler.ts';
import { blockPool, controllersGroup, edgeObjects, storageObjects } from '../../operator/objects.ts';
import { type Operator, startOperator } from '../../operator/operator.ts';
import { edgeUserName } from '../../pki/leaves.ts';
import { readAuthority } from '../../pki/server-pki-system.ts';
import { monAddresses } from '../ceph-connect-client.ts';
import type { RoleContext } from '../role.ts';
import type { ControlStore } from './control-store.ts';
import { csiUsers, startDriver } from './server-csi.ts';
import { manifestSources } from './server-manifests.ts';
import { keepServerNodes } from './server-nodes.ts';

/** A client of this server's API as one of its users; with a leadership it is refused once another server leads. */
export type ClientOf = (leadership: Leadership | undefined, name: string, ...groups: string[]) => KubeClient;

export function operatorClient(clientOf: ClientOf, leadership: Leadership | undefined): KubeClient {
  return clientOf(leadership, 'system:appliance:operator', 'system:masters');
}

/** What one server of a cluster does for all: controllers, scheduler, operator. Each is elected by a Lease of its own, as upstream. */
export async function startLeading(options: {
  context: RoleContext;
  clientOf: ClientOf;
  control: ControlStore;
  /** A session with the mon; undefined where there is no storage. */
  mon: (() => Promise<MonClient>) | undefined;
}): Promise<{
  /** One sentence. */
  detail(): string;
  stop(): Promise<void>;
}> {
  const { clientOf, context, control, mon } = options;
  const { cluster } = control;
  const { clock, config, log, paths, random } = context;
  const pem = (name: string): string => readFileSync(`${paths.pki}/${name}`, 'utf8');
  const driver = mon ? await startDriver(context) : undefined;
  let operator: Operator | undefined;
  const alone = (): boolean =>
    cluster !== undefined && cluster.members().length === 1 && cluster.leaderId === cluster.memberId;
  const elect = (
    lease: string,
    user: string,
    lead: (leadership: Leadership) => Promise<{ stop(): Promise<void> }>,
  ): LeaderElection =>
    new LeaderElection({
      lease,
      holder: config.node.name,
      client: user === '' ? operatorClient(clientOf, undefined) : clientOf(undefined, user),
      alone,
      lead,
      clock,
      log: log.with({ component: 'leader-election' }),
    });

  const elections = {
    controllers: elect('kube-controller-manager', 'system:kube-controller-manager', async (leadership) =>
      startControllers({
        client: clientOf(leadership, 'system:kube-controller-manager', controllersGroup),
        kinds: builtinKinds,
        clock,
        random,
        log: log.with({ component: 'controllers' }),
        host: config.node.name,
        rootCa: pem('server-ca.crt'),
        signToken: await secretTokenSigner({
          privateKey: pem('service-account.key'),
          publicKey: pem('service-account.pub'),
        }),
        authorities: (name) => readAuthority(paths, name),
        podCIDR: config.cluster.podCIDR,
        dnsPort: config.ports.dns,
        provisioners: driver ? [csiProvisioner(rbdDriverName, driver.socket)] : [],
      }),
    ),
    scheduler: elect('kube-scheduler', 'system:kube-scheduler', async (leadership) =>
      startScheduler({
        client: clientOf(leadership, 'system:kube-scheduler'),
        clock,
        log: log.with({ component: 'scheduler' }),
        host: config.node.name,
      }),
    ),
    operator: elect('appliance-operator', '', async (leadership) => {
      const client = operatorClient(clientOf, leadership);
      const pool = readEngineRecord(paths)?.pool ?? blockPool;
      const storage = mon
        ? storageObjects(
            monAddresses(paths).map(([first]) => addrHostPort(first!)),
            csiUsers(paths),
            pool,
          )
        : [];
      const started = startOperator({
        client,
        mon,
        pool,
        objects: [...edgeObjects(config, edgeUserName), ...storage],
        sources: () => manifestSources(config.manifestsDir, client),
        clock,
        log: log.with({ component: 'operator' }),
      });
      const nodes = keepServerNodes({ client, cluster, clock, log: log.with({ component: 'servers' }) });
      operator = started;
      return {
        stop: async () => {
          operator = undefined;
          await nodes.stop();
          await started.stop();
        },
      };
    }),
  };

  return {
    detail: () => {
      const waits = control.waits();
      if (waits !== undefined) return waits;
      const pending = operator?.pending();
      if (pending !== undefined) return `serves; still to do: ${pending}`;
      const led = Object.entries(elections).flatMap(([what, election]) => (election.leads ? [what] : []));
      if (cluster === undefined || cluster.members().length === 1) return 'serves';
      return led.length > 0
        ? `serves; leads ${led.join(', ')}`
        : `serves; ${elections.controllers.leader ?? 'nobody'} leads`;
    },
    stop: async () => {
      await Promise.all(Object.values(elections).map((election) => election.stop()));
      await driver?.close();
    },
  };
}
