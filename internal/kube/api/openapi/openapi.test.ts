import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { builtinKinds, builtinOpenApi } from '../builtin.ts';
import { allPaths } from './operations.ts';

const oraclePath = new URL('../../../../../shared/data/kubernetes-1.36/openapi-v2.json', import.meta.url).pathname;
type Any = Record<string, unknown>;

/** Paths of the other document that we do not serve, each with the reason. */
const notServed: readonly (readonly [pattern: RegExp, why: string])[] = [
  [/\/v\d+(alpha|beta)\d+\//, 'alpha and beta versions are off by default'],
  [/^\/apis\/(internal\.apiserver|storagemigration)\.k8s\.io\/$/, 'groups without a stable version'],
  [/\/watch\//, 'deprecated in favour of the watch parameter of lists'],
  [/\/proxy(\/\{path\})?$/, 'nodes, pods and services are not proxied yet'],
  [/^\/logs\//, 'files of the machine are not served'],
  [/^\/\.well-known\/openid-configuration\/$|^\/openid\/v1\/jwks\/$/, 'served, not in the document yet'],
];

describe.skipIf(!existsSync(oraclePath))('OpenAPI against the document of Kubernetes 1.36', () => {
  const oracle = JSON.parse(existsSync(oraclePath) ? readFileSync(oraclePath, 'utf8') : '{}') as {
    paths: Record<string, Record<string, Any>>;
    definitions: Record<string, Any>;
  };
  test('every path and operation exists there with the same id, action, kind, body and answer', async () => {
    const ours = JSON.parse(new TextDecoder().decode(await builtinOpenApi.v2Json())) as typeof oracle;
    for (const [path, item] of Object.entries(ours.paths)) {
      const theirs = oracle.paths[path];
      expect(theirs, path).toBeDefined();
      for (const [method, operation] of Object.entries(item)) {
        if (method === 'parameters') continue;
        const other = theirs?.[method];
        expect(other, `${method} ${path}`).toBeDefined();
        for (const key of ['operationId', 'x-kubernetes-action', 'x-kubernetes-group-version-kind', 'tags'])
          expect(operation[key], `${method} ${path} ${key}`).toEqual(other?.[key]);
        const schema = (o: Any | undefined, code: string): unknown =>
          ((o?.responses as Any | undefined)?.[code] as Any | undefined)?.schema;
        for (const code of Object.keys(operation.responses as Any))
          expect(schema(operation, code), `${method} ${path} ${code}`).toEqual(schema(other, code));
      }
    }
  });
  test('every path of a stable version is served, but for those with a reason', async () => {
    const ours = JSON.parse(new TextDecoder().decode(await builtinOpenApi.v2Json())) as typeof oracle;
    const missing = Object.keys(oracle.paths).filter(
      (path) => ours.paths[path] === undefined && !notServed.some(([pattern]) => pattern.test(path)),
    );
    expect(missing).toEqual([]);
    for (const [pattern, why] of notServed)
      expect(
        Object.keys(oracle.paths).some((path) => pattern.test(path) && ours.paths[path] === undefined),
        why,
      ).toBe(true);
  });
  test('definitions have the kinds and extensions that Kubernetes publishes', async () => {
    const ours = JSON.parse(new TextDecoder().decode(await builtinOpenApi.v2Json())) as typeof oracle;
    for (const [name, definition] of Object.entries(ours.definitions)) {
      const theirs = oracle.definitions[name]!;
      if (/\.(DeleteOptions|WatchEvent)$/.test(name)) continue;
      expect(definition['x-kubernetes-group-version-kind'], name).toEqual(theirs['x-kubernetes-group-version-kind']);
      expect(definition['x-kubernetes-map-type'], name).toEqual(theirs['x-kubernetes-map-type']);
      expect(definition['x-kubernetes-unions'], name).toEqual(theirs['x-kubernetes-unions']);
      expect(definition.type, name).toEqual(theirs.type);
    }
  });
});

describe('OpenAPI documents', () => {
  test('operation ids are unique', () => {
    const ids = allPaths(builtinKinds).flatMap(({ operations }) =>
      operations.map((operation) => operation.operationId),
    );
    expect(new Set(ids).size).toBe(ids.length);
  });
  test('each v3 document has every definition that it refers to', async () => {
    const index = await builtinOpenApi.v3Index();
    for (const path of Object.keys(index.paths)) {
      const text = new TextDecoder().decode(await builtinOpenApi.v3Json(path));
      const { components } = JSON.parse(text) as { components: { schemas: Any } };
      for (const match of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g))
        expect(components.schemas, path).toHaveProperty([match[1]!]);
    }
    expect(await builtinOpenApi.v3Json('apis/nothing/v1')).toBeUndefined();
  });
  test('the protobuf form is smaller than the JSON one and begins with the version', async () => {
    const bytes = await builtinOpenApi.v2Protobuf();
    expect(new TextDecoder().decode(bytes.subarray(0, 5))).toBe('\n\x032.0');
    expect(bytes.length).toBeLessThan((await builtinOpenApi.v2Json()).length);
  });
});
