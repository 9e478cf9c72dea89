import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Clock } from '../base/clock.ts';
import { readFileIfThere } from '../base/files-system.ts';
import { systemClock, systemRandom } from '../base/system.ts';
import { effectiveConfig } from '../config/load.ts';
import { nodePaths } from '../config/paths.ts';
import { certificateEnd, keyFits } from './certificates.ts';
import { ensureEncryptionKey, ensureLocalIdentity, ensureServerPki, publishKubeconfig } from './server-pki-system.ts';

const directory = mkdtempSync(join(tmpdir(), 'pki-'));
const paths = nodePaths(directory, join(directory, 'run'));
const configFor = (ip: string) => effectiveConfig('# all default', 'test', { hostname: 'n1', ip, freeBytes: 1e12 });
const ensure = async (ip: string, clock: Clock): Promise<string[]> => {
  const config = configFor(ip);
  const issued = await ensureServerPki(config, paths, [ip], clock, systemRandom);
  await ensureLocalIdentity(config, paths, [ip], clock, systemRandom);
  publishKubeconfig(config, paths);
  return issued;
};
const pem = (name: string) => readFileSync(`${paths.pki}/${name}`, 'utf8');

beforeAll(() => ensure('192.168.7.1', systemClock));
afterAll(() => rmSync(directory, { recursive: true }));

