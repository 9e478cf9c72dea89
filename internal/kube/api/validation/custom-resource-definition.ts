import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  dns1035LabelErrors,
  dns1123SubdomainErrors,
  duplicate,
  forbiddenField,
  invalidField,
  invalidValue,
  required,
  tooManyField,
} from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { immutable, metadataOf, oneOf, part, specOf, texts } from './common.ts';
import { clientConfigErrors } from './webhooks.ts';

/**
 * Rules of CustomResourceDefinitions (k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation/validation.go) but for what is in their schemas, which
 * ../../machinery/structural and cel tell.
 */
const columnTypes = ['boolean', 'date', 'integer', 'number', 'string'];
const columnFormats = ['byte', 'date', 'date-time', 'double', 'float', 'int32', 'int64', 'password'];
const reviewVersions = ['v1', 'v1beta1'];
const selectableFieldsMax = 8;
const warningMax = 256;

/** All of what is wrong with a label, in one text as upstream has it. */
function labelText(value: string): string {
  return dns1035LabelErrors(value).join(',');
}

function namesErrors(names: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ['plural', 'singular']) {
    const value = String(names[field] ?? '');
    const why = labelText(value);
    if (value !== '' && why !== '') errors.push(invalidValue(`${path}.${field}`, value, why));
  }
  for (const field of ['kind', 'listKind']) {
    const value = String(names[field] ?? '');
    const why = labelText(value.toLowerCase());
    if (value !== '' && why !== '')
      errors.push(invalidValue(`${path}.${field}`, value, `may have mixed case, but should otherwise match: ${why}`));
  }
  for (const field of ['shortNames', 'categories'])
    for (const [index, value] of texts(names[field]).entries()) {
      const why = labelText(value);
      if (why !== '') errors.push(invalidValue(`${path}.${field}[${index}]`, value, why));
    }
  if (names.kind !== undefined && names.kind !== '' && names.kind === names.listKind)
    errors.push(invalidValue(`${path}.listKind`, names.listKind, 'kind and listKind may not be the same'));
  return errors;
}

function columnErrors(column: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const oneOfTypes = `must be one of ${columnTypes.join(',')}`;
  if (!column.name) errors.push(required(`${path}.name`));
  if (!column.type) errors.push(required(`${path}.type`, oneOfTypes));
  else if (!columnTypes.includes(String(column.type)))
    errors.push(invalidValue(`${path}.type`, column.type, oneOfTypes));
  if (column.format && !columnFormats.includes(String(column.format)))
    errors.push(invalidValue(`${path}.format`, column.format, `must be one of ${columnFormats.join(',')}`));
  if (!column.jsonPath) errors.push(required(`${path}.JSONPath`));
  else errors.push(...simplePathErrors(String(column.jsonPath), `${path}.JSONPath`));
  return errors;
}

function simplePathErrors(text: string, path: string): FieldError[] {
  return text.startsWith('.') ? [] : [invalidValue(path, text, 'must be a simple json path starting with .')];
}

/** Paths of the scale subresource lie below one of spec and status. */
function scalePathErrors(value: Json | undefined, root: string, path: string): FieldError[] {
  const text = String(value ?? '');
  if (text === '') return [required(path)];
  const errors = simplePathErrors(text, path);
  if (errors.length > 0 || text.startsWith(`${root}.`)) return errors;
  return [invalidValue(path, text, `should be a json path under ${root}`)];
}

function subresourceErrors(subresources: Json | undefined, path: string): FieldError[] {
  if (!isObject(subresources) || !isObject(subresources.scale)) return [];
  const { scale } = subresources;
  const at = `${path}.scale`;
  const errors = [
    ...scalePathErrors(scale.specReplicasPath, '.spec', `${at}.specReplicasPath`),
    ...scalePathErrors(scale.statusReplicasPath, '.status', `${at}.statusReplicasPath`),
  ];
  const selector = String(scale.labelSelectorPath ?? '');
  if (selector === '') return errors;
  const place = `${at}.labelSelectorPath`;
  const wrong = simplePathErrors(selector, place);
  if (wrong.length === 0 && !/^\.(spec|status)\./.test(selector))
    wrong.push(invalidValue(place, selector, 'should be a json path under either .spec or .status'));
  return [...errors, ...wrong];
}

/** The type of the field that a simple path names in a schema; undefined when it names none. */
function schemaAt(schema: JsonObject, jsonPath: string): JsonObject | undefined {
  const names = /^(\.[A-Za-z_][\w-]*)+$/.test(jsonPath) ? jsonPath.slice(1).split('.') : undefined;
  let at: JsonObject | undefined = names === undefined ? undefined : schema;
  for (const name of names ?? []) {
    const next: Json | undefined = part(at ?? {}, 'properties')[name];
    at = isObject(next) ? next : undefined;
    if (at === undefined) return undefined;
  }
  return at;
}

