import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../machinery/json.ts';
import { changed, create, refused, update } from '../testing.ts';
import { cidrOf, compressedAddress } from './ip.ts';

const backend = { service: { name: 'web', port: { number: 80 } } };
const path = (entry: object = {}): object => ({ path: '/', pathType: 'Prefix', backend, ...entry });
const rules = (entry: object, host?: string): object => [
  { ...(host === undefined ? {} : { host }), http: { paths: [entry] } },
];
const ingress: JsonObject = { metadata: { name: 'web' }, spec: { rules: rules(path()) as never } };
const ingressClass: JsonObject = { metadata: { name: 'nginx' }, spec: { controller: 'example.com/nginx' } };
const parameters = { kind: 'Settings', name: 'x', scope: 'Cluster' };
const policy: JsonObject = { metadata: { name: 'p' }, spec: { podSelector: {} } };
const from = (peer: object): object => [{ from: [peer] }];
const ports = (port: object): object => [{ ports: [port] }];

type Row = [scenario: string, places: Record<string, unknown>, expected: string[]];
const at = 'spec.rules[0].http.paths[0]';

describe('Ingress', () => {
  test.each<Row>([
    ['nothing wrong', {}, []],
    [
      'neither rules nor a default',
      { spec: {} },
      ['spec: Invalid value: []: either `defaultBackend` or `rules` must be specified'],
    ],
    [
      'an address as host',
      { 'spec.rules': rules(path(), '10.0.0.1') },
      ['spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address'],
    ],
    [
      'a bad wildcard',
      { 'spec.rules': rules(path(), 'a.*.b') },
      [
        "spec.rules[0].host: Invalid value: \"a.*.b\": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
      ],
    ],
    ['no paths', { 'spec.rules': [{ http: { paths: [] } }] }, ['spec.rules[0].http.paths: Required value']],
    [
      'no path type',
      { 'spec.rules': rules(path({ pathType: undefined })) },
      [`${at}.pathType: Required value: pathType must be specified`],
    ],
    [
      'an unknown path type',
      { 'spec.rules': rules(path({ pathType: 'Glob' })) },
      [`${at}.pathType: Unsupported value: "Glob": supported values: "Exact", "ImplementationSpecific", "Prefix"`],
    ],
    [
      'a relative path',
      { 'spec.rules': rules(path({ path: 'a' })) },
      [`${at}.path: Invalid value: "a": must be an absolute path`],
    ],
    [
      'a path that leads elsewhere',
      { 'spec.rules': rules(path({ path: '/a/../b' })) },
      [`${at}.path: Invalid value: "/a/../b": must not contain '/../'`],
    ],
    [
      'a path that ends elsewhere',
      { 'spec.rules': rules(path({ path: '/a/..' })) },
      [`${at}.path: Invalid value: "/a/..": cannot end with '/..'`],
    ],
    [
      'two backends',
      { 'spec.rules': rules(path({ backend: { ...backend, resource: { kind: 'A', name: 'b' } } })) },
      [`${at}.backend: Invalid value: "": cannot set both resource and service backends`],
    ],
    [
      'no backend',
      { 'spec.rules': rules(path({ backend: {} })) },
      [`${at}.backend: Invalid value: "": resource or service backend is required`],
    ],
    [
      'no port',
      { 'spec.rules': rules(path({ backend: { service: { name: 'web' } } })) },
      [`${at}.backend: Required value: port name or number is required`],
    ],
    [
      'a port by name and number',
      { 'spec.rules': rules(path({ backend: { service: { name: 'web', port: { name: 'http', number: 80 } } } })) },
      [`${at}.backend: Invalid value: "": cannot set both port name & port number`],
    ],
    [
      'a port out of range',
      { 'spec.rules': rules(path({ backend: { service: { name: 'web', port: { number: 70000 } } } })) },
      [`${at}.backend.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive`],
    ],
    [
      'a resource without kind',
      { 'spec.defaultBackend': { resource: { name: 'b' } } },
      ['spec.defaultBackend.resource.kind: Required value: kind is required'],
    ],
    [
      'a class twice',
      { 'spec.ingressClassName': 'a', 'metadata.annotations': { 'kubernetes.io/ingress.class': 'a' } },
      ['annotations.kubernetes.io/ingress.class: Invalid value: "a": can not be set when the class field is also set'],
    ],
  ])('create: %s', (_scenario, places, expected) => {
    expect(refused(() => create('networking.k8s.io/v1 Ingress', changed(ingress, places)))).toEqual(expected);
  });

  test('status is written apart: what the balancer says must be addresses and names', () => {
    const made = create('networking.k8s.io/v1 Ingress', ingress);
    expect(made.status).toEqual({ loadBalancer: {} });
    const write = (entry: JsonObject): string[] =>
      refused(() =>
        update(
          'networking.k8s.io/v1 Ingress',
          made,
          (object) => Object.assign(object, { status: { loadBalancer: { ingress: [entry] } } }),
          'status',
        ),
      );
    expect(write({ ip: '10.0.0.1' })).toEqual([]);
    expect(write({ ip: 'x' })).toEqual([
      'status.loadBalancer.ingress[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
    ]);
    expect(write({ hostname: '10.0.0.1' })).toEqual([
      'status.loadBalancer.ingress[0].hostname: Invalid value: "10.0.0.1": must be a DNS name, not an IP address',
    ]);
  });
});

