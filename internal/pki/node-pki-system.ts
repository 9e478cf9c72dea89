import type { Clock } from '../base/clock.ts';
import { AppError, errorText } from '../base/errors.ts';
import { readFileIfThere, makeDirectory, writeFileAtomic } from '../base/files-system.ts';
import type { Random } from '../base/random.ts';
import { cidrAddress, parseCidr } from '../config/cidr.ts';
import type { Config } from '../config/config.ts';
import type { Paths } from '../config/paths.ts';
import {
  certificateServes,
  issueCertificate,
  type KeyPair,
  type LeafRequest,
  makeAuthority,
  makeSigningKey,
} from './certificates.ts';
import { kubeconfig } from './kubeconfig.ts';

const authorities = ['server-ca', 'client-ca', 'request-header-ca'] as const;
type AuthorityName = (typeof authorities)[number];

/** The identity that the API server shows to kubelets. */
export const apiserverKubeletClientName = 'system:kube-apiserver';
/** The identity of the edge role (cluster DNS). */
export const edgeUserName = 'system:appliance:edge';

/** Every leaf certificate of a node with its authority. */
function leaves(config: Config): Record<string, { authority: AuthorityName; request: LeafRequest }> {
  const { name, ip } = config.node;
  const apiserviceIp = cidrAddress(parseCidr(config.cluster.serviceCIDR), 1);
  const client = (
    commonName: string,
    ...organizations: string[]
  ): { authority: AuthorityName; request: LeafRequest } => ({
    authority: 'client-ca',
    request: { commonName, organizations, usage: 'client' },
  });
  return {
    apiserver: {
      authority: 'server-ca',
      request: {
        commonName: 'kube-apiserver',
        usage: 'server',
        dnsNames: [
          'kubernetes',
          'kubernetes.default',
          'kubernetes.default.svc',
          `kubernetes.default.svc.${config.cluster.domain}`,
          'localhost',
          ...(name === 'localhost' ? [] : [name]),
        ],
        ipAddresses: [...new Set(['127.0.0.1', ip, apiserviceIp])],
      },
    },
    'kubelet-serving': {
      authority: 'server-ca',
      request: {
        commonName: `system:node:${name}`,
        organizations: ['system:nodes'],
        usage: 'server',
        dnsNames: [name],
        ipAddresses: [...new Set(['127.0.0.1', ip])],
      },
    },
    'apiserver-kubelet-client': client(apiserverKubeletClientName),
    kubelet: client(`system:node:${name}`, 'system:nodes'),
    edge: client(edgeUserName),
    admin: client('system:admin', 'system:masters'),
  };
}

/**
 * Makes what is missing of the node's keys and certificates below `paths.pki` (all private keys 0600), renews what expires within 90 days or no
 * longer fits the configuration, and writes the admin's kubeconfig (0600). Safe to repeat.
 */
export async function ensurePki(config: Config, paths: Paths, clock: Clock, random: Random): Promise<void> {
  makeDirectory(paths.pki);
  const now = clock.now();
  const read = (name: string): KeyPair | undefined => {
    const cert = readFileIfThere(`${paths.pki}/${name}.crt`);
    const key = readFileIfThere(`${paths.pki}/${name}.key`);
    return cert === undefined || key === undefined ? undefined : { cert, key };
  };
  const write = (name: string, pair: KeyPair): void => {
    writeFileAtomic(`${paths.pki}/${name}.key`, pair.key, 0o600);
    writeFileAtomic(`${paths.pki}/${name}.crt`, pair.cert, 0o644);
  };

  const authority = {} as Record<AuthorityName, KeyPair>;
  for (const name of authorities) {
    const existing = read(name);
    authority[name] =
      existing ?? (await makeAuthority(`appliance-${name}@${Math.floor(now / 1000)}`, now, random.bytes(16)));
    if (!existing) write(name, authority[name]);
  }
  const pairs: Record<string, KeyPair> = {};
  for (const [name, leaf] of Object.entries(leaves(config))) {
    const existing = read(name);
    let pair = existing;
    try {
      if (existing && !(await certificateServes(existing, authority[leaf.authority], leaf.request, now)))
        pair = undefined;
    } catch (error) {
      throw new AppError('PKI', `cannot read the certificate ${paths.pki}/${name}.crt: ${errorText(error)}`, {
        hint: `remove ${name}.crt and ${name}.key: they are issued again at the next start`,
      });
    }
    if (!pair) {
      pair = await issueCertificate(authority[leaf.authority], leaf.request, now, random.bytes(16));
      write(name, pair);
    }
    pairs[name] = pair;
  }
  if (readFileIfThere(`${paths.pki}/service-account.key`) === undefined) {
    const signing = await makeSigningKey();
    writeFileAtomic(`${paths.pki}/service-account.pub`, signing.publicKey, 0o644);
    writeFileAtomic(`${paths.pki}/service-account.key`, signing.key, 0o600);
  }
  const admin = pairs.admin!;
  writeFileAtomic(
    paths.adminKubeconfig,
    kubeconfig({
      cluster: 'appliance',
      server: `https://${config.node.ip}:${config.ports.api}`,
      ca: authority['server-ca'].cert,
      user: 'admin',
      cert: admin.cert,
      key: admin.key,
    }),
    0o600,
  );
}
