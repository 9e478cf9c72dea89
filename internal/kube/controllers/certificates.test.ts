import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import type { RequestedCertificate } from '../../pki/certificates.ts';
import { builtinKinds } from '../api/builtin.ts';
import { adminClient, startTestServer, type TestServer } from '../apiserver/testing.ts';
import type { UserInfo } from '../auth/identity.ts';
import type { JsonObject } from '../machinery/json.ts';
import { certificatesController, lifeOf, removalMs, type SigningRequest, signerProblem } from './certificates.ts';
import { runControllers } from './context.ts';

const asked = (more: Partial<RequestedCertificate> = {}): RequestedCertificate => ({
  commonName: 'system:node:a',
  organizations: ['system:nodes'],
  dnsNames: [],
  ipAddresses: [],
  otherNames: { email: false, uri: false },
  ...more,
});
const clientUses = ['digital signature', 'client auth'];
const serverUses = ['digital signature', 'server auth'];

describe('what a signer signs', () => {
  test.each<[scenario: string, signer: string, asked: RequestedCertificate, usages: string[], problem: string]>([
    ['a client', 'kube-apiserver-client', asked(), ['client auth', 'key encipherment'], ''],
    [
      'a client that would be a server',
      'kube-apiserver-client',
      asked(),
      ['client auth', 'server auth'],
      'unexpected usage server auth',
    ],
    ['a client that is none', 'kube-apiserver-client', asked(), ['digital signature'], 'client auth usage is required'],
    ['a kubelet', 'kube-apiserver-client-kubelet', asked(), [...clientUses, 'key encipherment'], ''],
    [
      'a kubelet of another group',
      'kube-apiserver-client-kubelet',
      asked({ organizations: ['dev'] }),
      clientUses,
      'subject organization is not system:nodes',
    ],
    [
      'a kubelet of another name',
      'kube-apiserver-client-kubelet',
      asked({ commonName: 'me' }),
      clientUses,
      'subject common name does not begin with system:node:',
    ],
    [
      'a kubelet with an address',
      'kube-apiserver-client-kubelet',
      asked({ ipAddresses: ['10.0.0.1'] }),
      clientUses,
      'IP subjectAltNames are not allowed',
    ],
    [
      'a kubelet with other uses',
      'kube-apiserver-client-kubelet',
      asked(),
      serverUses,
      'usages did not match [client auth digital signature key encipherment]',
    ],
    ['a serving kubelet', 'kubelet-serving', asked({ dnsNames: ['a'] }), serverUses, ''],
    [
      'a serving kubelet without a name',
      'kubelet-serving',
      asked(),
      serverUses,
      'DNS or IP subjectAltName is required',
    ],
    [
      'a serving kubelet with a URI',
      'kubelet-serving',
      asked({ dnsNames: ['a'], otherNames: { email: false, uri: true } }),
      serverUses,
      'URI subjectAltNames are not allowed',
    ],
    ['anything', 'legacy-unknown', asked({ commonName: 'x' }), ['code signing'], ''],
  ])('%s', (_scenario, signer, of, usages, problem) => {
    expect(signerProblem(`kubernetes.io/${signer}`, of, usages)).toBe(problem);
  });

  test('for how long: a year at most, ten minutes at least', () => {
    expect([undefined, 3600, 10, 1e9].map(lifeOf)).toEqual([31_536_000_000, 3_600_000, 600_000, 31_536_000_000]);
  });

  test('when a request goes: an hour after it is settled, a day after it was made, with its certificate', () => {
    const at = Date.parse('2026-01-01T00:00:00Z');
    const of = (types: string[], endMs?: number): number =>
      removalMs(
        {
          metadata: { name: 'r', creationTimestamp: '2026-01-01T00:00:00Z' },
          status: {
            conditions: types.map((type) => ({ type, status: 'True', lastUpdateTime: '2026-01-01T01:00:00Z' })),
          },
        } as unknown as SigningRequest,
        endMs,
      ) - at;
    const hour = 3_600_000;
    expect(of([])).toBe(24 * hour);
    expect(of(['Denied'])).toBe(2 * hour);
    expect(of(['Approved', 'Failed'])).toBe(2 * hour);
    expect(of(['Approved'])).toBe(25 * hour);
    expect(of(['Approved'], at + 9 * hour)).toBe(2 * hour);
    expect(of(['Approved'], at + 5)).toBe(5);
  });
});

