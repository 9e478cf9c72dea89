import type { Config } from '../config/config.ts';
import type { Paths } from '../config/paths.ts';
import { cephUserName, type RoleUserName } from './users.ts';

/** Who may read what a node keeps. One table: each role's state is its own, and a file that two roles need says which two. */

export type Owner = RoleUserName | 'root';

/** `owner` and `group` are given to `path`, and in a `tree` to everything below it. `mode` is of `path` itself; what is below keeps its own.
 * Directories and trees that are not there are made, a file that is not there is left out. A directory that the user chose is given only when it is made: one
 * that was there stays as it is, and `owner` must be able to write in it, or `reader` to read it if there is one. */
export interface AccessRule {
  readonly path: string;
  readonly owner: Owner;
  readonly group: Owner;
  readonly mode: number;
  /** `tree`: also everything below. */
  readonly kind: 'file' | 'directory' | 'tree' | 'chosen';
  readonly reader?: RoleUserName;
}

/** 0711: may be passed through by name, not listed. */
const passable = 0o711;

/** Later rules are exceptions from earlier ones. `keyrings` are the entities that have a keyring file. */
export function accessRules(config: Config, paths: Paths, keyrings: readonly string[]): AccessRule[] {
  const own = (path: string, owner: Owner, mode = 0o700): AccessRule => ({
    path,
    owner,
    group: owner,
    mode,
    kind: 'tree',
  });
  // 0755: a role makes durable that its own directory is there, for which it opens the one above.
  const directory = (path: string, mode = 0o755): AccessRule => ({
    path,
    owner: 'root',
    group: 'root',
    mode,
    kind: 'directory',
  });
  const server = config.roles.includes('server');
  const mon = config.roles.includes('mon');
  const ceph = config.storage.engine === 'ceph';
  const monUser = ceph ? cephUserName : 'appliance-mon';
  return [
    directory(config.dataDir),
    directory(paths.instanceDir('x').replace(/\/x$/, '')),
    directory(paths.logs, 0o700),
    // Pods' volumes are below, with modes that containers want.
    directory(paths.agent, 0o700),
    // Who the node is: certificates are public, its keys are for root, one is the edge's.
    directory(paths.identity, passable),
    { ...own(`${paths.identity}/edge.key`, 'appliance-edge', 0o600), kind: 'file' },
    ...(server
      ? [
          own(paths.store, 'appliance-server'),
          own(paths.pki, 'appliance-server'),
          ...(config.audit.enabled
            ? [
                {
                  ...own(config.audit.logDir, 'appliance-server'),
                  kind:
                    config.audit.logDir === `${config.dataDir}/audit` ? ('directory' as const) : ('chosen' as const),
                },
              ]
            : []),
          ...(config.snapshots.everyHours > 0
            ? [
                {
                  ...own(config.snapshots.dir, 'appliance-server'),
                  kind:
                    config.snapshots.dir === `${config.dataDir}/snapshots`
                      ? ('directory' as const)
                      : ('chosen' as const),
                },
              ]
            : []),
          {
            ...own(config.manifestsDir, 'root', 0o750),
            group: 'appliance-server' as const,
            ...(config.manifestsDir === `${config.dataDir}/manifests`
              ? { kind: 'directory' as const }
              : { kind: 'chosen' as const, reader: 'appliance-server' as const }),
          },
        ]
      : []),
    // A server without a mon has the keys that it works with from the one that it joined by.
    ...(server && !mon && keyrings.length > 0
      ? [
          directory(paths.ceph),
          directory(`${paths.ceph}/keyrings`, passable),
          ...keyrings.flatMap((entity): AccessRule[] => {
            const mgr = entity.startsWith('mgr.');
            if (!mgr && (!entity.startsWith('client.') || entity === 'client.bootstrap-osd')) return [];
            const group = mgr ? 'appliance-mgr' : 'appliance-server';
            return [{ path: paths.keyring(entity), owner: 'root', group, mode: 0o640, kind: 'file' }];
          }),
        ]
      : []),
    ...(mon
      ? [
          own(paths.instanceDir('mon'), monUser),
          directory(paths.ceph),
          // The mon takes every key from here; each other role reads its own and no more.
          own(`${paths.ceph}/keyrings`, monUser, passable),
          ...keyrings.map((entity): AccessRule => {
            const reader = keyringReader(entity);
            return {
              path: paths.keyring(entity),
              owner: monUser,
              group: reader ?? monUser,
              mode: reader ? 0o640 : 0o600,
              kind: 'file',
            };
          }),
        ]
      : []),
    ...(ceph
      ? [
          ...(['mgr', 'mds', 'rgw'] as const).flatMap((role) =>
            config.roles.includes(role) ? [own(paths.instanceDir(role), monUser)] : [],
          ),
          ...config.storage.osd.map(({ id }) => own(paths.instanceDir(`osd.${id}`), monUser)),
          // On a machine without a mon its OSDs read their own keys and the one by which an OSD is made known, and a mgr, which is beside a server, its own and the administrator's.
          ...(mon || (config.storage.osd.length === 0 && !config.roles.includes('mgr'))
            ? []
            : [
                directory(paths.ceph),
                directory(`${paths.ceph}/keyrings`, passable),
                ...keyrings.flatMap((entity): AccessRule[] => {
                  const file = { path: paths.keyring(entity), mode: 0o640, kind: 'file' as const };
                  if (entity.startsWith('osd.') || entity.startsWith('mgr.') || entity === 'client.bootstrap-osd')
                    return [{ ...file, owner: 'root', group: cephUserName }];
                  const shared = entity === 'client.admin' && config.roles.includes('mgr');
                  return shared ? [{ ...file, owner: cephUserName, group: 'appliance-server' }] : [];
                }),
              ]),
        ]
      : []),
  ];
}

/** The role beside the mon, and those that run as root, that needs the key of an entity: the operator and the CSI driver are in the server. */
function keyringReader(entity: string): RoleUserName | undefined {
  if (entity.startsWith('mgr.')) return 'appliance-mgr';
  return entity === 'client.admin' || entity.startsWith('client.csi-') ? 'appliance-server' : undefined;
}
