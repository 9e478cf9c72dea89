import { Database } from 'bun:sqlite';
import { dlopen, FFIType } from 'bun:ffi';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectHttp2, createSecureServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { utf8Text } from '../../internal/base/bytes.ts';
import { crc32c, rawCrc32c } from '../../internal/base/crc32c.ts';
import { AppError, errorText } from '../../internal/base/errors.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock, systemRandom } from '../../internal/base/system.ts';
import { serveCsi } from '../../internal/csi/grpc-server.ts';
import { identityService } from '../../internal/csi/identity.ts';
import { builtinOpenApi } from '../../internal/kube/api/builtin.ts';
import { GrpcTransport } from '../../internal/rpc/grpc-transport.ts';
import { containerdDefinition, criDefinition, csiDefinition, healthDefinition } from '../../internal/rpc/proto/load.ts';
import { roleTable } from '../../internal/node/role-table.ts';
import { issueCertificate, makeAuthority } from '../../internal/pki/certificates.ts';
import { verifySnapshotAside, WorkerWriter } from '../../internal/store/worker-system.ts';
import type { CommandModule } from './command.ts';
import { exitCodes } from './exit-codes.ts';

export const command: CommandModule = { define: (command) => void command.action(selfTest) };

/** Threads by the file that is their entry point. Each is started and answers. */
const workers: Readonly<Record<string, (directory: string) => Promise<void>>> = {
  'internal/store/writer.worker.ts': async (directory) => {
    const writer = await WorkerWriter.start(join(directory, 'database'));
    await writer.snapshot(join(directory, 'snapshot'));
    await writer.close();
    await verifySnapshotAside(join(directory, 'snapshot'));
  },
};

/** What only fails once the program is compiled; each gives a word about what it found. */
const parts: Readonly<Record<string, (directory: string) => Promise<string> | string>> = {
  'crc32c (native)': () => {
    // Of 4096 letters "a", by the table, which takes short pieces, as well as by native code.
    const native = crc32c(new Uint8Array(4096).fill(0x61));
    let table = 0xffffffff;
    for (let at = 0; at < 4096; at += 512) table = rawCrc32c(table, new Uint8Array(512).fill(0x61));
    expectSame(native, ~table >>> 0);
    return native.toString(16);
  },
  sqlite: () => {
    const database = new Database(':memory:');
    const { version } = database.query('select sqlite_version() as version').get() as { version: string };
    database.close();
    return version;
  },
  ffi: () => {
    const libc = dlopen('libc.so.6', { getpid: { args: [], returns: FFIType.i32 } });
    expectSame(libc.symbols.getpid(), process.pid);
    return 'libc';
  },
  threads: async (directory) => {
    for (const start of Object.values(workers)) await start(directory);
    return Object.keys(workers).join(', ');
  },
  'http2 over TLS': async () => {
    const authority = await makeAuthority('self-test', systemClock.now(), systemRandom.bytes(16));
    const request = {
      commonName: 'localhost',
      usage: 'server',
      dnsNames: ['localhost'],
      ipAddresses: ['127.0.0.1'],
    } as const;
    const pair = await issueCertificate(authority, { ...request }, systemClock.now(), systemRandom.bytes(16));
    const server = createSecureServer({ ...pair, allowHTTP1: true });
    server.on('stream', (stream: ServerHttp2Stream, headers) => {
      stream.respond({ ':status': 200 });
      stream.end(`path ${String(headers[':path'])}`);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const session = connectHttp2(`https://localhost:${(server.address() as AddressInfo).port}`, {
      ca: authority.cert,
      host: '127.0.0.1',
    });
    try {
      const answer = await new Promise<string>((resolve, reject) => {
        session.on('error', reject);
        const stream = session.request({ ':path': '/x' });
        let text = '';
        stream.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        stream.on('end', () => resolve(text));
        stream.on('error', reject);
      });
      expectSame(answer, 'path /x');
    } finally {
      session.destroy();
      server.close();
    }
    return 'a certificate of its own authority';
  },
  'embedded .proto': () => {
    const found = [criDefinition, csiDefinition, containerdDefinition, healthDefinition].flatMap((load) =>
      Object.keys(load()).filter((name) =>
        /\.(RuntimeService|ImageService|Identity|Controller|Node|Events|Health)$/.test(name),
      ),
    );
    expectSame(found.length, 7);
    return found.join(', ');
  },
  gRPC: async (directory) => {
    const socket = join(directory, 'csi.sock');
    const name = 'self.test';
    const server = await serveCsi(
      socket,
      { Identity: identityService({ name, version: '1', controller: false }) },
      silentLogger,
    );
    const client = new GrpcTransport(socket, csiDefinition());
    try {
      expectSame((await client.unary<{ name: string }>('csi.v1.Identity', 'GetPluginInfo', {})).name, name);
    } finally {
      client.close();
      await server.close();
    }
    return 'a call over a unix socket';
  },
  'embedded texts': async () => {
    const document = utf8Text(await builtinOpenApi.v2Json());
    if (!document.includes('io.k8s.api.core.v1.Pod')) throw new Error('the OpenAPI document has no Pod');
    return `${document.length} characters of OpenAPI`;
  },
  roles: async () => {
    const loaded: string[] = [];
    for (const { role, run } of roleTable) {
      if (run.kind !== 'module') continue;
      if (typeof (await run.load()).start !== 'function') throw new Error(`${role} has no start`);
      loaded.push(role);
    }
    return loaded.join(', ');
  },
};

function expectSame(found: unknown, expected: unknown): void {
  if (found !== expected) throw new Error(`expected ${String(expected)}, got ${String(found)}`);
}

/** Exercises every native part, embedded file and thread, and loads every role's modules. */
async function selfTest(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'appliance-'));
  try {
    for (const [name, check] of Object.entries(parts)) {
      try {
        console.log(`${name}: ok (${await check(directory)})`);
      } catch (error) {
        throw new AppError('SELF_TEST', `${name}: ${errorText(error)}`, { cause: error });
      }
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  process.exit(exitCodes.ok.code);
}
