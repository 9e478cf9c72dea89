/**
 * `bun test/bench/scheduler.ts`: (1) pods that the scheduler places in a second on 100 nodes, (2) the time until a Deployment of 3,000 pods on 100 fake nodes is
 * available. Real API server, store (on a tmpfs), controllers and scheduler in this one process, so that one core does everything, the clients' part included;
 * the fake nodes renew their Leases and report their pods running, nothing else. `BENCH_PODS` (3000).
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KubeObject } from '../../internal/kube/client/api.ts';
import { deploymentsRef, leasesRef, podsRef } from '../../internal/kube/client/resources.ts';
import { type Cluster, startCluster, until } from '../sim/kube/cluster.ts';

const pods = Number(process.env.BENCH_PODS ?? 3000);
const nodes = 100;
const minute = 60_000;
const base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'scheduler-bench-'));

const container = { name: 'main', image: 'busybox', resources: { requests: { cpu: '100m', memory: '64Mi' } } };

/** What a kubelet does while nothing happens. */
async function renewLeases(cluster: Cluster): Promise<void> {
  const spec = (): object => ({ leaseDurationSeconds: 40, renewTime: new Date().toISOString().replace('Z', '000Z') });
  for (let i = 0; i < nodes; i++) {
    const name = `node-${i}`;
    await cluster.client.patch(leasesRef, name, 'kube-node-lease', 'merge', { spec: spec() }).catch(() =>
      cluster.client.create(leasesRef, {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name, namespace: 'kube-node-lease' },
        spec: { holderIdentity: name, ...spec() },
      } as KubeObject),
    );
  }
}

async function withCluster(name: string, work: (cluster: Cluster) => Promise<void>): Promise<void> {
  const cluster = await startCluster(nodes, { dir: join(base, name) });
  await renewLeases(cluster);
  const timer = setInterval(() => void renewLeases(cluster).catch(console.error), 10_000);
  try {
    await work(cluster);
  } finally {
    clearInterval(timer);
    await cluster.close();
  }
}

function used(since: NodeJS.CpuUsage): string {
  const { user, system } = process.cpuUsage(since);
  return `${((user + system) / 1e6).toFixed(1)} s of CPU`;
}

await withCluster('rate', async (cluster) => {
  // Gated first, so that making the pods is not part of it.
  const gate = [{ name: 'bench.example.com/gate' }];
  for (let i = 0; i < pods; i += 50)
    await Promise.all(
      Array.from({ length: Math.min(50, pods - i) }, (_, n) =>
        cluster.client.create(podsRef, {
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name: `p-${i + n}`, namespace: 'default' },
          spec: { containers: [container], schedulerName: 'default-scheduler', schedulingGates: gate },
        } as KubeObject),
      ),
    );
  const cpu = process.cpuUsage();
  const began = performance.now();
  for (let i = 0; i < pods; i += 50)
    await Promise.all(
      Array.from({ length: Math.min(50, pods - i) }, (_, n) =>
        cluster.client.patch(podsRef, `p-${i + n}`, 'default', 'merge', { spec: { schedulingGates: null } }),
      ),
    );
  await until('all pods are placed', () => allPlaced(cluster), 10 * minute);
  const seconds = (performance.now() - began) / 1000;
  console.log(
    `${pods} pods on ${nodes} nodes placed and reported running in ${seconds.toFixed(1)} s: ${(pods / seconds).toFixed(0)} pods/s (${used(cpu)})`,
  );
});

await withCluster('deployment', async (cluster) => {
  const cpu = process.cpuUsage();
  const began = performance.now();
  await cluster.client.create(deploymentsRef, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web', namespace: 'default' },
    spec: {
      replicas: pods,
      selector: { matchLabels: { app: 'web' } },
      template: { metadata: { labels: { app: 'web' } }, spec: { containers: [container] } },
    },
  } as KubeObject);
  await until(
    'the Deployment is available',
    async () => {
      await Bun.sleep(200);
      const found = (await cluster.client.get(deploymentsRef, 'web', 'default')) as KubeObject & {
        status?: { availableReplicas?: number };
      };
      return found.status?.availableReplicas === pods;
    },
    10 * minute,
  );
  const seconds = (performance.now() - began) / 1000;
  console.log(`a Deployment of ${pods} pods on ${nodes} nodes available in ${seconds.toFixed(1)} s (${used(cpu)})`);
});
rmSync(base, { recursive: true, force: true });
process.exit(0);

async function allPlaced(cluster: Cluster): Promise<boolean> {
  await Bun.sleep(200);
  const without = await cluster.client.list(podsRef, {
    namespace: 'default',
    fieldSelector: 'spec.nodeName=',
    limit: 1,
  });
  return without.items.length === 0;
}
