import { nodeName } from '../auth/identity.ts';
import { isMirrorPod, podReferences } from '../auth/pod-references.ts';
import { getPath, isObject, jsonEqual, type JsonObject, showJson } from '../machinery/json.ts';
import { forbidden } from '../machinery/status.ts';
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

/** NodeRestriction (KEP-279): a kubelet writes its own Node, Lease, CSINode and the pods bound to it, and nothing else. */
export const nodeRestriction: AdmissionPlugin = {
  name: 'NodeRestriction',
  async validate(request, { reader }) {
    const node = nodeName(request.user);
    if (node === undefined || request.operation === 'CONNECT') return;
    const refuse = (why: string): never => {
      throw forbidden({ group: request.kind.group, resource: request.kind.plural }, request.name, why);
    };
    if (request.kind.group === '' && request.kind.plural === 'pods') {
      await checkPod(
        request,
        node,
        refuse,
        async () => request.old ?? reader.get('', 'pods', request.namespace, request.name),
        async () => String(getPath(await reader.get('', 'nodes', '', node), 'metadata', 'uid') ?? ''),
      );
    } else if (request.kind.group === '' && request.kind.plural === 'nodes') checkNode(request, node, refuse);
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
      if (!isObject(ref) || ref.kind !== 'Pod' || !ref.name) refuse('node requested token not bound to a pod');
      else {
        const pod = await reader.get('', 'pods', request.namespace, String(ref.name));
        if (pod === undefined || getPath(pod, 'spec', 'nodeName') !== node)
          refuse('node requested token bound to a pod scheduled on a different node');
        else if (ref.uid !== undefined && ref.uid !== '' && ref.uid !== getPath(pod, 'metadata', 'uid'))
          refuse('the UID in the bound object reference does not match the UID in record');
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
  if (request.subresource === 'eviction' || request.operation === 'DELETE' || request.subresource === 'status') {
    const pod = await current();
    if (pod !== undefined && getPath(pod, 'spec', 'nodeName') !== node)
      refuse(`node "${node}" can only change or delete pods with spec.nodeName set to itself`);
    return;
  }
  if (request.subresource !== '') return refuse(`unexpected pod subresource "${request.subresource}"`);
  if (request.operation !== 'CREATE') return refuse(`unexpected operation ${request.operation}`);
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
  if (request.subresource !== '' || request.object === undefined) return;
  const labels = getPath(request.object, 'metadata', 'labels');
  const before = getPath(request.old, 'metadata', 'labels');
  for (const [key, value] of Object.entries(isObject(labels) ? labels : {})) {
    if (isObject(before) && before[key] === value) continue;
    if (!mayLabel(key)) refuse(`node "${node}" is not allowed to set the following labels: ${key}`);
  }
  if (request.operation !== 'UPDATE') return;
  if (!jsonEqual(getPath(request.object, 'spec', 'taints') ?? [], getPath(request.old, 'spec', 'taints') ?? []))
    refuse(`node "${node}" is not allowed to modify taints`);
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
