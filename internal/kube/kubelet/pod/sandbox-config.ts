import { AppError } from '../../../base/errors.ts';
import type { NamespaceOption, PodSandboxConfig, SecurityProfile } from '../cri/types.ts';
import type { SeccompProfile } from '../../api/types.ts';
import { type Pod, podNamespace, podUid } from '../pod-types.ts';

/** Labels by which upstream's kubelet, and every tool that reads the runtime, finds a pod's containers. */
export const labelPodName = 'io.kubernetes.pod.name';
export const labelPodNamespace = 'io.kubernetes.pod.namespace';
export const labelPodUid = 'io.kubernetes.pod.uid';
export const labelContainerName = 'io.kubernetes.container.name';

/** DNS settings of one resolv.conf. */
export interface DnsConfig {
  servers: string[];
  searches: string[];
  options: string[];
}

export interface ClusterDns {
  readonly dnsIP: string;
  readonly domain: string;
  /** The node's own resolv.conf. */
  readonly host: DnsConfig;
}

/** What `text`, a resolv.conf, says (resolv.conf(5)). */
export function parseResolvConf(text: string): DnsConfig {
  const out: DnsConfig = { servers: [], searches: [], options: [] };
  for (const line of text.split('\n')) {
    const words = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (words[0] === 'nameserver' && words[1]) out.servers.push(words[1]);
    else if (words[0] === 'search') out.searches = words.slice(1);
    else if (words[0] === 'options') out.options.push(...words.slice(1));
  }
  return out;
}

/** resolv.conf of a pod by its dnsPolicy and dnsConfig (kubernetes/pkg/kubelet/network/dns). */
export function podDns(pod: Pod, cluster: ClusterDns): DnsConfig {
  let policy = pod.spec.dnsPolicy ?? 'ClusterFirst';
  if (policy === 'ClusterFirst' && pod.spec.hostNetwork) policy = 'Default';
  if (policy === 'ClusterFirstWithHostNet') policy = 'ClusterFirst';
  const base: DnsConfig =
    policy === 'None'
      ? { servers: [], searches: [], options: [] }
      : policy === 'Default'
        ? {
            servers: [...cluster.host.servers],
            searches: [...cluster.host.searches],
            options: [...cluster.host.options],
          }
        : {
            servers: [cluster.dnsIP],
            searches: [
              `${podNamespace(pod)}.svc.${cluster.domain}`,
              `svc.${cluster.domain}`,
              cluster.domain,
              ...cluster.host.searches,
            ],
            options: ['ndots:5'],
          };
  const own = pod.spec.dnsConfig;
  const unique = (list: string[]): string[] => [...new Set(list)];
  const options = new Map<string, string>();
  for (const text of base.options) options.set(text.split(':')[0]!, text);
  for (const { name, value } of own?.options ?? []) if (name) options.set(name, value ? `${name}:${value}` : name);
  return {
    servers: unique([...base.servers, ...(own?.nameservers ?? [])]),
    searches: unique([...base.searches, ...(own?.searches ?? [])]).slice(0, 32),
    options: [...options.values()],
  };
}

/** Host name of the pod, cut to the kernel's 63 characters. */
export function podHostname(pod: Pod, domain: string): string {
  if (pod.spec.hostnameOverride) return pod.spec.hostnameOverride;
  const short = (pod.spec.hostname || pod.metadata.name).slice(0, 63).replace(/[-.]+$/, '');
  return pod.spec.setHostnameAsFQDN && pod.spec.subdomain
    ? `${short}.${pod.spec.subdomain}.${podNamespace(pod)}.svc.${domain}`
    : short;
}

/** The fully qualified name that a subdomain gives the pod, else undefined. */
export function podFqdn(pod: Pod, domain: string): string | undefined {
  if (!pod.spec.subdomain) return undefined;
  const short = (pod.spec.hostname || pod.metadata.name).slice(0, 63).replace(/[-.]+$/, '');
  return `${short}.${pod.spec.subdomain}.${podNamespace(pod)}.svc.${domain}`;
}

