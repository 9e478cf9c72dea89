import type { CelType } from './types.ts';

/** Types of what admission gives to expressions beside the object (k8s.io/apiserver/pkg/admission/plugin/cel, BuildRequestType and BuildNamespaceType). */
const fields = (all: Readonly<Record<string, CelType>>): CelType => ({ fields: new Map(Object.entries(all)) });
const texts: CelType = { map: 'string' };

const kind = fields({ group: 'string', version: 'string', kind: 'string' });
const resource = fields({ group: 'string', version: 'string', resource: 'string' });

/** `request`: an AdmissionRequest without uid, object and oldObject. */
export const requestType: CelType = fields({
  kind,
  resource,
  subResource: 'string',
  requestKind: kind,
  requestResource: resource,
  requestSubResource: 'string',
  name: 'string',
  namespace: 'string',
  operation: 'string',
  userInfo: fields({
    username: 'string',
    uid: 'string',
    groups: { list: 'string' },
    extra: { map: { list: 'string' } },
  }),
  dryRun: 'bool',
  options: 'dyn',
});

/** `namespaceObject`. */
export const namespaceType: CelType = fields({
  metadata: fields({
    name: 'string',
    generateName: 'string',
    namespace: 'string',
    labels: texts,
    annotations: texts,
    uid: 'string',
    creationTimestamp: 'google.protobuf.Timestamp',
    deletionGracePeriodSeconds: 'int',
    deletionTimestamp: 'google.protobuf.Timestamp',
    generation: 'int',
    resourceVersion: 'string',
    finalizers: { list: 'string' },
  }),
  spec: fields({ finalizers: { list: 'string' } }),
  status: fields({
    phase: 'string',
    conditions: {
      list: fields({
        type: 'string',
        status: 'string',
        reason: 'string',
        message: 'string',
        lastTransitionTime: 'google.protobuf.Timestamp',
      }),
    },
  }),
});
