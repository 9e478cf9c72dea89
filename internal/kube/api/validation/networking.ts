import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  dns1035LabelErrors,
  dns1123LabelErrors,
  dns1123SubdomainErrors,
  forbiddenField,
  invalidField,
  invalidValue,
  ipErrors,
  notSupported,
  pathSegmentErrors,
  portNameErrors,
  portNumberErrors,
  required,
  tooLongField,
} from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { domainPrefixedPathErrors, immutable, metadataOf, oneOf, part, specOf, texts } from './common.ts';
import { cidrMessage, cidrOf, compressedAddress, isIP, isSubnet } from './ip.ts';
import { labelSelectorErrors } from './pod.ts';

/** Rules of networking.k8s.io (pkg/apis/networking/validation/validation.go). */
const protocols = ['SCTP', 'TCP', 'UDP'];
const controllerMax = 250;
const classAnnotation = 'kubernetes.io/ingress.class';

// NetworkPolicy

function policyPortErrors(port: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (port.protocol !== undefined && !protocols.includes(String(port.protocol)))
    errors.push(notSupported(`${path}.protocol`, port.protocol, protocols));
  const end = port.endPort;
  if (typeof port.port === 'number') {
    for (const why of portNumberErrors(port.port)) errors.push(invalidValue(`${path}.port`, port.port, why));
    if (typeof end === 'number') {
      if (end < port.port)
        errors.push(invalidValue(`${path}.endPort`, port.port, 'must be greater than or equal to `port`'));
      for (const why of portNumberErrors(end)) errors.push(invalidValue(`${path}.endPort`, end, why));
    }
  } else if (typeof port.port === 'string') {
    if (end !== undefined)
      errors.push(invalidValue(`${path}.endPort`, end, 'may not be specified when `port` is non-numeric'));
    for (const why of portNameErrors(port.port)) errors.push(invalidValue(`${path}.port`, port.port, why));
  } else if (end !== undefined)
    errors.push(invalidValue(`${path}.endPort`, end, 'may not be specified when `port` is not specified'));
  return errors;
}

function ipBlockErrors(block: JsonObject, path: string): FieldError[] {
  const text = String(block.cidr ?? '');
  if (text === '') return [required(`${path}.cidr`)];
  const range = cidrOf(text);
  if (range === undefined) return [invalidValue(`${path}.cidr`, text, cidrMessage)];
  const errors: FieldError[] = [];
  for (const [index, except] of texts(block.except).entries()) {
    const inner = cidrOf(except);
    if (inner === undefined) errors.push(invalidValue(`${path}.except[${index}]`, except, cidrMessage));
    else if (!isSubnet(inner, range) || inner.bits <= range.bits)
      errors.push(invalidValue(`${path}.except[${index}]`, except, 'must be a strict subset of `cidr`'));
  }
  return errors;
}

function peerErrors(peer: JsonObject, path: string): FieldError[] {
  const errors = [
    ...labelSelectorErrors(peer.podSelector, `${path}.podSelector`),
    ...labelSelectorErrors(peer.namespaceSelector, `${path}.namespaceSelector`),
  ];
  const block = isObject(peer.ipBlock) ? peer.ipBlock : undefined;
  if (block !== undefined) errors.push(...ipBlockErrors(block, `${path}.ipBlock`));
  const selectors = [peer.podSelector, peer.namespaceSelector].filter(isObject).length;
  if (selectors === 0 && block === undefined) errors.push(required(path, 'must specify a peer'));
  else if (selectors > 0 && block !== undefined)
    errors.push(forbiddenField(path, 'may not specify both ipBlock and another peer'));
  return errors;
}

