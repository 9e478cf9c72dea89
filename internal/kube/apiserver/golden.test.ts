/**
 * Objects with every field that there is (`golden-corrections.testing.ts` says what they need to be valid), through the API as JSON and as protobuf: what
 * was sent is read back, with defaults and what the server sets.
 */
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeSigningRequest } from '../../pki/certificates.ts';
import { builtinKinds, builtinSchemas } from '../api/builtin.ts';
import type { KindInfo } from '../api/kinds.ts';
import { cloneJson, type Json, type JsonObject } from '../machinery/json.ts';
import { GoldenObject, unusedRows } from './golden-objects.testing.ts';
import { decodeProtobuf, protobufMediaType } from './protobuf/decode.ts';
import { encodeProtobuf } from './protobuf/encode.ts';
import { admin, startTestServer, type TestServer } from './testing.ts';
import { lost } from '../machinery/lost.testing.ts';

const directory = '../shared/data/kubernetes-1.36/golden';
const have = existsSync(directory);
const fileOf = (kind: KindInfo): string =>
  `${directory}/${kind.group === '' ? 'core' : kind.group}.${kind.version}.${kind.kind}.json`;
const golden = (kind: KindInfo): JsonObject => JSON.parse(readFileSync(fileOf(kind), 'utf8')) as JsonObject;

/** What comes back other than it was sent, each with the reason. */
const setByServer: readonly (readonly [path: RegExp, why: string])[] = [
  [
    /^\w+\.metadata\.(uid|creationTimestamp|generation|selfLink|deletionTimestamp|deletionGracePeriodSeconds)$/,
    'of the system',
  ],
  [/^\w+\.metadata\.managedFields\b/, 'who manages is found, not told'],
  [/^Secret\.stringData\./, 'only written: it becomes data'],
  [/^CertificateSigningRequest\.spec\.(username|uid|groups|extra)\b/, 'who asks is known, not told'],
];

/** What an answer as protobuf has not. */
const notInProtobuf: readonly (readonly [path: RegExp, why: string])[] = [
  [/^StatefulSet\.spec\.volumeClaimTemplates\.0\.(apiVersion|kind)$/, 'an object within another has no kind there'],
  [/^Pod\.status\.conditions\.0\.lastProbeTime$/, 'a time that is null is a time that is not there'],
];

let server: TestServer;
beforeAll(async () => {
  if (!have) return;
  server = await startTestServer();
  for (const [path, body] of [
    ['/api/v1/namespaces', { metadata: { name: 'golden' } }],
    ['/api/v1/namespaces/golden/serviceaccounts', { metadata: { name: 'default' } }],
    [
      '/apis/scheduling.k8s.io/v1/priorityclasses',
      { metadata: { name: 'golden' }, value: 25, preemptionPolicy: 'Never' },
    ],
    [
      '/apis/node.k8s.io/v1/runtimeclasses',
      { metadata: { name: 'golden' }, handler: 'golden', overhead: { podFixed: { overheadKey: '0' } } },
    ],
  ] as const)
    expect((await server.call('POST', path, body)).status).toBe(201);
});
afterAll(() => server?.close());

const unexplained = (paths: readonly string[]): string[] =>
  paths.filter((path) => !setByServer.some(([pattern]) => pattern.test(path)));

const collectionOf = (kind: KindInfo): string =>
  `${kind.group === '' ? '/api' : `/apis/${kind.group}`}/${kind.version}${kind.namespaced ? '/namespaces/golden' : ''}/${kind.plural}`;

