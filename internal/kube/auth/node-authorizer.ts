/** Node authorizer (KEP-279, docs: reference/access-authn-authz/node): a kubelet reads what the pods bound to its node refer to. */
import { getPath, type JsonObject } from '../machinery/json.ts';
import { parseRule } from './default-roles.ts';
import { type Attributes, type Decision, nodeName } from './identity.ts';
import { isMirrorPod, podReferences, type PodReference } from './pod-references.ts';
import { ruleAllows } from './rbac.ts';

/** What every kubelet may do, whatever its name. */
const general = [
  'create @ authentication.k8s.io | tokenreviews',
  'create @ authorization.k8s.io | localsubjectaccessreviews subjectaccessreviews',
  'get list watch @ core | services',
  'create patch update @ core events.k8s.io | events',
  'create get list watch @ certificates.k8s.io | certificatesigningrequests',
  'get list watch @ storage.k8s.io | csidrivers',
  'get list watch @ node.k8s.io | runtimeclasses',
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
  /** spec.nodeName of a ResourceSlice. */
  nodeOfSlice(name: string): Promise<string | undefined>;
}

const yes: Decision = { allowed: true, reason: '' };
const no = (reason: string): Decision => ({ allowed: false, reason });

/** Undefined when the request is none of a node's: other authorizers decide. */
export async function authorizeNode(attributes: Attributes, graph: NodeGraph): Promise<Decision | undefined> {
  const asked = nodeDecision(attributes);
  return typeof asked === 'function' ? asked(graph) : asked;
}

/** Whether a node may, as far as the request alone tells: what depends on objects in the store is not allowed. */
export function nodeMayAtOnce(attributes: Attributes): boolean {
  const asked = nodeDecision(attributes);
  return typeof asked === 'object' && asked.allowed;
}

/** The decision; a function where objects have to be looked up for it. */
function nodeDecision(attributes: Attributes): Decision | undefined | ((graph: NodeGraph) => Promise<Decision>) {
  const node = nodeName(attributes.user);
  if (node === undefined || !attributes.resourceRequest) return undefined;
  if (node === '') return no(`unknown node for user ${JSON.stringify(attributes.user.name)}`);
  const { group, resource, subresource, namespace, name, verb } = attributes;
  const unrelated = no(`no relationship found between node '${node}' and this object`);
  const found = async (related: Promise<boolean>): Promise<Decision> => ((await related) ? yes : unrelated);
  if (group === '') {
    if (resource === 'secrets' || resource === 'configmaps') {
      if (verb !== 'get' && verb !== 'list' && verb !== 'watch') return no(`can only read resources of this type`);
      if (subresource !== '') return no('cannot read subresource');
      if (namespace === '' || name === '') return no(`can only ${verb} individual resources of this type`);
      return (graph) =>
        found(
          resource === 'secrets'
            ? needsSecret(graph, node, namespace, name)
            : refersTo(graph, node, namespace, resource, name),
        );
    }
    if (resource === 'persistentvolumeclaims') {
      if (subresource === 'status') {
        if (verb !== 'update' && verb !== 'patch') return no('can only update/patch the status of this type');
      } else if (verb !== 'get') return no('can only get individual resources of this type');
      else if (subresource !== '') return no('cannot get subresource');
      if (namespace === '' || name === '') return no(`can only ${verb} individual resources of this type`);
      return (graph) => found(refersTo(graph, node, namespace, resource, name));
    }
    if (resource === 'persistentvolumes') {
      if (verb !== 'get') return no('can only get individual resources of this type');
      if (subresource !== '') return no('cannot get subresource');
      return async (graph) => {
        const claim = await graph.claimOfVolume(name);
        return claim === undefined ? no('the volume is bound to no claim') : found(usesClaim(graph, node, claim));
      };
    }
    if (resource === 'serviceaccounts' && (subresource === 'token' || subresource === '')) {
      if (subresource === 'token' ? verb !== 'create' : verb !== 'get') return no('can only create tokens');
      if (namespace === '' || name === '') return no(`can only ${verb} individual resources of this type`);
      return (graph) => found(refersTo(graph, node, namespace, resource, name));
    }
  }
  if (group === 'storage.k8s.io' && resource === 'volumeattachments' && verb === 'get')
    return async (graph) =>
      (await graph.nodeOfAttachment(name)) === node ? yes : no('the attachment is for another node');
  const own = ownObjects(attributes, node);
  if (own === 'related') return (graph) => found(relatedToNode(graph, node, attributes));
  if (own !== undefined) return own === '' ? yes : no(own);
  return general.some((rule) => ruleAllows(rule, attributes)) ? yes : undefined;
}

