import { AppError } from '../../../base/errors.ts';
import type { ConfigMap, EnvVar, Secret, Service } from '../../api/types.ts';
import { type Container, type Pod, podNamespace } from '../pod-types.ts';
import { expand } from './expansion.ts';
import { type PodPlace, podField, resourceField } from './fields.ts';

/** An object that a container's environment reads. */
export interface EnvReference {
  readonly kind: 'ConfigMap' | 'Secret';
  readonly name: string;
}

/** ConfigMaps and Secrets of the pod's namespace by name; a name that is missing does not exist. */
export interface EnvObjects {
  readonly configMaps: ReadonlyMap<string, ConfigMap>;
  readonly secrets: ReadonlyMap<string, Secret>;
}

/** Everything that must be fetched before `buildEnv` can answer. */
export function envReferences(container: Container): EnvReference[] {
  const out: EnvReference[] = [];
  for (const from of container.envFrom ?? []) {
    if (from.configMapRef?.name) out.push({ kind: 'ConfigMap', name: from.configMapRef.name });
    if (from.secretRef?.name) out.push({ kind: 'Secret', name: from.secretRef.name });
  }
  for (const { valueFrom } of container.env ?? []) {
    if (valueFrom?.configMapKeyRef?.name) out.push({ kind: 'ConfigMap', name: valueFrom.configMapKeyRef.name });
    if (valueFrom?.secretKeyRef?.name) out.push({ kind: 'Secret', name: valueFrom.secretKeyRef.name });
  }
  return out;
}

function decode(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8');
}

const envName = /^[^=\0]+$/;

/**
 * Docker-style variables of the services that exist when the container starts: those of the pod's namespace, and `kubernetes` of
 * namespace default always (kubernetes/pkg/kubelet/envvars).
 */
export function serviceEnv(services: readonly Service[], namespace: string, links: boolean): Record<string, string> {
  const out: Record<string, string> = {};
  for (const service of services) {
    const master = service.metadata.namespace === 'default' && service.metadata.name === 'kubernetes';
    if (!master && (!links || service.metadata.namespace !== namespace)) continue;
    const ip = service.spec?.clusterIP;
    const ports = service.spec?.ports ?? [];
    if (!ip || ip === 'None' || ports.length === 0) continue;
    const name = service.metadata.name!.toUpperCase().replaceAll('-', '_');
    const host = ip.includes(':') ? `[${ip}]` : ip;
    out[`${name}_SERVICE_HOST`] = ip;
    out[`${name}_SERVICE_PORT`] = String(ports[0]!.port);
    for (const port of ports)
      if (port.name) out[`${name}_SERVICE_PORT_${port.name.toUpperCase().replaceAll('-', '_')}`] = String(port.port);
    ports.forEach((port, i) => {
      const protocol = (port.protocol ?? 'TCP').toLowerCase();
      const url = `${protocol}://${host}:${port.port}`;
      if (i === 0) out[`${name}_PORT`] = url;
      const prefix = `${name}_PORT_${port.port}_${protocol.toUpperCase()}`;
      out[prefix] = url;
      out[`${prefix}_PROTO`] = protocol;
      out[`${prefix}_PORT`] = String(port.port);
      out[`${prefix}_ADDR`] = ip;
    });
  }
  return out;
}

function fromKey(env: EnvVar, pod: Pod, objects: EnvObjects): string | undefined {
  const map = env.valueFrom?.configMapKeyRef;
  if (map) {
    const object = objects.configMaps.get(map.name ?? '');
    if (!object) {
      if (map.optional) return undefined;
      throw new AppError('CONFIG', `configmap "${map.name ?? ''}" not found`);
    }
    const value = object.data?.[map.key];
    if (value === undefined && !map.optional)
      throw new AppError('CONFIG', `couldn't find key ${map.key} in ConfigMap ${podNamespace(pod)}/${map.name ?? ''}`);
    return value;
  }
  const secret = env.valueFrom?.secretKeyRef;
  if (!secret) return undefined;
  const object = objects.secrets.get(secret.name ?? '');
  if (!object) {
    if (secret.optional) return undefined;
    throw new AppError('CONFIG', `secret "${secret.name ?? ''}" not found`);
  }
  const value = object.data?.[secret.key];
  if (value === undefined && !secret.optional)
    throw new AppError('CONFIG', `couldn't find key ${secret.key} in Secret ${podNamespace(pod)}/${secret.name ?? ''}`);
  return value === undefined ? undefined : decode(value);
}

/**
 * The container's environment: services, then `envFrom`, then `env` in order; later ones win and may use earlier ones as `$(NAME)`.
 * A missing object or key that is not optional throws; the container then waits with CreateContainerConfigError.
 */
export function buildEnv(
  pod: Pod,
  container: Container,
  place: PodPlace,
  objects: EnvObjects,
  services: readonly Service[],
): Map<string, string> {
  const env = new Map<string, string>();
  for (const from of container.envFrom ?? []) {
    const kind = from.configMapRef ? 'configmap' : 'secret';
    const ref = from.configMapRef ?? from.secretRef;
    if (!ref) continue;
    const object = from.configMapRef ? objects.configMaps.get(ref.name ?? '') : objects.secrets.get(ref.name ?? '');
    if (!object) {
      if (ref.optional) continue;
      throw new AppError('CONFIG', `${kind} "${ref.name ?? ''}" not found`);
    }
    for (const [key, value] of Object.entries(object.data ?? {})) {
      const name = `${from.prefix ?? ''}${key}`;
      if (envName.test(name)) env.set(name, kind === 'secret' ? decode(value) : value);
    }
  }
  const linked = serviceEnv(services, podNamespace(pod), pod.spec.enableServiceLinks ?? true);
  const lookup = (name: string): string | undefined => env.get(name) ?? linked[name];
  for (const variable of container.env ?? []) {
    const { valueFrom } = variable;
    let value: string | undefined;
    if (valueFrom?.fieldRef) value = podField(pod, place, valueFrom.fieldRef.fieldPath);
    else if (valueFrom?.resourceFieldRef) value = resourceField(pod, container, place, valueFrom.resourceFieldRef);
    else if (valueFrom?.fileKeyRef) throw new AppError('CONFIG', `env ${variable.name}: fileKeyRef is not supported`);
    else if (valueFrom) value = fromKey(variable, pod, objects);
    else value = expand(variable.value ?? '', lookup);
    if (value !== undefined) env.set(variable.name, value);
  }
  for (const [name, value] of Object.entries(linked)) if (!env.has(name)) env.set(name, value);
  return env;
}
