import { createECDH, createPrivateKey, createPublicKey, hkdfSync } from 'node:crypto';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { pemBlocks } from '../base/pem.ts';

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
  /** `peer` is both: etcd members dial one another. */
  usage: 'client' | 'server' | 'peer';
  dnsNames?: readonly string[];
  ipAddresses?: readonly string[];
  /** Lives as long as its authority; else a year. */
  lasting?: boolean;
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

/** The key that follows from a secret of at least 16 bytes: whoever has the secret makes the same (HKDF with SHA-256, RFC 5869). `purpose` keeps keys of one secret apart. */
async function derivedKeys(secret: Uint8Array, purpose: string): Promise<CryptoKeyPair> {
  // 48 bytes: what the remainder below leaves uneven is beyond measure (FIPS 186-5, A.2.1).
  const wide = new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(0), purpose, 48));
  const scalar = (BigInt(`0x${Buffer.from(wide).toString('hex')}`) % (p256Order - 1n)) + 1n;
  const d = Buffer.from(scalar.toString(16).padStart(64, '0'), 'hex');
  const curve = createECDH('prime256v1');
  curve.setPrivateKey(d);
  const point = curve.getPublicKey();
  const part = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');
  const publicKey = { kty: 'EC', crv: 'P-256', x: part(point.subarray(1, 33)), y: part(point.subarray(33)) };
  return {
    privateKey: await crypto.subtle.importKey('jwk', { ...publicKey, d: part(d) }, keyAlgorithm, true, ['sign']),
    publicKey: await crypto.subtle.importKey('jwk', publicKey, keyAlgorithm, true, ['verify']),
  };
}

/** The order of the group of P-256 (FIPS 186-5). */
const p256Order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** A self-signed certificate authority that lives ten years; with the key that follows from `secret`, when that is given. */
export async function makeAuthority(
  commonName: string,
  nowMs: number,
  serial: Uint8Array,
  secret?: Uint8Array,
): Promise<KeyPair> {
  const keys =
    secret === undefined
      ? await crypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify'])
      : await derivedKeys(secret, commonName);
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

const usages: Record<LeafRequest['usage'], x509.ExtendedKeyUsage[]> = {
  client: [x509.ExtendedKeyUsage.clientAuth],
  server: [x509.ExtendedKeyUsage.serverAuth],
  peer: [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth],
};

/** A leaf certificate with a new key, signed by `authority`. */
export async function issueCertificate(
  authority: KeyPair,
  request: LeafRequest,
  nowMs: number,
  serial: Uint8Array,
): Promise<KeyPair> {
  const keys = await crypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  const cert = await signCertificate(authority, keys.publicKey, request, nowMs, serial);
  return { cert, key: await exportPrivateKey(keys.privateKey) };
}

/** A certificate for somebody else's public key (of a signing request), as PEM. */
export async function signCertificate(
  authority: KeyPair,
  publicKey: x509.PublicKeyType,
  request: LeafRequest,
  nowMs: number,
  serial: Uint8Array,
): Promise<string> {
  const issuer = new x509.X509Certificate(authority.cert);
  const names: x509.JsonGeneralNames = [
    ...(request.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
    ...(request.ipAddresses ?? []).map((value) => ({ type: 'ip' as const, value })),
  ];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(serial),
    subject: subjectName(request.commonName, request.organizations),
    issuer: issuer.subjectName.toJSON(),
    notBefore: new Date(nowMs - backdateMs),
    notAfter: new Date(
      request.lasting === true
        ? issuer.notAfter.getTime()
        : Math.min(nowMs + leafDays * dayMs, issuer.notAfter.getTime()),
    ),
    publicKey,
    signingKey: await importPrivateKey(authority.key),
    signingAlgorithm: signAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(usages[request.usage]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
    ],
  });
  return `${certificate.toString('pem')}\n`;
}

/** A certificate is renewed when it has less than this left. */
export const renewBeforeMs = 90 * dayMs;

