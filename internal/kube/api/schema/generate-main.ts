/**
 * Makes `definitions.table`, `docs.json.zst` and `../types/*.ts` from the models of npm packages, unpacked in one directory:
 *
 *   npm pack kubernetes-models@5.1.0 @kubernetes-models/apimachinery@3.0.2 @kubernetes/client-node@2.0.1
 *   (each unpacked to <dir>/models, <dir>/apimachinery, <dir>/client-node)
 *   bun internal/kube/api/schema/generate-main.ts <dir>
 *
 * kubernetes-models (MIT) is itself made from the OpenAPI documents of Kubernetes 1.36 (Apache-2.0) and has the fields, references, required
 * fields, enumerations and texts; client-node (Apache-2.0) adds the integer and string formats. Neither has the places in protobuf nor what tells how values
 * merge: those facts are kept from the `definitions.table` that is there. A new field has the place `-` until somebody writes the number of its Go tag in.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { constants, zstdCompressSync } from 'node:zlib';
import { definitionOf, hasDefinition, placeWord, shortName } from './definitions.ts';
import { schemaRoots } from './roots.ts';

interface Field {
  name: string;
  required: boolean;
  /** TypeScript type as in the declaration, white space collapsed. */
  type: string;
  doc: string;
}

interface Definition {
  doc: string;
  fields: Field[];
}

const directory = process.argv[2];
if (directory === undefined) throw new Error('usage: bun generate-main.ts <directory of the unpacked packages>');
const here = dirname(fileURLToPath(import.meta.url));

/** `IIoK8sApiCoreV1Pod` -> `io.k8s.api.core.v1.Pod`, filled as files are found. */
const names = new Map<string, string>();
const files = new Map<string, string>();

function scan(root: string, prefix: (path: string[]) => string | undefined, path: string[] = []): void {
  for (const entry of readdirSync(join(root, ...path), { withFileTypes: true })) {
    if (entry.isDirectory() && entry.name !== '_schemas') scan(root, prefix, [...path, entry.name]);
    else if (entry.name.endsWith('.d.ts') && entry.name !== 'index.d.ts') {
      const base = prefix(path);
      if (base === undefined) continue;
      const file = join(root, ...path, entry.name);
      const name = `${base}.${entry.name.slice(0, -5)}`;
      files.set(name, file);
      for (const match of readFileSync(file, 'utf8').matchAll(/ as (II[A-Za-z0-9_]+)/g)) names.set(match[1]!, name);
    }
  }
}

/** Go packages outside k8s.io/api. */
const elsewhere: Record<string, string> = {
  'apiextensions.k8s.io': 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions',
  'apiregistration.k8s.io': 'io.k8s.kube-aggregator.pkg.apis.apiregistration',
};
scan(join(directory, 'models'), ([group, version]) => {
  if (group === undefined) return undefined;
  if (version === undefined) return /^v\d/.test(group) ? `io.k8s.api.core.${group}` : undefined;
  return `${elsewhere[group] ?? `io.k8s.api.${group.split('.')[0]}`}.${version}`;
});
scan(join(directory, 'apimachinery'), (path) => `io.k8s.apimachinery.pkg.${path.join('.')}`);

function docText(comment: string): string {
  return comment
    .replace(/^\s*\/\*\*\n?|\s*\*\/\s*$/g, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, ''))
    .join('\n')
    .replace(/\\([*_/@])/g, '$1')
    .trim();
}

function parse(file: string): Definition {
  const text = readFileSync(file, 'utf8');
  const head = /(\/\*\*(?:(?!\*\/)[\s\S])*?\*\/\n)?export interface I\w+[^{]*\{/.exec(text);
  if (head === null) return { doc: '', fields: [] };
  const doc = head[1] === undefined ? '' : docText(head[1]);
  const body = text.slice(head.index + head[0].length);
  const fields: Field[] = [];
  const pattern = /\s*(\/\*\*(?:(?!\*\/)[\s\S])*?\*\/)?\s*"([^"]+)"(\??): ((?:\{[^}]*\}|[^;{}])+);/y;
  for (let match = pattern.exec(body); match !== null; match = pattern.exec(body)) {
    fields.push({
      doc: match[1] === undefined ? '' : docText(match[1]),
      name: match[2]!,
      required: match[3] === '',
      type: match[4]!.replace(/\s+/g, ' ').trim(),
    });
  }
  return { doc, fields };
}

