import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createTcp, type AddressInfo, type Server } from 'node:net';
import { createServer as createTls } from 'node:tls';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock, systemRandom } from '../../internal/base/system.ts';
import { effectiveConfig } from '../../internal/config/load.ts';
import { nodePaths } from '../../internal/config/paths.ts';
import { makeAuthority } from '../../internal/pki/certificates.ts';
import { ensureServerPki } from '../../internal/pki/server-pki-system.ts';
import { exitCodes } from './exit-codes.ts';

/** `appliance token` when the API does not answer as it should, from the source. */

let directory = '';
let server: Server | undefined;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'token-'));
});
afterEach(async () => {
  await new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()));
  server = undefined;
  rmSync(directory, { recursive: true, force: true });
});

/** What is said when the API's port is that of `listener`. */
async function tokenList(listener: Server): Promise<{ code: number; err: string }> {
  server = listener;
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const { port } = listener.address() as AddressInfo;
  const text = `dataDir: ${directory}/data\nrunDir: ${directory}/run\nnode: {ip: 127.0.0.1}\nports: {api: ${port}}\nroles: [server]\n`;
  writeFileSync(join(directory, 'appliance.yaml'), text);
  const config = effectiveConfig(text, 'f', { hostname: 'n1', ip: '127.0.0.1', freeBytes: 1e12 });
  await ensureServerPki(config, nodePaths(config.dataDir, config.runDir), ['127.0.0.1'], systemClock, systemRandom);
  const child = Bun.spawn(
    [process.execPath, join(import.meta.dirname, 'main.ts'), '-c', join(directory, 'appliance.yaml'), 'token', 'list'],
    { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
  );
  const err = await new Response(child.stderr).text();
  return { code: await child.exited, err };
}

test.each([
  ['connections are cut', async () => createTcp((socket) => socket.destroy())],
  [
    'somebody else answers',
    async () => {
      const other = await makeAuthority('somebody', Date.now(), systemRandom.bytes(16));
      return createTls(other);
    },
  ],
])('the API does not answer: %s: a plain error, no defect', async (_how, listener) => {
  const { code, err } = await tokenList(await listener());
  expect(err).toContain('the Kubernetes API of this machine cannot be asked: ');
  expect(err).not.toContain('defect');
  expect(code).toBe(exitCodes.failed.code);
});
