import { isObject, type Json, type JsonObject, jsonEqual } from '../../machinery/json.ts';
import { qualifiedNameErrors } from '../../machinery/selectors.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  configMapKeyErrors,
  duplicate,
  forbiddenField,
  immutableMessage,
  invalidValue,
  ipErrors,
  notSupported,
  portNumberErrors,
  required,
  tooLongField,
} from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { specOf } from './common.ts';

/** Rules of the rest of the core group (pkg/apis/core/validation). */
const dataBytesMax = 1024 * 1024;
const protocols = ['SCTP', 'TCP', 'UDP'];

export function configMapErrors(map: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  let bytes = 0;
  for (const field of ['data', 'binaryData'] as const) {
    const data = map[field];
    if (!isObject(data)) continue;
    for (const key in data) {
      for (const why of configMapKeyErrors(key)) errors.push(invalidValue(`${field}[${key}]`, key, why));
      const value = String(data[key]);
      bytes += field === 'data' ? Buffer.byteLength(value) : Math.floor((value.length * 3) / 4);
      if (field === 'binaryData' && isObject(map.data) && Object.hasOwn(map.data, key))
        errors.push(invalidValue(`binaryData[${key}]`, key, 'duplicate of key present in data'));
    }
  }
  if (bytes > dataBytesMax) errors.push(tooLongField('', dataBytesMax));
  return errors;
}

function immutableErrors(object: JsonObject, old: JsonObject, fields: readonly string[]): FieldError[] {
  if (old.immutable !== true) return [];
  const errors: FieldError[] = [];
  const why = 'field is immutable when `immutable` is set';
  if (object.immutable !== true) errors.push(forbiddenField('immutable', why));
  for (const field of fields)
    if (!jsonEqual(object[field] ?? {}, old[field] ?? {})) errors.push(forbiddenField(field, why));
  return errors;
}

export function configMapUpdateErrors(map: JsonObject, old: JsonObject): FieldError[] {
  return [...immutableErrors(map, old, ['data', 'binaryData']), ...configMapErrors(map)];
}

const requiredKeys: Readonly<Record<string, readonly string[]>> = {
  'kubernetes.io/dockercfg': ['.dockercfg'],
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
  'kubernetes.io/ssh-auth': ['ssh-privatekey'],
};

export function secretErrors(secret: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const data = isObject(secret.data) ? secret.data : {};
  let bytes = 0;
  for (const key in data) {
    for (const why of configMapKeyErrors(key)) errors.push(invalidValue(`data[${key}]`, key, why));
    bytes += Math.floor((String(data[key]).length * 3) / 4);
  }
  if (bytes > dataBytesMax) errors.push(tooLongField('data', dataBytesMax));
  const type = String(secret.type);
  for (const key of requiredKeys[type] ?? []) if (data[key] === undefined) errors.push(required(`data[${key}]`));
  if (type === 'kubernetes.io/basic-auth' && data.username === undefined && data.password === undefined) {
    errors.push(required('data[username]'), required('data[password]'));
  }
  if (type === 'kubernetes.io/service-account-token') {
    const metadata = isObject(secret.metadata) ? secret.metadata : {};
    const annotations = isObject(metadata.annotations) ? metadata.annotations : {};
    if (!annotations['kubernetes.io/service-account.name'])
      errors.push(required('metadata.annotations[kubernetes.io/service-account.name]'));
  }
  return errors;
}

export function secretUpdateErrors(secret: JsonObject, old: JsonObject): FieldError[] {
  const errors = immutableErrors(secret, old, ['data']);
  if (secret.type !== old.type) errors.push(invalidValue('type', secret.type, immutableMessage));
  return [...errors, ...secretErrors(secret)];
}

function endpointSubsetErrors(subset: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const addresses = objects(subset.addresses);
  const notReady = objects(subset.notReadyAddresses);
  if (addresses.length === 0 && notReady.length === 0)
    errors.push(required(path, 'must specify `addresses` or `notReadyAddresses`'));
  for (const [name, list] of [
    ['addresses', addresses],
    ['notReadyAddresses', notReady],
  ] as const)
    for (const [index, address] of list.entries())
      for (const why of ipErrors(String(address.ip ?? '')))
        errors.push(invalidValue(`${path}.${name}[${index}].ip`, address.ip ?? '', why));
  for (const [index, port] of objects(subset.ports).entries())
    for (const why of portNumberErrors(Number(port.port ?? 0)))
      errors.push(invalidValue(`${path}.ports[${index}].port`, port.port ?? 0, why));
  return errors;
}

