import { getPath, isObject, type JsonObject } from '../machinery/json.ts';
import { compareQuantities, type Quantity, tryQuantity } from '../machinery/quantity.ts';
import { forbidden } from '../machinery/status.ts';
import { type AdmissionPlugin, isFor } from './types.ts';

const isDefault = (object: JsonObject): boolean =>
  getPath(object, 'metadata', 'annotations', 'storageclass.kubernetes.io/is-default-class') === 'true' ||
  getPath(object, 'metadata', 'annotations', 'storageclass.beta.kubernetes.io/is-default-class') === 'true';

/** DefaultStorageClass: a claim that names no class gets the default one, the newest when there are several. */
export const defaultStorageClass: AdmissionPlugin = {
  name: 'DefaultStorageClass',
  async admit(request, { reader }) {
    if (request.operation !== 'CREATE' || !isFor(request, '', 'persistentvolumeclaims')) return;
    const object = request.object;
    if (object === undefined || !isObject(object.spec)) return;
    if (object.spec.storageClassName !== undefined && object.spec.storageClassName !== null) return;
    if (getPath(object, 'metadata', 'annotations', 'volume.beta.kubernetes.io/storage-class') !== undefined) return;
    const classes = (await reader.list('storage.k8s.io', 'storageclasses', '')).filter(isDefault);
    const newest = classes.sort((a, b) => {
      const left = String(getPath(a, 'metadata', 'creationTimestamp'));
      const right = String(getPath(b, 'metadata', 'creationTimestamp'));
      if (left !== right) return left < right ? 1 : -1;
      return String(getPath(a, 'metadata', 'name')) < String(getPath(b, 'metadata', 'name')) ? -1 : 1;
    })[0];
    if (newest !== undefined) object.spec.storageClassName = String(getPath(newest, 'metadata', 'name'));
  },
};

/** StorageObjectInUseProtection: claims and volumes get the finalizer that keeps them while they are used. */
export const storageProtection: AdmissionPlugin = {
  name: 'StorageObjectInUseProtection',
  admit(request) {
    if (request.operation !== 'CREATE' || request.object === undefined) return;
    let finalizer: string;
    if (isFor(request, '', 'persistentvolumeclaims')) finalizer = 'kubernetes.io/pvc-protection';
    else if (isFor(request, '', 'persistentvolumes')) finalizer = 'kubernetes.io/pv-protection';
    else return;
    const metadata = request.object.metadata as JsonObject;
    const list = Array.isArray(metadata.finalizers) ? metadata.finalizers : [];
    if (!list.includes(finalizer)) metadata.finalizers = [...list, finalizer];
  },
};

/** PersistentVolumeClaimResize: a claim grows only when it is bound and its class says that its volumes can. */
export const claimResize: AdmissionPlugin = {
  name: 'PersistentVolumeClaimResize',
  async validate(request, { reader }) {
    if (request.operation !== 'UPDATE' || !isFor(request, '', 'persistentvolumeclaims')) return;
    const size = (object: JsonObject | undefined): Quantity | undefined =>
      tryQuantity(getPath(object, 'spec', 'resources', 'requests', 'storage'));
    const before = size(request.old);
    const after = size(request.object);
    if (before === undefined || after === undefined || compareQuantities(after, before) <= 0) return;
    const refuse = (why: string): Error =>
      forbidden({ group: '', resource: 'persistentvolumeclaims' }, request.name, why);
    if (getPath(request.old, 'status', 'phase') !== 'Bound')
      throw refuse('Only bound persistent volume claims can be expanded');
    const name = String(getPath(request.object, 'spec', 'storageClassName') ?? '');
    const storageClass = name === '' ? undefined : await reader.get('storage.k8s.io', 'storageclasses', '', name);
    if (storageClass?.allowVolumeExpansion !== true)
      throw refuse(
        'only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize',
      );
  },
};
