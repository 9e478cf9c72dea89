/**
 * Seeded fuzz of what only a plausible request reaches: stored objects with a part changed, continue tokens, selectors, and CEL in definitions, webhook
 * conditions and policies. Longer: FUZZ_ROUNDS=100000 FUZZ_SEED=7 bunx --bun vitest run internal/kube/apiserver/fuzz-mutations.test.ts
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { type Random, seededRandom } from '../../base/random.ts';
import { isObject, type Json, type JsonObject } from '../machinery/json.ts';
import { startTestServer, type TestServer } from './testing.ts';

const rounds = Number(process.env.FUZZ_ROUNDS ?? 2000);
const seed = Number(process.env.FUZZ_SEED ?? 1);

let server: TestServer;
let lastError = '';
const seen = new Map<string, number>();

beforeAll(async () => {
  const error = (_message: string, fields?: Record<string, unknown>): void => {
    lastError = String(fields?.error);
  };
  server = await startTestServer({ log: { ...silentLogger, error } });
  await ask('POST', '/api/v1/namespaces', { metadata: { name: 'f' } });
  await ask('POST', '/api/v1/namespaces/f/serviceaccounts', { metadata: { name: 'default' } });
});
afterAll(() => server.close());

/** Failures that are the client's, and 5xx all the same, as upstream: server-side apply of a field that no schema has, a version yet to come. */
const ofTheClient = ({ message }: JsonObject): boolean =>
  typeof message === 'string' &&
  /^(failed to create typed patch object|Timeout: Too large resource version)/.test(message);

let round = 0;
/** Fails when it is the server that failed. */
async function ask(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: JsonObject }> {
  const answer = await server.call(method, path, body, { headers });
  const told = `${method} ${answer.status}`;
  seen.set(told, (seen.get(told) ?? 0) + 1);
  if (answer.status >= 500 && !ofTheClient(answer.body))
    throw new Error(
      `seed ${seed} round ${round}: ${method} ${path.slice(0, 600)} ${JSON.stringify(body)?.slice(0, 1500)}: ${answer.status} ${JSON.stringify(answer.body).slice(0, 600)}\n${lastError}`,
    );
  return answer;
}

