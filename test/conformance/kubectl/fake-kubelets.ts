/** Nodes whose kubelets say that every pod runs, and let go of each that is to end. */
import type { Cluster } from '../api/harness.ts';

export class FakeKubelets {
  readonly #cluster: Cluster;
  readonly #nodes: readonly string[];
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  private constructor(cluster: Cluster, nodes: readonly string[]) {
    this.#cluster = cluster;
    this.#nodes = nodes;
  }

  static async start(cluster: Cluster, nodes: readonly string[]): Promise<FakeKubelets> {
    const kubelets = new FakeKubelets(cluster, nodes);
    const amounts = { cpu: '8', memory: '8Gi', pods: '110' };
    for (const name of nodes) {
      await cluster.resource('v1', 'nodes').create({
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name, labels: { 'kubernetes.io/hostname': name } },
        status: { capacity: amounts, allocatable: amounts, conditions: [{ type: 'Ready', status: 'True' }] },
      });
    }
    kubelets.#running = kubelets.#run();
    return kubelets;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    let address = 1;
    let renewed = 0;
    while (!this.#stopping.signal.aborted) {
      if (performance.now() - renewed > 5000 || renewed === 0) {
        renewed = performance.now();
        for (const name of this.#nodes) await this.#renew(name);
      }
      for (const { metadata, spec, status } of (await this.#cluster.resource('v1', 'pods').list()).items) {
        if (!spec.nodeName) continue;
        const pods = this.#cluster.resource('v1', 'pods', metadata.namespace);
        if (metadata.deletionTimestamp) {
          await this.#cluster.call('DELETE', pods.path(metadata.name), { gracePeriodSeconds: 0 });
        } else if (status.phase === 'Pending') {
          const ready = ['Ready', 'ContainersReady', 'Initialized'].map((type) => ({ type, status: 'True' }));
          const next = { phase: 'Running', podIP: `10.42.0.${++address}`, conditions: ready };
          const type = 'application/strategic-merge-patch+json';
          await this.#cluster.call('PATCH', pods.path(metadata.name, 'status'), { status: next }, { type });
        }
      }
      await Bun.sleep(50);
    }
  }

  async #renew(name: string): Promise<void> {
    const leases = this.#cluster.resource('coordination.k8s.io/v1', 'leases', 'kube-node-lease');
    const spec = {
      holderIdentity: name,
      leaseDurationSeconds: 40,
      renewTime: `${new Date().toISOString().slice(0, -1)}000Z`,
    };
    await leases.patch(name, 'apply', { apiVersion: leases.groupVersion, kind: 'Lease', metadata: { name }, spec });
  }
}