/** True when the certificate is for the private key; false also when either cannot be read. */
export function keyFits({ cert, key }: KeyPair): boolean {
  try {
    const own = createPublicKey(createPrivateKey(key)).export({ type: 'spki', format: 'der' });
    return own.equals(new Uint8Array(new x509.X509Certificate(cert).publicKey.rawData));
  } catch {
    return false;
  }
}

/**
 * True when `pair` still says what `request` asks, is signed by `authority` and does not expire within 90 days. One that lasts as long as its authority serves to the end: a new one
 * would not last longer.
 */
export async function certificateServes(
  pair: Pick<KeyPair, 'cert'>,
  authority: Pick<KeyPair, 'cert'>,
  request: LeafRequest,
  nowMs: number,
): Promise<boolean> {
  const certificate = new x509.X509Certificate(pair.cert);
  const issuer = new x509.X509Certificate(authority.cert);
  const end = certificate.notAfter.getTime();
  if (end - nowMs < renewBeforeMs && end < issuer.notAfter.getTime()) return false;
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

/** A signing request (PKCS #10) for a new key, as DER, and the key. */
export async function makeSigningRequest(commonName: string): Promise<{ request: Uint8Array; key: string }> {
  const keys = await crypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: subjectName(commonName),
    keys,
    signingAlgorithm: signAlgorithm,
  });
  return { request: new Uint8Array(request.rawData), key: await exportPrivateKey(keys.privateKey) };
}

/** The largest signing request that is read. */
const signingRequestBytesMax = 16_384;

/**
 * The public key of a signing request (DER or PEM) whose own signature is right; undefined for anything else. Names in it are not looked at: who signs
 * decides them. Keys: ECDSA on P-256, P-384 and P-521, RSA from 2048 bits, Ed25519.
 */
export async function signingRequestKey(bytes: Uint8Array): Promise<x509.PublicKey | undefined> {
  if (bytes.length === 0 || bytes.length > signingRequestBytesMax) return undefined;
  try {
    const text = Buffer.from(bytes).toString('latin1');
    const request = text.startsWith('-----BEGIN') ? requestOf(text) : new x509.Pkcs10CertificateRequest(bytes.slice());
    if (!(await request.verify())) return undefined;
    const { algorithm } = request.publicKey;
    const rsa = algorithm as { modulusLength?: number };
    if (rsa.modulusLength !== undefined && (rsa.modulusLength < 2048 || rsa.modulusLength > 8192)) return undefined;
    return request.publicKey;
  } catch {
    return undefined;
  }
}

/** What a signing request asks for. */
export interface RequestedCertificate {
  readonly commonName: string;
  readonly organizations: readonly string[];
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  /** Whether mail addresses or URIs are among its names. */
  readonly otherNames: { readonly email: boolean; readonly uri: boolean };
}

/** RFC 5280, 4.2.1.6. */
const subjectAltName = '2.5.29.17';

/** Of the first block of a text, whatever stands around it; by the reader that everybody asks here, so that nobody sees another request than the others. */
function requestOf(pemText: string): x509.Pkcs10CertificateRequest {
  const [block] = pemBlocks(pemText);
  if (block === undefined || !/^(NEW )?CERTIFICATE REQUEST$/.test(block.type))
    throw new Error('PEM block type must be CERTIFICATE REQUEST');
  return new x509.Pkcs10CertificateRequest(new Uint8Array(block.bytes));
}

function alternativeNames(request: x509.Pkcs10CertificateRequest): x509.JsonGeneralNames {
  const extension = request.getExtension(subjectAltName);
  return extension === null ? [] : new x509.SubjectAlternativeNameExtension(extension.rawData).names.toJSON();
}