describe('pki', () => {
  test('the kubeconfig has the mode that the configuration wants, also when only the mode changed', () => {
    const config = { ...configFor('192.168.7.1'), writeKubeconfigMode: '0666' };
    expect(publishKubeconfig(config, paths)).toBe(true);
    // No umask of this process lets others write.
    expect(statSync(paths.adminKubeconfig).mode & 0o777).toBe(0o666);
    expect(publishKubeconfig(config, paths)).toBe(false);
    expect(publishKubeconfig(configFor('192.168.7.1'), paths)).toBe(true);
    expect(statSync(paths.adminKubeconfig).mode & 0o777).toBe(0o600);
  });

  test('private keys and the kubeconfig are for their owner only', () => {
    for (const path of [
      `${paths.pki}/server-ca.key`,
      `${paths.pki}/service-account.key`,
      `${paths.pki}/admin.key`,
      `${paths.pki}/etcd-peer.key`,
      `${paths.identity}/kubelet.key`,
      `${paths.identity}/node-password`,
      paths.adminKubeconfig,
    ])
      expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test('a second start keeps every certificate; a new address reissues only what names it', async () => {
    const before = ['server-ca', 'apiserver', 'admin'].map((name) => pem(`${name}.crt`));
    await ensure('192.168.7.1', systemClock);
    expect(['server-ca', 'apiserver', 'admin'].map((name) => pem(`${name}.crt`))).toEqual(before);
    await ensure('192.168.7.2', systemClock);
    const after = ['server-ca', 'apiserver', 'admin'].map((name) => pem(`${name}.crt`));
    expect(after[0]).toBe(before[0]);
    expect(after[1]).not.toBe(before[1]);
    expect(after[2]).toBe(before[2]);
  });

  test('a certificate near its end is issued again', async () => {
    const before = pem('admin.crt');
    const later = { ...systemClock, now: () => systemClock.now() + 300 * 86_400_000 };
    await ensure('192.168.7.2', later);
    expect(pem('admin.crt')).not.toBe(before);
    await ensure('192.168.7.2', systemClock);
  });

  test.each(['admin', 'apiserver'])('a crash between key and certificate of %s: both are made anew', async (name) => {
    const before = pem(`${name}.crt`);
    // What is on disk then: the new key, and the certificate of the old one.
    writeFileSync(`${paths.pki}/${name}.key`, pem(name === 'admin' ? 'apiserver.key' : 'admin.key'));
    expect(await ensure('192.168.7.2', systemClock)).toEqual([name]);
    expect(pem(`${name}.crt`)).not.toBe(before);
    expect(keyFits({ cert: pem(`${name}.crt`), key: pem(`${name}.key`) })).toBe(true);
    expect(await ensure('192.168.7.2', systemClock)).toEqual([]);
  });

  test('an authority that is damaged or lost is told, and none is made in its place', async () => {
    const file = (ending: string): string => `${paths.pki}/client-ca.${ending}`;
    const kept = { crt: pem('client-ca.crt'), key: pem('client-ca.key') };
    const broken: [() => void, RegExp][] = [
      [() => writeFileSync(file('key'), pem('server-ca.key')), /client-ca.key is not the key of client-ca.crt/],
      [() => rmSync(file('key')), /has lost its key/],
      [() => rmSync(file('crt')), /has no client-ca.crt, but \S+.crt, which it signed/],
    ];
    for (const [damage, message] of broken) {
      damage();
      const left = ['crt', 'key'].map((ending) => readFileIfThere(file(ending)));
      const error = await ensure('192.168.7.2', systemClock).catch((one: unknown) => one);
      expect(error).toMatchObject({ code: 'PKI', message: expect.stringMatching(message) });
      expect(['crt', 'key'].map((ending) => readFileIfThere(file(ending)))).toEqual(left);
      writeFileSync(file('crt'), kept.crt);
      writeFileSync(file('key'), kept.key);
    }
    expect(await ensure('192.168.7.2', systemClock)).toEqual([]);
  });

  test('a first start that ended between key and certificate of an authority is begun again', async () => {
    const fresh = nodePaths(join(directory, 'fresh'), join(directory, 'run'));
    mkdirSync(fresh.pki, { recursive: true });
    writeFileSync(`${fresh.pki}/server-ca.key`, pem('server-ca.key'), { mode: 0o600 });
    await ensureServerPki(configFor('192.168.7.1'), fresh, ['192.168.7.1'], systemClock, systemRandom);
    const [cert, key] = ['crt', 'key'].map((ending) => readFileSync(`${fresh.pki}/server-ca.${ending}`, 'utf8'));
    expect(keyFits({ cert: cert!, key: key! })).toBe(true);
  });

  test('a key of the cluster that is lost is told, with the way out, and none is made in its place', async () => {
    const run = nodePaths(join(directory, 'run-before'), join(directory, 'run'));
    const file = (name: string): string => `${run.pki}/${name}`;
    const start = async (): Promise<void> => {
      ensureEncryptionKey(run, systemRandom);
      await ensureServerPki(configFor('192.168.7.1'), run, ['192.168.7.1'], systemClock, systemRandom);
    };
    await start();
    for (const [name, wayOut] of [
      ['service-account.key', /openssl genpkey/],
      ['encryption.key', /openssl rand -hex 32/],
    ] as const) {
      const kept = readFileSync(file(name), 'utf8');
      rmSync(file(name));
      await expect(start()).rejects.toMatchObject({
        code: 'PKI',
        message: `${run.pki} has no ${name}, though this server has run before: it has apiserver.crt`,
        hint: expect.stringMatching(wayOut),
      });
      expect(readFileIfThere(file(name))).toBeUndefined();
      writeFileSync(file(name), kept);
      await start();
      expect(readFileSync(file(name), 'utf8')).toBe(kept);
    }
  });

  test('in the last months of an authority its certificates last as long as it does, and are not issued again and again', async () => {
    const days = (count: number) => ({ ...systemClock, now: () => systemClock.now() + count * 86_400_000 });
    const old = nodePaths(join(directory, 'old'), join(directory, 'run'));
    const ensureOld = (clock: Clock) =>
      ensureServerPki(configFor('192.168.7.1'), old, ['192.168.7.1'], clock, systemRandom);
    await ensureOld(systemClock);
    expect(await ensureOld(days(3600))).not.toEqual([]);
    const last = readFileSync(`${old.pki}/admin.crt`, 'utf8');
    expect(certificateEnd(last)).toBe(certificateEnd(readFileSync(`${old.pki}/client-ca.crt`, 'utf8')));
    expect(await ensureOld(days(3601))).toEqual([]);
    expect(await ensureOld(days(3649))).toEqual([]);
  });

  test('the admin and the API server trust each other over TLS', async () => {
    const server = createServer(
      {
        cert: pem('apiserver.crt'),
        key: pem('apiserver.key'),
        ca: pem('client-ca.crt'),
        requestCert: true,
        rejectUnauthorized: true,
      },
      (socket) => socket.end(String(socket.getPeerCertificate().subject.CN)),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect({
        port,
        host: '127.0.0.1',
        ca: pem('server-ca.crt'),
        cert: pem('admin.crt'),
        key: pem('admin.key'),
      });
      let text = '';
      socket.on('data', (chunk) => (text += String(chunk)));
      socket.on('end', () => resolve(text));
      socket.on('error', reject);
    });
    server.close();
    expect(answer).toBe('system:admin');
  });
});