class Maker {
  readonly #random: Random;
  constructor(random: Random) {
    this.#random = random;
  }
  below(limit: number): number {
    return this.#random.uint32() % limit;
  }
  chance(of: number): boolean {
    return this.below(of) === 0;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  scalar(): Json {
    return this.pick<Json>([
      null,
      true,
      false,
      0,
      1,
      -1,
      65536,
      2 ** 31,
      2 ** 53,
      1.5,
      '',
      'a',
      'A.b_c',
      '10Gi',
      '-1',
      '1e999',
      '10.43.0.300',
      'fe80::1',
      '2026-02-30T25:61:00Z',
      'x'.repeat(260),
      'é\u0000',
      '*',
      '$(A)',
      '/../..',
      '{}',
      [],
      {},
      [null],
      ['a', 'a'],
      { a: 'b' },
      { '': '' },
      { __proto__x: 1, constructor: 'x' },
    ]);
  }

  /** One to three places of a value replaced, removed, doubled or moved. In place. */
  mutate(value: Json): Json {
    for (let n = this.below(3); n >= 0; n--) {
      const places: { parent: JsonObject | Json[]; key: string | number }[] = [];
      const walk = (parent: Json): void => {
        const keys = Array.isArray(parent) ? parent.keys() : isObject(parent) ? Object.keys(parent) : [];
        for (const key of keys) {
          places.push({ parent: parent as JsonObject, key });
          walk((parent as JsonObject)[key]!);
        }
      };
      walk(value);
      if (places.length === 0) return value;
      const { parent, key } = this.pick(places);
      const other = this.pick(places);
      const at = parent as JsonObject;
      switch (this.below(6)) {
        case 0:
          if (Array.isArray(parent)) parent.splice(Number(key), 1);
          else delete at[key];
          break;
        case 1:
          at[key] = structuredClone((other.parent as JsonObject)[other.key] ?? null);
          break;
        case 2:
          if (Array.isArray(parent)) parent.push(structuredClone(parent[Number(key)]!));
          else at[`${key}x`] = structuredClone(at[key]!);
          break;
        case 3:
          if (typeof at[key] === 'string') at[key] = this.text(at[key]);
          else if (typeof at[key] === 'number') at[key] = this.pick([-at[key], at[key] * 2 ** 33, at[key] + 0.5]);
          else at[key] = this.scalar();
          break;
        default:
          at[key] = this.scalar();
      }
    }
    return value;
  }

  /** A text with characters changed. */
  text(from: string): string {
    const characters = [...from];
    for (let n = this.below(3); n >= 0; n--) {
      const at = this.below(characters.length + 1);
      const put = this.pick([
        '',
        '.',
        '-',
        '/',
        '"',
        "'",
        '\\',
        '(',
        ')',
        '[',
        ']',
        '=',
        '!',
        ',',
        ' ',
        '\n',
        'é',
        '0',
        'a',
        '%',
      ]);
      characters.splice(at, this.below(3), put);
    }
    return characters.join('');
  }

  labelSelector(): string {
    const key = (): string => this.pick(['a', 'app', 'x/y', 'a.b/c', '', '-', 'x'.repeat(64), 'é']);
    const one = (): string =>
      this.pick([
        () => `${key()}=${key()}`,
        () => `${key()}==${key()}`,
        () => `${key()}!=${key()}`,
        () => `!${key()}`,
        () => key(),
        () => `${key()} in (${key()},${key()})`,
        () => `${key()} notin (${key()})`,
        () => `${key()}>${this.below(10)}`,
        () => `${key()}<${key()}`,
        () => `(${key()}`,
        () => `${key()} in ()`,
      ])();
    const selector = Array.from({ length: 1 + this.below(3) }, one).join(',');
    return this.chance(4) ? this.text(selector) : selector;
  }

  fieldSelector(): string {
    const field = (): string =>
      this.pick([
        'metadata.name',
        'metadata.namespace',
        'spec.nodeName',
        'status.phase',
        'type',
        'spec',
        '',
        '.',
        'a\\,b',
      ]);
    const one = (): string =>
      `${field()}${this.pick(['=', '==', '!=', '>', ''])}${this.pick(['a', '', 'f', 'a\\=b', '\\'])}`;
    return Array.from({ length: 1 + this.below(3) }, one).join(',');
  }

  /** A CEL expression over the variables of `roots`: mostly well-formed, sometimes well-typed. */
  cel(roots: readonly string[], depth = 0): string {
    const inner = (): string => this.cel(roots, depth + 1);
    if (depth > 3 || this.chance(3))
      return this.pick([
        ...roots,
        ...roots.flatMap((root) => [`${root}.a`, `${root}.n`, `${root}.list`, `${root}.metadata.name`, `${root}.data`]),
        '1',
        '-1',
        '9223372036854775807',
        '1u',
        '1.5',
        "'a'",
        '"\\u00e9"',
        "b'\\xff'",
        'true',
        'null',
        '[]',
        '{}',
        '[1, 2, 3]',
        "{'a': 1}",
        "duration('1h')",
        "timestamp('2026-01-01T00:00:00Z')",
        "quantity('1Gi')",
        "ip('10.0.0.1')",
        "url('https://a/b')",
        "'(a+)+$'",
      ]);
    return this.pick([
      () =>
        `${inner()} ${this.pick(['+', '-', '*', '/', '%', '==', '!=', '<', '<=', '>', '>=', '&&', '||', 'in'])} ${inner()}`,
      () => `(${inner()})`,
      () => `!${inner()}`,
      () => `-${inner()}`,
      () => `${inner()} ? ${inner()} : ${inner()}`,
      () => `${inner()}[${inner()}]`,
      () => `${inner()}.${this.pick(['a', 'n', 'list', 'size', 'metadata', 'name'])}`,
      () => `has(${this.pick(roots)}.${this.pick(['a', 'n', 'x', 'metadata'])})`,
      () =>
        `${inner()}.${this.pick(['all', 'exists', 'exists_one', 'map', 'filter'])}(x, ${this.cel([...roots, 'x'], depth + 1)})`,
      () => `${this.pick(['size', 'string', 'int', 'double', 'type', 'bool', 'dyn', 'uint', 'bytes'])}(${inner()})`,
      () =>
        `${inner()}.${this.pick(['startsWith', 'endsWith', 'contains', 'matches', 'split', 'indexOf', 'replace', 'join', 'lowerAscii', 'find', 'findAll', 'isSorted', 'sum', 'min', 'charAt', 'substring', 'getHours', 'isGreaterThan'])}(${this.chance(3) ? '' : inner()})`,
      () => `[${inner()}, ${inner()}]`,
      () => `{${inner()}: ${inner()}}`,
    ])();
  }

  expression(roots: readonly string[]): string {
    const whole = this.chance(2) ? `${this.cel(roots)} == ${this.cel(roots)}` : this.cel(roots);
    return this.chance(8) ? this.text(whole) : whole;
  }
}

const podSpec = {
  containers: [
    {
      name: 'c',
      image: 'i',
      ports: [{ containerPort: 80, name: 'http' }],
      env: [{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
      resources: { requests: { cpu: '1' }, limits: { cpu: '2', memory: '1Gi' } },
      livenessProbe: { httpGet: { path: '/', port: 'http' } },
      volumeMounts: [{ name: 'v', mountPath: '/v' }],
      securityContext: { capabilities: { add: ['NET_ADMIN'] } },
    },
  ],
  volumes: [{ name: 'v', projected: { sources: [{ secret: { name: 's' } }, { configMap: { name: 'm' } }] } }],
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'In', values: ['b'] }] }],
      },
    },
  },
  tolerations: [{ key: 'a', operator: 'Exists', effect: 'NoSchedule' }],
  topologySpreadConstraints: [
    { maxSkew: 1, topologyKey: 'a', whenUnsatisfiable: 'DoNotSchedule', labelSelector: { matchLabels: { a: 'b' } } },
  ],
};
const template = { metadata: { labels: { a: 'b' } }, spec: podSpec };
const selector = { matchLabels: { a: 'b' } };
const apps = '/apis/apps/v1/namespaces/f';

