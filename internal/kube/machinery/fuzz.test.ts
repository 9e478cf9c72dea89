import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import { builtinKinds } from '../api/builtin.ts';
import { fillDefaults } from '../api/lifecycle.ts';
import { builtinSchemas } from '../api/schema/structure.ts';
import { decodeBody, decodeObject } from './decode.ts';
import { isObject, type Json, type JsonObject } from './json.ts';
import { serverSideApply, trackUpdate } from './managedfields.ts';
import { applyJsonPatch, applyMergePatch, applyStrategicMergePatch } from './patch.ts';
import { parseFieldSelector, parseLabelSelector } from './selectors.ts';
import { StatusError } from './status.ts';

/** Whatever a client sends is answered by a StatusError or a result: nothing else is thrown, and nothing hangs. */
const seed = Number(process.env.FUZZ_SEED ?? 1);
const rounds = Number(process.env.FUZZ_ROUNDS ?? 1500);
const random = seededRandom(seed);
const pick = <T>(list: readonly T[]): T => list[random.uint32() % list.length]!;

const words = [
  'metadata',
  'spec',
  'name',
  'labels',
  'containers',
  'template',
  'constructor',
  'toString',
  '$patch',
  '$retainKeys',
  '$setElementOrder/containers',
  '$deleteFromPrimitiveList/finalizers',
  'finalizers',
  'ports',
  'containerPort',
  'managedFields',
  'volumes',
  'env',
  'status',
  'conditions',
  'type',
  'a',
];
const scalars: readonly Json[] = [
  null,
  true,
  0,
  -1,
  1.5,
  2 ** 40,
  '',
  'delete',
  'replace',
  'merge',
  '1Gi',
  '2026-01-01T00:00:00Z',
  '\u0000',
  'x'.repeat(300),
];

function value(depth: number): Json {
  const kind = random.uint32() % (depth > 4 ? 1 : 4);
  if (kind <= 1 && depth > 0) return pick(scalars);
  if (kind === 2) return Array.from({ length: random.uint32() % 4 }, () => value(depth + 1));
  const out: JsonObject = {};
  for (let i = random.uint32() % 5; i > 0; i--) out[pick(words)] = value(depth + 1);
  return out;
}

/** A plausible object with some places replaced by anything. */
function mutated(object: Json, depth = 0): Json {
  if (random.uint32() % 12 === 0) return value(depth);
  if (Array.isArray(object)) return object.map((item) => mutated(item, depth + 1));
  if (!isObject(object)) return object;
  const out: JsonObject = {};
  for (const key in object)
    out[random.uint32() % 20 === 0 ? pick(words) : key] = mutated(object[key] ?? null, depth + 1);
  return out;
}

const pod: JsonObject = {
  metadata: {
    name: 'p',
    labels: { a: 'b' },
    finalizers: ['a/b'],
    ownerReferences: [{ uid: 'u', name: 'n', kind: 'K', apiVersion: 'v1' }],
  },
  spec: {
    containers: [
      {
        name: 'c',
        image: 'i',
        ports: [{ containerPort: 80 }],
        env: [{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
        resources: { limits: { cpu: '1' } },
      },
    ],
    volumes: [{ name: 'v', projected: { sources: [{ serviceAccountToken: { path: 't' } }] } }],
    tolerations: [{ key: 'k', operator: 'Exists' }],
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'In', values: ['b'] }] }],
        },
      },
    },
  },
};

function calm(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
  }
}

describe(`machinery under garbage, seed ${seed}`, () => {
  const kinds = builtinKinds.all.filter((kind) => !kind.virtual);
  const options = { schema: 'io.k8s.api.core.v1.Pod', source: builtinSchemas };
  const owner = { ...options, apiVersion: 'v1', manager: 'm', subresource: '', time: '2026-01-01T00:00:00Z' };
  test('bodies of every kind: decoded, defaulted and validated', () => {
    for (let i = 0; i < rounds; i++) {
      const kind = pick(kinds);
      const input = random.uint32() % 2 === 0 ? mutated(pod) : value(0);
      calm(() => {
        const { object } = decodeObject(input, {
          schema: kind.schema,
          source: builtinSchemas,
          fieldValidation: pick(['Ignore', 'Warn', 'Strict'] as const),
        });
        fillDefaults(kind, object);
        kind.strategy.validate?.(object);
        kind.strategy.validateUpdate?.(
          object,
          decodeObject(pod, { schema: kind.schema, source: builtinSchemas, fieldValidation: 'Ignore' }).object,
        );
        kind.printer.row(object, 0);
      });
    }
  });
  test('patches', () => {
    for (let i = 0; i < rounds; i++) {
      const patch = mutated(pod);
      calm(() => applyStrategicMergePatch(pod, patch, options.schema, builtinSchemas));
      calm(() => applyMergePatch(pod, patch));
      const path = `/${[pick(words), pick(words), String(random.uint32() % 3)].slice(0, 1 + (random.uint32() % 3)).join('/')}`;
      calm(() =>
        applyJsonPatch(pod, [
          {
            op: pick(['add', 'remove', 'replace', 'move', 'copy', 'test', 'x']),
            path,
            from: `/${pick(words)}`,
            value: value(1),
          },
        ]),
      );
      calm(() => applyJsonPatch(pod, value(0)));
    }
  });
  test('field ownership: what was applied decodes, and applying it again changes nothing', () => {
    for (let i = 0; i < rounds; i++) {
      calm(() => {
        const decode = (input: Json): JsonObject =>
          decodeObject(input, { ...options, fieldValidation: 'Ignore' }).object;
        const live = decode(pod);
        trackUpdate(undefined, live, owner);
        const intent = decode(mutated(pod));
        if (isObject(intent.metadata)) delete intent.metadata.managedFields;
        const applied = serverSideApply(live, intent, { ...owner, manager: 'applier', force: true });
        const again = serverSideApply(applied, intent, {
          ...owner,
          manager: 'applier',
          force: false,
          time: '2027-01-01T00:00:00Z',
        });
        expect(again).toEqual(applied);
      });
    }
  });
  test('texts: JSON, YAML, selectors', () => {
    const alphabet = '{}[]":,abc01 \n-&*!|>\\u#%@\'=<()';
    for (let i = 0; i < rounds; i++) {
      let text = '';
      for (let n = random.uint32() % 40; n > 0; n--) text += alphabet[random.uint32() % alphabet.length];
      const bytes = new TextEncoder().encode(
        random.uint32() % 2 === 0 ? text : JSON.stringify(pod).slice(0, random.uint32() % 300) + text,
      );
      for (const type of ['application/json', 'application/yaml'])
        calm(() => decodeBody(bytes, type, { ...options, fieldValidation: 'Warn' }));
      calm(() => parseLabelSelector(text));
      calm(() => parseFieldSelector(text));
    }
  });
  test('an alias bomb in YAML is refused', () => {
    const lines = ['a0: &a0 [x,x,x,x,x,x,x,x,x,x]'];
    for (let i = 1; i < 9; i++)
      lines.push(`a${i}: &a${i} [${Array.from({ length: 10 }, () => `*a${i - 1}`).join(',')}]`);
    expect(() =>
      decodeBody(new TextEncoder().encode(lines.join('\n')), 'application/yaml', {
        ...options,
        fieldValidation: 'Warn',
      }),
    ).toThrow(StatusError);
  });
});
