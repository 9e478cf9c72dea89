import { nodeName } from '../auth/identity.ts';
import { isMirrorPod, podReferences } from '../auth/pod-references.ts';
import { getPath, isObject, type Json, jsonEqual, type JsonObject, showJson } from '../machinery/json.ts';
import { forbidden, notFound } from '../machinery/status.ts';
import { type AdmissionPlugin, type AdmissionRequest, isFor } from './types.ts';

/** Labels below kubernetes.io and k8s.io that a kubelet may set on its own node. */
const kubeletLabels = new Set([
  'kubernetes.io/hostname',
  'kubernetes.io/arch',
  'kubernetes.io/os',
  'beta.kubernetes.io/arch',
  'beta.kubernetes.io/os',
  'beta.kubernetes.io/instance-type',
  'node.kubernetes.io/instance-type',
  'failure-domain.beta.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'topology.kubernetes.io/region',
  'topology.kubernetes.io/zone',
]);

function mayLabel(key: string): boolean {
  if (kubeletLabels.has(key)) return true;
  const slash = key.indexOf('/');
  if (slash < 0) return true;
  const domain = key.slice(0, slash);
  if (domain === 'kubelet.kubernetes.io' || domain.endsWith('.kubelet.kubernetes.io')) return true;
  if (domain === 'node.kubernetes.io' || domain.endsWith('.node.kubernetes.io')) return true;
  const reserved = ['kubernetes.io', 'k8s.io'].some((end) => domain === end || domain.endsWith(`.${end}`));
  return !reserved;
}

const name = (object: JsonObject | undefined): string => String(getPath(object, 'metadata', 'name') ?? '');

/**
 * NodeRestriction (KEP-279): a kubelet writes its own Node, Lease, CSINode and the pods bound to it, of claims what an expansion changes, and nothing else.
 */
export const nodeRestriction: AdmissionPlugin = {
  name: 'NodeRestriction',
  async validate(request, { reader }) {
    const node = nodeName(request.user);
    if (node === undefined || request.operation === 'CONNECT') return;
    const refuse = (why: string): never => {
      throw forbidden({ group: request.kind.group, resource: request.kind.plural }, request.name, why);
    };
    if (node === '') refuse(`could not determine node from user ${showJson(request.user.name)}`);
    if (request.kind.group === '' && request.kind.plural === 'pods') {
      await checkPod(
        request,
        node,
        refuse,
        async () => request.old ?? reader.get('', 'pods', request.namespace, request.name),
        async () => String(getPath(await reader.get('', 'nodes', '', node), 'metadata', 'uid') ?? ''),
      );
    } else if (request.kind.group === '' && request.kind.plural === 'nodes') checkNode(request, node, refuse);
    else if (request.kind.group === '' && request.kind.plural === 'persistentvolumeclaims')
      checkClaim(request, node, refuse);
    else if (isFor(request, 'coordination.k8s.io', 'leases')) {
      if (request.namespace !== 'kube-node-lease')
        refuse('can only access leases in the "kube-node-lease" system namespace');
      if ((request.name || name(request.object)) !== node)
        refuse('can only access node lease with the same name as the requesting node');
    } else if (isFor(request, 'storage.k8s.io', 'csinodes')) {
      if ((request.name || name(request.object)) !== node)
        refuse('can only access CSINode with the same name as the requesting node');
    } else if (isFor(request, 'resource.k8s.io', 'resourceslices')) {
      // Updates: the authorizer has seen whose it is, and nodeName does not change.
      if (request.operation === 'CREATE' && getPath(request.object, 'spec', 'nodeName') !== node)
        refuse('can only create ResourceSlice with the same NodeName as the requesting node');
      if (request.operation === 'DELETE' && getPath(request.old, 'spec', 'nodeName') !== node)
        refuse('can only delete ResourceSlice with the same NodeName as the requesting node');
    } else if (isFor(request, '', 'serviceaccounts', 'token')) {
      const ref = getPath(request.object, 'spec', 'boundObjectRef');
      if (!isObject(ref) || ref.apiVersion !== 'v1' || ref.kind !== 'Pod' || !ref.name)
        refuse('node requested token not bound to a pod');
      else if (typeof ref.uid !== 'string' || ref.uid === '')
        refuse('node requested token with a pod binding without a uid');
      else {
        const pod = await reader.get('', 'pods', request.namespace, String(ref.name));
        if (pod === undefined) throw notFound({ group: '', resource: 'pods' }, String(ref.name));
        if (ref.uid !== getPath(pod, 'metadata', 'uid'))
          refuse(
            `the UID in the bound object reference (${ref.uid}) does not match the UID in record. The object might have been deleted and then recreated`,
          );
        if (getPath(pod, 'spec', 'nodeName') !== node)
          refuse('node requested token bound to a pod scheduled on a different node');
      }
    }
  },
};

