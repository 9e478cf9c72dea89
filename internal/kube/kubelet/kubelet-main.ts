import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { AppError, errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import { sleep } from '../../base/clock.ts';
import { plural } from '../../base/words.ts';
import type { Config } from '../../config/config.ts';
import type { Paths } from '../../config/paths.ts';
import type { KubeClient } from '../client/api.ts';
import { Checkpoints } from './checkpoint-shell.ts';
import { CriClient } from './cri/cri-client.ts';
import { EventRecorder } from '../client/events.ts';
import { ImageManager } from './images/image-manager-shell.ts';
import { Limiter } from './limiter.ts';
import { Cgroups } from './node/cgroups-shell.ts';
import { nodeFacts } from './node/facts-system.ts';
import { podsCgroupRoot } from './node/identity.ts';
import { NodeAgent } from './node/node-agent-client.ts';
import { allocatable } from './node/node-status.ts';
import { rotateLogs } from './logs/log-rotation-shell.ts';
import { ObjectCache } from './object-cache-client.ts';
import { RuntimeCache } from './pleg-shell.ts';
import type { PodHost } from './pod/pod-host.ts';
import { quantityValue } from './pod/quantity.ts';
import { parseResolvConf } from './pod/sandbox-config.ts';
import { PodManager } from './pod-manager-shell.ts';
import { StatusManager } from './status-manager-client.ts';
import { CsiRegistry } from './volume/csi-registry-shell.ts';
import { CsiVolumes } from './volume/csi-volumes-shell.ts';
import { PodVolumes } from './volume/pod-volumes-shell.ts';
import { TokenManager } from './volume/token-client.ts';

export interface KubeletOptions {
  readonly config: Config;
  readonly paths: Paths;
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Why the pod network is not usable yet, undefined when it is. */
  readonly networkProblem: () => string | undefined;
  /** Why the node is not to register itself anew, undefined when it may. */
  readonly unwanted: () => string | undefined;
  /** A pod's status is different: its address or its ports may be. */
  readonly podsChanged?: () => void;
}

/** The parts of a running kubelet that its HTTPS server shows. */
export interface Kubelet {
  readonly cri: CriClient;
  readonly cache: RuntimeCache;
  readonly pods: PodManager;
  readonly node: NodeAgent;
  readonly csi: CsiVolumes;
  readonly host: PodHost;
  health(): { ok: boolean; detail: string };
  stop(): Promise<void>;
}

const runtimePatienceMs = 60_000;
const importPollMs = 5_000;
const stableEveryRounds = 12;
/** After this long without an answer the runtime counts as ill. */
const runtimeSilenceMs = 60_000;

/** Starts the node agent: resolves when it follows the API's pods. Containers that run already are taken over as they are. */
export async function startKubelet(options: KubeletOptions): Promise<Kubelet> {
  const { client, clock, config, log, paths, random } = options;
  const podsDir = join(paths.agent, 'pods');
  const logsDir = join(paths.logs, 'pods');
  for (const directory of [podsDir, logsDir, paths.plugins]) await mkdir(directory, { recursive: true, mode: 0o755 });

  const cri = new CriClient(paths.containerdSocket);
  await runtimeReady(cri, clock);
  const images = new ImageManager({
    cri,
    socket: paths.containerdSocket,
    containerdCommand: config.containerd.command,
    imagesDir: config.imagesDir,
    contentDir: paths.agent,
    recordFile: join(paths.agent, 'images.json'),
    stableFile: join(paths.agent, 'images-stable.json'),
    bootId: (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim(),
    clock,
    log,
  });
  await images.start();

  const facts = nodeFacts(paths.agent);
  const offered = allocatable(facts);
  const cache = new RuntimeCache(cri, clock, log);
  const registry = new CsiRegistry(paths.plugins);
  const objects = new ObjectCache(client, clock);
  const csi = new CsiVolumes({ podsDir, pluginsDir: paths.plugins, registry, client, log });
  const volumes = new PodVolumes({
    podsDir,
    csi,
    objects,
    tokens: new TokenManager(client, clock, random),
    clock,
    random,
    log,
  });
  const cgroups = new Cgroups(log);
  const limiter = new Limiter(8);
  let pods: PodManager | undefined;
  const statuses = new StatusManager(client, clock, log, (uid) => pods?.current(uid));
  const host: PodHost = {
    cri,
    cache,
    images,
    volumes,
    objects,
    events: new EventRecorder(client, clock, log, { component: 'kubelet', host: config.node.name }),
    cgroups,
    clock,
    random,
    log,
    hostIP: config.node.ip,
    dns: {
      dnsIP: config.cluster.dnsIP,
      domain: config.cluster.domain,
      host: parseResolvConf(await readFile('/etc/resolv.conf', 'utf8').catch(() => '')),
    },
    podsDir,
    logsDir,
    cgroupRoot: podsCgroupRoot(config),
    seccompRoot: join(paths.agent, 'seccomp'),
    memoryCapacity: facts.memoryBytes,
    allocatable: {
      cpu: quantityValue(offered.cpu!),
      memory: quantityValue(offered.memory!),
      ephemeralStorage: quantityValue(offered['ephemeral-storage']!),
    },
    limit: (work) => limiter.run(work),
    report: (pod, status) => {
      statuses.report(pod, status);
      options.podsChanged?.();
    },
    resized: (uid) => pods?.resized(uid),
    ending: () => pods?.ending(),
    confirmDeleted: (pod, status) => statuses.confirmDeleted(pod, status),
    forget: (uid) => {
      statuses.forget(uid);
      void pods?.forget(uid);
    },
  };
  const checkpoints = new Checkpoints(join(paths.agent, 'checkpoints'), log);
  pods = new PodManager({
    client,
    nodeName: config.node.name,
    host,
    cache,
    volumes,
    cgroups,
    checkpoints,
    allocatable: () => node.node?.status?.allocatable ?? offered,
    clock,
    log,
  });
  const node = new NodeAgent({
    client,
    cri,
    registry,
    clock,
    log,
    nodeName: config.node.name,
    ip: config.node.ip,
    labels: config.node.labels,
    taints: config.node.taints,
    kubeletPort: config.ports.kubelet,
    dataDir: paths.agent,
    notReady: async () => notReady(cri, options.networkProblem),
    unwanted: options.unwanted,
  });

  const stop = new AbortController();
  const manager = pods;
  const loops = [
    cache.run(stop.signal),
    manager.run(stop.signal),
    node.run(stop.signal),
    importLoop(images, clock, log, stop.signal),
    rotateLogs(
      {
        running: () => cache.all().flatMap((runtime) => runtime.containers.filter((c) => c.state === 'running')),
        reopen: (id) => cri.reopenContainerLog(id),
        clock,
        log,
      },
      stop.signal,
    ),
  ];
  return {
    cri,
    cache,
    pods: manager,
    node,
    csi,
    host,
    health: () =>
      cache.sinceAnswer() > runtimeSilenceMs
        ? { ok: false, detail: 'the container runtime gives no answer' }
        : { ok: true, detail: plural(manager.pods().length, 'pod') },
    stop: async () => {
      stop.abort();
      statuses.stop();
      await Promise.all(loops);
      registry.close();
      cri.close();
    },
  };
}

async function runtimeReady(cri: CriClient, clock: Clock): Promise<void> {
  const begun = clock.monotonic();
  for (;;) {
    try {
      await cri.version();
      return;
    } catch (error) {
      if (clock.monotonic() - begun > runtimePatienceMs)
        throw new AppError('RUNTIME', `the container runtime gives no answer: ${errorText(error)}`, {
          hint: 'look at the log of containerd',
        });
      await sleep(clock, 250);
    }
  }
}

async function notReady(cri: CriClient, networkProblem: () => string | undefined): Promise<string | undefined> {
  try {
    const bad = (await cri.conditions()).find((c) => !c.status);
    if (bad) return `container runtime ${bad.type} is not ready: ${bad.message || bad.reason}`;
  } catch (error) {
    return `container runtime is down: ${errorText(error)}`;
  }
  return networkProblem();
}

async function importLoop(images: ImageManager, clock: Clock, log: Logger, signal: AbortSignal): Promise<void> {
  for (let round = 1; !signal.aborted; round++) {
    await sleep(clock, importPollMs, signal);
    if (signal.aborted) return;
    try {
      await images.importArchives();
      await images.ensurePause();
      // Also of images that somebody else put there.
      if (round % stableEveryRounds === 0) await images.makeStable();
    } catch (error) {
      if (!signal.aborted) log.warn('images directory cannot be read', { error: errorText(error) });
    }
  }
}
