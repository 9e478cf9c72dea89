import { isObject, type JsonObject } from '../../machinery/json.ts';
import type { Printer } from '../../machinery/table.ts';
import { age } from '../../machinery/time.ts';
import { objects } from '../defaults/helpers.ts';
import {
  accessModesText,
  ageColumn,
  ageOf,
  column,
  count,
  labelsText,
  nameColumn,
  nameOf,
  orNone,
  part,
  text,
} from './cells.ts';

/** Columns of the core group (pkg/printers/internalversion/printers.go). */
function externalIps(service: JsonObject): string {
  const spec = part(service, 'spec');
  const ips = Array.isArray(spec.externalIPs) ? spec.externalIPs.map(String) : [];
  switch (spec.type) {
    case 'ExternalName':
      return text(spec.externalName);
    case 'LoadBalancer': {
      const ingress = objects(part(part(service, 'status'), 'loadBalancer').ingress).map(
        (item) => text(item.ip) || text(item.hostname),
      );
      const all = [...ingress, ...ips];
      return all.length > 0 ? all.join(',') : '<pending>';
    }
    default:
      return orNone(ips.join(','));
  }
}

export const servicePrinter: Printer = {
  columns: [
    nameColumn,
    column('Type', 'How the service is exposed: ClusterIP, NodePort, LoadBalancer or ExternalName.'),
    column('Cluster-IP', 'Address of the service inside the cluster; None for a headless one.'),
    column('External-IP', 'Addresses by which the service is reached from outside.'),
    column('Port(s)', 'Ports of the service, and of the nodes for NodePort.'),
    ageColumn,
    column('Selector', 'Which pods serve it.', { wide: true }),
  ],
  row(service, nowMs) {
    const spec = part(service, 'spec');
    const ports = objects(spec.ports).map((port) =>
      count(port.nodePort) > 0
        ? `${count(port.port)}:${count(port.nodePort)}/${text(port.protocol)}`
        : `${count(port.port)}/${text(port.protocol)}`,
    );
    return [
      nameOf(service),
      text(spec.type),
      orNone(text(spec.clusterIP)),
      externalIps(service),
      orNone(ports.join(',')),
      ageOf(service, nowMs),
      labelsText(spec.selector),
    ];
  },
};

