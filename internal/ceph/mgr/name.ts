/** The mgr of the machine that made the cluster is mgr.a. */
export const firstMgr = 'a';

/** The mgr of a node that joined is called as the node; a node named `a` gets what no node may be named. */
export function joinedMgr(node: string): string {
  return node === firstMgr ? `${firstMgr}.${node}` : node;
}
