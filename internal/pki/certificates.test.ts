import { X509Certificate } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { makeAuthority, requestedCertificate, signRequest } from './certificates.ts';
import * as x509 from '@peculiar/x509';

const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

async function requestFor(subject: x509.JsonNameParams): Promise<string> {
  const keys = await crypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: new x509.Name(subject),
    keys,
    signingAlgorithm: keyAlgorithm,
  });
  return request.toString('pem');
}

describe('signing requests', () => {
  const masters = 'system:masters';
  const hex = `#0c0e${Buffer.from(masters).toString('hex')}`;

  test.each([['system\\:masters'], ['"system:masters"'], ['a, O=system:masters'], ['x\nO=system:masters']])(
    'the subject %j is signed as it was asked, not as its text could be read again',
    async (organization) => {
      const request = await requestFor([{ O: [{ utf8String: organization }] }, { CN: ['x'] }]);
      expect(requestedCertificate(request).organizations).toEqual([organization]);
      const now = Date.parse('2026-01-01T00:00:00Z');
      const authority = await makeAuthority('test', now, Uint8Array.of(1));
      const use = { usages: ['client auth'], lifeMs: 3_600_000 };
      const signed = await signRequest(authority, request, use, now, Uint8Array.of(2));
      expect(new X509Certificate(signed).toLegacyObject().subject.O).toBe(organization);
    },
  );

  test.each<[string, x509.JsonNameParams]>([
    ['an organization that is no string', [{ O: ['#1a0e73797374656d3a6d617374657273'] }, { CN: ['x'] }]],
    ['a name that is no string', [{ CN: ['#1a0178'] }]],
    ['text that is one in hexadecimal', [{ O: [{ utf8String: hex }] }, { CN: ['x'] }]],
  ])('%s is refused', async (_what, name) => {
    const request = await requestFor(name);
    expect(() => requestedCertificate(request)).toThrow('a value of an unknown type');
  });
});