describe('IngressClass', () => {
  test.each<Row>([
    ['nothing wrong', {}, []],
    [
      'a controller without domain',
      { 'spec.controller': 'nginx' },
      ['spec.controller: Invalid value: "nginx": must be a domain-prefixed path (such as "acme.io/foo")'],
    ],
    ['no controller', { 'spec.controller': '' }, ['spec.controller: Required value']],
    [
      'parameters of a namespace without one',
      { 'spec.parameters': { ...parameters, scope: 'Namespace' } },
      ["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"],
    ],
    [
      'parameters of the cluster with a namespace',
      { 'spec.parameters': { ...parameters, namespace: 'a' } },
      ["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"],
    ],
    [
      'an unknown scope',
      { 'spec.parameters': { ...parameters, scope: 'World' } },
      ['spec.parameters.scope: Unsupported value: "World": supported values: "Cluster", "Namespace"'],
    ],
  ])('create: %s', (_scenario, places, expected) => {
    expect(refused(() => create('networking.k8s.io/v1 IngressClass', changed(ingressClass, places)))).toEqual(expected);
  });
  test('update: the controller stays', () => {
    const made = create('networking.k8s.io/v1 IngressClass', ingressClass);
    expect(
      refused(() =>
        update('networking.k8s.io/v1 IngressClass', made, (object) =>
          Object.assign(object, { spec: { controller: 'a.io/b' } }),
        ),
      ),
    ).toEqual(['spec.controller: Invalid value: "a.io/b": field is immutable']);
  });
});

describe('NetworkPolicy', () => {
  test('policy types and protocols follow from the rules', () => {
    expect(create('networking.k8s.io/v1 NetworkPolicy', policy).spec).toEqual({
      podSelector: {},
      policyTypes: ['Ingress'],
    });
    const both = changed(policy, { 'spec.egress': ports({ port: 53 }) });
    expect(create('networking.k8s.io/v1 NetworkPolicy', both).spec).toMatchObject({
      egress: [{ ports: [{ port: 53, protocol: 'TCP' }] }],
      policyTypes: ['Ingress', 'Egress'],
    });
  });
  test.each<Row>([
    ['nothing wrong', { 'spec.ingress': from({ podSelector: {}, namespaceSelector: {} }) }, []],
    ['an empty peer', { 'spec.ingress': from({}) }, ['spec.ingress[0].from[0]: Required value: must specify a peer']],
    [
      'a block and a selector',
      { 'spec.ingress': from({ podSelector: {}, ipBlock: { cidr: '10.0.0.0/8' } }) },
      ['spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer'],
    ],
    [
      'no range',
      { 'spec.ingress': from({ ipBlock: { cidr: '' } }) },
      ['spec.ingress[0].from[0].ipBlock.cidr: Required value'],
    ],
    [
      'a bad range',
      { 'spec.ingress': from({ ipBlock: { cidr: '10.0.0.0' } }) },
      [
        'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
      ],
    ],
    [
      'an exception outside',
      { 'spec.ingress': from({ ipBlock: { cidr: '10.0.0.0/8', except: ['11.0.0.0/16'] } }) },
      ['spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`'],
    ],
    [
      'an exception that is all',
      { 'spec.ingress': from({ ipBlock: { cidr: '10.0.0.0/8', except: ['10.0.0.0/8'] } }) },
      ['spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`'],
    ],
    [
      'an unknown protocol',
      { 'spec.ingress': ports({ protocol: 'ICMP' }) },
      ['spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'],
    ],
    [
      'ports backwards',
      { 'spec.ingress': ports({ port: 80, endPort: 70 }) },
      ['spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`'],
    ],
    [
      'an end without a beginning',
      { 'spec.egress': ports({ endPort: 70 }) },
      ['spec.egress[0].ports[0].endPort: Invalid value: 70: may not be specified when `port` is not specified'],
    ],
    [
      'an end of a name',
      { 'spec.egress': ports({ port: 'http', endPort: 70 }) },
      ['spec.egress[0].ports[0].endPort: Invalid value: 70: may not be specified when `port` is non-numeric'],
    ],
    [
      'an unknown type',
      { 'spec.policyTypes': ['Sideways'] },
      ['spec.policyTypes[0]: Unsupported value: "Sideways": supported values: "Egress", "Ingress"'],
    ],
    [
      'a selector with an unknown operator',
      { 'spec.podSelector': { matchExpressions: [{ key: 'a', operator: 'Is' }] } },
      ['spec.podSelector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator'],
    ],
  ])('create: %s', (_scenario, places, expected) => {
    expect(refused(() => create('networking.k8s.io/v1 NetworkPolicy', changed(policy, places)))).toEqual(expected);
  });
});

