/** A whole API server for tests: real store in a directory of its own, test certificates, an ephemeral port. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { systemDisk } from '../../base/disk-system.ts';
import { type Logger, silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import { type KeyPair, issueCertificate, makeAuthority, makeSigningKey } from '../../pki/certificates.ts';
import { openStore } from '../../store/store.ts';
import type { Store } from '../../store/api.ts';
import { builtinKinds, builtinSchemas } from '../api/builtin.ts';
import type { KindTable } from '../api/kinds.ts';
import type { UserInfo } from '../auth/identity.ts';
import type { KubeClient } from '../client/api.ts';
import { createKubeClient } from '../client/client.ts';
import type { SchemaSource } from '../machinery/openapi.ts';
import { type ApiServer, createApiServer } from './apiserver.ts';
import type { Listener } from './listener-server.ts';

export interface TestPki {
  readonly serverCa: KeyPair;
  readonly clientCa: KeyPair;
  readonly server: KeyPair;
  readonly kubeletClient: KeyPair;
  client(name: string, ...groups: string[]): Promise<KeyPair>;
  serving(name: string): Promise<KeyPair>;
}

export async function makeTestPki(): Promise<TestPki> {
  const now = Date.now();
  const serial = (): Uint8Array => systemRandom.bytes(16);
  const serverCa = await makeAuthority('test-server-ca', now, serial());
  const clientCa = await makeAuthority('test-client-ca', now, serial());
  const client = (name: string, ...groups: string[]): Promise<KeyPair> =>
    issueCertificate(clientCa, { commonName: name, organizations: groups, usage: 'client' }, now, serial());
  const serving = (name: string): Promise<KeyPair> =>
    issueCertificate(
      serverCa,
      { commonName: name, usage: 'server', dnsNames: ['localhost', name], ipAddresses: ['127.0.0.1'] },
      now,
      serial(),
    );
  return {
    serverCa,
    clientCa,
    server: await serving('kube-apiserver'),
    kubeletClient: await client('system:kube-apiserver'),
    client,
    serving,
  };
}

export interface TestServer {
  readonly api: ApiServer;
  readonly store: Store;
  readonly pki: TestPki;
  readonly listener: Listener | undefined;
  readonly dir: string;
  /** In-process request as `system:masters`, or as `as`. */
  call(
    method: string,
    path: string,
    body?: unknown,
    options?: CallOptions,
  ): Promise<{ status: number; body: any_; headers: Headers }>;
  close(): Promise<void>;
}

export interface CallOptions {
  readonly as?: UserInfo;
  readonly headers?: Record<string, string>;
}

/** What tests read without narrowing. */
// biome-ignore lint/suspicious/noExplicitAny: answers of any kind are looked into
type any_ = any;

export const admin: UserInfo = { name: 'test-admin', groups: ['system:masters'] };

/** The typed client over a test's server, as `admin`. */
export function adminClient(server: TestServer): KubeClient {
  return createKubeClient({
    transport: (request) => server.api.fetch(request, { identity: admin }) as Promise<Response>,
    baseUrl: 'https://in-process',
    userAgent: 'test',
  });
}

const noOpenApi = {
  v2Json: () => Promise.resolve(new TextEncoder().encode('{"swagger":"2.0","paths":{},"definitions":{}}')),
  v2Protobuf: () => Promise.resolve(new Uint8Array(0)),
  v3Index: () => Promise.resolve({ paths: {} }),
  v3Json: () => Promise.resolve(undefined),
  texts: () => ({}),
};

/** An API server over an open store. */
export async function startApi(
  store: Store,
  pki: TestPki,
  options: {
    port?: number;
    log?: Logger;
    openapi?: Parameters<typeof createApiServer>[0]['openapi'];
    kinds?: KindTable;
    schemas?: SchemaSource;
    address?: string;
    /** CA of front proxies. */
    requestHeaderCa?: string;
    requestHeaderClient?: KeyPair;
    audit?: Parameters<typeof createApiServer>[0]['audit'];
    encryptionKey?: Uint8Array;
    secretsEncryption?: boolean;
    /** The key of service-account tokens; else a new one. */
    signing?: Awaited<ReturnType<typeof makeSigningKey>>;
  } = {},
): Promise<ApiServer> {
  const signing = options.signing ?? (await makeSigningKey());
  return createApiServer({
    store,
    kinds: options.kinds ?? builtinKinds,
    schemas: options.schemas ?? builtinSchemas,
    openapi: options.openapi ?? noOpenApi,
    pki: {
      server: pki.server,
      clientCa: pki.clientCa.cert,
      ...(options.requestHeaderCa === undefined ? {} : { requestHeaderCa: options.requestHeaderCa }),
      requestHeaderClient: options.requestHeaderClient,
      kubeletCa: pki.serverCa.cert,
      kubeletClient: pki.kubeletClient,
      serviceAccount: { key: signing.key, publicKeys: [signing.publicKey] },
      encryptionKey: options.encryptionKey,
    },
    config: {
      serviceCIDR: '10.43.0.0/16',
      nodePortRange: [30000, 32767],
      domain: 'cluster.local',
      advertiseAddress: options.address ?? '127.0.0.1',
      architecture: 'amd64',
      port: options.port || 6443,
      secretsEncryption: options.secretsEncryption ?? false,
    },
    audit: options.audit,
    clock: systemClock,
    random: systemRandom,
    log: options.log ?? silentLogger,
  });
}

export async function startTestServer(
  options: {
    port?: number;
    dir?: string;
    log?: Logger;
    openapi?: Parameters<typeof createApiServer>[0]['openapi'];
    pki?: TestPki;
    /** Instead of one in `dir`; closed with the server. */
    store?: Store;
    kinds?: KindTable;
    schemas?: SchemaSource;
    /** CA of front proxies. */
    requestHeaderCa?: string;
    requestHeaderClient?: KeyPair;
    audit?: Parameters<typeof createApiServer>[0]['audit'];
    encryptionKey?: Uint8Array;
    secretsEncryption?: boolean;
    /** The key of service-account tokens; else a new one. */
    signing?: Awaited<ReturnType<typeof makeSigningKey>>;
  } = {},
): Promise<TestServer> {
  const dir = options.dir ?? (await mkdtemp(`${tmpdir()}/apiserver-test-`));
  const log = options.log ?? silentLogger;
  const store =
    options.store ??
    (await openStore({
      dir: `${dir}/store`,
      disk: systemDisk,
      clock: systemClock,
      random: systemRandom,
      log,
      writer: 'inline',
    }));
  const pki = options.pki ?? (await makeTestPki());
  const api = await startApi(store, pki, options);
  const listener = options.port === undefined ? undefined : await api.listen({ port: options.port, host: '127.0.0.1' });
  return {
    api,
    store,
    pki,
    listener,
    dir,
    async call(method, path, body, { as = admin, headers = {} } = {}) {
      const raw = typeof body === 'string' || body instanceof Uint8Array;
      const response = await api.fetch(
        new Request(`http://apiserver${path}`, {
          method,
          headers: { 'content-type': 'application/json', 'user-agent': 'test/1', ...headers },
          ...(body === undefined ? {} : { body: raw ? (body as string) : JSON.stringify(body) }),
        }),
        { identity: as },
      );
      const text = await response.text();
      let parsed: unknown = text;
      try {
        parsed = JSON.parse(text);
      } catch {
        // Plain text.
      }
      return { status: response.status, body: parsed as any_, headers: response.headers };
    },
    async close() {
      await api.close();
      await store.close();
      if (options.dir === undefined) await rm(dir, { recursive: true, force: true });
    },
  };
}
