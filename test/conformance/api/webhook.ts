/** The webhook of the conformance tests: an HTTPS listener behind a Service, with a path for each behaviour, and its configurations. */
import { createServer, type Server } from 'node:https';
import { type Any, type Cluster, eventually, Refusal, unique } from './harness.ts';

type Behaviour = (request: Any) => Any | Promise<Any>;

const refuse = (message: string): Any => ({ allowed: false, status: { message } });
const allow = { allowed: true };
/** A JSON patch of `operations`, or none. */
export const patchOf = (...operations: Any[]): Any =>
  operations.length === 0
    ? allow
    : { allowed: true, patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(operations)).toString('base64') };

/** Data of a ConfigMap or of a custom resource, in two stages: the second sees what the first added. */
const mutateData: Behaviour = ({ object }) => {
  const data = object.data ?? {};
  const operations: Any[] = [];
  if (data['mutation-start'] === 'yes') operations.push({ op: 'add', path: '/data/mutation-stage-1', value: 'yes' });
  if (data['mutation-stage-1'] === 'yes') operations.push({ op: 'add', path: '/data/mutation-stage-2', value: 'yes' });
  return patchOf(...operations);
};

const refuseData =
  (message: string): Behaviour =>
  ({ object, oldObject, operation }) => {
    const data = (operation === 'DELETE' ? oldObject : object)?.data ?? {};
    return data['webhook-e2e-test'] === 'webhook-disallow' ? refuse(message) : allow;
  };

const behaviours: Record<string, Behaviour> = {
  '/always-deny': () => refuse('this webhook denies all requests'),
  '/always-allow-delay-5s': async () => {
    await Bun.sleep(5000);
    return allow;
  },
  '/pods': ({ object }) => {
    const reasons: string[] = [];
    const label = object.metadata.labels?.['webhook-e2e-test'];
    if (label === 'wait-forever') return new Promise(() => undefined);
    if (label === 'webhook-disallow') reasons.push('the pod contains unwanted label');
    if (object.spec.containers.some((container: Any) => container.name.includes('webhook-disallow')))
      reasons.push('the pod contains unwanted container name');
    return reasons.length === 0 ? allow : refuse(`${reasons.join('; ')}; `);
  },
  '/mutating-pods': ({ object }) =>
    object.spec.initContainers === undefined
      ? patchOf({
          op: 'add',
          path: '/spec/initContainers',
          value: [{ name: 'webhook-added-init-container', image: 'webhook-added-image', resources: {} }],
        })
      : allow,
  '/configmaps': refuseData('the configmap contains unwanted key and value'),
  '/mutating-configmaps': mutateData,
  '/custom-resource': refuseData('the custom resource contains unwanted data'),
  '/mutating-custom-resource': mutateData,
  '/crd': ({ object }) =>
    object.metadata.labels?.['webhook-e2e-test'] === 'webhook-disallow'
      ? refuse('the crd contains unwanted label')
      : allow,
  '/add-label': ({ object }) => {
    const labels = { ...object.metadata.labels, 'added-label': 'yes' };
    return patchOf({ op: 'add', path: '/metadata/labels', value: labels });
  },
};

export interface ConversionRequest {
  readonly uid: string;
  readonly desiredAPIVersion: string;
  readonly objects: readonly Any[];
}

/** `hostPort` of v1 is `host` and `port` of v2. */
function convert(object: Any, desired: string): Any {
  const converted = { ...object, apiVersion: desired };
  if (desired.endsWith('/v2')) {
    if (converted.hostPort === undefined) return converted;
    [converted.host, converted.port] = String(converted.hostPort).split(':');
    delete converted.hostPort;
  } else {
    if (converted.host === undefined && converted.port === undefined) return converted;
    converted.hostPort = `${converted.host}:${converted.port}`;
    delete converted.host;
    delete converted.port;
  }
  return converted;
}

export class WebhookServer {
  readonly #server: Server;
  readonly #cluster: Cluster;
  readonly #namespace: string;
  /** Of conversion, as they came. */
  readonly conversions: ConversionRequest[] = [];

  private constructor(server: Server, cluster: Cluster, namespace: string) {
    this.#server = server;
    this.#cluster = cluster;
    this.#namespace = namespace;
  }

