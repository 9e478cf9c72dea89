import type { Random } from '../../base/random.ts';
import type { KindTable } from '../api/kinds.ts';
import { getPath, isObject, type Json, type JsonObject } from '../machinery/json.ts';
import type { Registry } from './registry.ts';
import { selectAll } from './selection.ts';

const objects = (value: Json | undefined): JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : []);

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

interface Sources {
  readonly kinds: KindTable;
  readonly registry: Registry;
  readonly random: Random;
}

/** A ready endpoint behind the port `portName` of a Service; undefined when there is none. */
export async function readyEndpoint(
  { kinds, registry, random }: Sources,
  namespace: string,
  name: string,
  portName: string,
): Promise<Endpoint | undefined> {
  const slices = kinds.byResource('discovery.k8s.io', 'v1', 'endpointslices');
  const found: Endpoint[] = [];
  if (slices !== undefined) {
    const { records } = await registry.list({
      kind: slices,
      namespace,
      selection: selectAll,
      limit: 0,
      revision: 0,
      start: '',
    });
    for (const { record } of records) {
      if (record.header.l?.['kubernetes.io/service-name'] !== name) continue;
      const slice = registry.objectOf(slices, record);
      const port = objects(slice.ports).find((one) => (one.name ?? '') === portName)?.port;
      if (typeof port !== 'number') continue;
      for (const endpoint of objects(slice.endpoints))
        if (getPath(endpoint, 'conditions', 'ready') !== false && Array.isArray(endpoint.addresses))
          found.push({ host: String(endpoint.addresses[0]), port });
    }
  }
  return found[Math.floor(random.float() * found.length)];
}

/** Where a Service is reached from here, without the node's own service proxy; or why it is not. */
export async function chooseEndpoint(
  sources: Sources,
  namespace: string,
  name: string,
  port: number,
): Promise<Endpoint | 'ServiceNotFound' | 'ServicePortError' | 'MissingEndpoints'> {
  const services = sources.kinds.byResource('', 'v1', 'services');
  const service = services && (await sources.registry.getObject(services, namespace, name));
  if (service === undefined) return 'ServiceNotFound';
  const external = getPath(service, 'spec', 'externalName');
  if (getPath(service, 'spec', 'type') === 'ExternalName') return { host: String(external), port };
  const chosen = objects(getPath(service, 'spec', 'ports')).find((one) => one.port === port);
  if (chosen === undefined) return 'ServicePortError';
  const portName = typeof chosen.name === 'string' ? chosen.name : '';
  return (await readyEndpoint(sources, namespace, name, portName)) ?? 'MissingEndpoints';
}