export function networkPolicyErrors(policy: JsonObject): FieldError[] {
  const spec = specOf(policy);
  const errors = labelSelectorErrors(spec.podSelector, 'spec.podSelector');
  for (const [direction, peers] of [
    ['ingress', 'from'],
    ['egress', 'to'],
  ] as const)
    for (const [index, rule] of objects(spec[direction]).entries()) {
      const at = `spec.${direction}[${index}]`;
      for (const [i, port] of objects(rule.ports).entries())
        errors.push(...policyPortErrors(port, `${at}.ports[${i}]`));
      for (const [i, peer] of objects(rule[peers]).entries()) errors.push(...peerErrors(peer, `${at}.${peers}[${i}]`));
    }
  const types = texts(spec.policyTypes);
  if (types.length > 2)
    return [...errors, invalidValue('spec.policyTypes', types, 'may not specify more than two policyTypes')];
  for (const [index, type] of types.entries())
    errors.push(...oneOf(type, ['Egress', 'Ingress'], `spec.policyTypes[${index}]`));
  return errors;
}

// Ingress

function wildcardErrors(host: string): string[] {
  return /^\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(host)
    ? []
    : [
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
      ];
}

function hostErrors(host: string, path: string): FieldError[] {
  const why = host.includes('*') ? wildcardErrors(host) : dns1123SubdomainErrors(host);
  return why.map((text) => invalidValue(path, host, text));
}

/** A reference to an object of the same namespace by group, kind and name. */
function typedReferenceErrors(reference: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (typeof reference.apiGroup === 'string')
    for (const why of dns1123SubdomainErrors(reference.apiGroup))
      errors.push(invalidValue(`${path}.apiGroup`, reference.apiGroup, why));
  for (const field of ['kind', 'name']) {
    const value = String(reference[field] ?? '');
    if (value === '') errors.push(required(`${path}.${field}`, `${field} is required`));
    else for (const why of pathSegmentErrors(value)) errors.push(invalidValue(`${path}.${field}`, value, why));
  }
  return errors;
}

function backendErrors(backend: JsonObject, path: string): FieldError[] {
  const { resource, service } = backend;
  if (isObject(resource) && isObject(service))
    return [invalidValue(path, '', 'cannot set both resource and service backends')];
  if (isObject(resource)) return typedReferenceErrors(resource, `${path}.resource`);
  if (!isObject(service)) return [invalidValue(path, '', 'resource or service backend is required')];
  const errors: FieldError[] = [];
  const name = String(service.name ?? '');
  if (name === '') errors.push(required(`${path}.service.name`));
  else for (const why of dns1035LabelErrors(name)) errors.push(invalidValue(`${path}.service.name`, name, why));
  const port = part(service, 'port');
  const portName = String(port.name ?? '');
  const number = Number(port.number ?? 0);
  if (portName !== '' && number !== 0) errors.push(invalidValue(path, '', 'cannot set both port name & port number'));
  else if (portName !== '')
    for (const why of portNameErrors(portName)) errors.push(invalidValue(`${path}.service.port.name`, portName, why));
  else if (number !== 0)
    for (const why of portNumberErrors(number)) errors.push(invalidValue(`${path}.service.port.number`, number, why));
  else errors.push(required(path, 'port name or number is required'));
  return errors;
}

const pathTypes = ['Exact', 'ImplementationSpecific', 'Prefix'];
const badSequences = ['//', '/./', '/../', '%2f', '%2F'];
const badEndings = ['/..', '/.'];

function httpPathErrors(entry: JsonObject, path: string): FieldError[] {
  if (entry.pathType === undefined) return [required(`${path}.pathType`, 'pathType must be specified')];
  const errors: FieldError[] = [];
  const text = String(entry.path ?? '');
  if (entry.pathType === 'Exact' || entry.pathType === 'Prefix') {
    if (!text.startsWith('/')) errors.push(invalidValue(`${path}.path`, text, 'must be an absolute path'));
    for (const sequence of badSequences)
      if (text.includes(sequence)) errors.push(invalidValue(`${path}.path`, text, `must not contain '${sequence}'`));
    for (const ending of badEndings)
      if (text.endsWith(ending)) errors.push(invalidValue(`${path}.path`, text, `cannot end with '${ending}'`));
  } else if (entry.pathType === 'ImplementationSpecific') {
    if (text !== '' && !text.startsWith('/'))
      errors.push(invalidValue(`${path}.path`, text, 'must be an absolute path'));
  } else errors.push(notSupported(`${path}.pathType`, entry.pathType, pathTypes));
  return [...errors, ...backendErrors(part(entry, 'backend'), `${path}.backend`)];
}

