import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, describe, expect, test } from 'vitest';
import { certificateRequestProblem } from './certificate-request.ts';

/** Requests that openssl makes. */
const dir = mkdtempSync(`${tmpdir()}/csr-`);
afterAll(() => rmSync(dir, { recursive: true }));

function request(...key: string[]): Buffer {
  execFileSync('openssl', ['genpkey', ...key, '-out', `${dir}/key`], { stdio: 'pipe' });
  const argv = ['req', '-new', '-key', `${dir}/key`, '-subj', '/O=system:nodes/CN=system:node:n', '-outform', 'DER'];
  return execFileSync('openssl', argv);
}

describe('a request for a certificate', () => {
  test.each([
    ['P-256', ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']],
    ['P-384', ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384']],
    ['RSA', ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048']],
    ['Ed25519', ['-algorithm', 'ED25519']],
  ])('of openssl with a %s key is believed; with any byte changed it is not', (_, key) => {
    const bytes = request(...key);
    expect(certificateRequestProblem(bytes)).toBeUndefined();
    for (let at = 0; at < bytes.length; at += 7) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 0x10;
      expect(certificateRequestProblem(changed), `byte ${at}`).toMatch(/^(asn1|x509): /);
    }
    for (let length = 0; length < bytes.length; length += 13)
      expect(certificateRequestProblem(bytes.subarray(0, length))).toMatch(/^asn1: /);
  });

  test('signed with another key than it names is refused in the words of Go', () => {
    const one = request('-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256');
    const other = request('-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256');
    // Both have the same subject and so the same length up to the signature, but for a byte or two of it.
    const at = one.indexOf(Buffer.from('06082a8648ce3d040302', 'hex'));
    const otherAt = other.indexOf(Buffer.from('06082a8648ce3d040302', 'hex'));
    expect(at).toBe(otherAt);
    const mixed = Buffer.concat([other.subarray(0, otherAt), one.subarray(at)]);
    // The outer length may differ by the signature's.
    const headLength = other[1]! === 0x82 ? 4 : other[1]! === 0x81 ? 3 : 2;
    const length = mixed.length - headLength;
    if (headLength === 4) mixed.writeUInt16BE(length, 2);
    else mixed[headLength - 1] = length;
    expect(certificateRequestProblem(mixed)).toBe('x509: ECDSA verification failure');
  });
});
