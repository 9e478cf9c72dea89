import { Decoder, encoded } from '../../wire/encoding.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { EINVAL, ENOENT, ESTALE } from './errno.ts';
import { asString, decodeStored, entriesWith, needKey, readKey, writeKey } from './omap-values.ts';
import { snapshotOf } from './rbd-header.ts';
import {
  DIRECTION_RX,
  DIRECTION_RX_TX,
  decodeImage,
  decodeMirrorSnapshot,
  decodePeer,
  decodeSite,
  decodeStoredStatus,
  encodeImage,
  encodeInstance,
  encodeMirrorSnapshot,
  encodeStatus,
  encodeStored,
  IMAGE_ENABLED,
  type Instance,
  type MirrorImage,
  type MirrorPeer,
  type MirrorSnapshot,
  type SiteStatus,
  SNAPSHOT_NON_PRIMARY,
  STATUS_ERROR,
  STATUS_UNKNOWN,
  sameInstance,
} from './rbd-mirror-types.ts';
import { writeSnapshot } from './rbd-snap-record.ts';
import { SNAP_NAMESPACE_MIRROR, type Snapshot } from './rbd-types.ts';

export const imagePrefix = 'image_';
export const imageKey = (id: string): string => imagePrefix + id;
export const globalKey = (globalId: string): string => `global_${globalId}`;

const ownStatusPrefix = 'status_global_';
const remoteStatusPrefix = 'remote_status_global_';
const remotePrefix = (globalId: string): string => `${remoteStatusPrefix}${globalId}_`;
const statusKey = (globalId: string, mirrorUuid: string): string =>
  mirrorUuid === '' ? ownStatusPrefix + globalId : remotePrefix(globalId) + mirrorUuid;

// --- status of images ------------------------------------------------------------------------------------------------------------

/** A status is up while who set it watches the object. */
function watches(ctx: ClassContext, origin: Instance): boolean {
  return ctx.watchers.some((watcher) => sameInstance(watcher, origin));
}

/** What all sites say of an image. */
function sitesOf(ctx: ClassContext, globalId: string): SiteStatus[] {
  const sites: SiteStatus[] = [];
  const add = (value: Uint8Array, mirrorUuid: string): void => {
    const { origin, site } = decodeStored(value, decodeStoredStatus);
    sites.push({ ...site, mirrorUuid, up: watches(ctx, origin) });
  };
  const own = ctx.omapValue(statusKey(globalId, ''));
  if (own !== undefined) add(own, '');
  const prefix = remotePrefix(globalId);
  for (const [key, value] of entriesWith(ctx, prefix)) add(value, key.slice(prefix.length));
  return sites;
}

function statusSet(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const globalId = d.string();
  const site = decodeSite(d);
  const id = readKey(ctx, globalKey(globalId), asString);
  const image = id === undefined ? undefined : readKey(ctx, imageKey(id), decodeImage);
  if (image?.state !== IMAGE_ENABLED) return;
  const origin = { name: ctx.client, addr: ctx.clientAddr };
  writeKey(ctx, statusKey(globalId, site.mirrorUuid), (e) =>
    encodeStored(e, { origin, site: { ...site, up: false, lastUpdate: ctx.now() } }),
  );
}

export function removeStatus(ctx: ClassContext, globalId: string): void {
  const keys = [...entriesWith(ctx, remotePrefix(globalId))].map(([key]) => key);
  const own = statusKey(globalId, '');
  if (ctx.omapValue(own) !== undefined) keys.push(own);
  if (keys.length > 0) ctx.removeOmap(keys);
}

function statusGet(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const sites = sitesOf(ctx, new Decoder(input).string());
  if (sites.length === 0) throw new ClassFailure(ENOENT);
  return encoded((e) => encodeStatus(e, sites));
}

/** Images behind an id. */
function* imagesAfter(ctx: ClassContext, after: string): Generator<[id: string, image: MirrorImage]> {
  for (const [key, value] of entriesWith(ctx, imagePrefix, imageKey(after))) {
    // Where images belong is kept under `image_map_`.
    if (key.startsWith(mapPrefix)) continue;
    yield [key.slice(imagePrefix.length), decodeStored(value, decodeImage)];
  }
}

