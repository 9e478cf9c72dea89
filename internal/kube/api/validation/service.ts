import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import { qualifiedNameErrors } from '../../machinery/selectors.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  dns1123LabelErrors,
  dns1123SubdomainErrors,
  duplicate,
  forbiddenField,
  invalidValue,
  ipErrors,
  notSupported,
  portNameErrors,
  portNumberErrors,
  required,
} from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { labelErrors } from '../metadata.ts';
import { oneOf, part, specOf, texts } from './common.ts';
import { cidrMessage, cidrOf, isIP } from './ip.ts';
import { loadBalancerErrors } from './networking.ts';

/** Rules of Services (ValidateService in pkg/apis/core/validation/validation.go). */
const serviceTypes = ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort'];
const protocols = ['SCTP', 'TCP', 'UDP'];
const families = ['IPv4', 'IPv6'];
const familyPolicies = ['PreferDualStack', 'RequireDualStack', 'SingleStack'];
const distributions = ['PreferClose', 'PreferSameNode', 'PreferSameZone'];
const kubeletPort = 10250;
const affinitySecondsMax = 86400;
const onlyBalancer = "may only be used when `type` is 'LoadBalancer'";

function portErrors(port: JsonObject, path: string, several: boolean, names: Set<string>): FieldError[] {
  const errors: FieldError[] = [];
  const name = String(port.name ?? '');
  if (name === '') {
    if (several) errors.push(required(`${path}.name`));
  } else {
    for (const why of dns1123LabelErrors(name)) errors.push(invalidValue(`${path}.name`, name, why));
    if (names.has(name)) errors.push(duplicate(`${path}.name`, name));
    names.add(name);
  }
  const number = Number(port.port ?? 0);
  for (const why of portNumberErrors(number)) errors.push(invalidValue(`${path}.port`, number, why));
  errors.push(...oneOf(port.protocol, protocols, `${path}.protocol`));
  if (typeof port.targetPort === 'number')
    for (const why of portNumberErrors(port.targetPort))
      errors.push(invalidValue(`${path}.targetPort`, port.targetPort, why));
  else if (typeof port.targetPort === 'string')
    for (const why of portNameErrors(port.targetPort))
      errors.push(invalidValue(`${path}.targetPort`, port.targetPort, why));
  if (typeof port.appProtocol === 'string')
    for (const why of qualifiedNameErrors(port.appProtocol))
      errors.push(invalidValue(`${path}.appProtocol`, port.appProtocol, why));
  return errors;
}

function portsErrors(spec: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const ports = objects(spec.ports);
  const names = new Set<string>();
  const nodePorts = new Set<string>();
  const seen = new Set<string>();
  for (const [index, port] of ports.entries()) {
    const at = `spec.ports[${index}]`;
    if (spec.type === 'LoadBalancer' && port.port === kubeletPort)
      errors.push(
        invalidValue(
          `${at}.port`,
          port.port,
          `may not expose port ${kubeletPort} externally since it is used by kubelet`,
        ),
      );
    errors.push(...portErrors(port, at, ports.length > 1, names));
    const nodePort = Number(port.nodePort ?? 0);
    if (nodePort !== 0) {
      if (spec.type === 'ClusterIP')
        errors.push(forbiddenField(`${at}.nodePort`, "may not be used when `type` is 'ClusterIP'"));
      const key = `${String(port.protocol)}/${nodePort}`;
      if (nodePorts.has(key)) errors.push(duplicate(`${at}.nodePort`, nodePort));
      nodePorts.add(key);
    }
    const key = `${String(port.protocol)}/${String(port.port)}`;
    if (seen.has(key)) errors.push(duplicate(at, { port: port.port, protocol: port.protocol }));
    seen.add(key);
  }
  return errors;
}

function typeErrors(spec: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const headless = spec.clusterIP === 'None';
  const { type } = spec;
  if ((type === 'LoadBalancer' || type === 'NodePort') && headless)
    errors.push(invalidValue('spec.clusterIPs[0]', spec.clusterIP, `may not be set to 'None' for ${type} services`));
  if (type !== 'ExternalName') return errors;
  for (const field of ['clusterIPs', 'ipFamilies', 'ipFamilyPolicy'])
    if (
      texts(spec[field]).length > 0 ||
      (field === 'clusterIPs' && !!spec.clusterIP) ||
      (field === 'ipFamilyPolicy' && spec[field] !== undefined)
    )
      errors.push(forbiddenField(`spec.${field}`, 'may not be set for ExternalName services'));
  const name = String(spec.externalName ?? '').replace(/\.$/, '');
  if (name === '') errors.push(required('spec.externalName'));
  else for (const why of dns1123SubdomainErrors(name)) errors.push(invalidValue('spec.externalName', name, why));
  return errors;
}

