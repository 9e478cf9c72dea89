/** What OpenAPI says of custom resources, and what kubectl makes of it: client-side validation and `explain`. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Any, Cluster, eventually, unique } from './harness.ts';
import { Kubectl } from './kubectl.ts';

let cluster: Cluster;
let kubectl: Kubectl;
beforeAll(async () => {
  cluster = await Cluster.start();
  kubectl = new Kubectl(cluster);
});
afterAll(async () => {
  kubectl.close();
  await cluster.close();
});

const apiextensions = 'apiextensions.k8s.io/v1';
const definitions = () => cluster.resource(apiextensions, 'customresourcedefinitions');

interface Made {
  readonly name: string;
  readonly group: string;
  readonly plural: string;
  readonly kind: string;
}

interface Version {
  readonly name: string;
  readonly schema: Any;
}

async function define(versions: readonly Version[], of: { group?: string; kind?: string } = {}): Promise<Made> {
  const word = unique('crd').replace('-', '');
  const group = of.group ?? `${word}.example.com`;
  const kind = of.kind ?? `E2eTest${word}`;
  const plural = `${kind.toLowerCase()}s`;
  const name = `${plural}.${group}`;
  await definitions().create({
    apiVersion: apiextensions,
    kind: 'CustomResourceDefinition',
    metadata: { name },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural, singular: kind.toLowerCase(), kind, listKind: `${kind}List` },
      versions: versions.map((version, index) => ({
        name: version.name,
        served: true,
        storage: index === 0,
        schema: { openAPIV3Schema: version.schema },
      })),
    },
  });
  for (const version of versions) {
    const path = `/apis/${group}/${version.name}/${plural}`;
    await eventually('served', async () => (await cluster.call('GET', path)).status === 200);
  }
  return { name, group, plural, kind };
}

const waldo = (word: string): Any => ({
  type: 'object',
  description: `${word} CRD for Testing`,
  properties: {
    spec: {
      type: 'object',
      description: `Specification of ${word}`,
      properties: {
        dummy: { type: 'string', description: 'Dummy property.' },
        bars: {
          type: 'array',
          description: 'List of Bars and their specs.',
          items: {
            type: 'object',
            required: ['name'],
            properties: {
              name: { type: 'string', description: 'Name of Bar.' },
              age: { type: 'string', description: 'Age of Bar.' },
              feeling: { type: 'string', enum: ['Great', 'Down'], description: 'How Bar feels.' },
              bazs: { type: 'array', items: { type: 'string' }, description: 'List of Bazs.' },
            },
          },
        },
      },
    },
    status: {
      type: 'object',
      description: `Status of ${word}`,
      properties: { available: { type: 'boolean' } },
    },
  },
});

/** `com.example.crd1.v1.Kind`, as definitions of the published documents are named. */
const definitionName = ({ group, kind }: Made, version: string): string =>
  [...group.split('.').toReversed(), version, kind].join('.');

async function published(one: Made, version: string): Promise<{ v2: Any; v3: Any }> {
  const name = definitionName(one, version);
  const v2 = (await cluster.must('GET', '/openapi/v2')).definitions[name];
  const v3 = await cluster.call('GET', `/openapi/v3/apis/${one.group}/${version}`);
  return { v2, v3: v3.status === 200 ? v3.body.components.schemas[name] : undefined };
}

const metadataRef = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta';

/** Waits until both documents have the schema of `version`, with what belongs to every object. */
async function expectPublished(one: Made, version: string, schema: Any): Promise<void> {
  const gvk = { group: one.group, version, kind: one.kind };
  const both = await eventually(`${one.kind} ${version} in OpenAPI`, async () => {
    const now = await published(one, version);
    return now.v2 !== undefined && now.v3 !== undefined && now;
  });
  for (const [document, { properties, ...rest }] of Object.entries(both)) {
    // In v2 a root that preserves says nothing else: kubectl would refuse what is not named.
    if (document === 'v2' && schema['x-kubernetes-preserve-unknown-fields'] === true) {
      expect({ ...rest, properties }).toEqual({ type: 'object', 'x-kubernetes-group-version-kind': [gvk] });
      continue;
    }
    const { properties: wanted = {}, ...own } = schema;
    expect(rest, document).toEqual({ ...own, 'x-kubernetes-group-version-kind': [gvk] });
    const { apiVersion, kind, metadata, ...fields } = properties;
    expect(fields, document).toEqual(wanted);
    expect([apiVersion.type, kind.type]).toEqual(['string', 'string']);
    expect(apiVersion.description).toContain('APIVersion defines the versioned schema');
    const ref = document === 'v2' ? `#/definitions/${metadataRef}` : `#/components/schemas/${metadataRef}`;
    expect(JSON.stringify(metadata)).toContain(ref);
  }
}

