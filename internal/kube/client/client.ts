import { isStatusObject, StatusError, statusFromHttp } from './status-of.ts';
import type {
  DeleteOptions,
  KubeClient,
  KubeList,
  KubeObject,
  ListOptions,
  PatchType,
  ResourceRef,
  WatchOptions,
  WatchType,
  WriteOptions,
} from './api.ts';

/** How requests reach an API server: `fetch` with the identity built in, over HTTPS or in process. */
export type Transport = (request: Request) => Promise<Response>;

const patchContentTypes: Record<PatchType, string> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  // YAML is a superset of JSON: the body is sent as JSON.
  apply: 'application/apply-patch+yaml',
};

/** A line of a watch longer than this ends the watch: no object is that large. */
const maxWatchLineBytes = 16 << 20;

/** The path of a resource, of one object, or of its subresource. Exported for tests and for raw requests. */
export function resourcePath(resource: ResourceRef, namespace?: string, name?: string, subresource?: string): string {
  const root = resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const parts = [root];
  if (namespace !== undefined && namespace !== '') parts.push('namespaces', encodeURIComponent(namespace));
  parts.push(resource.resource);
  if (name !== undefined) parts.push(encodeURIComponent(name));
  if (subresource !== undefined) parts.push(subresource);
  return parts.join('/');
}

function query(values: Record<string, string | number | boolean | undefined>): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(values))
    if (value !== undefined && value !== '') search.set(key, String(value));
  const text = search.toString();
  return text === '' ? '' : `?${text}`;
}

function writeQuery(options: WriteOptions): string {
  return query({
    fieldManager: options.fieldManager,
    force: options.force,
    dryRun: options.dryRun ? 'All' : undefined,
  });
}

/** A client of the API server behind `transport`; `baseUrl` is `https://host:6443` or any placeholder for an in-process one. */
export function createKubeClient(options: { transport: Transport; baseUrl: string; userAgent: string }): KubeClient {
  const send = async (
    method: string,
    path: string,
    body?: unknown,
    contentType = 'application/json',
    signal?: AbortSignal,
  ): Promise<Response> => {
    const headers: Record<string, string> = { accept: 'application/json', 'user-agent': options.userAgent };
    if (body !== undefined) headers['content-type'] = contentType;
    const response = await options.transport(
      new Request(`${options.baseUrl}${path}`, {
        method,
        headers,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(signal ? { signal } : {}),
      }),
    );
    if (response.ok) return response;
    throw statusFromHttp(response.status, await response.text(), `${method} ${path}`);
  };
  const json = async <T>(method: string, path: string, body?: unknown, contentType?: string): Promise<T> =>
    (await send(method, path, body, contentType)).json() as Promise<T>;

  const listQuery = (list: ListOptions): Record<string, string | number | undefined> => ({
    labelSelector: list.labelSelector,
    fieldSelector: list.fieldSelector,
    limit: list.limit,
    continue: list.continue,
    resourceVersion: list.resourceVersion,
  });

  return {
    get: (resource, name, namespace) => json('GET', resourcePath(resource, namespace, name)),
    list: async <T extends KubeObject>(resource: ResourceRef, list: ListOptions = {}): Promise<KubeList<T>> => {
      const result = await json<KubeList<T>>('GET', resourcePath(resource, list.namespace) + query(listQuery(list)));
      const kind = result.kind.replace(/List$/, '');
      // Lists leave out what is the same in every item.
      for (const item of result.items) {
        item.apiVersion ??= result.apiVersion;
        item.kind ??= kind;
      }
      return result;
    },
    watch: <T extends KubeObject>(resource: ResourceRef, watch: WatchOptions) =>
      watchStream<T>(
        () =>
          send(
            'GET',
            resourcePath(resource, watch.namespace) +
              query({ ...listQuery(watch), watch: true, allowWatchBookmarks: watch.allowBookmarks ? true : undefined }),
            undefined,
            undefined,
            watch.signal,
          ),
        watch.signal,
      ),
    create: (resource, object, write = {}) =>
      json(
        'POST',
        resourcePath(
          resource,
          object.metadata.namespace,
          write.subresource === undefined ? undefined : object.metadata.name,
          write.subresource,
        ) + writeQuery(write),
        object,
      ),
    update: (resource, object, write = {}) =>
      json(
        'PUT',
        resourcePath(resource, object.metadata.namespace, object.metadata.name, write.subresource) + writeQuery(write),
        object,
      ),
    patch: (resource, name, namespace, type, patch, write = {}) =>
      json(
        'PATCH',
        resourcePath(resource, namespace, name, write.subresource) + writeQuery(write),
        patch,
        patchContentTypes[type],
      ),
    delete: async (resource, name, namespace, deletion: DeleteOptions = {}) => {
      const body =
        Object.keys(deletion).length === 0 ? undefined : { apiVersion: 'v1', kind: 'DeleteOptions', ...deletion };
      await (await send('DELETE', resourcePath(resource, namespace, name), body)).arrayBuffer();
    },
    raw: async (method, path, body) => {
      const text = await (await send(method, path, body)).text();
      if (text === '') return undefined;
      try {
        return JSON.parse(text) as unknown;
      } catch {
        return text;
      }
    },
  };
}

async function* watchStream<T extends KubeObject>(
  open: () => Promise<Response>,
  signal: AbortSignal | undefined,
): AsyncGenerator<{ type: WatchType; object: T }> {
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  try {
    const response = await open();
    if (!response.body) return;
    reader = response.body.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    const decoder = new TextDecoder();
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done || signal?.aborted) return;
      rest += decoder.decode(value, { stream: true });
      let from = 0;
      for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', from)) {
        const line = rest.slice(from, end);
        from = end + 1;
        if (line.trim() === '') continue;
        const event = JSON.parse(line) as { type: string; object: T };
        if (event.type === 'ERROR') {
          throw isStatusObject(event.object) ? new StatusError(event.object) : statusFromHttp(500, line, 'watch');
        }
        yield event as { type: WatchType; object: T };
        if (signal?.aborted) return;
      }
      rest = rest.slice(from);
      if (rest.length > maxWatchLineBytes) throw statusFromHttp(500, 'a watch event is too long', 'watch');
    }
  } catch (error) {
    if (signal?.aborted) return;
    throw error;
  } finally {
    await reader?.cancel().catch(() => undefined);
  }
}
