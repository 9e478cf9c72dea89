import { bytesFromText, Decoder, encoded, textFromBytes } from '../../wire/encoding.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { EBUSY, EINVAL, ENOENT } from './errno.ts';
import { asString, entriesWith, needKey, readKey, writeKey } from './omap-values.ts';

const modeDisabled = 0;
const modePool = 2;

/**
 * The part of mirroring that every `rbd` command reads, and switching it on and off. Images cannot be mirrored: what would enable that
 * (`mirror_image_set`, `mirror_peer_add`, ...) is not known here and answered with EOPNOTSUPP.
 */
function modeSet(ctx: ClassContext, input: Uint8Array): void {
  const mode = new Decoder(input).u32();
  if (mode > modePool) throw new ClassFailure(EINVAL);
  if (mode !== modeDisabled) {
    if (ctx.omapValue('mirror_uuid') === undefined) throw new ClassFailure(EINVAL);
    writeKey(ctx, 'mirror_mode', (e) => e.u32(mode));
    return;
  }
  for (const _ of entriesWith(ctx, 'mirror_peer_')) throw new ClassFailure(EBUSY);
  if (ctx.omapValue('mirror_mode') !== undefined) ctx.removeOmap(['mirror_mode', 'mirror_uuid']);
}

function uuidSet(ctx: ClassContext, input: Uint8Array): void {
  const uuid = new Decoder(input).string();
  if (uuid === '') throw new ClassFailure(EINVAL);
  const mode = readKey(ctx, 'mirror_mode', (d) => d.u32());
  if (mode !== undefined && mode !== modeDisabled) throw new ClassFailure(EINVAL);
  ctx.setOmap(new Map([['mirror_uuid', bytesFromText(uuid)]]));
}

function uuidGet(ctx: ClassContext): Uint8Array {
  const value = ctx.omapValue('mirror_uuid');
  if (value === undefined) throw new ClassFailure(ENOENT);
  return encoded((e) => e.string(textFromBytes(value)));
}

/** A MirrorImage record, as stored. */
function imageGet(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const value = ctx.omapValue(`image_${new Decoder(input).string()}`);
  if (value === undefined) throw new ClassFailure(ENOENT);
  return value;
}

/** Methods on `rbd_mirroring`. */
export const rbdMirrorMethods: ClassMethods = {
  mirror_mode_get: readMethod((ctx) => {
    const mode = needKey(ctx, 'mirror_mode', (d) => d.u32());
    return encoded((e) => e.u32(mode));
  }),
  mirror_mode_set: writeMethod(modeSet),
  mirror_uuid_get: readMethod(uuidGet),
  mirror_uuid_set: writeMethod(uuidSet),
  mirror_peer_list: readMethod(() => encoded((e) => e.u32(0))),
  mirror_image_get: readMethod(imageGet),
  mirror_image_get_image_id: readMethod((ctx, input) => {
    const id = needKey(ctx, `global_${new Decoder(input).string()}`, asString);
    return encoded((e) => e.string(id));
  }),
  mirror_image_list: readMethod(() => encoded((e) => e.u32(0))),
};