async function checkPod(
  request: AdmissionRequest,
  node: string,
  refuse: (why: string) => never,
  current: () => Promise<JsonObject | undefined>,
  nodeUid: () => Promise<string>,
): Promise<void> {
  if (request.subresource === 'status') return checkPodStatus(request, node, refuse);
  const evicted = request.subresource === 'eviction';
  if (evicted || (request.subresource === '' && request.operation === 'DELETE')) {
    const pod = await current();
    if (pod !== undefined && getPath(pod, 'spec', 'nodeName') !== node)
      refuse(`node "${node}" can only ${evicted ? 'evict' : 'delete'} pods with spec.nodeName set to itself`);
    return;
  }
  if (request.subresource !== '')
    return refuse(`unexpected pod subresource "${request.subresource}", only 'status' and 'eviction' are allowed`);
  if (request.operation !== 'CREATE')
    return refuse(`unexpected operation "${request.operation}", node "${node}" can only create and delete mirror pods`);
  const pod = request.object;
  if (pod === undefined || !isMirrorPod(pod))
    return refuse(
      `pod does not have "kubernetes.io/config.mirror" annotation, node "${node}" can only create mirror pods`,
    );
  if (getPath(pod, 'spec', 'nodeName') !== node)
    refuse(`node "${node}" can only create pods with spec.nodeName set to itself`);
  const problem = ownersProblem(pod, node, await nodeUid());
  if (problem !== undefined) refuse(problem);
  const [first] = podReferences(pod);
  if (first !== undefined) refuse(`node "${node}" can not create pods that reference ${first.resource}`);
}

/** The status says how the pod is: what selects it, or opens other objects to the node, does not change with it. */
function checkPodStatus(request: AdmissionRequest, node: string, refuse: (why: string) => never): void {
  const { object, old } = request;
  if (request.operation !== 'UPDATE' || old === undefined || object === undefined)
    refuse(`unexpected operation "${request.operation}"`);
  if (getPath(old, 'spec', 'nodeName') !== node)
    refuse(`node "${node}" can only update pod status for pods with spec.nodeName set to itself`);
  if (!jsonEqual(getPath(object, 'metadata', 'labels') ?? {}, getPath(old, 'metadata', 'labels') ?? {}))
    refuse(`node "${node}" cannot update labels through pod status`);
  const claims = (pod: JsonObject): Json => getPath(pod, 'status', 'resourceClaimStatuses') ?? [];
  if (!jsonEqual(claims(object), claims(old))) refuse(`node "${node}" cannot update resource claim statuses`);
}

/** What a kubelet that has grown a volume's file system says of its claim (KEP-1790). */
const expansionFields = ['capacity', 'conditions', 'allocatedResources', 'allocatedResourceStatuses'];

function checkClaim(request: AdmissionRequest, node: string, refuse: (why: string) => never): void {
  const { object, old } = request;
  if (request.subresource !== 'status') refuse('may only update PVC status');
  if (request.operation !== 'UPDATE' || old === undefined || object === undefined)
    refuse(`unexpected operation "${request.operation}"`);
  const kept = (claim: JsonObject): JsonObject => ({
    ...claim,
    metadata: without(claim.metadata, ['resourceVersion', 'managedFields']),
    status: without(claim.status, expansionFields),
  });
  if (!jsonEqual(kept(object), kept(old)))
    refuse(
      `node "${node}" is not allowed to update fields other than ${expansionFields.map((one) => `status.${one}`).join(', ')}`,
    );
}