/** /etc/hosts of a pod that is not on the host's network (kubernetes/pkg/kubelet/kubelet_pods.go: managedHostsFileContent). */
export function hostsFile(pod: Pod, podIPs: readonly string[], domain: string): string {
  const name = podHostname(pod, domain);
  const fqdn = podFqdn(pod, domain);
  let text = '# Kubernetes-managed hosts file.\n';
  text += '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n';
  text += 'fe00::\tip6-localnet\nfe00::\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n';
  for (const ip of podIPs) text += fqdn ? `${ip}\t${fqdn}\t${name}\n` : `${ip}\t${name}\n`;
  return text + hostAliasLines(pod);
}

/** /etc/hosts of a pod on the host's network: the node's, with the pod's aliases. */
export function hostNetworkHostsFile(pod: Pod, nodeHosts: string): string {
  return `# Kubernetes-managed hosts file (host network).\n${nodeHosts}${hostAliasLines(pod)}`;
}

function hostAliasLines(pod: Pod): string {
  const aliases = pod.spec.hostAliases ?? [];
  if (aliases.length === 0) return '';
  const lines = aliases.map((alias) => `${alias.ip}\t${(alias.hostnames ?? []).join('\t')}\n`);
  return `\n# Entries added by HostAliases.\n${lines.join('')}`;
}

/** Namespaces that the pod's containers share with the host or with each other. */
export function namespaceOptions(pod: Pod): NamespaceOption {
  return {
    network: pod.spec.hostNetwork ? 'NODE' : 'POD',
    ipc: pod.spec.hostIPC ? 'NODE' : 'POD',
    pid: pod.spec.hostPID ? 'NODE' : pod.spec.shareProcessNamespace ? 'POD' : 'CONTAINER',
  };
}

/** CRI's seccomp profile for the API's; Unconfined where nothing is asked, as upstream without the seccompDefault setting. */
export function seccompProfile(
  profile: SeccompProfile | undefined,
  privileged: boolean,
  root: string,
): SecurityProfile {
  if (privileged || !profile) return { profileType: 'Unconfined' };
  if (profile.type === 'RuntimeDefault') return { profileType: 'RuntimeDefault' };
  if (profile.type === 'Localhost') {
    if (!profile.localhostProfile)
      throw new AppError('CONFIG', 'seccompProfile of type Localhost names no localhostProfile');
    return { profileType: 'Localhost', localhostRef: `${root}/${profile.localhostProfile}` };
  }
  return { profileType: 'Unconfined' };
}

export interface SandboxSettings {
  readonly dns: ClusterDns;
  readonly cgroupParent: string;
  readonly logDirectory: string;
  readonly seccompRoot: string;
}

/** What RunPodSandbox is asked for. */
export function sandboxConfig(pod: Pod, attempt: number, settings: SandboxSettings): PodSandboxConfig {
  const security = pod.spec.securityContext;
  const privileged = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].some(
    (c) => c.securityContext?.privileged,
  );
  return {
    metadata: { name: pod.metadata.name, uid: podUid(pod), namespace: podNamespace(pod), attempt },
    hostname: pod.spec.hostNetwork ? '' : podHostname(pod, settings.dns.domain),
    logDirectory: settings.logDirectory,
    dnsConfig: podDns(pod, settings.dns),
    labels: {
      ...pod.metadata.labels,
      [labelPodName]: pod.metadata.name,
      [labelPodNamespace]: podNamespace(pod),
      [labelPodUid]: podUid(pod),
    },
    annotations: { ...pod.metadata.annotations },
    linux: {
      cgroupParent: settings.cgroupParent,
      sysctls: Object.fromEntries((security?.sysctls ?? []).map((s) => [s.name.replaceAll('/', '.'), s.value])),
      securityContext: {
        namespaceOptions: namespaceOptions(pod),
        ...(security?.runAsUser === undefined ? {} : { runAsUser: { value: security.runAsUser } }),
        ...(security?.runAsGroup === undefined ? {} : { runAsGroup: { value: security.runAsGroup } }),
        supplementalGroups: supplementalGroups(pod),
        privileged,
        seccomp: seccompProfile(security?.seccompProfile, privileged, settings.seccompRoot),
      },
    },
  };
}

/** Groups beside the primary one that every process of the pod has. */
export function supplementalGroups(pod: Pod): number[] {
  const security = pod.spec.securityContext;
  const groups = [...(security?.supplementalGroups ?? [])];
  if (security?.fsGroup !== undefined) groups.push(security.fsGroup);
  return groups;
}
