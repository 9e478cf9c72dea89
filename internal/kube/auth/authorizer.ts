import type { Attributes, Decision } from './identity.ts';
import { authorizeNode, nodeMayAtOnce, type NodeGraph } from './node-authorizer.ts';
import type { RbacPolicy } from './rbac.ts';

/** Asks the Node authorizer, then RBAC: the first that allows wins. */
export class Authorizer {
  readonly policy: RbacPolicy;
  readonly #graph: NodeGraph;

  constructor(policy: RbacPolicy, graph: NodeGraph) {
    this.policy = policy;
    this.#graph = graph;
  }

  async authorize(attributes: Attributes): Promise<Decision> {
    const byNode = await authorizeNode(attributes, this.#graph);
    if (byNode?.allowed === true) return byNode;
    const byRole = this.policy.authorize(attributes);
    if (byRole.allowed || byNode === undefined) return byRole;
    return byNode;
  }

  /** For those who cannot wait (expressions): what a node may only because of an object in the store is not allowed. */
  authorizeAtOnce(attributes: Attributes): Decision {
    return nodeMayAtOnce(attributes) ? { allowed: true, reason: '' } : this.policy.authorize(attributes);
  }
}

/** The text that clients get when they may not: upstream's wording, which tools and people search for. */
export function forbiddenText(attributes: Attributes): string {
  const { user, verb } = attributes;
  if (!attributes.resourceRequest) return `User "${user.name}" cannot ${verb} path "${attributes.path}"`;
  const resource =
    attributes.subresource === '' ? attributes.resource : `${attributes.resource}/${attributes.subresource}`;
  const where = attributes.namespace === '' ? 'at the cluster scope' : `in the namespace "${attributes.namespace}"`;
  return `User "${user.name}" cannot ${verb} resource "${resource}" in API group "${attributes.group}" ${where}`;
}