/** The fields but for some; an absent object is an empty one. */
function without(value: Json | undefined, fields: readonly string[]): JsonObject {
  const all = isObject(value) ? value : {};
  return Object.fromEntries(Object.entries(all).filter(([name]) => !fields.includes(name)));
}

/** A mirror pod belongs to its node and to nothing else: owners elsewhere would be a way to have objects deleted, or held. Undefined when it does. */
function ownersProblem(pod: JsonObject, node: string, uid: string): string | undefined {
  const owners = getPath(pod, 'metadata', 'ownerReferences');
  const [owner, ...others] = Array.isArray(owners) ? owners : [];
  if (!isObject(owner) || others.length > 0)
    return `node "${node}" can only create pods with a single owner reference set to itself`;
  if (owner.apiVersion !== 'v1' || owner.kind !== 'Node' || owner.name !== node)
    return `node "${node}" can only create pods with an owner reference set to itself`;
  if (owner.controller !== true)
    return `node "${node}" can only create pods with a controller owner reference set to itself`;
  if (owner.blockOwnerDeletion === true) return `node "${node}" must not set blockOwnerDeletion on an owner reference`;
  if (owner.uid !== uid) return `node ${node} UID mismatch: expected ${uid} got ${showJson(owner.uid)}`;
  return undefined;
}

function checkNode(request: AdmissionRequest, node: string, refuse: (why: string) => never): void {
  const wanted = request.name || name(request.object);
  if (wanted !== node) refuse(`node "${node}" is not allowed to modify node "${wanted}"`);
  if (request.operation === 'DELETE') refuse(`node "${node}" cannot delete itself`);
  if (request.object === undefined) return;
  const created = request.operation === 'CREATE';
  const source = getPath(request.object, 'spec', 'configSource') ?? null;
  if (source !== null && (created || !jsonEqual(source, getPath(request.old, 'spec', 'configSource') ?? null)))
    refuse(`node "${node}" is not allowed to ${created ? 'create' : 'update'} a node with a configSource`);
  if (!created) {
    const taints = (one: JsonObject | undefined): Json => getPath(one, 'spec', 'taints') ?? [];
    if (!jsonEqual(taints(request.object), taints(request.old)))
      refuse(`node "${node}" is not allowed to modify taints`);
  }
  const refused = changedLabels(request.object, request.old).filter((key) => !mayLabel(key));
  if (refused.length === 0) return;
  const labels = refused.sort().join(', ');
  if (created) refuse(`node "${node}" is not allowed to set the following labels: ${labels}`);
  refuse(`is not allowed to modify labels: ${labels}`);
}

/** Keys of labels that were added, changed or taken away. */
function changedLabels(object: JsonObject, old: JsonObject | undefined): string[] {
  const after = without(getPath(object, 'metadata', 'labels'), []);
  const before = without(getPath(old, 'metadata', 'labels'), []);
  return [...new Set([...Object.keys(after), ...Object.keys(before)])].filter((key) => after[key] !== before[key]);
}

/** TaintNodesByCondition: a new node takes no pods until the node controller has seen it ready. */
export const taintNewNodes: AdmissionPlugin = {
  name: 'TaintNodesByCondition',
  admit(request) {
    if (request.operation !== 'CREATE' || !isFor(request, '', 'nodes') || request.object === undefined) return;
    const node = request.object;
    if (!isObject(node.spec)) node.spec = {};
    const taints = Array.isArray(node.spec.taints) ? node.spec.taints : [];
    const key = 'node.kubernetes.io/not-ready';
    if (taints.some((taint) => isObject(taint) && taint.key === key && taint.effect === 'NoSchedule')) return;
    node.spec.taints = [...taints, { key, effect: 'NoSchedule' }];
  },
};
