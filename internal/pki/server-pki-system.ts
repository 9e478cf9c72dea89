import { existsSync, statSync } from 'node:fs';
import type { Clock } from '../base/clock.ts';
import { AppError, errorText } from '../base/errors.ts';
import { makeDirectory, readFileIfThere, removeFileDurably, writeFileAtomic } from '../base/files-system.ts';
import type { Random } from '../base/random.ts';
import type { Config } from '../config/config.ts';
import type { Paths } from '../config/paths.ts';
import {
  certificateServes,
  issueCertificate,
  keyFits,
  type KeyPair,
  makeAuthority,
  makeSigningKey,
} from './certificates.ts';
import { kubeconfig } from './kubeconfig.ts';
import { type AuthorityName, authorityNames, type Leaf, nodeLeaf, nodeLeafNames, serverLeaves } from './leaves.ts';

function readPair(directory: string, name: string): KeyPair | undefined {
  const cert = readFileIfThere(`${directory}/${name}.crt`);
  const key = readFileIfThere(`${directory}/${name}.key`);
  return cert === undefined || key === undefined ? undefined : { cert, key };
}

/**
 * The key first: a certificate without its key would be worthless. A renewed key is for whom the old one was. A crash between the two leaves a key with the certificate of
 * another one: who reads a pair to keep it asks `keyFits`, and has both made anew.
 */
export function writePair(directory: string, name: string, pair: KeyPair): void {
  writeFileAtomic(`${directory}/${name}.key`, pair.key, 0o600, { keepOwner: true });
  writeFileAtomic(`${directory}/${name}.crt`, pair.cert, 0o644, { keepOwner: true });
}

/** An authority of this server; AppError PKI when it is not there. */
export function readAuthority(paths: Paths, name: AuthorityName): KeyPair {
  const pair = readPair(paths.pki, name);
  if (!pair)
    throw new AppError('PKI', `${paths.pki} has no ${name}.crt and ${name}.key`, {
      hint: 'they come with the first start of a server, or with joining as one',
    });
  return pair;
}

const encryptionKeyFile = 'encryption.key';

/** The files that all servers of a cluster have in common. */
export const serverFileNames: readonly string[] = [
  ...authorityNames.flatMap((name) => [`${name}.crt`, `${name}.key`]),
  'service-account.key',
  'service-account.pub',
  encryptionKeyFile,
];

/** Makes or renews one certificate of a directory; true when it is a new one. */
async function ensureLeaf(
  directory: string,
  name: string,
  leaf: Leaf,
  authority: KeyPair,
  now: number,
  random: Random,
): Promise<boolean> {
  const existing = readPair(directory, name);
  try {
    if (existing && keyFits(existing) && (await certificateServes(existing, authority, leaf.request, now)))
      return false;
  } catch (error) {
    throw new AppError('PKI', `cannot read the certificate ${directory}/${name}.crt: ${errorText(error)}`, {
      hint: `remove ${name}.crt and ${name}.key: they are issued again at the next start`,
    });
  }
  writePair(directory, name, await issueCertificate(authority, leaf.request, now, random.bytes(16)));
  return true;
}

/**
 * Makes an authority at the first start. Whoever trusts the cluster trusts this one: of one that was there and is damaged, or whose certificate or key is lost, none is made in its place. A key alone, before anything
 * was signed with it, is what a first start leaves that was interrupted.
 */
