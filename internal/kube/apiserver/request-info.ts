/** What a URL of the Kubernetes API asks for (k8s.io/apiserver/pkg/endpoints/request, RequestInfo): pure string work. */
import {
  type FieldRequirement,
  parseFieldSelector,
  parseLabelSelector,
  type Requirement,
} from '../machinery/selectors.ts';

export interface RequestInfo {
  readonly path: string;
  readonly isResource: boolean;
  /** get list watch create update patch delete deletecollection; the lower-case method for other paths. */
  readonly verb: string;
  readonly group: string;
  readonly version: string;
  readonly namespace: string;
  readonly resource: string;
  readonly subresource: string;
  readonly name: string;
  /** What follows the subresource (`proxy/<rest>`), without leading slash. */
  readonly rest: string;
  /** What a list, watch or deletecollection is narrowed to; empty for other verbs, and for selectors that cannot be read (they are refused later). */
  readonly fieldSelector: readonly FieldRequirement[];
  readonly labelSelector: readonly Requirement[];
}

const verbs: Record<string, string> = {
  GET: 'get',
  HEAD: 'get',
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};

function plain(path: string, method: string): RequestInfo {
  return {
    path,
    isResource: false,
    verb: method.toLowerCase(),
    group: '',
    version: '',
    namespace: '',
    resource: '',
    subresource: '',
    name: '',
    rest: '',
    fieldSelector: [],
    labelSelector: [],
  };
}

const namespaceSubresources = new Set(['status', 'finalize']);

/** Undefined when a part of the path is not valid percent-encoding. */
export function parseRequest(method: string, path: string, query: URLSearchParams): RequestInfo | undefined {
  let parts = path.split('/').filter((part) => part !== '');
  const api = parts[0];
  if ((api !== 'api' && api !== 'apis') || parts.length < (api === 'api' ? 3 : 4)) return plain(path, method);
  const restParts = parts;
  try {
    parts = parts.map(decodeURIComponent);
  } catch {
    return undefined;
  }
  const group = api === 'api' ? '' : parts[1]!;
  const version = api === 'api' ? parts[1]! : parts[2]!;
  let at = api === 'api' ? 2 : 3;
  let verb = verbs[method] ?? method.toLowerCase();
  // The old form /api/v1/watch/… and /api/v1/proxy/…
  if (parts[at] === 'watch' && parts.length > at + 1) {
    verb = 'watch';
    at++;
  }
  let namespace = '';
  let resource = parts[at]!;
  let name = '';
  let subresource = '';
  let restAt = at + 3;
  if (resource === 'namespaces') {
    namespace = parts[at + 1] ?? '';
    const third = parts[at + 2];
    if (third !== undefined && !namespaceSubresources.has(third)) {
      resource = third;
      name = parts[at + 3] ?? '';
      subresource = parts[at + 4] ?? '';
      restAt = at + 5;
    } else {
      name = namespace;
      subresource = third ?? '';
    }
  } else {
    name = parts[at + 1] ?? '';
    subresource = parts[at + 2] ?? '';
  }
  const fields = readable(parseFieldSelector, query.get('fieldSelector')) ?? [];
  if (name === '' && (verb === 'get' || verb === 'watch')) {
    if (verb === 'get') verb = isTrue(query.get('watch')) ? 'watch' : 'list';
    // A list or watch of one name is authorized as that name (kubelets watch single secrets so).
    name = fields.find(({ field, operator }) => field === 'metadata.name' && operator === '=')?.value ?? '';
  } else if (name === '' && verb === 'delete') verb = 'deletecollection';
  else if (name !== '' && verb === 'get' && subresource === '' && isTrue(query.get('watch'))) verb = 'watch';
  let rest = restParts.slice(restAt).join('/');
  if (rest !== '' && path.endsWith('/')) rest += '/';
  const narrowed = selecting.has(verb);
  return {
    path,
    isResource: true,
    verb,
    group,
    version,
    namespace,
    resource,
    subresource,
    name,
    rest,
    fieldSelector: narrowed ? fields : [],
    labelSelector: narrowed ? (readable(parseLabelSelector, query.get('labelSelector'))?.requirements ?? []) : [],
  };
}

const selecting = new Set(['list', 'watch', 'deletecollection']);

function readable<T>(parse: (text: string) => T, text: string | null): T | undefined {
  if (text === null) return undefined;
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}

export function isTrue(value: string | null): boolean {
  return value === '1' || value === '' || value === 'true' || value === 'True' || value === 't';
}
