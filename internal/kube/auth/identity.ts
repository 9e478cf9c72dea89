import type { FieldRequirement, Requirement } from '../machinery/selectors.ts';

/** Who makes a request, after authentication. */
export interface UserInfo {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

export const anonymousUser: UserInfo = { name: 'system:anonymous', groups: ['system:unauthenticated'] };

/** Group of those whom the RBAC rules do not bind: a certificate or in-process identity with it may do everything. */
export const mastersGroup = 'system:masters';

/** `user` with the group that every authenticated request carries. */
export function authenticated(user: UserInfo): UserInfo {
  if (user.groups.includes('system:authenticated') || user.name === anonymousUser.name) return user;
  return { ...user, groups: [...user.groups, 'system:authenticated'] };
}

/** `system:serviceaccount:<namespace>:<name>` and the groups that go with it. */
export function serviceAccountUser(
  namespace: string,
  name: string,
  uid?: string,
  extra?: Record<string, readonly string[]>,
): UserInfo {
  return {
    name: `system:serviceaccount:${namespace}:${name}`,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
    ...(uid === undefined ? {} : { uid }),
    ...(extra === undefined ? {} : { extra }),
  };
}

/** The node's name when `user` is a node (`system:node:<name>` in group `system:nodes`). */
export function nodeName(user: UserInfo): string | undefined {
  const prefix = 'system:node:';
  if (!user.name.startsWith(prefix) || !user.groups.includes('system:nodes')) return undefined;
  return user.name.slice(prefix.length);
}

/** What authorization decides on: one verb on one resource, or on a path that is no resource. */
export interface Attributes {
  readonly user: UserInfo;
  /** `get list watch create update patch delete deletecollection` and special ones; for paths the HTTP method in lower case. */
  readonly verb: string;
  readonly resourceRequest: boolean;
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  /** Set when `resourceRequest` is false. */
  readonly path: string;
  /** What a list, watch or deletecollection is narrowed to (KEP-4601); without it, or where it cannot be read, all objects are meant. */
  readonly fieldSelector?: readonly FieldRequirement[];
  readonly labelSelector?: readonly Requirement[];
}

export interface Decision {
  readonly allowed: boolean;
  /** Why, for SubjectAccessReview and the error message; may be empty. */
  readonly reason: string;
}
