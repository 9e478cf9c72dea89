/** Calls to webhooks (conversion, admission): HTTPS POST of a review, by URL or to a service, with the CA that the configuration names. */
import { Agent, request as httpsRequest } from 'node:https';
import { rootCertificates } from 'node:tls';
import { errorText } from '../../base/errors.ts';
import { getPath, isObject, type Json, type JsonObject } from '../machinery/json.ts';

/** The clientConfig of a webhook. */
export interface WebhookClientConfig {
  readonly url?: string;
  readonly caBundle?: string;
  readonly service?: {
    readonly namespace: string;
    readonly name: string;
    readonly path?: string;
    readonly port?: number;
  };
}

/** Where a service is reached. Undefined when it does not exist or has no address. */
export type ServiceAddress = (
  namespace: string,
  name: string,
  port: number,
) => Promise<{ host: string; port: number } | undefined>;

const answerBytesMax = 3 * 1024 * 1024 + 64 * 1024;
const idleMs = 30_000;

export function clientConfigOf(value: Json | undefined): WebhookClientConfig {
  if (!isObject(value)) return {};
  const service = value.service;
  return {
    ...(typeof value.url === 'string' ? { url: value.url } : {}),
    ...(typeof value.caBundle === 'string' && value.caBundle !== '' ? { caBundle: value.caBundle } : {}),
    ...(isObject(service)
      ? {
          service: {
            namespace: String(service.namespace),
            name: String(service.name),
            ...(typeof service.path === 'string' ? { path: service.path } : {}),
            ...(typeof service.port === 'number' ? { port: service.port } : {}),
          },
        }
      : {}),
  };
}

export class WebhookClient {
  readonly #serviceAddress: ServiceAddress;
  readonly #agents = new Map<string, Agent>();

  constructor(serviceAddress: ServiceAddress) {
    this.#serviceAddress = serviceAddress;
  }

  /** Posts a review and gives the answer. Throws Error with the reason in Go's words, as users know it from upstream. */
  async post(config: WebhookClientConfig, review: JsonObject, timeoutMs: number): Promise<JsonObject> {
    const target = await this.#target(config);
    const url = new URL(target.url);
    url.searchParams.set('timeout', `${Math.ceil(timeoutMs / 1000)}s`);
    const ca = config.caBundle === undefined ? undefined : Buffer.from(config.caBundle, 'base64').toString('utf8');
    const body = Buffer.from(JSON.stringify(review));
    const shown = `Post ${JSON.stringify(url.href)}`;
    const text = await new Promise<string>((resolve, reject) => {
      const outgoing = httpsRequest(
        {
          method: 'POST',
          host: target.host,
          port: target.port,
          path: url.pathname + url.search,
          servername: target.servername,
          agent: this.#agent(target.servername, ca),
          headers: {
            host: url.host,
            'content-type': 'application/json',
            'content-length': body.length,
            accept: 'application/json, */*',
            'user-agent': 'kube-apiserver-admission',
          },
        },
        (response) => {
          const pieces: Buffer[] = [];
          let size = 0;
          response.on('data', (piece: Buffer) => {
            size += piece.length;
            if (size > answerBytesMax) outgoing.destroy(new Error('the answer is too large'));
            else pieces.push(piece);
          });
          response.on('error', reject);
          response.on('end', () => {
            const answer = Buffer.concat(pieces).toString('utf8');
            const status = response.statusCode ?? 0;
            if (status >= 200 && status < 300) resolve(answer);
            else reject(new Error(`the server responded with the status code ${status}: ${answer.slice(0, 500)}`));
          });
        },
      );
      const timer = setTimeout(() => outgoing.destroy(new Error(`${shown}: context deadline exceeded`)), timeoutMs);
      outgoing.on('close', () => clearTimeout(timer));
      outgoing.on('error', (error) => {
        clearTimeout(timer);
        reject(error.message.startsWith(shown) ? error : new Error(`${shown}: ${errorText(error)}`));
      });
      outgoing.end(body);
    });
    let answer: unknown;
    try {
      answer = JSON.parse(text);
    } catch {
      throw new Error(`${shown}: the answer is no JSON`);
    }
    if (!isObject(answer)) throw new Error(`${shown}: the answer is no object`);
    return answer;
  }

  async #target(config: WebhookClientConfig): Promise<{ url: string; host: string; port: number; servername: string }> {
    if (config.url !== undefined) {
      const url = new URL(config.url);
      return {
        url: config.url,
        host: url.hostname.replace(/^\[|\]$/g, ''),
        port: Number(url.port) || 443,
        servername: url.hostname,
      };
    }
    const { service } = config;
    if (service === undefined) throw new Error('webhook configuration must have either service or URL');
    const port = service.port ?? 443;
    const servername = `${service.name}.${service.namespace}.svc`;
    const path = service.path === undefined ? '/' : service.path.startsWith('/') ? service.path : `/${service.path}`;
    const url = `https://${servername}:${port}${path}`;
    const address = await this.#serviceAddress(service.namespace, service.name, port);
    if (address === undefined)
      throw new Error(`Post ${JSON.stringify(url)}: service ${JSON.stringify(service.name)} not found`);
    return { url, ...address, servername };
  }

  /** Connections are kept for a while, one pool for a name and a CA. */
  #agent(servername: string, ca: string | undefined): Agent {
    const key = `${servername}\n${ca ?? ''}`;
    let agent = this.#agents.get(key);
    if (agent === undefined) {
      if (this.#agents.size >= 64) this.close();
      agent = new Agent({ keepAlive: true, maxFreeSockets: 2, timeout: idleMs, ca: ca ?? [...rootCertificates] });
      this.#agents.set(key, agent);
    }
    return agent;
  }

  close(): void {
    for (const agent of this.#agents.values()) agent.destroy();
    this.#agents.clear();
  }
}

/** Reads Services: cluster IP, or the external name. */
export function serviceAddresses(
  get: (resource: string, namespace: string, name: string) => Promise<JsonObject | undefined>,
): ServiceAddress {
  return async (namespace, name, port) => {
    const service = await get('services', namespace, name);
    if (service === undefined) return undefined;
    const type = getPath(service, 'spec', 'type');
    if (type === 'ExternalName') return { host: String(getPath(service, 'spec', 'externalName')), port };
    const clusterIP = getPath(service, 'spec', 'clusterIP');
    if (typeof clusterIP === 'string' && clusterIP !== '' && clusterIP !== 'None') return { host: clusterIP, port };
    return undefined;
  };
}
