import { isObject, type Json, type JsonObject, jsonEqual } from '../../machinery/json.ts';
import { compareQuantities, tryQuantity } from '../../machinery/quantity.ts';
import { qualifiedNameErrors } from '../../machinery/selectors.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  dns1123SubdomainErrors,
  duplicate,
  forbiddenField,
  immutableMessage,
  invalidValue,
  notSupported,
  required,
  tooLongField,
} from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { labelSelectorErrors, nodeSelectorErrors } from './pod.ts';
import { oneOf, specOf } from './common.ts';

/** Rules of volumes, claims and the storage group (pkg/apis/core/validation, pkg/apis/storage/validation). */
const accessModes = ['ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOnce', 'ReadWriteOncePod'];
const volumeModes = ['Block', 'Filesystem'];

function modeListErrors(spec: JsonObject, path: string): FieldError[] {
  const modes = Array.isArray(spec.accessModes) ? spec.accessModes.map(String) : [];
  if (modes.length === 0) return [required(`${path}.accessModes`, 'at least 1 access mode is required')];
  const errors: FieldError[] = [];
  for (const mode of modes)
    if (!accessModes.includes(mode)) errors.push(notSupported(`${path}.accessModes`, mode, accessModes));
  if (modes.includes('ReadWriteOncePod') && modes.length > 1)
    errors.push(forbiddenField(`${path}.accessModes`, 'may not use ReadWriteOncePod with other access modes'));
  return errors;
}

function storageErrors(list: unknown, path: string): FieldError[] {
  const value = isObject(list) ? list.storage : undefined;
  if (value === undefined) return [required(`${path}[storage]`)];
  const quantity = tryQuantity(value);
  if (quantity !== undefined && quantity.nano <= 0n)
    return [invalidValue(`${path}[storage]`, value, 'must be greater than zero')];
  return [];
}

/** Spec of a claim at `path`. */
export function claimSpecErrors(spec: JsonObject, path: string): FieldError[] {
  const errors = modeListErrors(spec, path);
  errors.push(...labelSelectorErrors(spec.selector, `${path}.selector`));
  errors.push(...storageErrors(isObject(spec.resources) ? spec.resources.requests : undefined, `${path}.resources`));
  if (typeof spec.storageClassName === 'string' && spec.storageClassName !== '')
    for (const why of dns1123SubdomainErrors(spec.storageClassName))
      errors.push(invalidValue(`${path}.storageClassName`, spec.storageClassName, why));
  if (spec.volumeMode !== undefined && !volumeModes.includes(String(spec.volumeMode)))
    errors.push(notSupported(`${path}.volumeMode`, spec.volumeMode, volumeModes));
  return errors;
}

/** What a claim is filled from: an object of a group, or a snapshot or claim of the core group's kind. */
function dataSourceErrors(spec: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ['dataSource', 'dataSourceRef']) {
    const source = spec[field];
    if (!isObject(source)) continue;
    for (const name of ['name', 'kind']) if (!source[name]) errors.push(required(`spec.${field}.${name}`));
    const group = String(source.apiGroup ?? '');
    if (group === '' && source.kind !== 'PersistentVolumeClaim')
      errors.push(invalidValue(`spec.${field}`, source.kind ?? '', ''));
    else if (group !== '')
      for (const why of dns1123SubdomainErrors(group)) errors.push(invalidValue(`spec.${field}.apiGroup`, group, why));
  }
  return errors;
}

export function claimErrors(claim: JsonObject): FieldError[] {
  const spec = specOf(claim);
  return [...claimSpecErrors(spec, 'spec'), ...dataSourceErrors(spec)];
}