function statusList(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const after = d.string();
  const limit = Number(d.u64b());
  const images = new Map<string, MirrorImage>();
  const statuses = new Map<string, SiteStatus[]>();
  for (const [id, image] of imagesAfter(ctx, after)) {
    if (images.size >= limit) break;
    images.set(id, image);
    const sites = sitesOf(ctx, image.globalId);
    if (sites.length > 0) statuses.set(id, sites);
  }
  return encoded((e) => e.stringMap(images, encodeImage).stringMap(statuses, encodeStatus));
}

/** One word for an image: the own status where we receive, those of the peers where we send, the worst of both where both is done. */
function summaryState(direction: number, sendTo: ReadonlySet<string>, sites: readonly SiteStatus[]): number {
  let state: number | undefined;
  let unheard = 0;
  const own = sites.find(({ mirrorUuid }) => mirrorUuid === '');
  const receives = direction === DIRECTION_RX || direction === DIRECTION_RX_TX;
  if (receives && own?.up) state = own.state;
  if (direction !== DIRECTION_RX) {
    unheard = sendTo.size;
    for (const site of sites) {
      if (site.mirrorUuid === '') continue;
      if (unheard > 0 && sendTo.has(site.mirrorUuid)) unheard--;
      const remote = site.up ? site.state : STATUS_UNKNOWN;
      if (site.state === STATUS_ERROR) state = STATUS_ERROR;
      else if (state === undefined) state = remote;
      else if (state !== STATUS_ERROR) state = Math.min(state, remote);
    }
  }
  return state === undefined || unheard > 0 ? STATUS_UNKNOWN : state;
}

