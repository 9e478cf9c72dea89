import { utf8 } from '../../../base/bytes.ts';
import { Decoder, type Encoder, encoded } from '../../wire/encoding.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { EEXIST, EINVAL, ENXIO } from './errno.ts';
import { asU64, needKey, readKey, writeKey } from './omap-values.ts';
import { FEATURE_MIGRATING } from './rbd-types.ts';

/** Images of format 1 begin with these texts and a zero byte. */
const headerText = utf8('<<< Rados Block Device Image >>>\n\0');
const migratingText = utf8('<<< Migrating RBD Image      >>>\n\0');

const ROLE_SOURCE = 1;
const ROLE_DESTINATION = 2;

/** `MigrationSpec`: the other side of an image that moves, and how far it is. */
interface Migration {
  role: number;
  pool: number;
  nspace: string;
  imageName: string;
  imageId: string;
  snapSeqs: Map<bigint, bigint>;
  overlap: bigint;
  flatten: boolean;
  mirroring: boolean;
  state: number;
  description: string;
  mirrorMode: number;
  /** JSON about a source outside of Ceph. */
  sourceSpec: string;
}

function encodeMigration(e: Encoder, m: Migration): void {
  e.struct(3, m.sourceSpec === '' ? 1 : 3, () => {
    e.u8(m.role).s64(m.pool).string(m.nspace).string(m.imageName).string(m.imageId);
    e.map(
      m.snapSeqs,
      (x, k) => x.u64b(k),
      (x, v) => x.u64b(v),
    );
    e.u64b(m.overlap).bool(m.flatten).bool(m.mirroring).u8(m.state).string(m.description);
    e.u8(m.mirrorMode).string(m.sourceSpec);
  });
}
function decodeMigration(d: Decoder): Migration {
  return d.struct('MigrationSpec', 3, (_, version) => ({
    role: d.u8(),
    pool: d.s64(),
    nspace: d.string(),
    imageName: d.string(),
    imageId: d.string(),
    snapSeqs: d.map(
      (x) => x.u64b(),
      (x) => x.u64b(),
      16,
    ),
    overlap: d.u64b(),
    flatten: d.bool(),
    mirroring: d.bool(),
    state: d.u8(),
    description: d.string(),
    mirrorMode: version >= 2 ? d.u8() : 0,
    sourceSpec: version >= 3 ? d.string() : '',
  }));
}

/** Whether an image of format 1 moves. Errors: ENXIO when the object is no such image. */
async function oldFormatMigrates(ctx: ClassContext): Promise<boolean> {
  const text = await ctx.read(0, headerText.length);
  if (Buffer.compare(text, headerText) === 0) return false;
  if (Buffer.compare(text, migratingText) === 0) return true;
  throw new ClassFailure(ENXIO);
}

async function set(ctx: ClassContext, input: Uint8Array): Promise<void> {
  const migration = decodeMigration(new Decoder(input));
  if (ctx.omapValue('migration') !== undefined) throw new ClassFailure(EEXIST);
  const features = readKey(ctx, 'features', asU64);
  if (features === undefined) {
    if (await oldFormatMigrates(ctx)) throw new ClassFailure(EEXIST);
    if (migration.role !== ROLE_SOURCE) throw new ClassFailure(EINVAL);
    ctx.write(0, migratingText.subarray(0, -1));
  } else if ((features & FEATURE_MIGRATING) !== 0n) {
    if (migration.role !== ROLE_DESTINATION) throw new ClassFailure(EINVAL);
  } else writeKey(ctx, 'features', (e) => e.u64b(features | FEATURE_MIGRATING));
  writeKey(ctx, 'migration', (e) => encodeMigration(e, migration));
}

/** Errors: EINVAL when the image does not move. */
async function read(ctx: ClassContext): Promise<Migration> {
  const features = readKey(ctx, 'features', asU64);
  const moves = features === undefined ? await oldFormatMigrates(ctx) : (features & FEATURE_MIGRATING) !== 0n;
  if (!moves) throw new ClassFailure(EINVAL);
  return needKey(ctx, 'migration', decodeMigration);
}

async function setState(ctx: ClassContext, input: Uint8Array): Promise<void> {
  const d = new Decoder(input);
  const state = d.u8();
  const description = d.string();
  const migration = { ...(await read(ctx)), state, description };
  writeKey(ctx, 'migration', (e) => encodeMigration(e, migration));
}

async function remove(ctx: ClassContext): Promise<void> {
  if (ctx.omapValue('migration') !== undefined) ctx.removeOmap(['migration']);
  const features = readKey(ctx, 'features', asU64);
  if (features !== undefined) {
    if ((features & FEATURE_MIGRATING) !== 0n) writeKey(ctx, 'features', (e) => e.u64b(features & ~FEATURE_MIGRATING));
  } else if (await oldFormatMigrates(ctx)) ctx.write(0, headerText.subarray(0, -1));
}

/** Methods on headers of images that move to another place while they are in use. */
export const rbdMigrationMethods: ClassMethods = {
  migration_set: writeMethod(set),
  migration_set_state: writeMethod(setState),
  migration_get: readMethod(async (ctx) => {
    const migration = await read(ctx);
    return encoded((e) => encodeMigration(e, migration));
  }),
  migration_remove: writeMethod(remove),
};
