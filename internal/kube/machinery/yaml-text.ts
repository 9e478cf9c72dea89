import { isMap, isScalar, LineCounter, parseDocument, type Tags, visit } from 'yaml';
import { badRequest } from './status.ts';

/**
 * YAML as sigs.k8s.io/yaml reads it: YAML 1.1 scalars (`yes`, `0644`), but no base-60 numbers and no timestamps, which stay text.
 */
function kubernetesTags(tags: Tags): Tags {
  return tags.filter(
    (tag) =>
      typeof tag === 'string' ||
      !(
        ('format' in tag && tag.format === 'TIME') ||
        ['timestamp', 'omap', 'pairs', 'set', 'binary'].some((name) => tag.tag === `tag:yaml.org,2002:${name}`)
      ),
  );
}

const depthMax = 200;

/** A YAML text as JSON data. `duplicates` are goyaml's lines: `line 11: key "foo" already set in map`. */
export function parseYaml(text: string): { value: unknown; duplicates: string[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    version: '1.1',
    schema: 'yaml-1.1',
    merge: true,
    uniqueKeys: false,
    lineCounter: lines,
    customTags: kubernetesTags,
    logLevel: 'silent',
  });
  const first = document.errors[0];
  if (first !== undefined)
    throw badRequest(`error converting YAML to JSON: yaml: ${first.message.split('\n')[0] ?? ''}`);
  const duplicates: string[] = [];
  visit(document, (_key, node, path) => {
    if (path.length > 2 * depthMax) throw badRequest(`the body nests deeper than ${depthMax}`);
    if (!isMap(node)) return;
    const seen = new Set<string>();
    for (const pair of node.items) {
      if (!isScalar(pair.key)) continue;
      const key = String(pair.key.value);
      if (key === '__proto__') throw badRequest('the key "__proto__" is not supported');
      if (key === '<<') continue;
      if (seen.has(key)) {
        const offset = pair.key.range?.[0];
        const line = offset === undefined ? 0 : lines.linePos(offset).line;
        duplicates.push(`line ${line}: key ${JSON.stringify(key)} already set in map`);
      }
      seen.add(key);
    }
  });
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    throw badRequest(`error converting YAML to JSON: yaml: ${error instanceof Error ? error.message : String(error)}`);
  }
  return { value, duplicates };
}
