import { defineKind, type KindInfo, statusSubresource } from '../kinds.ts';
import {
  ingressClassPrinter,
  ingressPrinter,
  ipAddressPrinter,
  networkPolicyPrinter,
  serviceCidrPrinter,
} from '../printers/network.ts';
import {
  ingressClassStrategy,
  ingressStrategy,
  ipAddressStrategy,
  networkPolicyStrategy,
  serviceCidrStrategy,
} from '../strategies/extensions.ts';

/** networking.k8s.io. */
export const networkingKinds: readonly KindInfo[] = [
  defineKind({
    group: 'networking.k8s.io',
    version: 'v1',
    kind: 'IngressClass',
    printer: ingressClassPrinter,
    strategy: ingressClassStrategy,
    plural: 'ingressclasses',
    namespaced: false,
    schema: 'io.k8s.api.networking.v1.IngressClass',
  }),
  defineKind({
    group: 'networking.k8s.io',
    version: 'v1',
    kind: 'Ingress',
    printer: ingressPrinter,
    strategy: ingressStrategy,
    plural: 'ingresses',
    shortNames: ['ing'],
    schema: 'io.k8s.api.networking.v1.Ingress',
    subresources: { status: statusSubresource('Ingress') },
  }),
  defineKind({
    group: 'networking.k8s.io',
    version: 'v1',
    kind: 'IPAddress',
    printer: ipAddressPrinter,
    strategy: ipAddressStrategy,
    plural: 'ipaddresses',
    shortNames: ['ip'],
    namespaced: false,
    schema: 'io.k8s.api.networking.v1.IPAddress',
    nameRule: 'path',
  }),
  defineKind({
    group: 'networking.k8s.io',
    version: 'v1',
    kind: 'NetworkPolicy',
    printer: networkPolicyPrinter,
    strategy: networkPolicyStrategy,
    plural: 'networkpolicies',
    shortNames: ['netpol'],
    schema: 'io.k8s.api.networking.v1.NetworkPolicy',
  }),
  defineKind({
    group: 'networking.k8s.io',
    version: 'v1',
    kind: 'ServiceCIDR',
    printer: serviceCidrPrinter,
    strategy: serviceCidrStrategy,
    plural: 'servicecidrs',
    namespaced: false,
    schema: 'io.k8s.api.networking.v1.ServiceCIDR',
    subresources: { status: statusSubresource('ServiceCIDR') },
  }),
];
