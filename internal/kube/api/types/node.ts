// Made by ../schema/generate-main.ts; do not edit.
import type { ObjectMeta } from '../../client/api.ts';
import type { Toleration } from './core.ts';
import type { ListMeta } from './meta.ts';
import type { Quantity } from './scalars.ts';

export interface Overhead {
  podFixed?: Record<string, Quantity>;
}

export interface RuntimeClass {
  apiVersion: 'node.k8s.io/v1';
  handler: string;
  kind: 'RuntimeClass';
  metadata: ObjectMeta;
  overhead?: Overhead;
  scheduling?: Scheduling;
}

export interface RuntimeClassList {
  apiVersion: 'node.k8s.io/v1';
  items: RuntimeClass[];
  kind: 'RuntimeClassList';
  metadata: ListMeta;
}

export interface Scheduling {
  nodeSelector?: Record<string, string>;
  tolerations?: Toleration[];
}