function ruleErrors(rule: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const host = String(rule.host ?? '');
  if (host !== '') {
    if (isIP(host) !== 0) errors.push(invalidValue(`${path}.host`, host, 'must be a DNS name, not an IP address'));
    errors.push(...hostErrors(host, `${path}.host`));
  }
  if (!isObject(rule.http)) return errors;
  const paths = objects(rule.http.paths);
  if (paths.length === 0) errors.push(required(`${path}.http.paths`));
  for (const [index, entry] of paths.entries()) errors.push(...httpPathErrors(entry, `${path}.http.paths[${index}]`));
  return errors;
}

function ingressSpecErrors(spec: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const rules = objects(spec.rules);
  if (rules.length === 0 && spec.defaultBackend === undefined)
    errors.push(invalidValue('spec', rules, 'either `defaultBackend` or `rules` must be specified'));
  if (isObject(spec.defaultBackend)) errors.push(...backendErrors(spec.defaultBackend, 'spec.defaultBackend'));
  for (const [index, rule] of rules.entries()) errors.push(...ruleErrors(rule, `spec.rules[${index}]`));
  for (const [index, tls] of objects(spec.tls).entries()) {
    for (const [i, host] of texts(tls.hosts).entries())
      errors.push(...hostErrors(host, `spec.tls[${index}].hosts[${i}]`));
    const secret = String(tls.secretName ?? '');
    if (secret !== '')
      for (const why of dns1123SubdomainErrors(secret))
        errors.push(invalidValue(`spec.tls[${index}].secretName`, secret, why));
  }
  if (typeof spec.ingressClassName === 'string')
    for (const why of dns1123SubdomainErrors(spec.ingressClassName))
      errors.push(invalidValue('spec.ingressClassName', spec.ingressClassName, why));
  return errors;
}

export function ingressErrors(ingress: JsonObject): FieldError[] {
  const errors = ingressSpecErrors(specOf(ingress));
  const annotated = part(metadataOf(ingress), 'annotations')[classAnnotation];
  if (annotated !== undefined && specOf(ingress).ingressClassName !== undefined)
    errors.push(
      invalidValue(`annotations.${classAnnotation}`, annotated, 'can not be set when the class field is also set'),
    );
  return errors;
}

export function ingressUpdateErrors(ingress: JsonObject): FieldError[] {
  return ingressSpecErrors(specOf(ingress));
}

/** What a load balancer says of itself: addresses or names of Services and Ingresses. */
export function loadBalancerErrors(status: Json | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!isObject(status)) return errors;
  for (const [index, entry] of objects(status.ingress).entries()) {
    const at = `${path}.ingress[${index}]`;
    const ip = String(entry.ip ?? '');
    if (ip !== '') for (const why of ipErrors(ip)) errors.push(invalidValue(`${at}.ip`, ip, why));
    const hostname = String(entry.hostname ?? '');
    if (hostname === '') continue;
    for (const why of dns1123SubdomainErrors(hostname)) errors.push(invalidValue(`${at}.hostname`, hostname, why));
    if (isIP(hostname) !== 0)
      errors.push(invalidValue(`${at}.hostname`, hostname, 'must be a DNS name, not an IP address'));
  }
  return errors;
}

export function ingressStatusErrors(ingress: JsonObject): FieldError[] {
  return loadBalancerErrors(part(ingress, 'status').loadBalancer, 'status.loadBalancer');
}

