import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../machinery/json.ts';
import { changed, create, refused, update } from '../testing.ts';

type Row = [scenario: string, places: Record<string, unknown>, expected: string[]];

const base64 = (text: string): string => Buffer.from(text, 'latin1').toString('base64');
const pem = (type: string, bytes: readonly number[]): string =>
  base64(`-----BEGIN ${type}-----\n${Buffer.from(bytes).toString('base64')}\n-----END ${type}-----\n`);

/** `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj /CN=a -outform DER` */
const signed = [
  ...Buffer.from(
    'MIHGMG4CAQAwDDEKMAgGA1UEAwwBYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABAfso42Jj/z2FAvHbFnuw1xx71regR4jCTQba+PcNLh+wBWiZcp2DARwyd/WlO/FVazwILYdFiLQosOtOhqKqU+gADAKBggqhkjOPQQDAgNIADBFAiEA/kAy308WVO8iIChjeSnJOhJqBeUDv5k2p1gG2evwnL8CIE+LlNoIIxTAgEcCjbTXqBQ1RLZtdAfhKYyncRH1r+AQ',
    'base64',
  ),
];

describe('CertificateSigningRequest', () => {
  const kind = 'certificates.k8s.io/v1 CertificateSigningRequest';
  const request: JsonObject = {
    metadata: { name: 'me' },
    spec: { request: pem('CERTIFICATE REQUEST', signed), signerName: 'example.com/signer', usages: ['client auth'] },
  };
  test.each<Row>([
    ['nothing wrong', {}, []],
    [
      'no request',
      { 'spec.request': base64('x') },
      [`spec.request: Invalid value: "${base64('x')}": PEM block type must be CERTIFICATE REQUEST`],
    ],
    [
      'a request that its key did not sign',
      { 'spec.request': pem('CERTIFICATE REQUEST', [...signed.slice(0, -1), 0]) },
      [
        `spec.request: Invalid value: "${pem('CERTIFICATE REQUEST', [...signed.slice(0, -1), 0])}": x509: ECDSA verification failure`,
      ],
    ],
    ['no usages', { 'spec.usages': [] }, ['spec.usages: Required value']],
    ['a usage twice', { 'spec.usages': ['any', 'any'] }, ['spec.usages[1]: Duplicate value: "any"']],
    [
      'the signer of old',
      { 'spec.signerName': 'kubernetes.io/legacy-unknown' },
      [
        'spec.signerName: Invalid value: "kubernetes.io/legacy-unknown": the legacy signerName is not allowed via this API version',
      ],
    ],
    [
      'a signer without domain',
      { 'spec.signerName': 'me' },
      [
        `spec.signerName: Invalid value: "me": must be a fully qualified domain and path of the form 'example.com/signer-name'`,
      ],
    ],
    [
      'too short',
      { 'spec.expirationSeconds': 599 },
      ['spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)'],
    ],
  ])('create: %s', (_scenario, places, expected) => {
    expect(refused(() => create(kind, changed(request, places)))).toEqual(expected);
  });

  test('who asks is told by the server; the specification stays', () => {
    const made = create(kind, changed(request, { 'spec.username': 'root' }));
    expect(made.spec).not.toHaveProperty('username');
    const same = update(kind, made, (object) => Object.assign(object, changed(object, { 'spec.signerName': 'a.b/c' })));
    expect(same.spec).toEqual(made.spec);
  });

  test('decisions go through approval, the certificate through status, both for good', () => {
    const made = create(kind, request);
    const write = (from: JsonObject, places: Record<string, unknown>, subresource: string): JsonObject =>
      update(kind, from, (object) => Object.assign(object, changed(object, places)), subresource);
    const approved = { 'status.conditions': [{ type: 'Approved', status: 'True', reason: 'Me' }] };
    expect(refused(() => write(made, approved, 'status'))).toEqual([
      'status.conditions: Forbidden: updates may not add a condition of type "Approved"',
    ]);
    const yes = write(made, approved, 'approval');
    expect(yes.status).toEqual({
      conditions: [
        {
          type: 'Approved',
          status: 'True',
          reason: 'Me',
          lastUpdateTime: '2026-01-01T00:00:00Z',
          lastTransitionTime: '2026-01-01T00:00:00Z',
        },
      ],
    });
    expect(refused(() => write(yes, { 'status.conditions': [] }, 'approval'))).toEqual([
      'status.conditions: Forbidden: updates may not remove a condition of type "Approved"',
    ]);
    expect(
      refused(() =>
        write(
          made,
          { 'status.conditions': ['Approved', 'Denied'].map((type) => ({ type, status: 'True' })) },
          'approval',
        ),
      ),
    ).toEqual([
      'status.conditions[1].type: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive',
    ]);
    expect(
      refused(() => write(made, { 'status.conditions': [{ type: 'Approved', status: 'False' }] }, 'approval')),
    ).toEqual(['status.conditions[0].status: Unsupported value: "False": supported values: "True"']);
    const certificate = { 'status.certificate': pem('CERTIFICATE', [0x30, 0]) };
    const issued = write(yes, certificate, 'status');
    expect(refused(() => write(issued, { 'status.certificate': pem('CERTIFICATE', [0x30, 1, 5]) }, 'status'))).toEqual([
      'status.certificate: Forbidden: updates may not modify existing certificate content',
    ]);
    expect(refused(() => write(yes, { 'status.certificate': base64('x') }, 'status'))).toEqual([
      'status.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block',
    ]);
  });
});

