import { AppError } from '../base/errors.ts';

/**
 * The volume handle as ceph-csi composes it: version, length of the cluster id, cluster id, pool id and a UUID, so that a volume made by either
 * is found by the other (ceph-csi `internal/util/volid.go`): `0001-0009-rook-ceph-0000000000000002-<uuid>`.
 */
export interface VolumeId {
  clusterId: string;
  poolId: number;
  uuid: string;
}

const version = '0001';

export function formatVolumeId(id: VolumeId): string {
  const length = id.clusterId.length.toString(16).padStart(4, '0');
  return `${version}-${length}-${id.clusterId}-${id.poolId.toString(16).padStart(16, '0')}-${id.uuid}`;
}

/** Throws AppError when the text is not a volume handle of this form. */
export function parseVolumeId(text: string): VolumeId {
  const bad = (why: string): AppError =>
    new AppError('VOLUME_ID', `${JSON.stringify(text.slice(0, 200))} is not a volume handle: ${why}`);
  const head = /^([0-9a-f]{4})-([0-9a-f]{4})-/.exec(text);
  if (!head) throw bad('expected VERSION-LENGTH-CLUSTER-POOL-UUID');
  if (head[1] !== version) throw bad(`version ${head[1]} is not ${version}`);
  const length = Number.parseInt(head[2]!, 16);
  const clusterId = text.slice(10, 10 + length);
  const tail = /^-([0-9a-f]{16})-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(text.slice(10 + length));
  if (clusterId.length !== length || !tail) throw bad('its parts do not have the lengths that it tells');
  return { clusterId, poolId: Number.parseInt(tail[1]!, 16), uuid: tail[2]! };
}

/** The image of a volume. */
export function imageName(uuid: string, prefix = 'csi-vol-'): string {
  return `${prefix}${uuid}`;
}
