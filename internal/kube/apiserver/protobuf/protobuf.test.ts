import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { DecodeError } from '../../../base/bytes.ts';
import { seededRandom } from '../../../base/random.ts';
import { builtinKinds, builtinSchemas } from '../../api/builtin.ts';
import type { JsonObject } from '../../machinery/json.ts';
import { decodeProtobuf } from './decode.ts';
import { encodeProtobuf } from './encode.ts';

const golden = '../shared/data/kubernetes-1.36/golden';
const have = existsSync(golden);

/** Types that are no kinds and that bodies are made of all the same: of subresources, options, answers. */
const otherTypes: Readonly<Record<string, string>> = {
  'authentication.k8s.io.v1.TokenRequest': 'io.k8s.api.authentication.v1.TokenRequest',
  'autoscaling.v1.Scale': 'io.k8s.api.autoscaling.v1.Scale',
  'policy.v1.Eviction': 'io.k8s.api.policy.v1.Eviction',
  ...Object.fromEntries(
    ['APIGroup', 'APIVersions', 'DeleteOptions', 'Status', 'WatchEvent'].map((type) => [
      `core.v1.${type}`,
      `io.k8s.apimachinery.pkg.apis.meta.v1.${type}`,
    ]),
  ),
};

/** Golden objects of types that no body has here, each with the reason. */
const noBody: readonly (readonly [name: RegExp, why: string])[] = [
  [/\.v\d+(alpha|beta)\d+\.\w+$/, 'alpha and beta versions are off by default, old ones are gone'],
  [/^core\.v1\.(Create|Get|List|Patch|Update)Options$/, 'in the query of a request, not in its body'],
  [/^core\.v1\.(Pod(Attach|Exec|Log|PortForward|Proxy)|NodeProxy|ServiceProxy)Options$/, 'in the query, too'],
  [/^admission\.k8s\.io\.v1\.AdmissionReview$/, 'between server and webhooks, as JSON'],
  [/^apidiscovery\.k8s\.io\.v2\.APIGroupDiscovery$/, 'discovery is answered as JSON'],
  [/^core\.v1\.(PodStatusResult|RangeAllocation|SerializedReference)$/, 'no API server serves it'],
];

describe('protobuf bodies (golden objects: skipped without the reference data beside the tree)', () => {
  test.skipIf(!have)(
    'golden: every kind and every other body decodes to its golden JSON and encodes to its golden bytes',
    () => {
      const schemas = new Map(Object.entries(otherTypes));
      for (const kind of builtinKinds.all)
        schemas.set(`${kind.group === '' ? 'core' : kind.group}.${kind.version}.${kind.kind}`, kind.schema);
      const files = readdirSync(golden).flatMap((file) => (file.endsWith('.pb') ? [file.slice(0, -3)] : []));
      expect(files).toHaveLength(185);
      const out: string[] = [];
      for (const file of files) {
        const schema = schemas.get(file);
        if (schema === undefined) {
          out.push(file);
          continue;
        }
        schemas.delete(file);
        const bytes = readFileSync(`${golden}/${file}.pb`);
        const json = JSON.parse(readFileSync(`${golden}/${file}.json`, 'utf8')) as JsonObject;
        const decoded = decodeProtobuf(bytes, schema, builtinSchemas);
        expect({ file, object: decoded }).toEqual({ file, object: json });
        expect({
          file,
          bytes: Buffer.from(encodeProtobuf(decoded, schema, builtinSchemas)).toString('hex'),
        }).toEqual({
          file,
          bytes: bytes.toString('hex'),
        });
      }
      expect(out.filter((file) => !noBody.some(([pattern]) => pattern.test(file)))).toEqual([]);
      for (const [pattern, why] of noBody)
        expect(
          out.some((file) => pattern.test(file)),
          why,
        ).toBe(true);
      // Go packages other than k8s.io/api have no golden objects.
      expect([...schemas.keys()].sort()).toEqual([
        'apiextensions.k8s.io.v1.CustomResourceDefinition',
        'apiregistration.k8s.io.v1.APIService',
      ]);
    },
  );

  test('a CustomResourceDefinition survives, with the fields of its schema that are a schema or something else', () => {
    const schema = {
      type: 'object',
      properties: { list: { type: 'array', items: { type: 'string', enum: ['a', 1, null, { b: true }] } } },
      additionalProperties: false,
      dependencies: { list: ['other'], other: { type: 'object' } },
      default: { list: [] },
      maximum: 1.5,
      'x-kubernetes-validations': [{ rule: 'self.x > 0' }],
    };
    const object: JsonObject = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'things.example.com' },
      spec: {
        group: 'example.com',
        names: { plural: 'things', kind: 'Thing' },
        scope: 'Cluster',
        versions: [{ name: 'v1', served: true, storage: false, schema: { openAPIV3Schema: schema } }],
      },
    };
    const definition = 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition';
    const decoded = decodeProtobuf(encodeProtobuf(object, definition, builtinSchemas), definition, builtinSchemas);
    expect(decoded).toMatchObject(object);
  });

  test.skipIf(!have)('fuzz: damaged messages are refused or decoded, never crash or loop', () => {
    const random = seededRandom(7);
    const original = readFileSync(`${golden}/core.v1.Pod.pb`);
    for (let round = 0; round < 300; round++) {
      const bytes = new Uint8Array(original);
      for (let n = 0; n < 1 + (round % 5); n++)
        bytes[4 + (random.uint32() % (bytes.length - 4))] = random.uint32() & 0xff;
      const cut = bytes.subarray(0, round % 3 === 0 ? 4 + (random.uint32() % bytes.length) : bytes.length);
      try {
        decodeProtobuf(cut, 'io.k8s.api.core.v1.Pod', builtinSchemas);
      } catch (error) {
        expect(error).toBeInstanceOf(DecodeError);
      }
    }
  });
});
