import { isObject, type JsonObject } from '../../machinery/json.ts';
import type { Printer } from '../../machinery/table.ts';
import { objects } from '../defaults/helpers.ts';
import {
  ageColumn,
  ageOf,
  column,
  containerCells,
  containerColumns,
  count,
  labelsText,
  nameColumn,
  nameOf,
  orNone,
  part,
  selectorColumn,
  selectorText,
  text,
} from './cells.ts';

/** Columns of the named groups (pkg/printers/internalversion/printers.go). */
const integer = { type: 'integer' } as const;

export const deploymentPrinter: Printer = {
  columns: [
    nameColumn,
    column('Ready', 'How many pods are ready of how many are wanted.'),
    column('Up-to-date', 'How many pods have the newest template.'),
    column('Available', 'How many pods have been ready for long enough.'),
    ageColumn,
    ...containerColumns,
    selectorColumn,
  ],
  row(deployment, nowMs) {
    const spec = part(deployment, 'spec');
    const status = part(deployment, 'status');
    return [
      nameOf(deployment),
      `${count(status.readyReplicas)}/${count(spec.replicas)}`,
      count(status.updatedReplicas),
      count(status.availableReplicas),
      ageOf(deployment, nowMs),
      ...containerCells(spec),
      selectorText(spec.selector),
    ];
  },
};

export const replicaSetPrinter: Printer = {
  columns: [
    nameColumn,
    column('Desired', 'How many pods are wanted.', integer),
    column('Current', 'How many pods there are.', integer),
    column('Ready', 'How many pods are ready.', integer),
    ageColumn,
    ...containerColumns,
    selectorColumn,
  ],
  row(set, nowMs) {
    const spec = part(set, 'spec');
    const status = part(set, 'status');
    return [
      nameOf(set),
      count(spec.replicas),
      count(status.replicas),
      count(status.readyReplicas),
      ageOf(set, nowMs),
      ...containerCells(spec),
      selectorText(spec.selector),
    ];
  },
};

export const statefulSetPrinter: Printer = {
  columns: [
    nameColumn,
    column('Ready', 'How many pods are ready of how many are wanted.'),
    ageColumn,
    ...containerColumns,
  ],
  row(set, nowMs) {
    const spec = part(set, 'spec');
    return [
      nameOf(set),
      `${count(part(set, 'status').readyReplicas)}/${count(spec.replicas)}`,
      ageOf(set, nowMs),
      ...containerCells(spec),
    ];
  },
};

export const daemonSetPrinter: Printer = {
  columns: [
    nameColumn,
    column('Desired', 'On how many nodes a pod should run.', integer),
    column('Current', 'On how many nodes one does.', integer),
    column('Ready', 'How many of them are ready.', integer),
    column('Up-to-date', 'How many have the newest template.', integer),
    column('Available', 'How many have been ready for long enough.', integer),
    column('Node Selector', 'On which nodes the pods run.'),
    ageColumn,
    ...containerColumns,
    selectorColumn,
  ],
  row(set, nowMs) {
    const spec = part(set, 'spec');
    const status = part(set, 'status');
    return [
      nameOf(set),
      count(status.desiredNumberScheduled),
      count(status.currentNumberScheduled),
      count(status.numberReady),
      count(status.updatedNumberScheduled),
      count(status.numberAvailable),
      labelsText(part(part(spec, 'template'), 'spec').nodeSelector),
      ageOf(set, nowMs),
      ...containerCells(spec),
      selectorText(spec.selector),
    ];
  },
};

export const controllerRevisionPrinter: Printer = {
  columns: [
    nameColumn,
    column('Controller', 'Whose revision it is.'),
    column('Revision', 'Its number.', integer),
    ageColumn,
  ],
  row(revision, nowMs) {
    const owner = objects(part(revision, 'metadata').ownerReferences).find(
      (reference) => reference.controller === true,
    );
    const apiVersion = text(owner?.apiVersion);
    const group = apiVersion.includes('/') ? `.${apiVersion.slice(0, apiVersion.indexOf('/'))}` : '';
    return [
      nameOf(revision),
      owner === undefined ? '<none>' : `${text(owner.kind).toLowerCase()}${group}/${text(owner.name)}`,
      count(revision.revision),
      ageOf(revision, nowMs),
    ];
  },
};

export const disruptionBudgetPrinter: Printer = {
  columns: [
    nameColumn,
    column('Min Available', 'How many pods must stay available.'),
    column('Max Unavailable', 'How many pods may be unavailable.'),
    column('Allowed Disruptions', 'How many pods may be evicted now.', integer),
    ageColumn,
  ],
  row(budget, nowMs) {
    const spec = part(budget, 'spec');
    return [
      nameOf(budget),
      text(spec.minAvailable) || 'N/A',
      text(spec.maxUnavailable) || 'N/A',
      count(part(budget, 'status').disruptionsAllowed),
      ageOf(budget, nowMs),
    ];
  },
};

function subjects(binding: JsonObject, kind: string): string {
  return objects(binding.subjects)
    .filter((subject) => subject.kind === kind)
    .map((subject) =>
      kind === 'ServiceAccount' ? `${text(subject.namespace)}/${text(subject.name)}` : text(subject.name),
    )
    .join(', ');
}

export const roleBindingPrinter: Printer = {
  columns: [
    nameColumn,
    column('Role', 'The role that is granted.'),
    ageColumn,
    column('Users', 'Users who have it.', { wide: true }),
    column('Groups', 'Groups that have it.', { wide: true }),
    column('ServiceAccounts', 'Service accounts that have it.', { wide: true }),
  ],
  row(binding, nowMs) {
    const role = part(binding, 'roleRef');
    return [
      nameOf(binding),
      `${text(role.kind)}/${text(role.name)}`,
      ageOf(binding, nowMs),
      subjects(binding, 'User'),
      subjects(binding, 'Group'),
      subjects(binding, 'ServiceAccount'),
    ];
  },
};