/** Formats by field from client-node's attribute map of the same class. */
function formats(definition: string, fields: Field[]): Map<string, string> {
  const name = definition.slice(definition.lastIndexOf('.') + 1);
  const [group, version] = definition.split('.').slice(-3);
  const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);
  const candidates = [
    `${capital(group ?? '')}${capital(version ?? '')}${name}`,
    `${capital(version ?? '')}${name}`,
    `V1${name}`,
    `${name}`,
  ];
  if (name === 'Info') candidates.unshift('VersionInfo');
  for (const candidate of candidates) {
    const file = join(directory!, 'client-node/dist/gen/models', `${candidate}.js`);
    if (!existsSync(file)) continue;
    const map = new Map<string, string>();
    const text = readFileSync(file, 'utf8');
    for (const match of text.matchAll(/"baseName": "([^"]+)",\s*"type": "([^"]*)",\s*"format": "([^"]*)"/g))
      map.set(match[1]!, match[3]!);
    if (fields.every((field) => map.has(field.name))) return map;
  }
  if (fields.some((field) => field.type.includes('number'))) console.error(`no formats for ${definition}`);
  return new Map();
}

const special = new Map([
  ['io.k8s.apimachinery.pkg.api.resource.Quantity', 'Quantity'],
  ['io.k8s.apimachinery.pkg.util.intstr.IntOrString', 'IntOrString'],
  ['io.k8s.apimachinery.pkg.apis.meta.v1.Time', 'Time'],
  ['io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime', 'MicroTime'],
  ['io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1', 'FieldsV1'],
  ['io.k8s.apimachinery.pkg.apis.meta.v1.Patch', 'Patch'],
  ['io.k8s.apimachinery.pkg.runtime.RawExtension', 'RawExtension'],
  ['io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON', 'JSON'],
  ['io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray', 'JSONSchemaPropsOrArray'],
  ['io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool', 'JSONSchemaPropsOrBool'],
  [
    'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray',
    'JSONSchemaPropsOrStringArray',
  ],
]);
/** How special types are written in TypeScript where it is not `string`. */
const specialTypes: Readonly<Record<string, string>> = {
  FieldsV1: 'JsonObject',
  RawExtension: 'JsonObject',
  Patch: 'JsonObject',
  Quantity: 'Quantity',
  IntOrString: 'IntOrString',
  JSON: 'Json',
  JSONSchemaPropsOrArray: 'JSONSchemaProps | JSONSchemaProps[]',
  JSONSchemaPropsOrBool: 'JSONSchemaProps | boolean',
  JSONSchemaPropsOrStringArray: 'JSONSchemaProps | string[]',
};

/** By full name: the lines of the block. */
const structure: Record<string, string[]> = {};
const docs: Record<string, Record<string, string>> = {};
const typeScript: Record<string, { fields: [Field, string][]; kind: boolean }> = {};
const queue = [...schemaRoots, ...special.keys()];
const seen = new Set<string>();

