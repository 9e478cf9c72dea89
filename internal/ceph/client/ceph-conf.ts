import { AppError } from '../../base/errors.ts';
import type { AuthMethod } from '../auth/api.ts';
import { type EntityAddrVec, parseAddr } from '../wire/types.ts';

/** The `fsid` of a ceph.conf; undefined when it has none. */
export function confFsid(text: string): string | undefined {
  return /^\s*fsid\s*=\s*(\S+)/m.exec(text)?.[1];
}

/** The mons of a ceph.conf as they are written there, one each. */
export function confMonHosts(text: string): string[] {
  const hosts = /^\s*mon[ _]host\s*=\s*(.+)$/m.exec(text)?.[1];
  // One mon is `[v2:...,v1:...]` or a bare address.
  return hosts?.trim().match(/\[v[^\]]*(?:\[[^\]]*\][^\]]*)*\]|[^\s,]+/g) ?? [];
}

/** The IP addresses in `mon host` of a ceph.conf; what is none is left out. */
export function confMonAddresses(text: string): string[] {
  const parts = confMonHosts(text).flatMap((group) => group.replace(/^\[|\]$/g, '').split(','));
  return [...new Set(parts.flatMap((part) => parseAddr(part.trim())?.ip ?? []))];
}

/** How clients are to prove who they are by a ceph.conf: cephx unless it says `none`. */
export function confAuth(text: string): AuthMethod {
  return /^\s*auth[ _]client[ _]required\s*=\s*none\s*$/m.test(text) ? 'none' : 'cephx';
}

/** What all of a cluster ask of each other. */
export function authLines(method: AuthMethod): string[] {
  return ['cluster', 'service', 'client'].map((who) => `auth ${who} required = ${method}`);
}

/** `fsid` and `mon host` of a ceph.conf. Errors: CEPH_CONF. */
export function parseMonHosts(text: string, path: string): { fsid: string; monAddrs: EntityAddrVec[] } {
  const fsid = confFsid(text);
  const hosts = confMonHosts(text);
  if (fsid === undefined || hosts.length === 0) throw new AppError('CEPH_CONF', `${path} has no fsid or no mon host`);
  const monAddrs: EntityAddrVec[] = [];
  for (const group of hosts) {
    const inner = group.startsWith('[v') ? group.slice(1, -1).split(',') : [group];
    const addrs = inner.map((part) => parseAddr(part.trim())).filter((addr) => addr !== undefined);
    const v2 = addrs
      .filter((addr) => addr.type === 2)
      .map((addr) => (addr.port === 0 ? { ...addr, port: 3300 } : addr));
    if (v2.length > 0) monAddrs.push(v2);
  }
  if (monAddrs.length === 0) throw new AppError('CEPH_CONF', `${path}: mon host '${hosts.join()}' has no v2 address`);
  return { fsid, monAddrs };
}

/**
 * The ceph.conf that clients and daemons of a node read. `monHosts`: `[v2:10.0.0.1:3300]` each; `keyrings`: the directory of `$name.keyring`;
 * `adminSocket` gives where that of a role's instance is, for `ceph daemon`: absent where no daemon of the cluster runs on the node.
 */
export function renderCephConf(options: {
  fsid: string;
  monHosts: readonly string[];
  keyrings: string;
  auth: AuthMethod;
  adminSocket?: (instance: string) => string;
}): string {
  const { adminSocket } = options;
  // A node has one mon and one mgr, whatever they are called.
  const instances = { mon: 'mon', mgr: 'mgr', osd: '$name' };
  const sockets = Object.entries(instances).flatMap(([type, instance]) =>
    adminSocket === undefined ? [] : [`[${type}]`, `admin socket = ${adminSocket(instance)}`],
  );
  return [
    '[global]',
    `fsid = ${options.fsid}`,
    `mon host = ${options.monHosts.join(',')}`,
    ...authLines(options.auth),
    'ms bind ipv6 = false',
    `keyring = ${options.keyrings}/$name.keyring`,
    'log file = /dev/null',
    ...sockets,
    '',
  ].join('\n');
}
