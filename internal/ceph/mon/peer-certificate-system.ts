import { makeDirectory, readFileIfThere, writeFileAtomic } from '../../base/files-system.ts';
import type { Random } from '../../base/random.ts';
import { certificateServes, issueCertificate, keyFits, makeAuthority } from '../../pki/certificates.ts';
import { peerDir } from './self-system.ts';

/**
 * Mons prove to each other that they are mons of one cluster as with Ceph: by the key of `mon.`, which they all have and nobody else. An authority follows from it, the
 * same on each of them, and signs a certificate for the node's address; so there is nothing that would have to be handed out or renewed by somebody.
 *
 * Writes `ca.crt`, `peer.crt` and `peer.key` where a mon finds them, unless what is there serves still. `secret`: of `mon.`.
 */
export async function ensurePeerCertificate(
  dir: string,
  { fsid, ip, nowMs, random, secret }: { fsid: string; ip: string; nowMs: number; random: Random; secret: Uint8Array },
): Promise<void> {
  const file = (name: string): string => `${peerDir(dir)}/${name}`;
  const request = { commonName: 'mon', usage: 'peer' as const, ipAddresses: [ip], lasting: true };
  const authority = await makeAuthority(`mons of ${fsid}`, nowMs, random.bytes(16), secret);
  const [ca, cert, key] = ['ca.crt', 'peer.crt', 'peer.key'].map((name) => readFileIfThere(file(name)) ?? '') as [
    string,
    string,
    string,
  ];
  // The authority of before signed with the same key.
  if (ca !== '' && keyFits({ cert: ca, key: authority.key }) && keyFits({ cert, key }))
    if (await certificateServes({ cert }, { cert: ca }, request, nowMs)) return;
  const pair = await issueCertificate(authority, request, nowMs, random.bytes(16));
  makeDirectory(peerDir(dir));
  writeFileAtomic(file('ca.crt'), authority.cert, 0o600);
  writeFileAtomic(file('peer.crt'), pair.cert, 0o600);
  writeFileAtomic(file('peer.key'), pair.key, 0o600);
}
