import { emptyBytes, utf8, utf8Text } from '../base/bytes.ts';
import { AppError, errorText } from '../base/errors.ts';
import { type Random, uuid } from '../base/random.ts';
import { EBUSY, ENOENT, type IoCtx, isRadosError, type RadosClient } from '../ceph/client/rados-api.ts';
import { createImage, imageInfo, removeImage } from '../ceph/client/rbd.ts';
import { CsiError, type CsiService } from './grpc-server.ts';
import { formatVolumeId, imageName, parseVolumeId } from './volume-id.ts';

/** Where ceph-csi keeps which request made which volume (`internal/journal/voljournal.go`): an omap in the pool of the images. */
const journalObject = 'csi.volumes.default';
const requestKey = (name: string): string => `csi.volume.${name}`;
const volumeObject = (id: string): string => `csi.volume.${id}`;

const mib = 2 ** 20;
const defaultBytes = 1024 * mib;

interface CreateVolumeRequest {
  name: string;
  capacityRange: { requiredBytes: number; limitBytes: number } | null;
  volumeCapabilities: { block?: object | null; mount?: object | null; accessMode?: { mode: string } | null }[];
  parameters: Record<string, string>;
  secrets: Record<string, string>;
  volumeContentSource: object | null;
}

/** A client of the cluster as one Ceph user; opened on first use and kept. */
export type RadosClients = (user: { userId: string; userKey: string }) => Promise<RadosClient>;

/** The controller part of the rbd driver: makes and removes images for volumes. Every call may be repeated. */
export function rbdControllerService(options: { clients: RadosClients; random: Random }): CsiService {
  const clientOf = (secrets: Record<string, string>): Promise<RadosClient> => {
    const { userID, userKey } = secrets;
    if (!userID || !userKey)
      throw new CsiError('INVALID_ARGUMENT', 'expected userID and userKey in the provisioner secret');
    return options.clients({ userId: userID, userKey });
  };
  const running = new Set<string>();
  // Two calls for one volume at once could reserve two images: the later one is told to come again, as the specification allows.
  const alone = async <T>(name: string, fn: () => Promise<T>): Promise<T> => {
    if (running.has(name)) throw new CsiError('ABORTED', `a call for volume ${name} is running`);
    running.add(name);
    try {
      return await fn();
    } finally {
      running.delete(name);
    }
  };
  return {
    ControllerGetCapabilities: () => ({ capabilities: [{ rpc: { type: 'CREATE_DELETE_VOLUME' } }] }),
    CreateVolume: (request: CreateVolumeRequest) =>
      alone(request.name, async () => createVolume(request, await clientOf(request.secrets), options.random)),
    DeleteVolume: (request: { volumeId: string; secrets: Record<string, string> }) =>
      alone(request.volumeId, async () => {
        await deleteVolume(request.volumeId, await clientOf(request.secrets));
        return {};
      }),
    ValidateVolumeCapabilities: (request: { volumeCapabilities: CreateVolumeRequest['volumeCapabilities'] }) => {
      const problem = unsupported(request.volumeCapabilities);
      return problem ? { message: problem } : { confirmed: { volumeCapabilities: request.volumeCapabilities } };
    },
  };
}

function unsupported(capabilities: CreateVolumeRequest['volumeCapabilities']): string | undefined {
  for (const capability of capabilities) {
    if (capability.block) return 'raw block volumes are not supported by this version: use volumeMode Filesystem';
    const mode = capability.accessMode?.mode ?? '';
    if (mode.startsWith('MULTI_NODE'))
      return `access mode ${mode} is not supported with a file system on a block device: use ReadWriteOnce`;
  }
  return undefined;
}

