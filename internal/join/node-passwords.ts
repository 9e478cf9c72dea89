import type { Random } from '../base/random.ts';
import type { KubeClient, KubeObject } from '../kube/client/api.ts';
import { secretsRef } from '../kube/client/resources.ts';
import { isStatus } from '../kube/machinery/status.ts';
import { hashSecret } from '../pki/secret-hash.ts';

/** The server's side of node passwords: a Secret `<node>.node-password.k3s` in kube-system with the hash, as K3s keeps them. */

interface PasswordSecret extends KubeObject {
  immutable?: boolean;
  type?: string;
  data?: Record<string, string>;
}

const namespace = 'kube-system';
const secretName = (node: string): string => `${node.toLowerCase()}.node-password.k3s`;

/** The hash that is kept for a node, undefined when no machine has its name. */
export async function passwordHash(client: KubeClient, node: string): Promise<string | undefined> {
  try {
    const secret = await client.get<PasswordSecret>(secretsRef, secretName(node), namespace);
    return Buffer.from(secret.data?.hash ?? '', 'base64').toString('utf8');
  } catch (error) {
    if (isStatus(error, 'NotFound')) return undefined;
    throw error;
  }
}

/** Gives a name to the machine with this password; false when another one was quicker. */
export async function keepPassword(
  client: KubeClient,
  node: string,
  password: string,
  random: Random,
): Promise<boolean> {
  const hash = await hashSecret(password, random.bytes(16));
  try {
    await client.create<PasswordSecret>(secretsRef, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: secretName(node), namespace },
      type: 'Opaque',
      immutable: true,
      data: { hash: Buffer.from(hash).toString('base64') },
    });
    return true;
  } catch (error) {
    if (isStatus(error, 'AlreadyExists')) return false;
    throw error;
  }
}

/** Frees a name: the next machine that asks gets it. */
export async function forgetPassword(client: KubeClient, node: string): Promise<void> {
  try {
    await client.delete(secretsRef, secretName(node), namespace);
  } catch (error) {
    if (!isStatus(error, 'NotFound')) throw error;
  }
}