describe('APIService', () => {
  const kind = 'apiregistration.k8s.io/v1 APIService';
  const service: JsonObject = {
    metadata: { name: 'v1.metrics.example.com' },
    spec: {
      group: 'metrics.example.com',
      version: 'v1',
      groupPriorityMinimum: 100,
      versionPriority: 100,
      service: { name: 'a', namespace: 'b' },
    },
  };
  test.each<Row>([
    ['nothing wrong', {}, []],
    [
      'another name',
      { 'metadata.name': 'x' },
      ['metadata.name: Invalid value: "x": must be `spec.version+"."+spec.group`: "v1.metrics.example.com"'],
    ],
    [
      'no priority',
      { 'spec.groupPriorityMinimum': 0, 'spec.versionPriority': 1001 },
      [
        'spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000',
        'spec.versionPriority: Invalid value: 1001: must be positive and less than 1000',
      ],
    ],
    [
      'a bundle that is not looked at',
      { 'spec.caBundle': 'AAAA', 'spec.insecureSkipTLSVerify': true },
      ['spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present'],
    ],
    [
      'a bundle for ourselves',
      { 'spec.caBundle': 'AAAA', 'spec.service': undefined },
      ['spec.caBundle: Invalid value: "3 bytes": local APIServices may not have a caBundle'],
    ],
    ['a service without namespace', { 'spec.service.namespace': '' }, ['spec.service.namespace: Required value']],
  ])('create: %s', (_scenario, places, expected) => {
    expect(refused(() => create(kind, changed(service, places)))).toEqual(expected);
  });
});