async function rowsOf(kind: KindInfo): Promise<Record<string, Json>> {
  if (kind.kind !== 'CertificateSigningRequest') return {};
  const { request } = await makeSigningRequest('golden');
  const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${Buffer.from(request).toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return {
    'CertificateSigningRequest.spec.request': base64(pem),
    'CertificateSigningRequest.status.certificate': base64(server.pki.serverCa.cert),
  };
}

const forms = ['json', 'protobuf'] as const;
type Form = (typeof forms)[number];

/** The answer to a body in a form; fails when it is refused. */
async function send(form: Form, method: string, path: string, body: JsonObject, schema: string): Promise<JsonObject> {
  const answer =
    form === 'json'
      ? await server.call(method, `${path}?fieldValidation=Strict`, body)
      : await server.call(method, path, encodeProtobuf(body, schema, builtinSchemas), {
          headers: { 'content-type': protobufMediaType },
        });
  if (answer.status >= 300) throw new Error(`${method} ${path} as ${form}: ${answer.status} ${answer.body.message}`);
  return answer.body as JsonObject;
}

/** Whether the object of a kind reads the same as JSON and as protobuf. */
async function readBoth(kind: KindInfo, path: string): Promise<void> {
  const binary = await server.api.fetch(new Request(`http://x${path}`, { headers: { accept: protobufMediaType } }), {
    identity: admin,
  });
  const { body: now } = await server.call('GET', path);
  const decoded = decodeProtobuf(new Uint8Array(await binary.arrayBuffer()), kind.schema, builtinSchemas);
  const less = lost(now, decoded, kind.kind);
  expect(less.filter((at) => !notInProtobuf.some(([pattern]) => pattern.test(at)))).toEqual([]);
  expect(lost(decoded, now, kind.kind)).toEqual([]);
}

/** Creates, reads, gives a status, deletes. */
async function live(kind: KindInfo, object: JsonObject, form: Form, withStatus: boolean): Promise<void> {
  const name = kind.kind;
  const metadata = object.metadata as JsonObject;
  metadata.name = name === 'IPAddress' ? `10.43.7.${form === 'json' ? 8 : 9}` : `golden-${form}`;
  // On create the server wants to give it itself.
  delete metadata.resourceVersion;
  if (!kind.namespaced) delete metadata.namespace;
  const path = `${collectionOf(kind)}/${metadata.name}`;
  const { status, ...rest } = object;
  const hasStatus = kind.subresources.status !== undefined && status !== undefined;
  const created = await send(form, 'POST', collectionOf(kind), object, kind.schema);
  expect({ form, lost: unexplained(lost(hasStatus ? rest : object, created, name)) }).toEqual({ form, lost: [] });
  const { body: read } = await server.call('GET', path);
  expect(read).toEqual(created);
  if (hasStatus && withStatus) {
    const put = await send(form, 'PUT', `${path}/status`, { ...created, status: status! }, kind.schema);
    expect({ form, lost: unexplained(lost(status!, put.status, `${name}.status`)) }).toEqual({ form, lost: [] });
  }
  await readBoth(kind, path);
  const merge = { headers: { 'content-type': 'application/merge-patch+json' } };
  await server.call('PATCH', path, { metadata: { finalizers: null } }, merge);
  await server.call('DELETE', `${path}?gracePeriodSeconds=0&propagationPolicy=Background`);
}

const withGolden = builtinKinds.all.filter((kind) => existsSync(fileOf(kind)));
const stored = withGolden.filter((kind) => !kind.virtual && kind.verbs.includes('create'));
const reviews = withGolden.filter((kind) => kind.virtual && kind.kind.endsWith('Review'));
const row = (kind: KindInfo) => [`${kind.group}/${kind.version}`, kind.kind, kind] as const;

describe.skipIf(!have)('golden objects through the API (skipped without the reference data beside the tree)', () => {
  test.each(stored.map(row))(
    '%s %s: every field that is sent comes back, of JSON and of protobuf',
    async (_, name, kind) => {
      const made = new GoldenObject(golden(kind), name, await rowsOf(kind));
      for (let round = 0; made.unsent().length > 0; round++) {
        if (round === 50) expect(made.unsent()).toEqual([]);
        const object = made.next();
        for (const form of forms) await live(kind, cloneJson(object), form, round === 0);
      }
    },
  );

  test.each(reviews.map(row))(
    '%s %s: what is asked comes back with the answer, of JSON and of protobuf',
    async (_, name, kind) => {
      const made = new GoldenObject(golden(kind), name);
      const asked = (): string[] => made.unsent().filter((path) => !path.startsWith(`${name}.status.`));
      for (let round = 0; asked().length > 0; round++) {
        if (round === 50) expect(asked()).toEqual([]);
        const { status: _answer, ...object } = made.next();
        for (const form of forms) {
          const answer = await send(form, 'POST', collectionOf(kind), object, kind.schema);
          expect({ form, lost: unexplained(lost(object, answer, name)) }).toEqual({ form, lost: [] });
          expect(answer.status).toBeDefined();
        }
      }
    },
  );

  test('every kind that is served is among them, but for those with a reason', () => {
    const without = builtinKinds.all.filter((kind) => !stored.includes(kind) && !reviews.includes(kind));
    expect(without.map((kind) => kind.kind).sort()).toEqual([
      // Go packages other than k8s.io/api have no golden objects.
      'APIService',
      // Of a pod: the test below.
      'Binding',
      // Only read; of what the server sees, not of what it is told.
      'ComponentStatus',
      'CustomResourceDefinition',
    ]);
  });

  describe.each(forms)('bodies of subresources, as %s', (form) => {
    const name = `sub-${form}`;
    const pod = `/api/v1/namespaces/golden/pods/${name}`;
    const read = (file: string): JsonObject => JSON.parse(readFileSync(`${directory}/${file}.json`, 'utf8'));
    let uid: string;
    let resourceVersion: string;
    beforeAll(async () => {
      const spec = { containers: [{ name: 'c', image: 'i' }] };
      const made = await server.call('POST', '/api/v1/namespaces/golden/pods', { metadata: { name }, spec });
      ({ uid, resourceVersion } = made.body.metadata);
    });
    const corrected = (file: string, kind: string, own: Record<string, Json>): JsonObject =>
      new GoldenObject(read(file), kind, { [`${kind}.metadata.name`]: name, ...own }).next();

    test('Eviction: its options count', async () => {
      const own = { 'Eviction.deleteOptions.preconditions': { uid, resourceVersion } };
      const eviction = corrected('policy.v1.Eviction', 'Eviction', own);
      await send(form, 'POST', `${pod}/eviction`, eviction, 'io.k8s.api.policy.v1.Eviction');
      const after = await server.call('GET', pod);
      // A dry run: the pod is as it was.
      expect(after.body.metadata.resourceVersion).toBe(resourceVersion);
      (eviction.deleteOptions as JsonObject).preconditions = { uid: 'other' };
      await expect(send(form, 'POST', `${pod}/eviction`, eviction, 'io.k8s.api.policy.v1.Eviction')).rejects.toThrow(
        '409',
      );
    });

    test('TokenRequest: what is asked comes back', async () => {
      const account = await server.call('GET', '/api/v1/namespaces/golden/serviceaccounts/default');
      const own = {
        'TokenRequest.metadata.uid': account.body.metadata.uid,
        'TokenRequest.spec.expirationSeconds': 700,
        'TokenRequest.spec.boundObjectRef': { kind: 'Pod', apiVersion: 'v1', name, uid },
        'TokenRequest.metadata.name': 'default',
      };
      const request = corrected('authentication.k8s.io.v1.TokenRequest', 'TokenRequest', own);
      const path = '/api/v1/namespaces/golden/serviceaccounts/default/token';
      const answer = await send(form, 'POST', path, request, 'io.k8s.api.authentication.v1.TokenRequest');
      expect(lost(request.spec!, answer.spec, 'spec')).toEqual([]);
      expect((answer.status as JsonObject).token).toMatch(/^ey/);
    });

    test('Scale: the parent has its replicas', async () => {
      const spec = {
        selector: { matchLabels: { a: 'b' } },
        template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } },
      };
      const sets = '/apis/apps/v1/namespaces/golden/replicasets';
      await server.call('POST', sets, { metadata: { name }, spec: { replicas: 5, ...spec } });
      const scale = corrected('autoscaling.v1.Scale', 'Scale', {});
      for (const field of ['uid', 'resourceVersion']) delete (scale.metadata as JsonObject)[field];
      const answer = await send(form, 'PUT', `${sets}/${name}/scale`, scale, 'io.k8s.api.autoscaling.v1.Scale');
      expect(answer).toMatchObject({ spec: { replicas: 1 }, status: { selector: 'a=b' } });
      expect((await server.call('GET', `${sets}/${name}`)).body.spec.replicas).toBe(1);
    });

    test('Binding: the pod has its node and what is noted', async () => {
      const own = { 'Binding.target.kind': 'Node', 'Binding.metadata.uid': uid };
      const binding = corrected('core.v1.Binding', 'Binding', own);
      delete (binding.metadata as JsonObject).resourceVersion;
      await send(form, 'POST', `${pod}/binding`, binding, 'io.k8s.api.core.v1.Binding');
      expect((await server.call('GET', pod)).body).toMatchObject({
        metadata: { annotations: { annotationsKey: 'annotationsValue' }, labels: { labelsKey: 'labelsValue' } },
        spec: { nodeName: 'name-value' },
      });
    });
  });

  test('every row of the corrections is about something', () => {
    expect(unusedRows()).toEqual([]);
  });
});
