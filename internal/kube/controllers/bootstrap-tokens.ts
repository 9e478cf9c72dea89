import { createHmac } from 'node:crypto';
import type { KubeObject } from '../client/api.ts';
import { configMapsRef, secretsRef } from '../client/resources.ts';
import { parseTime } from '../machinery/time.ts';
import type { ControllerContext } from './context.ts';
import { canonicalJson } from './revision.ts';
import { unlessGone } from './unless-gone.ts';

/** Bootstrap tokens (docs: reference/access-authn-authz/bootstrap-tokens): expired ones go, and those for signing prove `cluster-info`. */
export interface TokenSecret extends KubeObject {
  type?: string;
  data?: Record<string, string>;
}
interface ConfigMap extends KubeObject {
  data?: Record<string, string>;
}

const secretType = 'bootstrap.kubernetes.io/token';
const namePrefix = 'bootstrap-token-';
const signaturePrefix = 'jws-kubeconfig-';

function decoded(secret: TokenSecret, key: string): string {
  const value = secret.data?.[key];
  return value === undefined ? '' : Buffer.from(value, 'base64').toString('utf8');
}

/** Milliseconds until a token ends: undefined for one without end, 0 for one that has ended or whose end cannot be read. */
export function remainingMs(secret: TokenSecret, nowMs: number): number | undefined {
  const text = decoded(secret, 'expiration');
  if (text === '') return undefined;
  const until = parseTime(text);
  return until === undefined ? 0 : Math.max(0, until - nowMs);
}

/** A JWS (RFC 7515) over the text in compact form, HS256, with the text itself left out (appendix F). */
export function detachedSignature(text: string, id: string, secret: string): string {
  const header = Buffer.from(JSON.stringify({ alg: 'HS256', kid: id })).toString('base64url');
  const signed = `${header}.${Buffer.from(text).toString('base64url')}`;
  return `${header}..${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

/** `cluster-info` with a signature by each token that may sign, and no other. */
export function signedData(
  data: Readonly<Record<string, string>>,
  secrets: readonly TokenSecret[],
  nowMs: number,
): Record<string, string> {
  const out = Object.fromEntries(Object.entries(data).filter(([key]) => !key.startsWith(signaturePrefix)));
  const { kubeconfig } = data;
  if (kubeconfig === undefined) return { ...data };
  for (const secret of secrets) {
    const id = decoded(secret, 'token-id');
    const password = decoded(secret, 'token-secret');
    if (secret.type !== secretType || secret.metadata.name !== namePrefix + id || password === '') continue;
    if (decoded(secret, 'usage-bootstrap-signing') !== 'true' || remainingMs(secret, nowMs) === 0) continue;
    out[signaturePrefix + id] = detachedSignature(kubeconfig, id, password);
  }
  return out;
}

/** kube-controller-manager's tokencleaner and bootstrapsigner controllers. */
export function bootstrapTokensController(context: ControllerContext): void {
  const { client, clock } = context;
  const secrets = context.informers.of<TokenSecret>(secretsRef, {
    namespace: 'kube-system',
    fieldSelector: `type=${secretType}`,
  });
  const infos = context.informers.of<ConfigMap>(configMapsRef, {
    namespace: 'kube-public',
    fieldSelector: 'metadata.name=cluster-info',
  });
  const cleaner = context.queue('token-cleaner', clean);
  const signer = context.queue('bootstrap-signer', sign);
  const changed = (secret: TokenSecret): void => {
    cleaner.add(secret.metadata.name);
    signer.add('cluster-info');
  };
  secrets.handle({ onAdd: changed, onUpdate: changed, onDelete: () => signer.add('cluster-info') });
  const published = (): void => signer.add('cluster-info');
  infos.handle({ onAdd: published, onUpdate: published });

  async function clean(name: string): Promise<void> {
    const secret = secrets.get(`kube-system/${name}`);
    if (secret === undefined || secret.type !== secretType) return;
    const left = remainingMs(secret, clock.now());
    if (left === undefined) return;
    if (left > 0) {
      // A timer holds no more than this; it is asked about again then.
      cleaner.addAfter(name, Math.min(left + 10, 24 * 3_600_000));
      return;
    }
    const { uid } = secret.metadata;
    const preconditions = uid === undefined ? {} : { preconditions: { uid } };
    await unlessGone(client.delete(secretsRef, name, 'kube-system', preconditions), { orReplaced: true });
  }

  async function sign(): Promise<void> {
    const info = infos.get('kube-public/cluster-info');
    if (info?.data === undefined) return;
    const data = signedData(info.data, secrets.list(), clock.now());
    if (canonicalJson(data) !== canonicalJson(info.data))
      await unlessGone(client.update<ConfigMap>(configMapsRef, { ...info, data }));
  }
}
