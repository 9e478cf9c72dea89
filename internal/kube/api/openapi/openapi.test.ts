import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { builtinKinds, builtinOpenApi } from '../builtin.ts';
import { allPaths } from './operations.ts';
import { plainText } from './texts.ts';

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

/** What the other document's bodies and answers are written in, and ours are not. */
const notWritten: readonly (readonly [type: string, why: string])[] = [
  ['application/cbor', 'alpha and off by default (CBORServingAndStorage)'],
  ['application/cbor-seq', 'the same, of a watch'],
  ['application/apply-patch+cbor', 'the same, of a patch'],
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
  test('every operation takes and answers the same types of media, but for those with a reason', async () => {
    const ours = JSON.parse(new TextDecoder().decode(await builtinOpenApi.v2Json())) as typeof oracle;
    const missing = new Set<string>();
    for (const [path, item] of Object.entries(ours.paths))
      for (const [method, operation] of Object.entries(item)) {
        if (method === 'parameters') continue;
        for (const key of ['consumes', 'produces'] as const) {
          const theirs = (oracle.paths[path]![method]![key] as string[]).filter((type) => {
            const left = notWritten.some(([none]) => none === type);
            if (left) missing.add(type);
            return !left;
          });
          expect(operation[key], `${method} ${path} ${key}`).toEqual(theirs);
        }
      }
    expect([...missing].sort()).toEqual(notWritten.map(([type]) => type).sort());
  });
  test('the document itself says the same, but for its version', () =>
    builtinOpenApi.v2Json().then((bytes) => {
      const { info, paths: _paths, definitions: _definitions, ...rest } = JSON.parse(new TextDecoder().decode(bytes));
      const { info: other, paths: _p, definitions: _d, parameters: _shared, ...theirs } = oracle as unknown as Any;
      expect(rest).toEqual(theirs);
      expect(info).toMatchObject({ title: (other as Any).title });
    }));
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

interface Parameter extends Any {
  in: string;
  name: string;
  type?: string;
  schema?: Any;
}

const ofPath = (parameters: unknown): unknown =>
  (parameters as Parameter[]).map(({ in: place, name, type, schema, description }) => [
    `${place} ${name}`,
    type ?? schema?.type,
    description,
  ]);

/** What an operation of either version of OpenAPI says, in one form. */
function common(operation: Any): unknown {
  const parameters = (operation.parameters ?? []) as Parameter[];
  const body = parameters.find((one) => one.in === 'body');
  const request = operation.requestBody as { required?: true; content: Record<string, { schema: Any }> } | undefined;
  const bare = (schema: Any | undefined): unknown => String(schema?.$ref ?? schema?.type).replace(/^.*\//, '');
  const responses = Object.entries(operation.responses as Record<string, Any>).map(([code, answer]) => {
    const content = answer.content as Record<string, { schema: Any }> | undefined;
    const [first] = Object.values(content ?? {});
    // Only v3 says with each answer what it is written in.
    return [code, answer.description, bare(content === undefined ? (answer.schema as Any) : first?.schema)];
  });
  const answered = Object.values(operation.responses as Record<string, { content?: Any }>).find((one) => one.content);
  const { operationId, description, tags } = operation;
  return {
    operationId,
    description,
    tags,
    action: operation['x-kubernetes-action'],
    kind: operation['x-kubernetes-group-version-kind'],
    parameters: ofPath(parameters.filter((one) => one !== body)),
    body: request === undefined ? body && bare(body.schema) : bare(Object.values(request.content)[0]?.schema),
    required: request === undefined ? body?.required : request.required,
    // A request without a body has nothing that it could be written in.
    consumes: request === undefined ? (body === undefined ? [] : operation.consumes) : Object.keys(request.content),
    produces: operation.produces ?? Object.keys(answered?.content ?? {}),
    responses,
  };
}

describe('OpenAPI documents', () => {
  test('operation ids are unique', () => {
    const ids = allPaths(builtinKinds).flatMap(({ operations }) =>
      operations.map((operation) => operation.operationId),
    );
    expect(new Set(ids).size).toBe(ids.length);
  });
  test('there is a v3 document of every group and version, which says what the v2 document says', async () => {
    const v2 = JSON.parse(new TextDecoder().decode(await builtinOpenApi.v2Json())) as {
      paths: Record<string, Record<string, Any>>;
      definitions: Record<string, Any>;
    };
    const index = await builtinOpenApi.v3Index();
    const wanted = builtinKinds.groups().flatMap(({ group, versions }) => {
      const root = group === '' ? 'api' : `apis/${group}`;
      return [root, ...versions.map((version) => `${root}/${version}`)];
    });
    expect(Object.keys(index.paths).toSorted()).toEqual(wanted.toSorted());
    const seen = new Set(['/apis/', '/version/']);
    for (const name of wanted) {
      const document = JSON.parse(new TextDecoder().decode(await builtinOpenApi.v3Json(name))) as {
        openapi: string;
        paths: Record<string, Record<string, Any>>;
        components: { schemas: Record<string, Any> };
      };
      expect(document.openapi).toBe('3.0.0');
      for (const [path, item] of Object.entries(document.paths)) {
        expect(path.startsWith(`/${name}/`), path).toBe(true);
        seen.add(path);
        expect(Object.keys(item).toSorted(), path).toEqual(Object.keys(v2.paths[path]!).toSorted());
        for (const method of Object.keys(item)) {
          const [three, two] = [item[method]!, v2.paths[path]![method]!].map(method === 'parameters' ? ofPath : common);
          expect(three, `${method} ${path}`).toEqual(two);
        }
      }
      for (const [definition, schema] of Object.entries(document.components.schemas)) {
        const two = v2.definitions[definition]!;
        expect(two, definition).toBeDefined();
        for (const key of ['required', 'x-kubernetes-group-version-kind'])
          expect(schema[key], `${definition} ${key}`).toEqual(two[key]);
        // v3 tells the values of a field in its text, too.
        const textOf = ({ description }: Any): unknown => plainText(description as string | undefined);
        const fields = (one: Any): [string, unknown][] => [
          ['', textOf(one)],
          ...Object.entries((one.properties ?? {}) as Record<string, Any>).map(
            ([field, property]): [string, unknown] => [field, textOf(property)],
          ),
        ];
        expect(fields(schema), definition).toEqual(fields(two));
      }
    }
    expect([...seen].toSorted()).toEqual(Object.keys(v2.paths).toSorted());
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
