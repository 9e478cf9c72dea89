import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import { tryQuantity } from '../../machinery/quantity.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  dns1123LabelErrors,
  duplicate,
  forbiddenField,
  invalidValue,
  notSupported,
  required,
} from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';

/** Rules of a pod's volumes (validateVolumes in pkg/apis/core/validation). */
const hostPathTypes = [
  '',
  'BlockDevice',
  'CharDevice',
  'Directory',
  'DirectoryOrCreate',
  'File',
  'FileOrCreate',
  'Socket',
];

/** Fields that a source must have, for those sources that have no rules but these. */
const requiredFields: Readonly<Record<string, readonly string[]>> = {
  awsElasticBlockStore: ['volumeID'],
  azureDisk: ['diskName', 'diskURI'],
  azureFile: ['secretName', 'shareName'],
  cephfs: ['monitors'],
  cinder: ['volumeID'],
  csi: ['driver'],
  flexVolume: ['driver'],
  gcePersistentDisk: ['pdName'],
  gitRepo: ['repository'],
  glusterfs: ['endpoints', 'path'],
  image: ['reference'],
  iscsi: ['targetPortal', 'iqn'],
  nfs: ['server', 'path'],
  photonPersistentDisk: ['pdID'],
  portworxVolume: ['volumeID'],
  quobyte: ['registry', 'volume'],
  rbd: ['monitors', 'image'],
  scaleIO: ['gateway', 'system', 'volumeName'],
  vsphereVolume: ['volumePath'],
};

export function volumesErrors(volumes: Json | undefined, path: string): { errors: FieldError[]; names: Set<string> } {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  for (const [index, volume] of objects(volumes).entries()) {
    const at = `${path}[${index}]`;
    const name = String(volume.name ?? '');
    errors.push(...sourceErrors(volume, at));
    if (name === '') errors.push(required(`${at}.name`));
    else {
      for (const why of dns1123LabelErrors(name)) errors.push(invalidValue(`${at}.name`, name, why));
      if (names.has(name)) errors.push(duplicate(`${at}.name`, name));
      names.add(name);
    }
  }
  return { errors, names };
}

function modeErrors(mode: Json | undefined, path: string): FieldError[] {
  if (typeof mode !== 'number' || (mode >= 0 && mode <= 0o777)) return [];
  return [invalidValue(path, mode, 'must be a number between 0 and 0777 (octal), both inclusive')];
}

function relativePathErrors(value: unknown, path: string): FieldError[] {
  const text = String(value ?? '');
  if (text === '') return [required(path)];
  if (text.startsWith('/')) return [invalidValue(path, text, 'must be a relative path')];
  if (text.split('/').includes('..')) return [invalidValue(path, text, "must not contain '..'")];
  return text.startsWith('..') ? [invalidValue(path, text, "must not start with '..'")] : [];
}

function itemErrors(items: Json | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, item] of objects(items).entries()) {
    if (!item.key) errors.push(required(`${path}[${index}].key`));
    errors.push(...relativePathErrors(item.path, `${path}[${index}].path`));
    errors.push(...modeErrors(item.mode, `${path}[${index}].mode`));
  }
  return errors;
}

function sourceErrors(volume: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const kinds = Object.keys(volume).filter((key) => key !== 'name' && isObject(volume[key]));
  if (kinds.length === 0) return [required(path, 'must specify a volume type')];
  for (const extra of kinds.slice(1))
    errors.push(forbiddenField(`${path}.${extra}`, 'may not specify more than 1 volume type'));
  const kind = kinds[0]!;
  const source = volume[kind] as JsonObject;
  const at = `${path}.${kind}`;
  for (const field of requiredFields[kind] ?? [])
    if (!source[field] || (Array.isArray(source[field]) && source[field].length === 0))
      errors.push(required(`${at}.${field}`));
  if (kind === 'nfs' && typeof source.path === 'string' && source.path !== '' && !source.path.startsWith('/'))
    errors.push(invalidValue(`${at}.path`, source.path, 'must be an absolute path'));
  if (kind === 'iscsi' && typeof source.lun === 'number' && (source.lun < 0 || source.lun > 255))
    errors.push(invalidValue(`${at}.lun`, source.lun, 'must be between 0 and 255, inclusive'));
  if (kind === 'gitRepo' && source.directory) errors.push(...relativePathErrors(source.directory, `${at}.directory`));
  switch (kind) {
    case 'emptyDir': {
      const limit = source.sizeLimit === undefined ? undefined : tryQuantity(source.sizeLimit);
      if (limit !== undefined && limit.nano < 0n)
        errors.push(forbiddenField(`${at}.sizeLimit`, 'SizeLimit field must be a valid resource quantity'));
      break;
    }
    case 'hostPath':
      if (!source.path) errors.push(required(`${at}.path`));
      else if (String(source.path).split('/').includes('..'))
        errors.push(invalidValue(`${at}.path`, source.path, "must not contain '..'"));
      if (source.type !== undefined && !hostPathTypes.includes(String(source.type)))
        errors.push(notSupported(`${at}.type`, source.type, hostPathTypes));
      break;
    case 'secret':
      if (!source.secretName) errors.push(required(`${at}.secretName`));
      errors.push(...modeErrors(source.defaultMode, `${at}.defaultMode`), ...itemErrors(source.items, `${at}.items`));
      break;
    case 'configMap':
      if (!source.name) errors.push(required(`${at}.name`));
      errors.push(...modeErrors(source.defaultMode, `${at}.defaultMode`), ...itemErrors(source.items, `${at}.items`));
      break;
    case 'downwardAPI':
      errors.push(...modeErrors(source.defaultMode, `${at}.defaultMode`));
      for (const [index, item] of objects(source.items).entries()) {
        errors.push(...relativePathErrors(item.path, `${at}.items[${index}].path`));
        if (!isObject(item.fieldRef) && !isObject(item.resourceFieldRef))
          errors.push(required(`${at}.items[${index}]`, 'one of fieldRef and resourceFieldRef is required'));
      }
      break;
    case 'projected':
      errors.push(...modeErrors(source.defaultMode, `${at}.defaultMode`));
      for (const [index, item] of objects(source.sources).entries()) {
        const place = `${at}.sources[${index}]`;
        const given = Object.keys(item).filter((key) => isObject(item[key]));
        for (const extra of given.slice(1))
          errors.push(forbiddenField(`${place}.${extra}`, 'may not specify more than 1 volume type per source'));
        if (isObject(item.secret)) {
          if (!item.secret.name) errors.push(required(`${place}.secret.name`));
          errors.push(...itemErrors(item.secret.items, `${place}.secret.items`));
        }
        if (isObject(item.configMap)) {
          if (!item.configMap.name) errors.push(required(`${place}.configMap.name`));
          errors.push(...itemErrors(item.configMap.items, `${place}.configMap.items`));
        }
        if (isObject(item.serviceAccountToken)) {
          const seconds = Number(item.serviceAccountToken.expirationSeconds ?? 3600);
          if (seconds < 600)
            errors.push(
              invalidValue(
                `${place}.serviceAccountToken.expirationSeconds`,
                seconds,
                'may not specify a duration less than 10 minutes',
              ),
            );
          errors.push(...relativePathErrors(item.serviceAccountToken.path, `${place}.serviceAccountToken.path`));
        }
      }
      break;
    case 'persistentVolumeClaim':
      if (!source.claimName) errors.push(required(`${at}.claimName`));
      break;
    case 'ephemeral':
      if (!isObject(source.volumeClaimTemplate)) errors.push(required(`${at}.volumeClaimTemplate`));
      break;
  }
  return errors;
}