export function endpointsErrors(endpoints: JsonObject): FieldError[] {
  return objects(endpoints.subsets).flatMap((subset, index) => endpointSubsetErrors(subset, `subsets[${index}]`));
}

export function endpointSliceErrors(slice: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const types = ['FQDN', 'IPv4', 'IPv6'];
  if (slice.addressType === undefined || slice.addressType === '') errors.push(required('addressType'));
  else if (!types.includes(String(slice.addressType)))
    errors.push(notSupported('addressType', slice.addressType, types));
  for (const [index, endpoint] of objects(slice.endpoints).entries()) {
    const addresses = Array.isArray(endpoint.addresses) ? endpoint.addresses : [];
    if (addresses.length === 0)
      errors.push(required(`endpoints[${index}].addresses`, 'must contain at least 1 address'));
    if (slice.addressType !== 'FQDN')
      for (const [at, address] of addresses.entries())
        for (const why of ipErrors(String(address)))
          errors.push(invalidValue(`endpoints[${index}].addresses[${at}]`, address, why));
  }
  const names = new Set<string>();
  for (const [index, port] of objects(slice.ports).entries()) {
    const name = String(port.name ?? '');
    if (names.has(name)) errors.push(duplicate(`ports[${index}].name`, name));
    names.add(name);
    if (!protocols.includes(String(port.protocol)))
      errors.push(notSupported(`ports[${index}].protocol`, port.protocol ?? '', protocols));
  }
  return errors;
}

export function endpointSliceUpdateErrors(slice: JsonObject, old: JsonObject): FieldError[] {
  const errors = endpointSliceErrors(slice);
  if (slice.addressType !== old.addressType)
    errors.push(invalidValue('addressType', slice.addressType, immutableMessage));
  return errors;
}

export function taintErrors(taints: Json | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, taint] of objects(taints).entries()) {
    const at = `${path}[${index}]`;
    for (const why of qualifiedNameErrors(String(taint.key ?? '')))
      errors.push(invalidValue(`${at}.key`, taint.key ?? '', why));
    if (!['NoSchedule', 'PreferNoSchedule', 'NoExecute'].includes(String(taint.effect)))
      errors.push(
        taint.effect === undefined || taint.effect === ''
          ? required(`${at}.effect`)
          : notSupported(`${at}.effect`, taint.effect, ['NoSchedule', 'PreferNoSchedule', 'NoExecute']),
      );
    const key = `${String(taint.key)}:${String(taint.effect)}`;
    if (seen.has(key)) errors.push(duplicate(at, taint));
    seen.add(key);
  }
  return errors;
}

export function nodeErrors(node: JsonObject): FieldError[] {
  return taintErrors(specOf(node).taints, 'spec.taints');
}

export function nodeUpdateErrors(node: JsonObject, old: JsonObject): FieldError[] {
  const errors = nodeErrors(node);
  for (const field of ['podCIDR', 'providerID'])
    if (specOf(old)[field] !== undefined && specOf(old)[field] !== '' && specOf(node)[field] !== specOf(old)[field])
      errors.push(forbiddenField(`spec.${field}`, `node updates may not change ${field} except from "" to valid`));
  return errors;
}

export function leaseErrors(lease: JsonObject): FieldError[] {
  const spec = specOf(lease);
  const errors: FieldError[] = [];
  if (typeof spec.leaseDurationSeconds === 'number' && spec.leaseDurationSeconds <= 0)
    errors.push(invalidValue('spec.leaseDurationSeconds', spec.leaseDurationSeconds, 'must be greater than 0'));
  if (typeof spec.leaseTransitions === 'number' && spec.leaseTransitions < 0)
    errors.push(invalidValue('spec.leaseTransitions', spec.leaseTransitions, 'must be greater than or equal to 0'));
  return errors;
}

/** An event must be in the namespace of what it is about (events about cluster-scoped objects are in default). */
export function eventErrors(event: JsonObject): FieldError[] {
  const metadata = isObject(event.metadata) ? event.metadata : {};
  const about = isObject(event.involvedObject)
    ? event.involvedObject
    : isObject(event.regarding)
      ? event.regarding
      : {};
  const field = isObject(event.regarding) ? 'regarding.namespace' : 'involvedObject.namespace';
  const namespace = about.namespace ?? '';
  if (
    namespace === ''
      ? metadata.namespace !== 'default' && metadata.namespace !== 'kube-system'
      : namespace !== metadata.namespace
  )
    return [invalidValue(field, namespace, 'does not match event.namespace')];
  return [];
}
