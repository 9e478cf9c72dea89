/** Leases of nodes as kubelets keep them: a key of about this name and size, renewed this often. */
export const leaseKey = (node: number): string => `/registry/leases/kube-node-lease/node-${node}`;
export const leaseBytes = 350;
export const leasesEveryMs = 10_000;