describe('addresses of services', () => {
  const parentRef = { resource: 'services', name: 'web', namespace: 'default' };
  test.each<[string, string, string[]]>([
    ['IPv4', '192.168.2.3', []],
    ['IPv6', 'fe80::42:1dff:fe84:f9e2', []],
    ['no address', 'x', ['metadata.name: Invalid value: "x": must be a valid IP address']],
    ['a long form', 'fe80:0::1', ['metadata.name: Invalid value: "fe80:0::1": must be a canonical format IP address']],
  ])('IPAddress: %s', (_scenario, name, expected) => {
    expect(
      refused(() => create('networking.k8s.io/v1 IPAddress', { metadata: { name }, spec: { parentRef } })),
    ).toEqual(expected);
  });
  test('IPAddress: it belongs to something, and goes on to', () => {
    const name = '10.0.0.1';
    expect(refused(() => create('networking.k8s.io/v1 IPAddress', { metadata: { name }, spec: {} }))).toEqual([
      'spec.parentRef: Required value',
    ]);
    const made = create('networking.k8s.io/v1 IPAddress', { metadata: { name }, spec: { parentRef } });
    expect(
      refused(() =>
        update('networking.k8s.io/v1 IPAddress', made, (object) =>
          Object.assign(object, { spec: { parentRef: { ...parentRef, name: 'x' } } }),
        ),
      ),
    ).toEqual([
      'spec.parentRef: Invalid value: {"resource":"services","name":"x","namespace":"default"}: field is immutable',
    ]);
  });
  test.each<[string, string[], string[]]>([
    ['one', ['10.43.0.0/16'], []],
    ['one of each family', ['10.43.0.0/16', 'fd00::/112'], []],
    ['none', [], ['spec.cidrs: Required value: at least one CIDR required']],
    [
      'no range',
      ['10.43.0.0'],
      ['spec.cidrs[0]: Invalid value: "10.43.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)'],
    ],
    [
      'not its first address',
      ['10.43.0.1/16'],
      ['spec.cidrs[0]: Invalid value: "10.43.0.1/16": must be in canonical form ("10.43.0.0/16")'],
    ],
    [
      'two of a family',
      ['10.43.0.0/16', '10.44.0.0/16'],
      [
        'spec.cidrs: Invalid value: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64',
      ],
    ],
  ])('ServiceCIDR: %s', (_scenario, cidrs, expected) => {
    expect(
      refused(() => create('networking.k8s.io/v1 ServiceCIDR', { metadata: { name: 'extra' }, spec: { cidrs } })),
    ).toEqual(expected);
  });
  test('ranges and short forms', () => {
    expect(compressedAddress('2001:db8:0:0:1:0:0:1')).toBe('2001:db8::1:0:0:1');
    expect(compressedAddress('::')).toBe('::');
    expect(compressedAddress('::ffff:10.0.0.1')).toBe('::ffff:a00:1');
    expect(cidrOf('fe80::/129')).toBeUndefined();
    expect(cidrOf('10.1.2.3/8')).toMatchObject({ text: '10.0.0.0/8', canonical: false });
  });
});
