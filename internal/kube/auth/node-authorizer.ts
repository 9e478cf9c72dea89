/** Node authorizer (KEP-279, docs: reference/access-authn-authz/node): a kubelet reads what the pods bound to its node refer to. */
import { getPath, isObject, type JsonObject } from '../machinery/json.ts';
import { parseRule } from './default-roles.ts';
import { type Attributes, type Decision, nodeName } from './identity.ts';
import { ruleAllows } from './rbac.ts';

/** What every kubelet may do; NodeRestriction admission narrows writes to its own objects. */
const general = [
  'create @ authentication.k8s.io | tokenreviews',
  'create @ authorization.k8s.io | localsubjectaccessreviews subjectaccessreviews',
  'get list watch @ core | services',
  'create get list watch patch update @ core | nodes',
  'patch update @ core | nodes/status',
  'create patch update @ core events.k8s.io | events',
  'get list watch create delete @ core | pods',
  'patch update @ core | pods/status',
  'create @ core | pods/eviction',
  'create get list watch @ certificates.k8s.io | certificatesigningrequests',
  'create delete get patch update @ coordination.k8s.io | leases',
  'create delete get patch update list watch @ storage.k8s.io | csinodes',
  'get list watch @ storage.k8s.io | csidrivers',
  'get list watch @ node.k8s.io | runtimeclasses',
  'get list watch create update patch delete deletecollection @ resource.k8s.io | resourceslices',
  'get @ core | endpoints',
].map(parseRule);

/** What the authorizer has to look up. */
export interface NodeGraph {
  /** Pods of a namespace that are bound to the node. */
  podsOnNode(node: string, namespace: string): Promise<JsonObject[]>;
  /** The claims of the PersistentVolumes whose driver needs this secret (CSI stage, publish and expand secrets). */
  claimsNeedingSecret(namespace: string, name: string): Promise<{ namespace: string; name: string }[]>;
  /** The claim that a PersistentVolume is bound to, or undefined. */
  claimOfVolume(volume: string): Promise<{ namespace: string; name: string } | undefined>;
  /** spec.nodeName of a VolumeAttachment. */
  nodeOfAttachment(name: string): Promise<string | undefined>;
}

/** Undefined when the request is none of a node's: other authorizers decide. */
export async function authorizeNode(attributes: Attributes, graph: NodeGraph): Promise<Decision | undefined> {
  const node = nodeName(attributes.user);
  if (node === undefined || !attributes.resourceRequest) return undefined;
  const yes: Decision = { allowed: true, reason: '' };
  const no = (reason: string): Decision => ({ allowed: false, reason });
  const { group, resource, subresource, namespace, name, verb } = attributes;
  const referenced = async (check: (spec: JsonObject, pod: JsonObject) => boolean): Promise<Decision> => {
    if (namespace === '' || name === '') return no(`can only ${verb} individual resources of this type`);
    for (const pod of await graph.podsOnNode(node, namespace))
      if (isObject(pod.spec) && check(pod.spec, pod)) return yes;
    return no(`no relationship found between node '${node}' and this object`);
  };
  if (group === '') {
    if (resource === 'secrets' || resource === 'configmaps') {
      if (verb !== 'get' && verb !== 'list' && verb !== 'watch') return no(`can only read resources of this type`);
      const decision = await referenced((spec) => references(spec, resource, name));
      if (decision.allowed || resource !== 'secrets' || name === '') return decision;
      for (const claim of await graph.claimsNeedingSecret(namespace, name))
        if (await usesClaim(graph, node, claim)) return yes;
      return decision;
    }
    if (resource === 'persistentvolumeclaims' && (subresource === '' || subresource === 'status')) {
      if (subresource === '' && verb !== 'get') return no('can only get individual resources of this type');
      return referenced((spec, pod) => claims(spec, name, String(getPath(pod, 'metadata', 'name'))));
    }
    if (resource === 'persistentvolumes' && subresource === '' && verb === 'get') {
      const claim = await graph.claimOfVolume(name);
      if (claim === undefined) return no('the volume is bound to no claim');
      if (await usesClaim(graph, node, claim)) return yes;
      return no(`no relationship found between node '${node}' and this object`);
    }
    if (resource === 'serviceaccounts' && (subresource === 'token' || subresource === '')) {
      if (subresource === 'token' ? verb !== 'create' : verb !== 'get') return no('can only create tokens');
      return referenced((spec) => (spec.serviceAccountName ?? 'default') === name);
    }
  }
  if (group === 'storage.k8s.io' && resource === 'volumeattachments' && verb === 'get')
    return (await graph.nodeOfAttachment(name)) === node ? yes : no('the attachment is for another node');
  return general.some((rule) => ruleAllows(rule, attributes)) ? yes : undefined;
}

async function usesClaim(graph: NodeGraph, node: string, claim: { namespace: string; name: string }): Promise<boolean> {
  for (const pod of await graph.podsOnNode(node, claim.namespace))
    if (isObject(pod.spec) && claims(pod.spec, claim.name, String(getPath(pod, 'metadata', 'name')))) return true;
  return false;
}

/** Whether a pod's volumes use the claim, by name or as a generic ephemeral volume. */
function claims(spec: JsonObject, claim: string, podName: string): boolean {
  const volumes = spec.volumes;
  if (!Array.isArray(volumes)) return false;
  return volumes.some(
    (volume) =>
      getPath(volume, 'persistentVolumeClaim', 'claimName') === claim ||
      (getPath(volume, 'ephemeral') !== undefined && `${podName}-${String(getPath(volume, 'name'))}` === claim),
  );
}

/** Whether a pod refers to the secret or configMap: in volumes, env, envFrom, image pull secrets, CSI and projected sources. */
function references(spec: JsonObject, resource: 'secrets' | 'configmaps', name: string): boolean {
  const secret = resource === 'secrets';
  if (
    secret &&
    Array.isArray(spec.imagePullSecrets) &&
    spec.imagePullSecrets.some((one) => getPath(one, 'name') === name)
  )
    return true;
  for (const volume of Array.isArray(spec.volumes) ? spec.volumes : []) {
    if (secret ? getPath(volume, 'secret', 'secretName') === name : getPath(volume, 'configMap', 'name') === name)
      return true;
    if (secret && getPath(volume, 'csi', 'nodePublishSecretRef', 'name') === name) return true;
    const sources = getPath(volume, 'projected', 'sources');
    if (
      Array.isArray(sources) &&
      sources.some((source) => getPath(source, secret ? 'secret' : 'configMap', 'name') === name)
    )
      return true;
  }
  for (const list of [spec.initContainers, spec.containers, spec.ephemeralContainers]) {
    for (const container of Array.isArray(list) ? list : []) {
      const env = getPath(container, 'env');
      if (
        Array.isArray(env) &&
        env.some((one) => getPath(one, 'valueFrom', secret ? 'secretKeyRef' : 'configMapKeyRef', 'name') === name)
      )
        return true;
      const from = getPath(container, 'envFrom');
      if (
        Array.isArray(from) &&
        from.some((one) => getPath(one, secret ? 'secretRef' : 'configMapRef', 'name') === name)
      )
        return true;
    }
  }
  return false;
}
