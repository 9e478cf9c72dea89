import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../machinery/json.ts';
import { changed, create, refused, update } from '../testing.ts';

type Row = [scenario: string, places: Record<string, unknown>, expected: string[]];

describe('webhook configurations', () => {
  const kind = 'admissionregistration.k8s.io/v1 MutatingWebhookConfiguration';
  const rule = { operations: ['CREATE'], apiGroups: [''], apiVersions: ['v1'], resources: ['pods'] };
  const webhook = {
    name: 'check.policy.example.com',
    clientConfig: { service: { name: 'policy', namespace: 'system' } },
    rules: [rule],
    sideEffects: 'None',
    admissionReviewVersions: ['v1'],
  };
  const configuration: JsonObject = { metadata: { name: 'policy' }, webhooks: [webhook] };
  const one = (places: object): Record<string, unknown> => ({ webhooks: [{ ...webhook, ...places }] });
  const rules = (places: object): Record<string, unknown> => one({ rules: [{ ...rule, ...places }] });
  const at = 'webhooks[0]';

  test('have every default', () => {
    expect(create(kind, configuration).webhooks).toMatchObject([
      {
        failurePolicy: 'Fail',
        matchPolicy: 'Equivalent',
        namespaceSelector: {},
        objectSelector: {},
        reinvocationPolicy: 'Never',
        timeoutSeconds: 10,
        clientConfig: { service: { port: 443 } },
        rules: [{ scope: '*' }],
      },
    ]);
  });

  test.each<Row>([
    ['nothing wrong', {}, []],
    ['no name', one({ name: '' }), [`${at}.name: Required value`]],
    [
      'a short name',
      one({ name: 'check.example' }),
      [`${at}.name: Invalid value: "check.example": should be a domain with at least three segments separated by dots`],
    ],
    [
      'a name twice',
      { webhooks: [webhook, webhook] },
      ['webhooks[1].name: Duplicate value: "check.policy.example.com"'],
    ],
    [
      'an unknown failure policy',
      one({ failurePolicy: 'Cry' }),
      [`${at}.failurePolicy: Unsupported value: "Cry": supported values: "Fail", "Ignore"`],
    ],
    [
      'an unknown match policy',
      one({ matchPolicy: 'About' }),
      [`${at}.matchPolicy: Unsupported value: "About": supported values: "Equivalent", "Exact"`],
    ],
    [
      'an unknown reinvocation policy',
      one({ reinvocationPolicy: 'Often' }),
      [`${at}.reinvocationPolicy: Unsupported value: "Often": supported values: "IfNeeded", "Never"`],
    ],
    [
      'no word of side effects',
      one({ sideEffects: undefined }),
      [`${at}.sideEffects: Required value: must specify one of None, NoneOnDryRun`],
    ],
    [
      'side effects',
      one({ sideEffects: 'Some' }),
      [`${at}.sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"`],
    ],
    [
      'too long a time',
      one({ timeoutSeconds: 31 }),
      [`${at}.timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds`],
    ],
    [
      'neither URL nor service',
      one({ clientConfig: {} }),
      [`${at}.clientConfig: Required value: exactly one of url or service is required`],
    ],
    [
      'plain HTTP',
      one({ clientConfig: { url: 'http://a.b/c' } }),
      [
        `${at}.clientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path]`,
      ],
    ],
    [
      'a user in the URL',
      one({ clientConfig: { url: 'https://me@a.b/c' } }),
      [`${at}.clientConfig.url: Invalid value: "me": user information is not permitted in the URL`],
    ],
    [
      'a query in the URL',
      one({ clientConfig: { url: 'https://a.b/c?d=e' } }),
      [`${at}.clientConfig.url: Invalid value: "d=e": query parameters are not permitted in the URL`],
    ],
    [
      'a fragment in the URL',
      one({ clientConfig: { url: 'https://a.b/c#d' } }),
      [`${at}.clientConfig.url: Invalid value: "d": fragments are not permitted in the URL`],
    ],
    [
      'a service without namespace',
      one({ clientConfig: { service: { name: 'a', namespace: '' } } }),
      [`${at}.clientConfig.service.namespace: Required value`],
    ],
    [
      'a port out of range',
      one({ clientConfig: { service: { name: 'a', namespace: 'b', port: 65536 } } }),
      [
        `${at}.clientConfig.service.port: Invalid value: 65536: port is not valid: must be between 1 and 65535, inclusive`,
      ],
    ],
    [
      'a path with a hole',
      one({ clientConfig: { service: { name: 'a', namespace: 'b', path: '/a//b' } } }),
      [`${at}.clientConfig.service.path: Invalid value: "/a//b": segment[1] may not be empty`],
    ],
    ['no operations', rules({ operations: [] }), [`${at}.rules[0].operations: Required value`]],
    [
      'all operations and one',
      rules({ operations: ['*', 'CREATE'] }),
      [
        `${at}.rules[0].operations: Invalid value: ["*","CREATE"]: if '*' is present, must not specify other operations`,
      ],
    ],
    [
      'an unknown operation',
      rules({ operations: ['LOOK'] }),
      [
        `${at}.rules[0].operations[0]: Unsupported value: "LOOK": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"`,
      ],
    ],
    [
      'all groups and one',
      rules({ apiGroups: ['*', ''] }),
      [`${at}.rules[0].apiGroups: Invalid value: ["*",""]: if '*' is present, must not specify other API groups`],
    ],
    ['an empty version', rules({ apiVersions: [''] }), [`${at}.rules[0].apiVersions[0]: Required value`]],
    [
      'all resources and one',
      rules({ resources: ['*', 'pods'] }),
      [
        `${at}.rules[0].resources: Invalid value: ["*","pods"]: if '*' is present, must not specify other resources without subresources`,
      ],
    ],
    [
      'all subresources and one',
      rules({ resources: ['pods/*', 'pods/status'] }),
      [
        `${at}.rules[0].resources[1]: Invalid value: "pods/status": if 'pods/*' is present, must not specify pods/status`,
      ],
    ],
    [
      'everything and one',
      rules({ resources: ['*/*', 'pods'] }),
      [
        `${at}.rules[0].resources: Invalid value: ["*/*","pods"]: if '*/*' is present, must not specify other resources`,
      ],
    ],
    [
      'an unknown scope',
      rules({ scope: 'World' }),
      [`${at}.rules[0].scope: Unsupported value: "World": supported values: "*", "Cluster", "Namespaced"`],
    ],
    [
      'no review versions',
      one({ admissionReviewVersions: [] }),
      [`${at}.admissionReviewVersions: Required value: must specify one of v1, v1beta1`],
    ],
    [
      'none that we speak',
      one({ admissionReviewVersions: ['v2'] }),
      [`${at}.admissionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, v1beta1`],
    ],
    [
      'a version twice',
      one({ admissionReviewVersions: ['v1', 'v1'] }),
      [`${at}.admissionReviewVersions[1]: Invalid value: "v1": duplicate version`],
    ],
    [
      'a condition without expression',
      one({ matchConditions: [{ name: 'a' }] }),
      [`${at}.matchConditions[0].expression: Required value`],
    ],
    [
      'a condition twice',
      one({ matchConditions: ['true', 'false'].map((expression) => ({ name: 'a', expression })) }),
      [`${at}.matchConditions[1].name: Duplicate value: "a"`],
    ],
    [
      'too many conditions',
      one({ matchConditions: Array.from({ length: 65 }, (_, i) => ({ name: `a${i}`, expression: 'true' })) }),
      [`${at}.matchConditions: Too many: 65: must have at most 64 items`],
    ],
  ])('create: %s', (_scenario, places, expected) => {
    expect(refused(() => create(kind, changed(configuration, places)))).toEqual(expected);
  });

  test('validating ones have no reinvocation policy', () => {
    const made = create('admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration', configuration);
    expect((made.webhooks as JsonObject[])[0]).not.toHaveProperty('reinvocationPolicy');
  });
});

