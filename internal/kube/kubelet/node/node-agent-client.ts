import { type Clock, sleep } from '../../../base/clock.ts';
import { AppError, errorText } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import type { NodeTaint } from '../../../config/config.ts';
import type { CSINode, CSINodeDriver, Lease, Node, NodeStatus } from '../../api/types.ts';
import type { KubeClient, KubeObject, ObjectMeta } from '../../client/api.ts';
import { isStatus } from '../../machinery/status.ts';
import { formatMicroTime } from '../../machinery/time.ts';
import type { CriClient } from '../cri/cri-client.ts';
import { sameJson } from '../equal.ts';
import { csiNodesRef, leasesRef, nodesRef } from '../pod-types.ts';
import type { CsiRegistry } from '../volume/csi-registry-shell.ts';
import { nodeFacts } from './facts-system.ts';
import { nodeLabels, nodeStatus } from './node-status.ts';

type ApiNode = Node & { metadata: ObjectMeta };

const statusMs = 10_000;
/** While the node cannot run pods, so that it is not idle longer than it must. */
const notReadyMs = 1_000;
/** A status with nothing new is sent this often; the Lease is the heartbeat. */
const statusAnywayMs = 300_000;
const leaseMs = 10_000;
const leaseSeconds = 40;
const csiMs = 5_000;
const nodeIdAnnotation = 'csi.volume.kubernetes.io/nodeid';

export interface NodeAgentOptions {
  readonly client: KubeClient;
  readonly cri: CriClient;
  readonly registry: CsiRegistry;
  readonly clock: Clock;
  readonly log: Logger;
  readonly nodeName: string;
  readonly ip: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Set when the node registers (the kubelet's `registerWithTaints`), never again: they are the administrator's then. */
  readonly taints: readonly NodeTaint[];
  readonly kubeletPort: number;
  readonly dataDir: string;
  /** Why the node is not to register itself anew, undefined when it may. */
  readonly unwanted: () => string | undefined;
  /** Why the node cannot run pods, undefined when it can. */
  readonly notReady: () => Promise<string | undefined>;
}

/** Keeps the Node object, its Lease and its CSINode object. */
export class NodeAgent {
  readonly #options: NodeAgentOptions;
  #node: ApiNode | undefined;
  #sentAtMs = Number.NEGATIVE_INFINITY;
  #runtimeVersion = '';
  #kick: (() => void) | undefined;
  /** Asked for while a status was on its way. */
  #kicked = false;
  #ready = false;

  constructor(options: NodeAgentOptions) {
    this.#options = options;
  }