describe('classes', () => {
  test('RuntimeClass: the handler is a name and stays', () => {
    const kind = 'node.k8s.io/v1 RuntimeClass';
    expect(refused(() => create(kind, { metadata: { name: 'a' }, handler: 'A' }))).toEqual([
      "handler: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
    ]);
    const made = create(kind, { metadata: { name: 'a' }, handler: 'runc' });
    expect(refused(() => update(kind, made, (object) => Object.assign(object, { handler: 'kata' })))).toEqual([
      'handler: Invalid value: "kata": field is immutable',
    ]);
    const toleration = { key: 'a', operator: 'Exists' };
    expect(
      refused(() =>
        create(kind, { metadata: { name: 'a' }, handler: 'b', scheduling: { tolerations: [toleration, toleration] } }),
      ),
    ).toEqual(['scheduling.tolerations[1]: Duplicate value: {"key":"a","operator":"Exists"}']);
  });
  test('VolumeAttributesClass: it has parameters and keeps them', () => {
    const kind = 'storage.k8s.io/v1 VolumeAttributesClass';
    const gold = { metadata: { name: 'gold' }, driverName: 'd.example.com', parameters: { iops: '1' } };
    expect(refused(() => create(kind, { ...gold, parameters: {} }))).toEqual([
      'parameters: Required value: must contain at least one key/value pair',
    ]);
    const made = create(kind, gold);
    expect(
      refused(() =>
        update(kind, made, (object) => Object.assign(object, { driverName: 'x', parameters: { iops: '2' } })),
      ),
    ).toEqual([
      'driverName: Forbidden: updates to driverName are forbidden.',
      'parameters: Forbidden: updates to parameters are forbidden.',
    ]);
  });
  const storage: JsonObject = { metadata: { name: 'fast' }, provisioner: 'p.example.com/x' };
  const topology = { matchLabelExpressions: [{ key: 'zone', values: ['a'] }] };
  test.each<Row>([
    ['nothing wrong', {}, []],
    ['no provisioner', { provisioner: '' }, ['provisioner: Required value']],
    [
      'a policy that classes do not have',
      { reclaimPolicy: 'Recycle' },
      ['reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"'],
    ],
    [
      'an unknown mode',
      { volumeBindingMode: 'Never' },
      ['volumeBindingMode: Unsupported value: "Never": supported values: "Immediate", "WaitForFirstConsumer"'],
    ],
    [
      'a parameter without name',
      { parameters: { '': 'x' } },
      ['parameters: Invalid value: "": field can not be empty.'],
    ],
    [
      'a topology without values',
      { allowedTopologies: [{ matchLabelExpressions: [{ key: 'zone' }] }] },
      ['allowedTopologies[0].matchLabelExpressions[0].values: Required value'],
    ],
    [
      'a topology twice',
      { allowedTopologies: [topology, topology] },
      ['allowedTopologies[1].matchLabelExpressions: Duplicate value: ""'],
    ],
  ])('StorageClass: %s', (_scenario, places, expected) => {
    expect(refused(() => create('storage.k8s.io/v1 StorageClass', changed(storage, places)))).toEqual(expected);
  });
});

