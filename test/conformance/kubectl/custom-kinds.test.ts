/** Unmodified kubectl with a kind of its user's: explained, validated, printed, scaled, waited for, applied by two managers. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Any, Cluster, eventually } from '../api/harness.ts';
import { Kubectl } from '../api/kubectl.ts';

let cluster: Cluster;
let kubectl: Kubectl;
let namespace: string;
beforeAll(async () => {
  cluster = await Cluster.start();
  kubectl = new Kubectl(cluster);
  namespace = await cluster.namespace();
  await kubectl.must(['apply', '-f', '-'], JSON.stringify(definition));
  await kubectl.must(['wait', '--for=condition=Established', 'crd/webs.example.com', '--timeout=20s']);
});
afterAll(async () => {
  kubectl.close();
  await cluster.close();
});

const definition: Any = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'webs.example.com' },
  spec: {
    group: 'example.com',
    scope: 'Namespaced',
    names: {
      plural: 'webs',
      singular: 'web',
      kind: 'Web',
      listKind: 'WebList',
      shortNames: ['w'],
      categories: ['all'],
    },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        subresources: {
          status: {},
          scale: {
            specReplicasPath: '.spec.replicas',
            statusReplicasPath: '.status.replicas',
            labelSelectorPath: '.status.selector',
          },
        },
        additionalPrinterColumns: [
          { name: 'Replicas', type: 'integer', jsonPath: '.spec.replicas', description: 'wanted' },
          { name: 'Phase', type: 'string', jsonPath: '.status.phase' },
          { name: 'Image', type: 'string', jsonPath: '.spec.image', priority: 1 },
          { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
        ],
        schema: {
          openAPIV3Schema: {
            type: 'object',
            description: 'A web of pages.',
            properties: {
              spec: {
                type: 'object',
                description: 'What is wanted.',
                required: ['image'],
                properties: {
                  replicas: { type: 'integer', minimum: 0, default: 1, description: 'How many there are.' },
                  image: { type: 'string' },
                  ports: {
                    type: 'array',
                    'x-kubernetes-list-type': 'map',
                    'x-kubernetes-list-map-keys': ['name'],
                    items: {
                      type: 'object',
                      required: ['name'],
                      properties: { name: { type: 'string' }, port: { type: 'integer' } },
                    },
                  },
                },
                'x-kubernetes-validations': [
                  { rule: "self.image != 'bad'", message: 'image is bad' },
                  { rule: 'self.replicas <= 9', message: 'no more than 9' },
                ],
              },
              status: {
                type: 'object',
                properties: {
                  phase: { type: 'string' },
                  replicas: { type: 'integer' },
                  selector: { type: 'string' },
                  conditions: {
                    type: 'array',
                    items: { type: 'object', properties: { type: { type: 'string' }, status: { type: 'string' } } },
                  },
                },
              },
            },
          },
        },
      },
    ],
  },
};

const web = (name: string, spec: Any): string =>
  JSON.stringify({ apiVersion: 'example.com/v1', kind: 'Web', metadata: { name }, spec });
const own = (...args: string[]): string[] => ['-n', namespace, ...args];

describe('kubectl and a custom kind', () => {
  test('api-resources and explain, recursively and of a field', async () => {
    expect(await kubectl.must(['api-resources', '--api-group=example.com'])).toMatch(
      /webs +w +example\.com\/v1 +true +Web/,
    );
    expect(await kubectl.must(['explain', 'web'])).toMatch(/A web of pages\.[\s\S]*spec\s+<Object>/);
    expect(await kubectl.must(['explain', 'w.spec.replicas'])).toMatch(/replicas <integer>[\s\S]*How many there are/);
    expect(await kubectl.must(['explain', 'webs', '--recursive'])).toMatch(
      /ports\s+<\[\]Object>[\s\S]*port\s+<integer>/,
    );
  });

  test('unknown and duplicate fields are refused, warned of or let through, as --validate says', async () => {
    const unknown = web('unknown', { image: 'a', colour: 'red' });
    const apply = (how: string, input: string) => kubectl.run(own('apply', `--validate=${how}`, '-f', '-'), input);
    const strict = await apply('strict', unknown);
    expect(strict.code).toBe(1);
    expect(strict.stderr).toContain('strict decoding error: unknown field "spec.colour"');
    const twice = web('twice', { image: 'a' }).replace('"image":"a"', '"image":"a","image":"b"');
    // What kubectl itself reads has each key once: the server sees duplicates where they are sent as they are.
    const raw = await cluster.call(
      'POST',
      `/apis/example.com/v1/namespaces/${namespace}/webs?fieldValidation=Strict`,
      twice,
    );
    expect(raw.body.message).toContain('duplicate field "spec.image"');
    const warned = await apply('warn', unknown);
    expect(warned.code).toBe(0);
    expect(warned.stderr).toContain('Warning: unknown field "spec.colour"');
    expect((await apply('ignore', unknown)).stderr).toBe('');
    const ruled = await apply('strict', web('ruled', { image: 'bad', replicas: 10 }));
    expect(ruled.stderr).toContain('image is bad');
    expect(ruled.stderr).toContain('no more than 9');
    expect((await apply('strict', web('missing', {}))).stderr).toContain('spec.image: Required value');
    await kubectl.must(own('delete', 'web', 'unknown'));
  });

  test('columns of the definition, wide ones too; scale, wait for a condition and a field', async () => {
    await kubectl.must(own('apply', '-f', '-'), web('one', { image: 'a' }));
    expect(await kubectl.must(own('get', 'w'))).toMatch(/^NAME +REPLICAS +PHASE +AGE\none +1 +\d+s\n$/);
    expect(await kubectl.must(own('get', 'web', 'one', '-o', 'wide'))).toMatch(/^NAME +REPLICAS +PHASE +IMAGE +AGE\n/);
    expect(await kubectl.must(own('get', 'all'))).toContain('web.example.com/one');
    await kubectl.must(own('scale', 'web/one', '--replicas=3'));
    expect(await kubectl.must(own('get', 'w', 'one', '-o', 'jsonpath={.spec.replicas}'))).toBe('3');
    expect((await kubectl.run(own('scale', 'web/one', '--current-replicas=7', '--replicas=1'))).code).toBe(1);
    const waiting = kubectl.run(own('wait', '--for=condition=Ready', 'web/one', '--timeout=20s'));
    const field = kubectl.run(own('wait', '--for=jsonpath={.status.phase}=Up', 'web/one', '--timeout=20s'));
    const webs = cluster.resource('example.com/v1', 'webs', namespace);
    const status = { phase: 'Up', replicas: 3, selector: 'a=b', conditions: [{ type: 'Ready', status: 'True' }] };
    await webs.patch('one', 'merge', { status }, 'status');
    expect((await waiting).stdout).toBe('web.example.com/one condition met\n');
    expect((await field).stdout).toBe('web.example.com/one condition met\n');
    expect(await kubectl.must(own('get', 'w'))).toMatch(/one +3 +Up /);
    expect(await kubectl.must(['get', '--raw', `${webs.path('one', 'scale')}`])).toContain('"selector":"a=b"');
    expect(await kubectl.must(own('describe', 'web', 'one'))).toMatch(/Spec:\s+Image:\s+a\s+Replicas:\s+3/);
  });

  test('server-side apply: lists are merged by key, the owner of a field is named in a conflict, force takes it', async () => {
    const apply = (manager: string, ports: Any[], ...more: string[]) =>
      kubectl.run(
        own('apply', '--server-side', `--field-manager=${manager}`, ...more, '-f', '-'),
        web('applied', { image: 'a', ports }),
      );
    expect((await apply('first', [{ name: 'http', port: 80 }])).code).toBe(0);
    expect((await apply('second', [{ name: 'https', port: 443 }])).code).toBe(0);
    const conflict = await apply('second', [
      { name: 'http', port: 8080 },
      { name: 'https', port: 443 },
    ]);
    expect(conflict.code).toBe(1);
    expect(conflict.stderr).toContain('conflict with "first": .spec.ports[name="http"].port');
    const forced = [{ name: 'http', port: 8080 }];
    expect((await apply('second', forced, '--force-conflicts')).code).toBe(0);
    const ports = await kubectl.must(own('get', 'web', 'applied', '-o', 'jsonpath={.spec.ports}'));
    expect(JSON.parse(ports)).toEqual([{ name: 'http', port: 8080 }]);
    const shown = await kubectl.must(own('get', 'web', 'applied', '-o', 'yaml', '--show-managed-fields'));
    expect(shown).toContain('k:{"name":"http"}');
    const unknown = await kubectl.run(
      own('apply', '--server-side', '-f', '-'),
      web('applied', { image: 'a', colour: 'red' }),
    );
    expect(unknown.stderr).toContain('.spec.colour: field not declared in schema');
  });

  test('diff, edit with an editor, patch in two types; a strategic patch is refused', async () => {
    const changed = web('one', { image: 'b' });
    const diff = await kubectl.run(own('diff', '-f', '-'), changed);
    expect(diff.code).toBe(1);
    expect(diff.stdout).toMatch(/- {2}image: a\n\+ {2}image: b/);
    const edited = await kubectl.run(own('edit', 'web', 'one'), '', { EDITOR: kubectl.editor('s/image: a/image: c/') });
    expect(edited.stdout).toContain('web.example.com/one edited');
    await kubectl.must(own('patch', 'web', 'one', '--type=merge', '-p', '{"spec":{"replicas":4}}'));
    const operations =
      '[{"op":"test","path":"/spec/replicas","value":4},{"op":"replace","path":"/spec/replicas","value":5}]';
    await kubectl.must(own('patch', 'web', 'one', '--type=json', '-p', operations));
    const spec = JSON.parse(await kubectl.must(own('get', 'web', 'one', '-o', 'jsonpath={.spec}')));
    expect(spec).toEqual({ image: 'c', replicas: 5 });
    expect(await kubectl.refused(own('patch', 'web', 'one', '-p', '{}'))).toMatch(
      /application\/strategic-merge-patch\+json|unsupported|not supported/i,
    );
  });

  test('label, annotate, select, sort, watch, delete all; the definition goes with its objects', async () => {
    await kubectl.must(own('apply', '-f', '-'), web('two', { image: 'z' }));
    await kubectl.must(own('label', 'w', 'two', 'tier=back'));
    await kubectl.must(own('annotate', 'w', 'two', 'note=x'));
    expect(await kubectl.must(own('get', 'w', '-l', 'tier=back', '-o', 'name'))).toBe('web.example.com/two\n');
    expect(await kubectl.must(own('get', 'w', '--sort-by=.spec.image', '-o', 'custom-columns=N:.metadata.name'))).toBe(
      'N\napplied\none\ntwo\n',
    );
    const watching = kubectl.run(own('get', 'w', 'two', '-w', '--request-timeout=3s'));
    await eventually('the watch sees a change', async () => {
      await kubectl.must(own('label', 'w', 'two', `at=${Date.now()}`, '--overwrite'));
      return true;
    });
    expect((await watching).stdout).toMatch(/two/);
    await kubectl.must(own('delete', 'w', '--all'));
    expect((await kubectl.run(own('get', 'w'))).stderr).toContain(`No resources found in ${namespace} namespace.`);
    await kubectl.must(own('apply', '-f', '-'), web('last', { image: 'z' }));
    await kubectl.must(['delete', 'crd', 'webs.example.com', '--timeout=20s']);
    expect(await kubectl.refused(own('get', 'webs'))).toMatch(
      /the server (doesn't have a resource type "webs"|could not find the requested resource)/,
    );
  });
});