/** Valid objects of kinds that have much to check, by collection. */
const samples: Readonly<Record<string, JsonObject>> = {
  '/api/v1/namespaces/f/pods': { spec: podSpec },
  '/api/v1/namespaces/f/services': {
    spec: { selector: { a: 'b' }, type: 'NodePort', ports: [{ name: 'p', port: 80 }] },
  },
  '/api/v1/namespaces/f/configmaps': { data: { a: 'b' }, binaryData: { c: 'YQ==' } },
  '/api/v1/namespaces/f/resourcequotas': {
    spec: { hard: { pods: '4', 'count/jobs.batch': '1' }, scopes: ['BestEffort'] },
  },
  '/api/v1/namespaces/f/limitranges': {
    spec: { limits: [{ type: 'Container', max: { cpu: '1' }, default: { cpu: '1' } }] },
  },
  '/api/v1/namespaces/f/persistentvolumeclaims': {
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } }, storageClassName: 's' },
  },
  [`${apps}/deployments`]: {
    spec: { replicas: 1, selector, template, strategy: { rollingUpdate: { maxSurge: '25%' } } },
  },
  [`${apps}/statefulsets`]: {
    spec: { serviceName: 's', selector, template, updateStrategy: { type: 'RollingUpdate' } },
  },
  [`${apps}/daemonsets`]: { spec: { selector, template } },
  '/apis/batch/v1/namespaces/f/jobs': {
    spec: {
      completions: 3,
      completionMode: 'Indexed',
      backoffLimitPerIndex: 1,
      template: { spec: { ...podSpec, restartPolicy: 'Never' } },
      podFailurePolicy: { rules: [{ action: 'FailIndex', onExitCodes: { operator: 'In', values: [1] } }] },
    },
  },
  '/apis/batch/v1/namespaces/f/cronjobs': {
    spec: {
      schedule: '*/5 * * * *',
      timeZone: 'Etc/UTC',
      jobTemplate: { spec: { template: { spec: { ...podSpec, restartPolicy: 'Never' } } } },
    },
  },
  '/apis/networking.k8s.io/v1/namespaces/f/ingresses': {
    spec: {
      rules: [
        {
          host: 'a.b',
          http: {
            paths: [{ path: '/', pathType: 'Prefix', backend: { service: { name: 's', port: { number: 1 } } } }],
          },
        },
      ],
    },
  },
  '/apis/networking.k8s.io/v1/namespaces/f/networkpolicies': {
    spec: {
      podSelector: {},
      ingress: [
        { from: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } }], ports: [{ port: 1, endPort: 2 }] },
      ],
    },
  },
  '/apis/rbac.authorization.k8s.io/v1/namespaces/f/roles': {
    rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }],
  },
  '/apis/autoscaling/v2/namespaces/f/horizontalpodautoscalers': {
    spec: {
      maxReplicas: 3,
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'a' },
      metrics: [
        { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 50 } } },
      ],
    },
  },
  '/apis/policy/v1/namespaces/f/poddisruptionbudgets': { spec: { minAvailable: '50%', selector } },
  '/api/v1/persistentvolumes': {
    spec: { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], csi: { driver: 'd', volumeHandle: 'h' } },
  },
  '/api/v1/nodes': { spec: { podCIDR: '10.42.0.0/24', taints: [{ key: 'a', effect: 'NoSchedule' }] } },
  '/apis/storage.k8s.io/v1/storageclasses': { provisioner: 'p', parameters: { a: 'b' } },
};