const expectUnpublished = (one: Made, version: string): Promise<unknown> =>
  eventually(`${one.kind} ${version} is in OpenAPI no more`, async () => {
    const { v2, v3 } = await published(one, version);
    return v2 === undefined && v3 === undefined;
  });

const object = ({ group, kind }: Made, fields: Any, version = 'v1'): string =>
  JSON.stringify({ apiVersion: `${group}/${version}`, kind, metadata: { name: 'test-cr' }, ...fields });

/** create and apply accept each of `valid`. */
async function accepts(one: Made, namespace: string, valid: readonly Any[]): Promise<void> {
  for (const fields of valid) {
    for (const verb of ['create', 'apply']) {
      await kubectl.must(['-n', namespace, verb, '-f', '-'], object(one, fields));
      await cluster.resource(`${one.group}/v1`, one.plural, namespace).delete('test-cr');
    }
  }
}

test('conformance: crdoapi-schema: kubectl takes what fits the schema, refuses the rest and explains it', async () => {
  const schema = waldo('Foo');
  const one = await define([{ name: 'v1', schema }]);
  await expectPublished(one, 'v1', schema);
  const namespace = await cluster.namespace();
  await accepts(one, namespace, [
    { spec: { bars: [{ name: 'test-bar' }], dummy: 'test' } },
    { spec: { bars: [{ name: 'test-bar', feeling: 'Great' }] } },
  ]);
  const refused: [Any, RegExp][] = [
    [{ spec: { bars: [{ name: 'test-bar' }], foo: 'unknown' } }, /unknown field "spec\.foo"/],
    [{ spec: { bars: [{ age: '10' }] } }, /missing required field "name"|spec\.bars\[0\]\.name: Required value/],
    [{ spec: { bars: [{ name: 'b', feeling: 'NonExistentValue' }] } }, /Unsupported value: "NonExistentValue"/],
  ];
  for (const [fields, message] of refused)
    for (const verb of ['create', 'apply'])
      expect(await kubectl.refused(['-n', namespace, verb, '-f', '-'], object(one, fields))).toMatch(message);

  const explained = await kubectl.must(['explain', one.plural]);
  expect(explained).toMatch(/DESCRIPTION:\s+Foo CRD for Testing/);
  expect(explained).toMatch(
    /FIELDS:[\s\S]*apiVersion\s+<string>[\s\S]*metadata\s+<(ObjectMeta|Object)>[\s\S]*spec\s+<Object>\s+Specification of Foo/,
  );
  expect(await kubectl.must(['explain', `${one.plural}.metadata`])).toMatch(
    /(?:DESCRIPTION:|FIELDS:)[\s\S]*creationTimestamp\s+<string>[\s\S]*CreationTimestamp is a timestamp/,
  );
  expect(await kubectl.must(['explain', `${one.plural}.spec`])).toMatch(
    /Specification of Foo[\s\S]*FIELDS:[\s\S]*bars\s+<\[\]Object>\s+List of Bars and their specs/,
  );
  expect(await kubectl.must(['explain', `${one.plural}.spec.bars`])).toMatch(
    /bars <\[\]Object>[\s\S]*List of Bars and their specs[\s\S]*FIELDS:[\s\S]*bazs\s+<\[\]string>[\s\S]*name\s+<string>/,
  );
  expect(await kubectl.must(['explain', one.plural, '--recursive'])).toMatch(
    /spec\s+<Object>\s+bars\s+<\[\]Object>[\s\S]*bazs\s+<\[\]string>/,
  );
  expect(await kubectl.refused(['explain', `${one.plural}.spec.bars2`])).toContain('field "bars2" does not exist');
});

const preserve = { 'x-kubernetes-preserve-unknown-fields': true };

test('conformance: crdoapi-no-schema: a root that only preserves takes any property; explain has a description', async () => {
  const schema = { type: 'object', ...preserve };
  const one = await define([{ name: 'v1', schema }]);
  await expectPublished(one, 'v1', schema);
  await accepts(one, await cluster.namespace(), [{ a: { b: [{ c: 'd' }] } }]);
  expect(await kubectl.must(['explain', one.plural])).toMatch(/DESCRIPTION:\s+<empty>/);
});

test('conformance: crdoapi-preserve-root: unknown properties at the root are taken; explain tells the kind', async () => {
  const schema = { ...waldo('Waldo'), ...preserve };
  const one = await define([{ name: 'v1', schema }]);
  await expectPublished(one, 'v1', schema);
  await accepts(one, await cluster.namespace(), [{ a: { b: [{ c: 'd' }] }, spec: { dummy: 'x' } }]);
  expect(await kubectl.must(['explain', one.plural])).toMatch(new RegExp(`KIND:\\s+${one.kind}`));
});