function affinityErrors(spec: JsonObject): FieldError[] {
  const errors = oneOf(spec.sessionAffinity, ['ClientIP', 'None'], 'spec.sessionAffinity');
  const config = spec.sessionAffinityConfig;
  if (spec.sessionAffinity === 'ClientIP') {
    const at = 'spec.sessionAffinityConfig.clientIP';
    const client = isObject(config) ? config.clientIP : undefined;
    if (!isObject(client)) errors.push(required(at, 'when session affinity type is ClientIP'));
    else {
      const seconds = Number(client.timeoutSeconds ?? 0);
      if (seconds <= 0 || seconds > affinitySecondsMax)
        errors.push(
          invalidValue(`${at}.timeoutSeconds`, seconds, `must be greater than 0 and less than ${affinitySecondsMax}`),
        );
    }
  } else if (spec.sessionAffinity === 'None' && isObject(config))
    errors.push(forbiddenField('spec.sessionAffinityConfig', 'must not be set when session affinity is None'));
  return errors;
}

const familyOf = (ip: string): string => (isIP(ip) === 6 ? 'IPv6' : 'IPv4');

function clusterIpErrors(spec: JsonObject): FieldError[] {
  if (spec.type === 'ExternalName') return [];
  const errors: FieldError[] = [];
  const ips = texts(spec.clusterIPs);
  const wanted = texts(spec.ipFamilies);
  if (ips.length > 0 && typeof spec.clusterIP === 'string' && spec.clusterIP !== '' && ips[0] !== spec.clusterIP)
    errors.push(invalidValue('spec.clusterIPs', ips, 'first value must match `clusterIP`'));
  errors.push(...oneOf(spec.ipFamilyPolicy, familyPolicies, 'spec.ipFamilyPolicy', true));
  for (const [index, family] of wanted.entries()) {
    errors.push(...oneOf(family, families, `spec.ipFamilies[${index}]`));
    if (wanted.indexOf(family) < index) errors.push(duplicate(`spec.ipFamilies[${index}]`, family));
  }
  if (wanted.length > 2) errors.push(invalidValue('spec.ipFamilies', wanted, 'may only hold up to 2 values'));
  if (ips[0] === 'None') {
    if (ips.length > 1) errors.push(invalidValue('spec.clusterIPs', ips, "may hold only one value when set to 'None'"));
    return errors;
  }
  if (ips.length > 2) errors.push(invalidValue('spec.clusterIPs', ips, 'may only hold up to 2 values'));
  for (const [index, ip] of ips.entries()) {
    const at = `spec.clusterIPs[${index}]`;
    const why = ip === 'None' ? [`may not be set to 'None'`] : ipErrors(ip);
    for (const one of why) errors.push(invalidValue(at, ip, one));
    const family = wanted[index];
    if (why.length === 0 && family !== undefined && families.includes(family) && family !== familyOf(ip))
      errors.push(invalidValue(at, ip, `expected an ${family} value as indicated by \`ipFamilies[${index}]\``));
  }
  if (ips.length === 2 && isIP(ips[0]!) !== 0 && isIP(ips[0]!) === isIP(ips[1]!))
    errors.push(invalidValue('spec.clusterIPs', ips, 'may specify no more than one IP for each IP family'));
  if (ips.length > 1 && spec.ipFamilyPolicy === 'SingleStack')
    errors.push(
      invalidValue(
        'spec.ipFamilyPolicy',
        spec.ipFamilyPolicy,
        "must be RequireDualStack or PreferDualStack when multiple 'clusterIPs' are specified",
      ),
    );
  return errors;
}

/** Addresses that nobody outside the machine can have (ValidateEndpointIP). */
export function endpointIpErrors(ip: string, path: string): FieldError[] {
  const why = ipErrors(ip);
  if (why.length > 0) return why.map((one) => invalidValue(path, ip, one));
  const wrong = (text: string): FieldError[] => [invalidValue(path, ip, text)];
  if (ip === '0.0.0.0' || ip === '::') return wrong('may not be unspecified (0.0.0.0 or ::)');
  if (ip.startsWith('127.') || ip === '::1') return wrong('may not be in the loopback range (127.0.0.0/8, ::1/128)');
  if (ip.startsWith('169.254.') || /^fe[89ab]/i.test(ip))
    return wrong('may not be in the link-local range (169.254.0.0/16, fe80::/10)');
  if (ip.startsWith('224.0.0.') || /^ff02:/i.test(ip))
    return wrong('may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)');
  return [];
}