/** A pod on the node names the secret, or the driver of a volume that such a pod uses needs it. */
async function needsSecret(graph: NodeGraph, node: string, namespace: string, name: string): Promise<boolean> {
  if (await refersTo(graph, node, namespace, 'secrets', name)) return true;
  for (const claim of await graph.claimsNeedingSecret(namespace, name))
    if (await usesClaim(graph, node, claim)) return true;
  return false;
}

/**
 * What a kubelet may do with objects of the kinds of which it has its own. '' when it may, `related` when that depends on the object, else why not; undefined for
 * other kinds. Creations are let through, and writes of pods and nodes: NodeRestriction admission sees whose they are. (KEP-4601, node_authorizer.go.)
 */
function ownObjects(attributes: Attributes, node: string): string | undefined {
  const { group, resource, subresource, namespace, name, verb } = attributes;
  const kind = `${resource}.${group}`;
  const narrowed = (field: string): boolean =>
    attributes.fieldSelector?.some((one) => one.field === field && one.operator === '=' && one.value === node) === true;
  switch (kind) {
    case 'pods.':
      if (subresource === 'status') return oneOf(verb, 'update', 'patch');
      if (subresource === 'eviction') return oneOf(verb, 'create');
      if (subresource !== '') return 'cannot use this subresource of pods';
      if (verb === 'create' || verb === 'delete') return '';
      if (verb === 'get') return 'related';
      if (verb !== 'list' && verb !== 'watch') return oneOf(verb, 'get', 'list', 'watch', 'create', 'delete');
      if (narrowed('spec.nodeName')) return '';
      return name === '' ? 'can only list/watch pods with spec.nodeName field selector' : 'related';
    case 'nodes.':
      if (subresource === 'status') return oneOf(verb, 'update', 'patch');
      if (subresource !== '') return 'cannot use this subresource of nodes';
      if (verb === 'get' || verb === 'list' || verb === 'watch') {
        if (name === node) return '';
        return `node '${node}' cannot read ${name === '' ? 'all nodes' : `'${name}'`}, only its own Node object`;
      }
      return oneOf(verb, 'create', 'update', 'patch');
    case 'leases.coordination.k8s.io':
      if (subresource !== '') return 'cannot use subresources of leases';
      if (namespace !== 'kube-node-lease') return 'can only access leases in the "kube-node-lease" system namespace';
      if (verb !== 'create' && name !== node)
        return 'can only access node lease with the same name as the requesting node';
      return oneOf(verb, 'get', 'create', 'update', 'patch', 'delete');
    case 'csinodes.storage.k8s.io':
      if (subresource !== '') return 'cannot use subresources of CSINodes';
      if (verb !== 'create' && name !== node)
        return 'can only access CSINode with the same name as the requesting node';
      return oneOf(verb, 'get', 'create', 'update', 'patch', 'delete');
    case 'resourceslices.resource.k8s.io':
      if (subresource !== '') return 'cannot use subresources of ResourceSlices';
      if (verb === 'create') return '';
      if (verb === 'get' || verb === 'update' || verb === 'patch' || verb === 'delete') return 'related';
      if (verb !== 'list' && verb !== 'watch' && verb !== 'deletecollection')
        return oneOf(verb, 'get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection');
      return narrowed('spec.nodeName')
        ? ''
        : 'can only list/watch/deletecollection resourceslices with spec.nodeName field selector';
    default:
      return undefined;
  }
}

const oneOf = (verb: string, ...verbs: string[]): string => (verbs.includes(verb) ? '' : `can only ${verbs.join('/')}`);

/** Whether a pod or ResourceSlice says in its spec that it is the node's. */
async function relatedToNode(
  graph: NodeGraph,
  node: string,
  { resource, namespace, name }: Attributes,
): Promise<boolean> {
  if (name === '') return false;
  if (resource === 'resourceslices') return (await graph.nodeOfSlice(name)) === node;
  if (namespace === '') return false;
  return (await graph.podsOnNode(node, namespace)).some((pod) => getPath(pod, 'metadata', 'name') === name);
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
