/** Where the streaming subresources of pods go: the kubelet of the pod's node, with the kubelet's own paths and parameters. */
import { getPath, isObject, type JsonObject } from '../machinery/json.ts';
import { badRequest, failure, internalError, notFound } from '../machinery/status.ts';
import { admissionRequest, groupResource, type RequestContext } from './context.ts';
import { isTrue } from './request-info.ts';

/** A request to a kubelet. */
export interface KubeletTarget {
  readonly node: string;
  readonly host: string;
  readonly port: number;
  /** Path and query. */
  readonly path: string;
}

/** What `log` answers when the pod runs nowhere yet. */
export const emptyLog = Symbol('empty log');

const kubeletPort = 10250;
const addressTypes = ['InternalIP', 'ExternalIP', 'Hostname', 'InternalDNS', 'ExternalDNS'];

export async function kubeletOf(context: RequestContext, nodeName: string, path: string): Promise<KubeletTarget> {
  const { core } = context;
  const kind = core.kinds.byResource('', 'v1', 'nodes');
  const node = kind === undefined ? undefined : await core.registry.getObject(kind, '', nodeName);
  if (node === undefined) throw notFound({ group: '', resource: 'nodes' }, nodeName);
  const list = getPath(node, 'status', 'addresses');
  const addresses = Array.isArray(list) ? list.filter(isObject) : [];
  let host: string | undefined;
  for (const type of addressTypes) {
    const found = addresses.find((one) => one.type === type);
    if (typeof found?.address === 'string') {
      host = found.address;
      break;
    }
  }
  if (host === undefined)
    throw internalError(`no preferred addresses found for node ${JSON.stringify(nodeName)}; known addresses: []`);
  const port = getPath(node, 'status', 'daemonEndpoints', 'kubeletEndpoint', 'Port');
  return { node: nodeName, host, port: typeof port === 'number' && port > 0 ? port : kubeletPort, path };
}

function containersOf(pod: JsonObject, list: string): string[] {
  const containers = getPath(pod, 'spec', list);
  return Array.isArray(containers) ? containers.map((one) => String(getPath(one, 'name'))) : [];
}

/** The container that a request is for; the only one when it names none. Throws 400 with upstream's texts. */
function chooseContainer(pod: JsonObject, asked: string): string {
  const name = String(getPath(pod, 'metadata', 'name'));
  const main = containersOf(pod, 'containers');
  const init = containersOf(pod, 'initContainers');
  const ephemeral = containersOf(pod, 'ephemeralContainers');
  if (asked === '') {
    if (main.length === 1) return main[0]!;
    let text = `a container name must be specified for pod ${name}, choose one of: [${main.join(' ')}]`;
    if (init.length > 0) text += ` or one of the init containers: [${init.join(' ')}]`;
    throw badRequest(text);
  }
  if (![...main, ...init, ...ephemeral].includes(asked))
    throw badRequest(`container ${asked} is not valid for pod ${name}`);
  return asked;
}

/** Admission sees connections, too. */
export async function admitConnect(context: RequestContext): Promise<void> {
  const { core, info } = context;
  const request = admissionRequest(context, 'CONNECT', {
    name: info.name,
    object: undefined,
    old: undefined,
    dryRun: false,
  });
  await core.admission.admit(request);
  await core.admission.validate(request);
}

const encode = encodeURIComponent;
const logParameters = [
  'follow',
  'previous',
  'sinceSeconds',
  'sinceTime',
  'timestamps',
  'tailLines',
  'limitBytes',
  'stream',
];

function logQuery(query: URLSearchParams): string {
  const out = new URLSearchParams();
  for (const name of logParameters) {
    const value = query.get(name);
    if (value === null || value === '') continue;
    if ((name === 'tailLines' || name === 'limitBytes' || name === 'sinceSeconds') && !/^\d{1,15}$/.test(value))
      throw failure(
        422,
        'Invalid',
        `PodLogOptions "" is invalid: ${name}: Invalid value: ${JSON.stringify(value)}: must be a whole number`,
      );
    out.set(name, value);
  }
  const text = out.toString();
  return text === '' ? '' : `?${text}`;
}

function streamQuery(query: URLSearchParams): string {
  const out = new URLSearchParams();
  const names: [api: string, kubelet: string][] = [
    ['stdin', 'input'],
    ['stdout', 'output'],
    ['stderr', 'error'],
    ['tty', 'tty'],
  ];
  for (const [api, kubelet] of names) if (isTrue(query.get(api))) out.set(kubelet, '1');
  for (const command of query.getAll('command')) out.append('command', command);
  if (!out.has('input') && !out.has('output') && !out.has('error'))
    throw badRequest('you must specify at least 1 of stdin, stdout, stderr');
  return `?${out.toString()}`;
}

/**
 * The kubelet request for `log`, `exec`, `attach` or `portforward` of a pod. Admission has seen it as CONNECT. Throws StatusError; `emptyLog` for the
 * log of a pod without a node.
 */
export async function connectTarget(context: RequestContext): Promise<KubeletTarget | typeof emptyLog> {
  const { core, kind, info, query } = context;
  if (kind.group !== '' || kind.plural !== 'pods') throw notFound(groupResource(kind), info.subresource);
  const pod = await core.registry.getObject(kind, info.namespace, info.name);
  if (pod === undefined) throw notFound(groupResource(kind), info.name);
  if (info.subresource !== 'log') await admitConnect(context);
  const nodeName = getPath(pod, 'spec', 'nodeName');
  const where = `${encode(info.namespace)}/${encode(info.name)}`;
  if (info.subresource === 'log') {
    const container = chooseContainer(pod, query.get('container') ?? '');
    const parameters = logQuery(query);
    if (typeof nodeName !== 'string' || nodeName === '') return emptyLog;
    return kubeletOf(context, nodeName, `/containerLogs/${where}/${encode(container)}${parameters}`);
  }
  if (typeof nodeName !== 'string' || nodeName === '')
    throw badRequest(`pod ${info.name} does not have a host assigned`);
  const phase = getPath(pod, 'status', 'phase');
  switch (info.subresource) {
    case 'exec':
    case 'attach': {
      if (info.subresource === 'exec' && (phase === 'Succeeded' || phase === 'Failed'))
        throw badRequest(`cannot exec into a container in a completed pod; current phase is ${phase}`);
      const container = chooseContainer(pod, query.get('container') ?? '');
      if (info.subresource === 'exec' && query.getAll('command').length === 0)
        throw badRequest('you must specify at least one command for the container');
      return kubeletOf(context, nodeName, `/${info.subresource}/${where}/${encode(container)}${streamQuery(query)}`);
    }
    case 'portforward': {
      const ports = query.getAll('ports').flatMap((text) => text.split(','));
      const parameters = new URLSearchParams(
        ports.filter((port) => /^\d{1,5}$/.test(port)).map((port): [string, string] => ['port', port]),
      );
      const text = parameters.toString();
      return kubeletOf(context, nodeName, `/portForward/${where}${text === '' ? '' : `?${text}`}`);
    }
  }
  throw notFound(groupResource(kind), info.subresource);
}