export function claimUpdateErrors(claim: JsonObject, old: JsonObject): FieldError[] {
  const errors = claimErrors(claim);
  const spec = specOf(claim);
  const before = specOf(old);
  const status = isObject(old.status) ? old.status : {};
  const frozen = (value: JsonObject): JsonObject => {
    const { resources: _resources, volumeAttributesClassName: _class, ...rest } = value;
    // The binder sets the name once; a class may be given to a claim that had none.
    if (before.volumeName === undefined || before.volumeName === '') delete rest.volumeName;
    if (before.storageClassName === undefined) delete rest.storageClassName;
    return rest;
  };
  const resources = (value: JsonObject): JsonObject => {
    const requests = isObject(value.resources) && isObject(value.resources.requests) ? value.resources.requests : {};
    const { storage: _storage, ...rest } = requests;
    return rest;
  };
  const sizeOf = (value: JsonObject): unknown =>
    isObject(value.resources) && isObject(value.resources.requests) ? value.resources.requests.storage : undefined;
  const changed = !jsonEqual(frozen(spec), frozen(before)) || !jsonEqual(resources(spec), resources(before));
  const next = tryQuantity(sizeOf(spec));
  const previous = tryQuantity(sizeOf(before));
  const resized = next !== undefined && previous !== undefined && compareQuantities(next, previous) !== 0;
  if (changed || (resized && status.phase !== 'Bound'))
    errors.push(
      forbiddenField(
        'spec',
        'spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims',
      ),
    );
  else if (resized && compareQuantities(next, previous) < 0) {
    const capacity = tryQuantity(isObject(status.capacity) ? status.capacity.storage : undefined);
    if (capacity === undefined || compareQuantities(next, capacity) < 0)
      errors.push(forbiddenField('spec.resources.requests.storage', 'field can not be less than status.capacity'));
  }
  return errors;
}

/** Fields of PersistentVolumeSpec that are not its source. */
const volumeFields = [
  'accessModes',
  'capacity',
  'claimRef',
  'mountOptions',
  'nodeAffinity',
  'persistentVolumeReclaimPolicy',
  'storageClassName',
  'volumeAttributesClassName',
  'volumeMode',
];

function volumeSource(spec: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(spec).filter(([key, value]) => !volumeFields.includes(key) && isObject(value)),
  );
}

export function volumeErrors(volume: JsonObject): FieldError[] {
  const spec = specOf(volume);
  const errors = modeListErrors(spec, 'spec');
  if (!isObject(spec.capacity) || Object.keys(spec.capacity).length === 0) errors.push(required('spec.capacity'));
  else
    errors.push(
      ...storageErrors(spec.capacity, 'spec.capacity').map((error) => ({ ...error, field: 'spec.capacity[storage]' })),
    );
  if (isObject(spec.capacity) && Object.keys(spec.capacity).some((name) => name !== 'storage'))
    errors.push(notSupported('spec.capacity', spec.capacity, ['storage']));
  if (typeof spec.storageClassName === 'string' && spec.storageClassName !== '')
    for (const why of dns1123SubdomainErrors(spec.storageClassName))
      errors.push(invalidValue('spec.storageClassName', spec.storageClassName, why));
  if (isObject(spec.hostPath) && spec.hostPath.path === '/' && spec.persistentVolumeReclaimPolicy === 'Recycle')
    errors.push(
      forbiddenField('spec.persistentVolumeReclaimPolicy', "may not be 'recycle' for a hostPath mount of '/'"),
    );
  if (!['Delete', 'Recycle', 'Retain'].includes(String(spec.persistentVolumeReclaimPolicy)))
    errors.push(
      notSupported('spec.persistentVolumeReclaimPolicy', spec.persistentVolumeReclaimPolicy ?? '', [
        'Delete',
        'Recycle',
        'Retain',
      ]),
    );
  if (isObject(spec.nodeAffinity) && isObject(spec.nodeAffinity.required))
    errors.push(...nodeSelectorErrors(spec.nodeAffinity.required, 'spec.nodeAffinity.required'));
  const sources = Object.keys(volumeSource(spec));
  if (sources.length === 0) errors.push(required('spec', 'must specify a volume type'));
  for (const extra of sources.slice(1))
    errors.push(forbiddenField(`spec.${extra}`, 'may not specify more than 1 volume type'));
  if (isObject(spec.hostPath) && !spec.hostPath.path) errors.push(required('spec.hostPath.path'));
  if (isObject(spec.csi)) {
    if (!spec.csi.driver) errors.push(required('spec.csi.driver'));
    if (!spec.csi.volumeHandle) errors.push(required('spec.csi.volumeHandle'));
  }
  if (isObject(spec.local) && !isObject(spec.nodeAffinity))
    errors.push(required('spec.nodeAffinity', 'Local volume requires node affinity'));
  if (spec.volumeMode !== undefined && !volumeModes.includes(String(spec.volumeMode)))
    errors.push(notSupported('spec.volumeMode', spec.volumeMode, volumeModes));
  return errors;
}