  static async start(cluster: Cluster): Promise<WebhookServer> {
    const namespace = await cluster.namespace();
    const serving = await cluster.server.pki.serving(`e2e-test-webhook.${namespace}.svc`);
    const server = createServer({ cert: serving.cert, key: serving.key }, (incoming, outgoing) => {
      const pieces: Buffer[] = [];
      incoming.on('data', (piece: Buffer) => pieces.push(piece));
      incoming.on('end', () => {
        const path = (incoming.url ?? '').split('?')[0]!;
        const review = JSON.parse(Buffer.concat(pieces).toString()) as Any;
        void webhook.#answer(path, review).then((answer) => outgoing.end(JSON.stringify(answer)));
      });
    });
    const webhook = new WebhookServer(server, cluster, namespace);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    await cluster.resource('v1', 'services', namespace).create({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'e2e-test-webhook' },
      spec: { type: 'ExternalName', externalName: 'localhost' },
    });
    return webhook;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer(path: string, review: Any): Promise<Any> {
    const { apiVersion, kind, request } = review;
    if (path === '/crdconvert') {
      this.conversions.push(request as ConversionRequest);
      const convertedObjects = request.objects.map((object: Any) => convert(object, request.desiredAPIVersion));
      return { apiVersion, kind, response: { uid: request.uid, convertedObjects, result: { status: 'Success' } } };
    }
    const behaviour = behaviours[path];
    const response = behaviour ? await behaviour(request) : refuse(`no such path: ${path}`);
    return { apiVersion, kind, response: { uid: request.uid, ...response } };
  }

  clientConfig(path: string): Any {
    return {
      service: {
        namespace: this.#namespace,
        name: 'e2e-test-webhook',
        path,
        port: (this.#server.address() as { port: number }).port,
      },
      caBundle: Buffer.from(this.#cluster.server.pki.serverCa.cert).toString('base64'),
    };
  }

  /** A webhook for creates of ConfigMaps in the namespaces labelled `scope`, unless `more` says otherwise. */
  hook(path: string, scope: string, more: Any = {}): Any {
    return {
      name: `${unique(path.slice(1))}.k8s.io`,
      rules: [rule(['CREATE'], '', 'v1', 'configmaps')],
      clientConfig: this.clientConfig(path),
      sideEffects: 'None',
      admissionReviewVersions: ['v1', 'v1beta1'],
      namespaceSelector: { matchLabels: { [scope]: 'true' } },
      ...more,
    };
  }
}

export const rule = (operations: string[], group: string, version: string, resource: string): Any => ({
  operations,
  apiGroups: [group],
  apiVersions: [version],
  resources: [resource],
});

export const registration = 'admissionregistration.k8s.io/v1';

/** A namespace of its own label for one test; that label is the `scope` of its webhooks and policies. */
export async function scopedNamespace(cluster: Cluster): Promise<{ scope: string; namespace: string }> {
  const scope = unique('scope');
  return { scope, namespace: await cluster.namespace({ [scope]: 'true' }) };
}

/** Waits until a configuration counts: the webhook that it has for marker objects refuses one. */
export class Ready {
  readonly #cluster: Cluster;
  readonly #webhook: WebhookServer;
  #namespace: string | undefined;

  constructor(cluster: Cluster, webhook: WebhookServer) {
    this.#cluster = cluster;
    this.#webhook = webhook;
  }

  async configure(kind: 'Mutating' | 'Validating', webhooks: Any[], labels: Any = {}): Promise<Configuration> {
    this.#namespace ??= await this.#cluster.namespace({ marker: 'true' });
    const name = unique('e2e-test-webhook');
    const marker = this.#webhook.hook('/always-deny', 'marker', {
      objectSelector: { matchLabels: { [name]: 'true' } },
    });
    const configurations = this.#cluster.resource(registration, `${kind.toLowerCase()}webhookconfigurations`);
    const object = await configurations.create({
      apiVersion: registration,
      kind: `${kind}WebhookConfiguration`,
      metadata: { name, labels },
      webhooks: [...webhooks, marker],
    });
    const markers = this.#cluster.resource('v1', 'configmaps', this.#namespace);
    await eventually('the configuration counts', async () => {
      try {
        await markers.create({ metadata: { generateName: 'marker-', labels: { [name]: 'true' } } }, '?dryRun=All');
        return false;
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        return error.message.includes('denied');
      }
    });
    return { name, object, remove: () => configurations.delete(name) };
  }
}

export interface Configuration {
  readonly name: string;
  readonly object: Any;
  remove(): Promise<unknown>;
}
