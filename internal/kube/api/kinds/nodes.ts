import { getPath } from '../../machinery/json.ts';
import { defineKind, type KindInfo, statusSubresource } from '../kinds.ts';
import {
  certificateRequestPrinter,
  plainPrinter,
  resourceClaimPrinter,
  resourceSlicePrinter,
  runtimeClassPrinter,
} from '../printers/extensions.ts';
import {
  certificateRequestStrategy,
  deviceClassStrategy,
  resourceClaimStrategy,
  resourceClaimTemplateStrategy,
  resourceSliceStrategy,
  runtimeClassStrategy,
} from '../strategies/extensions.ts';

/** certificates.k8s.io, node.k8s.io and resource.k8s.io (dynamic resource allocation): what nodes bring or need. */
export const nodeKinds: readonly KindInfo[] = [
  defineKind({
    group: 'certificates.k8s.io',
    version: 'v1',
    kind: 'CertificateSigningRequest',
    printer: certificateRequestPrinter,
    strategy: certificateRequestStrategy,
    plural: 'certificatesigningrequests',
    shortNames: ['csr'],
    namespaced: false,
    schema: 'io.k8s.api.certificates.v1.CertificateSigningRequest',
    subresources: {
      approval: statusSubresource('CertificateSigningRequest'),
      status: statusSubresource('CertificateSigningRequest'),
    },
    selectableFields: { 'spec.signerName': (object) => String(getPath(object, 'spec', 'signerName') ?? '') },
    nameRule: 'path',
  }),
  defineKind({
    group: 'node.k8s.io',
    version: 'v1',
    kind: 'RuntimeClass',
    printer: runtimeClassPrinter,
    strategy: runtimeClassStrategy,
    plural: 'runtimeclasses',
    namespaced: false,
    schema: 'io.k8s.api.node.v1.RuntimeClass',
  }),
  defineKind({
    group: 'resource.k8s.io',
    version: 'v1',
    kind: 'DeviceClass',
    printer: plainPrinter,
    strategy: deviceClassStrategy,
    plural: 'deviceclasses',
    namespaced: false,
    schema: 'io.k8s.api.resource.v1.DeviceClass',
  }),
  defineKind({
    group: 'resource.k8s.io',
    version: 'v1',
    kind: 'ResourceClaim',
    printer: resourceClaimPrinter,
    strategy: resourceClaimStrategy,
    plural: 'resourceclaims',
    schema: 'io.k8s.api.resource.v1.ResourceClaim',
    subresources: { status: statusSubresource('ResourceClaim') },
  }),
  defineKind({
    group: 'resource.k8s.io',
    version: 'v1',
    kind: 'ResourceClaimTemplate',
    printer: plainPrinter,
    strategy: resourceClaimTemplateStrategy,
    plural: 'resourceclaimtemplates',
    schema: 'io.k8s.api.resource.v1.ResourceClaimTemplate',
  }),
  defineKind({
    group: 'resource.k8s.io',
    version: 'v1',
    kind: 'ResourceSlice',
    printer: resourceSlicePrinter,
    strategy: resourceSliceStrategy,
    plural: 'resourceslices',
    namespaced: false,
    schema: 'io.k8s.api.resource.v1.ResourceSlice',
    selectableFields: {
      'spec.driver': (object) => String(getPath(object, 'spec', 'driver') ?? ''),
      'spec.nodeName': (object) => String(getPath(object, 'spec', 'nodeName') ?? ''),
    },
  }),
];
