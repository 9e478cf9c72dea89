import type { UserInfo } from '../auth/identity.ts';
import { tooManyRequests } from '../machinery/status.ts';
import type { RequestInfo } from './request-info.ts';

/**
 * How many requests may be under way at once. What keeps the cluster alive (nodes, the control plane's own accounts, leases) has a share that others cannot
 * take: a client that lists in a loop does not make nodes look dead. Beyond: 429 with Retry-After.
 */
const limits = { reads: 400, writes: 200 } as const;
/** Of each limit, what only system traffic may use. */
const systemShare = 0.25;

export function isSystem(user: UserInfo, info: RequestInfo): boolean {
  if (user.groups.includes('system:masters') || user.groups.includes('system:nodes')) return true;
  if (user.groups.includes('system:serviceaccounts:kube-system')) return true;
  if (/^system:(kube-|apiserver|serviceaccount:kube-system:)/.test(user.name)) return true;
  return info.group === 'coordination.k8s.io' && info.resource === 'leases';
}

export class Seats {
  readonly #taken = { reads: 0, writes: 0 };
  #refused = 0;

  get taken(): number {
    return this.#taken.reads + this.#taken.writes;
  }

  get refused(): number {
    return this.#refused;
  }

  /** Throws 429 when there is no seat. */
  async run<T>(user: UserInfo, info: RequestInfo, work: () => Promise<T>): Promise<T> {
    const kind = info.verb === 'get' || info.verb === 'list' || !info.isResource ? 'reads' : 'writes';
    const limit = isSystem(user, info) ? limits[kind] : Math.floor(limits[kind] * (1 - systemShare));
    if (this.#taken[kind] >= limit) {
      this.#refused++;
      throw tooManyRequests('Too many requests, please try again later.', 1);
    }
    this.#taken[kind]++;
    try {
      return await work();
    } finally {
      this.#taken[kind]--;
    }
  }
}
