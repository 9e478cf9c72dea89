import { getPath, isObject, type Json, type JsonObject } from '../machinery/json.ts';

/** The Pod Security Standards (docs: concepts/security/pod-security-standards), in the words of k8s.io/pod-security-admission/policy. */
export type Level = 'privileged' | 'baseline' | 'restricted';

interface Check {
  /** What is wrong, in short. */
  readonly reason: string;
  /** Who does it and what it should be; undefined when nothing is wrong. */
  find(pod: JsonObject): string | undefined;
}

const objects = (value: Json | undefined): JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : []);

/** Containers of a pod's spec, init and ephemeral ones among them. */
function containersOf(spec: JsonObject): JsonObject[] {
  return ['initContainers', 'containers', 'ephemeralContainers'].flatMap((list) => objects(spec[list]));
}

const quoted = (names: readonly string[]): string => names.map((name) => JSON.stringify(name)).join(', ');
const plural = (word: string, names: readonly unknown[]): string => (names.length === 1 ? word : `${word}s`);

/** `container "a"` or `containers "a", "b"`. */
function named(containers: readonly JsonObject[]): string {
  return `${plural('container', containers)} ${quoted(containers.map((one) => String(one.name)))}`;
}

const context = (owner: JsonObject, ...path: string[]): Json | undefined => getPath(owner, 'securityContext', ...path);

const offenders = (spec: JsonObject, bad: (container: JsonObject) => boolean): JsonObject[] =>
  containersOf(spec).filter(bad);

/** A value that pod and containers may have; absent ones are fine. */
function podAndContainers(
  spec: JsonObject,
  path: readonly string[],
  allowed: (value: Json) => boolean,
  what: (values: string) => string,
): string | undefined {
  const bad = (owner: JsonObject): boolean => {
    const value = context(owner, ...path);
    return value !== undefined && value !== null && !allowed(value);
  };
  const containers = offenders(spec, bad);
  const who = [...(bad(spec) ? ['pod'] : []), ...(containers.length > 0 ? [named(containers)] : [])];
  if (who.length === 0) return undefined;
  const values = [
    ...new Set([spec, ...containers].filter(bad).map((owner) => JSON.stringify(context(owner, ...path)))),
  ];
  return `${who.join(' and ')} ${what(values.join(', '))}`;
}

const baselineCapabilities = new Set([
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
]);
const seLinuxTypes = ['', 'container_t', 'container_init_t', 'container_kvm_t', 'container_engine_t'];
const safeSysctls = new Set([
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.ping_group_range',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_rmem',
  'net.ipv4.tcp_wmem',
]);
const restrictedVolumes = new Set([
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'image',
  'persistentVolumeClaim',
  'projected',
  'secret',
]);

const addedCapabilities = (container: JsonObject): string[] => {
  const list = context(container, 'capabilities', 'add');
  return Array.isArray(list) ? list.map(String) : [];
};
const isWindows = (spec: JsonObject): boolean => getPath(spec, 'os', 'name') === 'windows';

const handlers = [
  ['livenessProbe'],
  ['readinessProbe'],
  ['startupProbe'],
  ['lifecycle', 'postStart'],
  ['lifecycle', 'preStop'],
];

