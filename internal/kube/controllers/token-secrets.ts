import type { KubeObject } from '../client/api.ts';
import { objectKey } from '../client/informer.ts';
import { secretsRef, serviceAccountsRef } from '../client/resources.ts';
import type { ControllerContext, SetUpController } from './context.ts';
import { unlessGone } from './unless-gone.ts';

interface TokenSecret extends KubeObject {
  type?: string;
  data?: Record<string, string>;
}

const secretType = 'kubernetes.io/service-account-token';
const nameKey = 'kubernetes.io/service-account.name';
const uidKey = 'kubernetes.io/service-account.uid';

export interface TokenSecrets {
  /** PEM text by which the API server is believed. */
  readonly rootCa: string;
  sign(namespace: string, account: { name: string; uid: string }, secret: string): Promise<string>;
}

const encode = (text: string): string => Buffer.from(text).toString('base64');

/**
 * Secrets of type kubernetes.io/service-account-token get a token that does not end, and go with their account (kube-controller-manager's serviceaccount-token
 * controller). None is made by itself: pods have bound tokens.
 */
export function tokenSecretsController({ rootCa, sign }: TokenSecrets): SetUpController {
  return (context: ControllerContext): void => {
    const { client } = context;
    const secrets = context.informers.of<TokenSecret>(secretsRef, { fieldSelector: `type=${secretType}` });
    const accounts = context.informers.of(serviceAccountsRef);
    const queue = context.queue('token-secrets', reconcile);
    const accountOf = ({ metadata }: TokenSecret): string =>
      `${metadata.namespace}/${metadata.annotations?.[nameKey] ?? ''}`;
    secrets.index('account', (secret) => [accountOf(secret)]);
    const changed = (secret: TokenSecret): void => queue.add(objectKey(secret));
    secrets.handle({ onAdd: changed, onUpdate: changed });
    const ofAccount = (account: KubeObject): void => secrets.by('account', objectKey(account)).forEach(changed);
    accounts.handle({ onAdd: ofAccount, onDelete: ofAccount });

    async function reconcile(key: string): Promise<void> {
      const secret = secrets.get(key);
      if (secret === undefined || secret.metadata.deletionTimestamp !== undefined) return;
      const { namespace = '', annotations = {} } = secret.metadata;
      const name = annotations[nameKey] ?? '';
      // Read, not looked up: before a Secret goes, and before a token is made for an account that is gone.
      const account = await unlessGone(client.get(serviceAccountsRef, name, namespace));
      const uid = account?.metadata.uid;
      const other = annotations[uidKey] !== undefined && annotations[uidKey] !== uid;
      if (uid === undefined || other) {
        const own = secret.metadata.uid;
        const preconditions = own === undefined ? {} : { preconditions: { uid: own } };
        await unlessGone(client.delete(secretsRef, secret.metadata.name, namespace, preconditions), {
          orReplaced: true,
        });
        return;
      }
      const data = { ...secret.data };
      data['ca.crt'] = encode(rootCa);
      data.namespace = encode(namespace);
      data.token ||= encode(await sign(namespace, { name, uid }, secret.metadata.name));
      const same = Object.entries(data).every(([field, value]) => secret.data?.[field] === value);
      if (same && annotations[uidKey] === uid) return;
      const metadata = { ...secret.metadata, annotations: { ...annotations, [uidKey]: uid } };
      await unlessGone(client.update<TokenSecret>(secretsRef, { ...secret, metadata, data }));
    }
  };
}