function statusSummary(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const peers: MirrorPeer[] = d.remaining > 0 ? d.list(decodePeer, 6) : [];
  let direction = peers[0]?.direction ?? DIRECTION_RX;
  const sendTo = new Set<string>();
  for (const peer of peers) {
    if (peer.direction === DIRECTION_RX) continue;
    sendTo.add(peer.mirrorUuid);
    if (direction !== peer.direction) direction = DIRECTION_RX_TX;
  }
  const counts = new Map<number, number>();
  for (const [, image] of imagesAfter(ctx, '')) {
    const state = summaryState(direction, sendTo, sitesOf(ctx, image.globalId));
    counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  const sorted = new Map([...counts].sort(([a], [b]) => a - b));
  return encoded((e) =>
    e.map(
      sorted,
      (x, state) => x.u8(state),
      (x, count) => x.s32(count),
    ),
  );
}

function statusRemoveDown(ctx: ClassContext): void {
  const down: string[] = [];
  for (const prefix of [ownStatusPrefix, remoteStatusPrefix])
    for (const [key, value] of entriesWith(ctx, prefix))
      if (!watches(ctx, decodeStored(value, decodeStoredStatus).origin)) down.push(key);
  if (down.length > 0) ctx.removeOmap(down);
}

// --- who replays which image -----------------------------------------------------------------------------------------------------

/** Errors: ENOENT when nobody said anything of the image, ESTALE when who did is gone. */
function instanceOf(ctx: ClassContext, globalId: string): Instance {
  const { origin } = needKey(ctx, statusKey(globalId, ''), decodeStoredStatus);
  if (!watches(ctx, origin)) throw new ClassFailure(ESTALE);
  return origin;
}

function instanceList(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const after = d.string();
  const limit = Number(d.u64b());
  const found = new Map<string, Instance>();
  for (const [id, image] of imagesAfter(ctx, after)) {
    if (found.size >= limit) break;
    const stored = readKey(ctx, statusKey(image.globalId, ''), decodeStoredStatus);
    if (stored !== undefined && watches(ctx, stored.origin)) found.set(id, stored.origin);
  }
  return encoded((e) => e.stringMap(found, encodeInstance));
}

const instancePrefix = 'instance_';
const mapPrefix = 'image_map_';

/** `MirrorImageMap`, kept as it came. */
const readMap = (d: Decoder): Uint8Array => {
  const at = d.at;
  d.struct('MirrorImageMap', 1, () => [d.string(), d.utime(), d.blob()]);
  return d.source.subarray(at, d.at).slice();
};

function mapList(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const after = d.string();
  const limit = Number(d.u64b());
  const found = new Map<string, Uint8Array>();
  for (const [key, value] of entriesWith(ctx, mapPrefix, mapPrefix + after)) {
    if (found.size >= limit) break;
    found.set(key.slice(mapPrefix.length), value);
  }
  return encoded((e) => e.stringMap(found, (x, value) => x.bytes(value)));
}

// --- snapshots for mirroring -----------------------------------------------------------------------------------------------------

function mirrorSnapshotOf(snap: Snapshot): MirrorSnapshot {
  if (snap.namespace.type !== SNAP_NAMESPACE_MIRROR) throw new ClassFailure(EINVAL);
  return decodeStored(snap.namespace.payload, decodeMirrorSnapshot);
}

function writeMirrorSnapshot(ctx: ClassContext, snap: Snapshot, mirror: MirrorSnapshot): void {
  const payload = encoded((e) => encodeMirrorSnapshot(e, mirror));
  writeSnapshot(ctx, { ...snap, namespace: { type: SNAP_NAMESPACE_MIRROR, payload } });
}

function unlinkPeer(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const snap = snapshotOf(ctx, d.u64b());
  const peer = d.string();
  const mirror = mirrorSnapshotOf(snap);
  if (!mirror.peers.has(peer)) throw new ClassFailure(ENOENT);
  mirror.peers.delete(peer);
  writeMirrorSnapshot(ctx, snap, mirror);
}

function setCopyProgress(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const snap = snapshotOf(ctx, d.u64b());
  const mirror = mirrorSnapshotOf(snap);
  mirror.complete = d.bool();
  const lastCopied = d.u64b();
  if (mirror.state >= SNAPSHOT_NON_PRIMARY) mirror.lastCopied = lastCopied;
  writeMirrorSnapshot(ctx, snap, mirror);
}

export const rbdMirrorStatusMethods: ClassMethods = {
  mirror_image_status_set: writeMethod(statusSet),
  mirror_image_status_remove: writeMethod((ctx, input) => removeStatus(ctx, new Decoder(input).string())),
  mirror_image_status_get: readMethod(statusGet),
  mirror_image_status_list: readMethod(statusList),
  mirror_image_status_get_summary: readMethod(statusSummary),
  mirror_image_status_remove_down: writeMethod(statusRemoveDown),
  mirror_image_instance_get: readMethod((ctx, input) => {
    const instance = instanceOf(ctx, new Decoder(input).string());
    return encoded((e) => encodeInstance(e, instance));
  }),
  mirror_image_instance_list: readMethod(instanceList),
  mirror_instances_list: readMethod((ctx) => {
    const ids = [...entriesWith(ctx, instancePrefix)].map(([key]) => key.slice(instancePrefix.length));
    return encoded((e) => e.list(ids, (x, id) => x.string(id)));
  }),
  mirror_instances_add: writeMethod((ctx, input) =>
    ctx.setOmap(new Map([[instancePrefix + new Decoder(input).string(), new Uint8Array(0)]])),
  ),
  mirror_instances_remove: writeMethod((ctx, input) => ctx.removeOmap([instancePrefix + new Decoder(input).string()])),
  mirror_image_map_list: readMethod(mapList),
  mirror_image_map_update: writeMethod((ctx, input) => {
    const d = new Decoder(input);
    ctx.setOmap(new Map([[mapPrefix + d.string(), readMap(d)]]));
  }),
  mirror_image_map_remove: writeMethod((ctx, input) => {
    const key = mapPrefix + new Decoder(input).string();
    if (ctx.omapValue(key) !== undefined) ctx.removeOmap([key]);
  }),
  mirror_image_snapshot_unlink_peer: writeMethod(unlinkPeer),
  mirror_image_snapshot_set_copy_progress: writeMethod(setCopyProgress),
};
