import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, errorText } from '../../../base/errors.ts';
import type { ConfigMap, Secret } from '../../api/types.ts';
import type { ContainerConfig, CriImage, CriMount, PodSandboxConfig } from '../cri/types.ts';
import { defaultPullPolicy } from '../images/pull-policy.ts';
import { type Container, type Pod, podNamespace, podUid } from '../pod-types.ts';
import { mountSubPath } from '../volume/subpath-shell.ts';
import { checkNonRoot, containerConfig } from './container-config.ts';
import { buildEnv, type EnvObjects, envReferences } from './env.ts';
import { expand } from './expansion.ts';
import type { PodPlace } from './fields.ts';
import { type PodHost, podLogDirectory, podSubject } from './pod-host.ts';
import { podCgroupLimits, podCgroupPath } from './resources.ts';
import { hostNetworkHostsFile, hostsFile, sandboxConfig } from './sandbox-config.ts';
import type { WaitReason } from './status.ts';

/** A start that failed: the reason under which the container waits, and what to tell the user. */
export class StartError extends AppError {
  readonly wait: WaitReason;
  constructor(reason: string, message: string) {
    super(reason, message);
    this.wait = { reason, message };
  }
}

export interface StartRequest {
  readonly pod: Pod;
  readonly container: Container;
  readonly kind: 'init' | 'main' | 'ephemeral';
  readonly attempt: number;
  readonly sandboxId: string;
  readonly sandbox: PodSandboxConfig;
  readonly place: PodPlace;
  /** Host directories by volume name. */
  readonly volumes: ReadonlyMap<string, string>;
  /** Runtime id of the container that an ephemeral one looks into. */
  readonly targetId: string;
}

const fieldOf = { init: 'initContainers', main: 'containers', ephemeral: 'ephemeralContainers' } as const;

/** The sandbox configuration of a pod; the same for its life, so that containers can be added later. */
export function podSandboxConfig(host: PodHost, pod: Pod, attempt: number): PodSandboxConfig {
  return sandboxConfig(pod, attempt, {
    dns: host.dns,
    cgroupParent: podCgroupPath(host.cgroupRoot, pod),
    logDirectory: podLogDirectory(host.logsDir, podNamespace(pod), pod.metadata.name, podUid(pod)),
    seccompRoot: host.seccompRoot,
  });
}

/** Makes cgroup, directories and sandbox; returns the sandbox's id. */
export async function startSandbox(host: PodHost, pod: Pod, attempt: number): Promise<string> {
  const config = podSandboxConfig(host, pod, attempt);
  await host.cgroups.ensure(config.linux.cgroupParent, podCgroupLimits(pod));
  await mkdir(config.logDirectory, { recursive: true, mode: 0o755 });
  await mkdir(join(host.podsDir, podUid(pod)), { recursive: true, mode: 0o750 });
  if (pod.spec.runtimeClassName) {
    // The one runtime there is answers to no other name.
    throw new AppError('UNSUPPORTED', `runtime class ${pod.spec.runtimeClassName} has no handler on this node`);
  }
  return host.limit(() => host.cri.runPodSandbox(config));
}

/** Pulls, creates and starts one container; throws StartError. Returns the runtime's id. */
export async function startContainer(host: PodHost, request: StartRequest): Promise<string> {
  const { pod, container, kind } = request;
  const subject = podSubject(pod, container, fieldOf[kind]);
  const fail = (reason: string, error: unknown): never => {
    const message = errorText(error);
    host.events.record(subject, 'Warning', 'Failed', `Error: ${message}`);
    throw new StartError(reason, message);
  };
  const image = await pull(host, request);
  let config: ContainerConfig;
  try {
    config = await makeConfig(host, request, image);
  } catch (error) {
    return fail('CreateContainerConfigError', error);
  }
  await mkdir(join(request.sandbox.logDirectory, container.name), { recursive: true, mode: 0o755 });
  let id: string;
  try {
    id = await host.limit(() => host.cri.createContainer(request.sandboxId, config, request.sandbox));
  } catch (error) {
    return fail('CreateContainerError', error);
  }
  host.events.record(subject, 'Normal', 'Created', `Created container: ${container.name}`);
  try {
    await host.cri.startContainer(id);
  } catch (error) {
    return fail('RunContainerError', error);
  }
  host.events.record(subject, 'Normal', 'Started', `Started container ${container.name}`);
  return id;
}

async function pull(host: PodHost, request: StartRequest): Promise<CriImage> {
  const { pod, container, kind } = request;
  const subject = podSubject(pod, container, fieldOf[kind]);
  const name = container.image ?? '';
  try {
    const auth = await pullSecret(host, pod, name);
    return await host.images.ensure(
      name,
      container.imagePullPolicy ?? defaultPullPolicy(name),
      auth,
      (reason, message) => host.events.record(subject, 'Normal', reason, message),
    );
  } catch (error) {
    const code = error instanceof AppError ? error.code : 'ErrImagePull';
    const message = errorText(error);
    if (code === 'ImagePullBackOff') {
      host.events.record(subject, 'Normal', 'BackOff', `Back-off pulling image "${name}"`);
      host.events.record(subject, 'Warning', 'Failed', 'Error: ImagePullBackOff');
    } else if (code === 'ErrImageNeverPull') {
      host.events.record(subject, 'Warning', 'ErrImageNeverPull', message);
    } else {
      host.events.record(subject, 'Warning', 'Failed', `Failed to pull image "${name}": ${message}`);
      host.events.record(subject, 'Warning', 'Failed', `Error: ${code}`);
    }
    throw new StartError(/^[A-Z][A-Za-z]+$/.test(code) ? code : 'ErrImagePull', message);
  }
}

