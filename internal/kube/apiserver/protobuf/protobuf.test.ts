import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { DecodeError } from '../../../base/bytes.ts';
import { seededRandom } from '../../../base/random.ts';
import { builtinKinds, builtinSchemas } from '../../api/builtin.ts';
import type { JsonObject } from '../../machinery/json.ts';
import { decodeProtobuf } from './decode.ts';
import { encodeProtobuf } from './encode.ts';

const golden = '../shared/data/kubernetes-1.36/golden';
const have = existsSync(golden);

describe('protobuf bodies', () => {
  test.skipIf(!have)(
    'golden: every kind that is served decodes to its golden JSON and encodes to its golden bytes',
    () => {
      const served = new Set<string>();
      for (const kind of builtinKinds.all) {
        const file = `${golden}/${kind.group === '' ? 'core' : kind.group}.${kind.version}.${kind.kind}`;
        if (!existsSync(`${file}.pb`)) continue;
        served.add(kind.schema);
        const bytes = readFileSync(`${file}.pb`);
        const json = JSON.parse(readFileSync(`${file}.json`, 'utf8')) as JsonObject;
        const decoded = decodeProtobuf(bytes, kind.schema, builtinSchemas);
        expect({ file, object: decoded }).toEqual({ file, object: json });
        expect({
          file,
          bytes: Buffer.from(encodeProtobuf(decoded, kind.schema, builtinSchemas)).toString('hex'),
        }).toEqual({
          file,
          bytes: bytes.toString('hex'),
        });
      }
      // Go packages other than k8s.io/api have no golden objects.
      const without = builtinKinds.all.filter((kind) => !served.has(kind.schema)).map((kind) => kind.kind);
      expect(without.sort()).toEqual(['APIService', 'CustomResourceDefinition']);
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
