/** Node authorizer (KEP-279, docs: reference/access-authn-authz/node): a kubelet reads what the pods bound to its node refer to. */
import type { JsonObject } from '../machinery/json.ts';
import { parseRule } from './default-roles.ts';
import { type Attributes, type Decision, nodeName } from './identity.ts';
import { isMirrorPod, podReferences, type PodReference } from './pod-references.ts';
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
  const unrelated = no(`no relationship found between node '${node}' and this object`);
  const referenced = async (kind: PodReference['resource']): Promise<Decision> => {
    if (namespace === '' || name === '') return no(`can only ${verb} individual resources of this type`);
    return (await refersTo(graph, node, namespace, kind, name)) ? yes : unrelated;
  };
  if (group === '') {
    if (resource === 'secrets' || resource === 'configmaps') {
      if (verb !== 'get' && verb !== 'list' && verb !== 'watch') return no(`can only read resources of this type`);
      const decision = await referenced(resource);
      if (decision.allowed || resource !== 'secrets' || name === '') return decision;
      for (const claim of await graph.claimsNeedingSecret(namespace, name))
        if (await usesClaim(graph, node, claim)) return yes;
      return decision;
    }
    if (resource === 'persistentvolumeclaims' && (subresource === '' || subresource === 'status')) {
      if (subresource === '' && verb !== 'get') return no('can only get individual resources of this type');
      return referenced(resource);
    }
    if (resource === 'persistentvolumes' && subresource === '' && verb === 'get') {
      const claim = await graph.claimOfVolume(name);
      if (claim === undefined) return no('the volume is bound to no claim');
      return (await usesClaim(graph, node, claim)) ? yes : unrelated;
    }
    if (resource === 'serviceaccounts' && (subresource === 'token' || subresource === '')) {
      if (subresource === 'token' ? verb !== 'create' : verb !== 'get') return no('can only create tokens');
      return referenced(resource);
    }
  }
  if (group === 'storage.k8s.io' && resource === 'volumeattachments' && verb === 'get')
    return (await graph.nodeOfAttachment(name)) === node ? yes : no('the attachment is for another node');
  return general.some((rule) => ruleAllows(rule, attributes)) ? yes : undefined;
}

/** Whether a pod on the node refers to the object. Mirror pods are made by kubelets: they open nothing, whatever they name. */
async function refersTo(
  graph: NodeGraph,
  node: string,
  namespace: string,
  resource: PodReference['resource'],
  name: string,
): Promise<boolean> {
  for (const pod of await graph.podsOnNode(node, namespace))
    if (!isMirrorPod(pod) && podReferences(pod).some((one) => one.resource === resource && one.name === name))
      return true;
  return false;
}

const usesClaim = (graph: NodeGraph, node: string, claim: { namespace: string; name: string }): Promise<boolean> =>
  refersTo(graph, node, claim.namespace, 'persistentvolumeclaims', claim.name);