export function ingressClassErrors(ingressClass: JsonObject): FieldError[] {
  const spec = specOf(ingressClass);
  const controller = String(spec.controller ?? '');
  const errors: FieldError[] = [];
  if (controller.length > controllerMax) errors.push(tooLongField('spec.controller', controllerMax));
  errors.push(...domainPrefixedPathErrors(controller, 'spec.controller'));
  if (!isObject(spec.parameters)) return errors;
  const at = 'spec.parameters';
  errors.push(...typedReferenceErrors(spec.parameters, at));
  const { scope, namespace } = spec.parameters;
  errors.push(...oneOf(scope, ['Cluster', 'Namespace'], `${at}.scope`));
  if (scope === 'Namespace') {
    if (namespace === undefined) errors.push(required(`${at}.namespace`, "`parameters.scope` is set to 'Namespace'"));
    else
      for (const why of dns1123LabelErrors(String(namespace)))
        errors.push(invalidValue(`${at}.namespace`, namespace, why));
  }
  if (scope === 'Cluster' && namespace !== undefined)
    errors.push(forbiddenField(`${at}.namespace`, "`parameters.scope` is set to 'Cluster'"));
  return errors;
}

export function ingressClassUpdateErrors(ingressClass: JsonObject, old: JsonObject): FieldError[] {
  return [...immutable(specOf(ingressClass), specOf(old), 'controller', 'spec'), ...ingressClassErrors(ingressClass)];
}

// IPAddress, ServiceCIDR

export function ipAddressErrors(address: JsonObject): FieldError[] {
  const name = String(metadataOf(address).name ?? '');
  const errors: FieldError[] = [];
  if (isIP(name) === 0) errors.push(invalidValue('metadata.name', name, 'must be a valid IP address'));
  else if (compressedAddress(name) !== name)
    errors.push(invalidValue('metadata.name', name, 'must be a canonical format IP address'));
  const parent = specOf(address).parentRef;
  if (!isObject(parent)) return [...errors, required('spec.parentRef')];
  const at = 'spec.parentRef';
  const group = String(parent.group ?? '');
  if (group !== '')
    for (const why of dns1123SubdomainErrors(group)) errors.push(invalidValue(`${at}.group`, group, why));
  for (const field of ['resource', 'name', 'namespace']) {
    const value = String(parent[field] ?? '');
    if (value === '') {
      if (field !== 'namespace') errors.push(required(`${at}.${field}`));
    } else for (const why of pathSegmentErrors(value)) errors.push(invalidValue(`${at}.${field}`, value, why));
  }
  return errors;
}

export function ipAddressUpdateErrors(address: JsonObject, old: JsonObject): FieldError[] {
  return immutable(specOf(address), specOf(old), 'parentRef', 'spec');
}

export function serviceCidrErrors(range: JsonObject): FieldError[] {
  const cidrs = texts(specOf(range).cidrs);
  const at = 'spec.cidrs';
  if (cidrs.length === 0) return [required(at, 'at least one CIDR required')];
  if (cidrs.length > 2) return [invalidValue(at, specOf(range), 'may only hold up to 2 values')];
  const errors: FieldError[] = [];
  const families: number[] = [];
  for (const [index, text] of cidrs.entries()) {
    const cidr = cidrOf(text);
    if (cidr === undefined) errors.push(invalidValue(`${at}[${index}]`, text, cidrMessage));
    else {
      families.push(cidr.family);
      if (!cidr.canonical)
        errors.push(invalidValue(`${at}[${index}]`, text, `must be in canonical form ("${cidr.text}")`));
    }
  }
  if (families.length === 2 && families[0] === families[1])
    errors.push(
      invalidField(at, 'may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64'),
    );
  return errors;
}

export function serviceCidrUpdateErrors(range: JsonObject, old: JsonObject): FieldError[] {
  const before = texts(specOf(old).cidrs);
  const now = texts(specOf(range).cidrs);
  // A second family may be added; what is there stays.
  const grows = before.length === 1 && now.length === 2 && now[0] === before[0];
  if (grows) return serviceCidrErrors(range);
  return immutable(specOf(range), specOf(old), 'cidrs', 'spec');
}
