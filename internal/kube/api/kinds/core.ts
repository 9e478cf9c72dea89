import { getPath, type JsonObject } from '../../machinery/json.ts';
import {
  claimPrinter,
  configMapPrinter,
  endpointsPrinter,
  eventPrinter,
  namespacePrinter,
  nodePrinter,
  secretPrinter,
  serviceAccountPrinter,
  servicePrinter,
  volumePrinter,
} from '../printers/core.ts';
import { podPrinter } from '../printers/pod.ts';
import { defineKind, defineReview, type KindInfo, statusSubresource } from '../kinds.ts';
import {
  claimStrategy,
  configMapStrategy,
  endpointsStrategy,
  eventStrategy,
  namespaceStrategy,
  nodeStrategy,
  podStrategy,
  secretStrategy,
  serviceStrategy,
  volumeStrategy,
} from '../strategies/core.ts';
import { eventFields } from './event-fields.ts';

const text = (...path: string[]): ((object: JsonObject) => string) => {
  return (object) => {
    const value = getPath(object, ...path);
    return value === undefined || value === null ? '' : String(value);
  };
};

/** A boolean as a field selector sees it: absent is `false`. */
const flag = (...path: string[]): ((object: JsonObject) => string) => {
  return (object) => String(getPath(object, ...path) === true);
};

const schema = (kind: string): string => `io.k8s.api.core.v1.${kind}`;
const connect = (kind: string, verbs: string[]): { kind: string; verbs: string[] } => ({ kind, verbs });

/** The core group, `/api/v1`. */
export const coreKinds: readonly KindInfo[] = [
  defineReview({
    group: '',
    version: 'v1',
    kind: 'Binding',
    plural: 'bindings',
    schema: schema('Binding'),
    namespaced: true,
  }),
  defineKind({
    group: '',
    version: 'v1',
    kind: 'ConfigMap',
    printer: configMapPrinter,
    strategy: configMapStrategy,
    plural: 'configmaps',
    shortNames: ['cm'],
    schema: schema('ConfigMap'),
  }),
  defineKind({
    group: '',
    version: 'v1',
    kind: 'Endpoints',
    printer: endpointsPrinter,
    strategy: endpointsStrategy,
    plural: 'endpoints',
    singular: 'endpoints',
    listKind: 'EndpointsList',
    shortNames: ['ep'],
    schema: schema('Endpoints'),
  }),
  defineKind({
    group: '',
    version: 'v1',
    kind: 'Event',
    printer: eventPrinter,
    strategy: eventStrategy,
    plural: 'events',
    shortNames: ['ev'],
    schema: schema('Event'),
    selectableFields: eventFields,
    volatile: true,
  }),
  defineKind({
    group: '',
    version: 'v1',
    kind: 'Namespace',
    printer: namespacePrinter,
    strategy: namespaceStrategy,
    plural: 'namespaces',
    shortNames: ['ns'],
    namespaced: false,
    verbs: ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'],
    schema: schema('Namespace'),
    subresources: {
      finalize: { kind: 'Namespace', verbs: ['update'] },
      status: statusSubresource('Namespace'),
    },
    selectableFields: { name: text('metadata', 'name'), 'status.phase': text('status', 'phase') },
    nameRule: 'label',
  }),
  defineKind({
    group: '',
    version: 'v1',
    kind: 'Node',
    printer: nodePrinter,
    strategy: nodeStrategy,
    plural: 'nodes',
    shortNames: ['no'],
    namespaced: false,
    schema: schema('Node'),
    subresources: {
      status: statusSubresource('Node'),
    },
    selectableFields: { 'spec.unschedulable': flag('spec', 'unschedulable') },
  }),
  defineKind({
    group: '',
    version: 'v1',
    kind: 'PersistentVolumeClaim',
    printer: claimPrinter,
    strategy: claimStrategy,
    plural: 'persistentvolumeclaims',
    shortNames: ['pvc'],
    schema: schema('PersistentVolumeClaim'),
    subresources: { status: statusSubresource('PersistentVolumeClaim') },
    selectableFields: { name: text('metadata', 'name') },
  }),
  defineKind({
    group: '',
    version: 'v1',
    kind: 'PersistentVolume',
    printer: volumePrinter,
    strategy: volumeStrategy,
    plural: 'persistentvolumes',
    shortNames: ['pv'],
    namespaced: false,
    schema: schema('PersistentVolume'),
    subresources: { status: statusSubresource('PersistentVolume') },
    selectableFields: { name: text('metadata', 'name') },
  }),
  defineKind({
    group: '',
    version: 'v1',
    kind: 'Pod',
    printer: podPrinter,
    strategy: podStrategy,
    plural: 'pods',
    shortNames: ['po'],
    categories: ['all'],
    schema: schema('Pod'),
    subresources: {
      attach: connect('PodAttachOptions', ['create', 'get']),
      binding: { kind: 'Binding', verbs: ['create'] },
      ephemeralcontainers: { kind: 'Pod', verbs: ['get', 'patch', 'update'] },
      eviction: { group: 'policy', version: 'v1', kind: 'Eviction', verbs: ['create'] },
      exec: connect('PodExecOptions', ['create', 'get']),
      log: { kind: 'Pod', verbs: ['get'] },
      portforward: connect('PodPortForwardOptions', ['create', 'get']),
      status: statusSubresource('Pod'),
    },
    selectableFields: {
      'spec.nodeName': text('spec', 'nodeName'),
      'spec.restartPolicy': text('spec', 'restartPolicy'),
      'spec.schedulerName': text('spec', 'schedulerName'),
      'spec.serviceAccountName': text('spec', 'serviceAccountName'),
      'spec.hostNetwork': flag('spec', 'hostNetwork'),
      'status.phase': text('status', 'phase'),
      'status.podIP': text('status', 'podIP'),
      'status.podIPs': text('status', 'podIP'),
      'status.nominatedNodeName': text('status', 'nominatedNodeName'),
    },
  }),
  defineKind({
    group: '',
    version: 'v1',
    kind: 'Secret',
    printer: secretPrinter,
    strategy: secretStrategy,
    plural: 'secrets',
    schema: schema('Secret'),
    selectableFields: { type: text('type') },
  }),
  defineKind({
    group: '',
    version: 'v1',
    kind: 'ServiceAccount',
    printer: serviceAccountPrinter,
    plural: 'serviceaccounts',
    shortNames: ['sa'],
    schema: schema('ServiceAccount'),
    subresources: {
      token: { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest', verbs: ['create'] },
    },
  }),
  defineKind({
    group: '',
    version: 'v1',
    kind: 'Service',
    printer: servicePrinter,
    strategy: serviceStrategy,
    plural: 'services',
    shortNames: ['svc'],
    categories: ['all'],
    schema: schema('Service'),
    subresources: { status: statusSubresource('Service') },
    selectableFields: { 'spec.clusterIP': text('spec', 'clusterIP'), 'spec.type': text('spec', 'type') },
    nameRule: 'label1035',
  }),
];
