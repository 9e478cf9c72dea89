import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import { labelValueErrors, qualifiedNameErrors } from '../../machinery/selectors.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  dns1123LabelErrors,
  dns1123SubdomainErrors,
  duplicate,
  forbiddenField,
  invalidField,
  invalidValue,
  notSupported,
  required,
  tooLongField,
  tooManyField,
} from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { immutable, oneOf, part, specOf, texts } from './common.ts';
import { nodeSelectorErrors } from './pod.ts';

/** Rules of dynamic resource allocation (pkg/apis/resource/validation/validation.go), but for what the expressions of selectors mean. */
const listMax = 32;
const alternativesMax = 8;
const expressionMax = 10 * 1024;
const parametersMax = 10 * 1024;
const reservedForMax = 256;
const poolNameMax = 253;
const driverNameMax = 63;
const devicesMax = 128;
const devicesWithTaintsMax = 64;
const attributesMax = 32;
const attributeValueMax = 64;
const idMax = 32;

const label = (value: Json | undefined, path: string): FieldError[] =>
  dns1123LabelErrors(String(value ?? '')).map((why) => invalidValue(path, value ?? '', why));

function driverErrors(value: Json | undefined, path: string): FieldError[] {
  const name = String(value ?? '');
  if (name === '') return [required(path)];
  if (name.length > driverNameMax) return [tooLongField(path, driverNameMax)];
  return dns1123SubdomainErrors(name.toLowerCase()).map((why) => invalidValue(path, name, why));
}

function poolErrors(value: Json | undefined, path: string): FieldError[] {
  const name = String(value ?? '');
  if (name === '') return [required(path)];
  const errors = name.length > poolNameMax ? [tooLongField(path, poolNameMax)] : [];
  for (const segment of name.split('/'))
    for (const why of dns1123SubdomainErrors(segment)) errors.push(invalidValue(path, segment, why));
  return errors;
}

/** Items one by one, their number, and that no key comes twice. */
function each(
  items: readonly JsonObject[],
  path: string,
  max: number,
  check: (item: JsonObject, path: string) => FieldError[],
  keyOf?: (item: JsonObject) => string,
): FieldError[] {
  const errors = items.length > max ? [tooManyField(path, items.length, max)] : [];
  const seen = new Set<string>();
  for (const [index, item] of items.entries()) {
    errors.push(...check(item, `${path}[${index}]`));
    if (keyOf === undefined) continue;
    const key = keyOf(item);
    if (seen.has(key)) errors.push(duplicate(`${path}[${index}].name`, key));
    seen.add(key);
  }
  return errors;
}

const byName = (item: JsonObject): string => String(item.name ?? '');

function selectorErrors(selector: JsonObject, path: string): FieldError[] {
  if (!isObject(selector.cel)) return [required(`${path}.cel`)];
  const expression = String(selector.cel.expression ?? '');
  return expression.length > expressionMax ? [tooLongField(`${path}.cel.expression`, expressionMax)] : [];
}

function tolerationErrors(toleration: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const key = String(toleration.key ?? '');
  if (key !== '') for (const why of qualifiedNameErrors(key)) errors.push(invalidValue(`${path}.key`, key, why));
  const value = String(toleration.value ?? '');
  if (toleration.operator === 'Exists') {
    if (value !== '') errors.push(invalidValue(`${path}.value`, value, 'must be empty for operator `Exists`'));
  } else if (toleration.operator === 'Equal') {
    if (key === '') errors.push(required(`${path}.key`, 'must be specified for operator `Equal`'));
    for (const why of labelValueErrors(value)) errors.push(invalidValue(`${path}.value`, value, why));
  } else errors.push(...oneOf(toleration.operator, ['Equal', 'Exists'], `${path}.operator`));
  errors.push(...oneOf(toleration.effect, ['NoExecute', 'NoSchedule'], `${path}.effect`, true));
  return errors;
}

/** What is asked for: a class, selectors, how many. */
function demandErrors(demand: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const name = String(demand.deviceClassName ?? '');
  if (name === '') errors.push(required(`${path}.deviceClassName`));
  else for (const why of dns1123SubdomainErrors(name)) errors.push(invalidValue(`${path}.deviceClassName`, name, why));
  errors.push(...each(objects(demand.selectors), `${path}.selectors`, listMax, selectorErrors));
  const count = Number(demand.count ?? 0);
  if (demand.allocationMode === 'All') {
    if (count !== 0)
      errors.push(invalidValue(`${path}.count`, count, "must not be specified when allocationMode is 'All'"));
  } else if (demand.allocationMode === 'ExactCount') {
    if (count <= 0) errors.push(invalidValue(`${path}.count`, count, 'must be greater than zero'));
  } else errors.push(notSupported(`${path}.allocationMode`, demand.allocationMode ?? '', ['All', 'ExactCount']));
  for (const [index, toleration] of objects(demand.tolerations).entries())
    errors.push(...tolerationErrors(toleration, `${path}.tolerations[${index}]`));
  return errors;
}

