import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

/** ECDSA on P-256: small, quick on ARM, accepted by every client. */
const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const signAlgorithm = { name: 'ECDSA', hash: 'SHA-256' } as const;

const dayMs = 86_400_000;
/** Certificates start a day in the past: machines without a clock battery boot late. */
const backdateMs = dayMs;

/** A certificate and its private key as PEM (PKCS #8). */
export interface KeyPair {
  cert: string;
  key: string;
}

/** What a leaf certificate says. */
export interface LeafRequest {
  commonName: string;
  organizations?: readonly string[];
  usage: 'client' | 'server';
  dnsNames?: readonly string[];
  ipAddresses?: readonly string[];
}

function subjectName(commonName: string, organizations: readonly string[] = []): x509.JsonName {
  return [...organizations.map((organization) => ({ O: [organization] })), { CN: [commonName] }];
}

function serialNumber(random: Uint8Array): string {
  const bytes = random.slice();
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return Buffer.from(bytes).toString('hex');
}

function pem(label: string, der: ArrayBuffer): string {
  return `${x509.PemConverter.encode(der, label)}\n`;
}

async function exportPrivateKey(key: CryptoKey): Promise<string> {
  return pem('PRIVATE KEY', await crypto.subtle.exportKey('pkcs8', key));
}

async function importPrivateKey(text: string): Promise<CryptoKey> {
  const der = x509.PemConverter.decode(text)[0];
  if (!der) throw new Error('no PEM block');
  return crypto.subtle.importKey('pkcs8', der, keyAlgorithm, true, ['sign']);
}

/** A self-signed certificate authority that lives ten years. */
export async function makeAuthority(commonName: string, nowMs: number, serial: Uint8Array): Promise<KeyPair> {
  const keys = await crypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(serial),
    name: subjectName(commonName),
    notBefore: new Date(nowMs - backdateMs),
    notAfter: new Date(nowMs + 3650 * dayMs),
    keys,
    signingAlgorithm: signAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign | x509.KeyUsageFlags.digitalSignature,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { cert: `${certificate.toString('pem')}\n`, key: await exportPrivateKey(keys.privateKey) };
}

/** How long a leaf certificate lives. */
export const leafDays = 365;

/** A leaf certificate signed by `authority`. */
export async function issueCertificate(
  authority: KeyPair,
  request: LeafRequest,
  nowMs: number,
  serial: Uint8Array,
): Promise<KeyPair> {
  const issuer = new x509.X509Certificate(authority.cert);
  const keys = await crypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  const names: x509.JsonGeneralNames = [
    ...(request.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
    ...(request.ipAddresses ?? []).map((value) => ({ type: 'ip' as const, value })),
  ];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(serial),
    subject: subjectName(request.commonName, request.organizations),
    issuer: issuer.subjectName.toJSON(),
    notBefore: new Date(nowMs - backdateMs),
    notAfter: new Date(Math.min(nowMs + leafDays * dayMs, issuer.notAfter.getTime())),
    publicKey: keys.publicKey,
    signingKey: await importPrivateKey(authority.key),
    signingAlgorithm: signAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        request.usage === 'server' ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth,
      ]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
    ],
  });
  return { cert: `${certificate.toString('pem')}\n`, key: await exportPrivateKey(keys.privateKey) };
}

/** True when `pair` still says what `request` asks, is signed by `authority` and does not expire within 90 days. */
export async function certificateServes(
  pair: KeyPair,
  authority: KeyPair,
  request: LeafRequest,
  nowMs: number,
): Promise<boolean> {
  const certificate = new x509.X509Certificate(pair.cert);
  const issuer = new x509.X509Certificate(authority.cert);
  if (certificate.notAfter.getTime() - nowMs < 90 * dayMs) return false;
  if (certificate.notBefore.getTime() > nowMs) return false;
  const names = certificate.getExtension(x509.SubjectAlternativeNameExtension)?.names.toJSON() ?? [];
  const values = (type: string): string =>
    names
      .filter((name) => name.type === type)
      .map((name) => name.value)
      .sort()
      .join();
  if (values('dns') !== [...(request.dnsNames ?? [])].sort().join()) return false;
  if (values('ip') !== [...(request.ipAddresses ?? [])].sort().join()) return false;
  if (new x509.Name(subjectName(request.commonName, request.organizations)).toString() !== certificate.subject)
    return false;
  return certificate.verify({ publicKey: await issuer.publicKey.export(), signatureOnly: true });
}

/** An ES256 key for service-account tokens: private and public PEM. */
export async function makeSigningKey(): Promise<{ key: string; publicKey: string }> {
  const keys = await crypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  return {
    key: await exportPrivateKey(keys.privateKey),
    publicKey: pem('PUBLIC KEY', await crypto.subtle.exportKey('spki', keys.publicKey)),
  };
}