async function ensureAuthority(
  directory: string,
  name: AuthorityName,
  signed: readonly string[],
  now: number,
  random: Random,
): Promise<KeyPair> {
  const cert = readFileIfThere(`${directory}/${name}.crt`);
  const key = readFileIfThere(`${directory}/${name}.key`);
  const used = signed.find((leaf) => existsSync(`${directory}/${leaf}.crt`));
  const lost = (problem: string): AppError =>
    new AppError('PKI', `the authority ${name} of the cluster ${problem}`, {
      hint: `put ${name}.crt and ${name}.key back into ${directory}, from a backup or from another server of the cluster; \`appliance reset\` gives the cluster up`,
    });
  if (cert !== undefined && key !== undefined) {
    if (!keyFits({ cert, key })) throw lost(`is damaged: ${name}.key is not the key of ${name}.crt`);
    return { cert, key };
  }
  if (cert !== undefined) throw lost(`has lost its key: ${directory} has ${name}.crt and no ${name}.key`);
  if (used !== undefined) throw lost(`is lost: ${directory} has no ${name}.crt, but ${used}.crt, which it signed`);
  const made = await makeAuthority(`appliance-${name}@${Math.floor(now / 1000)}`, now, random.bytes(16));
  writePair(directory, name, made);
  return made;
}

/** Refuses where a key of the cluster is lost: a new one in its place would look like the old one and open nothing. It was made before the first certificates of the server were. */
function refuseLostKey(paths: Paths, name: string, without: string): void {
  const made = ['apiserver.crt', 'admin.crt'].find((file) => existsSync(`${paths.pki}/${file}`));
  if (made === undefined) return;
  throw new AppError('PKI', `${paths.pki} has no ${name}, though this server has run before: it has ${made}`, {
    hint: `put ${name} back, from a backup or from another server of the cluster. ${without}`,
  });
}

/** Makes the key that tokens of ServiceAccounts are signed with, at the first start. */
async function ensureSigningKey(paths: Paths): Promise<void> {
  const name = 'service-account.key';
  if (existsSync(`${paths.pki}/${name}`)) return;
  refuseLostKey(
    paths,
    name,
    `Is there none? \`cd ${paths.pki} && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ${name} && ` +
      `openssl pkey -in ${name} -pubout -out service-account.pub\` makes another one, with which every token that was given out, also to pods that run, is void`,
  );
  const signing = await makeSigningKey();
  writeFileAtomic(`${paths.pki}/service-account.pub`, signing.publicKey, 0o644);
  writeFileAtomic(`${paths.pki}/${name}`, signing.key, 0o600);
}

/** Where the server keeps the administrator's kubeconfig; `paths.adminKubeconfig` is its copy for people. */
export function kubeconfigSource(paths: Paths): string {
  return `${paths.pki}/admin.kubeconfig`;
}

/**
 * Makes what is missing of a server's authorities, keys and certificates below `paths.pki` (all private keys 0600), and renews what expires within 90
 * days or no longer fits configuration and `addresses`. Safe to repeat, also while the server runs. Returns the names of the certificates that are new.
 */
export async function ensureServerPki(
  config: Config,
  paths: Paths,
  addresses: readonly string[],
  clock: Clock,
  random: Random,
): Promise<string[]> {
  makeDirectory(paths.pki);
  const now = clock.now();
  const authority = {} as Record<AuthorityName, KeyPair>;
  const leaves = Object.entries(serverLeaves(config, addresses));
  for (const name of authorityNames) {
    const signed = leaves.filter(([, leaf]) => leaf.authority === name).map(([leaf]) => leaf);
    authority[name] = await ensureAuthority(paths.pki, name, signed, now, random);
  }
  // Before the first certificate: it says that the keys were made.
  await ensureSigningKey(paths);
  const issued: string[] = [];
  for (const [name, leaf] of leaves)
    if (await ensureLeaf(paths.pki, name, leaf, authority[leaf.authority], now, random)) issued.push(name);
  const admin = readPair(paths.pki, 'admin')!;
  const text = kubeconfig({
    cluster: 'appliance',
    server: `https://${config.node.ip}:${config.ports.api}`,
    ca: authority['server-ca'].cert,
    user: 'admin',
    cert: admin.cert,
    key: admin.key,
  });
  if (readFileIfThere(kubeconfigSource(paths)) !== text) writeFileAtomic(kubeconfigSource(paths), text, 0o600);
  return issued;
}