export const storageClassPrinter: Printer = {
  columns: [
    nameColumn,
    column('Provisioner', 'Who makes the volumes.'),
    column('ReclaimPolicy', 'What happens to a volume when its claim is gone.'),
    column('VolumeBindingMode', 'When a volume is made: at once, or for the first pod that uses it.'),
    column('AllowVolumeExpansion', 'Whether volumes can grow.', { type: 'boolean' }),
    ageColumn,
  ],
  row(storageClass, nowMs) {
    const annotations = part(part(storageClass, 'metadata'), 'annotations');
    const isDefault =
      annotations['storageclass.kubernetes.io/is-default-class'] === 'true' ||
      annotations['storageclass.beta.kubernetes.io/is-default-class'] === 'true';
    return [
      `${nameOf(storageClass)}${isDefault ? ' (default)' : ''}`,
      text(storageClass.provisioner),
      text(storageClass.reclaimPolicy) || 'Delete',
      text(storageClass.volumeBindingMode) || 'Immediate',
      storageClass.allowVolumeExpansion === true,
      ageOf(storageClass, nowMs),
    ];
  },
};

export const csiDriverPrinter: Printer = {
  columns: [
    nameColumn,
    column('AttachRequired', 'Whether volumes are attached before they are mounted.', { type: 'boolean' }),
    column('PodInfoOnMount', 'Whether the driver is told about the pod.', { type: 'boolean' }),
    column('StorageCapacity', 'Whether the driver publishes its free capacity.', { type: 'boolean' }),
    column('TokenRequests', 'Audiences of tokens that the driver gets.'),
    column('RequiresRepublish', 'Whether volumes are published again from time to time.', { type: 'boolean' }),
    column('Modes', 'Persistent, Ephemeral or both.'),
    ageColumn,
  ],
  row(driver, nowMs) {
    const spec = part(driver, 'spec');
    const audiences = objects(spec.tokenRequests).map((request) => text(request.audience));
    return [
      nameOf(driver),
      spec.attachRequired !== false,
      spec.podInfoOnMount === true,
      spec.storageCapacity === true,
      audiences.length === 0 ? '<unset>' : audiences.join(','),
      spec.requiresRepublish === true,
      Array.isArray(spec.volumeLifecycleModes) ? orNone(spec.volumeLifecycleModes.join(',')) : '<none>',
      ageOf(driver, nowMs),
    ];
  },
};

export const csiNodePrinter: Printer = {
  columns: [nameColumn, column('Drivers', 'How many drivers the node has.', integer), ageColumn],
  row: (node, nowMs) => [nameOf(node), objects(part(node, 'spec').drivers).length, ageOf(node, nowMs)],
};

export const csiStorageCapacityPrinter: Printer = {
  columns: [nameColumn, column('StorageClassName', 'The class.'), column('Capacity', 'What is free.')],
  row: (capacity) => [nameOf(capacity), text(capacity.storageClassName), text(capacity.capacity) || '<unset>'],
};

export const volumeAttachmentPrinter: Printer = {
  columns: [
    nameColumn,
    column('Attacher', 'The driver.', { format: 'name' }),
    column('PV', 'The volume.'),
    column('Node', 'The node.'),
    column('Attached', 'Whether it is attached.', { type: 'boolean' }),
    ageColumn,
  ],
  row(attachment, nowMs) {
    const spec = part(attachment, 'spec');
    return [
      nameOf(attachment),
      text(spec.attacher),
      text(part(spec, 'source').persistentVolumeName),
      text(spec.nodeName),
      part(attachment, 'status').attached === true,
      ageOf(attachment, nowMs),
    ];
  },
};

export const priorityClassPrinter: Printer = {
  columns: [
    nameColumn,
    column('Value', 'The priority of pods of this class.', integer),
    column('Global-Default', 'Whether pods without a class get this one.', { type: 'boolean' }),
    ageColumn,
    column('PreemptionPolicy', 'Whether pods of this class push others off a node.'),
  ],
  row: (priorityClass, nowMs) => [
    nameOf(priorityClass),
    count(priorityClass.value),
    priorityClass.globalDefault === true,
    ageOf(priorityClass, nowMs),
    text(priorityClass.preemptionPolicy),
  ],
};

export const leasePrinter: Printer = {
  columns: [nameColumn, column('Holder', 'Who holds the lease.'), ageColumn],
  row: (lease, nowMs) => [nameOf(lease), text(part(lease, 'spec').holderIdentity), ageOf(lease, nowMs)],
};

export const endpointSlicePrinter: Printer = {
  columns: [
    nameColumn,
    column('AddressType', 'IPv4, IPv6 or FQDN.'),
    column('Ports', 'Ports of the endpoints.'),
    column('Endpoints', 'Addresses that serve.'),
    ageColumn,
  ],
  row(slice, nowMs) {
    const shownMax = 3;
    const some = (all: string[], none: string): string => {
      if (all.length === 0) return none;
      const shown = all.slice(0, shownMax).join(',');
      return all.length > shownMax ? `${shown} + ${all.length - shownMax} more...` : shown;
    };
    const ports = objects(slice.ports).map((port) => text(port.port) || text(port.name));
    const addresses = objects(slice.endpoints).flatMap((endpoint) =>
      Array.isArray(endpoint.addresses) ? endpoint.addresses.map(String) : [],
    );
    return [
      nameOf(slice),
      text(slice.addressType),
      some(ports, isObject(slice) && slice.ports === undefined ? '*' : '<unset>'),
      some(addresses, '<unset>'),
      ageOf(slice, nowMs),
    ];
  },
};