const patchTypes = [
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
  'application/apply-patch+yaml',
];

/** Writes of one kind: made from a sample, changed from what is stored. */
async function write(make: Maker): Promise<void> {
  const collection = make.pick(Object.keys(samples));
  const name = `o${make.below(3)}`;
  const path = `${collection}/${name}`;
  const live = await ask('GET', path);
  const sample = structuredClone({ metadata: { name }, ...samples[collection] });
  if (live.status !== 200) {
    if (!make.chance(3)) make.mutate(sample);
    await ask('POST', `${collection}?fieldValidation=${make.pick(['Strict', 'Warn', 'Ignore'])}`, sample);
    return;
  }
  const object = live.body;
  const changed = structuredClone(object);
  make.mutate(changed);
  const target = make.chance(4) ? `${path}/status` : path;
  switch (make.below(5)) {
    case 0:
    case 1:
      await ask('PUT', target, changed);
      break;
    case 2: {
      const type = make.pick(patchTypes);
      const { apiVersion, kind } = object;
      const body = type.includes('apply') ? { apiVersion, kind, ...(make.mutate(sample) as JsonObject) } : changed;
      const query = type.includes('apply') ? `?fieldManager=${make.pick(['one', 'two'])}&force=${make.chance(2)}` : '';
      await ask('PATCH', target + query, body, { 'content-type': type });
      break;
    }
    case 3: {
      const pointer = ['', ...Object.keys(object), 'x'].map((key) => (key === '' ? '' : `/${key}`));
      const operations = Array.from({ length: 1 + make.below(3) }, () => ({
        op: make.pick(['add', 'remove', 'replace', 'move', 'copy', 'test']),
        path: `${make.pick(pointer)}${make.pick(['', '/-', '/0', '/a', '/name', '/~1'])}`,
        from: make.pick(pointer),
        value: make.scalar(),
      }));
      await ask('PATCH', target, operations, { 'content-type': 'application/json-patch+json' });
      break;
    }
    default:
      await ask(
        'DELETE',
        path,
        make.mutate({ propagationPolicy: 'Background', gracePeriodSeconds: 0, preconditions: { uid: 'a' } }),
      );
      if (make.chance(2)) await ask('DELETE', `${path}?gracePeriodSeconds=0`);
  }
}

