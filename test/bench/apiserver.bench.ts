/**
 * `bun test/bench/apiserver.bench.ts [directory]`: creates a second and the list of 10,000 pods (docs/benchmarks.md). The directory should be on a
 * tmpfs for the row "no fsync"; default /dev/shm. The client runs in this process too, unless the row says otherwise: one core does both.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http2 from 'node:http2';
import { tmpdir } from 'node:os';
import { admin, startTestServer } from '../../internal/kube/apiserver/testing.ts';

const base = process.argv[2] ?? (existsSync('/dev/shm') ? '/dev/shm' : tmpdir());
const dir = mkdtempSync(`${base}/apiserver-bench-`);
const server = await startTestServer({ dir, port: 0 });
await server.call('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } });

function memory(): string {
  const rollup = readFileSync('/proc/self/smaps_rollup', 'utf8');
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(rollup)?.[1] ?? 0) / 1024;
  return `PSS ${of('Pss').toFixed(0)} MB, anonymous ${of('Anonymous').toFixed(0)} MB`;
}

const configMap = (name: string): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, labels: { app: 'bench' } },
    data: { a: 'x'.repeat(100) },
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

async function run(name: string, count: number, inFlight: number, one: (i: number) => Promise<unknown>): Promise<void> {
  const cpu = process.cpuUsage();
  const began = performance.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (next < count) await one(next++);
    }),
  );
  const took = (performance.now() - began) / 1000;
  const used = process.cpuUsage(cpu);
  const busy = (used.user + used.system) / 1e6;
  console.log(
    `${name.padEnd(52)} ${(count / took).toFixed(0).padStart(6)}/s  ${((busy / count) * 1e6).toFixed(0).padStart(5)} us CPU each, cpu ${((busy / took) * 100).toFixed(0)}%`,
  );
}

const create = async (path: string, body: string): Promise<void> => {
  const response = await server.api.fetch(
    new Request(`http://x${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body }),
    { identity: admin },
  );
  if (response.status !== 201) throw new Error(await response.text());
  await response.arrayBuffer();
};

await run('warm up', 500, 16, (i) => create('/api/v1/namespaces/default/configmaps', configMap(`warm-${i}`)));
await run('create ConfigMaps, in process, 1 in flight', 2000, 1, (i) =>
  create('/api/v1/namespaces/default/configmaps', configMap(`a-${i}`)),
);
await run('create ConfigMaps, in process, 32 in flight', 5000, 32, (i) =>
  create('/api/v1/namespaces/default/configmaps', configMap(`b-${i}`)),
);
await run('create Pods, in process, 32 in flight', 10_000, 32, (i) =>
  create('/api/v1/namespaces/default/pods', pod(`p-${i}`)),
);

const client = await server.pki.client('bench', 'system:masters');
const session = http2.connect(`https://127.0.0.1:${server.listener!.port}`, {
  ca: server.pki.serverCa.cert,
  ...client,
});
const h2 = (method: string, path: string, body?: string): Promise<{ status: number; bytes: number }> =>
  new Promise((resolve, reject) => {
    const stream = session.request({ ':method': method, ':path': path, 'content-type': 'application/json' });
    let status = 0;
    let bytes = 0;
    stream.on('response', (headers) => {
      status = Number(headers[':status']);
    });
    stream.on('data', (piece: Uint8Array) => {
      bytes += piece.length;
    });
    stream.on('end', () => resolve({ status, bytes }));
    stream.on('error', reject);
    stream.end(body);
  });
await run('create ConfigMaps, HTTP/2 + TLS, 32 in flight', 3000, 32, (i) =>
  h2('POST', '/api/v1/namespaces/default/configmaps', configMap(`c-${i}`)),
);
await run('get a Pod, HTTP/2 + TLS, 32 in flight', 3000, 32, (i) =>
  h2('GET', `/api/v1/namespaces/default/pods/p-${i}`),
);

async function time(name: string, rounds: number, one: () => Promise<string>): Promise<void> {
  const times: number[] = [];
  let note = '';
  for (let i = 0; i < rounds; i++) {
    const began = performance.now();
    note = await one();
    times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  console.log(
    `${name.padEnd(52)} median ${times[rounds >> 1]!.toFixed(0).padStart(5)} ms, worst ${times.at(-1)!.toFixed(0)} ms  ${note}`,
  );
}

const listInProcess =
  (query: string, accept = 'application/json') =>
  async (): Promise<string> => {
    const response = await server.api.fetch(new Request(`http://x/api/v1/pods${query}`, { headers: { accept } }), {
      identity: admin,
    });
    return `${((await response.arrayBuffer()).byteLength / 1e6).toFixed(1)} MB`;
  };
await time('list 10,000 pods, in process', 7, listInProcess(''));
await time('list 10,000 pods, label selector that fits none', 7, listInProcess('?labelSelector=app%3Dnone'));
await time('list 10,000 pods as Table', 3, listInProcess('', 'application/json;as=Table;v=v1;g=meta.k8s.io'));
await time('list 500 of 10,000 pods', 7, listInProcess('?limit=500'));
await time(
  'list 10,000 pods, HTTP/2 + TLS, client in this process',
  7,
  async () => `${((await h2('GET', '/api/v1/pods')).bytes / 1e6).toFixed(1)} MB`,
);
console.log(memory());
session.close();
await server.close();
rmSync(dir, { recursive: true, force: true });
process.exit(0);
