/**
 * The API objects that a pod refers to. The Node authorizer lets a kubelet read them, so NodeRestriction admission has to refuse them in the pods that a kubelet makes: both ask here.
 * (kubernetes/pkg/api/pod, VisitPodSecretNames and VisitPodConfigmapNames.)
 */
import { getPath, isObject, type JsonObject } from '../machinery/json.ts';

export interface PodReference {
  /** Plural of the resource. Those of a pod's own namespace, but for `clustertrustbundles`. */
  readonly resource:
    | 'clustertrustbundles'
    | 'configmaps'
    | 'persistentvolumeclaims'
    | 'resourceclaims'
    | 'resourceclaimtemplates'
    | 'secrets'
    | 'serviceaccounts';
  /** Empty where the pod does not name it (trust bundles by signer, tokens of the pod's own account). */
  readonly name: string;
}

const mirrorAnnotation = 'kubernetes.io/config.mirror';

/** Whether the pod only stands for one that a kubelet runs without the API server. */
export function isMirrorPod(pod: JsonObject | undefined): boolean {
  return getPath(pod, 'metadata', 'annotations', mirrorAnnotation) !== undefined;
}

/** Where each kind of volume names its secret. */
const volumeSecrets: readonly (readonly string[])[] = [
  ['secret', 'secretName'],
  ['azureFile', 'secretName'],
  ...['cephfs', 'cinder', 'flexVolume', 'iscsi', 'rbd', 'scaleIO', 'storageos'].map((kind) => [
    kind,
    'secretRef',
    'name',
  ]),
  ['csi', 'nodePublishSecretRef', 'name'],
];

const objects = (value: unknown): JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : []);

/** Everything that a pod refers to, an object as often as it is named. */
export function podReferences(pod: JsonObject): PodReference[] {
  const out: PodReference[] = [];
  const add = (resource: PodReference['resource'], name: unknown): void => {
    if (typeof name === 'string' && name !== '') out.push({ resource, name });
  };
  const spec = isObject(pod.spec) ? pod.spec : {};
  add('serviceaccounts', spec.serviceAccountName);
  for (const secret of objects(spec.imagePullSecrets)) add('secrets', secret.name);
  for (const list of [spec.initContainers, spec.containers, spec.ephemeralContainers])
    for (const container of objects(list)) {
      for (const one of objects(container.env)) {
        add('secrets', getPath(one, 'valueFrom', 'secretKeyRef', 'name'));
        add('configmaps', getPath(one, 'valueFrom', 'configMapKeyRef', 'name'));
      }
      for (const from of objects(container.envFrom)) {
        add('secrets', getPath(from, 'secretRef', 'name'));
        add('configmaps', getPath(from, 'configMapRef', 'name'));
      }
    }
  for (const volume of objects(spec.volumes)) {
    for (const path of volumeSecrets) add('secrets', getPath(volume, ...path));
    add('configmaps', getPath(volume, 'configMap', 'name'));
    add('persistentvolumeclaims', getPath(volume, 'persistentVolumeClaim', 'claimName'));
    // A generic ephemeral volume is a claim with a name made of the pod's and its own (KEP-1698).
    if (isObject(volume.ephemeral))
      add('persistentvolumeclaims', `${String(getPath(pod, 'metadata', 'name') ?? '')}-${String(volume.name)}`);
    for (const source of objects(getPath(volume, 'projected', 'sources'))) {
      add('secrets', getPath(source, 'secret', 'name'));
      add('configmaps', getPath(source, 'configMap', 'name'));
      if (isObject(source.clusterTrustBundle))
        out.push({ resource: 'clustertrustbundles', name: String(source.clusterTrustBundle.name ?? '') });
      if (isObject(source.serviceAccountToken) || isObject(source.podCertificate))
        out.push({ resource: 'serviceaccounts', name: '' });
    }
  }
  for (const claim of objects(spec.resourceClaims)) {
    add('resourceclaims', claim.resourceClaimName);
    add('resourceclaimtemplates', claim.resourceClaimTemplateName);
  }
  for (const status of objects(getPath(pod, 'status', 'resourceClaimStatuses')))
    add('resourceclaims', status.resourceClaimName);
  return out;
}