const baseline: readonly Check[] = [
  {
    reason: 'hostProcess',
    find: (spec) =>
      podAndContainers(
        spec,
        ['windowsOptions', 'hostProcess'],
        (value) => value !== true,
        () => 'must not set securityContext.windowsOptions.hostProcess=true',
      ),
  },
  {
    reason: 'host namespaces',
    find: (spec) => {
      const set = ['hostNetwork', 'hostPID', 'hostIPC'].filter((field) => spec[field] === true);
      return set.length === 0 ? undefined : set.map((field) => `${field}=true`).join(', ');
    },
  },
  {
    reason: 'privileged',
    find: (spec) => {
      const bad = offenders(spec, (one) => context(one, 'privileged') === true);
      return bad.length === 0 ? undefined : `${named(bad)} must not set securityContext.privileged=true`;
    },
  },
  {
    reason: 'non-default capabilities',
    find: (spec) => {
      const wrong = (one: JsonObject): string[] =>
        addedCapabilities(one).filter((name) => !baselineCapabilities.has(name));
      const bad = offenders(spec, (one) => wrong(one).length > 0);
      if (bad.length === 0) return undefined;
      const names = [...new Set(bad.flatMap(wrong))].sort();
      return `${named(bad)} must not include ${quoted(names)} in securityContext.capabilities.add`;
    },
  },
  {
    reason: 'hostPath volumes',
    find: (spec) => {
      const bad = objects(spec.volumes).filter((volume) => volume.hostPath !== undefined);
      if (bad.length === 0) return undefined;
      return `${plural('volume', bad)} ${quoted(bad.map((one) => String(one.name)))}`;
    },
  },
  {
    reason: 'hostPort',
    find: (spec) => {
      const ports = (one: JsonObject): string[] =>
        objects(one.ports)
          .map((port) => Number(port.hostPort ?? 0))
          .filter((port) => port !== 0)
          .map(String);
      const bad = offenders(spec, (one) => ports(one).length > 0);
      if (bad.length === 0) return undefined;
      const all = [...new Set(bad.flatMap(ports))].sort();
      return `${named(bad)} ${bad.length === 1 ? 'uses' : 'use'} ${plural('hostPort', all)} ${all.join(', ')}`;
    },
  },
  {
    reason: 'probe or lifecycle host',
    find: (spec) => {
      const hosts = (one: JsonObject): string[] =>
        handlers
          .flatMap((path) => [getPath(one, ...path, 'httpGet', 'host'), getPath(one, ...path, 'tcpSocket', 'host')])
          .filter((host) => typeof host === 'string' && host !== '')
          .map(String);
      const bad = offenders(spec, (one) => hosts(one).length > 0);
      if (bad.length === 0) return undefined;
      const all = [...new Set(bad.flatMap(hosts))].sort();
      return `${named(bad)} ${bad.length === 1 ? 'uses' : 'use'} probe or lifecycle ${plural('host', all)} ${quoted(all)}`;
    },
  },
  {
    reason: 'seLinuxOptions',
    find: (spec) => {
      const set = (value: Json | undefined): boolean => value !== undefined && value !== '' && value !== null;
      const bad = (owner: JsonObject): boolean =>
        !seLinuxTypes.includes(String(context(owner, 'seLinuxOptions', 'type') ?? '')) ||
        set(context(owner, 'seLinuxOptions', 'user')) ||
        set(context(owner, 'seLinuxOptions', 'role'));
      const containers = offenders(spec, bad);
      const who = [...(bad(spec) ? ['pod'] : []), ...(containers.length > 0 ? [named(containers)] : [])];
      return who.length === 0 ? undefined : `${who.join(' and ')} set forbidden securityContext.seLinuxOptions`;
    },
  },
  {
    reason: 'procMount',
    find: (spec) => {
      const bad = offenders(
        spec,
        (one) => !['Default', undefined, null, ''].includes(context(one, 'procMount') as never),
      );
      if (bad.length === 0 || spec.hostUsers === false) return undefined;
      return `${named(bad)} must not set securityContext.procMount to ${quoted([...new Set(bad.map((one) => String(context(one, 'procMount'))))])}`;
    },
  },
  {
    reason: 'forbidden AppArmor profile',
    find: (spec) =>
      podAndContainers(
        spec,
        ['appArmorProfile', 'type'],
        (value) => value === 'RuntimeDefault' || value === 'Localhost',
        (values) => `must not set AppArmor profile type to ${values}`,
      ),
  },
  {
    reason: 'seccompProfile',
    find: (spec) =>
      podAndContainers(
        spec,
        ['seccompProfile', 'type'],
        (value) => value === 'RuntimeDefault' || value === 'Localhost',
        (values) => `must not set securityContext.seccompProfile.type to ${values}`,
      ),
  },
  {
    reason: 'forbidden sysctls',
    find: (spec) => {
      const bad = objects(context(spec, 'sysctls'))
        .map((one) => String(one.name))
        .filter((name) => !safeSysctls.has(name));
      return bad.length === 0 ? undefined : bad.join(', ');
    },
  },
];