export function volumeUpdateErrors(volume: JsonObject, old: JsonObject): FieldError[] {
  const errors = volumeErrors(volume);
  if (!jsonEqual(volumeSource(specOf(volume)), volumeSource(specOf(old))))
    errors.push(
      forbiddenField('spec.persistentvolumesource', 'spec.persistentvolumesource is immutable after creation'),
    );
  if (!jsonEqual(specOf(volume).volumeMode, specOf(old).volumeMode))
    errors.push(invalidValue('spec.volumeMode', specOf(volume).volumeMode, immutableMessage));
  if (isObject(specOf(old).nodeAffinity) && !jsonEqual(specOf(volume).nodeAffinity, specOf(old).nodeAffinity))
    errors.push(invalidValue('spec.nodeAffinity', specOf(volume).nodeAffinity, immutableMessage));
  return errors;
}

const parametersMax = 512;
const parametersBytesMax = 256 * 1024;

/** Who makes the volumes. */
export function provisionerErrors(value: Json | undefined, path: string): FieldError[] {
  const name = String(value ?? '');
  if (name === '') return [required(path)];
  return qualifiedNameErrors(name.toLowerCase()).map((why) => invalidValue(path, name, why));
}

/** Words for the driver: not too many, none without a name. */
export function parametersErrors(parameters: Json | undefined, path: string): FieldError[] {
  if (!isObject(parameters)) return [];
  const keys = Object.keys(parameters);
  if (keys.length > parametersMax) return [tooLongField(path, parametersMax)];
  const errors: FieldError[] = [];
  let bytes = 0;
  for (const key of keys) {
    if (key === '') errors.push(invalidValue(path, key, 'field can not be empty.'));
    bytes += Buffer.byteLength(key) + Buffer.byteLength(String(parameters[key]));
  }
  if (bytes > parametersBytesMax) errors.push(tooLongField(path, parametersBytesMax));
  return errors;
}

function allowedTopologyErrors(storageClass: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const terms = objects(storageClass.allowedTopologies);
  for (const [index, term] of terms.entries()) {
    const at = `allowedTopologies[${index}]`;
    const expressions = objects(term.matchLabelExpressions);
    const keys = new Set<string>();
    for (const [i, expression] of expressions.entries()) {
      const place = `${at}.matchLabelExpressions[${i}]`;
      const key = String(expression.key ?? '');
      for (const why of qualifiedNameErrors(key)) errors.push(invalidValue(`${place}.key`, key, why));
      if (keys.has(key)) errors.push(duplicate(`${place}.key`, key));
      keys.add(key);
      const values = Array.isArray(expression.values) ? expression.values : [];
      if (values.length === 0) errors.push(required(`${place}.values`));
      for (const [n, value] of values.entries())
        if (values.indexOf(value) < n) errors.push(duplicate(`${place}.values[${n}]`, value));
    }
    if (terms.findIndex((other) => jsonEqual(other, term)) < index)
      errors.push(duplicate(`${at}.matchLabelExpressions`, ''));
  }
  return errors;
}

export function storageClassErrors(storageClass: JsonObject): FieldError[] {
  const errors = provisionerErrors(storageClass.provisioner, 'provisioner');
  errors.push(...parametersErrors(storageClass.parameters, 'parameters'));
  errors.push(...oneOf(storageClass.reclaimPolicy, ['Delete', 'Retain'], 'reclaimPolicy'));
  errors.push(...oneOf(storageClass.volumeBindingMode, ['Immediate', 'WaitForFirstConsumer'], 'volumeBindingMode'));
  return [...errors, ...allowedTopologyErrors(storageClass)];
}

