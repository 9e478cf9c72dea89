/** What a URL of the Kubernetes API asks for (k8s.io/apiserver/pkg/endpoints/request, RequestInfo): pure string work. */

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
  if (name === '' && (verb === 'get' || verb === 'watch')) {
    if (verb === 'get') verb = isTrue(query.get('watch')) ? 'watch' : 'list';
    // A list or watch of one name is authorized as that name (kubelets watch single secrets so).
    name = exactName(query.get('fieldSelector'));
  } else if (name === '' && verb === 'delete') verb = 'deletecollection';
  else if (name !== '' && verb === 'get' && subresource === '' && isTrue(query.get('watch'))) verb = 'watch';
  let rest = restParts.slice(restAt).join('/');
  if (rest !== '' && path.endsWith('/')) rest += '/';
  return { path, isResource: true, verb, group, version, namespace, resource, subresource, name, rest };
}

export function isTrue(value: string | null): boolean {
  return value === '1' || value === '' || value === 'true' || value === 'True' || value === 't';
}

/** The name that a field selector pins, or ''. */
function exactName(fieldSelector: string | null): string {
  if (fieldSelector === null || !fieldSelector.includes('metadata.name')) return '';
  for (const term of fieldSelector.split(',')) {
    const match = /^metadata\.name==?([^=\\]+)$/.exec(term);
    if (match !== null) return match[1]!;
  }
  return '';
}
