/** `kubectl explain --recursive` of every resource that discovery tells of: the fields of the OpenAPI document, all of them, in their places. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Any, Cluster } from '../api/harness.ts';
import { clients, Kubectl } from '../api/kubectl.ts';

let cluster: Cluster;
/** What the server serves: `/openapi/v2`, which is compared with upstream's where it is made. */
let definitions: Record<string, Any>;
let resources: { groupVersion: string; plural: string; kind: string }[];

beforeAll(async () => {
  cluster = await Cluster.start();
  definitions = (await cluster.must('GET', '/openapi/v2')).definitions;
  const { groups } = await cluster.must('GET', '/apis');
  const versions = ['v1', ...groups.flatMap((group: Any) => group.versions.map((one: Any) => one.groupVersion))];
  resources = [];
  for (const groupVersion of versions) {
    const list = await cluster.must('GET', groupVersion === 'v1' ? '/api/v1' : `/apis/${groupVersion}`);
    for (const { name, kind } of list.resources)
      if (!name.includes('/')) resources.push({ groupVersion, plural: name, kind });
  }
});
afterAll(() => cluster.close());

/** `spec.replicas <integer>`: the type where the document has it in the field itself. */
type Line = string;

/** The fields of a definition and all below; a definition within itself is not opened again. */
function fields(schema: Any, path: string, open: readonly string[]): Line[] {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.replace('#/definitions/', '');
    return open.includes(name) ? [] : fields(definitions[name], path, [...open, name]);
  }
  if (schema.items !== undefined) return fields(schema.items, path, open);
  if (typeof schema.additionalProperties === 'object') return fields(schema.additionalProperties, path, open);
  return Object.entries<Any>(schema.properties ?? {}).flatMap(([name, property]) => {
    const at = path === '' ? name : `${path}.${name}`;
    return [`${at} ${typeOf(property)}`, ...fields(property, at, open)];
  });
}

function typeOf(schema: Any): string {
  if (schema.type === 'array') return `[]${typeOf(schema.items)}`;
  if (schema.type === 'object' && typeof schema.additionalProperties === 'object')
    return `map[string]${typeOf(schema.additionalProperties)}`;
  return ['string', 'integer', 'number', 'boolean'].includes(schema.type) ? schema.type : '*';
}

/** The same of what kubectl printed. */
function printed(text: string): Line[] {
  const lines: Line[] = [];
  const path: string[] = [];
  let step = 0;
  for (const [, indent, name, type] of text.slice(text.indexOf('FIELDS:')).matchAll(/^( +)(\S+)\t<(.*?)>/gm)) {
    step ||= indent!.length;
    path.length = indent!.length / step - 1;
    path.push(name!);
    lines.push(`${path.join('.')} ${type}`);
  }
  return lines;
}

/** Old and new kubectl name a definition's type in their own ways: such a type is taken as it comes. */
function comparable(line: Line, types: ReadonlyMap<string, string>): Line {
  const path = line.slice(0, line.indexOf(' '));
  const expected = types.get(path);
  return expected?.endsWith('*') ? `${path} ${expected}` : line;
}

describe.each(clients)('kubectl explain --recursive, %s', (client) => {
  test('every field of every resource, nothing else', { timeout: 300_000 }, async () => {
    const kubectl = new Kubectl(cluster, client);
    try {
      const waiting = [...resources];
      const seen: string[] = [];
      const one = async (): Promise<void> => {
        for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
          const { groupVersion, plural, kind } = next;
          const text = await kubectl.must(['explain', plural, '--recursive', `--api-version=${groupVersion}`]);
          expect(text).toMatch(new RegExp(`^KIND: +${kind}$`, 'm'));
          const [group, version] = groupVersion.includes('/') ? groupVersion.split('/') : ['', groupVersion];
          const [name] = Object.entries(definitions).find(([, definition]) =>
            definition['x-kubernetes-group-version-kind']?.some(
              (own: Any) => own.group === group && own.version === version && own.kind === kind,
            ),
          )!;
          const expected = fields({ $ref: `#/definitions/${name}` }, '', []).sort();
          const types = new Map(expected.map((line) => line.split(' ') as [string, string]));
          const told = printed(text).map((line) => comparable(line, types));
          expect(told.sort(), `${plural} of ${groupVersion}`).toEqual(expected);
          seen.push(`${groupVersion}/${plural}`);
        }
      };
      await Promise.all([one(), one(), one(), one()]);
      expect(seen.length).toBeGreaterThan(65);
    } finally {
      kubectl.close();
    }
  });
});
