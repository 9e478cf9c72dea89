import { isNode, type Structural } from '../structural/schema.ts';

/** A type of CEL as expressions are checked against it; `dyn` is checked when it runs. */
export type CelType =
  | 'dyn'
  | 'bool'
  | 'int'
  | 'double'
  | 'string'
  | 'bytes'
  | 'null'
  | 'google.protobuf.Timestamp'
  | 'google.protobuf.Duration'
  | 'kubernetes.authorization.Authorizer'
  | { readonly list: CelType }
  | { readonly map: CelType }
  | { readonly optional: CelType }
  | { readonly fields: ReadonlyMap<string, CelType> };

/** Words of the language: a field of that name is reached as `__word__`. */
const reserved: ReadonlySet<string> = new Set([
  'true',
  'false',
  'null',
  'in',
  'as',
  'break',
  'const',
  'continue',
  'else',
  'for',
  'function',
  'if',
  'import',
  'let',
  'loop',
  'package',
  'namespace',
  'return',
]);

/**
 * The identifier that a property is reached by (docs: custom-resource-definitions, "Validation rules"); undefined for names that cannot be reached.
 */
export function fieldIdentifier(name: string): string | undefined {
  if (reserved.has(name)) return `__${name}__`;
  if (!/^[A-Za-z_][A-Za-z0-9_.\-/$]*$/.test(name) || name.includes('$')) return undefined;
  return name.replace(/__|\.|-|\//g, (part) => escapes[part]!);
}

const escapes: Readonly<Record<string, string>> = {
  __: '__underscores__',
  '.': '__dot__',
  '-': '__dash__',
  '/': '__slash__',
};

const stringFormats: Readonly<Record<string, CelType>> = {
  byte: 'bytes',
  date: 'google.protobuf.Timestamp',
  'date-time': 'google.protobuf.Timestamp',
  duration: 'google.protobuf.Duration',
};

/** How expressions see a text of that format. */
export const stringType = (format: unknown): CelType => stringFormats[String(format)] ?? 'string';

/** How expressions see a node. `own`: the root or an embedded resource, which has apiVersion, kind and the name in metadata. */
export function celTypeOf(node: Structural, own = false): CelType {
  if (node.intOrString) return 'dyn';
  switch (node.type) {
    case 'boolean':
      return 'bool';
    case 'integer':
      return 'int';
    case 'number':
      return 'double';
    case 'string':
      return stringType(node.raw.format);
    case 'array':
      return { list: node.items === undefined ? 'dyn' : celTypeOf(node.items, node.items.embeddedResource) };
    case 'object':
      return objectType(node, own);
    default:
      return 'dyn';
  }
}

function objectType(node: Structural, own: boolean): CelType {
  if (isNode(node.additionalProperties)) {
    const more = node.additionalProperties;
    return { map: celTypeOf(more, more.embeddedResource) };
  }
  if (node.additionalProperties === true) return { map: 'dyn' };
  if (node.properties.size === 0 && node.preserveUnknownFields && !own) return 'dyn';
  const fields = new Map<string, CelType>();
  for (const [name, child] of node.properties) {
    const identifier = fieldIdentifier(name);
    if (identifier !== undefined) fields.set(identifier, celTypeOf(child, child.embeddedResource));
  }
  if (own) {
    fields.set('apiVersion', 'string');
    fields.set('kind', 'string');
    const metadata = new Map<string, CelType>([
      ['name', 'string'],
      ['generateName', 'string'],
    ]);
    fields.set('metadata', { fields: metadata });
  }
  return { fields };
}