/** Requests made by openssl, over a whole server. */
describe.skipIf(Bun.which('openssl') === null)('certificate controller', () => {
  let server: TestServer;
  let controllers: { stop(): Promise<void> };
  const dir = mkdtempSync(join(tmpdir(), 'csr-'));
  const requests = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
  beforeAll(async () => {
    server = await startTestServer();
    controllers = runControllers(
      [certificatesController((name) => (name === 'client-ca' ? server.pki.clientCa : server.pki.serverCa))],
      {
        client: adminClient(server),
        kinds: builtinKinds,
        clock: systemClock,
        random: systemRandom,
        log: silentLogger,
        host: 'test',
      },
    );
  });
  afterAll(async () => {
    await controllers.stop();
    await server.close();
    rmSync(dir, { recursive: true });
  });

  const run = (...argv: string[]): void => {
    const { exitCode, stderr } = Bun.spawnSync(['openssl', ...argv], { cwd: dir });
    if (exitCode !== 0) throw new Error(stderr.toString());
  };
  function csr(subject: string, ...more: string[]): string {
    run(
      'req',
      '-new',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      'key',
      '-subj',
      subject,
      '-out',
      'csr',
      ...more,
    );
    return readFileSync(join(dir, 'csr')).toString('base64');
  }
  const send = (
    name: string,
    signer: string,
    request: string,
    usages: string[],
    as?: UserInfo,
    more: JsonObject = {},
  ): ReturnType<TestServer['call']> =>
    server.call(
      'POST',
      requests,
      { metadata: { name }, spec: { signerName: `kubernetes.io/${signer}`, request, usages, ...more } },
      as === undefined ? {} : { as },
    );
  const read = async (name: string): Promise<JsonObject> =>
    (await server.call('GET', `${requests}/${name}`)).body.status ?? {};
  async function approve(name: string): Promise<void> {
    const live = (await server.call('GET', `${requests}/${name}`)).body;
    const condition = { type: 'Approved', status: 'True', reason: 'KubectlApprove', message: 'yes' };
    const body = { ...live, status: { conditions: [condition] } };
    expect((await server.call('PUT', `${requests}/${name}/approval`, body)).status).toBe(200);
  }
  async function certificate(name: string): Promise<X509Certificate> {
    await expect.poll(async () => typeof (await read(name)).certificate).toBe('string');
    return new X509Certificate(Buffer.from((await read(name)).certificate as string, 'base64'));
  }

  test('a client is signed once it is approved, for as long as it asks, by the authority of clients', async () => {
    await send('jane', 'kube-apiserver-client', csr('/O=dev/CN=jane'), ['client auth'], undefined, {
      expirationSeconds: 3600,
    });
    await Bun.sleep(100);
    expect((await read('jane')).certificate).toBeUndefined();
    await approve('jane');
    const made = await certificate('jane');
    expect(made.subject.split('\n').sort()).toEqual(['CN=jane', 'O=dev']);
    expect(made.verify(new X509Certificate(server.pki.clientCa.cert).publicKey)).toBe(true);
    expect(made.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
    const life = Date.parse(made.validTo) - Date.now();
    expect(life).toBeLessThanOrEqual(3_600_000);
    expect(life).toBeGreaterThan(3_400_000);
    writeFileSync(join(dir, 'ca'), server.pki.clientCa.cert);
    writeFileSync(join(dir, 'cert'), made.toString());
    run('verify', '-CAfile', 'ca', '-purpose', 'sslclient', 'cert');
  });

  test('a serving kubelet has its names and the authority of servers', async () => {
    const names = ['-addext', 'subjectAltName=DNS:node-a,IP:10.0.0.7'];
    await send('serves', 'kubelet-serving', csr('/O=system:nodes/CN=system:node:a', ...names), serverUses);
    await approve('serves');
    const made = await certificate('serves');
    expect(made.subjectAltName).toBe('DNS:node-a, IP Address:10.0.0.7');
    expect(made.verify(new X509Certificate(server.pki.serverCa.cert).publicKey)).toBe(true);
  });

  test('what a signer does not sign fails with the reason; other signers are none of ours', async () => {
    await send('wrong', 'kubelet-serving', csr('/O=system:nodes/CN=system:node:a'), serverUses);
    await approve('wrong');
    await expect
      .poll(async () => (await read('wrong')).conditions)
      .toContainEqual(
        expect.objectContaining({
          type: 'Failed',
          reason: 'SignerValidationFailure',
          message: 'DNS or IP subjectAltName is required',
        }),
      );
    const other = {
      metadata: { name: 'other' },
      spec: { signerName: 'example.com/own', request: csr('/CN=x'), usages: ['client auth'] },
    };
    await server.call('POST', requests, other);
    await approve('other');
    await Bun.sleep(100);
    expect((await read('other')).certificate).toBeUndefined();
  });

  test('a kubelet that may is approved by itself, for itself or for others; one that may not is left to people', async () => {
    const request = csr('/O=system:nodes/CN=system:node:b');
    const self: UserInfo = { name: 'system:node:b', groups: ['system:nodes', 'system:authenticated'] };
    const bind = (name: string, role: string, group: string): ReturnType<TestServer['call']> =>
      server.call('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
        metadata: { name },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
        subjects: [{ kind: 'Group', name: group, apiGroup: 'rbac.authorization.k8s.io' }],
      });
    const kinds = 'system:certificates.k8s.io:certificatesigningrequests';
    await bind('csr-create', 'system:node-bootstrapper', 'system:authenticated');
    await bind('csr-self', `${kinds}:selfnodeclient`, 'system:nodes');
    await Bun.sleep(100);
    const joe: UserInfo = { name: 'joe', groups: ['system:authenticated'] };
    await send('own', 'kube-apiserver-client-kubelet', request, clientUses, self);
    await send('foreign', 'kube-apiserver-client-kubelet', request, clientUses, joe);
    const made = await certificate('own');
    expect(made.subject).toContain('CN=system:node:b');
    expect((await read('own')).conditions).toContainEqual(
      expect.objectContaining({
        type: 'Approved',
        reason: 'AutoApproved',
        message: 'Auto approving self kubelet client certificate after SubjectAccessReview.',
      }),
    );
    expect((await read('foreign')).conditions).toBeUndefined();
  });
});
