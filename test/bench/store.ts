/**
 * `bun test/bench/store.ts [seconds]`: puts into the control-plane store in process, and into Debian's etcd over gRPC, on the same disk in one run. The peer's figures
 * include a gRPC client in this process, so only the one-client row compares disks and logs; the other says what each gives to many callers.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock, systemRandom } from '../../internal/base/system.ts';
import { openStore } from '../../internal/store/store.ts';
import { until } from '../e2e/harness.ts';

const seconds = Number(process.argv[2] ?? 5);
const directory = mkdtempSync(join(process.env.BENCH_DIR ?? tmpdir(), 'store-bench-'));
const value = new Uint8Array(512).fill(0x61);
const text = new TextEncoder();

async function rate(clients: number, put: (key: Uint8Array) => Promise<unknown>): Promise<number> {
  const end = performance.now() + seconds * 1000;
  let count = 0;
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let i = 0; performance.now() < end; i++) {
        await put(text.encode(`key-${client}-${i}`));
        count++;
      }
    }),
  );
  return count / seconds;
}

const store = await openStore({
  dir: join(directory, 'ours'),
  disk: systemDisk,
  clock: systemClock,
  random: systemRandom,
  log: silentLogger,
});
const port = 20000 + (process.pid % 10000);
const etcd = Bun.spawn(
  [
    'etcd',
    '--data-dir',
    join(directory, 'etcd'),
    '--listen-client-urls',
    `http://127.0.0.1:${port}`,
    '--advertise-client-urls',
    `http://127.0.0.1:${port}`,
    '--listen-peer-urls',
    `http://127.0.0.1:${port + 1}`,
    '--initial-advertise-peer-urls',
    `http://127.0.0.1:${port + 1}`,
    '--initial-cluster',
    `default=http://127.0.0.1:${port + 1}`,
  ],
  { stdout: 'ignore', stderr: 'ignore' },
);
try {
  const { root } = protobuf.parse('syntax = "proto3"; message PutRequest { bytes key = 1; bytes value = 2; }');
  const PutRequest = root.lookupType('PutRequest');
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  const put = (key: Uint8Array): Promise<unknown> =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        '/etcdserverpb.KV/Put',
        (message: object) => Buffer.from(PutRequest.encode(message).finish()),
        (bytes: Buffer) => bytes,
        { key, value },
        (error, answer) => (error ? reject(error) : resolve(answer)),
      );
    });
  await until('etcd answers', 20_000, async () => put(text.encode('probe')));
  console.log('| clients | appliance, in process, puts/s | etcd over gRPC, puts/s | ratio |\n|---|---|---|---|');
  for (const clients of [1, 100]) {
    const ours = await rate(clients, (key) => store.put({ key, value }));
    const theirs = await rate(clients, put);
    console.log(`| ${clients} | ${ours.toFixed(0)} | ${theirs.toFixed(0)} | ${(ours / theirs).toFixed(2)} |`);
  }
  let reads = 0;
  const end = performance.now() + 1000;
  for (; performance.now() < end; reads++) await store.range({ key: text.encode(`key-0-${reads % 100}`) });
  console.log(`linearizable gets in process, one caller: ${reads}/s`);
} finally {
  etcd.kill('SIGKILL');
  await store.close();
  rmSync(directory, { recursive: true });
}
process.exit(0);
