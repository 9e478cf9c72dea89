/** PKCS #10 requests for certificates (RFC 2986): whether whoever made one has its key. */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';

/** An element of DER: its tag, and where it and its content lie. */
interface Element {
  readonly tag: number;
  readonly from: number;
  readonly content: number;
  readonly to: number;
}

function elementAt(bytes: Uint8Array, from: number, end: number): Element | undefined {
  const tag = bytes[from];
  const first = bytes[from + 1];
  if (tag === undefined || first === undefined) return undefined;
  let content = from + 2;
  let length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > 4) return undefined;
    length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + (bytes[content++] ?? 0);
  }
  const to = content + length;
  return to <= end ? { tag, from, content, to } : undefined;
}

/** The elements inside another one; undefined when they do not fill it. */
function elementsOf(bytes: Uint8Array, outer: Element): Element[] | undefined {
  const out: Element[] = [];
  for (let at = outer.content; at < outer.to; ) {
    const next = elementAt(bytes, at, outer.to);
    if (next === undefined) return undefined;
    out.push(next);
    at = next.to;
  }
  return out;
}

const SEQUENCE = 0x30;
const BIT_STRING = 0x03;
const OBJECT_IDENTIFIER = 0x06;

/** Digests of signature algorithms by object identifier, DER in hexadecimal (RFC 5758, RFC 8017, RFC 8410). */
const digests: Readonly<Record<string, string | null>> = {
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
  // Ed25519 hashes by itself.
  '2b6570': null,
};

/** Why a request cannot be believed; undefined when it is whole and signed with the key that it names. */
export function certificateRequestProblem(bytes: Uint8Array): string | undefined {
  const whole = elementAt(bytes, 0, bytes.length);
  if (whole?.tag !== SEQUENCE || whole.to !== bytes.length)
    return 'asn1: structure error: the request is not a DER sequence';
  const [info, algorithm, signature, ...more] = elementsOf(bytes, whole) ?? [];
  const [version, subject, key] = info === undefined ? [] : (elementsOf(bytes, info) ?? []);
  const [name] = algorithm === undefined ? [] : (elementsOf(bytes, algorithm) ?? []);
  if (
    info?.tag !== SEQUENCE ||
    signature?.tag !== BIT_STRING ||
    bytes[signature.content] !== 0 ||
    name?.tag !== OBJECT_IDENTIFIER ||
    version === undefined ||
    subject?.tag !== SEQUENCE ||
    key?.tag !== SEQUENCE ||
    more.length > 0
  )
    return 'asn1: structure error: the request is no CertificationRequest';
  const oid = Buffer.from(bytes.subarray(name.content, name.to)).toString('hex');
  if (!Object.hasOwn(digests, oid)) return 'x509: cannot verify signature: algorithm unimplemented';
  let publicKey: KeyObject;
  try {
    publicKey = createPublicKey({ key: Buffer.from(bytes.subarray(key.from, key.to)), format: 'der', type: 'spki' });
  } catch {
    return 'x509: the public key of the request cannot be read';
  }
  // The first byte of a BIT STRING counts unused bits.
  const signed = Buffer.from(bytes.subarray(info.from, info.to));
  try {
    if (verify(digests[oid] ?? undefined, signed, publicKey, bytes.subarray(signature.content + 1, signature.to)))
      return undefined;
  } catch {
    // A signature of another kind of key.
  }
  return `x509: ${publicKey.asymmetricKeyType === 'ec' ? 'ECDSA' : (publicKey.asymmetricKeyType ?? '').toUpperCase()} verification failure`;
}
