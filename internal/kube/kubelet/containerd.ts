import { join } from 'node:path';
import type { Config } from '../../config/config.ts';
import type { Paths } from '../../config/paths.ts';
import { cniBinDir, hasCapSysResource } from './machine-system.ts';
import { pauseImage } from './pause/archive.ts';

/** What containerd keeps and where, all under `paths.agent`. */
export interface ContainerdPlaces {
  readonly root: string;
  readonly state: string;
  readonly configFile: string;
  readonly cniConfDir: string;
  readonly cniDataDir: string;
}

export function containerdPlaces(paths: Pick<Paths, 'agent' | 'runDir'>): ContainerdPlaces {
  return {
    root: join(paths.agent, 'containerd'),
    state: join(paths.runDir, 'containerd'),
    configFile: join(paths.agent, 'containerd.toml'),
    cniConfDir: join(paths.agent, 'cni', 'net.d'),
    cniDataDir: join(paths.agent, 'cni', 'networks'),
  };
}

export interface ContainerdSettings {
  readonly places: ContainerdPlaces;
  readonly socket: string;
  readonly sandboxImage: string;
  readonly cniBinDir: string;
  /** Where CAP_SYS_RESOURCE is missing, as in some virtual machines, runc cannot lower a process's OOM score. */
  readonly restrictOomScoreAdj: boolean;
  readonly logLevel: string;
  /** The cgroup of container shims, relative to the controllers' mount points; absent: they are in containerd's own. It must be there. */
  readonly shimGroup?: string | undefined;
}

const quote = (text: string): string => JSON.stringify(text);

/** containerd's configuration file (containerd-config.toml(5), version 2). */
export function renderContainerdConfig(settings: ContainerdSettings): string {
  const { places } = settings;
  return `# Written by appliance at every start; changes here are lost.
version = 2
root = ${quote(places.root)}
state = ${quote(places.state)}
oom_score = ${settings.restrictOomScoreAdj ? 0 : -999}
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = ${quote(settings.socket)}

[ttrpc]
  address = ${quote(`${settings.socket}.ttrpc`)}

[debug]
  level = ${quote(settings.logLevel)}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = ${quote(settings.sandboxImage)}
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  enable_tls_streaming = false
  restrict_oom_score_adj = ${settings.restrictOomScoreAdj}
  tolerate_missing_hugetlb_controller = true
  disable_hugetlb_controller = true
  netns_mounts_under_state_dir = true
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = ${quote(join(places.state, 'runc'))}${
          settings.shimGroup === undefined
            ? ''
            : `
        ShimCgroup = ${quote(settings.shimGroup)}`
        }

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = ${quote(settings.cniBinDir)}
    conf_dir = ${quote(places.cniConfDir)}
`;
}

/**
 * How the supervisor runs containerd: the command line, and the files that must be written before it starts. Shims outlive containerd, so
 * it may be stopped and started while containers run.
 */
export function containerdCommand(
  config: Config,
  paths: Paths,
  shimGroup?: string,
): { argv: string[]; files: { path: string; content: string; mode: number }[] } {
  const places = containerdPlaces(paths);
  const content = renderContainerdConfig({
    // Where CNI plug-ins of others put their configuration.
    places: config.cluster.networkBackend === 'none' ? { ...places, cniConfDir: '/etc/cni/net.d' } : places,
    socket: paths.containerdSocket,
    sandboxImage: pauseImage,
    cniBinDir: cniBinDir(config.containerd.cniBinDirs),
    restrictOomScoreAdj: !hasCapSysResource(),
    logLevel: config.logLevel === 'debug' ? 'info' : 'warn',
    shimGroup,
  });
  return {
    argv: [config.containerd.command, '--config', places.configFile],
    files: [{ path: places.configFile, content, mode: 0o600 }],
  };
}