function selectableErrors(version: JsonObject, path: string): FieldError[] {
  const fields = objects(version.selectableFields);
  if (fields.length === 0) return [];
  const schema = part(version, 'schema').openAPIV3Schema;
  if (!isObject(schema))
    return [invalidValue(path, '', 'may only be set when `version.schema.openAPIV3Schema` is not included')];
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, { jsonPath: given }] of fields.entries()) {
    const at = `${path}[${index}].jsonPath`;
    const jsonPath = String(given ?? '');
    if (jsonPath === '') {
      errors.push(required(at));
      continue;
    }
    const found = schemaAt(schema, jsonPath);
    if (found === undefined) {
      errors.push(invalidValue(at, jsonPath, 'is an invalid path: does not refer to a valid field'));
      continue;
    }
    if (jsonPath.startsWith('.metadata'))
      errors.push(invalidValue(at, jsonPath, 'must not point to fields in metadata'));
    if (!['string', 'boolean', 'integer'].includes(String(found.type)))
      errors.push(
        invalidValue(
          at,
          jsonPath,
          'must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.',
        ),
      );
    if (seen.has(jsonPath)) errors.push(duplicate(at, jsonPath));
    seen.add(jsonPath);
  }
  if (seen.size > selectableFieldsMax) errors.push(tooManyField(path, seen.size, selectableFieldsMax));
  return errors;
}

function warningErrors(version: JsonObject, path: string): FieldError[] {
  const warning = version.deprecationWarning;
  if (typeof warning !== 'string') return [];
  const at = `${path}.deprecationWarning`;
  if (version.deprecated !== true) return [invalidValue(at, warning, 'can only be set for deprecated versions')];
  const errors: FieldError[] = [];
  if (warning.length > warningMax) errors.push(invalidValue(at, warning, `must be <= ${warningMax} characters long`));
  if (warning === '') errors.push(invalidValue(at, warning, 'must not be an empty string'));
  const index = warning.search(/[\p{C}\p{Zl}\p{Zp}]/u);
  if (index >= 0)
    errors.push(
      invalidValue(
        at,
        warning,
        `must only contain printable UTF-8 characters; non-printable character found at index ${index}`,
      ),
    );
  return errors;
}

function conversionErrors(conversion: JsonObject): FieldError[] {
  const at = 'spec.conversion';
  const errors = oneOf(conversion.strategy, ['None', 'Webhook'], `${at}.strategy`);
  const webhook = isObject(conversion.webhook) ? conversion.webhook : undefined;
  const client = webhook?.clientConfig;
  const versions = texts(webhook?.conversionReviewVersions);
  if (conversion.strategy !== 'Webhook') {
    if (isObject(client))
      errors.push(forbiddenField(`${at}.webhookClientConfig`, 'should not be set when strategy is not set to Webhook'));
    if (versions.length > 0)
      errors.push(
        forbiddenField(`${at}.conversionReviewVersions`, 'should not be set when strategy is not set to Webhook'),
      );
    return errors;
  }
  if (!isObject(client)) errors.push(required(`${at}.webhookClientConfig`, 'required when strategy is set to Webhook'));
  else errors.push(...clientConfigErrors(client, `${at}.webhookClientConfig`));
  errors.push(...reviewVersionErrors(versions, `${at}.conversionReviewVersions`));
  return errors;
}

function reviewVersionErrors(versions: readonly string[], path: string): FieldError[] {
  if (versions.length === 0) return [required(path)];
  const errors: FieldError[] = [];
  for (const [index, version] of versions.entries()) {
    if (versions.indexOf(version) < index) {
      errors.push(invalidValue(`${path}[${index}]`, version, 'duplicate version'));
      continue;
    }
    for (const why of dns1035LabelErrors(version)) errors.push(invalidValue(`${path}[${index}]`, version, why));
  }
  if (!versions.some((version) => reviewVersions.includes(version)))
    errors.push(invalidValue(path, versions, `must include at least one of ${reviewVersions.join(', ')}`));
  return errors;
}

function versionsErrors(spec: JsonObject): FieldError[] {
  const versions = objects(spec.versions);
  const at = 'spec.versions';
  const errors: FieldError[] = [];
  for (const [index, version] of versions.entries()) {
    const path = `${at}[${index}]`;
    if (!isObject(part(version, 'schema').openAPIV3Schema)) errors.push(required(`${path}.schema.openAPIV3Schema`));
    const why = labelText(String(version.name ?? ''));
    if (why !== '') errors.push(invalidValue(`${path}.name`, version.name ?? '', why));
    errors.push(...warningErrors(version, path));
    errors.push(...subresourceErrors(version.subresources, `${path}.subresources`));
    for (const [i, column] of objects(version.additionalPrinterColumns).entries())
      errors.push(...columnErrors(column, `${path}.additionalPrinterColumns[${i}]`));
    errors.push(...selectableErrors(version, `${path}.selectableFields`));
  }
  const names = versions.map((version) => version.name);
  if (new Set(names).size < names.length) errors.push(invalidField(at, 'must contain unique version names'));
  if (versions.filter((version) => version.storage === true).length !== 1)
    errors.push(invalidField(at, 'must have exactly one version marked as storage version'));
  return errors;
}

