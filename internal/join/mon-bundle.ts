import { z } from 'zod';
import { utf8, utf8Text } from '../base/bytes.ts';
import { AppError } from '../base/errors.ts';
import type { MonName } from '../ceph/mon/self-system.ts';
import type { StorageEngine } from '../config/config.ts';
import { cephAccessSchema, cephKey } from './cluster-info.ts';

/**
 * What makes a machine one more mon of its cluster's storage, as it travels from a server to one that joins: sealed under the secret of the token
 * (`pki/sealed.ts`), because who has the key of `mon.` has all of the storage.
 */
export interface MonBundle {
  readonly format: 1;
  readonly fsid: string;
  /** Absent: `embedded`. */
  readonly engine?: StorageEngine | undefined;
  /** `[v2:10.0.0.1:3300]` each. */
  readonly monHosts: readonly string[];
  /** Absent: `cephx`. */
  readonly auth?: 'none' | undefined;
  /** Which mon it is to be: its name, and with the embedded engine who its store is in the mons' group (hexadecimal). */
  readonly self: MonName;
  /** Base64 keys by entity. */
  readonly keys: Readonly<Record<(typeof monEntities)[number], string>>;
}

/** What a machine with a mon works as: the mon itself, and who looks after it. */
export const monEntities = ['mon.', 'client.admin', 'client.bootstrap-osd'] as const;

const id = z.string().regex(/^[0-9a-f]{1,14}$/);
const schema: z.ZodType<MonBundle> = z.object({
  format: z.literal(1),
  ...cephAccessSchema.pick({ fsid: true, monHosts: true, engine: true, auth: true }).shape,
  self: z.object({
    name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,252}$/i),
    cluster: id.optional(),
    member: id.optional(),
  }),
  keys: z.record(z.enum(monEntities), cephKey),
});

export function encodeMonBundle(bundle: MonBundle): Uint8Array {
  return utf8(JSON.stringify(bundle));
}

/** AppError JOIN for anything but a whole bundle of this version. */
export function decodeMonBundle(bytes: Uint8Array): MonBundle {
  let value: unknown;
  try {
    value = JSON.parse(utf8Text(bytes));
  } catch (error) {
    throw new AppError('JOIN', 'the keys of the storage are no JSON', { cause: error });
  }
  const parsed = schema.safeParse(value);
  // Never zod's own words: they may quote what they were given.
  if (!parsed.success)
    throw new AppError('JOIN', 'the server gives the keys of the storage in a way that this version does not read', {
      hint: 'use the same version of the appliance on every node',
    });
  return parsed.data;
}