/** The code of a type of a field of `owner`, see `definitions.ts`; references are queued. */
function code(type: string, format: string, owner: string): [code: string, typeScript: string] {
  const array = /^Array<(.*)>$/.exec(type);
  if (array !== null) {
    const [c, t] = code(array[1]!, format, owner);
    return [`[]${c}`, /[|{ ]/.test(t) ? `(${t})[]` : `${t}[]`];
  }
  const map = /^\{ \[key: string\]: (.*); \}$/.exec(type);
  if (map !== null) {
    const [c, t] = code(map[1]!, format, owner);
    return [`{}${c}`, `Record<string, ${t}>`];
  }
  if (type === 'string') return [format === 'byte' ? 'y' : 's', 'string'];
  if (type === 'boolean') return ['b', 'boolean'];
  if (type === 'number')
    return [format === 'double' ? 'd' : format === 'int32' ? 'i' : format === 'int64' ? 'l' : '?', 'number'];
  if (/^"/.test(type)) return [`s(${type.replace(/"/g, '').split(' | ').join('|').replaceAll(' ', '%20')})`, type];
  if (/^(unknown|any|\{\s*\}|object)$/.test(type)) return ['o', 'unknown'];
  // The models write a kind inside another out, with optional kind and apiVersion.
  const inline = /"apiVersion"\?: string.*"spec"\?: (II\w+)Spec;/.exec(type);
  if (inline !== null) type = inline[1]!;
  // A type that refers to itself has no import.
  if (/^I[A-Z]/.test(type) && owner.endsWith(`.${type.slice(1)}`))
    for (const [imported, full] of names) if (full === owner) type = imported;
  const name = names.get(type);
  if (name === undefined) throw new Error(`type ${type} is not known`);
  queue.push(name);
  return [`@${shortName(name)}`, type];
}

while (queue.length > 0) {
  const name = queue.shift()!;
  if (seen.has(name)) continue;
  seen.add(name);
  const file = files.get(name);
  if (file === undefined) throw new Error(`no declaration of ${name}`);
  const { doc, fields } = parse(file);
  docs[name] = doc === '' ? {} : { '': doc };
  if (special.has(name)) continue;
  const format = formats(name, fields);
  const kind = fields.some((field) => field.name === 'kind' && field.type.startsWith('"'));
  const known = hasDefinition(name) ? definitionOf(name) : { words: [], fields: [] };
  const lines = [[shortName(name), ...known.words].join(' ')];
  const types: [Field, string][] = [];
  for (const field of fields) {
    const typeMeta = kind && (field.name === 'kind' || field.name === 'apiVersion');
    const [c, t] = typeMeta ? ['s', field.type] : code(field.type, format.get(field.name) ?? '', name);
    const facts = known.fields.find((one) => one.name === field.name);
    const place = facts?.place === undefined ? '-' : placeWord(facts.place);
    const tail =
      facts === undefined || facts.words.length + (place === '-' ? 0 : 1) === 0 ? [] : [place, ...facts.words];
    lines.push([field.name, c + (field.required && !typeMeta ? '!' : ''), ...tail].join(' '));
    types.push([field, t]);
    if (field.doc !== '') docs[name][field.name] = field.doc;
  }
  structure[name] = [lines[0]!, ...lines.slice(1).sort()];
  typeScript[name] = { fields: types, kind };
}

const sorted = <T>(record: Record<string, T>): Record<string, T> =>
  Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(
  join(here, 'definitions.table'),
  `${Object.values(sorted(structure))
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`,
);
writeFileSync(
  join(here, 'docs.json.zst'),
  zstdCompressSync(JSON.stringify(sorted(docs)), { params: { [constants.ZSTD_c_compressionLevel]: 19 } }),
);

// TypeScript: one file a package.
mkdirSync(join(here, '../types'), { recursive: true });
const fileOf = (name: string): string => {
  if (name.startsWith('io.k8s.apimachinery')) return 'meta';
  const [group, version] = name.split('.').slice(-3);
  return version === 'v1' ? group! : `${group}-${version}`;
};
const shortOf = (name: string): string => name.slice(name.lastIndexOf('.') + 1);
const byFile = new Map<string, string[]>();
for (const name of Object.keys(sorted(typeScript))) {
  const list = byFile.get(fileOf(name)) ?? [];
  list.push(name);
  byFile.set(fileOf(name), list);
}
for (const [file, definitions] of byFile) {
  const imports = new Map<string, Set<string>>();
  let text = '';
  for (const name of definitions) {
    const { fields, kind } = typeScript[name]!;
    if (fields.length === 0) {
      text += `\nexport type ${shortOf(name)} = Record<string, never>;\n`;
      continue;
    }
    text += `\nexport interface ${shortOf(name)} {\n`;
    for (const [field, type] of fields) {
      const shown = type.replace(/II\w+/g, (whole) => {
        const target = names.get(whole)!;
        const scalar = special.get(target);
        if (scalar !== undefined) return specialTypes[scalar] ?? 'string';
        if (fileOf(target) !== file) {
          const set = imports.get(fileOf(target)) ?? new Set();
          set.add(shortOf(target));
          imports.set(fileOf(target), set);
        }
        return shortOf(target);
      });
      const list = name.endsWith('List') && field.name === 'metadata';
      const metadata = kind && field.name === 'metadata';
      const finalType = metadata && !list ? 'ObjectMeta' : shown.replace(/^ObjectMeta$/, 'Partial<ObjectMeta>');
      const key = /^[A-Za-z_$][\w$]*$/.test(field.name) ? field.name : `'${field.name}'`;
      text += `  ${key}${field.required || metadata ? '' : '?'}: ${finalType.replace(/"/g, "'")};\n`;
    }
    text += '}\n';
  }
  if (/\bObjectMeta\b/.test(text) && file !== 'meta') {
    const set = imports.get('meta') ?? new Set();
    set.delete('ObjectMeta');
    imports.set('meta', set);
  }
  let head = '// Made by ../schema/generate-main.ts; do not edit.\n';
  if (/\bObjectMeta\b/.test(text) && file !== 'meta')
    head += "import type { ObjectMeta } from '../../client/api.ts';\n";
  const json = ['Json', 'JsonObject'].filter((type) => new RegExp(`\\b${type}\\b`).test(text));
  if (json.length > 0) head += `import type { ${json.join(', ')} } from '../../machinery/json.ts';\n`;
  if (file === 'meta') text = text.replace(/\nexport interface (ObjectMeta|OwnerReference) \{[\s\S]*?\n\}\n/g, '');
  for (const [other, set] of [...imports].sort(([a], [b]) => (a < b ? -1 : 1)))
    if (set.size > 0) head += `import type { ${[...set].sort().join(', ')} } from './${other}.ts';\n`;
  if (/\b(Quantity|IntOrString)\b/.test(text))
    head += `import type { ${['IntOrString', 'Quantity'].filter((t) => new RegExp(`\\b${t}\\b`).test(text)).join(', ')} } from './scalars.ts';\n`;
  writeFileSync(join(here, '../types', `${file}.ts`), head + text);
}
console.error(`${Object.keys(structure).length} definitions`);
