import * as fs from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import * as os from 'node:os';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { utf8 } from '../../base/bytes.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import { issueCertificate, type KeyPair, makeAuthority } from '../../pki/certificates.ts';
import type { Store } from '../api.ts';
import { openExternalEtcd } from '../external/external-client.ts';
import { GrpcConnection } from '../grpc/client.ts';
import { openStore } from '../store.ts';
import { type EtcdFace, serveEtcd } from './face-server.ts';
import { codec } from './messages.ts';

const dir = fs.mkdtempSync(`${os.tmpdir()}/etcd-metrics-`);
const common = { clock: systemClock, random: systemRandom, log: silentLogger };
let store: Store;
let face: EtcdFace;
let connection: GrpcConnection;

beforeAll(async () => {
  store = await openStore({ ...common, dir: `${dir}/store`, disk: systemDisk, writer: 'inline' });
  face = await serveEtcd({ ...common, store, addresses: ['127.0.0.1'], port: 0 });
  connection = await GrpcConnection.connect({ host: '127.0.0.1', port: face.port }, () => undefined);
});
afterAll(async () => {
  connection.close();
  await face.close();
  await store.close();
  fs.rmSync(dir, { recursive: true });
});

const call = (method: string, request: string, fields: object): Promise<Uint8Array> =>
  connection.unary(`/etcdserverpb.KV/${method}`, codec(request).encode(fields), 20_000);

const read = async (): Promise<Map<string, number>> => {
  const text = await new Promise<string>((resolve, reject) => {
    const session = http2.connect(`http://127.0.0.1:${face.port}`);
    session.on('error', reject);
    const request = session.request({ ':path': '/metrics' });
    let body = '';
    request.setEncoding('utf8');
    request.on('response', (headers) => expect(headers['content-type']).toContain('version=0.0.4'));
    request.on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('close', () => {
      session.destroy();
      resolve(body);
    });
    request.end();
  });
  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(samples.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]));
};
const of = (method: string, service = 'KV') =>
  `{grpc_type="unary",grpc_service="etcdserverpb.${service}",grpc_method="${method}"`;

test('what a dashboard of etcd asks for is there, and counts what happens', async () => {
  const before = await read();
  for (const [name, value] of [
    ['etcd_server_has_leader', 1],
    ['etcd_server_is_leader', 1],
    ['etcd_server_leader_changes_seen_total', 1],
    ['etcd_server_proposals_pending', 0],
    ['etcd_server_version{server_version="3.5.21"}', 1],
    ['etcd_cluster_version{cluster_version="3.5"}', 1],
  ] as const)
    expect([name, before.get(name)]).toEqual([name, value]);
  for (let i = 0; i < 3; i++) await call('Put', 'PutRequest', { key: utf8(`metrics/${i}`), value: utf8('x') });
  await call('DeleteRange', 'DeleteRangeRequest', { key: utf8('metrics/0') });
  await expect(call('Range', 'RangeRequest', {})).rejects.toThrow('key is not provided');
  const after = await read();
  const more = (name: string) => after.get(name)! - (before.get(name) ?? 0);
  expect(more('etcd_mvcc_put_total')).toBe(3);
  expect(more('etcd_mvcc_delete_total')).toBe(1);
  expect(more('etcd_debugging_mvcc_keys_total')).toBe(2);
  expect(more('etcd_debugging_mvcc_current_revision')).toBe(4);
  expect(more('etcd_server_proposals_applied_total')).toBe(4);
  expect(more('etcd_server_proposals_committed_total')).toBe(4);
  expect(more(`grpc_server_started_total${of('Put')}}`)).toBe(3);
  expect(more(`grpc_server_handled_total${of('Put')},grpc_code="OK"}`)).toBe(3);
  expect(more(`grpc_server_handled_total${of('Range')},grpc_code="InvalidArgument"}`)).toBe(1);
  expect(more('etcd_network_client_grpc_received_bytes_total')).toBeGreaterThan(30);
  expect(more('etcd_disk_wal_fsync_duration_seconds_count')).toBeGreaterThan(0);
  expect(after.get('etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"}')).toBe(
    after.get('etcd_disk_wal_fsync_duration_seconds_count'),
  );
  expect(after.get('etcd_mvcc_db_total_size_in_bytes')).toBeGreaterThan(0);
  expect(after.get('process_resident_memory_bytes')).toBeGreaterThan(1e6);
});

test('a snapshot is sent no faster than it is taken', { timeout: 120_000 }, async () => {
  const value = systemRandom.bytes(1 << 20);
  await Promise.all(Array.from({ length: 12 }, (_, i) => store.put({ key: utf8(`large/${i}`), value })));
  const client = await openExternalEtcd({ ...common, endpoints: `etcd://127.0.0.1:${face.port}` });
  const sentBytes = async (): Promise<number> => (await read()).get('etcd_network_client_grpc_sent_bytes_total')!;
  const before = await sentBytes();
  const snapshot = await client.snapshot();
  // Until nothing more comes by itself.
  let sent = 0;
  for (let quiet = 0; quiet < 5; ) {
    const now = (await sentBytes()) - before;
    quiet = now === sent ? quiet + 1 : 0;
    sent = now;
    await Bun.sleep(50);
  }
  expect(sent).toBeLessThan(9 << 20);
  let bytes = 0;
  for await (const piece of snapshot.pieces()) bytes += piece.length;
  expect(bytes).toBe(snapshot.bytes);
  expect(bytes).toBeGreaterThan(12 << 20);
  await client.close();
});

test('health and metrics are told over HTTP/1.1, too, to who shows a certificate; a connection that stays open does not hold up a stop', async () => {
  const serial = () => systemRandom.bytes(16);
  const ca = await makeAuthority('ca', Date.now(), serial());
  const make = (usage: 'client' | 'server') =>
    issueCertificate(ca, { commonName: 'x', usage, ipAddresses: ['127.0.0.1'] }, Date.now(), serial());
  const [server, client] = await Promise.all([make('server'), make('client')]);
  const tls = { ...server, clientCa: ca.cert };
  const secure = await serveEtcd({ ...common, store, addresses: ['127.0.0.1'], port: 0, tls });
  const agent = new https.Agent({ keepAlive: true });
  const get = (path: string, pair?: KeyPair): Promise<{ status: number | undefined; body: string; version: string }> =>
    new Promise((resolve, reject) => {
      const url = `https://127.0.0.1:${secure.port}${path}`;
      const request = https.get(url, { ca: ca.cert, agent, ...(pair && { ...pair }) }, (response) => {
        let body = '';
        response.on('data', (chunk: Buffer) => (body += chunk.toString()));
        response.on('end', () => resolve({ status: response.statusCode, body, version: response.httpVersion }));
      });
      request.on('error', reject);
    });
  expect(await get('/health', client)).toEqual({ status: 200, body: '{"health":"true"}\n', version: '1.1' });
  expect((await get('/metrics', client)).body).toContain('etcd_server_has_leader 1');
  expect((await get('/etcdserverpb.KV/Range', client)).status).toBe(404);
  await expect(get('/health')).rejects.toThrow();
  await secure.close();
  agent.destroy();
});
