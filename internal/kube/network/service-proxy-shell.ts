import { type Clock, sleep } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { EndpointSlice, Service } from '../api/types.ts';
import type { KubeClient, KubeObject, ObjectMeta } from '../client/api.ts';
import { Informer } from '../client/informer.ts';
import { endpointSlicesRef, servicesRef } from '../client/resources.ts';
import { runCommand, tryCommand } from '../../base/command-system.ts';
import { type NftNames, type NftSettings, renderNft } from './nft-render.ts';
import { type HostPort, servicePortRules } from './service-rules.ts';

type ApiService = Service & KubeObject & { metadata: ObjectMeta };
type ApiSlice = EndpointSlice & KubeObject & { metadata: ObjectMeta };

/** Changes of one moment become one transaction. */
const gatherMs = 50;
const minIntervalMs = 200;
const checkMs = 30_000;

export interface ServiceProxyOptions {
  readonly client: KubeClient;
  /** Undefined until the node has a pod network; `changed` tells that it has. */
  readonly settings: () => NftSettings | undefined;
  readonly nodeName: string;
  readonly hostPorts: () => HostPort[];
  readonly clock: Clock;
  readonly log: Logger;
}

const nothing: NftNames = { chains: new Set(), sets: new Set() };

/** Names of our own chains and sets in the kernel's table; nothing when there is no table. */
async function existingNames(table: string): Promise<{ found: boolean; names: NftNames }> {
  const listed = await tryCommand(['nft', '-j', '-t', 'list', 'table', 'ip', table], { timeoutMs: 10_000 });
  if (listed.code !== 0) return { found: false, names: nothing };
  const { nftables } = JSON.parse(listed.stdout) as {
    nftables: { chain?: { name: string }; set?: { name: string } }[];
  };
  const chains = new Set<string>();
  const sets = new Set<string>();
  for (const { chain, set } of nftables) {
    if (chain && /^(svc|ext|hp)_/.test(chain.name)) chains.add(chain.name);
    if (set && /^aff_/.test(set.name)) sets.add(set.name);
  }
  return { found: true, names: { chains, sets } };
}

/** Keeps the node's nftables table equal to the cluster's services and the node's host ports. */
export class ServiceProxy {
  readonly #options: ServiceProxyOptions;
  readonly #services: Informer<ApiService>;
  readonly #slices: Informer<ApiSlice>;
  #names: NftNames | undefined;
  #applied = '';
  #dirty = true;
  #wake: (() => void) | undefined;
  #problem: string | undefined = 'service rules are not written yet';

  constructor(options: ServiceProxyOptions) {
    this.#options = options;
    const { client, clock, log } = options;
    this.#services = new Informer<ApiService>({ client, resource: servicesRef, clock, log });
    this.#slices = new Informer<ApiSlice>({ client, resource: endpointSlicesRef, clock, log });
    const changed = { onAdd: () => this.changed(), onUpdate: () => this.changed(), onDelete: () => this.changed() };
    this.#services.handle(changed);
    this.#slices.handle(changed);
  }

  /** Why services are not forwarded, undefined when they are. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Something that the rules are made from is different. */
  changed(): void {
    this.#dirty = true;
    this.#wake?.();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    const informers = [this.#services.run(signal), this.#slices.run(signal)];
    let retryMs = minIntervalMs;
    while (!this.#options.settings() && !signal.aborted) await this.#woken(signal);
    // Masquerading does not wait for the API server; services do, so that a restart never drops what works.
    await this.#bootstrap().catch((error: unknown) =>
      log.warn('packet filter not set up', { error: errorText(error) }),
    );
    await Promise.race([Promise.all([this.#services.synced, this.#slices.synced]), aborted(signal)]);
    while (!signal.aborted) {
      if (this.#dirty) {
        this.#dirty = false;
        try {
          await this.#apply();
          this.#problem = undefined;
          retryMs = minIntervalMs;
        } catch (error) {
          this.#problem = `service rules cannot be written: ${errorText(error)}`;
          log.warn('service rules cannot be written', { error: errorText(error) });
          this.#names = undefined;
          this.#dirty = true;
          retryMs = Math.min(10_000, retryMs * 2);
        }
        await sleep(clock, retryMs, signal);
        continue;
      }
      await this.#woken(signal);
      if (!this.#dirty && !signal.aborted) await this.#check();
    }
    await Promise.all(informers);
  }

  /** Until something changed, or it is time to look. */
  async #woken(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    await new Promise<void>((resolve) => {
      const timer = clock.after(checkMs, resolve);
      this.#wake = () => {
        timer.cancel();
        clock.after(gatherMs, resolve);
      };
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    this.#wake = undefined;
  }

  async #bootstrap(): Promise<void> {
    const settings = this.#options.settings();
    if (!settings) return;
    const { found, names } = await existingNames(settings.table);
    this.#names = names;
    if (found) return;
    const { script, names: made } = renderNft(settings, [], this.#options.hostPorts(), names);
    await runCommand(['nft', '-f', '-'], { stdin: script });
    this.#names = made;
  }

  /** Somebody may have flushed the whole ruleset. */
  async #check(): Promise<void> {
    const table = this.#options.settings()?.table;
    if (table === undefined || (await existingNames(table)).found) return;
    this.#options.log.warn('nftables table is gone: it is written again', { table });
    this.#names = nothing;
    this.#applied = '';
    this.#dirty = true;
  }

  async #apply(): Promise<void> {
    const { nodeName } = this.#options;
    const settings = this.#options.settings();
    if (!settings) return;
    this.#names ??= (await existingNames(settings.table)).names;
    const rules = servicePortRules(this.#services.list(), this.#slices.list(), nodeName);
    const { names, script } = renderNft(settings, rules, this.#options.hostPorts(), this.#names);
    if (script === this.#applied) return;
    await runCommand(['nft', '-f', '-'], { stdin: script, timeoutMs: 30_000 });
    this.#applied = script;
    this.#names = names;
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