  /** The Node object as last seen. */
  get node(): ApiNode | undefined {
    return this.#node;
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([
      this.#every(
        () => (this.#ready ? statusMs : notReadyMs),
        signal,
        'node status',
        () => this.#status(),
      ),
      this.#every(
        () => leaseMs,
        signal,
        'node lease',
        () => this.#lease(),
      ),
      this.#every(
        () => csiMs,
        signal,
        'CSINode',
        () => this.#csiNode(),
      ),
    ]);
  }

  /** Sends the status soon, because readiness changed. */
  kick(): void {
    this.#kicked = true;
    this.#kick?.();
  }

  async #every(period: () => number, signal: AbortSignal, what: string, work: () => Promise<void>): Promise<void> {
    const { clock, log } = this.#options;
    let failures = 0;
    while (!signal.aborted) {
      let delayMs: number;
      try {
        await work();
        failures = 0;
        delayMs = period();
      } catch (error) {
        failures++;
        delayMs = Math.min(period(), 500 * 2 ** failures);
        log.debug(`${what} not written`, { error: errorText(error) });
      }
      await new Promise<void>((resolve) => {
        if (what === 'node status') {
          this.#kick = resolve;
          if (this.#kicked) resolve();
        }
        void sleep(clock, delayMs, signal).then(resolve);
      });
    }
  }

  async #register(): Promise<ApiNode> {
    const { client, ip, labels, log, nodeName, taints } = this.#options;
    const facts = nodeFacts(this.#options.dataDir);
    const wanted = { ...nodeLabels(nodeName, facts.architecture), ...labels };
    try {
      const node = await client.get<ApiNode>(nodesRef, nodeName);
      const missing = Object.entries(wanted).filter(([key, value]) => node.metadata.labels?.[key] !== value);
      if (missing.length === 0) return node;
      return await client.patch<ApiNode>(nodesRef, nodeName, undefined, 'merge', {
        metadata: { labels: Object.fromEntries(missing) },
      });
    } catch (error) {
      if (!isStatus(error, 'NotFound')) throw error;
    }
    const unwanted = this.#options.unwanted();
    if (unwanted !== undefined) throw new AppError('REMOVED', unwanted);
    const node: ApiNode = {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: nodeName, labels: wanted, annotations: { 'alpha.kubernetes.io/provided-node-ip': ip } },
      ...(taints.length > 0 ? { spec: { taints: [...taints] } } : {}),
    };
    log.info('node registers itself', { node: nodeName });
    return client.create<ApiNode>(nodesRef, node);
  }

  async #status(): Promise<void> {
    const { clock, cri, client, ip, kubeletPort, nodeName } = this.#options;
    this.#kicked = false;
    if (this.#node) {
      try {
        this.#node = await client.get<ApiNode>(nodesRef, nodeName);
      } catch (error) {
        if (!isStatus(error, 'NotFound')) throw error;
        this.#node = undefined;
      }
    }
    this.#node ??= await this.#register();
    const notReady = await this.#options.notReady();
    this.#ready = notReady === undefined;
    if (this.#runtimeVersion === '' && notReady === undefined) {
      const version = await cri.version();
      this.#runtimeVersion = `${version.runtimeName}://${version.runtimeVersion}`;
    }
    const images = await cri.listImages().catch(() => []);
    const status = nodeStatus({
      facts: nodeFacts(this.#options.dataDir),
      nodeName,
      ip,
      kubeletPort,
      runtimeVersion: this.#runtimeVersion,
      notReady,
      images,
      nowMs: clock.now(),
      old: this.#node.status,
    });
    const now = clock.monotonic();
    if (sameJson(quiet(status), quiet(this.#node.status)) && now - this.#sentAtMs < statusAnywayMs) return;
    this.#node = await client.update<ApiNode>(nodesRef, { ...this.#node, status }, { subresource: 'status' });
    this.#sentAtMs = now;
  }

  async #lease(): Promise<void> {
    const { client, clock, nodeName } = this.#options;
    const renewTime = formatMicroTime(clock.now());
    type ApiLease = Lease & { metadata: ObjectMeta };
    const owner = this.#node?.metadata.uid;
    const ownerReferences = owner ? [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid: owner }] : undefined;
    try {
      const lease = await client.get<ApiLease>(leasesRef, nodeName, 'kube-node-lease');
      lease.spec = { ...lease.spec, holderIdentity: nodeName, leaseDurationSeconds: leaseSeconds, renewTime };
      if (ownerReferences && !lease.metadata.ownerReferences) lease.metadata.ownerReferences = ownerReferences;
      await client.update<ApiLease>(leasesRef, lease);
    } catch (error) {
      if (!isStatus(error, 'NotFound')) throw error;
      await client.create<ApiLease>(leasesRef, {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name: nodeName, namespace: 'kube-node-lease', ...(ownerReferences ? { ownerReferences } : {}) },
        spec: { holderIdentity: nodeName, leaseDurationSeconds: leaseSeconds, renewTime },
      });
    }
  }

  async #csiNode(): Promise<void> {
    const { client, log, nodeName, registry } = this.#options;
    const node = this.#node;
    if (!node) return;
    const drivers: CSINodeDriver[] = [];
    for (const name of registry.drivers()) {
      try {
        const info = await registry.client(name).info();
        const segments = info.accessibleTopology?.segments ?? {};
        drivers.push({
          name,
          nodeID: info.nodeId,
          topologyKeys: Object.keys(segments),
          ...(info.maxVolumesPerNode > 0 ? { allocatable: { count: info.maxVolumesPerNode } } : {}),
        });
      } catch (error) {
        log.debug('CSI driver gives no answer', { driver: name, error: errorText(error) });
        const known = this.#drivers.find((d) => d.name === name);
        if (known) drivers.push(known);
      }
    }
    if (sameJson(drivers, this.#drivers) && this.#csiWritten) return;
    this.#drivers = drivers;
    this.#csiWritten = false;
    type ApiCsiNode = CSINode & KubeObject;
    const spec = { drivers };
    try {
      const current = await client.get<ApiCsiNode>(csiNodesRef, nodeName);
      if (!sameJson(current.spec.drivers ?? [], drivers))
        await client.update<ApiCsiNode>(csiNodesRef, { ...current, spec });
    } catch (error) {
      if (!isStatus(error, 'NotFound')) throw error;
      await client.create<ApiCsiNode>(csiNodesRef, {
        apiVersion: 'storage.k8s.io/v1',
        kind: 'CSINode',
        metadata: {
          name: nodeName,
          ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid: node.metadata.uid ?? '' }],
        },
        spec,
      } as ApiCsiNode);
    }
    const ids = JSON.stringify(Object.fromEntries(drivers.map((d) => [d.name, d.nodeID])));
    if (drivers.length > 0 && node.metadata.annotations?.[nodeIdAnnotation] !== ids)
      await client.patch(nodesRef, nodeName, undefined, 'merge', {
        metadata: { annotations: { [nodeIdAnnotation]: ids } },
      });
    this.#csiWritten = true;
  }

  #drivers: CSINodeDriver[] = [];
  #csiWritten = false;
}

/** A status without what changes by itself. */
function quiet(status: NodeStatus | undefined): unknown {
  return {
    ...status,
    conditions: (status?.conditions ?? []).map(({ lastHeartbeatTime: _left, ...rest }) => rest),
  };
}
