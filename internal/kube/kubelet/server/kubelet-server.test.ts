import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { expect, test } from 'vitest';
import { silentLogger } from '../../../base/log.ts';
import { systemClock, systemRandom } from '../../../base/system.ts';
import { effectiveConfig } from '../../../config/load.ts';
import { nodePaths } from '../../../config/paths.ts';
import { issueCertificate, makeAuthority } from '../../../pki/certificates.ts';
import type { Kubelet } from '../kubelet-main.ts';
import { KubeletServer } from './kubelet-server.ts';

const serial = (): Uint8Array => systemRandom.bytes(16);

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '0.0.0.0', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

test('kubelet server: a renewed certificate is shown to new connections while it runs; open ones stay', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'kubelet-server-'));
  const text = `dataDir: ${directory}/data\nrunDir: ${directory}/run\nports: {kubelet: ${await freePort()}}\n`;
  const config = effectiveConfig(text, 'test', { hostname: 'n1', ip: '127.0.0.1', freeBytes: 1e12 });
  const paths = nodePaths(config.dataDir, config.runDir);
  const authority = await makeAuthority('server-ca', Date.now(), serial());
  mkdirSync(paths.identity, { recursive: true });
  writeFileSync(`${paths.identity}/client-ca.crt`, authority.cert);
  const renewed = async (): Promise<void> => {
    const leaf = { commonName: 'n1', usage: 'server', dnsNames: ['n1'] } as const;
    const { cert, key } = await issueCertificate(authority, leaf, Date.now(), serial());
    writeFileSync(`${paths.identity}/kubelet-serving.crt`, cert);
    writeFileSync(`${paths.identity}/kubelet-serving.key`, key);
  };
  const dial = (): Promise<TLSSocket> =>
    new Promise((resolve, reject) => {
      const port = config.ports.kubelet;
      const socket = connect({ port, host: '127.0.0.1', ca: authority.cert, servername: 'n1' }, () => resolve(socket));
      socket.once('error', reject);
    });
  const shown = async (): Promise<string> => {
    const socket = await dial();
    const { serialNumber } = socket.getPeerCertificate();
    socket.destroy();
    return serialNumber;
  };

  await renewed();
  // Nobody asks about pods here.
  const kubelet = {} as Kubelet;
  const server = new KubeletServer({ config, paths, kubelet, clock: systemClock, log: silentLogger });
  await server.start();
  try {
    const first = await shown();
    const open = await dial();
    await renewed();
    expect(await shown()).toBe(first);
    server.renew();
    expect(await shown()).not.toBe(first);
    const answer = new Promise<string>((resolve) => open.once('data', (bytes) => resolve(String(bytes))));
    open.write('GET /pods HTTP/1.1\r\nhost: n1\r\n\r\n');
    expect(await answer).toMatch(/^HTTP\/1.1 401 /);
    open.destroy();
  } finally {
    await server.stop();
    rmSync(directory, { recursive: true });
  }
});