async function createVolume(request: CreateVolumeRequest, client: RadosClient, random: Random): Promise<object> {
  if (!request.name) throw new CsiError('INVALID_ARGUMENT', 'expected a name');
  if (request.volumeCapabilities.length === 0)
    throw new CsiError('INVALID_ARGUMENT', `volume ${request.name}: expected volume_capabilities`);
  const problem = unsupported(request.volumeCapabilities);
  if (problem) throw new CsiError('INVALID_ARGUMENT', `volume ${request.name}: ${problem}`);
  if (request.volumeContentSource)
    throw new CsiError(
      'INVALID_ARGUMENT',
      `volume ${request.name}: snapshots and clones are not supported by this version`,
    );
  const { pool, clusterID, imageFeatures = 'layering' } = request.parameters;
  if (!pool || !clusterID)
    throw new CsiError(
      'INVALID_ARGUMENT',
      `volume ${request.name}: expected the parameters pool and clusterID in its StorageClass`,
    );
  if (imageFeatures !== 'layering')
    throw new CsiError(
      'INVALID_ARGUMENT',
      `volume ${request.name}: imageFeatures ${imageFeatures} is not supported: expected layering`,
    );
  const required = request.capacityRange?.requiredBytes || defaultBytes;
  const limit = request.capacityRange?.limitBytes || Number.MAX_SAFE_INTEGER;
  // Whole MiB, as ceph-csi rounds.
  const sizeBytes = Math.ceil(required / mib) * mib;
  if (sizeBytes > limit)
    throw new CsiError(
      'OUT_OF_RANGE',
      `volume ${request.name}: ${required} bytes rounded to MiB exceed the limit ${limit}`,
    );

  const ioctx = await poolOf(client, pool);
  const id = await reserve(ioctx, request.name, random);
  const image = imageName(id);
  const existing = await imageInfo(ioctx, image);
  if (existing && (existing.sizeBytes < required || existing.sizeBytes > limit))
    throw new CsiError(
      'ALREADY_EXISTS',
      `volume ${request.name} exists with ${existing.sizeBytes} bytes, which does not fit ${required}`,
    );
  const info = existing ?? (await createImage(ioctx, image, { sizeBytes, globalId: client.globalId, random }));
  return {
    volume: {
      capacityBytes: info.sizeBytes,
      volumeId: formatVolumeId({ clusterId: clusterID, poolId: ioctx.poolId, uuid: id }),
      volumeContext: { clusterID, pool, imageName: image, imageFeatures, journalPool: pool },
    },
  };
}

/** The UUID that belongs to a request's name: the one of an earlier attempt, or a new one that later attempts will find. */
async function reserve(ioctx: IoCtx, name: string, random: Random): Promise<string> {
  const key = requestKey(name);
  const earlier = await omapValue(ioctx, journalObject, key);
  if (earlier !== undefined) return earlier;
  const id = uuid(random);
  await ioctx.operate(volumeObject(id), [
    { op: 'create', exclusive: true },
    {
      op: 'omap-set',
      entries: new Map([
        ['csi.volname', utf8(name)],
        ['csi.imagename', utf8(imageName(id))],
      ]),
    },
  ]);
  await ioctx.omapSet(journalObject, new Map([[key, utf8(id)]]));
  return id;
}

async function deleteVolume(volumeId: string, client: RadosClient): Promise<void> {
  let id: ReturnType<typeof parseVolumeId>;
  try {
    id = parseVolumeId(volumeId);
  } catch {
    // The specification: a volume that cannot exist is deleted already.
    return;
  }
  const pool = await client.poolName(id.poolId);
  if (pool === undefined) return;
  const ioctx = await poolOf(client, pool);
  try {
    await removeImage(ioctx, imageName(id.uuid));
  } catch (error) {
    if (isRadosError(error, EBUSY)) throw new CsiError('FAILED_PRECONDITION', errorText(error));
    throw error;
  }
  const name = await omapValue(ioctx, volumeObject(id.uuid), 'csi.volname');
  if (name !== undefined) await ioctx.omapRemove(journalObject, [requestKey(name)]);
  try {
    await ioctx.remove(volumeObject(id.uuid));
  } catch (error) {
    if (!isRadosError(error, ENOENT)) throw error;
  }
}

async function omapValue(ioctx: IoCtx, oid: string, key: string): Promise<string | undefined> {
  try {
    const value = (await ioctx.omapGet(oid, [key])).get(key) ?? emptyBytes;
    return value.length === 0 ? undefined : utf8Text(value);
  } catch (error) {
    if (isRadosError(error, ENOENT)) return undefined;
    throw error;
  }
}

async function poolOf(client: RadosClient, pool: string): Promise<IoCtx> {
  try {
    return await client.ioctx(pool);
  } catch (error) {
    if (isRadosError(error, ENOENT))
      throw new CsiError('NOT_FOUND', `pool ${pool} does not exist`, new AppError('POOL', errorText(error)));
    throw error;
  }
}
