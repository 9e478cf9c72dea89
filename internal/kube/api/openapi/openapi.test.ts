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
  [/\/proxy(\/\{path\})?$/, 'served, for clients that know where; what comes back is no object'],
  [/^\/logs\//, 'files of the machine are not served'],
  [
    /^\/\.well-known\/openid-configuration\/$|^\/openid\/v1\/jwks\/$/,
    'served, for verifiers of tokens, which read no OpenAPI',
  ],
];

/** Parameters of the other document that we do not have, each with the reason. */
const notTaken: readonly (readonly [parameter: string, why: string])[] = [
  ['query shardSelector', 'alpha and off by default (ShardedListAndWatch)'],
  [
    'query ignoreStoreReadErrorWithClusterBreakingPotential',
    'alpha and off by default (AllowUnsafeMalformedObjectDeletion)',
  ],
];

/** Definitions that are scalars on the wire: their texts are about Go. */
const untold = /\.(Quantity|Time|MicroTime|IntOrString)$/;

describe.skipIf(!existsSync(oraclePath))('OpenAPI against the document of Kubernetes 1.36', () => {
  const oracle = JSON.parse(existsSync(oraclePath) ? readFileSync(oraclePath, 'utf8') : '{}') as {
    paths: Record<string, Record<string, Any>>;
    definitions: Record<string, Any>;
    parameters: Record<string, Any>;
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
        for (const key of [
          'operationId',
          'description',
          'x-kubernetes-action',
          'x-kubernetes-group-version-kind',
          'tags',
        ])
          expect(operation[key], `${method} ${path} ${key}`).toEqual(other?.[key]);
        const schema = (o: Any | undefined, code: string): unknown =>
          ((o?.responses as Any | undefined)?.[code] as Any | undefined)?.schema;
        for (const code of Object.keys(operation.responses as Any))
          expect(schema(operation, code), `${method} ${path} ${code}`).toEqual(schema(other, code));
      }
    }
  });
  test('every operation takes the same parameters, but for those with a reason', async () => {
    const ours = JSON.parse(new TextDecoder().decode(await builtinOpenApi.v2Json())) as typeof oracle;
    const found = (document: typeof oracle, path: string, method: string): Record<string, Any> => {
      const item = document.paths[path]!;
      const lists = [item.parameters, item[method]!.parameters] as (Any[] | undefined)[];
      const all = lists
        .flatMap((list) => list ?? [])
        .map((one) =>
          typeof one.$ref === 'string' ? document.parameters[one.$ref.replace('#/parameters/', '')]! : one,
        );
      return Object.fromEntries(all.map(({ description: _text, ...one }) => [`${one.in} ${one.name}`, one]));
    };
    const missing = new Set<string>();
    for (const [path, item] of Object.entries(ours.paths))
      for (const method of Object.keys(item)) {
        if (method === 'parameters') continue;
        const theirs = found(oracle, path, method);
        const mine = found(ours, path, method);
        for (const [name] of notTaken)
          if (theirs[name] !== undefined && mine[name] === undefined) {
            delete theirs[name];
            missing.add(name);
          }
        expect(mine, `${method} ${path}`).toEqual(theirs);
      }
    expect([...missing].sort()).toEqual(notTaken.map(([name]) => name).sort());
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
  test('definitions have the kinds, extensions and texts that Kubernetes publishes', async () => {
    const ours = JSON.parse(new TextDecoder().decode(await builtinOpenApi.v2Json())) as typeof oracle;
    for (const [name, definition] of Object.entries(ours.definitions)) {
      const theirs = oracle.definitions[name]!;
      if (/\.(DeleteOptions|WatchEvent)$/.test(name)) continue;
      expect(definition['x-kubernetes-group-version-kind'], name).toEqual(theirs['x-kubernetes-group-version-kind']);
      expect(definition['x-kubernetes-map-type'], name).toEqual(theirs['x-kubernetes-map-type']);
      expect(definition['x-kubernetes-unions'], name).toEqual(theirs['x-kubernetes-unions']);
      expect(definition.type, name).toEqual(theirs.type);
      if (!untold.test(name)) expect(definition.description, name).toEqual(theirs.description);
      const fields = (one: Any): [string, Any][] => Object.entries((one.properties ?? {}) as Record<string, Any>);
      const texts = (one: Any) =>
        Object.fromEntries(fields(one).map(([field, { description }]) => [field, description]));
      expect(texts(definition), name).toEqual(texts(theirs));
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
