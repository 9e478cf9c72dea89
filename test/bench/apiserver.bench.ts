/**
 * `bun test/bench/apiserver.bench.ts [directory]`: the rows of docs/benchmarks.md. First the server in this process and asked without a network: what it
 * takes itself. Then the server as a process of its own, compiled as the executable is, its engine told what a server's is, without controllers and
 * scheduler; the client is this process, over HTTP/2 and TLS, and takes its share of the machine. The directory should be on a tmpfs, so that nothing is
 * synced; default /dev/shm. Memory is PSS while six more processes of the same executable are there, as on a node.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileOptions } from '../../cmd/build/compile-options.ts';
import type { ApiEnv } from '../../internal/kube/apiserver/app.ts';
import { admin, makeTestPki, startTestServer } from '../../internal/kube/apiserver/testing.ts';
import { engineEnvironment, roleEntry } from '../../internal/node/role-table.ts';
import { standardConfig } from '../../internal/node/standard-config.testing.ts';
import { BenchClient, percentile, type Times, timed } from './apiserver-client.ts';

const root = join(import.meta.dir, '../..');
const base = process.argv[2] ?? (existsSync('/dev/shm') ? '/dev/shm' : tmpdir());
const dir = mkdtempSync(`${base}/apiserver-bench-`);

const configMap = (name: string, value = 'x'.repeat(100)): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, labels: { app: 'bench' } },
    data: { a: value },
  });
const pod = (name: string): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: 'bench', tier: 'web' } },
    spec: {
      containers: [
        {
          name: 'main',
          image: 'registry.example.com/app:1.2.3',
          ports: [{ containerPort: 80 }],
          env: [{ name: 'A', value: 'b' }],
          resources: { requests: { cpu: '100m', memory: '64Mi' } },
          readinessProbe: { httpGet: { path: '/', port: 80 } },
        },
      ],
    },
  });

interface Bar {
  /** What must be reached, as it is written. */
  readonly text: string;
  readonly reached: boolean;
}

function row(what: string, figure: string, bar?: Bar): void {
  console.log(`| ${what} | ${figure} | ${bar?.text ?? ''} | ${bar === undefined ? '' : bar.reached ? 'yes' : 'no'} |`);
}

const round = (ms: number): string => (ms < 1 ? ms.toFixed(2) : ms < 10 ? ms.toFixed(1) : ms.toFixed(0));

function times(
  what: string,
  { count, tookMs, ms, cpuMs }: Times,
  barOf?: (perSecond: number, p50: number) => Bar,
): void {
  const perSecond = (count / tookMs) * 1000;
  const [p50, p99] = [percentile(ms, 0.5), percentile(ms, 0.99)];
  const rate = perSecond < 10 ? perSecond.toFixed(1) : perSecond.toFixed(0);
  // Only where everything is done in this process is its processor time all that was used.
  const cpu = what.startsWith('in process') ? `, ${round(cpuMs / count)} ms of a core each` : '';
  row(what, `${rate}/s, ${round(p50)} / ${round(p99)} ms${cpu}`, barOf?.(perSecond, p50));
}

const atLeast = (least: number) => (perSecond: number) => ({ text: `${least}/s`, reached: perSecond >= least });
const atMostMs = (most: number) => (_: number, p50: number) => ({ text: `${most} ms`, reached: p50 <= most });