/**
 * Makes the key that the keys of encryption at rest are sealed with, on the first server of a cluster: the others get it when they join, and one made there would
 * open nothing. To be called before `ensureServerPki`.
 */
export function ensureEncryptionKey(paths: Paths, random: Random): void {
  const file = `${paths.pki}/${encryptionKeyFile}`;
  if (existsSync(file)) return;
  refuseLostKey(
    paths,
    encryptionKeyFile,
    `Without it encrypted Secrets cannot be read. Was nothing encrypted ever? Then \`umask 077; openssl rand -hex 32 > ${file}\` makes one`,
  );
  makeDirectory(paths.pki);
  writeFileAtomic(file, `${Buffer.from(random.bytes(32)).toString('hex')}\n`, 0o600);
}

/** That key; undefined on a server that has none. AppError PKI for a damaged file. */
export function readEncryptionKey(paths: Paths): Uint8Array | undefined {
  const file = `${paths.pki}/${encryptionKeyFile}`;
  const text = readFileIfThere(file)?.trim();
  if (text === undefined) return undefined;
  if (!/^[0-9a-f]{64}$/.test(text))
    throw new AppError('PKI', `${file} is damaged: expected 64 hexadecimal digits`, {
      hint: 'copy it from another server of the cluster or from a backup; encrypted Secrets cannot be read without it',
    });
  return new Uint8Array(Buffer.from(text, 'hex'));
}

/** The identity of a server's own node, signed here: nobody is there yet to be asked. */
export async function ensureLocalIdentity(
  config: Config,
  paths: Paths,
  addresses: readonly string[],
  clock: Clock,
  random: Random,
): Promise<void> {
  makeDirectory(paths.identity, 0o711);
  for (const name of ['server-ca', 'client-ca'] as const) {
    const { cert } = readAuthority(paths, name);
    if (readFileIfThere(`${paths.identity}/${name}.crt`) !== cert)
      writeFileAtomic(`${paths.identity}/${name}.crt`, cert, 0o644);
  }
  for (const name of nodeLeafNames) {
    const leaf = nodeLeaf(name, config.node.name, addresses);
    await ensureLeaf(paths.identity, name, leaf, readAuthority(paths, leaf.authority), clock.now(), random);
  }
  // The server keeps a copy: it must know which machine has its own name.
  const password = `${ensureNodePassword(paths, random)}\n`;
  if (readFileIfThere(`${paths.pki}/node-password`) !== password)
    writeFileAtomic(`${paths.pki}/node-password`, password, 0o600);
}

/** Puts the secret that the configuration names where the server reads it, and takes it away when there is none. */
export function keepStaticToken(paths: Paths, token: string | undefined): void {
  const file = `${paths.pki}/token`;
  const existing = readFileIfThere(file);
  if (token === undefined && existing !== undefined) removeFileDurably(file);
  if (token !== undefined && existing !== token) writeFileAtomic(file, token, 0o600);
}

/** The secret by which this machine proves to be the node that it says it is; made on first use. */
export function ensureNodePassword(paths: Paths, random: Random): string {
  const file = `${paths.identity}/node-password`;
  const existing = readFileIfThere(file)?.trim();
  if (existing) return existing;
  const password = Buffer.from(random.bytes(16)).toString('hex');
  writeFileAtomic(file, `${password}\n`, 0o600);
  return password;
}

/** Copies the kubeconfig to where people look for it, with the mode that they want. True when it was different. */
export function publishKubeconfig(config: Pick<Config, 'writeKubeconfigMode'>, paths: Paths): boolean {
  const text = readFileIfThere(kubeconfigSource(paths));
  if (text === undefined) return false;
  const mode = Number.parseInt(config.writeKubeconfigMode, 8);
  const existing = statSync(paths.adminKubeconfig, { throwIfNoEntry: false });
  if (existing && (existing.mode & 0o777) === mode && readFileIfThere(paths.adminKubeconfig) === text) return false;
  writeFileAtomic(paths.adminKubeconfig, text, mode);
  return true;
}
