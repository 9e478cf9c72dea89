import { type Clock, sleep } from '../base/clock.ts';
import { AppError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { type Random, randomName } from '../base/random.ts';
import type { KubeClient, KubeObject } from '../kube/client/api.ts';
import { nodesRef, secretsRef } from '../kube/client/resources.ts';
import { isStatus } from '../kube/machinery/status.ts';
import { hashSecret } from '../pki/secret-hash.ts';
import type { TokenUser } from '../pki/token.ts';
import { passwordHash } from './node-passwords.ts';

/**
 * Join tokens as they are kept: a Secret `join-token-<id>` each in kube-system, so that every server knows them and they survive what the store
 * survives. Of the secret itself only a hash is kept; its first part is the id, so that one hash is computed for a request and not one a token.
 */
export interface JoinTokenRecord {
  readonly id: string;
  /** See `secret-hash.ts`. */
  readonly hash: string;
  readonly user: TokenUser;
  readonly description: string;
  readonly createdMs: number;
  /** Undefined: it does not end. */
  readonly expiresMs: number | undefined;
  readonly oneTime: boolean;
  /** The node that may take the place of an earlier machine of its name. */
  readonly replace: string | undefined;
  /** The nodes that have joined with it. Of a one-time token there is one: only that one may go on using it. */
  readonly usedBy: readonly string[];
  /** When the last of them did. */
  readonly usedMs: number | undefined;
}

interface TokenSecret extends KubeObject {
  type?: string;
  data?: Record<string, string>;
}

const namespace = 'kube-system';
const secretType = 'appliance/join-token';
const label = 'appliance/join-token';
const idPattern = /^[a-z0-9]{6}$/;
const descriptionMax = 256;
/** Of a token without end, the last nodes are told. */
const usersKeptMax = 200;

const secretName = (id: string): string => `join-token-${id}`;

/** The id of a token's secret, `<id>.<rest>`; undefined for a secret of another form. */
export function tokenId(secret: string): string | undefined {
  const at = secret.indexOf('.');
  const id = secret.slice(0, Math.max(0, at));
  return idPattern.test(id) ? id : undefined;
}

export interface NewToken {
  readonly user: TokenUser;
  readonly description?: string;
  /** How long it is good for; undefined: without end. */
  readonly lifeMs?: number | undefined;
  readonly oneTime?: boolean;
  readonly replace?: string;
}

/** A new token: what is kept, and the secret, which is shown once and nowhere kept. */
export async function newToken(
  options: NewToken,
  nowMs: number,
  random: Random,
): Promise<{ record: JoinTokenRecord; secret: string }> {
  const description = options.description ?? '';
  if (description.length > descriptionMax)
    throw new AppError(
      'TOKEN',
      `the description has ${description.length} characters, expected at most ${descriptionMax}`,
    );
  const id = randomName(random, 6);
  const secret = `${id}.${Buffer.from(random.bytes(16)).toString('hex')}`;
  const record: JoinTokenRecord = {
    id,
    hash: await hashSecret(secret, random.bytes(16)),
    user: options.user,
    description,
    createdMs: nowMs,
    expiresMs: options.lifeMs === undefined ? undefined : nowMs + options.lifeMs,
    // Whoever may take a node's place may do so once.
    oneTime: options.oneTime === true || options.replace !== undefined,
    replace: options.replace,
    usedBy: [],
    usedMs: undefined,
  };
  return { record, secret };
}

const encode = (text: string): string => Buffer.from(text).toString('base64');
const decode = (text: string | undefined): string | undefined =>
  text === undefined ? undefined : Buffer.from(text, 'base64').toString('utf8');

/** The Secret of a token. */
export function tokenSecret(record: JoinTokenRecord): TokenSecret {
  const data: Record<string, string | undefined> = {
    hash: record.hash,
    user: record.user,
    description: record.description === '' ? undefined : record.description,
    created: new Date(record.createdMs).toISOString(),
    expiration: record.expiresMs === undefined ? undefined : new Date(record.expiresMs).toISOString(),
    'one-time': record.oneTime ? 'true' : undefined,
    replace: record.replace,
    'used-by': record.usedBy.length === 0 ? undefined : record.usedBy.join(),
    'used-at': record.usedMs === undefined ? undefined : new Date(record.usedMs).toISOString(),
  };
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name: secretName(record.id),
      namespace,
      labels: { [label]: 'true', 'app.kubernetes.io/managed-by': 'appliance' },
    },
    type: secretType,
    data: Object.fromEntries(
      Object.entries(data).flatMap(([key, value]) => (value === undefined ? [] : [[key, encode(value)]])),
    ),
  };
}

