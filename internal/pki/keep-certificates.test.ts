import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http2 from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { expect, test } from 'vitest';
import type { Clock } from '../base/clock.ts';
import { silentLogger } from '../base/log.ts';
import { systemClock, systemRandom } from '../base/system.ts';
import { effectiveConfig } from '../config/load.ts';
import { nodePaths } from '../config/paths.ts';
import { keepCertificates } from './keep-certificates.ts';
import { ensureServerPki, kubeconfigSource } from './server-pki-system.ts';

/** A server that runs for years in a moment: time is moved by hand. */
test('certificates are renewed while the server runs: by time, and when an address changes', {
  timeout: 60_000,
}, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'keep-'));
  const paths = nodePaths(directory, join(directory, 'run'));
  const config = effectiveConfig('# all default', 'test', { hostname: 'n1', ip: '192.168.7.1', freeBytes: 1e12 });
  // It begins in the past, so that what is renewed is good today for a real client.
  let offsetMs = -275 * 86_400_000;
  let wake: (() => void) | undefined;
  const clock: Clock = {
    now: () => systemClock.now() + offsetMs,
    monotonic: () => systemClock.monotonic() + offsetMs,
    after: (_delay, fn) => {
      wake = fn;
      return { cancel: () => undefined };
    },
  };
  let addresses = ['192.168.7.1'];
  const ensure = (now: readonly string[]): Promise<string[]> =>
    ensureServerPki(config, paths, now, clock, systemRandom);
  await ensure(addresses);
  const pem = (name: string): string => readFileSync(`${paths.pki}/${name}`, 'utf8');
  const pair = () => ({ cert: pem('apiserver.crt'), key: pem('apiserver.key') });
  const server = http2.createSecureServer({ allowHTTP1: true, ...pair() }, (_request, response) => response.end('ok'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const dial = (): Promise<TLSSocket> =>
    new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', ca: pem('server-ca.crt'), servername: 'kubernetes' }, () =>
        resolve(socket),
      );
      socket.once('error', reject);
    });
  const shown = async (): Promise<{ serial: string; names: string }> => {
    const socket = await dial();
    const { serialNumber, subjectaltname } = socket.getPeerCertificate();
    socket.destroy();
    return { serial: serialNumber, names: subjectaltname ?? '' };
  };

  /** Lets it look once, until it sleeps again. */
  const look = async (): Promise<void> => {
    const before = wake!;
    before();
    while (wake === before) await new Promise((resolve) => setTimeout(resolve, 10));
  };
  let changes = 0;
  const stopping = new AbortController();
  const kept = keepCertificates({
    addresses: () => addresses,
    ensure,
    changed: () => {
      server.setSecureContext(pair());
      changes++;
    },
    clock,
    log: silentLogger,
    stopping: stopping.signal,
  });
  const first = await shown();
  const open = await dial();
  const kubeconfig = readFileSync(kubeconfigSource(paths), 'utf8');

  // 274 days: still more than 90 left. A day and two hours later there are fewer.
  offsetMs = -86_400_000;
  await look();
  expect(changes).toBe(0);
  offsetMs += 26 * 3_600_000;
  await look();
  const second = await shown();
  expect(changes).toBe(1);
  expect(second.serial).not.toBe(first.serial);
  expect(readFileSync(kubeconfigSource(paths), 'utf8')).not.toBe(kubeconfig);
  // Who was connected still is.
  const answer = new Promise<string>((resolve) => open.once('data', (data: Buffer) => resolve(data.toString())));
  open.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  expect(await answer).toContain('200');
  open.destroy();

  addresses = ['192.168.7.1', '192.168.9.9'];
  expect(second.names).not.toContain('192.168.9.9');
  offsetMs += 60_000;
  await look();
  expect((await shown()).names).toContain('IP Address:192.168.9.9');
  stopping.abort();
  await kept;
  server.close();
  rmSync(directory, { recursive: true });
});