describe('devices', () => {
  const kind = 'resource.k8s.io/v1 ResourceClaim';
  const exactly = { deviceClassName: 'gpu' };
  const claim: JsonObject = {
    metadata: { name: 'c' },
    spec: { devices: { requests: [{ name: 'a', exactly }] } },
  };
  const at = 'spec.devices.requests[0]';
  const request = (places: object): Record<string, unknown> => ({
    'spec.devices.requests': [{ name: 'a', exactly, ...places }],
  });
  test('a request asks for one device unless it says otherwise', () => {
    expect(create(kind, claim).spec).toEqual({
      devices: { requests: [{ name: 'a', exactly: { ...exactly, allocationMode: 'ExactCount', count: 1 } }] },
    });
  });
  test.each<Row>([
    ['nothing wrong', {}, []],
    [
      'nothing asked',
      request({ exactly: undefined }),
      [`${at}: Required value: exactly one of \`exactly\` or \`firstAvailable\` is required`],
    ],
    [
      'both asked',
      request({ firstAvailable: [{ name: 'b', ...exactly }] }),
      [
        `${at}: Invalid value: exactly one of \`exactly\` or \`firstAvailable\` is required, but multiple fields are set`,
      ],
    ],
    ['no class', request({ exactly: {} }), [`${at}.exactly.deviceClassName: Required value`]],
    [
      'all and a number',
      request({ exactly: { ...exactly, allocationMode: 'All', count: 2 } }),
      [`${at}.exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'`],
    ],
    [
      'an unknown mode',
      request({ exactly: { ...exactly, allocationMode: 'Some' } }),
      [`${at}.exactly.allocationMode: Unsupported value: "Some": supported values: "All", "ExactCount"`],
    ],
    [
      'a selector without expression',
      request({ exactly: { ...exactly, selectors: [{}] } }),
      [`${at}.exactly.selectors[0].cel: Required value`],
    ],
    [
      'a request twice',
      { 'spec.devices.requests': [1, 2].map(() => ({ name: 'a', exactly })) },
      ['spec.devices.requests[1].name: Duplicate value: "a"'],
    ],
    [
      'a constraint on nobody',
      { 'spec.devices.constraints': [{ requests: ['x'], matchAttribute: 'a.io/b' }] },
      [
        'spec.devices.constraints[0].requests[0]: Invalid value: "x": must be the name of a request in the claim or the name of a request and a subrequest separated by \'/\'',
      ],
    ],
    [
      'a constraint on nothing',
      { 'spec.devices.constraints': [{}] },
      ['spec.devices.constraints[0].matchAttribute: Required value'],
    ],
    [
      'an attribute without domain',
      { 'spec.devices.constraints': [{ matchAttribute: 'b' }] },
      ['spec.devices.constraints[0].matchAttribute: Invalid value: "b": must include a domain'],
    ],
    ['settings of nobody', { 'spec.devices.config': [{}] }, ['spec.devices.config[0].opaque: Required value']],
  ])('ResourceClaim: %s', (_scenario, places, expected) => {
    expect(refused(() => create(kind, changed(claim, places)))).toEqual(expected);
  });
  test('ResourceClaim: the specification stays, an allocation is made once, only what is allocated is reserved', () => {
    const made = create(kind, claim);
    const write = (from: JsonObject, places: Record<string, unknown>, subresource = ''): string[] =>
      refused(() => update(kind, from, (object) => Object.assign(object, changed(object, places)), subresource));
    expect(write(made, request({ name: 'b' }))).toHaveLength(1);
    const consumer = { resource: 'pods', name: 'p', uid: '1' };
    expect(write(made, { 'status.reservedFor': [consumer] }, 'status')).toEqual([
      'status.reservedFor: Forbidden: may not be specified when `allocated` is not set',
    ]);
    const allocation = { devices: { results: [{ request: 'a', driver: 'd.io', pool: 'p', device: 'x' }] } };
    expect(write(made, { 'status.allocation': allocation, 'status.reservedFor': [consumer] }, 'status')).toEqual([]);
    const allocated = changed(made, { 'status.allocation': allocation });
    expect(write(allocated, { 'status.allocation': { devices: {} } }, 'status')).toEqual([
      'status.allocation: Invalid value: {"devices":{}}: field is immutable',
    ]);
  });

  const slice: JsonObject = {
    metadata: { name: 's' },
    spec: { driver: 'd.io', nodeName: 'n', pool: { name: 'p', resourceSliceCount: 1 }, devices: [{ name: 'x' }] },
  };
  test.each<Row>([
    [
      'nothing wrong',
      { 'spec.devices': [{ name: 'x', attributes: { model: { string: 'm' }, 'a.io/v': { version: '1.2.3' } } }] },
      [],
    ],
    [
      'nowhere',
      { 'spec.nodeName': undefined },
      [
        'spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required',
      ],
    ],
    [
      'in two places',
      { 'spec.allNodes': true },
      [
        'spec: Invalid value: "{`nodeName`, `allNodes`}": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set',
      ],
    ],
    [
      'a device twice',
      { 'spec.devices': [{ name: 'x' }, { name: 'x' }] },
      ['spec.devices[1].name: Duplicate value: "x"'],
    ],
    [
      'a pool of nothing',
      { 'spec.pool': { name: 'p' } },
      ['spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero'],
    ],
    [
      'an attribute of two values',
      { 'spec.devices': [{ name: 'x', attributes: { m: { int: 1, bool: true } } }] },
      ['spec.devices[0].attributes[m]: Invalid value: "": exactly one value must be specified'],
    ],
    [
      'a version that is none',
      { 'spec.devices': [{ name: 'x', attributes: { m: { version: '1' } } }] },
      [
        'spec.devices[0].attributes[m].version: Invalid value: "1": must be a string compatible with semver.org spec 2.0.0',
      ],
    ],
    [
      'a device with a place of its own',
      { 'spec.devices': [{ name: 'x', allNodes: true }] },
      [
        'spec.devices[0]: Invalid value: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec',
      ],
    ],
  ])('ResourceSlice: %s', (_scenario, places, expected) => {
    expect(refused(() => create('resource.k8s.io/v1 ResourceSlice', changed(slice, places)))).toEqual(expected);
  });
});
