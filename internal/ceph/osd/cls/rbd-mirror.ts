import { bytesFromText, Decoder, encoded, textFromBytes } from '../../wire/encoding.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { EBUSY, EEXIST, EINVAL, ENOENT, ESTALE } from './errno.ts';
import { asString, decodeStored, entriesWith, needKey, readKey, writeKey } from './omap-values.ts';
import {
  DIRECTION_RX,
  DIRECTION_RX_TX,
  DIRECTION_TX,
  decodeImage,
  decodePeer,
  encodeImage,
  encodePeer,
  IMAGE_DISABLING,
  isValidPeer,
  MODE_DISABLED,
  MODE_POOL,
  type MirrorPeer,
} from './rbd-mirror-types.ts';
import { globalKey, imageKey, imagePrefix, rbdMirrorStatusMethods, removeStatus } from './rbd-mirror-status.ts';
import { uuidText } from './rbd-types.ts';

const peerPrefix = 'mirror_peer_';
const peerKey = (uuid: string): string => peerPrefix + uuid;

function modeSet(ctx: ClassContext, input: Uint8Array): void {
  const mode = new Decoder(input).u32();
  if (mode > MODE_POOL) throw new ClassFailure(EINVAL);
  if (mode !== MODE_DISABLED) {
    if (ctx.omapValue('mirror_uuid') === undefined) throw new ClassFailure(EINVAL);
    writeKey(ctx, 'mirror_mode', (e) => e.u32(mode));
    return;
  }
  for (const _ of entriesWith(ctx, peerPrefix)) throw new ClassFailure(EBUSY);
  if (ctx.omapValue('mirror_mode') !== undefined) ctx.removeOmap(['mirror_mode', 'mirror_uuid']);
}

function uuidSet(ctx: ClassContext, input: Uint8Array): void {
  const uuid = new Decoder(input).string();
  if (uuid === '') throw new ClassFailure(EINVAL);
  const mode = readKey(ctx, 'mirror_mode', (d) => d.u32());
  if (mode !== undefined && mode !== MODE_DISABLED) throw new ClassFailure(EINVAL);
  ctx.setOmap(new Map([['mirror_uuid', bytesFromText(uuid)]]));
}

function poolUuid(ctx: ClassContext): string {
  const value = ctx.omapValue('mirror_uuid');
  if (value === undefined) throw new ClassFailure(ENOENT);
  return textFromBytes(value);
}

// --- peers -----------------------------------------------------------------------------------------------------------------------

function mustBeEnabled(ctx: ClassContext): void {
  if ((readKey(ctx, 'mirror_mode', (d) => d.u32()) ?? MODE_DISABLED) === MODE_DISABLED) throw new ClassFailure(EINVAL);
}

function peersOf(ctx: ClassContext): MirrorPeer[] {
  return [...entriesWith(ctx, peerPrefix)].map(([, value]) => decodeStored(value, decodePeer));
}

function writePeer(ctx: ClassContext, peer: MirrorPeer): void {
  writeKey(ctx, peerKey(peer.uuid), (e) => encodePeer(e, peer));
}

function peerAdd(ctx: ClassContext, input: Uint8Array): void {
  const peer = decodePeer(new Decoder(input));
  mustBeEnabled(ctx);
  if (!isValidPeer(peer)) throw new ClassFailure(EINVAL);
  // One that only sends to us makes itself known by its pings.
  if (peer.uuid === poolUuid(ctx) || peer.direction === DIRECTION_TX) throw new ClassFailure(EINVAL);
  for (const known of peersOf(ctx)) {
    if (known.uuid === peer.uuid) throw new ClassFailure(ESTALE);
    if (known.site === peer.site) throw new ClassFailure(EEXIST);
    if (peer.mirrorUuid !== '' && known.mirrorUuid === peer.mirrorUuid) throw new ClassFailure(EEXIST);
  }
  writePeer(ctx, peer);
}

/** The peer that a ping is of: by its name unless that one is another cluster now, else by its uuid, else a new one. */
function pingedPeer(ctx: ClassContext, site: string, mirrorUuid: string): MirrorPeer {
  const peers = peersOf(ctx);
  const bySite = peers.find((peer) => peer.site === site);
  const matches = bySite !== undefined && (bySite.mirrorUuid === '' || bySite.mirrorUuid === mirrorUuid);
  const byUuid = matches ? undefined : peers.find((peer) => peer.mirrorUuid === mirrorUuid);
  if (byUuid !== undefined) return bySite === undefined ? { ...byUuid, site } : byUuid;
  if (bySite !== undefined) return { ...bySite, mirrorUuid };
  const uuid = uuidText(ctx.random(16));
  return { uuid, site, client: '', direction: DIRECTION_TX, mirrorUuid, lastSeen: ctx.now() };
}