function requestErrors(request: JsonObject, path: string): FieldError[] {
  const errors = label(request.name, `${path}.name`);
  const alternatives = objects(request.firstAvailable);
  const exactly = isObject(request.exactly) ? request.exactly : undefined;
  const one = 'exactly one of `exactly` or `firstAvailable` is required';
  if (exactly === undefined && alternatives.length === 0) errors.push(required(path, one));
  else if (exactly !== undefined && alternatives.length > 0)
    errors.push(invalidField(path, `${one}, but multiple fields are set`));
  else if (exactly !== undefined) errors.push(...demandErrors(exactly, `${path}.exactly`));
  else
    errors.push(
      ...each(
        alternatives,
        `${path}.firstAvailable`,
        alternativesMax,
        (alternative, at) => [...label(alternative.name, `${at}.name`), ...demandErrors(alternative, at)],
        byName,
      ),
    );
  return errors;
}

/** Names that constraints and configurations may refer to: of requests, and of alternatives as `request/alternative`. */
function requestNames(devices: JsonObject): Set<string> {
  const names = new Set<string>();
  for (const request of objects(devices.requests)) {
    names.add(byName(request));
    for (const alternative of objects(request.firstAvailable)) names.add(`${byName(request)}/${byName(alternative)}`);
  }
  return names;
}

function referenceErrors(given: Json | undefined, path: string, names: ReadonlySet<string>): FieldError[] {
  const list = texts(given);
  const errors = list.length > listMax ? [tooManyField(path, list.length, listMax)] : [];
  for (const [index, name] of list.entries()) {
    if (!names.has(name))
      errors.push(
        invalidValue(
          `${path}[${index}]`,
          name,
          "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
        ),
      );
    if (list.indexOf(name) < index) errors.push(duplicate(`${path}[${index}]`, name));
  }
  return errors;
}

function configurationErrors(configuration: JsonObject, path: string): FieldError[] {
  const opaque = configuration.opaque;
  if (!isObject(opaque)) return [required(`${path}.opaque`)];
  const errors = driverErrors(opaque.driver, `${path}.opaque.driver`);
  const at = `${path}.opaque.parameters`;
  if (opaque.parameters === undefined || opaque.parameters === null) errors.push(required(at));
  else if (!isObject(opaque.parameters))
    errors.push(invalidValue(at, '<value omitted>', 'parameters must be a valid JSON object'));
  else if (JSON.stringify(opaque.parameters).length > parametersMax) errors.push(tooLongField(at, parametersMax));
  return errors;
}

function qualifiedAttributeErrors(value: string, path: string): FieldError[] {
  if (value === '') return [required(path, 'name required')];
  const slash = value.indexOf('/');
  if (slash < 0) return [invalidValue(path, value, 'must include a domain')];
  const [domain, id] = [value.slice(0, slash), value.slice(slash + 1)];
  const errors: FieldError[] = [];
  if (domain === '') errors.push(required(path, 'the domain must not be empty'));
  else for (const why of dns1123SubdomainErrors(domain)) errors.push(invalidValue(path, domain, why));
  if (id === '') errors.push(required(path, 'the name must not be empty'));
  else errors.push(...identifierErrors(id, path));
  return errors;
}

function identifierErrors(id: string, path: string): FieldError[] {
  if (id.length > idMax) return [tooLongField(path, idMax)];
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(id)
    ? []
    : [
        invalidValue(
          path,
          id,
          "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')",
        ),
      ];
}

function claimSpecErrors(spec: JsonObject, path: string): FieldError[] {
  const devices = part(spec, 'devices');
  const at = `${path}.devices`;
  const names = requestNames(devices);
  return [
    ...each(objects(devices.requests), `${at}.requests`, listMax, requestErrors, byName),
    ...each(objects(devices.constraints), `${at}.constraints`, listMax, (constraint, place) => [
      ...referenceErrors(constraint.requests, `${place}.requests`, names),
      ...(typeof constraint.matchAttribute === 'string'
        ? qualifiedAttributeErrors(constraint.matchAttribute, `${place}.matchAttribute`)
        : typeof constraint.distinctAttribute === 'string'
          ? qualifiedAttributeErrors(constraint.distinctAttribute, `${place}.distinctAttribute`)
          : [required(`${place}.matchAttribute`)]),
    ]),
    ...each(objects(devices.config), `${at}.config`, listMax, (configuration, place) => [
      ...referenceErrors(configuration.requests, `${place}.requests`, names),
      ...configurationErrors(configuration, place),
    ]),
  ];
}

