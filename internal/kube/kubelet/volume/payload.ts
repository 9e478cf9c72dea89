import { utf8 } from '../../../base/bytes.ts';
import { AppError } from '../../../base/errors.ts';
import type {
  ConfigMap,
  DownwardAPIVolumeFile,
  KeyToPath,
  ServiceAccountTokenProjection,
  Secret,
  Volume,
} from '../../api/types.ts';
import { type PodPlace, podField, resourceField } from '../pod/fields.ts';
import { type Pod, podNamespace } from '../pod-types.ts';

/** One file of a volume: path relative to its root. `uid` where the file belongs to somebody else than root. */
export interface PayloadFile {
  readonly data: Uint8Array;
  readonly mode: number;
  readonly uid?: number;
}
export type Payload = Map<string, PayloadFile>;

/** What a volume of files is made from. An object that does not exist is undefined; reading may fail for other reasons, which throws. */
export interface PayloadSources {
  configMap(name: string): Promise<ConfigMap | undefined>;
  secret(name: string): Promise<Secret | undefined>;
  /** A bound token for the pod's service account; cached and rotated by whoever implements it. */
  token(projection: ServiceAccountTokenProjection): Promise<string>;
  readonly place: PodPlace;
}

/** Upstream's defaultMode of all these volumes. */
const defaultFileMode = 0o644;

/** Refuses names that leave the volume (kubernetes/pkg/volume/util/atomic_writer.go: validatePath). */
export function checkPath(path: string): string {
  if (path === '' || path.startsWith('/') || path.length > 4096 || path.includes('\0'))
    throw new AppError('INVALID_PATH', `"${path}" is not a relative path`);
  const parts = path.split('/');
  if (parts.includes('..') || parts[0]!.startsWith('..'))
    throw new AppError('INVALID_PATH', `"${path}" must not contain ".." and must not start with it`);
  if (parts.some((part) => part.length > 255))
    throw new AppError('INVALID_PATH', `"${path}" has a part longer than 255`);
  return parts.filter((part) => part !== '' && part !== '.').join('/');
}

function select(
  into: Payload,
  what: string,
  data: ReadonlyMap<string, Uint8Array>,
  items: readonly KeyToPath[] | undefined,
  defaultMode: number,
  optional: boolean,
): void {
  if (!items || items.length === 0) {
    for (const [key, value] of data) into.set(checkPath(key), { data: value, mode: defaultMode });
    return;
  }
  for (const { key, path, mode } of items) {
    const value = data.get(key);
    if (value === undefined) {
      if (optional) continue;
      throw new AppError('CONFIG', `${what} references non-existent key: ${key}`);
    }
    into.set(checkPath(path), { data: value, mode: mode ?? defaultMode });
  }
}

function configMapData(map: ConfigMap): Map<string, Uint8Array> {
  const out = new Map<string, Uint8Array>();
  for (const [key, value] of Object.entries(map.data ?? {})) out.set(key, utf8(value));
  for (const [key, value] of Object.entries(map.binaryData ?? {}))
    out.set(key, new Uint8Array(Buffer.from(value, 'base64')));
  return out;
}

function secretData(secret: Secret): Map<string, Uint8Array> {
  return new Map(
    Object.entries(secret.data ?? {}).map(([key, value]) => [key, new Uint8Array(Buffer.from(value, 'base64'))]),
  );
}

function addDownward(
  into: Payload,
  pod: Pod,
  place: PodPlace,
  items: readonly DownwardAPIVolumeFile[] | undefined,
  defaultMode: number,
): void {
  for (const item of items ?? []) {
    const text = item.fieldRef
      ? podField(pod, place, item.fieldRef.fieldPath)
      : item.resourceFieldRef
        ? resourceField(pod, undefined, place, item.resourceFieldRef)
        : '';
    into.set(checkPath(item.path), { data: utf8(text), mode: item.mode ?? defaultMode });
  }
}

interface Named {
  name?: string;
  items?: KeyToPath[];
  optional?: boolean;
}

async function addConfigMap(into: Payload, pod: Pod, sources: PayloadSources, ref: Named, mode: number): Promise<void> {
  const name = ref.name ?? '';
  const map = await sources.configMap(name);
  if (!map && !ref.optional) throw new AppError('CONFIG', `configmap "${name}" not found`);
  if (map)
    select(into, `configmap ${podNamespace(pod)}/${name}`, configMapData(map), ref.items, mode, ref.optional ?? false);
}

async function addSecret(into: Payload, pod: Pod, sources: PayloadSources, ref: Named, mode: number): Promise<void> {
  const name = ref.name ?? '';
  const secret = await sources.secret(name);
  if (!secret && !ref.optional) throw new AppError('CONFIG', `secret "${name}" not found`);
  if (secret)
    select(into, `secret ${podNamespace(pod)}/${name}`, secretData(secret), ref.items, mode, ref.optional ?? false);
}

/** The user that every container of the pod runs as, when there is exactly one. */
function commonUser(pod: Pod): number | undefined {
  const shared = pod.spec.securityContext?.runAsUser;
  const users = new Set(
    [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].map((c) => c.securityContext?.runAsUser ?? shared),
  );
  return users.size === 1 ? [...users][0] : undefined;
}

/** Mode and owner of a projected token: as narrow as the pod's users and groups allow (KEP-2451). */
function tokenFile(pod: Pod, data: Uint8Array, mode: number): PayloadFile {
  const user = commonUser(pod);
  const group = pod.spec.securityContext?.fsGroup;
  const own = group !== undefined ? 0o600 : user !== undefined ? 0o600 : mode;
  return user !== undefined ? { data, mode: own, uid: user } : { data, mode: own };
}

/** The files of a configMap, secret, downwardAPI or projected volume; undefined for any other kind. */
export async function volumePayload(pod: Pod, volume: Volume, sources: PayloadSources): Promise<Payload | undefined> {
  const out: Payload = new Map();
  if (volume.configMap) {
    await addConfigMap(out, pod, sources, volume.configMap, volume.configMap.defaultMode ?? defaultFileMode);
    return out;
  }
  if (volume.secret) {
    const { secretName, ...rest } = volume.secret;
    await addSecret(
      out,
      pod,
      sources,
      { ...rest, name: secretName ?? '' },
      volume.secret.defaultMode ?? defaultFileMode,
    );
    return out;
  }
  if (volume.downwardAPI) {
    addDownward(out, pod, sources.place, volume.downwardAPI.items, volume.downwardAPI.defaultMode ?? defaultFileMode);
    return out;
  }
  if (!volume.projected) return undefined;
  const mode = volume.projected.defaultMode ?? defaultFileMode;
  for (const source of volume.projected.sources ?? []) {
    if (source.configMap) await addConfigMap(out, pod, sources, source.configMap, mode);
    else if (source.secret) await addSecret(out, pod, sources, source.secret, mode);
    else if (source.downwardAPI) addDownward(out, pod, sources.place, source.downwardAPI.items, mode);
    else if (source.serviceAccountToken)
      out.set(
        checkPath(source.serviceAccountToken.path),
        tokenFile(pod, utf8(await sources.token(source.serviceAccountToken)), mode),
      );
    else {
      const kind = Object.keys(source)[0] ?? 'empty';
      throw new AppError('UNSUPPORTED', `volume "${volume.name}": projected source ${kind} is not supported`);
    }
  }
  return out;
}

/** True for volumes whose files follow objects of the API. */
export function hasPayload(volume: Volume): boolean {
  return Boolean(volume.configMap ?? volume.secret ?? volume.downwardAPI ?? volume.projected);
}
