import type { Clock } from '../../../base/clock.ts';
import type { Random } from '../../../base/random.ts';
import type { ServiceAccountTokenProjection } from '../../api/types.ts';
import type { KubeClient } from '../../client/api.ts';
import { type Pod, podNamespace, podUid } from '../pod-types.ts';

interface Entry {
  token: string;
  refreshAtMs: number;
  expiresAtMs: number;
}

const defaultSeconds = 3600;
const dayMs = 24 * 3600 * 1000;

/** Bound service-account tokens of this node's pods: asked for once, renewed after four fifths of their life or a day. */
export class TokenManager {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #entries = new Map<string, Entry>();

  constructor(client: KubeClient, clock: Clock, random: Random) {
    this.#client = client;
    this.#clock = clock;
    this.#random = random;
  }

  async token(pod: Pod, projection: ServiceAccountTokenProjection): Promise<string> {
    const account = pod.spec.serviceAccountName || 'default';
    const seconds = projection.expirationSeconds ?? defaultSeconds;
    const key = `${podUid(pod)}\0${account}\0${projection.audience ?? ''}\0${seconds}`;
    const now = this.#clock.now();
    const entry = this.#entries.get(key);
    if (entry && now < entry.refreshAtMs) return entry.token;
    try {
      const fresh = await this.#request(pod, account, projection.audience, seconds, now);
      this.#entries.set(key, fresh);
      return fresh.token;
    } catch (error) {
      if (entry && now < entry.expiresAtMs) return entry.token;
      throw error;
    }
  }

  async #request(
    pod: Pod,
    account: string,
    audience: string | undefined,
    seconds: number,
    now: number,
  ): Promise<Entry> {
    const body = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: { name: account, namespace: podNamespace(pod) },
      spec: {
        audiences: audience ? [audience] : [],
        expirationSeconds: seconds,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod.metadata.name, uid: podUid(pod) },
      },
    };
    const path = `/api/v1/namespaces/${podNamespace(pod)}/serviceaccounts/${account}/token`;
    const answer = (await this.#client.raw('POST', path, body)) as {
      status: { token: string; expirationTimestamp: string };
    };
    const expiresAtMs = Date.parse(answer.status.expirationTimestamp);
    const life = Math.min(expiresAtMs - now, dayMs);
    // Jitter keeps the pods of a node from renewing together.
    return { token: answer.status.token, expiresAtMs, refreshAtMs: now + life * 0.8 - this.#random.float() * 10_000 };
  }

  forget(uid: string): void {
    for (const key of this.#entries.keys()) if (key.startsWith(`${uid}\0`)) this.#entries.delete(key);
  }
}
