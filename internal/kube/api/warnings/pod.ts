import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import { tryQuantity } from '../../machinery/quantity.ts';
import { dns1123LabelErrors } from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';

/** What is told about pods and pod templates that are accepted (pkg/api/pod/warnings.go), in upstream's words. */

/** Why a label of nodes should no longer be used (pkg/api/node/util.go). */
const nodeLabels: Readonly<Record<string, string>> = {
  'beta.kubernetes.io/arch': 'deprecated since v1.14; use "kubernetes.io/arch" instead',
  'beta.kubernetes.io/os': 'deprecated since v1.14; use "kubernetes.io/os" instead',
  'failure-domain.beta.kubernetes.io/region': 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
  'failure-domain.beta.kubernetes.io/zone': 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
  'beta.kubernetes.io/instance-type': 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
};
const annotations: Readonly<Record<string, string>> = {
  'scheduler.alpha.kubernetes.io/critical-pod': 'non-functional in v1.16+; use the "priorityClassName" field instead',
  'security.alpha.kubernetes.io/sysctls': 'non-functional in v1.11+; use the "sysctls" field instead',
  'security.alpha.kubernetes.io/unsafe-sysctls': 'non-functional in v1.11+; use the "sysctls" field instead',
};
const volumes: Readonly<Record<string, string>> = {
  photonPersistentDisk: 'deprecated in v1.11, non-functional in v1.16+',
  gitRepo: 'deprecated in v1.11',
  scaleIO: 'deprecated in v1.16, non-functional in v1.22+',
  flocker: 'deprecated in v1.22, non-functional in v1.25+',
  storageos: 'deprecated in v1.22, non-functional in v1.25+',
  quobyte: 'deprecated in v1.22, non-functional in v1.25+',
  glusterfs: 'deprecated in v1.25, non-functional in v1.26+',
  cephfs: 'deprecated in v1.28, non-functional in v1.31+',
  rbd: 'deprecated in v1.28, non-functional in v1.31+',
};
const seccompPod = 'seccomp.security.alpha.kubernetes.io/pod';
const seccompContainer = 'container.seccomp.security.alpha.kubernetes.io/';
const appArmorContainer = 'container.apparmor.security.beta.kubernetes.io/';
const byField = (field: string): string => `non-functional in v1.27+; use the "${field}" field instead`;

function part(object: JsonObject, ...path: string[]): JsonObject {
  let at: Json | undefined = object;
  for (const key of path) at = isObject(at) ? at[key] : undefined;
  return isObject(at) ? at : {};
}

/** A value that a map has of its own. */
const own = (map: Readonly<Record<string, string>>, key: string): string | undefined =>
  Object.hasOwn(map, key) ? map[key] : undefined;

/** Why that label of nodes should no longer be used; undefined for all others. */
export const oldNodeLabel = (label: string): string | undefined => own(nodeLabels, label);

/** `path` of a template, '' for a pod: its spec stands at `<path>.spec`. */
export function podWarnings(template: JsonObject, path: string): string[] {
  const spec = part(template, 'spec');
  const noted = part(template, 'metadata', 'annotations');
  const at = path === '' ? 'spec' : `${path}.spec`;
  const noteAt = (key: string): string => `${path === '' ? '' : `${path}.`}metadata.annotations[${key}]`;
  const out: string[] = [...placeWarnings(spec, at)];
  for (const [key, why] of Object.entries(annotations))
    if (noted[key] !== undefined) out.push(`${noteAt(key)}: ${why}`);
  for (const [index, volume] of objects(spec.volumes).entries())
    for (const [kind, why] of Object.entries(volumes))
      if (volume[kind] !== undefined) out.push(`${at}.volumes[${index}].${kind}: ${why}`);
  out.push(
    ...twice(spec.hostAliases, 'ip', `${at}.hostAliases`),
    ...twice(spec.imagePullSecrets, 'name', `${at}.imagePullSecrets`),
  );
  for (const [index, secret] of objects(spec.imagePullSecrets).entries())
    if (!secret.name) out.push(`${at}.imagePullSecrets[${index}].name: invalid empty name ""`);
  out.push(...fractional(part(spec, 'overhead'), `${at}.overhead`));
  if (part(spec, 'securityContext').seccompProfile === undefined && noted[seccompPod] !== undefined)
    out.push(`${noteAt(seccompPod)}: ${byField('seccompProfile')}`);
  const containers = ['initContainers', 'containers', 'ephemeralContainers'].flatMap((list) =>
    objects(spec[list]).map((container, index) => ({ container, where: `${at}.${list}[${index}]` })),
  );
  for (const { container, where } of containers) {
    const context = part(container, 'securityContext');
    const seccomp = `${seccompContainer}${String(container.name)}`;
    if (context.seccompProfile === undefined && noted[seccomp] !== undefined)
      out.push(`${noteAt(seccomp)}: ${byField('seccompProfile')}`);
    const armor = `${appArmorContainer}${String(container.name)}`;
    const armed = part(spec, 'securityContext').appArmorProfile ?? context.appArmorProfile;
    if (path !== '' && armed === undefined && noted[armor] !== undefined)
      out.push(`${noteAt(armor)}: deprecated since v1.30; use the "appArmorProfile" field instead`);
    for (const list of ['limits', 'requests'])
      out.push(...fractional(part(container, 'resources', list), `${where}.resources.${list}`));
    out.push(...hiddenVariables(container.env, `${where}.env`));
  }
  out.push(...portWarnings(containers));
  const grace = spec.terminationGracePeriodSeconds;
  if (typeof grace === 'number' && grace < 0)
    out.push(`${at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1`);
  return out;
}