test('conformance: crdoapi-preserve-embedded: unknown properties of a nested object are taken; explain describes it', async () => {
  const nested = (description: string): Any => ({ description, type: 'object', ...preserve });
  const schema = {
    description: 'preserve-unknown-properties in nested field for Testing',
    type: 'object',
    properties: { spec: nested('Specification of Waldo'), status: nested('Status of Waldo') },
  };
  const one = await define([{ name: 'v1', schema }]);
  await expectPublished(one, 'v1', schema);
  await accepts(one, await cluster.namespace(), [{ spec: { a: null, b: [{ c: 'd' }] } }]);
  const explained = await kubectl.must(['explain', one.plural]);
  expect(explained).toMatch(/preserve-unknown-properties in nested field for Testing/);
  expect(explained).toMatch(/spec\s+<(Object|map\[string\]\S*|)>\s+Specification of Waldo/);
});

test('an embedded object is published with the fields of objects; flags that are false are left out', async () => {
  const text = { type: 'string' };
  const spec = {
    type: 'object',
    'x-kubernetes-embedded-resource': true,
    properties: { field: { ...text, 'x-kubernetes-embedded-resource': false } },
  };
  const one = await define([{ name: 'v1', schema: { type: 'object', properties: { spec } } }]);
  const { v2, v3 } = await eventually('published', async () => {
    const both = await published(one, 'v1');
    return both.v2 && both.v3 && both;
  });
  for (const document of [v2, v3]) {
    const { properties, ...rest } = document.properties.spec;
    expect(rest).toEqual({
      type: 'object',
      'x-kubernetes-embedded-resource': true,
      required: ['kind', 'apiVersion'],
    });
    expect(Object.keys(properties).sort()).toEqual(['apiVersion', 'field', 'kind', 'metadata']);
    expect(properties.field).toEqual(text);
    expect(properties.metadata.description).toContain("Standard object's metadata");
  }
});

test('conformance: crdoapi-multi-group: kinds of two groups are published', async () => {
  const schemas = [waldo('Foo'), waldo('Waldo')];
  for (const schema of schemas) await expectPublished(await define([{ name: 'v1', schema }]), 'v1', schema);
});

test('conformance: crdoapi-multi-version: two versions of a kind, and kinds of one group in different versions, are published', async () => {
  const foo = waldo('Foo');
  const other = waldo('Waldo');
  const both = await define([
    { name: 'v2', schema: foo },
    { name: 'v3', schema: other },
  ]);
  await expectPublished(both, 'v2', foo);
  await expectPublished(both, 'v3', other);
  const group = `${unique('common').replace('-', '')}.example.com`;
  const one = await define([{ name: 'v4', schema: foo }], { group });
  const two = await define([{ name: 'v5', schema: other }], { group });
  await expectPublished(one, 'v4', foo);
  await expectPublished(two, 'v5', other);
});

test('conformance: crdoapi-multi-kind: two kinds of one group and version are published', async () => {
  const group = `${unique('common').replace('-', '')}.example.com`;
  for (const schema of [waldo('Foo'), waldo('Waldo')])
    await expectPublished(await define([{ name: 'v6', schema }], { group }), 'v6', schema);
});

test('conformance: crdoapi-rename-version: a renamed version is published under its new name alone, its sibling stays', async () => {
  const foo = waldo('Foo');
  const one = await define([
    { name: 'v2', schema: foo },
    { name: 'v3', schema: foo },
  ]);
  await expectPublished(one, 'v3', foo);
  await definitions().patch(one.name, 'json', [
    { op: 'test', path: '/spec/versions/1/name', value: 'v3' },
    { op: 'replace', path: '/spec/versions/1/name', value: 'v4' },
  ]);
  await expectPublished(one, 'v4', foo);
  await expectUnpublished(one, 'v3');
  await expectPublished(one, 'v2', foo);
});

test('conformance: crdoapi-unserve-version: a version that is not served is published no more, its sibling stays', async () => {
  const foo = waldo('Foo');
  const one = await define([
    { name: 'v5', schema: foo },
    { name: 'v6alpha1', schema: foo },
  ]);
  await expectPublished(one, 'v6alpha1', foo);
  await definitions().patch(one.name, 'json', [{ op: 'replace', path: '/spec/versions/1/served', value: false }]);
  await expectUnpublished(one, 'v6alpha1');
  await expectPublished(one, 'v5', foo);
});