const restricted: readonly Check[] = [
  {
    reason: 'restricted volume types',
    find: (spec) => {
      const type = (volume: JsonObject): string => Object.keys(volume).find((key) => key !== 'name') ?? 'emptyDir';
      const bad = objects(spec.volumes).filter((volume) => !restrictedVolumes.has(type(volume)));
      if (bad.length === 0) return undefined;
      const names = quoted(bad.map((one) => String(one.name)));
      const types = [...new Set(bad.map(type))].sort();
      return `${plural('volume', bad)} ${names} ${bad.length === 1 ? 'uses' : 'use'} restricted volume ${plural('type', types)} ${quoted(types)}`;
    },
  },
  {
    reason: 'allowPrivilegeEscalation != false',
    find: (spec) => {
      if (isWindows(spec)) return undefined;
      const bad = offenders(spec, (one) => context(one, 'allowPrivilegeEscalation') !== false);
      return bad.length === 0 ? undefined : `${named(bad)} must set securityContext.allowPrivilegeEscalation=false`;
    },
  },
  {
    reason: 'unrestricted capabilities',
    find: (spec) => {
      if (isWindows(spec)) return undefined;
      const keeps = offenders(spec, (one) => {
        const list = context(one, 'capabilities', 'drop');
        return !(Array.isArray(list) && list.includes('ALL'));
      });
      const wrong = (one: JsonObject): string[] => addedCapabilities(one).filter((name) => name !== 'NET_BIND_SERVICE');
      const adds = offenders(spec, (one) => wrong(one).length > 0);
      const out: string[] = [];
      if (keeps.length > 0) out.push(`${named(keeps)} must set securityContext.capabilities.drop=["ALL"]`);
      if (adds.length > 0)
        out.push(
          `${named(adds)} must not include ${quoted([...new Set(adds.flatMap(wrong))].sort())} in securityContext.capabilities.add`,
        );
      return out.length === 0 ? undefined : out.join('; ');
    },
  },
  {
    reason: 'runAsNonRoot != true',
    find: (spec) => {
      if (spec.hostUsers === false) return undefined;
      const explicit = offenders(spec, (one) => context(one, 'runAsNonRoot') === false);
      const silent = offenders(spec, (one) => context(one, 'runAsNonRoot') === undefined);
      const whole = context(spec, 'runAsNonRoot');
      const out: string[] = [];
      if (whole === false) out.push('pod must not set securityContext.runAsNonRoot=false');
      if (explicit.length > 0) out.push(`${named(explicit)} must not set securityContext.runAsNonRoot=false`);
      if (out.length === 0 && silent.length > 0 && whole !== true)
        out.push(`pod or ${named(silent)} must set securityContext.runAsNonRoot=true`);
      return out.length === 0 ? undefined : out.join(', ');
    },
  },
  {
    reason: 'runAsUser=0',
    find: (spec) => {
      if (spec.hostUsers === false) return undefined;
      const bad = offenders(spec, (one) => context(one, 'runAsUser') === 0);
      const who = [...(context(spec, 'runAsUser') === 0 ? ['pod'] : []), ...(bad.length > 0 ? [named(bad)] : [])];
      return who.length === 0 ? undefined : `${who.join(' and ')} must not set runAsUser=0`;
    },
  },
  {
    reason: 'seccompProfile',
    find: (spec) => {
      if (isWindows(spec)) return undefined;
      if (context(spec, 'seccompProfile', 'type') !== undefined) return undefined;
      const silent = offenders(spec, (one) => context(one, 'seccompProfile', 'type') === undefined);
      if (silent.length === 0) return undefined;
      return `pod or ${named(silent)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"`;
    },
  },
];

/** What keeps a pod's spec from a level: `privileged (container "c" must not set securityContext.privileged=true)`. */
export function violations(spec: JsonObject, level: Level): string[] {
  if (level === 'privileged') return [];
  const checks = level === 'baseline' ? baseline : [...baseline, ...restricted];
  const out: string[] = [];
  for (const check of checks) {
    const detail = check.find(spec);
    if (detail !== undefined) out.push(`${check.reason} (${detail})`);
  }
  return out;
}