/** The values of a field of the subject. Throws for one that is no string of X.520: others may read it as a name that is not seen here. */
function subjectField(request: x509.Pkcs10CertificateRequest, field: string): string[] {
  for (const item of request.subjectName.toJSON())
    for (const value of item[field] ?? [])
      if (typeof value === 'string' && /^#(?:[0-9a-f]{2}){2,}$/i.test(value))
        throw new Error(`${field} of the subject is ${value}, a value of an unknown type`);
  return request.subjectName.getField(field);
}

/** Reads a signing request (PEM). Throws for what is none. */
export function requestedCertificate(pemText: string): RequestedCertificate {
  const request = requestOf(pemText);
  const names = alternativeNames(request);
  const of = (type: string): string[] => names.filter((one) => one.type === type).map((one) => String(one.value));
  return {
    commonName: subjectField(request, 'CN')[0] ?? '',
    organizations: subjectField(request, 'O'),
    dnsNames: of('dns'),
    ipAddresses: of('ip'),
    otherNames: { email: of('email').length > 0, uri: of('url').length > 0 },
  };
}

/** Uses of a certificate in the words of certificates.k8s.io (RFC 5280, 4.2.1.3 and 4.2.1.12). */
const keyUses: Readonly<Record<string, x509.KeyUsageFlags>> = {
  signing: x509.KeyUsageFlags.digitalSignature,
  'digital signature': x509.KeyUsageFlags.digitalSignature,
  'content commitment': x509.KeyUsageFlags.nonRepudiation,
  'key encipherment': x509.KeyUsageFlags.keyEncipherment,
  'data encipherment': x509.KeyUsageFlags.dataEncipherment,
  'key agreement': x509.KeyUsageFlags.keyAgreement,
  'cert sign': x509.KeyUsageFlags.keyCertSign,
  'crl sign': x509.KeyUsageFlags.cRLSign,
  'encipher only': x509.KeyUsageFlags.encipherOnly,
  'decipher only': x509.KeyUsageFlags.decipherOnly,
};
const extendedUses: Readonly<Record<string, string>> = {
  any: '2.5.29.37.0',
  'server auth': '1.3.6.1.5.5.7.3.1',
  'client auth': '1.3.6.1.5.5.7.3.2',
  'code signing': '1.3.6.1.5.5.7.3.3',
  'email protection': '1.3.6.1.5.5.7.3.4',
  's/mime': '1.3.6.1.5.5.7.3.4',
  'ipsec end system': '1.3.6.1.5.5.7.3.5',
  'ipsec tunnel': '1.3.6.1.5.5.7.3.6',
  'ipsec user': '1.3.6.1.5.5.7.3.7',
  timestamping: '1.3.6.1.5.5.7.3.8',
  'ocsp signing': '1.3.6.1.5.5.7.3.9',
  'microsoft sgc': '1.3.6.1.4.1.311.10.3.3',
  'netscape sgc': '2.16.840.1.113730.4.1',
};

/** A certificate for what a signing request (PEM) asks, its names and its subject as they stand there, for `lifeMs` at most and no longer than the authority lives. */
export async function signRequest(
  authority: KeyPair,
  pemText: string,
  request: { readonly usages: readonly string[]; readonly lifeMs: number },
  nowMs: number,
  serial: Uint8Array,
): Promise<string> {
  const issuer = new x509.X509Certificate(authority.cert);
  const asked = requestOf(pemText);
  const names = alternativeNames(asked);
  const flags = request.usages.reduce((all, usage) => all | (keyUses[usage] ?? 0), 0);
  const extended = [...new Set(request.usages.flatMap((usage) => extendedUses[usage] ?? []))];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(serial),
    // As it stands: its text, read again, may be another name (quotes, escapes, `#` and hexadecimal).
    subject: asked.subjectName,
    issuer: issuer.subjectName.toJSON(),
    // Clocks that are a little behind.
    notBefore: new Date(nowMs - 5 * 60_000),
    notAfter: new Date(Math.min(nowMs + request.lifeMs, issuer.notAfter.getTime())),
    publicKey: asked.publicKey,
    signingKey: await importPrivateKey(authority.key),
    signingAlgorithm: signAlgorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      ...(flags === 0 ? [] : [new x509.KeyUsagesExtension(flags, true)]),
      ...(extended.length === 0 ? [] : [new x509.ExtendedKeyUsageExtension(extended)]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
    ],
  });
  return `${certificate.toString('pem')}\n`;
}

/** Until when a certificate is valid, in milliseconds since the epoch. */
export function certificateEnd(pem: string): number {
  return new x509.X509Certificate(pem).notAfter.getTime();
}
