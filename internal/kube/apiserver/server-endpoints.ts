import { utf8, utf8Text } from '../../base/bytes.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import { AppError, errorCode, errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Store, Watch } from '../../store/api.ts';
import { jsonEqual, type JsonObject } from '../machinery/json.ts';
import { prefixEnd } from './keys.ts';
import type { SelfCaller } from './self-caller.ts';

/**
 * The endpoints of Service `default/kubernetes`: every API server that lives. Each has a key with a lease of the store (upstream's lease endpoint
 * reconciler, `pkg/controlplane/reconcilers`), so one that dies is left out within its time, and one that stops at once. A lease that is kept alive writes
 * nothing to any disk.
 */

const prefix = '/registry/masterleases/';
/** Upstream's DefaultEndpointReconcilerTTL. */
const lifeSeconds = 15;
const keepAliveMs = 5_000;
/** After a change, so that several are taken together. */
const gatherMs = 50;
const closeMs = 2_000;

export interface ServerEndpointsOptions {
  readonly store: Store;
  readonly caller: SelfCaller;
  readonly address: string;
  /** The same on every server of a cluster. */
  readonly port: number;
  readonly clock: Clock;
  readonly log: Logger;
}

export class ServerEndpoints {
  readonly #options: ServerEndpointsOptions;
  #lease: bigint | undefined;
  #watch: Watch | undefined;
  #tick: Timer | undefined;
  #soon: Timer | undefined;
  /** Of all servers that live, sorted. */
  #addresses: readonly string[] = [];
  #closed = false;

  constructor(options: ServerEndpointsOptions) {
    this.#options = options;
  }

  /** Whether this server is the first of those that live: the one that does what one of them has to do. Two may think so for a moment. */
  get first(): boolean {
    return this.#addresses[0] === this.#options.address;
  }

  /** Resolves when this server is one of the endpoints. */
  async start(): Promise<void> {
    await this.#register();
    await this.#reconcile();
    this.#follow();
    this.#schedule();
  }

  async #register(): Promise<void> {
    const { address, store } = this.#options;
    const { id } = await store.leaseGrant(lifeSeconds);
    await store.put({ key: utf8(prefix + address), value: utf8(address), lease: id });
    this.#lease = id;
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#tick = this.#options.clock.after(keepAliveMs, () => {
      this.#keep()
        .catch((error: unknown) =>
          this.#options.log.debug('the endpoints of the API servers are as they were', { error: errorText(error) }),
        )
        .finally(() => this.#schedule());
    });
  }

  async #keep(): Promise<void> {
    const { log, store } = this.#options;
    try {
      await store.leaseKeepAlive(this.#lease!);
    } catch (error) {
      if (errorCode(error) !== 'LEASE_NOT_FOUND') throw error;
      log.info('this API server was counted as gone; it is back');
      await this.#register();
    }
    if (this.#watch === undefined) this.#follow();
    // Whatever else was written into them is put right.
    if (!this.#closed) await this.#reconcile();
  }

  #follow(): void {
    if (this.#closed) return;
    const [key, rangeEnd] = [utf8(prefix), prefixEnd(prefix)];
    this.#watch = this.#options.store.watch(
      { key, rangeEnd },
      {
        onEvents: () => {
          this.#soon ??= this.#options.clock.after(gatherMs, () => {
            this.#soon = undefined;
            if (!this.#closed) this.#reconcile().catch(() => undefined);
          });
        },
        onEnd: () => {
          this.#watch = undefined;
        },
      },
    );
  }

  async #reconcile(): Promise<void> {
    const { address, caller, port, store } = this.#options;
    const { kvs } = await store.range({ key: utf8(prefix), rangeEnd: prefixEnd(prefix) });
    const addresses = [...new Set([address, ...kvs.map(({ value }) => utf8Text(value))])].sort();
    this.#addresses = addresses;
    await writeEndpoints(caller, addresses, port);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#tick?.cancel();
    this.#soon?.cancel();
    this.#watch?.close();
    if (this.#lease === undefined) return;
    // Without a majority it ends by itself.
    const late = Promise.withResolvers<void>();
    const timer = this.#options.clock.after(closeMs, late.resolve);
    await Promise.race([this.#options.store.leaseRevoke(this.#lease).catch(known), late.promise]);
    timer.cancel();
  }
}

function known(error: unknown): void {
  if (!(error instanceof AppError)) throw error;
}

async function writeEndpoints(caller: SelfCaller, addresses: readonly string[], port: number): Promise<void> {
  const ports = [{ name: 'https', port, protocol: 'TCP' }];
  const subsets: JsonObject[] = [{ addresses: addresses.map((ip) => ({ ip })), ports }];
  await caller.ensure(
    '/api/v1/namespaces/default/endpoints',
    {
      apiVersion: 'v1',
      kind: 'Endpoints',
      metadata: {
        name: 'kubernetes',
        namespace: 'default',
        labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' },
      },
      subsets,
    },
    (live) => (jsonEqual(live.subsets, subsets) ? undefined : { ...live, subsets }),
  );
  const endpoints = addresses.map((one) => ({ addresses: [one], conditions: { ready: true } }));
  await caller.ensure(
    '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices',
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'kubernetes', namespace: 'default', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
      addressType: 'IPv4',
      endpoints,
      ports,
    },
    (live) =>
      jsonEqual(live.endpoints, endpoints) && jsonEqual(live.ports, ports) ? undefined : { ...live, endpoints, ports },
  );
}