describe('admission policies', () => {
  const validating = 'admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy';
  const mutating = 'admissionregistration.k8s.io/v1 MutatingAdmissionPolicy';
  const rule = { operations: ['CREATE'], apiGroups: ['apps'], apiVersions: ['v1'], resources: ['deployments'] };
  const policy: JsonObject = {
    metadata: { name: 'replicas' },
    spec: {
      matchConstraints: { resourceRules: [rule] },
      validations: [{ expression: 'object.spec.replicas > 1' }],
    },
  };
  const mutation = { patchType: 'ApplyConfiguration', applyConfiguration: { expression: 'Object{}' } };
  const mutator: JsonObject = {
    metadata: { name: 'marks' },
    spec: { matchConstraints: { resourceRules: [rule] }, mutations: [mutation], reinvocationPolicy: 'Never' },
  };

  test.each<Row>([
    ['nothing wrong', {}, []],
    ['no constraints', { 'spec.matchConstraints': undefined }, ['spec.matchConstraints: Required value']],
    ['no rules', { 'spec.matchConstraints': {} }, ['spec.matchConstraints.resourceRules: Required value']],
    [
      'nothing to check',
      { 'spec.validations': undefined },
      [
        'spec.validations: Required value: validations or auditAnnotations must contain at least one item',
        'spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item',
      ],
    ],
    [
      'an empty expression',
      { 'spec.validations': [{ expression: ' ' }] },
      ['spec.validations[0].expression: Required value: expression is not specified'],
    ],
    [
      'a message of two lines',
      { 'spec.validations': [{ expression: 'true', message: 'a\nb' }] },
      ['spec.validations[0].message: Invalid value: "a\\nb": message must not contain line breaks'],
    ],
    [
      'an unknown reason',
      { 'spec.validations': [{ expression: 'true', reason: 'Because' }] },
      [
        'spec.validations[0].reason: Unsupported value: "Because": supported values: "Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"',
      ],
    ],
    [
      'a variable that is a word of the language',
      { 'spec.variables': [{ name: 'in', expression: 'true' }] },
      ['spec.variables[0].name: Invalid value: "in": name is not a valid CEL identifier'],
    ],
    [
      'an annotation twice',
      { 'spec.auditAnnotations': ['a', 'a'].map((key) => ({ key, valueExpression: "'x'" })) },
      ['spec.auditAnnotations[1].key: Duplicate value: "a"'],
    ],
    [
      'a parameter kind without version',
      { 'spec.paramKind': { kind: 'ConfigMap' } },
      ['spec.paramKind.apiVersion: Required value'],
    ],
    [
      'a bad parameter kind',
      { 'spec.paramKind': { apiVersion: 'a/b/c', kind: 'x y' } },
      [
        'spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c',
        "spec.paramKind.kind: Invalid value: \"x y\": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
      ],
    ],
    [
      'a name twice',
      { 'spec.matchConstraints': { resourceRules: [{ ...rule, resourceNames: ['a', 'a'] }] } },
      ['spec.matchConstraints.resourceRules[0].resourceNames[1]: Duplicate value: "a"'],
    ],
  ])('validating: %s', (_scenario, places, expected) => {
    expect(refused(() => create(validating, changed(policy, places)))).toEqual(expected);
  });

  test.each<Row>([
    ['nothing wrong', {}, []],
    ['no reinvocation policy', { 'spec.reinvocationPolicy': undefined }, ['spec.reinvocationPolicy: Required value']],
    [
      'no mutations',
      { 'spec.mutations': [] },
      ['spec.mutations: Required value: mutations must contain at least one item'],
    ],
    [
      'an unknown patch',
      { 'spec.mutations': [{ patchType: 'Diff' }] },
      ['spec.mutations[0].patchType: Unsupported value: "Diff": supported values: "ApplyConfiguration", "JSONPatch"'],
    ],
    [
      'a patch without itself',
      { 'spec.mutations': [{ patchType: 'JSONPatch' }] },
      ['spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch'],
    ],
    [
      'two patches',
      { 'spec.mutations': [{ ...mutation, jsonPatch: { expression: '[]' } }] },
      ['spec.mutations[0].jsonPatch: Forbidden: may not be specified when patchType is ApplyConfiguration'],
    ],
  ])('mutating: %s', (_scenario, places, expected) => {
    expect(refused(() => create(mutating, changed(mutator, places)))).toEqual(expected);
  });

  const binding: JsonObject = {
    metadata: { name: 'b' },
    spec: { policyName: 'replicas', validationActions: ['Deny'] },
  };
  test.each<Row>([
    ['nothing wrong', {}, []],
    ['no policy', { 'spec.policyName': '' }, ['spec.policyName: Required value']],
    [
      'no actions',
      { 'spec.validationActions': [] },
      ['spec.validationActions: Required value: at least one validation action is required'],
    ],
    [
      'Deny and Warn',
      { 'spec.validationActions': ['Deny', 'Warn'] },
      [
        'spec.validationActions: Invalid value: ["Deny","Warn"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)',
      ],
    ],
    [
      'an action twice',
      { 'spec.validationActions': ['Deny', 'Deny'] },
      ['spec.validationActions[1]: Duplicate value: "Deny"'],
    ],
    [
      'parameters by nothing',
      { 'spec.paramRef': { parameterNotFoundAction: 'Deny' } },
      ['spec.paramRef: Required value: one of name or selector must be specified'],
    ],
    [
      'parameters by both',
      { 'spec.paramRef': { name: 'a', selector: {}, parameterNotFoundAction: 'Deny' } },
      [
        'spec.paramRef.name: Forbidden: name and selector are mutually exclusive',
        'spec.paramRef.selector: Forbidden: name and selector are mutually exclusive',
      ],
    ],
    [
      'nothing said of missing parameters',
      { 'spec.paramRef': { name: 'a' } },
      ['spec.paramRef.parameterNotFoundAction: Required value'],
    ],
  ])('binding: %s', (_scenario, places, expected) => {
    expect(
      refused(() =>
        create('admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding', changed(binding, places)),
      ),
    ).toEqual(expected);
  });
});

