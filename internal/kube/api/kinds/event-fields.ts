import { getPath, type JsonObject } from '../../machinery/json.ts';

const read = (...path: string[]): ((object: JsonObject) => string) => {
  return (object) => {
    const value = getPath(object, ...path);
    return value === undefined || value === null ? '' : String(value);
  };
};

/** Selectable fields of core/v1 Event (registry/core/event/strategy). */
export const eventFields: Readonly<Record<string, (object: JsonObject) => string>> = {
  'involvedObject.kind': read('involvedObject', 'kind'),
  'involvedObject.namespace': read('involvedObject', 'namespace'),
  'involvedObject.name': read('involvedObject', 'name'),
  'involvedObject.uid': read('involvedObject', 'uid'),
  'involvedObject.apiVersion': read('involvedObject', 'apiVersion'),
  'involvedObject.resourceVersion': read('involvedObject', 'resourceVersion'),
  'involvedObject.fieldPath': read('involvedObject', 'fieldPath'),
  reason: read('reason'),
  reportingComponent: read('reportingComponent'),
  source: (object) => read('source', 'component')(object) || read('reportingComponent')(object),
  type: read('type'),
};

/** The same for events.k8s.io/v1. */
export const eventsGroupFields: Readonly<Record<string, (object: JsonObject) => string>> = {
  'regarding.kind': read('regarding', 'kind'),
  'regarding.namespace': read('regarding', 'namespace'),
  'regarding.name': read('regarding', 'name'),
  'regarding.uid': read('regarding', 'uid'),
  'regarding.apiVersion': read('regarding', 'apiVersion'),
  'regarding.resourceVersion': read('regarding', 'resourceVersion'),
  'regarding.fieldPath': read('regarding', 'fieldPath'),
  reason: read('reason'),
  reportingController: read('reportingController'),
  type: read('type'),
};

/** Fields of events.k8s.io/v1 Event and where core/v1 keeps them. */
const renamed: readonly (readonly [events: string, core: string])[] = [
  ['regarding', 'involvedObject'],
  ['note', 'message'],
  ['reportingController', 'reportingComponent'],
  ['deprecatedSource', 'source'],
  ['deprecatedFirstTimestamp', 'firstTimestamp'],
  ['deprecatedLastTimestamp', 'lastTimestamp'],
  ['deprecatedCount', 'count'],
];

/** events.k8s.io/v1 -> core/v1, the stored form. */
export function eventToCore(object: JsonObject): JsonObject {
  const out: JsonObject = { ...object, apiVersion: 'v1' };
  for (const [events, core] of renamed) {
    if (out[events] !== undefined) out[core] = out[events];
    delete out[events];
  }
  out.involvedObject ??= {};
  return out;
}

/** core/v1 -> events.k8s.io/v1. */
export function eventFromCore(object: JsonObject): JsonObject {
  const out: JsonObject = { ...object, apiVersion: 'events.k8s.io/v1' };
  for (const [events, core] of renamed) {
    if (out[core] !== undefined) out[events] = out[core];
    delete out[core];
  }
  out.eventTime ??= null;
  return out;
}