export const nodePrinter: Printer = {
  columns: [
    nameColumn,
    column('Status', 'Whether the node is ready and takes pods.'),
    column('Roles', 'Roles by the labels of the node.'),
    ageColumn,
    column('Version', 'Version of the kubelet.'),
    column('Internal-IP', 'Address inside the cluster.', { wide: true }),
    column('External-IP', 'Address outside of the cluster.', { wide: true }),
    column('OS-Image', 'Operating system.', { wide: true }),
    column('Kernel-Version', 'Kernel.', { wide: true }),
    column('Container-Runtime', 'Container runtime.', { wide: true }),
  ],
  row(node, nowMs) {
    const status = part(node, 'status');
    const info = part(status, 'nodeInfo');
    const ready = objects(status.conditions).find((condition) => condition.type === 'Ready');
    const words = [ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady'];
    if (part(node, 'spec').unschedulable === true) words.push('SchedulingDisabled');
    const labels = part(part(node, 'metadata'), 'labels');
    const roles = new Set<string>();
    for (const key in labels) {
      if (key.startsWith('node-role.kubernetes.io/') && key.length > 'node-role.kubernetes.io/'.length)
        roles.add(key.slice('node-role.kubernetes.io/'.length));
      else if (key === 'kubernetes.io/role' && text(labels[key]) !== '') roles.add(text(labels[key]));
    }
    const address = (type: string): string =>
      orNone(text(objects(status.addresses).find((item) => item.type === type)?.address));
    return [
      nameOf(node),
      words.join(','),
      orNone([...roles].sort().join(',')),
      ageOf(node, nowMs),
      text(info.kubeletVersion),
      address('InternalIP'),
      address('ExternalIP'),
      text(info.osImage) || '<unknown>',
      text(info.kernelVersion) || '<unknown>',
      text(info.containerRuntimeVersion) || '<unknown>',
    ];
  },
};

function deleting(object: JsonObject): boolean {
  return part(object, 'metadata').deletionTimestamp !== undefined;
}

export const claimPrinter: Printer = {
  columns: [
    nameColumn,
    column('Status', 'Phase of the claim.'),
    column('Volume', 'The bound volume.'),
    column('Capacity', 'Size of the bound volume.'),
    column('Access Modes', 'How the volume can be mounted.'),
    column('StorageClass', 'Class of the claim.'),
    column('VolumeAttributesClass', 'Class of mutable attributes.'),
    ageColumn,
    column('VolumeMode', 'Filesystem or Block.', { wide: true }),
  ],
  row(claim, nowMs) {
    const spec = part(claim, 'spec');
    const status = part(claim, 'status');
    const bound = text(spec.volumeName) !== '';
    return [
      nameOf(claim),
      deleting(claim) ? 'Terminating' : text(status.phase),
      text(spec.volumeName),
      bound ? text(part(status, 'capacity').storage) : '',
      bound ? accessModesText(status.accessModes) : '',
      text(spec.storageClassName) ||
        text(part(part(claim, 'metadata'), 'annotations')['volume.beta.kubernetes.io/storage-class']),
      text(spec.volumeAttributesClassName) || '<unset>',
      ageOf(claim, nowMs),
      text(spec.volumeMode) || '<unset>',
    ];
  },
};

export const volumePrinter: Printer = {
  columns: [
    nameColumn,
    column('Capacity', 'Size of the volume.'),
    column('Access Modes', 'How the volume can be mounted.'),
    column('Reclaim Policy', 'What happens to the volume when its claim is gone.'),
    column('Status', 'Phase of the volume.'),
    column('Claim', 'The bound claim, namespace/name.'),
    column('StorageClass', 'Class of the volume.'),
    column('VolumeAttributesClass', 'Class of mutable attributes.'),
    column('Reason', 'Why the volume is in this phase.'),
    ageColumn,
    column('VolumeMode', 'Filesystem or Block.', { wide: true }),
  ],
  row(volume, nowMs) {
    const spec = part(volume, 'spec');
    const status = part(volume, 'status');
    const claim = isObject(spec.claimRef) ? `${text(spec.claimRef.namespace)}/${text(spec.claimRef.name)}` : '';
    return [
      nameOf(volume),
      text(part(spec, 'capacity').storage),
      accessModesText(spec.accessModes),
      text(spec.persistentVolumeReclaimPolicy),
      deleting(volume) ? 'Terminating' : text(status.phase),
      claim,
      text(spec.storageClassName),
      text(spec.volumeAttributesClassName) || '<unset>',
      text(status.reason),
      ageOf(volume, nowMs),
      text(spec.volumeMode) || '<unset>',
    ];
  },
};

export const namespacePrinter: Printer = {
  columns: [nameColumn, column('Status', 'Active or Terminating.'), ageColumn],
  row: (namespace, nowMs) => [nameOf(namespace), text(part(namespace, 'status').phase), ageOf(namespace, nowMs)],
};

export const configMapPrinter: Printer = {
  columns: [nameColumn, column('Data', 'How many keys there are.', { type: 'integer' }), ageColumn],
  row: (map, nowMs) => [
    nameOf(map),
    Object.keys(part(map, 'data')).length + Object.keys(part(map, 'binaryData')).length,
    ageOf(map, nowMs),
  ],
};

export const secretPrinter: Printer = {
  columns: [
    nameColumn,
    column('Type', 'What the secret is for.'),
    column('Data', 'How many keys there are.', { type: 'integer' }),
    ageColumn,
  ],
  row: (secret, nowMs) => [
    nameOf(secret),
    text(secret.type),
    Object.keys(part(secret, 'data')).length,
    ageOf(secret, nowMs),
  ],
};

export const serviceAccountPrinter: Printer = {
  columns: [nameColumn, column('Secrets', 'How many secrets belong to the account.', { type: 'integer' }), ageColumn],
  row: (account, nowMs) => [nameOf(account), objects(account.secrets).length, ageOf(account, nowMs)],
};

export const endpointsPrinter: Printer = {
  columns: [nameColumn, column('Endpoints', 'Addresses and ports that serve.'), ageColumn],
  row(endpoints, nowMs) {
    const shownMax = 3;
    const all: string[] = [];
    for (const subset of objects(endpoints.subsets)) {
      const addresses = objects(subset.addresses);
      const ports = objects(subset.ports);
      if (ports.length === 0) for (const address of addresses) all.push(text(address.ip));
      for (const port of ports)
        for (const address of addresses) {
          const ip = text(address.ip);
          all.push(`${ip.includes(':') ? `[${ip}]` : ip}:${count(port.port)}`);
        }
    }
    const shown = all.slice(0, shownMax).join(',');
    return [
      nameOf(endpoints),
      all.length > shownMax ? `${shown} + ${all.length - shownMax} more...` : orNone(shown),
      ageOf(endpoints, nowMs),
    ];
  },
};

/** Events of both groups: fields are read under either name. */
export const eventPrinter: Printer = {
  columns: [
    column('Last Seen', 'Time since it happened last.'),
    column('Type', 'Normal or Warning.'),
    column('Reason', 'Why it happened, in one word.'),
    column('Object', 'What it is about.'),
    column('Subobject', 'The part of the object that it is about.', { wide: true }),
    column('Source', 'Who reported it.', { wide: true }),
    column('Message', 'What happened.'),
    column('First Seen', 'Time since it happened first.', { wide: true }),
    column('Count', 'How often it happened.', { wide: true }),
    column('Name', 'Name of the event.', { wide: true, format: 'name' }),
  ],
  row(event, nowMs) {
    const about = isObject(event.involvedObject) ? event.involvedObject : part(event, 'regarding');
    const source = isObject(event.source) ? event.source : part(event, 'deprecatedSource');
    const firstTime = event.firstTimestamp ?? event.deprecatedFirstTimestamp;
    const lastTime = event.lastTimestamp ?? event.deprecatedLastTimestamp;
    const series = isObject(event.series) ? event.series : undefined;
    const first = typeof firstTime === 'string' ? age(firstTime, nowMs) : age(event.eventTime, nowMs);
    const last =
      series !== undefined
        ? age(series.lastObservedTime, nowMs)
        : typeof lastTime === 'string'
          ? age(lastTime, nowMs)
          : first;
    const component = text(source.component) || text(event.reportingComponent ?? event.reportingController);
    const host = text(source.host) || text(event.reportingInstance);
    return [
      last,
      text(event.type),
      text(event.reason),
      `${text(about.kind).toLowerCase()}/${text(about.name)}`,
      text(about.fieldPath),
      host !== '' && host !== component ? `${component}, ${host}` : component,
      text(event.message ?? event.note).trim(),
      first,
      series !== undefined ? count(series.count) : count(event.count ?? event.deprecatedCount) || 1,
      nameOf(event),
    ];
  },
};
