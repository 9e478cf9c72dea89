import { join } from 'node:path';
import { type Clock, sleep } from '../../base/clock.ts';
import { AppError, errorCode, errorText } from '../../base/errors.ts';
import { readFileIfThere, writeFileAtomic } from '../../base/files-system.ts';
import type { Logger } from '../../base/log.ts';
import { cidrContains, parseCidr } from '../../config/cidr.ts';
import type { Config } from '../../config/config.ts';
import type { Paths } from '../../config/paths.ts';
import type { Node } from '../api/types.ts';
import type { KubeClient, KubeObject, ObjectMeta } from '../client/api.ts';
import { Informer } from '../client/informer.ts';
import { nodesRef } from '../client/resources.ts';
import { bridgeName, tunnelName } from '../kubelet/node/identity.ts';
import { links, prepareKernel, setUpPods } from './network-shell.ts';
import {
  canonicalCidr,
  desiredOverlay,
  type OverlayBackend,
  type OverlaySelf,
  overlayChanges,
  ownAnnotations,
  vtepMac,
  vxlanOverhead,
} from './overlay.ts';
import { applyOverlay, ensureTunnel, nodeLink, readOverlay, removeOverlay, removeTunnel } from './overlay-system.ts';

type ApiNode = Node & KubeObject & { metadata: ObjectMeta };

const gatherMs = 50;
/** How soon what somebody else took away is back. */
const checkMs = 30_000;
/** The same on the only node of a cluster, which should be idle. */
const checkAloneMs = 120_000;
const retryFirstMs = 500;
const retryMaxMs = 10_000;

/** What others need to know of the node's pod network. */
export interface PodNetworkFacts {
  readonly podCIDR: string;
  readonly bridge: string;
  /** See `NftSettings.masqueradeLocal`. */
  readonly masqueradeLocal: boolean;
}

export interface PodNetworkOptions {
  readonly config: Config;
  readonly paths: Pick<Paths, 'agent'>;
  /** Writes this node's Node. */
  readonly client: KubeClient;
  /** Reads all Nodes. */
  readonly reader: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** The pod network is there, or is another one now. */
  readonly changed: () => void;
}

/**
 * The node's pod network: what the control plane gave this node (`spec.podCIDR`) on a bridge, and the ways to the other nodes' pods. It follows the Nodes, says of itself
 * how it is reached, and restores what somebody else removed. The pod network is remembered on disk, so that pods start also while the API server is away.
 */
export class PodNetwork {
  readonly #options: PodNetworkOptions;
  readonly #nodes: Informer<ApiNode>;
  readonly #file: string;
  #facts: PodNetworkFacts | undefined;
  #self: OverlaySelf | undefined;
  #problem: string | undefined = 'no pod network yet: waits for the control plane to give this node one';
  #unreachable = '';
  #dirty = true;
  #wake: (() => void) | undefined;
  /** The kernel cannot do tunnels; it is not asked again. */
  #noTunnel = false;