let token = '';
/** Lists with selectors, pages and versions. */
async function list(make: Maker): Promise<void> {
  const collection = make.pick([
    '/api/v1/namespaces/f/pods',
    '/api/v1/configmaps',
    '/apis/rbac.authorization.k8s.io/v1/clusterroles',
  ]);
  const query = new URLSearchParams();
  if (make.chance(2)) query.set('labelSelector', make.labelSelector());
  if (make.chance(2)) query.set('fieldSelector', make.fieldSelector());
  if (make.chance(2)) query.set('limit', make.pick(['1', '2', '0', '-1', '1e3', '9999999999999999999']));
  if (make.chance(2) && token !== '') {
    const decoded = Buffer.from(token, 'base64url').toString();
    query.set('continue', make.pick([token, make.text(token), Buffer.from(make.text(decoded)).toString('base64url')]));
  }
  if (make.chance(4)) query.set('resourceVersion', make.pick(['0', '1', '99999999', '-1', 'x', '1.5']));
  if (make.chance(6)) query.set('resourceVersionMatch', make.pick(['Exact', 'NotOlderThan', 'x']));
  const method = make.chance(10) ? 'DELETE' : 'GET';
  if (method === 'DELETE') query.set('dryRun', 'All');
  const { body } = await ask(method, `${collection}?${query}`);
  const next = isObject(body.metadata) ? body.metadata.continue : undefined;
  if (typeof next === 'string' && next !== '') token = next;
}

