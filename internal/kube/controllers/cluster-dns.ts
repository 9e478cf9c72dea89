import type { EndpointSlice, Node } from '../api/types.ts';
import type { KubeObject } from '../client/api.ts';
import { endpointSlicesRef, nodesRef } from '../client/resources.ts';
import type { ControllerContext } from './context.ts';
import { canonicalJson } from './revision.ts';
import { unlessGone } from './unless-gone.ts';

type NodeObject = Node & KubeObject;
type Slice = EndpointSlice & KubeObject;

const namespace = 'kube-system';
const service = 'kube-dns';
const labels = {
  'kubernetes.io/service-name': service,
  'endpointslice.kubernetes.io/managed-by': 'appliance',
  'app.kubernetes.io/managed-by': 'appliance',
};

/** What EndpointSlices of kube-dns say: the DNS server of every node, to be used by its own node while it is ready. */
export function dnsEndpoints(nodes: readonly Node[]): NonNullable<EndpointSlice['endpoints']> {
  return nodes
    .flatMap((node) => {
      const name = node.metadata.name ?? '';
      const address = node.status?.addresses?.find((one) => one.type === 'InternalIP')?.address;
      if (address === undefined || node.metadata.deletionTimestamp) return [];
      const ready = node.status?.conditions?.find((one) => one.type === 'Ready')?.status === 'True';
      return [
        {
          addresses: [address],
          conditions: { ready, serving: ready, terminating: false },
          hints: { forNodes: [{ name }] },
          nodeName: name,
        },
      ];
    })
    .sort((a, b) => (a.nodeName < b.nodeName ? -1 : 1))
    .slice(0, 1000);
}

/** Keeps the endpoints of the cluster's DNS service: every node runs a server of its own (role `edge`) on `port` of its address. */
export function clusterDnsController(port: number): (context: ControllerContext) => void {
  return (context) => {
    const { client } = context;
    const nodes = context.informers.of<NodeObject>(nodesRef);
    const slices = context.informers.of<Slice>(endpointSlicesRef);
    const queue = context.queue('cluster-dns', reconcile, 1);
    const again = (): void => queue.add(service);
    nodes.handle({
      onAdd: again,
      onUpdate: (node, before) => {
        if (canonicalJson(dnsEndpoints([node])) !== canonicalJson(dnsEndpoints([before]))) again();
      },
      onDelete: again,
    });
    const onSlice = (slice: Slice): void => {
      if (isOurs(slice)) again();
    };
    slices.handle({ onAdd: onSlice, onUpdate: onSlice, onDelete: onSlice });
    again();

    async function reconcile(): Promise<void> {
      const content = {
        addressType: 'IPv4',
        endpoints: dnsEndpoints(nodes.list()),
        ports: [
          { name: 'dns', protocol: 'UDP', port },
          { name: 'dns-tcp', protocol: 'TCP', port },
        ],
      } as const;
      let current: Slice | undefined;
      for (const slice of slices.list().filter(isOurs)) {
        if (slice.metadata.name === `${service}-nodes`) current = slice;
        // A slice by another name would answer for nodes that are gone.
        else await unlessGone(client.delete(endpointSlicesRef, slice.metadata.name, namespace));
      }
      if (!current)
        await client.create<Slice>(endpointSlicesRef, {
          apiVersion: 'discovery.k8s.io/v1',
          kind: 'EndpointSlice',
          metadata: { name: `${service}-nodes`, namespace, labels },
          ...content,
        } as unknown as Slice);
      else {
        const { addressType, endpoints = [], ports = [] } = current;
        if (canonicalJson({ addressType, endpoints, ports }) === canonicalJson(content)) return;
        await client.update<Slice>(endpointSlicesRef, { ...current, ...content } as unknown as Slice);
      }
    }
  };
}

function isOurs(slice: Slice): boolean {
  return (
    slice.metadata.namespace === namespace &&
    Object.entries(labels)
      .slice(0, 2)
      .every(([key, value]) => slice.metadata.labels?.[key] === value)
  );
}