  constructor(options: PodNetworkOptions) {
    this.#options = options;
    const { clock, log, paths, reader } = options;
    this.#file = join(paths.agent, 'pod-network.json');
    this.#nodes = new Informer<ApiNode>({ client: reader, resource: nodesRef, clock, log });
    const changed = (): void => {
      this.#dirty = true;
      this.#wake?.();
    };
    this.#nodes.handle({
      onAdd: changed,
      // Heartbeats come every few seconds and change nothing here.
      onUpdate: (node, before) => {
        if (
          node.spec?.podCIDR !== before.spec?.podCIDR ||
          JSON.stringify(node.metadata.annotations) !== JSON.stringify(before.metadata.annotations)
        )
          changed();
      },
      onDelete: changed,
    });
  }

  /** Undefined until the node has a pod network. */
  get facts(): PodNetworkFacts | undefined {
    return this.#facts;
  }

  /** Why pods cannot be started, undefined when they can. */
  get problem(): string | undefined {
    return this.#facts ? undefined : this.#problem;
  }

  /** What is not as it should be while pods run, undefined when all is well. */
  get trouble(): string | undefined {
    return this.#problem ?? (this.#unreachable || undefined);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    const following = this.#nodes.run(signal);
    let retryMs = retryFirstMs;
    while (!signal.aborted) {
      this.#dirty = false;
      let delayMs = checkMs;
      try {
        await this.#reconcile();
        retryMs = retryFirstMs;
        if (this.#nodes.hasSynced && this.#nodes.list().length < 2) delayMs = checkAloneMs;
      } catch (error) {
        this.#problem = errorText(error);
        log.warn('pod network', { error: errorText(error) });
        delayMs = retryMs;
        retryMs = Math.min(retryMaxMs, retryMs * 2);
      }
      if (this.#dirty) await sleep(clock, gatherMs, signal);
      else
        await new Promise<void>((resolve) => {
          const timer = clock.after(delayMs, resolve);
          this.#wake = () => {
            timer.cancel();
            clock.after(gatherMs, resolve);
          };
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
      this.#wake = undefined;
    }
    await following;
  }

  async #reconcile(): Promise<void> {
    const { config, log } = this.#options;
    const own = this.#nodes.get(config.node.name);
    const podCIDR = this.#given(own) ?? this.#self?.podCIDR ?? this.#remembered();
    if (podCIDR === undefined) return;
    await this.#setUp(podCIDR);
    const self = this.#self;
    if (self === undefined) return;
    if (own) await this.#announce(own, self);
    if (!this.#nodes.hasSynced) return;
    const { overlay, unreachable } = desiredOverlay(this.#nodes.list(), self);
    const changes = overlayChanges(await readOverlay(self.device), overlay, self.device);
    if (changes.ip.length + changes.bridge.length > 0)
      log.info('ways to other nodes are changed', { changes: [...changes.bridge, ...changes.ip].slice(0, 16) });
    await applyOverlay(changes);
    this.#problem = undefined;
    const words = unreachable.map(({ node, why }) => `pods of ${node} cannot be reached: ${why}`).join('; ');
    if (words !== this.#unreachable && words !== '') log.warn('nodes cannot be reached', { nodes: words });
    this.#unreachable = words;
  }

  /** What the control plane gave this node. */
  #given(own: ApiNode | undefined): string | undefined {
    if (!own?.spec?.podCIDR) return undefined;
    const cidr = canonicalCidr(own.spec.podCIDR);
    if (cidr === undefined || parseCidr(cidr).prefix > 30)
      throw new AppError('POD_CIDR', `the Node's spec.podCIDR ${own.spec.podCIDR} cannot hold pods`, {
        hint: 'expected an IPv4 network of a /30 or larger; delete the Node: it comes back with another one',
      });
    return cidr;
  }

  /** What this node had before; undefined when the cluster's network is another one meanwhile. */
  #remembered(): string | undefined {
    try {
      const text = readFileIfThere(this.#file);
      const { podCIDR } = JSON.parse(text ?? '{}') as { podCIDR?: string };
      const cidr = podCIDR && canonicalCidr(podCIDR);
      const cluster = parseCidr(this.#options.config.cluster.podCIDR);
      return cidr && cidrContains(cluster, cidr.split('/')[0]!) ? cidr : undefined;
    } catch (error) {
      this.#options.log.warn('the remembered pod network cannot be read', {
        file: this.#file,
        error: errorText(error),
      });
      return undefined;
    }
  }

  async #setUp(podCIDR: string): Promise<void> {
    const { config, log } = this.#options;
    const backend = config.cluster.networkBackend;
    const bridge = bridgeName(config);
    const known = this.#facts;
    const masqueradeLocal = known ? known.masqueradeLocal : !(await prepareKernel(log));
    if (backend === 'none') {
      if (!known) await removeOverlay(tunnelName(config));
    } else {
      const link = await nodeLink(config.node.ip);
      const device = await this.#tunnel(backend, podCIDR, link);
      const mtu = (link?.mtu ?? 1500) - (device === undefined ? 0 : vxlanOverhead);
      if (known?.podCIDR !== podCIDR || (await links('dev', bridge))[0]?.mtu !== mtu)
        await setUpPods(config, { podCIDR, mtu }, log);
      this.#self = {
        nodeName: config.node.name,
        ip: config.node.ip,
        podCIDR,
        clusterPodCIDR: config.cluster.podCIDR,
        backend,
        device,
        link: link?.name ?? '',
        linkNetworks: link?.networks ?? [],
      };
    }
    this.#problem = undefined;
    if (known?.podCIDR === podCIDR) return;
    writeFileAtomic(this.#file, `${JSON.stringify({ podCIDR })}\n`, 0o644);
    this.#facts = { podCIDR, bridge, masqueradeLocal };
    log.info('pod network', { podCIDR, backend, tunnel: this.#self?.device ?? 'none' });
    this.#options.changed();
  }

  /** The tunnel device's name; undefined where there is to be none, or the kernel cannot. */
  async #tunnel(
    backend: OverlayBackend,
    podCIDR: string,
    link: Awaited<ReturnType<typeof nodeLink>>,
  ): Promise<string | undefined> {
    const { config, log } = this.#options;
    const device = tunnelName(config);
    if (backend === 'host-gw' && !this.#facts) await removeTunnel(device);
    if (backend === 'host-gw' || this.#noTunnel || link === undefined) return undefined;
    try {
      const mtu = link.mtu - vxlanOverhead;
      await ensureTunnel(device, { nodeName: config.node.name, ip: config.node.ip, podCIDR, link, mtu });
      return device;
    } catch (error) {
      if (errorCode(error) !== 'NO_VXLAN') throw error;
      this.#noTunnel = true;
      log.warn('no tunnel: other nodes are reached by plain routes, where they are on the same link', {
        error: errorText(error),
      });
      return undefined;
    }
  }

  /** Tells the others how this node is reached. */
  async #announce(own: ApiNode, self: OverlaySelf): Promise<void> {
    const { client } = this.#options;
    const wanted = ownAnnotations(self.ip, self.device === undefined ? undefined : vtepMac(self.nodeName));
    const different = Object.entries(wanted).filter(([key, value]) => own.metadata.annotations?.[key] !== value);
    if (different.length === 0) return;
    await client.patch(nodesRef, self.nodeName, undefined, 'merge', {
      metadata: { annotations: Object.fromEntries(different) },
    });
  }
}
