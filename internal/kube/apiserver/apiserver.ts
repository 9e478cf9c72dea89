import { utf8 } from '../../base/bytes.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import { parseCidr } from '../../config/cidr.ts';
import type { Store } from '../../store/api.ts';
import { ServiceAllocation } from '../admission/service-allocation.ts';
import { AdmissionChain } from '../admission/types.ts';
import type { OpenApiDocuments } from '../api/builtin.ts';
import type { KindTable } from '../api/kinds.ts';
import { Authorizer } from '../auth/authorizer.ts';
import { bootstrapUser } from '../auth/bootstrap-tokens.ts';
import { RbacPolicy } from '../auth/rbac.ts';
import { ServiceAccountTokens } from '../auth/service-account-tokens.ts';
import type { SchemaSource } from '../machinery/openapi.ts';
import { admissionPlugins } from './admission-plugins.ts';
import { AdmissionConfigurations, admissionServices } from './admission-services.ts';
import { ApiApp, type ApiEnv, type Extension } from './app.ts';
import { bootstrap } from './bootstrap.ts';
import { CustomResources } from './custom/custom-resources.ts';
import { liveOpenApi } from './custom/openapi.ts';
import { conversionWebhook } from './custom/conversion.ts';
import { LiveKinds } from './live-kinds.ts';
import { serviceAddresses, WebhookClient } from './webhook-client.ts';
import { Compactor } from './compactor.ts';
import type { Core } from './context.ts';
import { Conversions } from './convert.ts';
import { Aggregator } from './aggregation/aggregator-client.ts';
import { aggregatedOpenApi } from './aggregation/documents.ts';
import type { AuditPolicy } from './audit/policy.ts';
import type { AuditSink } from './audit/trail.ts';
import { AtRest } from './encryption/at-rest.ts';
import { FlowObjects } from './flow-control/flow-objects.ts';
import { KubeletClient } from './kubelet-client-shell.ts';
import { type Listener, listen } from './listener-server.ts';
import { Lookups } from './lookups.ts';
import { RbacFeed } from './rbac-feed.ts';
import { Registry } from './registry.ts';
import { SelfCaller } from './self-caller.ts';
import { ServerEndpoints } from './server-endpoints.ts';
import { addressObjects, readyRanges } from './service-ranges.ts';
import { WatchHub } from './watch-hub.ts';

export type { ApiEnv, Extension } from './app.ts';

/** Certificates and keys as PEM text. */
export interface ApiServerPki {
  /** Serving certificate (with chain) and key. */
  readonly server: { readonly cert: string; readonly key: string };
  /** CA that signed the client certificates that are believed. */
  readonly clientCa: string;
  /** CA of aggregation-layer clients; published for extension servers. */
  readonly requestHeaderCa?: string;
  /** What this server shows to extension servers, signed by that CA. */
  readonly requestHeaderClient?: { readonly cert: string; readonly key: string } | undefined;
  /** CA that signed kubelets' serving certificates. */
  readonly kubeletCa: string;
  /** What this server shows to kubelets. */
  readonly kubeletClient: { readonly cert: string; readonly key: string };
  /** Service-account signing: PKCS #8 key and the public keys that are believed, the key's own first. ES256. */
  readonly serviceAccount: { readonly key: string; readonly publicKeys: readonly string[] };
  /** The cluster's key (32 bytes): the keys of encryption at rest are sealed with it. A server without it reads no encrypted Secrets. */
  readonly encryptionKey?: Uint8Array | undefined;
}

export interface ApiServerConfig {
  readonly serviceCIDR: string;
  readonly nodePortRange: readonly [number, number];
  /** Cluster domain: part of the token issuer. */
  readonly domain: string;
  /** Where pods and nodes reach this server. */
  readonly advertiseAddress: string;
  /** Of this machine, in Go's words: `amd64`, `arm64`. */
  readonly architecture: string;
  readonly port: number;
  /** Secrets are encrypted in the store, unless somebody has decided that already. */
  readonly secretsEncryption?: boolean;
  /** Somebody else lets go of the store's history. */
  readonly keepsHistory?: boolean;
}

