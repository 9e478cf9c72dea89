import type { Json, JsonObject } from '../../machinery/json.ts';
import type { Printer } from '../../machinery/table.ts';
import { objects } from '../defaults/helpers.ts';
import { ageColumn, ageOf, column, nameColumn, nameOf, orNone, part, selectorText, text } from './cells.ts';

/** Columns of networking.k8s.io. */
function hostsText(rules: readonly JsonObject[]): string {
  const shownMax = 3;
  const hosts = rules.map((rule) => text(rule.host)).filter((host) => host !== '');
  if (hosts.length === 0) return '*';
  const more = rules.length > shownMax ? ` + ${rules.length - shownMax} more...` : '';
  return `${hosts.slice(0, shownMax).join(',')}${more}`;
}

function addressesText(ingress: Json | undefined): string {
  const addresses = objects(ingress).map((entry) => text(entry.ip) || text(entry.hostname));
  return [...new Set(addresses.filter((address) => address !== ''))].sort().join(',');
}

export const ingressPrinter: Printer = {
  columns: [
    nameColumn,
    column('Class', 'The name of the IngressClass resource that should be used for additional configuration.'),
    column('Hosts', 'Hosts that incoming requests are matched against before the ingress rule.'),
    column('Address', 'Address is a list containing ingress points for the load-balancer.'),
    column('Ports', 'Ports of TLS configurations that open.'),
    ageColumn,
  ],
  row(ingress, nowMs) {
    const spec = part(ingress, 'spec');
    const annotated = part(part(ingress, 'metadata'), 'annotations')['kubernetes.io/ingress.class'];
    return [
      nameOf(ingress),
      orNone(text(spec.ingressClassName) || text(annotated)),
      hostsText(objects(spec.rules)),
      addressesText(part(part(ingress, 'status'), 'loadBalancer').ingress),
      objects(spec.tls).length > 0 ? '80, 443' : '80',
      ageOf(ingress, nowMs),
    ];
  },
};

export const ingressClassPrinter: Printer = {
  columns: [
    nameColumn,
    column('Controller', 'Controller that is responsible for handling this class.'),
    column('Parameters', 'A reference to a resource with additional parameters.'),
    ageColumn,
  ],
  row(ingressClass, nowMs) {
    const spec = part(ingressClass, 'spec');
    const parameters = spec.parameters === undefined ? undefined : part(spec, 'parameters');
    const group = text(parameters?.apiGroup);
    return [
      nameOf(ingressClass),
      text(spec.controller),
      parameters === undefined
        ? '<none>'
        : `${text(parameters.kind)}${group === '' ? '' : `.${group}`}/${text(parameters.name)}`,
      ageOf(ingressClass, nowMs),
    ];
  },
};

export const networkPolicyPrinter: Printer = {
  columns: [nameColumn, column('Pod-Selector', 'Which pods the policy is for.'), ageColumn],
  row: (policy, nowMs) => [nameOf(policy), selectorText(part(policy, 'spec').podSelector), ageOf(policy, nowMs)],
};

export const ipAddressPrinter: Printer = {
  columns: [nameColumn, column('ParentRef', 'What the address belongs to.')],
  row(address) {
    const parent = part(part(address, 'spec'), 'parentRef');
    const parts = [
      `${text(parent.resource)}${text(parent.group) === '' ? '' : `.${text(parent.group)}`}`,
      text(parent.namespace),
      text(parent.name),
    ];
    return [nameOf(address), parts.filter((word) => word !== '').join('/')];
  },
};

export const serviceCidrPrinter: Printer = {
  columns: [nameColumn, column('CIDRs', 'Ranges that addresses of services are taken from.'), ageColumn],
  row(range, nowMs) {
    const cidrs = part(range, 'spec').cidrs;
    return [nameOf(range), Array.isArray(cidrs) ? cidrs.join(',') : '', ageOf(range, nowMs)];
  },
};