/** Reads a token's Secret; undefined for one that is damaged or no token's: it lets nobody in. */
export function tokenOfSecret(secret: TokenSecret): JoinTokenRecord | undefined {
  const data = secret.data ?? {};
  const id = secret.metadata.name.slice(secretName('').length);
  const user = decode(data.user);
  const hash = decode(data.hash);
  const expiration = decode(data.expiration);
  const expiresMs = expiration === undefined ? undefined : Date.parse(expiration);
  if (secret.type !== secretType || !idPattern.test(id) || hash === undefined) return undefined;
  if (user !== 'node' && user !== 'server') return undefined;
  // An end that cannot be read is one that has come.
  if (expiresMs !== undefined && Number.isNaN(expiresMs)) return undefined;
  return {
    id,
    hash,
    user,
    description: decode(data.description) ?? '',
    createdMs: Date.parse(decode(data.created) ?? '') || 0,
    expiresMs,
    oneTime: decode(data['one-time']) === 'true',
    replace: decode(data.replace),
    usedBy: namesOf(data['used-by']),
    usedMs: Date.parse(decode(data['used-at']) ?? '') || undefined,
  };
}

/** Names of nodes, which have no commas. */
function namesOf(encoded: string | undefined): string[] {
  return (decode(encoded) ?? '').split(',').filter((name) => name !== '');
}

export async function createToken(client: KubeClient, record: JoinTokenRecord): Promise<void> {
  await client.create(secretsRef, tokenSecret(record));
}

/** Every token that can be read, the newest last. */
export async function listTokens(client: KubeClient): Promise<JoinTokenRecord[]> {
  const list = await client.list<TokenSecret>(secretsRef, { namespace, labelSelector: `${label}=true` });
  return list.items.flatMap((item) => tokenOfSecret(item) ?? []).sort((a, b) => a.createdMs - b.createdMs);
}

/** Removes a token; false when there is none with this id. */
export async function deleteToken(client: KubeClient, id: string): Promise<boolean> {
  if (!idPattern.test(id)) return false;
  try {
    await client.delete(secretsRef, secretName(id), namespace);
    return true;
  } catch (error) {
    if (isStatus(error, 'NotFound')) return false;
    throw error;
  }
}

/** Somebody who comes too late is still told that, for so long, and not that there is no such token. */
export const expiredKeptMs = 3_600_000;

const cleanEveryMs = 600_000;

/** Removes the tokens whose end came more than `expiredKeptMs` ago, as Kubernetes' token cleaner does for bootstrap tokens; their ids. */
export async function removeExpiredTokens(client: KubeClient, nowMs: number): Promise<string[]> {
  const removed: string[] = [];
  for (const { id, expiresMs } of await listTokens(client))
    if (expiresMs !== undefined && expiresMs + expiredKeptMs <= nowMs && (await deleteToken(client, id)))
      removed.push(id);
  return removed;
}

/** Does that for as long as the server runs; of several servers each does. */
export async function keepTokensClean(options: {
  client: KubeClient;
  clock: Clock;
  log: Logger;
  stopping: AbortSignal;
}): Promise<void> {
  const { client, clock, log, stopping } = options;
  while (!stopping.aborted) {
    try {
      const ids = await removeExpiredTokens(client, clock.now());
      if (ids.length > 0) log.info('expired tokens are removed', { ids: ids.join() });
    } catch (error) {
      log.debug('expired tokens are kept until the next look', { error: errorText(error) });
    }
    await sleep(clock, cleanEveryMs, stopping);
  }
}

/** Refuses a name that no node has, for a token that lets a machine take its place: a slip would be noticed at the machine only. AppError TOKEN. */
export async function checkReplaceable(client: KubeClient, node: string): Promise<void> {
  // A name is taken until its password is forgotten, which may be later than the node.
  if ((await passwordHash(client, node)) !== undefined) return;
  try {
    await client.get(nodesRef, node);
  } catch (error) {
    if (!isStatus(error, 'NotFound')) throw error;
    throw new AppError('TOKEN', `there is no node ${JSON.stringify(node)} that a machine could replace`, {
      hint: '`kubectl get nodes` shows them; under a free name a machine joins with any token',
    });
  }
}

export async function findToken(client: KubeClient, id: string): Promise<JoinTokenRecord | undefined> {
  try {
    return tokenOfSecret(await client.get<TokenSecret>(secretsRef, secretName(id), namespace));
  } catch (error) {
    if (isStatus(error, 'NotFound')) return undefined;
    throw error;
  }
}

/** Notes which node joins with a token: `now`, or it had it `before`; `other` when it is a one-time token and another one was quicker. */
export async function bindToken(
  client: KubeClient,
  id: string,
  node: string,
  nowMs: number,
): Promise<'now' | 'before' | 'other'> {
  const secret = await client.get<TokenSecret>(secretsRef, secretName(id), namespace);
  const before = namesOf(secret.data?.['used-by']);
  if (before.includes(node)) return 'before';
  if (before.length > 0 && decode(secret.data?.['one-time']) === 'true') return 'other';
  try {
    // With the resourceVersion that was read: of two at once one loses.
    const names = [...before, node].slice(-usersKeptMax).join();
    const used = { 'used-by': encode(names), 'used-at': encode(new Date(nowMs).toISOString()) };
    await client.update(secretsRef, { ...secret, data: { ...secret.data, ...used } });
    return 'now';
  } catch (error) {
    if (isStatus(error, 'Conflict')) return bindToken(client, id, node, nowMs);
    throw error;
  }
}
