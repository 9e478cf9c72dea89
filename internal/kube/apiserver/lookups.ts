/** What authentication, the Node authorizer and admission read from the registry: always the newest state. */
import type { AdmissionReader } from '../admission/types.ts';
import type { NodeGraph } from '../auth/node-authorizer.ts';
import type { TokenSubject, TokenSubjects } from '../auth/service-account-tokens.ts';
import { everything } from '../machinery/selectors.ts';
import { getPath, isObject, type JsonObject } from '../machinery/json.ts';
import { parseTime } from '../machinery/time.ts';
import type { LiveKinds } from './live-kinds.ts';
import type { Registry } from './registry.ts';
import { selectAll } from './selection.ts';

/** Secrets of a CSI volume that a node works with. */
const secretFields = ['nodeStageSecretRef', 'nodePublishSecretRef', 'nodeExpandSecretRef'];

export class Lookups implements AdmissionReader, NodeGraph, TokenSubjects {
  readonly #kinds: LiveKinds;
  readonly #registry: Registry;

  constructor(kinds: LiveKinds, registry: Registry) {
    this.#registry = registry;
    this.#kinds = kinds;
  }

  async get(group: string, resource: string, namespace: string, name: string): Promise<JsonObject | undefined> {
    const kind = this.#kinds.byGroupResource(group, resource);
    return kind === undefined ? undefined : this.#registry.getObject(kind, namespace, name);
  }

  async list(group: string, resource: string, namespace: string): Promise<JsonObject[]> {
    const kind = this.#kinds.byGroupResource(group, resource);
    if (kind === undefined) return [];
    const { records } = await this.#registry.list({
      kind,
      namespace,
      selection: selectAll,
      limit: 0,
      revision: 0,
      start: '',
    });
    return records.map(({ record }) => this.#registry.objectOf(kind, record));
  }

  async secretToken(namespace: string, name: string): Promise<string | undefined> {
    const secret = await this.get('', 'secrets', namespace, name);
    const token = getPath(secret, 'data', 'token');
    if (secret === undefined || typeof token !== 'string') return undefined;
    if (getPath(secret, 'metadata', 'deletionTimestamp') !== undefined) return undefined;
    return Buffer.from(token, 'base64').toString('utf8');
  }

  async fields(
    group: string,
    resource: string,
    namespace: string,
    name: string,
  ): Promise<Readonly<Record<string, string>> | undefined> {
    const kind = this.#kinds.byGroupResource(group, resource);
    const record = kind === undefined ? undefined : await this.#registry.get(kind, namespace, name);
    return record === undefined ? undefined : (record.header.f ?? {});
  }

  async podsOnNode(node: string, namespace: string): Promise<JsonObject[]> {
    const kind = this.#kinds.byGroupResource('', 'pods');
    if (kind === undefined) return [];
    const { records } = await this.#registry.list({
      kind,
      namespace,
      selection: {
        labels: everything,
        fields: [{ field: 'spec.nodeName', operator: '=', value: node }],
        all: false,
        onlyName: undefined,
      },
      limit: 0,
      revision: 0,
      start: '',
    });
    return records.map(({ record }) => this.#registry.objectOf(kind, record));
  }

  async claimsNeedingSecret(namespace: string, name: string): Promise<{ namespace: string; name: string }[]> {
    const out: { namespace: string; name: string }[] = [];
    for (const volume of await this.list('', 'persistentvolumes', '')) {
      const csi = getPath(volume, 'spec', 'csi');
      const claim = getPath(volume, 'spec', 'claimRef');
      if (!isObject(csi) || !isObject(claim)) continue;
      const needs = secretFields.some((field) => {
        const reference = csi[field];
        return isObject(reference) && reference.name === name && reference.namespace === namespace;
      });
      if (needs) out.push({ namespace: String(claim.namespace), name: String(claim.name) });
    }
    return out;
  }

  async claimOfVolume(volume: string): Promise<{ namespace: string; name: string } | undefined> {
    const claim = getPath(await this.get('', 'persistentvolumes', '', volume), 'spec', 'claimRef');
    if (!isObject(claim)) return undefined;
    return { namespace: String(claim.namespace), name: String(claim.name) };
  }

  nodeOfAttachment(name: string): Promise<string | undefined> {
    return this.#nodeOf('storage.k8s.io', 'volumeattachments', name);
  }

  nodeOfSlice(name: string): Promise<string | undefined> {
    return this.#nodeOf('resource.k8s.io', 'resourceslices', name);
  }

  async #nodeOf(group: string, resource: string, name: string): Promise<string | undefined> {
    const node = getPath(await this.get(group, resource, '', name), 'spec', 'nodeName');
    return typeof node === 'string' ? node : undefined;
  }

  serviceAccount(namespace: string, name: string): Promise<TokenSubject | undefined> {
    return this.#subject('serviceaccounts', namespace, name);
  }

  pod(namespace: string, name: string): Promise<TokenSubject | undefined> {
    return this.#subject('pods', namespace, name);
  }

  secret(namespace: string, name: string): Promise<TokenSubject | undefined> {
    return this.#subject('secrets', namespace, name);
  }

  node(name: string): Promise<TokenSubject | undefined> {
    return this.#subject('nodes', '', name);
  }

  async #subject(resource: string, namespace: string, name: string): Promise<TokenSubject | undefined> {
    const metadata = getPath(await this.get('', resource, namespace, name), 'metadata');
    if (!isObject(metadata) || typeof metadata.uid !== 'string') return undefined;
    return { uid: metadata.uid, deletionMs: parseTime(metadata.deletionTimestamp) };
  }
}
