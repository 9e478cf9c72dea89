/** Where the proxy subresources of pods, services and nodes go (docs: tasks/access-application-cluster/access-cluster-services). */
import { getPath, isObject, type Json, type JsonObject } from '../machinery/json.ts';
import { badRequest, notFound, serviceUnavailable } from '../machinery/status.ts';
import { admitConnect, kubeletOf, type KubeletTarget } from './connect.ts';
import { groupResource, type RequestContext } from './context.ts';
import type { ProxyTarget } from './proxy-client.ts';
import { readyEndpoint } from './service-endpoint.ts';

const objects = (value: Json | undefined): JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : []);

/** `[scheme:]name[:port]` of the path. Throws 400. */
export function splitName(text: string): { scheme: 'http' | 'https'; name: string; port: string } {
  const parts = text.split(':');
  const bad = (): Error => badRequest(`invalid pod, service or node request ${JSON.stringify(text)}`);
  if (parts.length === 1) return { scheme: 'http', name: text, port: '' };
  if (parts.length === 2) return { scheme: 'http', name: parts[0]!, port: parts[1]! };
  const [scheme, name = '', port = ''] = parts;
  if (parts.length !== 3 || (scheme !== 'http' && scheme !== 'https' && scheme !== '') || name === '') throw bad();
  return { scheme: scheme === 'https' ? 'https' : 'http', name, port };
}

function pathOf(context: RequestContext): string {
  const query = context.query.toString();
  return `/${context.info.rest}${query === '' ? '' : `?${query}`}`;
}

const forwardedFor = (context: RequestContext): [string, string][] => [
  ['x-forwarded-uri', context.info.path],
  ['x-forwarded-proto', 'https'],
];

/** The target of a proxy request. Throws StatusErrors. */
export async function proxyTarget(context: RequestContext): Promise<ProxyTarget | KubeletTarget> {
  const { kind, info } = context;
  await admitConnect(context);
  if (kind.group === '' && kind.plural === 'nodes')
    return kubeletOf(context, splitName(info.name).name, pathOf(context));
  if (kind.group === '' && kind.plural === 'pods') return podTarget(context);
  if (kind.group === '' && kind.plural === 'services') return serviceTarget(context);
  throw notFound(groupResource(kind), info.subresource);
}

async function podTarget(context: RequestContext): Promise<ProxyTarget> {
  const { core, kind, info } = context;
  const { scheme, name, port } = splitName(info.name);
  const pod = await core.registry.getObject(kind, info.namespace, name);
  if (pod === undefined) throw notFound(groupResource(kind), name);
  const ip = getPath(pod, 'status', 'podIP');
  if (typeof ip !== 'string' || ip === '') throw badRequest(`address not allowed: pod ${name} has no IP`);
  const containers = objects(getPath(pod, 'spec', 'containers'));
  const ports = containers.flatMap((one) => objects(one.ports));
  const declared = port === '' ? ports[0]?.containerPort : ports.find((one) => one.name === port)?.containerPort;
  const number = /^\d{1,5}$/.test(port) ? Number(port) : Number(declared ?? (port === '' ? 80 : Number.NaN));
  if (!Number.isInteger(number) || number < 1 || number > 65535)
    throw badRequest(`pod ${name} has no port ${JSON.stringify(port)}`);
  return { scheme, host: ip, port: number, path: pathOf(context), name: ip, headers: forwardedFor(context) };
}

async function serviceTarget(context: RequestContext): Promise<ProxyTarget> {
  const { core, kind, info } = context;
  const { scheme, name, port } = splitName(info.name);
  const service = await core.registry.getObject(kind, info.namespace, name);
  if (service === undefined) throw notFound(groupResource(kind), name);
  const ports = objects(getPath(service, 'spec', 'ports'));
  const chosen =
    port === ''
      ? ports.length === 1
        ? ports[0]
        : ports.find((one) => one.name === undefined || one.name === '')
      : ports.find((one) => one.name === port || String(one.port) === port);
  if (chosen === undefined)
    throw serviceUnavailable(`no service port ${JSON.stringify(port)} found for service ${JSON.stringify(name)}`);
  const endpoint = await readyEndpoint(core, info.namespace, name, typeof chosen.name === 'string' ? chosen.name : '');
  if (endpoint === undefined) throw serviceUnavailable(`no endpoints available for service ${JSON.stringify(name)}`);
  return { scheme, ...endpoint, path: pathOf(context), name: endpoint.host, headers: forwardedFor(context) };
}
