/** What checking the expressions of a ValidatingAdmissionPolicy against the types of its objects finds (KEP-3488, "Type checking"). */
import { errorText } from '../../../base/errors.ts';
import { getPath, isObject, type Json, type JsonObject } from '../json.ts';
import { resolve, type Schema, type SchemaSource } from '../openapi.ts';
import { namespaceType, requestType } from './admission-types.ts';
import { registerAuthorizer } from './library-authorizer.ts';
import { compile, type Scope } from './program.ts';
import { type CelType, fieldIdentifier, stringType } from './types.ts';

/** Upstream checks no more types than this. */
const typesMax = 10;

export interface CheckedResource {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
}

export interface CheckedType {
  /** `apps/v1, Kind=Deployment` */
  readonly name: string;
  readonly type: CelType;
}

export interface ExpressionWarning {
  readonly fieldRef: string;
  readonly warning: string;
}

const texts = (value: Json | undefined): string[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];
const objects = (value: Json | undefined): JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : []);

/** The resources that a policy's rules name: none for a group or version with a wildcard; subresources have no type of their own. */
export function checkedResources(policy: JsonObject): CheckedResource[] {
  const found = new Map<string, CheckedResource>();
  for (const rule of objects(getPath(policy, 'spec', 'matchConstraints', 'resourceRules'))) {
    const [groups, versions] = [texts(rule.apiGroups), texts(rule.apiVersions)];
    if ([...groups, ...versions].some((one) => one.includes('*'))) continue;
    for (const group of groups.toSorted())
      for (const version of versions.toSorted())
        for (const resource of texts(rule.resources).toSorted())
          if (!/[*/]/.test(resource)) found.set(`${group}/${version}/${resource}`, { group, version, resource });
  }
  return [...found.values()].slice(0, typesMax);
}

/** The kind of a policy's parameters. */
export function paramKindOf(policy: JsonObject): { group: string; version: string; kind: string } | undefined {
  const given = getPath(policy, 'spec', 'paramKind');
  if (!isObject(given)) return undefined;
  const apiVersion = String(given.apiVersion ?? '');
  const slash = apiVersion.indexOf('/');
  return {
    group: slash < 0 ? '' : apiVersion.slice(0, slash),
    version: apiVersion.slice(slash + 1),
    kind: String(given.kind ?? ''),
  };
}

/** How expressions see an object of a published definition. A type inside itself is not looked into. */
export function celTypeOfDefinition(source: SchemaSource, name: string): CelType {
  const known = new Map<string, CelType>();
  const of = (given: Schema): CelType => {
    if (given.ref !== undefined) {
      const { ref } = given;
      let type = known.get(ref);
      if (type === undefined) {
        known.set(ref, 'dyn');
        type = of(resolve(source, given));
        known.set(ref, type);
      }
      return type;
    }
    const schema = given;
    if (schema.intOrString === true) return 'dyn';
    switch (schema.type) {
      case 'boolean':
        return 'bool';
      case 'integer':
        return 'int';
      case 'number':
        return 'double';
      case 'string':
        return stringType(schema.format);
      case 'array':
        return { list: schema.items === undefined ? 'dyn' : of(schema.items) };
      default:
        break;
    }
    if (schema.additionalProperties !== undefined) return { map: of(schema.additionalProperties) };
    if (schema.properties === undefined) return 'dyn';
    const fields = new Map<string, CelType>();
    for (const [field, child] of Object.entries(schema.properties)) {
      const identifier = fieldIdentifier(field);
      if (identifier !== undefined) fields.set(identifier, of(child));
    }
    return { fields };
  };
  return of({ ref: name });
}

const plainTypes: ReadonlySet<string> = new Set(['bool', 'int', 'double', 'string', 'bytes']);

/** The scope of a policy's expressions for objects of one type, variables included; those that do not compile are of any type. */
function scopeFor(policy: JsonObject, type: CelType, params: CelType | undefined): Scope {
  const variables = new Map<string, CelType>();
  const scope = (): Scope => ({
    variables: {
      object: type,
      oldObject: type,
      request: requestType,
      ...(params === undefined ? {} : { params }),
      namespaceObject: namespaceType,
      authorizer: 'kubernetes.authorization.Authorizer',
      variables: { fields: new Map(variables) },
    },
    messages: ['Object', 'JSONPatch'],
    extend: registerAuthorizer,
  });
  for (const { name, expression } of objects(getPath(policy, 'spec', 'variables'))) {
    let found: CelType = 'dyn';
    try {
      const program = compile(String(expression), scope());
      if (plainTypes.has(program.type)) found = program.type as CelType;
    } catch {
      // The policy could not have been made with a variable that compiles for no type.
    }
    variables.set(String(name), found);
  }
  return scope();
}

/** A warning for each expression of the validations that does not fit one of the types. `params`: the type of the policy's parameters, where it has such. */
export function expressionWarnings(
  policy: JsonObject,
  types: readonly CheckedType[],
  params?: CelType,
): ExpressionWarning[] {
  const scopes = types
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, type }) => ({ name, scope: scopeFor(policy, type, params) }));
  const out: ExpressionWarning[] = [];
  for (const [index, validation] of objects(getPath(policy, 'spec', 'validations')).entries())
    for (const field of ['expression', 'messageExpression'] as const) {
      const text = validation[field];
      if (typeof text !== 'string' || text === '') continue;
      const found: string[] = [];
      for (const { name, scope } of scopes)
        try {
          compile(text, scope);
        } catch (error) {
          found.push(`${name}: ERROR: ${errorText(error)}\n`);
        }
      if (found.length > 0) out.push({ fieldRef: `spec.validations[${index}].${field}`, warning: found.join('\n') });
    }
  return out;
}