/** Creates and lists in this process: no network, no other process. */
async function withoutNetwork(): Promise<void> {
  const server = await startTestServer({ dir: join(dir, 'in-process') });
  await server.call('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } });
  const create = async (plural: string, body: string): Promise<void> => {
    const headers = { 'content-type': 'application/json' };
    const request = new Request(`http://x/api/v1/namespaces/default/${plural}`, { method: 'POST', headers, body });
    const response = await server.api.fetch(request, { identity: admin });
    if (response.status !== 201) throw new Error(await response.text());
    await response.arrayBuffer();
  };
  const list = async (query: string, accept = 'application/json'): Promise<number> => {
    const request = new Request(`http://x/api/v1/pods${query}`, { headers: { accept } });
    return (await (await server.api.fetch(request, { identity: admin })).arrayBuffer()).byteLength;
  };
  await timed(500, 16, (i) => create('configmaps', configMap(`warm-${i}`)));
  const maps = await timed(5000, 32, (i) => create('configmaps', configMap(`a-${i}`)));
  times('in process: create ConfigMaps, 32 in flight', maps, atLeast(1000));
  times(
    'in process: create Pods, 32 in flight',
    await timed(10_000, 32, (i) => create('pods', pod(`p-${i}`))),
    atLeast(1000),
  );
  // With an identity a caller of this process passes flow control and the deadline of a request by; with a certificate it has them as over a network.
  const alice = { name: 'alice', groups: ['system:authenticated'] };
  await server.call('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
    metadata: { name: 'alice' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
    subjects: [{ kind: 'User', name: 'alice', apiGroup: 'rbac.authorization.k8s.io' }],
  });
  const get = async (i: number, env: ApiEnv): Promise<void> => {
    const request = new Request(`http://x/api/v1/namespaces/default/configmaps/a-${i % 5000}`);
    const response = await server.api.fetch(request, env);
    if (response.status !== 200) throw new Error(await response.text());
    await response.arrayBuffer();
  };
  const rates: Record<string, number[]> = { with: [], without: [] };
  for (let round = 0; round < 6; round++)
    for (const [how, env] of [
      ['without', { identity: alice }],
      ['with', { certificate: alice }],
    ] as const) {
      const { count, tookMs } = await timed(5000, 32, (i) => get(i, env));
      if (round > 0) rates[how]!.push((count / tookMs) * 1000);
    }
  const median = (of: number[]): number => of.toSorted((a, b) => a - b)[of.length >> 1]!;
  const [w, o] = [median(rates.with!), median(rates.without!)];
  row(
    'in process: get a ConfigMap, with flow control / without',
    `${w.toFixed(0)} / ${o.toFixed(0)}/s: ${(w / o).toFixed(2)}`,
  );
  await timed(3, 1, () => list(''));
  times('in process: list 10,000 pods', await timed(15, 1, () => list('')), atMostMs(300));
  times(
    'in process: list 10,000 pods, label selector that fits none',
    await timed(15, 1, () => list('?labelSelector=app%3Dnone')),
  );
  const table = 'application/json;as=Table;v=v1;g=meta.k8s.io';
  times('in process: list 10,000 pods as Table', await timed(5, 1, () => list('', table)));
  times('in process: list 500 of 10,000 pods', await timed(50, 1, () => list('?limit=500')));
  await server.close();
}

/** A process of the compiled server. */
class Server {
  readonly #child: Bun.Subprocess<'pipe', 'pipe', 'inherit'>;
  readonly port: number;

  private constructor(child: Bun.Subprocess<'pipe', 'pipe', 'inherit'>, port: number) {
    this.#child = child;
    this.port = port;
  }

  static async start(executable: string, ...argv: string[]): Promise<Server> {
    const env = { ...process.env, ...engineEnvironment(roleEntry('server')!, standardConfig()) };
    const child = Bun.spawn([executable, ...argv], { env, stdin: 'pipe', stdout: 'pipe', stderr: 'inherit' });
    const { value } = await child.stdout.getReader().read();
    return new Server(child, Number(new TextDecoder().decode(value)));
  }

  memory(): string {
    const rollup = readFileSync(`/proc/${this.#child.pid}/smaps_rollup`, 'utf8');
    const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(rollup)![1]) / 1024;
    return `${of('Pss').toFixed(0)} MiB, ${of('Anonymous').toFixed(0)} of it anonymous`;
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#child.exited;
  }
}

/** How long the server is left alone before the memory that it keeps is read. */
const restMs = 10_000;
const connections = 4;

