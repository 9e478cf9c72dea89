/**
 * TypeScript types of the API objects, made from the same source as the schemas. Names are the API's own; of kinds that exist in two groups
 * the one of events.k8s.io is EventsEvent. Groups that use another group's names are namespaces of their own: `apiextensions.ServiceReference`.
 */
export type * as admissionregistration from './types/admissionregistration.ts';
export type * as apiextensions from './types/apiextensions.ts';
export type * as apiregistration from './types/apiregistration.ts';
export type * from './types/apps.ts';
export type * from './types/authentication.ts';
export type * from './types/authorization.ts';
export type { Scale, ScaleSpec, ScaleStatus } from './types/autoscaling.ts';
export type * from './types/autoscaling-v2.ts';
export type * from './types/batch.ts';
export type * from './types/certificates.ts';
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
export type * as flowcontrol from './types/flowcontrol.ts';
export type * from './types/meta.ts';
export type * from './types/networking.ts';
export type * from './types/node.ts';
export type * from './types/policy.ts';
export type * from './types/rbac.ts';
export type * as resource from './types/resource.ts';
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
  VolumeAttributesClass,
  VolumeAttributesClassList,
  VolumeError,
  VolumeNodeResources,
} from './types/storage.ts';