function specErrors(spec: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const group = String(spec.group ?? '');
  if (group === '') errors.push(required('spec.group'));
  else {
    const why = dns1123SubdomainErrors(group).join(',');
    if (why !== '') errors.push(invalidValue('spec.group', group, why));
    else if (!group.includes('.'))
      errors.push(invalidValue('spec.group', group, 'should be a domain with at least one dot'));
  }
  errors.push(...oneOf(spec.scope, ['Cluster', 'Namespaced'], 'spec.scope'));
  errors.push(...versionsErrors(spec));
  const names = part(spec, 'names');
  for (const field of ['plural', 'singular', 'kind', 'listKind'])
    if (!names[field]) errors.push(required(`spec.names.${field}`));
  errors.push(...namesErrors(names, 'spec.names'));
  if (isObject(spec.conversion)) errors.push(...conversionErrors(spec.conversion));
  return errors;
}

function storedVersionsErrors(definition: JsonObject): FieldError[] {
  const at = 'status.storedVersions';
  const stored = texts(part(definition, 'status').storedVersions);
  if (stored.length === 0) return [invalidValue(at, stored, 'must have at least one stored version')];
  const versions = objects(specOf(definition).versions);
  const errors: FieldError[] = [];
  for (const version of versions)
    if (version.storage === true && !stored.includes(String(version.name)))
      errors.push(invalidValue(at, stored, `must have the storage version ${String(version.name)}`));
  for (const [index, name] of stored.entries())
    if (!versions.some((version) => version.name === name))
      errors.push(
        invalidValue(
          `${at}[${index}]`,
          name,
          `missing from spec.versions; ${name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in ${name} and removes ${name} from status.storedVersions`,
        ),
      );
  return errors;
}

const approvalAnnotation = 'api-approved.kubernetes.io';

/** Groups of the Kubernetes project itself want a word of where they were approved (KEP-1111). */
function approvalErrors(definition: JsonObject, old: JsonObject | undefined): FieldError[] {
  const errors = approvalState(definition);
  // What was let in stays in.
  return old !== undefined && approvalState(old).length === errors.length ? [] : errors;
}

function approvalState(definition: JsonObject): FieldError[] {
  const group = String(specOf(definition).group ?? '');
  if (!/(^|\.)(k8s\.io|kubernetes\.io)$/.test(group)) return [];
  const at = `metadata.annotations[${approvalAnnotation}]`;
  const value = part(metadataOf(definition), 'annotations')[approvalAnnotation];
  const see = 'see https://github.com/kubernetes/enhancements/pull/1111';
  if (value === undefined || value === '')
    return [
      required(at, `protected groups must have approval annotation ${JSON.stringify(approvalAnnotation)}, ${see}`),
    ];
  if (String(value).startsWith('unapproved')) return [];
  return URL.canParse(String(value))
    ? []
    : [
        invalidValue(
          at,
          value,
          `protected groups must have approval annotation ${JSON.stringify(approvalAnnotation)} with either a URL or a reason starting with "unapproved", ${see}`,
        ),
      ];
}

function commonErrors(definition: JsonObject, old?: JsonObject): FieldError[] {
  return [
    ...specErrors(specOf(definition)),
    ...namesErrors(part(part(definition, 'status'), 'acceptedNames'), 'status.acceptedNames'),
    ...storedVersionsErrors(definition),
    ...approvalErrors(definition, old),
  ];
}

export function customResourceDefinitionErrors(definition: JsonObject): FieldError[] {
  const spec = specOf(definition);
  const errors: FieldError[] = [];
  const name = String(metadataOf(definition).name ?? '');
  if (name !== `${String(part(spec, 'names').plural ?? '')}.${String(spec.group ?? '')}`)
    errors.push(invalidValue('metadata.name', name, 'must be spec.names.plural+"."+spec.group'));
  errors.push(...commonErrors(definition));
  if (spec.preserveUnknownFields === true)
    errors.push(
      invalidValue(
        'spec.preserveUnknownFields',
        true,
        'cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead',
      ),
    );
  return errors;
}

export function customResourceDefinitionUpdateErrors(definition: JsonObject, old: JsonObject): FieldError[] {
  const spec = specOf(definition);
  const before = specOf(old);
  const errors = commonErrors(definition, old);
  const established = objects(part(old, 'status').conditions).some(
    (condition) => condition.type === 'Established' && condition.status === 'True',
  );
  if (established) {
    errors.push(...immutable(spec, before, 'scope', 'spec'));
    errors.push(...immutable(part(spec, 'names'), part(before, 'names'), 'kind', 'spec.names'));
  }
  errors.push(...immutable(spec, before, 'group', 'spec'));
  errors.push(...immutable(part(spec, 'names'), part(before, 'names'), 'plural', 'spec.names'));
  return errors;
}

export function customResourceDefinitionStatusErrors(definition: JsonObject): FieldError[] {
  return namesErrors(part(part(definition, 'status'), 'acceptedNames'), 'status.acceptedNames');
}
