const padded = (n: number): string => n.toString().padStart(10, '0');

/** Names in the mon's store. Values: maps in Ceph's own encodings, numbers as text, everything else JSON. */
export const keys = {
  /** Format of all below; a higher one than ours is refused. */
  format: 'format',
  /** Written by every commit: a mon commits only when nobody did so behind its back. */
  version: 'version',
  fsid: 'fsid',
  monmap: 'monmap',
  osdFirst: 'osdmap/first',
  osdLast: 'osdmap/last',
  osdIncrements: 'osdmap/inc/',
  osdIncrement: (epoch: number) => `osdmap/inc/${padded(epoch)}`,
  osdFull: (epoch: number) => `osdmap/full/${padded(epoch)}`,
  authEntities: 'auth/entity/',
  authEntity: (name: string) => `auth/entity/${name}`,
  authRotations: 'auth/rotating/',
  authRotating: (service: number) => `auth/rotating/${service}`,
  authReserved: 'auth/reserved',
  authImported: 'auth/imported',
  configVersion: 'config/version',
  configValues: 'config/value/',
  config: (who: string, name: string) => `config/value/${who}|${name}`,
  configHistories: 'config/history/',
  configHistory: (version: number) => `config/history/${padded(version)}`,
  configKeys: 'kv/',
  configKey: (key: string) => `kv/${key}`,
  mgrmap: 'mgrmap',
  servicemap: 'servicemap',
  allOsdMetadata: 'metadata/osd/',
  osdMetadata: (osd: number) => `metadata/osd/${osd}`,
  allMgrMetadata: 'metadata/mgr/',
  mgrMetadata: (name: string) => `metadata/mgr/${name}`,
  allMonMetadata: 'metadata/mon/',
  monMetadata: (name: string) => `metadata/mon/${name}`,
  healthMutes: 'health/mutes',
  log: 'log/',
  logLine: (seq: number) => `log/${padded(seq)}`,
} as const;

export const monFormat = 1;
