import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { DecodeError } from '../../../base/bytes.ts';
import { seededRandom } from '../../../base/random.ts';
import { builtinKinds, builtinSchemas } from '../../api/builtin.ts';
import type { JsonObject } from '../../machinery/json.ts';
import { decodeProtobuf } from './decode.ts';

const golden = '../shared/data/kubernetes-1.36/golden';
const have = existsSync(golden);

/** Without what Go writes for zero values that carry no meaning (empty objects of structs that are no pointers). */
function pruned(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(pruned);
  if (typeof value !== 'object' || value === null) return value;
  const out: Record<string, unknown> = {};
  for (const [key, child] of Object.entries(value)) {
    const next = pruned(child);
    if (typeof next === 'object' && next !== null && Object.keys(next).length === 0) continue;
    if (next === '' || next === 0 || next === false || next === null) continue;
    out[key] = next;
  }
  return out;
}

describe('protobuf bodies', () => {
  test.skipIf(!have)('golden: every kind that is served decodes to its golden JSON', () => {
    let seen = 0;
    for (const file of readdirSync(golden)) {
      const match = /^(.+)\.(v\w+)\.(\w+)\.pb$/.exec(file);
      if (match === null) continue;
      const group = match[1] === 'core' ? '' : match[1]!;
      const kind = builtinKinds.byKind(group, match[2]!, match[3]!);
      if (kind === undefined) continue;
      seen++;
      const decoded = decodeProtobuf(readFileSync(`${golden}/${file}`), kind.schema, builtinSchemas);
      const expected = JSON.parse(readFileSync(`${golden}/${file.replace(/pb$/, 'json')}`, 'utf8')) as JsonObject;
      expect({ file, object: pruned(decoded) }).toEqual({ file, object: pruned(expected) });
    }
    expect(seen).toBeGreaterThan(20);
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