/** A pod of its own: its name is its host name, too. */
export function ownPodWarnings(pod: JsonObject): string[] {
  return [
    ...nameWarnings(pod, "this is used in the Pod's hostname, which can result in surprising behavior"),
    ...podWarnings(pod, ''),
  ];
}

/** A name that becomes part of other names and is no DNS label. */
export function nameWarnings(object: JsonObject, why: string): string[] {
  const wrong = dns1123LabelErrors(String(part(object, 'metadata').name ?? ''));
  return wrong.length === 0 ? [] : [`metadata.name: ${why}; a DNS label is recommended: [${wrong.join(' ')}]`];
}

function placeWarnings(spec: JsonObject, at: string): string[] {
  const out: string[] = [];
  for (const key in part(spec, 'nodeSelector')) {
    const why = oldNodeLabel(key);
    if (why !== undefined) out.push(`${at}.nodeSelector[${key}]: ${why}`);
  }
  const term = (one: JsonObject, where: string): void => {
    for (const [index, { key }] of objects(one.matchExpressions).entries()) {
      const why = oldNodeLabel(String(key));
      if (why !== undefined) out.push(`${where}.matchExpressions[${index}].key: ${String(key)} is ${why}`);
    }
  };
  const [hard, soft] = [
    'requiredDuringSchedulingIgnoredDuringExecution',
    'preferredDuringSchedulingIgnoredDuringExecution',
  ] as const;
  const nodes = part(spec, 'affinity', 'nodeAffinity');
  for (const [index, one] of objects(part(nodes, hard).nodeSelectorTerms).entries())
    term(one, `${at}.affinity.nodeAffinity.${hard}.nodeSelectorTerms[${index}]`);
  for (const [index, one] of objects(nodes[soft]).entries())
    term(part(one, 'preference'), `${at}.affinity.nodeAffinity.${soft}[${index}].preference`);
  const nothing = 'a null labelSelector results in matching no pod';
  for (const [index, one] of objects(spec.topologySpreadConstraints).entries()) {
    const where = `${at}.topologySpreadConstraints[${index}]`;
    const why = oldNodeLabel(String(one.topologyKey));
    if (why !== undefined) out.push(`${where}.topologyKey: ${String(one.topologyKey)} is ${why}`);
    if (one.labelSelector === undefined) out.push(`${where}.labelSelector: ${nothing}`);
  }
  for (const name of ['podAffinity', 'podAntiAffinity']) {
    const own = part(spec, 'affinity', name);
    for (const [index, one] of objects(own[hard]).entries())
      if (one.labelSelector === undefined)
        out.push(`${at}.affinity.${name}.${hard}[${index}].labelSelector: ${nothing}`);
    for (const [index, one] of objects(own[soft]).entries())
      if (part(one, 'podAffinityTerm').labelSelector === undefined)
        out.push(`${at}.affinity.${name}.${soft}[${index}].podAffinityTerm.labelSelector: ${nothing}`);
  }
  return out;
}

function twice(list: Json | undefined, field: string, at: string): string[] {
  const seen = new Set<unknown>();
  return objects(list).flatMap((one, index) => {
    if (seen.has(one[field]))
      return [`${at}[${index}].${field}: duplicate ${field} ${JSON.stringify(one[field] ?? '')}`];
    seen.add(one[field]);
    return [];
  });
}

function fractional(amounts: JsonObject, at: string): string[] {
  return ['memory', 'ephemeral-storage'].flatMap((name) => {
    const quantity = tryQuantity(amounts[name]);
    // Thousandths: what is smaller is rounded up by upstream, too.
    if (quantity === undefined || quantity.nano % 1_000_000_000n === 0n) return [];
    return [
      `${at}[${name}]: fractional byte value ${JSON.stringify(String(amounts[name]))} is invalid, must be an integer`,
    ];
  });
}

/** A variable that is there already, unless its new value speaks of the old one. */
function hiddenVariables(env: Json | undefined, at: string): string[] {
  const seen = new Set<unknown>();
  return objects(env).flatMap(({ name, value, valueFrom }, index) => {
    if (!seen.has(name)) {
      seen.add(name);
      return [];
    }
    const reference = `$(${String(name)})`;
    const text = typeof value === 'string' ? value : '';
    if (valueFrom === undefined && text !== reference && text.includes(reference)) return [];
    return [
      `${at}[${index}]: hides previous definition of ${JSON.stringify(name)}, which may be dropped when using apply`,
    ];
  });
}

function portWarnings(containers: readonly { readonly container: JsonObject; readonly where: string }[]): string[] {
  const out: string[] = [];
  const known = new Map<string, { field: string; hostIP: string; hostPort: number }[]>();
  for (const { container, where } of containers)
    for (const [index, port] of objects(container.ports).entries()) {
      const field = `${where}.ports[${index}]`;
      const one = { field, hostIP: String(port.hostIP ?? ''), hostPort: Number(port.hostPort ?? 0) };
      const key = `${String(port.containerPort)}/${String(port.protocol ?? 'TCP')}`;
      const others = known.get(key) ?? [];
      for (const other of others) {
        const [empty, otherEmpty] = [one.hostIP === '', other.hostIP === ''];
        if (one.hostIP === other.hostIP && one.hostPort === other.hostPort)
          out.push(`${field}: duplicate port definition with ${other.field}`);
        else if (one.hostPort === 0 || other.hostPort === 0)
          out.push(`${field}: overlapping port definition with ${other.field}`);
        else if (one.hostPort === other.hostPort && empty !== otherEmpty)
          out.push(`${field}: dangerously ambiguous port definition with ${other.field}`);
      }
      known.set(key, [...others, one]);
    }
  return out;
}
