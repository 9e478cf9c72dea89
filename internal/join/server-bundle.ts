import { z } from 'zod';
import { AppError } from '../base/errors.ts';
import { utf8, utf8Text } from '../base/bytes.ts';
import type { StorageEngine } from '../config/config.ts';
import { serverFileNames } from '../pki/server-pki-system.ts';
import { cephAccessSchema, cephKey } from './cluster-info.ts';

/**
 * What makes a machine a server of its cluster, as it travels from a server to one that joins: sealed under the secret of the token
 * (`pki/sealed.ts`), because everything in it is secret.
 */
export interface ServerBundle {
  readonly format: 1;
  /** Authorities and the key of service-account tokens, by the names of their files below `pki`. */
  readonly files: Readonly<Record<string, string>>;
  /** Who the machine is in the store's group; undefined where a real etcd keeps the data. */
  readonly member?: StoreMember | undefined;
  /** Keys of the Ceph users that a server works as (base64, by entity), where there is storage. */
  readonly ceph?:
    | {
        readonly fsid: string;
        readonly monHosts: readonly string[];
        /** Absent: `embedded`, or with `external` that. */
        readonly engine?: StorageEngine | undefined;
        /** Absent: `cephx`. */
        readonly auth?: 'none' | undefined;
        readonly keys: Readonly<Record<string, string>>;
        /** Where the storage is somebody else's: the entity that servers are, and the pool of volumes. */
        readonly external?: { readonly user: string; readonly pool: string } | undefined;
      }
    | undefined;
}

/** Ids in hexadecimal, as in the store's `identity.json`. */
export interface StoreMember {
  readonly clusterId: string;
  readonly memberId: string;
}

/** The Ceph users that the operator, the CSI driver and the join endpoints of a server are. */
export const serverCephUsers = [
  'client.admin',
  'client.bootstrap-osd',
  'client.csi-rbd-provisioner',
  'client.csi-rbd-node',
] as const;

const entity = z
  .string()
  .max(160)
  .regex(/^client\.[-\w.]+$/);
const id = z.string().regex(/^[0-9a-f]{1,14}$/);
export const storeMemberSchema: z.ZodType<StoreMember> = z.object({ clusterId: id, memberId: id });
const schema: z.ZodType<ServerBundle> = z.object({
  format: z.literal(1),
  files: z
    .partialRecord(z.enum(serverFileNames as [string, ...string[]]), z.string().min(1).max(16_384))
    // A server of an earlier version has no encryption.key to give.
    .refine((files) => serverFileNames.every((name) => name === 'encryption.key' || Object.hasOwn(files, name)), {
      message: 'not every file of a server is there',
    }) as unknown as z.ZodType<Record<string, string>>,
  member: storeMemberSchema.optional(),
  ceph: z
    .object({
      ...cephAccessSchema.pick({ fsid: true, monHosts: true, engine: true, auth: true }).shape,
      keys: z.record(entity, cephKey),
      external: z.object({ user: entity, pool: z.string().min(1).max(128) }).optional(),
    })
    .refine(({ keys, external }) =>
      (external ? [external.user] : serverCephUsers).every((user) => Object.hasOwn(keys, user)),
    )
    .optional(),
});

export function encodeServerBundle(bundle: ServerBundle): Uint8Array {
  return utf8(JSON.stringify(bundle));
}

/** AppError JOIN for anything but a whole bundle of this version. */
export function decodeServerBundle(bytes: Uint8Array): ServerBundle {
  let value: unknown;
  try {
    value = JSON.parse(utf8Text(bytes));
  } catch (error) {
    throw new AppError('JOIN', 'the keys of the cluster are no JSON', { cause: error });
  }
  const parsed = schema.safeParse(value);
  // Never zod's own words: they may quote what they were given.
  if (!parsed.success)
    throw new AppError('JOIN', 'the server gives the keys of the cluster in a way that this version does not read', {
      hint: 'use the same version of the appliance on every node',
    });
  return parsed.data;
}
