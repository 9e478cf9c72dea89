import type { Environment } from '@marcbachmann/cel-js';
import { chargeText } from './meter.ts';

class CelUrl {
  readonly url: URL | undefined;
  readonly text: string;
  constructor(text: string) {
    this.text = text;
    // A path alone is a URL, too; it has neither scheme nor host.
    this.url = URL.canParse(text) ? new URL(text) : text.startsWith('/') ? undefined : fail(text);
  }
}

function fail(text: string): never {
  throw new Error(
    `URL parse error during conversion from string: parse ${JSON.stringify(text)}: invalid URI for request`,
  );
}

function valid(text: string): boolean {
  return text.startsWith('/') || URL.canParse(text);
}

/** The URL library: `url("https://example.com:80/path").getPort()`. */
export function registerUrls(environment: Environment): void {
  const on = (signature: string, handler: (...given: never[]) => unknown): void => {
    environment.registerFunction(signature, handler as never);
  };
  const u = 'kubernetes.URL';
  environment.registerType(u, CelUrl as never);
  on(`url(string): ${u}`, (text: string) => {
    chargeText(text.length);
    return new CelUrl(text);
  });
  on('isURL(string): bool', (text: string) => valid(text));
  /** As it was written: the parser of URLs leaves a scheme's usual port out. */
  const authority = (one: CelUrl): string => /^[^:/?#]+:\/\/(?:[^/?#@]*@)?([^/?#]*)/.exec(one.text)?.[1] ?? '';
  const port = (one: CelUrl): string => /:(\d+)$/.exec(authority(one))?.[1] ?? '';
  on(`${u}.getScheme(): string`, (one: CelUrl) => one.url?.protocol.replace(/:$/, '') ?? '');
  on(`${u}.getHost(): string`, authority as never);
  on(`${u}.getHostname(): string`, (one: CelUrl) =>
    authority(one)
      .replace(/:\d+$/, '')
      .replace(/^\[|\]$/g, ''),
  );
  on(`${u}.getPort(): string`, port as never);
  on(`${u}.getEscapedPath(): string`, (one: CelUrl) =>
    one.url === undefined
      ? one.text.split(/[?#]/, 1)[0]!
      : one.url.pathname === '/' && !/^[^:]+:\/\/[^/?#]*\//.test(one.text)
        ? ''
        : one.url.pathname,
  );
  on(`${u}.getQuery(): map<string, list<string>>`, (one: CelUrl) => {
    const query = one.url?.searchParams ?? new URLSearchParams(one.text.split('?', 2)[1] ?? '');
    const out = new Map<string, string[]>();
    query.forEach((value, key) => {
      out.set(key, [...(out.get(key) ?? []), value]);
    });
    return out;
  });
}
