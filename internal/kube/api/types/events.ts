// Made by ../schema/generate-main.ts; do not edit.
import type { ObjectMeta } from '../../client/api.ts';
import type { EventSource, ObjectReference } from './core.ts';
import type { ListMeta } from './meta.ts';

export interface Event {
  action?: string;
  apiVersion: 'events.k8s.io/v1';
  deprecatedCount?: number;
  deprecatedFirstTimestamp?: string;
  deprecatedLastTimestamp?: string;
  deprecatedSource?: EventSource;
  eventTime: string;
  kind: 'Event';
  metadata: ObjectMeta;
  note?: string;
  reason?: string;
  regarding?: ObjectReference;
  related?: ObjectReference;
  reportingController?: string;
  reportingInstance?: string;
  series?: EventSeries;
  type?: string;
}

export interface EventList {
  apiVersion: 'events.k8s.io/v1';
  items: Event[];
  kind: 'EventList';
  metadata: ListMeta;
}

export interface EventSeries {
  count: number;
  lastObservedTime: string;
}