describe('CustomResourceDefinition', () => {
  const kind = 'apiextensions.k8s.io/v1 CustomResourceDefinition';
  const schema = {
    openAPIV3Schema: {
      type: 'object',
      properties: { spec: { type: 'object', properties: { colour: { type: 'string' }, sizes: { type: 'array' } } } },
    },
  };
  const version = { name: 'v1', served: true, storage: true, schema };
  const definition: JsonObject = {
    metadata: { name: 'things.example.com' },
    spec: {
      group: 'example.com',
      scope: 'Namespaced',
      names: { plural: 'things', kind: 'Thing' },
      versions: [version],
    },
  };
  const one = (places: object): Record<string, unknown> => ({ 'spec.versions': [{ ...version, ...places }] });
  const at = 'spec.versions[0]';
  const label =
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

  test('gets its names and notes the version that it stores', () => {
    const made = create(kind, definition);
    expect(made.spec).toMatchObject({
      names: { plural: 'things', singular: 'thing', kind: 'Thing', listKind: 'ThingList' },
      conversion: { strategy: 'None' },
    });
    expect(made.status).toEqual({ storedVersions: ['v1'] });
    const next = update(kind, made, (object) =>
      Object.assign(
        object,
        changed(object, {
          'spec.versions': [
            { ...version, storage: false },
            { ...version, name: 'v2' },
          ],
        }),
      ),
    );
    expect(next.status).toEqual({ storedVersions: ['v1', 'v2'] });
    expect((next.metadata as JsonObject).generation).toBe(2);
  });

  test.each<Row>([
    ['nothing wrong', {}, []],
    [
      'another name',
      { 'metadata.name': 'a.b' },
      ['metadata.name: Invalid value: "a.b": must be spec.names.plural+"."+spec.group'],
    ],
    [
      'a group without a dot',
      { 'spec.group': 'example', 'metadata.name': 'things.example' },
      ['spec.group: Invalid value: "example": should be a domain with at least one dot'],
    ],
    [
      'an unknown scope',
      { 'spec.scope': 'World' },
      ['spec.scope: Unsupported value: "World": supported values: "Cluster", "Namespaced"'],
    ],
    ['no schema', one({ schema: undefined }), [`${at}.schema.openAPIV3Schema: Required value`]],
    [
      'no storage version',
      one({ storage: false }),
      [
        'spec.versions: Invalid value: must have exactly one version marked as storage version',
        'status.storedVersions: Invalid value: []: must have at least one stored version',
      ],
    ],
    [
      'a version twice',
      { 'spec.versions': [version, { ...version, storage: false }] },
      ['spec.versions: Invalid value: must contain unique version names'],
    ],
    ['a bad version name', one({ name: 'V1' }), [`${at}.name: Invalid value: "V1": ${label}`]],
    [
      'a bad short name',
      { 'spec.names.shortNames': ['T'] },
      [`spec.names.shortNames[0]: Invalid value: "T": ${label}`],
    ],
    [
      'a bad kind',
      { 'spec.names.kind': 'My Thing', 'spec.names.listKind': 'L', 'spec.names.singular': 'thing' },
      [`spec.names.kind: Invalid value: "My Thing": may have mixed case, but should otherwise match: ${label}`],
    ],
    [
      'a list kind that is the kind',
      { 'spec.names.listKind': 'Thing' },
      ['spec.names.listKind: Invalid value: "Thing": kind and listKind may not be the same'],
    ],
    [
      'a warning without deprecation',
      one({ deprecationWarning: 'go' }),
      [`${at}.deprecationWarning: Invalid value: "go": can only be set for deprecated versions`],
    ],
    [
      'a column of an unknown type',
      one({ additionalPrinterColumns: [{ name: 'a', type: 'colour', jsonPath: '.spec' }] }),
      [
        `${at}.additionalPrinterColumns[0].type: Invalid value: "colour": must be one of boolean,date,integer,number,string`,
      ],
    ],
    [
      'a column without path',
      one({ additionalPrinterColumns: [{ name: 'a', type: 'string' }] }),
      [`${at}.additionalPrinterColumns[0].JSONPath: Required value`],
    ],
    [
      'a scale outside the spec',
      one({ subresources: { scale: { specReplicasPath: '.status.r', statusReplicasPath: '.status.r' } } }),
      [`${at}.subresources.scale.specReplicasPath: Invalid value: ".status.r": should be a json path under .spec`],
    ],
    [
      'a scale path that is none',
      one({ subresources: { scale: { specReplicasPath: 'spec', statusReplicasPath: '.status.r' } } }),
      [`${at}.subresources.scale.specReplicasPath: Invalid value: "spec": must be a simple json path starting with .`],
    ],
    ['a selectable field', one({ selectableFields: [{ jsonPath: '.spec.colour' }] }), []],
    [
      'a selectable field that is not there',
      one({ selectableFields: [{ jsonPath: '.spec.x' }] }),
      [
        `${at}.selectableFields[0].jsonPath: Invalid value: ".spec.x": is an invalid path: does not refer to a valid field`,
      ],
    ],
    [
      'a selectable list',
      one({ selectableFields: [{ jsonPath: '.spec.sizes' }] }),
      [
        `${at}.selectableFields[0].jsonPath: Invalid value: ".spec.sizes": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.`,
      ],
    ],
    [
      'a selectable field twice',
      one({ selectableFields: [{ jsonPath: '.spec.colour' }, { jsonPath: '.spec.colour' }] }),
      [`${at}.selectableFields[1].jsonPath: Duplicate value: ".spec.colour"`],
    ],
    [
      'a webhook without the strategy',
      {
        'spec.conversion': {
          strategy: 'None',
          webhook: { clientConfig: { url: 'https://a.b' }, conversionReviewVersions: ['v1'] },
        },
      },
      [
        'spec.conversion.webhookClientConfig: Forbidden: should not be set when strategy is not set to Webhook',
        'spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to Webhook',
      ],
    ],
    [
      'the strategy without a webhook',
      { 'spec.conversion': { strategy: 'Webhook' } },
      [
        'spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook',
        'spec.conversion.conversionReviewVersions: Required value',
      ],
    ],
    [
      'reviews that we do not speak',
      {
        'spec.conversion': {
          strategy: 'Webhook',
          webhook: { clientConfig: { url: 'https://a.b/' }, conversionReviewVersions: ['v3'] },
        },
      },
      ['spec.conversion.conversionReviewVersions: Invalid value: ["v3"]: must include at least one of v1, v1beta1'],
    ],
    [
      'unknown fields kept',
      { 'spec.preserveUnknownFields': true },
      [
        'spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead',
      ],
    ],
    [
      'a group of Kubernetes itself',
      { 'spec.group': 'things.k8s.io', 'metadata.name': 'things.things.k8s.io' },
      [
        'metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111',
      ],
    ],
    [
      'the same with a word',
      {
        'spec.group': 'things.k8s.io',
        'metadata.name': 'things.things.k8s.io',
        'metadata.annotations': { 'api-approved.kubernetes.io': 'unapproved, a try' },
      },
      [],
    ],
  ])('create: %s', (_scenario, places, expected) => {
    expect(refused(() => create(kind, changed(definition, places)))).toEqual(expected);
  });

  test.each<Row>([
    [
      'columns may change',
      {
        'spec.versions': [
          { ...version, additionalPrinterColumns: [{ name: 'C', type: 'string', jsonPath: '.spec.colour' }] },
        ],
      },
      [],
    ],
    ['the group stays', { 'spec.group': 'b.com' }, ['spec.group: Invalid value: "b.com": field is immutable']],
    [
      'the plural stays',
      { 'spec.names.plural': 'items' },
      ['spec.names.plural: Invalid value: "items": field is immutable'],
    ],
    ['the scope stays', { 'spec.scope': 'Cluster' }, ['spec.scope: Invalid value: "Cluster": field is immutable']],
    [
      'a version that was stored stays',
      { 'spec.versions': [{ ...version, name: 'v2' }] },
      [
        'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions',
      ],
    ],
  ])('update: %s', (_scenario, places, expected) => {
    const made = create(kind, definition);
    const established = changed(made, { 'status.conditions': [{ type: 'Established', status: 'True' }] });
    expect(
      refused(() => update(kind, established, (object) => Object.assign(object, changed(object, places)))),
    ).toEqual(expected);
  });
});
