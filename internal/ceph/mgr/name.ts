/** The mgr of the machine that made the cluster is mgr.a. */
export const firstMgr = 'a';

/** The mgr of a node that joined, and with the engine `ceph` its mon, is called as the node; on a node named `a` it gets a name that no node may have. */
export function joinedMgr(node: string): string {
  return node === firstMgr ? `${firstMgr}.${node}` : node;
}
