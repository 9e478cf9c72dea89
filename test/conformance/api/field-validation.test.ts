/** `fieldValidation=Strict`: unknown and duplicate fields of built-in and custom kinds. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Any, Cluster, eventually, patchTypes, refusal, unique } from './harness.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster.close());

const strict = '?fieldValidation=Strict';
const strictApply = '?fieldManager=field-validation-test&fieldValidation=Strict';

const deployment = (metadata: string, spec: string): string => `{
  "apiVersion": "apps/v1",
  "kind": "Deployment",
  "metadata": {"name": "my-dep", ${metadata} "labels": {"app": "nginx"}},
  "spec": {
    ${spec}
    "selector": {"matchLabels": {"app": "nginx"}},
    "template": {
      "metadata": {"labels": {"app": "nginx"}},
      "spec": {"containers": [{"name": "nginx", "image": "nginx:latest"}]}
    }
  }
}`;

/** A cluster-scoped kind `Noxu` with `schema`; its group. */
async function noxu(schema: Any): Promise<string> {
  const group = `${unique('validation')}.example.com`;
  await cluster.resource('apiextensions.k8s.io/v1', 'customresourcedefinitions').create({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `noxus.${group}` },
    spec: {
      group,
      scope: 'Cluster',
      names: { plural: 'noxus', singular: 'noxu', kind: 'Noxu', listKind: 'NoxuList' },
      versions: [{ name: 'v1beta1', served: true, storage: true, schema: { openAPIV3Schema: schema } }],
    },
  });
  await eventually('served', async () => (await cluster.call('GET', `/apis/${group}/v1beta1/noxus`)).status === 200);
  return group;
}

const structural = {
  type: 'object',
  properties: {
    spec: {
      type: 'object',
      properties: {
        foo: { type: 'string' },
        cronSpec: { type: 'string', pattern: '^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$' },
        ports: {
          type: 'array',
          'x-kubernetes-list-map-keys': ['containerPort', 'protocol'],
          'x-kubernetes-list-type': 'map',
          items: {
            type: 'object',
            required: ['containerPort', 'protocol'],
            properties: {
              containerPort: { type: 'integer', format: 'int32' },
              hostIP: { type: 'string' },
              hostPort: { type: 'integer', format: 'int32' },
              name: { type: 'string' },
              protocol: { type: 'string' },
            },
          },
        },
      },
    },
  },
};

const preserving = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };

const embedding = {
  type: 'object',
  properties: {
    spec: {
      type: 'object',
      properties: {
        template: {
          type: 'object',
          'x-kubernetes-embedded-resource': true,
          properties: {
            metadata: { type: 'object', properties: { name: { type: 'string' } } },
            spec: { type: 'object', properties: { field: { type: 'string' } } },
          },
        },
      },
    },
  },
};

const yaml = (group: string, rest: string, metadata = ''): string => `apiVersion: ${group}/v1beta1
kind: Noxu
metadata:
  name: mytest${metadata}
  finalizers:
  - test/finalizer
${rest}`;

const applyYaml = (group: string, body: string): Promise<Any> =>
  cluster.must('PATCH', `/apis/${group}/v1beta1/noxus/mytest${strictApply}`, body, { type: patchTypes.apply });

test('conformance: fieldval-typed: an unknown and a duplicate field are refused in one error', async () => {
  const deployments = cluster.resource('apps/v1', 'deployments', await cluster.namespace());
  const body = deployment('', '"unknownField": "foo", "replicas": 1, "replicas": 2,');
  const refused = await refusal(deployments.create(body, strict));
  expect(refused.code).toBe(400);
  expect(refused.message).toContain(
    'strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas"',
  );
});

test('conformance: fieldval-typed-metadata: an unknown field of metadata is refused', async () => {
  const deployments = cluster.resource('apps/v1', 'deployments', await cluster.namespace());
  const refused = await refusal(deployments.create(deployment('"unknownMeta": "foo",', ''), strict));
  expect(refused.message).toContain('strict decoding error: unknown field "metadata.unknownMeta"');
});

test('conformance: fieldval-cr-valid: a custom resource that fits its schema is applied', async () => {
  const group = await noxu(structural);
  const applied = await applyYaml(
    group,
    yaml(
      group,
      `spec:
  foo: foo1
  cronSpec: "* * * * */5"
  ports:
  - name: x
    containerPort: 80
    protocol: TCP
`,
    ),
  );
  expect(applied.spec).toEqual({
    foo: 'foo1',
    cronSpec: '* * * * */5',
    ports: [{ name: 'x', containerPort: 80, protocol: 'TCP' }],
  });
});

test('conformance: fieldval-cr-no-schema: without a restricting schema unknown fields are kept', async () => {
  const group = await noxu(preserving);
  const applied = await applyYaml(group, yaml(group, 'spec:\n  foo: foo1\n  cronSpec: "* * * * */5"\n  ports: []\n'));
  expect(applied.spec).toEqual({ foo: 'foo1', cronSpec: '* * * * */5', ports: [] });
});

test('conformance: fieldval-cr-unknown: a field that the schema does not name is refused', async () => {
  const group = await noxu(structural);
  const refused = await refusal(applyYaml(group, yaml(group, 'unknownField: unknown\nspec:\n  foo: foo1\n')));
  expect(refused.message).toContain('.unknownField: field not declared in schema');
});

test('conformance: fieldval-cr-metadata: unknown metadata is refused in the object and in an embedded one', async () => {
  const group = await noxu(embedding);
  const template = (metadata: string): string => `spec:
  template:
    apiVersion: foo/v1
    kind: Sub
    metadata:
      name: subobject${metadata}
    spec:
      field: x
`;
  const own = await refusal(applyYaml(group, yaml(group, template(''), '\n  unknownMeta: foo')));
  expect(own.message).toContain('.metadata.unknownMeta: field not declared in schema');
  const embedded = await refusal(applyYaml(group, yaml(group, template('\n      unknownSubMeta: foo'))));
  expect(embedded.message).toContain('.spec.template.metadata.unknownSubMeta: field not declared in schema');
});

test('conformance: fieldval-cr-duplicate: a duplicate key is refused, whatever the schema lets through', async () => {
  for (const schema of [structural, preserving]) {
    const group = await noxu(schema);
    const body = yaml(group, 'spec:\n  cronSpec: "* * * * */5"\n  ports: []\n  foo: foo1\n  foo: foo2\n');
    const refused = await refusal(applyYaml(group, body));
    expect(refused.message).toContain('line 11: key "foo" already set in map');
  }
});