export interface ApiServerOptions {
  readonly store: Store;
  readonly kinds: KindTable;
  readonly schemas: SchemaSource;
  readonly openapi: OpenApiDocuments;
  readonly pki: ApiServerPki;
  readonly config: ApiServerConfig;
  /** What is recorded of requests, and where; nothing when left out. */
  readonly audit?: { readonly policy: AuditPolicy; readonly sink: AuditSink } | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface ApiServer {
  /** Answers a request in process. Authorization applies to `env.identity` as to anybody. */
  fetch(request: Request, env?: ApiEnv): Promise<Response>;
  /** Takes connections. `port` 0 chooses one. */
  listen(options: { port: number; host: string }): Promise<Listener>;
  /** Answers paths beside the API on the same port. */
  extend(extension: Extension): void;
  /** Takes renewed certificates up, without a break. */
  renew(pki: Pick<ApiServerPki, 'server' | 'kubeletClient' | 'requestHeaderClient'>): void;
  /** Empty when it is ready to serve, else why not. */
  notReady(): string;
  /** Ends watches, timers and connections; the store stays open. */
  close(): Promise<void>;
}

/** Builds the API server over an open store, writes the objects that every cluster has, and is ready when it resolves. */
export async function createApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { store, kinds, clock, random, log, pki, config } = options;
  const atRest = new AtRest({ store, clusterKey: pki.encryptionKey, clock, random, log });
  // Before anybody reads or writes an object.
  await atRest.start(config.secretsEncryption === true);
  const hub = new WatchHub(store, clock, log, atRest);
  const live = new LiveKinds(kinds, options.schemas);
  const webhooks = new WebhookClient(
    serviceAddresses((resource, namespace, name) => lookups.get('', resource, namespace, name)),
  );
  const convert = conversionWebhook({
    definition: (name) => custom?.definition(name),
    post: (config, review, timeoutMs) => webhooks.post(config, review, timeoutMs),
    random,
  });
  const registry = new Registry(store, new Conversions(live, convert), clock, atRest);
  const lookups = new Lookups(live, registry);
  const definitions = kinds.byResource('apiextensions.k8s.io', 'v1', 'customresourcedefinitions');
  const custom =
    definitions === undefined
      ? undefined
      : new CustomResources({ kinds: live, registry, hub, clock, log, kind: definitions });
  const policy = new RbacPolicy();
  const authorizer = new Authorizer(policy, lookups);
  const issuer = `https://kubernetes.default.svc.${config.domain}`;
  const tokens = await ServiceAccountTokens.create({
    privateKey: pki.serviceAccount.key,
    publicKeys: pki.serviceAccount.publicKeys,
    issuer,
    audiences: [issuer],
    subjects: lookups,
    random,
    now: () => clock.now(),
  });
  const configurations = new AdmissionConfigurations({ kinds: live, registry, hub, clock, log });
  const services = admissionServices({ kinds: live, registry, configurations, webhooks, authorizer });
  const admission = new AdmissionChain(admissionPlugins({ authorizer, services, registry, kinds: live }), {
    reader: lookups,
    kindOf: (group, version, kind) => live.byKind(group, version, kind),
    random,
    now: () => clock.now(),
  });
  const core: Core = {
    kinds: live,
    schemas: live,
    definition: (name) => custom?.definition(name),
    registry,
    hub,
    admission,
    authorizer,
    tokens,
    tokenUser: (token) => bootstrapUser(token, (name) => lookups.get('', 'secrets', 'kube-system', name), clock.now()),
    allocation: new ServiceAllocation({
      store,
      serviceCidr: parseCidr(config.serviceCIDR),
      nodePorts: config.nodePortRange,
      random,
      addresses: addressObjects(kinds.byResource('networking.k8s.io', 'v1', 'ipaddresses'), {
        now: () => clock.now(),
        random,
      }),
      moreRanges: async () => readyRanges(await lookups.list('networking.k8s.io', 'servicecidrs', '')),
    }),
    strategy: { now: () => clock.now(), random },
    clock,
    random,
    log,
  };
  let started = false;
  let aggregator: Aggregator | undefined;
  let serving = pki.server;
  let { requestHeaderClient } = pki;
  const nodes = new KubeletClient({ ...pki.kubeletClient, ca: pki.kubeletCa }, log);
  const app = new ApiApp({
    core,
    nodes,
    atRest,
    audit: options.audit,
    openapi: aggregatedOpenApi(
      liveOpenApi(options.openapi, live, 'v1.36.0'),
      () => live.revision,
      () => aggregator,
    ),
    aggregator: () => aggregator,
    remoteVersions: () => aggregator?.versions() ?? [],
    serverAddress: `${config.advertiseAddress}:${config.port}`,
    architecture: config.architecture,
    checks: [
      { name: 'ping', check: () => '' },
      { name: 'etcd', check: () => storeAnswers(store, clock) },
      { name: 'encryption-at-rest', check: () => atRest.problem() },
      { name: 'poststarthook/rbac/bootstrap-roles', check: () => (started ? '' : 'not finished') },
    ],
  });
  const rbac = new RbacFeed({ policy, registry, hub, kinds, clock, log });
  const compactor = new Compactor(store, clock, log);
  const caller = new SelfCaller(app);
  const endpoints = new ServerEndpoints({
    store,
    caller,
    address: config.advertiseAddress,
    port: config.port,
    clock,
    log,
  });
  const apiServices = kinds.byResource('apiregistration.k8s.io', 'v1', 'apiservices');
  if (apiServices !== undefined)
    aggregator = new Aggregator({
      kind: apiServices,
      kinds: live,
      registry,
      hub,
      caller,
      clock,
      random,
      log,
      writes: () => endpoints.first,
      client: () => requestHeaderClient,
    });
  const flowObjects = new FlowObjects({ flow: app.flow, caller, kinds: live, registry, hub, clock, log });
  const listeners: Listener[] = [];
  try {
    await rbac.start();
    await custom?.start();
    await configurations.start();
    await bootstrap(caller, {
      serviceCidr: config.serviceCIDR,
      port: config.port,
      clientCa: pki.clientCa,
      requestHeaderCa: pki.requestHeaderCa,
      now: clock.now(),
    });
    await flowObjects.start();
    await aggregator?.start();
    await endpoints.start();
  } catch (error) {
    await flowObjects.close();
    rbac.close();
    custom?.close();
    configurations.close();
    aggregator?.close();
    hub.close();
    throw error;
  }
  started = true;
  if (!config.keepsHistory) compactor.start();
  return {
    fetch: (request, env) => app.fetch(request, env),
    async listen({ port, host }) {
      const listener = await listen(
        app,
        nodes,
        { port, host, ...serving, clientCa: pki.clientCa, requestHeaderCa: pki.requestHeaderCa },
        () => clock.now(),
        log,
      );
      listeners.push(listener);
      return listener;
    },
    extend: (extension) => app.extend(extension),
    renew: (renewed) => {
      const { server, kubeletClient } = renewed;
      serving = server;
      requestHeaderClient = renewed.requestHeaderClient ?? requestHeaderClient;
      nodes.renew({ ...kubeletClient, ca: pki.kubeletCa });
      for (const listener of listeners) listener.renew(server);
    },
    notReady: () => (started ? '' : 'default roles are not written yet'),
    async close() {
      await endpoints.close();
      await flowObjects.close();
      compactor.close();
      rbac.close();
      custom?.close();
      configurations.close();
      aggregator?.close();
      webhooks.close();
      hub.close();
      await atRest.close();
      for (const listener of listeners)
        await listener
          .close()
          .catch((error: unknown) => log.debug('closing the listener', { error: errorText(error) }));
    },
  };
}

const answerMs = 2000;

/** Whether the store answers a read in time: empty, or why not. */
async function storeAnswers(store: Store, clock: Clock): Promise<string> {
  let late: Timer | undefined;
  const timeout = new Promise<string>((resolve) => {
    late = clock.after(answerMs, () => resolve(`no answer in ${answerMs} ms`));
  });
  const read = store.range({ key: utf8('/registry/health'), keysOnly: true }).then(
    () => '',
    (error: unknown) => errorText(error),
  );
  const why = await Promise.race([read, timeout]);
  late?.cancel();
  return why;
}
