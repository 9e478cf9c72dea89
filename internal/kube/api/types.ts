/**
 * TypeScript types of the API objects, made from the same source as the schemas. Names are the API's own; of kinds that exist in two groups
 * the one of events.k8s.io is EventsEvent.
 */
export type * from './types/apps.ts';
export type * from './types/authentication.ts';
export type * from './types/authorization.ts';
export type * from './types/autoscaling.ts';
export type * from './types/batch.ts';
export type * from './types/coordination.ts';
export type * from './types/core.ts';
export type {
  Endpoint,
  EndpointConditions,
  EndpointHints,
  EndpointPort as SliceEndpointPort,
  EndpointSlice,
  EndpointSliceList,
} from './types/discovery.ts';
export type {
  Event as EventsEvent,
  EventList as EventsEventList,
  EventSeries as EventsEventSeries,
} from './types/events.ts';
export type * from './types/meta.ts';
export type * from './types/node.ts';
export type * from './types/policy.ts';
export type * from './types/rbac.ts';
export type * from './types/scalars.ts';
export type * from './types/scheduling.ts';
export type {
  CSIDriver,
  CSIDriverSpec,
  CSINode,
  CSINodeDriver,
  CSINodeSpec,
  CSIStorageCapacity,
  CSIStorageCapacityList,
  StorageClass,
  StorageClassList,
  VolumeAttachment,
  VolumeAttachmentList,
  VolumeAttachmentSource,
  VolumeAttachmentSpec,
  VolumeAttachmentStatus,
  VolumeError,
  VolumeNodeResources,
} from './types/storage.ts';