export function resourceClaimErrors(claim: JsonObject): FieldError[] {
  return claimSpecErrors(specOf(claim), 'spec');
}

/** The specification stays as it is. */
export function specImmutableErrors(object: JsonObject, old: JsonObject): FieldError[] {
  return immutable(object, old, 'spec', '');
}

export function resourceClaimTemplateErrors(template: JsonObject): FieldError[] {
  return claimSpecErrors(part(specOf(template), 'spec'), 'spec.spec');
}

export function resourceClaimStatusErrors(claim: JsonObject, old: JsonObject): FieldError[] {
  const status = part(claim, 'status');
  const before = part(old, 'status');
  const reserved = objects(status.reservedFor);
  const at = 'status.reservedFor';
  const errors = each(reserved, at, reservedForMax, (consumer, path) =>
    ['resource', 'name', 'uid'].filter((field) => !consumer[field]).map((field) => required(`${path}.${field}`)),
  );
  const uids = reserved.map((consumer) => String(consumer.uid));
  for (const [index, uid] of uids.entries())
    if (uids.indexOf(uid) < index) errors.push(duplicate(`${at}[${index}]`, uid));
  if (reserved.length > 0 && status.allocation === undefined)
    errors.push(forbiddenField(at, 'may not be specified when `allocated` is not set'));
  if (part(claim, 'metadata').deletionTimestamp !== undefined) {
    const known = objects(before.reservedFor).map((consumer) => String(consumer.uid));
    if (uids.some((uid) => !known.includes(uid)))
      errors.push(
        forbiddenField(at, 'new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set'),
      );
  }
  if (before.allocation !== undefined && status.allocation !== undefined)
    errors.push(...immutable(status, before, 'allocation', 'status'));
  else if (isObject(status.allocation)) {
    const names = requestNames(part(specOf(claim), 'devices'));
    const path = 'status.allocation';
    errors.push(
      ...each(
        objects(part(status.allocation, 'devices').results),
        `${path}.devices.results`,
        listMax,
        (result, place) => [
          ...referenceErrors([result.request ?? ''], `${place}.request`, names).map((error) => ({
            ...error,
            field: `${place}.request`,
          })),
          ...driverErrors(result.driver, `${place}.driver`),
          ...poolErrors(result.pool, `${place}.pool`),
          ...label(result.device, `${place}.device`),
        ],
      ),
    );
    if (isObject(status.allocation.nodeSelector))
      errors.push(...nodeSelectorErrors(status.allocation.nodeSelector, `${path}.nodeSelector`));
  }
  return errors;
}

export function deviceClassErrors(deviceClass: JsonObject): FieldError[] {
  const spec = specOf(deviceClass);
  return [
    ...each(objects(spec.selectors), 'spec.selectors', listMax, selectorErrors),
    ...each(objects(spec.config), 'spec.config', listMax, configurationErrors),
  ];
}

const versionPattern =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$/;

function attributeErrors(attribute: JsonObject, path: string): FieldError[] {
  const given = ['bool', 'int', 'string', 'version'].filter((field) => attribute[field] !== undefined);
  const errors: FieldError[] = [];
  for (const field of ['string', 'version'])
    if (typeof attribute[field] === 'string' && attribute[field].length > attributeValueMax)
      errors.push(tooLongField(`${path}.${field}`, attributeValueMax));
  if (typeof attribute.version === 'string' && !versionPattern.test(attribute.version))
    errors.push(
      invalidValue(`${path}.version`, attribute.version, 'must be a string compatible with semver.org spec 2.0.0'),
    );
  if (given.length !== 1) errors.push(invalidValue(path, '', 'exactly one value must be specified'));
  return errors;
}

function keyErrors(key: string, path: string): FieldError[] {
  return key.includes('/') ? qualifiedAttributeErrors(key, path) : identifierErrors(key, path);
}

const nodeFields = ['nodeName', 'nodeSelector', 'allNodes'] as const;

