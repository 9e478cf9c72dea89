import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { decodeObject } from '../machinery/decode.ts';
import { cloneJson, type JsonObject } from '../machinery/json.ts';
import { builtinKinds, builtinSchemas } from './builtin.ts';
import { apiVersionOf, type KindInfo } from './kinds.ts';
import { fillDefaults } from './lifecycle.ts';
import { lost } from '../machinery/lost.testing.ts';

const golden = new URL('../../../../shared/data/kubernetes-1.36/golden', import.meta.url).pathname;
const pathOf = (kind: KindInfo): string =>
  `${golden}/${kind.group === '' ? 'core' : kind.group}.${kind.version}.${kind.kind}.json`;

/** Fields that are not as they were sent, each with the reason. */
const rewritten: readonly (readonly [path: RegExp, why: string])[] = [
  [/\.spec\.serviceAccount$/, 'the old name of serviceAccountName, kept in step with it'],
  [/^Secret\.stringData\.stringDataKey$/, 'only written: it becomes data'],
];

describe.skipIf(!existsSync(golden))('an object of every kind with every field', () => {
  const kinds = builtinKinds.all.filter((kind) => existsSync(pathOf(kind)));
  test('there is one of nearly every kind', () => expect(kinds.length).toBe(builtinKinds.all.length - 2));
  test.each(kinds.map((kind) => [apiVersionOf(kind), kind.kind, kind] as const))(
    '%s %s: every field is known and comes out as it came in; defaults only add',
    (apiVersion, name, kind) => {
      const object = JSON.parse(readFileSync(pathOf(kind), 'utf8')) as JsonObject;
      const { object: decoded } = decodeObject(cloneJson(object), {
        schema: kind.schema,
        source: builtinSchemas,
        fieldValidation: 'Strict',
        expect: { apiVersion, kind: name },
      });
      expect(decoded).toEqual(object);
      const filled = cloneJson(decoded);
      fillDefaults(kind, filled);
      const changed = lost(decoded, filled, name).filter((path) => !rewritten.some(([pattern]) => pattern.test(path)));
      expect(changed).toEqual([]);
    },
  );
});
