// Made by ../schema/generate-main.ts; do not edit.
import type { ObjectMeta } from '../../client/api.ts';
import type { ListMeta } from './meta.ts';

export interface PriorityClass {
  apiVersion: 'scheduling.k8s.io/v1';
  description?: string;
  globalDefault?: boolean;
  kind: 'PriorityClass';
  metadata: ObjectMeta;
  preemptionPolicy?: 'Never' | 'PreemptLowerPriority';
  value?: number;
}

export interface PriorityClassList {
  apiVersion: 'scheduling.k8s.io/v1';
  items: PriorityClass[];
  kind: 'PriorityClassList';
  metadata: ListMeta;
}