export function storageClassUpdateErrors(storageClass: JsonObject, old: JsonObject): FieldError[] {
  const errors = storageClassErrors(storageClass);
  if (!jsonEqual(storageClass.parameters, old.parameters))
    errors.push(forbiddenField('parameters', 'updates to parameters are forbidden.'));
  if (storageClass.provisioner !== old.provisioner)
    errors.push(forbiddenField('provisioner', 'updates to provisioner are forbidden.'));
  if (storageClass.reclaimPolicy !== old.reclaimPolicy)
    errors.push(forbiddenField('reclaimPolicy', 'updates to reclaimPolicy are forbidden.'));
  if (storageClass.volumeBindingMode !== old.volumeBindingMode)
    errors.push(invalidValue('volumeBindingMode', storageClass.volumeBindingMode, immutableMessage));
  return errors;
}

const driverNameMax = 63;
const fsGroupPolicies = ['File', 'None', 'ReadWriteOnceWithFSType'];

export function csiDriverErrors(driver: JsonObject): FieldError[] {
  const spec = specOf(driver);
  const errors: FieldError[] = [];
  const name = String((isObject(driver.metadata) ? driver.metadata.name : undefined) ?? '');
  if (name.length > driverNameMax) errors.push(tooLongField('metadata.name', driverNameMax));
  for (const field of ['attachRequired', 'podInfoOnMount', 'storageCapacity'])
    if (spec[field] === undefined) errors.push(required(`spec.${field}`));
  errors.push(...oneOf(spec.fsGroupPolicy, fsGroupPolicies, 'spec.fsGroupPolicy'));
  for (const [index, mode] of (Array.isArray(spec.volumeLifecycleModes) ? spec.volumeLifecycleModes : []).entries())
    errors.push(...oneOf(mode, ['Ephemeral', 'Persistent'], `spec.volumeLifecycleModes[${index}]`));
  const audiences = new Set<string>();
  for (const [index, request] of objects(spec.tokenRequests).entries()) {
    const at = `spec.tokenRequests[${index}]`;
    const audience = String(request.audience ?? '');
    if (audiences.has(audience)) errors.push(duplicate(`${at}.audience`, audience));
    audiences.add(audience);
    const seconds = request.expirationSeconds;
    if (typeof seconds === 'number' && seconds < 600)
      errors.push(invalidValue(`${at}.expirationSeconds`, seconds, 'may not specify a duration less than 10 minutes'));
    if (typeof seconds === 'number' && seconds > 2 ** 32)
      errors.push(
        invalidValue(`${at}.expirationSeconds`, seconds, 'may not specify a duration larger than 2^32 seconds'),
      );
  }
  return errors;
}

export function csiDriverUpdateErrors(driver: JsonObject, old: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ['attachRequired', 'fsGroupPolicy', 'volumeLifecycleModes'])
    if (field === 'attachRequired' || field === 'volumeLifecycleModes')
      if (!jsonEqual(specOf(driver)[field], specOf(old)[field]))
        errors.push(invalidValue(`spec.${field}`, specOf(driver)[field], immutableMessage));
  return errors;
}

export function csiNodeErrors(node: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, driver] of objects(specOf(node).drivers).entries()) {
    const at = `spec.drivers[${index}]`;
    if (!driver.name) errors.push(required(`${at}.name`));
    if (!driver.nodeID) errors.push(required(`${at}.nodeID`));
    if (seen.has(String(driver.name)))
      errors.push({
        type: 'FieldValueDuplicate',
        field: `${at}.name`,
        detail: `Duplicate value: ${JSON.stringify(driver.name)}`,
      });
    seen.add(String(driver.name));
  }
  return errors;
}

export function volumeAttachmentErrors(attachment: JsonObject): FieldError[] {
  const spec = specOf(attachment);
  const errors: FieldError[] = [];
  if (!spec.attacher) errors.push(required('spec.attacher'));
  if (!spec.nodeName) errors.push(required('spec.nodeName'));
  const source = isObject(spec.source) ? spec.source : {};
  if (!source.persistentVolumeName && !isObject(source.inlineVolumeSpec))
    errors.push(required('spec.source', 'must specify exactly one of inlineVolumeSpec and persistentVolumeName'));
  return errors;
}

export function volumeAttachmentUpdateErrors(attachment: JsonObject, old: JsonObject): FieldError[] {
  return jsonEqual(attachment.spec, old.spec) ? [] : [invalidValue('spec', attachment.spec, immutableMessage)];
}