function trafficErrors(spec: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const external =
    spec.type === 'NodePort' ||
    spec.type === 'LoadBalancer' ||
    (spec.type === 'ClusterIP' && texts(spec.externalIPs).length > 0);
  const policy = spec.externalTrafficPolicy;
  const at = 'spec.externalTrafficPolicy';
  if (external) {
    if (policy === undefined || policy === '')
      errors.push(required(at, 'may not be empty for externally-accessible services'));
    else errors.push(...oneOf(policy, ['Cluster', 'Local'], at));
  } else if (policy !== undefined && policy !== '')
    errors.push(invalidValue(at, policy, 'may only be set for externally-accessible services'));
  const health = Number(spec.healthCheckNodePort ?? 0);
  if (health !== 0) {
    const checked = spec.type === 'LoadBalancer' && policy === 'Local';
    if (!checked)
      errors.push(
        invalidValue(
          'spec.healthCheckNodePort',
          health,
          "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        ),
      );
    else for (const why of portNumberErrors(health)) errors.push(invalidValue('spec.healthCheckNodePort', health, why));
  }
  errors.push(
    ...oneOf(
      spec.internalTrafficPolicy,
      ['Cluster', 'Local'],
      'spec.internalTrafficPolicy',
      spec.type === 'ExternalName',
    ),
  );
  if (spec.trafficDistribution !== undefined && !distributions.includes(String(spec.trafficDistribution)))
    errors.push(notSupported('spec.trafficDistribution', spec.trafficDistribution, distributions));
  return errors;
}

function balancerErrors(spec: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const balanced = spec.type === 'LoadBalancer';
  const ranges = texts(spec.loadBalancerSourceRanges);
  if (ranges.length > 0 && !balanced) errors.push(forbiddenField('spec.LoadBalancerSourceRanges', onlyBalancer));
  for (const [index, range] of ranges.entries())
    if (cidrOf(range.trim()) === undefined)
      errors.push(invalidValue(`spec.LoadBalancerSourceRanges[${index}]`, range, cidrMessage));
  const name = spec.loadBalancerClass;
  if (typeof name === 'string') {
    if (!balanced) errors.push(forbiddenField('spec.loadBalancerClass', onlyBalancer));
    else for (const why of qualifiedNameErrors(name)) errors.push(invalidValue('spec.loadBalancerClass', name, why));
  }
  const allocate = spec.allocateLoadBalancerNodePorts;
  if (balanced && allocate === undefined) errors.push(required('spec.allocateLoadBalancerNodePorts'));
  if (!balanced && allocate !== undefined)
    errors.push(forbiddenField('spec.allocateLoadBalancerNodePorts', onlyBalancer));
  return errors;
}

export function serviceErrors(service: JsonObject): FieldError[] {
  const spec = specOf(service);
  const errors: FieldError[] = [];
  if (objects(spec.ports).length === 0 && spec.clusterIP !== 'None' && spec.type !== 'ExternalName')
    errors.push(required('spec.ports'));
  errors.push(...typeErrors(spec), ...portsErrors(spec), ...labelErrors(spec.selector, 'spec.selector'));
  errors.push(...affinityErrors(spec), ...clusterIpErrors(spec));
  for (const [index, ip] of texts(spec.externalIPs).entries())
    errors.push(...endpointIpErrors(ip, `spec.externalIPs[${index}]`));
  errors.push(...oneOf(spec.type, serviceTypes, 'spec.type'));
  errors.push(...trafficErrors(spec), ...balancerErrors(spec));
  return errors;
}

const changed = (a: Json | undefined, b: Json | undefined): boolean => (a ?? '') !== (b ?? '');

export function serviceUpdateErrors(service: JsonObject, old: JsonObject): FieldError[] {
  const errors = serviceErrors(service);
  const spec = specOf(service);
  const before = specOf(old);
  const hadIp = typeof before.clusterIP === 'string' && before.clusterIP !== '';
  if (hadIp && before.type !== 'ExternalName' && spec.type !== 'ExternalName' && spec.clusterIP !== before.clusterIP)
    errors.push(invalidValue('spec.clusterIPs[0]', spec.clusterIPs ?? spec.clusterIP ?? '', 'may not change once set'));
  if (
    before.type === 'LoadBalancer' &&
    spec.type === 'LoadBalancer' &&
    changed(spec.loadBalancerClass, before.loadBalancerClass)
  )
    errors.push(invalidValue('spec.loadBalancerClass', spec.loadBalancerClass ?? null, 'may not change once set'));
  return errors;
}

/** What a load balancer says of itself; nobody says it of a service of another type. */
export function serviceStatusErrors(service: JsonObject): FieldError[] {
  const balancer = part(part(service, 'status'), 'loadBalancer');
  const at = 'status.loadBalancer';
  const errors = loadBalancerErrors(balancer, at);
  if (objects(balancer.ingress).length > 0 && specOf(service).type !== 'LoadBalancer')
    errors.push(forbiddenField(`${at}.ingress`, "may only be used when `spec.type` is 'LoadBalancer'"));
  for (const [index, entry] of objects(balancer.ingress).entries())
    if (entry.ipMode !== undefined) {
      if (!entry.ip)
        errors.push(forbiddenField(`${at}.ingress[${index}].ipMode`, 'may not be specified when `ip` is not set'));
      else errors.push(...oneOf(entry.ipMode, ['Proxy', 'VIP'], `${at}.ingress[${index}].ipMode`));
    }
  return errors;
}
