import { AppError } from '../../base/errors.ts';
import { type StorageEngine, storageEngines } from '../../config/config.ts';

/**
 * Which engine a node's storage is of, and whom its server works with storage as. Kept beside ceph.conf from the first start on, so that what one engine made is never taken for
 * another's.
 */
export interface EngineRecord {
  readonly format: 1;
  readonly engine: StorageEngine;
  /** Of an external cluster: the entity that the server is, `client.kubernetes`. */
  readonly user?: string;
  /** Of an external cluster: where volumes are made. */
  readonly pool?: string;
}

/** What nodes of versions without a record have. */
export const embeddedRecord: EngineRecord = { format: 1, engine: 'embedded' };

/** Errors: ENGINE for anything but a record of this version. */
export function parseEngineRecord(text: string, path: string): EngineRecord {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const { format, engine, user, pool } = (value ?? {}) as Partial<Record<keyof EngineRecord, unknown>>;
  const known = storageEngines.find((one) => one === engine);
  const optionalText = (one: unknown): one is string | undefined => one === undefined || typeof one === 'string';
  if (format !== 1 || known === undefined || !optionalText(user) || !optionalText(pool))
    throw new AppError('ENGINE', `${path} does not say which storage engine this node has`, {
      hint: 'it was written by a later version, or damaged; start that version, or restore the file from a copy',
    });
  return {
    format,
    engine: known,
    ...(user === undefined ? {} : { user }),
    ...(pool === undefined ? {} : { pool }),
  };
}

/** The Ceph users, with `client.`, that a server is: for commands to the mon, and those that its volumes are made and used as. */
export function serverUsers({ user }: EngineRecord): { admin: string; provisioner: string; node: string } {
  return {
    admin: user ?? 'client.admin',
    provisioner: user ?? 'client.csi-rbd-provisioner',
    node: user ?? 'client.csi-rbd-node',
  };
}

/** Why a node whose storage is of one engine does not start with another; undefined when it is the same. */
export function whyOtherEngine(found: StorageEngine, wanted: StorageEngine, directory: string): AppError | undefined {
  if (found === wanted) return undefined;
  return new AppError(
    'ENGINE',
    `storage.engine is ${wanted}, but the storage of this node, in ${directory}, is of the engine ${found}`,
    {
      hint: `Nothing of it was touched. Set storage.engine: ${found} to go on with it. To change over, copy out what is needed (rbd export, rados export) while it runs, then \`appliance reset\` and start with ${wanted}`,
    },
  );
}