function peerPing(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const site = d.string();
  const mirrorUuid = d.string();
  if (d.u8() !== DIRECTION_TX) throw new ClassFailure(EINVAL);
  mustBeEnabled(ctx);
  if (site === '' || mirrorUuid === '') throw new ClassFailure(EINVAL);
  const peer = pingedPeer(ctx, site, mirrorUuid);
  if (peer.direction === DIRECTION_RX) peer.direction = DIRECTION_RX_TX;
  peer.lastSeen = ctx.now();
  if (!isValidPeer(peer)) throw new ClassFailure(EINVAL);
  writePeer(ctx, peer);
}

function peerSetSite(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const uuid = d.string();
  const site = d.string();
  let found: MirrorPeer | undefined;
  for (const peer of peersOf(ctx)) {
    if (peer.uuid === uuid) found = peer;
    else if (peer.site === site) throw new ClassFailure(EEXIST);
  }
  if (found === undefined) throw new ClassFailure(ENOENT);
  writePeer(ctx, { ...found, site });
}

const peerChange =
  (change: (peer: MirrorPeer, d: Decoder) => MirrorPeer) =>
  (ctx: ClassContext, input: Uint8Array): void => {
    const d = new Decoder(input);
    const peer = needKey(ctx, peerKey(d.string()), decodePeer);
    writePeer(ctx, change(peer, d));
  };

// --- images ----------------------------------------------------------------------------------------------------------------------

function imageSet(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const id = d.string();
  const image = decodeImage(d);
  const known = readKey(ctx, imageKey(id), decodeImage);
  if (known === undefined) {
    if (readKey(ctx, globalKey(image.globalId), asString) !== undefined) throw new ClassFailure(EEXIST);
    // Somebody else has disabled it already.
    if (image.state === IMAGE_DISABLING) throw new ClassFailure(ENOENT);
  } else if (known.globalId !== image.globalId) throw new ClassFailure(EINVAL);
  writeKey(ctx, imageKey(id), (e) => encodeImage(e, image));
  writeKey(ctx, globalKey(image.globalId), (e) => e.string(id));
}

function imageRemove(ctx: ClassContext, input: Uint8Array): void {
  const id = new Decoder(input).string();
  const image = needKey(ctx, imageKey(id), decodeImage);
  if (image.state !== IMAGE_DISABLING) throw new ClassFailure(EBUSY);
  ctx.removeOmap([imageKey(id), globalKey(image.globalId)]);
  removeStatus(ctx, image.globalId);
}

function imageList(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const after = d.string();
  const limit = Number(d.u64b());
  const found = new Map<string, string>();
  for (const [key, value] of entriesWith(ctx, imagePrefix, imageKey(after))) {
    if (found.size >= limit) break;
    found.set(key.slice(imagePrefix.length), decodeStored(value, decodeImage).globalId);
  }
  return encoded((e) => e.stringStringMap(found));
}

/** Methods on `rbd_mirroring`. */
export const rbdMirrorMethods: ClassMethods = {
  mirror_mode_get: readMethod((ctx) => {
    const mode = needKey(ctx, 'mirror_mode', (d) => d.u32());
    return encoded((e) => e.u32(mode));
  }),
  mirror_mode_set: writeMethod(modeSet),
  mirror_uuid_get: readMethod((ctx) => {
    const uuid = poolUuid(ctx);
    return encoded((e) => e.string(uuid));
  }),
  mirror_uuid_set: writeMethod(uuidSet),
  mirror_peer_list: readMethod((ctx) => encoded((e) => e.list(peersOf(ctx), encodePeer))),
  mirror_peer_add: writeMethod(peerAdd),
  mirror_peer_ping: writeMethod(peerPing),
  mirror_peer_remove: writeMethod((ctx, input) => {
    const key = peerKey(new Decoder(input).string());
    if (ctx.omapValue(key) !== undefined) ctx.removeOmap([key]);
  }),
  mirror_peer_set_client: writeMethod(peerChange((peer, d) => ({ ...peer, client: d.string() }))),
  mirror_peer_set_cluster: writeMethod(peerSetSite),
  mirror_peer_set_direction: writeMethod(peerChange((peer, d) => ({ ...peer, direction: d.u8() }))),
  mirror_image_get: readMethod((ctx, input) => {
    const image = needKey(ctx, imageKey(new Decoder(input).string()), decodeImage);
    return encoded((e) => encodeImage(e, image));
  }),
  mirror_image_get_image_id: readMethod((ctx, input) => {
    const id = needKey(ctx, globalKey(new Decoder(input).string()), asString);
    return encoded((e) => e.string(id));
  }),
  mirror_image_list: readMethod(imageList),
  mirror_image_set: writeMethod(imageSet),
  mirror_image_remove: writeMethod(imageRemove),
  ...rbdMirrorStatusMethods,
};