/** A definition with rules, and objects that they are asked about. */
async function definition(make: Maker): Promise<void> {
  const rule = (): JsonObject => ({
    rule: make.expression(['self', 'self', 'oldSelf']),
    ...(make.chance(3) ? { messageExpression: make.expression(['self']) } : {}),
    ...(make.chance(4) ? { fieldPath: make.pick(['.a', '.list[0]', 'x', '']) } : {}),
    ...(make.chance(4) ? { optionalOldSelf: true } : {}),
  });
  const rules = Array.from({ length: 1 + make.below(2) }, rule);
  const schema: JsonObject = {
    type: 'object',
    properties: {
      spec: {
        type: 'object',
        'x-kubernetes-validations': rules,
        properties: {
          a: { type: 'string', maxLength: 20 },
          n: { type: 'integer' },
          list: { type: 'array', maxItems: 10, items: { type: 'string', maxLength: 10 } },
          data: { type: 'object', maxProperties: 5, additionalProperties: { type: 'string', maxLength: 10 } },
        },
      },
    },
  };
  const plural = `fuzz${round}s`;
  const object = {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.example.com` },
    spec: {
      group: 'example.com',
      scope: 'Cluster',
      names: { plural, kind: `Fuzz${round}` },
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schema } }],
    },
  };
  if (make.chance(3)) make.mutate(object.spec as unknown as JsonObject);
  const crds = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
  if ((await ask('POST', crds, object)).status !== 201) return;
  const collection = `/apis/example.com/v1/${plural}`;
  for (let i = 0; i < 3; i++) {
    const spec = { a: 'a', n: 1, list: ['a', 'b'], data: { a: 'b' } };
    const body = { apiVersion: 'example.com/v1', kind: `Fuzz${round}`, metadata: { name: 'a' }, spec };
    if (make.chance(2)) make.mutate(body.spec);
    const made = await ask('POST', collection, body);
    if (made.status === 201) {
      make.mutate(made.body);
      await ask('PUT', `${collection}/a`, made.body);
    }
  }
  await ask('DELETE', `${crds}/${plural}.example.com`);
}

const registration = '/apis/admissionregistration.k8s.io/v1';

/** A policy of either sort for one ConfigMap. */
async function policy(make: Maker): Promise<void> {
  const kind = make.pick(['Validating', 'Mutating']);
  const lower = kind.toLowerCase();
  const roots = ['object', 'oldObject', 'request', 'params', 'namespaceObject', 'variables.v', 'authorizer'];
  const mutation = make.pick([
    () => ({
      patchType: 'ApplyConfiguration',
      applyConfiguration: { expression: `Object{data: {"k": ${make.cel(['object.data.a'])}}}` },
    }),
    () => ({
      patchType: 'JSONPatch',
      jsonPatch: { expression: `[JSONPatch{op: "add", path: "/data/k", value: ${make.cel(roots)}}]` },
    }),
    () => ({ patchType: 'JSONPatch', jsonPatch: { expression: make.expression(roots) } }),
  ]);
  const name = `fuzz${round}`;
  const spec: JsonObject = {
    failurePolicy: make.pick(['Fail', 'Ignore']),
    matchConstraints: {
      resourceRules: [
        {
          operations: ['CREATE'],
          apiGroups: [''],
          apiVersions: ['v1'],
          resources: ['configmaps'],
          resourceNames: [name],
        },
      ],
    },
    ...(make.chance(2) ? { variables: [{ name: 'v', expression: make.expression(['object', 'request']) }] } : {}),
    ...(make.chance(2) ? { matchConditions: [{ name: 'c', expression: make.expression(roots) }] } : {}),
    ...(kind === 'Validating'
      ? { validations: [{ expression: make.expression(roots), messageExpression: make.expression(roots) }] }
      : { reinvocationPolicy: 'IfNeeded', mutations: [mutation()] }),
  };
  const apiVersion = 'admissionregistration.k8s.io/v1';
  const policies = `${registration}/${lower}admissionpolicies`;
  const made = await ask('POST', policies, { apiVersion, kind: `${kind}AdmissionPolicy`, metadata: { name }, spec });
  if (made.status !== 201) return;
  const bindings = `${registration}/${lower}admissionpolicybindings`;
  const actions = kind === 'Validating' ? { validationActions: make.pick([['Deny'], ['Warn', 'Audit']]) } : {};
  await ask('POST', bindings, {
    apiVersion,
    kind: `${kind}AdmissionPolicyBinding`,
    metadata: { name },
    spec: { policyName: name, ...actions },
  });
  const object = { metadata: { name }, data: { a: 'b' } };
  for (let i = 0; i < 3; i++) await ask('POST', '/api/v1/namespaces/f/configmaps?dryRun=All', object);
  await ask('DELETE', `${bindings}/${name}`);
  await ask('DELETE', `${policies}/${name}`);
}

/** Conditions of a webhook that nobody could call: those that do not compile are refused. */
async function conditions(make: Maker): Promise<void> {
  await ask('POST', `${registration}/validatingwebhookconfigurations?dryRun=All`, {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingWebhookConfiguration',
    metadata: { name: `fuzz${round}` },
    webhooks: [
      {
        name: 'a.example.com',
        admissionReviewVersions: ['v1'],
        sideEffects: 'None',
        clientConfig: { url: 'https://localhost/x' },
        rules: [{ operations: ['CREATE'], apiGroups: ['never'], apiVersions: ['*'], resources: ['*'] }],
        matchConditions: [{ name: 'c', expression: make.expression(['object', 'oldObject', 'request', 'authorizer']) }],
      },
    ],
  });
}

describe('fuzz of plausible requests', () => {
  test('none is answered by a failure of the server, every sort is refused and taken, memory stays', {
    timeout: Math.max(600_000, rounds * 30),
  }, async () => {
    const make = new Maker(seededRandom(seed));
    const before = process.memoryUsage.rss();
    for (round = 0; round < rounds; round++) {
      const at = make.below(100);
      if (at < 60) await write(make);
      else if (at < 85) await list(make);
      else if (at < 92) await conditions(make);
      else if (at < 97) await policy(make);
      else await definition(make);
    }
    for (const told of [
      'POST 201',
      'POST 422',
      'POST 400',
      'PUT 200',
      'PUT 422',
      'PATCH 200',
      'PATCH 422',
      'GET 200',
      'GET 400',
      'DELETE 200',
    ])
      expect(seen.get(told) ?? 0, `${told} among ${JSON.stringify([...seen])}`).toBeGreaterThan(0);
    if (process.env.FUZZ_ROUNDS !== undefined) console.log(JSON.stringify([...seen]));
    expect((await server.call('GET', '/readyz')).status).toBe(200);
    expect(process.memoryUsage.rss() - before).toBeLessThan(400 * 1024 * 1024);
  });
});