/** Credentials for the image's registry from the pod's imagePullSecrets. */
async function pullSecret(host: PodHost, pod: Pod, image: string): Promise<object | undefined> {
  for (const ref of pod.spec.imagePullSecrets ?? []) {
    const secret = ref.name ? await host.objects.secret(podNamespace(pod), ref.name).catch(() => undefined) : undefined;
    const text = secret?.data?.['.dockerconfigjson'];
    if (!text) continue;
    const first = image.split('/')[0] ?? '';
    const registry = image.includes('/') && /[.:]|^localhost$/.test(first) ? first : 'https://index.docker.io/v1/';
    try {
      const auths = (
        JSON.parse(Buffer.from(text, 'base64').toString('utf8')) as { auths?: Record<string, Record<string, string>> }
      ).auths;
      const entry = auths?.[registry] ?? auths?.[`https://${registry}`];
      if (entry)
        return {
          username: entry.username ?? '',
          password: entry.password ?? '',
          auth: entry.auth ?? '',
          serverAddress: registry,
        };
    } catch {
      throw new StartError('ErrImagePull', `secret ${ref.name ?? ''} is no dockerconfigjson`);
    }
  }
  return undefined;
}

async function environment(host: PodHost, request: StartRequest): Promise<Map<string, string>> {
  const namespace = podNamespace(request.pod);
  const configMaps = new Map<string, ConfigMap>();
  const secrets = new Map<string, Secret>();
  for (const { kind, name } of envReferences(request.container)) {
    if (kind === 'ConfigMap') {
      const map = await host.objects.configMap(namespace, name);
      if (map) configMaps.set(name, map);
    } else {
      const secret = await host.objects.secret(namespace, name);
      if (secret) secrets.set(name, secret);
    }
  }
  const objects: EnvObjects = { configMaps, secrets };
  return buildEnv(request.pod, request.container, request.place, objects, await host.objects.services());
}

const propagation = {
  None: 'PROPAGATION_PRIVATE',
  HostToContainer: 'PROPAGATION_HOST_TO_CONTAINER',
  Bidirectional: 'PROPAGATION_BIDIRECTIONAL',
} as const;

async function mounts(
  host: PodHost,
  request: StartRequest,
  env: ReadonlyMap<string, string>,
  messageFile: string,
): Promise<CriMount[]> {
  const { pod, container, place } = request;
  const podDir = join(host.podsDir, podUid(pod));
  const out: CriMount[] = [];
  for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
    const volume = request.volumes.get(mount.name);
    if (volume === undefined) throw new AppError('CONFIG', `volume "${mount.name}" is not part of the pod`);
    let subPath = mount.subPath ?? '';
    if (mount.subPathExpr) {
      subPath = expand(mount.subPathExpr, (name) => {
        const value = env.get(name);
        if (value === undefined)
          throw new AppError(
            'CONFIG',
            `failed to expand subPath for volumeMount "${mount.name}" of container "${container.name}"`,
          );
        return value;
      });
      if (subPath.startsWith('/') || subPath.split('/').includes('..'))
        throw new AppError('CONFIG', `subPath "${subPath}" must be relative and must not contain ".."`);
    }
    const target = join(podDir, 'volume-subpaths', mount.name, container.name, String(index));
    out.push({
      containerPath: mount.mountPath.startsWith('/') ? mount.mountPath : `/${mount.mountPath}`,
      hostPath: subPath === '' ? volume : await mountSubPath(volume, subPath, target),
      readonly: mount.readOnly ?? false,
      propagation: propagation[mount.mountPropagation ?? 'None'],
    });
  }
  const taken = new Set(out.map((m) => m.containerPath));
  if (!taken.has('/etc/hosts') && (pod.spec.hostNetwork || place.podIPs.length > 0)) {
    const file = join(podDir, 'etc-hosts');
    const text = pod.spec.hostNetwork
      ? hostNetworkHostsFile(pod, await readFile('/etc/hosts', 'utf8').catch(() => '127.0.0.1\tlocalhost\n'))
      : hostsFile(pod, place.podIPs, host.dns.domain);
    await writeFile(file, text, { mode: 0o644 });
    await chmod(file, 0o644);
    out.push({ containerPath: '/etc/hosts', hostPath: file, readonly: false, propagation: 'PROPAGATION_PRIVATE' });
  }
  if (messageFile !== '')
    out.push({
      containerPath: container.terminationMessagePath ?? '/dev/termination-log',
      hostPath: messageFile,
      readonly: false,
      propagation: 'PROPAGATION_PRIVATE',
    });
  return out;
}

async function makeConfig(host: PodHost, request: StartRequest, image: CriImage): Promise<ContainerConfig> {
  const { pod, container } = request;
  if ((container.volumeDevices ?? []).length > 0)
    throw new AppError('UNSUPPORTED', 'volumeDevices (raw block volumes) are not supported');
  checkNonRoot(pod, container, image);
  const env = await environment(host, request);
  const directory = join(host.podsDir, podUid(pod), 'containers', container.name);
  await mkdir(directory, { recursive: true, mode: 0o750 });
  const messageFile = join(directory, host.random.uint32().toString(16).padStart(8, '0'));
  await writeFile(messageFile, '');
  // Any user of the container may leave a message.
  await chmod(messageFile, 0o666);
  return containerConfig(pod, container, {
    attempt: request.attempt,
    imageRef: image.id,
    image,
    env,
    mounts: await mounts(host, request, env, messageFile),
    devices: [],
    logPath: `${container.name}/${request.attempt}.log`,
    memoryCapacity: host.memoryCapacity,
    seccompRoot: host.seccompRoot,
    messageFile,
    targetId: request.targetId,
  });
}