async function overNetwork(): Promise<void> {
  const executable = join(dir, 'apiserver');
  const files = ['test/bench/apiserver-process.ts', 'internal/store/writer.worker.ts'].map((file) => join(root, file));
  const built = Bun.spawnSync([process.execPath, 'build', ...compileOptions, '--outfile', executable, ...files]);
  if (built.exitCode !== 0) throw new Error(built.stderr.toString());
  const pki = await makeTestPki();
  const certificates = join(dir, 'pki.json');
  writeFileSync(certificates, JSON.stringify(pki), { mode: 0o600 });
  const others = await Promise.all(Array.from({ length: 6 }, () => Server.start(executable, dir)));
  const started = async (what: string): Promise<{ server: Server; client: BenchClient }> => {
    const began = performance.now();
    const server = await Server.start(executable, dir, certificates);
    const client = await BenchClient.connect(server.port, pki, connections);
    await client.call(0, 'GET', '/readyz');
    const took = performance.now() - began;
    row(`start of the process to /readyz, ${what}`, `${took.toFixed(0)} ms`, { text: '2 s', reached: took <= 2000 });
    return { server, client };
  };
  let { server, client } = await started('empty store');
  const namespaces = '/api/v1/namespaces';
  const create = (path: string, body: string, caller: number) => client.call(caller, 'POST', path, body);
  for (const name of ['small', 'large', 'watched']) {
    await create(namespaces, JSON.stringify({ metadata: { name } }), 0);
    await create(`${namespaces}/${name}/serviceaccounts`, JSON.stringify({ metadata: { name: 'default' } }), 0);
  }
  const pods = (namespace: string) => `${namespaces}/${namespace}/pods`;
  const maps = `${namespaces}/watched/configmaps`;
  await timed(500, 32, (i, caller) => create(`${namespaces}/default/configmaps`, configMap(`warm-${i}`), caller));
  const createMaps = await timed(5000, 32, (i, caller) =>
    create(`${namespaces}/default/configmaps`, configMap(`a-${i}`), caller),
  );
  times('create ConfigMaps, 32 in flight', createMaps);
  const createPods = (namespace: string, count: number) =>
    timed(count, 32, (i, caller) => create(pods(namespace), pod(`p-${i}`), caller));
  await createPods('small', 1000);
  await Bun.sleep(restMs);
  row('memory with 1,000 pods (PSS)', server.memory());
  times('create Pods, 32 in flight', await createPods('large', 9000));
  await Bun.sleep(restMs);
  row('memory with 10,000 pods (PSS)', server.memory());
  const get = (path: string) => (_: number, caller: number) => client.call(caller, 'GET', path);
  const one = (_: number, i: number): string => `${pods('large')}/p-${i % 9000}`;
  times(
    'get a Pod, 32 in flight',
    await timed(10_000, 32, (i, caller) => client.call(caller, 'GET', one(caller, i * 7))),
  );
  const merge = 'application/merge-patch+json';
  const patched = await timed(5000, 32, (i, caller) =>
    client.call(caller, 'PATCH', one(caller, i), `{"metadata":{"annotations":{"n":"${i}"}}}`, merge),
  );
  times('patch a Pod (merge patch), 32 in flight', patched);
  await timed(3, 1, get(pods('small')));
  times('list 1,000 pods', await timed(40, 1, get(pods('small'))));
  times('list 1,000 pods, 8 in flight', await timed(80, 8, get(pods('small'))));
  await timed(3, 1, get('/api/v1/pods'));
  times('list 10,000 pods', await timed(20, 1, get('/api/v1/pods')), atMostMs(300));
  await fanOut(client, maps);
  await Bun.sleep(restMs);
  row('memory after all of that (PSS)', server.memory());
  client.close();
  await server.kill();
  ({ server, client } = await started('after kill -9 with 10,000 pods and 5,500 ConfigMaps'));
  await Bun.sleep(restMs);
  row('memory after that start (PSS)', server.memory());
  client.close();
  for (const process of [server, ...others]) await process.kill();
}

const watchers = 500;
const changes = 100;
const changeEveryMs = 100;

/** 500 watches of one collection, ten changes a second: how many events arrive, and how long after the change was sent. */
async function fanOut(client: BenchClient, path: string): Promise<void> {
  const sent: number[] = [];
  const delays: number[] = [];
  const stops = await Promise.all(
    Array.from({ length: watchers }, (_, i) =>
      client.watch(i, `${path}?watch=1`, (line) => {
        const n = /"data":\{"a":"(\d+)"\}/.exec(line)?.[1];
        if (n !== undefined) delays.push(performance.now() - sent[Number(n)]!);
      }),
    ),
  );
  const began = performance.now();
  for (let i = 0; i < changes; i++) {
    const due = began + i * changeEveryMs;
    if (due > performance.now()) await Bun.sleep(due - performance.now());
    sent.push(performance.now());
    await client.call(0, 'POST', path, configMap(`w-${i}`, String(i)));
  }
  for (let i = 0; i < 100 && delays.length < changes * watchers; i++) await Bun.sleep(100);
  const tookMs = performance.now() - began;
  for (const stop of stops) stop();
  const arrived = delays.length / (changes * watchers);
  const share = arrived === 1 ? 'all arrived' : `${(arrived * 100).toFixed(2)}% arrived`;
  times(`watch, ${watchers} watchers, ${1000 / changeEveryMs} changes/s, ${share}: events, delay from the request on`, {
    count: delays.length,
    tookMs,
    ms: delays.toSorted((a, b) => a - b),
    cpuMs: 0,
  });
}

console.log('| measure | figure | bar | reached |\n|---|---|---|---|');
try {
  await withoutNetwork();
  await overNetwork();
} finally {
  rmSync(dir, { recursive: true, force: true });
}
process.exit(0);
