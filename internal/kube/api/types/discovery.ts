// Made by ../schema/generate-main.ts; do not edit.
import type { ObjectMeta } from '../../client/api.ts';
import type { ObjectReference } from './core.ts';
import type { ListMeta } from './meta.ts';

export interface Endpoint {
  addresses: string[];
  conditions?: EndpointConditions;
  deprecatedTopology?: Record<string, string>;
  hints?: EndpointHints;
  hostname?: string;
  nodeName?: string;
  targetRef?: ObjectReference;
  zone?: string;
}

export interface EndpointConditions {
  ready?: boolean;
  serving?: boolean;
  terminating?: boolean;
}

export interface EndpointHints {
  forNodes?: ForNode[];
  forZones?: ForZone[];
}

export interface EndpointPort {
  appProtocol?: string;
  name?: string;
  port?: number;
  protocol?: 'SCTP' | 'TCP' | 'UDP';
}

export interface EndpointSlice {
  addressType: 'FQDN' | 'IPv4' | 'IPv6';
  apiVersion: 'discovery.k8s.io/v1';
  endpoints?: Endpoint[];
  kind: 'EndpointSlice';
  metadata: ObjectMeta;
  ports?: EndpointPort[];
}

export interface EndpointSliceList {
  apiVersion: 'discovery.k8s.io/v1';
  items: EndpointSlice[];
  kind: 'EndpointSliceList';
  metadata: ListMeta;
}

export interface ForNode {
  name: string;
}

export interface ForZone {
  name: string;
}
