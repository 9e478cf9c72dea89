/** A request to the kubelet's server, as upstream's paths name it. */
export type Route =
  | { readonly kind: 'healthz' | 'pods' | 'runningpods' | 'summary' | 'metrics' | 'resource' | 'cadvisor' | 'probes' }
  | { readonly kind: 'logs'; readonly namespace: string; readonly pod: string; readonly container: string }
  | {
      readonly kind: 'exec' | 'attach';
      readonly namespace: string;
      readonly pod: string;
      readonly uid?: string;
      readonly container: string;
    }
  | { readonly kind: 'portForward'; readonly namespace: string; readonly pod: string; readonly uid?: string };

const plain: Record<string, Route> = {
  '/healthz': { kind: 'healthz' },
  '/healthz/ping': { kind: 'healthz' },
  '/healthz/log': { kind: 'healthz' },
  '/healthz/syncloop': { kind: 'healthz' },
  '/pods': { kind: 'pods' },
  '/pods/': { kind: 'pods' },
  '/runningpods': { kind: 'runningpods' },
  '/runningpods/': { kind: 'runningpods' },
  '/stats/summary': { kind: 'summary' },
  '/metrics': { kind: 'metrics' },
  '/metrics/resource': { kind: 'resource' },
  '/metrics/cadvisor': { kind: 'cadvisor' },
  '/metrics/probes': { kind: 'probes' },
};

/** Undefined for a path that there is not. */
export function route(path: string): Route | undefined {
  const known = plain[path];
  if (known) return known;
  let parts: string[];
  try {
    parts = path.split('/').slice(1).map(decodeURIComponent);
  } catch {
    return undefined;
  }
  const [verb, namespace = '', pod = '', third = '', fourth] = parts;
  if (namespace === '' || pod === '' || parts.length > 5) return undefined;
  switch (verb) {
    case 'containerLogs':
      return parts.length === 4 && third ? { kind: 'logs', namespace, pod, container: third } : undefined;
    case 'exec':
    case 'attach':
      if (parts.length === 4 && third) return { kind: verb, namespace, pod, container: third };
      return parts.length === 5 && fourth ? { kind: verb, namespace, pod, uid: third, container: fourth } : undefined;
    case 'portForward':
      if (parts.length === 3) return { kind: verb, namespace, pod };
      return parts.length === 4 && third ? { kind: verb, namespace, pod, uid: third } : undefined;
    default:
      return undefined;
  }
}

/** Whether a query flag is set: `1`, `true` and the bare name. */
export function flag(query: URLSearchParams, name: string): boolean {
  const value = query.get(name);
  return value !== null && value !== '0' && value !== 'false';
}
