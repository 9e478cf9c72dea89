import { X509Certificate } from 'node:crypto';
import { pemCertificates } from '../../base/pem.ts';
import { frontProxyNames } from './front-proxy.ts';
import { authenticated, type UserInfo } from './identity.ts';

const clientAuth = '1.3.6.1.5.5.7.3.2';
const anyUsage = '2.5.29.37.0';

/** What a TLS socket tells of its peer (node:tls). */
export interface PeerSocket {
  authorized: boolean;
  getPeerCertificate(): { raw?: Uint8Array; subject?: { CN?: string | string[]; O?: string | string[] } } | undefined;
}

/** The user that a client certificate names: CN is the name, every O a group. Valid until `notAfter`. */
export interface CertificateUser {
  readonly user: UserInfo;
  /** It is a front proxy's: headers say for whom it asks. */
  readonly frontProxy: boolean;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Whose certificates are believed, and for what. */
export interface PeerAuthorities {
  readonly client: readonly X509Certificate[];
  readonly requestHeader: readonly X509Certificate[];
}

/** Every certificate of a PEM bundle. */
export function certificatesOf(pem: string | undefined): X509Certificate[] {
  return pemCertificates(pem ?? '').map((text) => new X509Certificate(text));
}

const issuedBy = (certificate: X509Certificate, authorities: readonly X509Certificate[]): boolean =>
  authorities.some((authority) => certificate.verify(authority.publicKey));

/**
 * Reads the verified certificate of a connection. Undefined when there is none or it is not from our authority: such a client is anonymous
 * unless it has a token, as upstream. Without `authorities` whoever signed it is believed that the socket believes.
 */
export function certificateUser(socket: PeerSocket, authorities?: PeerAuthorities): CertificateUser | undefined {
  if (!socket.authorized) return undefined;
  const peer = socket.getPeerCertificate();
  if (peer?.raw === undefined) return undefined;
  const certificate = new X509Certificate(peer.raw);
  const usages = certificate.keyUsage as unknown as string[] | undefined;
  if (usages !== undefined && !usages.includes(clientAuth) && !usages.includes(anyUsage)) return undefined;
  const first = (value: string | string[] | undefined): string | undefined => (Array.isArray(value) ? value[0] : value);
  const name = first(peer.subject?.CN);
  if (name === undefined || name === '') return undefined;
  const frontProxy = authorities !== undefined && issuedBy(certificate, authorities.requestHeader);
  if (frontProxy && !frontProxyNames.includes(name)) return undefined;
  if (!frontProxy && authorities !== undefined && !issuedBy(certificate, authorities.client)) return undefined;
  const organizations = peer.subject?.O ?? [];
  return {
    frontProxy,
    user: authenticated({ name, groups: Array.isArray(organizations) ? [...organizations] : [organizations] }),
    notBefore: Date.parse(certificate.validFrom),
    notAfter: Date.parse(certificate.validTo),
  };
}