function deviceErrors(device: JsonObject, path: string, perDevice: boolean): FieldError[] {
  const errors = label(device.name, `${path}.name`);
  const attributes = part(device, 'attributes');
  const capacity = part(device, 'capacity');
  const count = Object.keys(attributes).length + Object.keys(capacity).length;
  if (count > attributesMax)
    errors.push(
      invalidValue(path, count, `the total number of attributes and capacities must not exceed ${attributesMax}`),
    );
  for (const key in attributes) {
    const at = `${path}.attributes[${key}]`;
    errors.push(...keyErrors(key, at), ...attributeErrors(part(attributes, key), at));
  }
  for (const key in capacity) {
    const at = `${path}.capacity[${key}]`;
    errors.push(...keyErrors(key, at));
    const policy = part(capacity, key).requestPolicy;
    if (policy !== undefined && device.allowMultipleAllocations !== true)
      errors.push(forbiddenField(`${at}.requestPolicy`, 'allowMultipleAllocations must be true'));
  }
  for (const [index, taint] of objects(device.taints).entries()) {
    const at = `${path}.taints[${index}]`;
    for (const why of qualifiedNameErrors(String(taint.key ?? '')))
      errors.push(invalidValue(`${at}.key`, taint.key ?? '', why));
    errors.push(...oneOf(taint.effect, ['NoExecute', 'NoSchedule', 'None'], `${at}.effect`));
  }
  const given = nodeFields.filter((field) => device[field] !== undefined);
  const rule =
    'exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec';
  if (perDevice && given.length === 0) errors.push(required(path, rule));
  else if (perDevice && given.length > 1)
    errors.push(invalidValue(path, `{${given.map((field) => `\`${field}\``).join(', ')}}`, rule));
  else if (!perDevice && given.length > 0)
    errors.push(
      invalidField(
        path,
        '`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec',
      ),
    );
  return errors;
}

const placeFields = ['nodeName', 'nodeSelector', 'allNodes', 'perDeviceNodeSelection'] as const;

export function resourceSliceErrors(slice: JsonObject): FieldError[] {
  const spec = specOf(slice);
  const errors = driverErrors(spec.driver, 'spec.driver');
  const pool = part(spec, 'pool');
  errors.push(...poolErrors(pool.name, 'spec.pool.name'));
  if (Number(pool.resourceSliceCount ?? 0) <= 0)
    errors.push(
      invalidValue('spec.pool.resourceSliceCount', pool.resourceSliceCount ?? 0, 'must be greater than zero'),
    );
  if (Number(pool.generation ?? 0) < 0)
    errors.push(invalidValue('spec.pool.generation', pool.generation, 'must be greater than or equal to zero'));
  for (const field of ['allNodes', 'perDeviceNodeSelection'])
    if (spec[field] === false) errors.push(invalidValue(`spec.${field}`, false, 'must be either unset or set to true'));
  if (spec.nodeName === '')
    errors.push(invalidValue('spec.nodeName', '', 'must be either unset or set to a non-empty string'));
  const given = placeFields.filter((field) => spec[field] !== undefined && spec[field] !== false && spec[field] !== '');
  const rule = 'exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required';
  if (given.length === 0) errors.push(required('spec', rule));
  else if (given.length > 1)
    errors.push(
      invalidValue(
        'spec',
        `{${given.map((field) => `\`${field}\``).join(', ')}}`,
        `${rule}, but multiple fields are set`,
      ),
    );
  if (isObject(spec.nodeSelector)) {
    errors.push(...nodeSelectorErrors(spec.nodeSelector, 'spec.nodeSelector'));
    const terms = objects(spec.nodeSelector.nodeSelectorTerms);
    if (terms.length !== 1)
      errors.push(
        invalidValue('spec.nodeSelector.nodeSelectorTerms', terms, 'must have exactly one node selector term'),
      );
  }
  const devices = objects(spec.devices);
  const heavy = devices.some(
    (device) => objects(device.taints).length > 0 || objects(device.consumesCounters).length > 0,
  );
  errors.push(
    ...each(
      devices,
      'spec.devices',
      heavy ? devicesWithTaintsMax : devicesMax,
      (device, path) => deviceErrors(device, path, spec.perDeviceNodeSelection === true),
      byName,
    ),
  );
  for (const [index, set] of objects(spec.sharedCounters).entries()) {
    const at = `spec.sharedCounters[${index}]`;
    errors.push(...(set.name ? label(set.name, `${at}.name`) : [required(`${at}.name`)]));
    if (Object.keys(part(set, 'counters')).length === 0) errors.push(required(`${at}.counters`));
  }
  if (devices.length > 0 && objects(spec.sharedCounters).length > 0)
    errors.push(invalidValue('spec', '', 'only one of `sharedCounters` or `devices` is allowed'));
  return errors;
}

export function resourceSliceUpdateErrors(slice: JsonObject, old: JsonObject): FieldError[] {
  const [spec, before] = [specOf(slice), specOf(old)];
  return [
    ...resourceSliceErrors(slice),
    ...immutable(part(spec, 'pool'), part(before, 'pool'), 'name', 'spec.pool'),
    ...immutable(spec, before, 'driver', 'spec'),
    ...immutable(spec, before, 'nodeName', 'spec'),
  ];
}
