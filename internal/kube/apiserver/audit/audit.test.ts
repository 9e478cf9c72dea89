import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../base/log.ts';
import { systemClock } from '../../../base/system.ts';
import type { UserInfo } from '../../auth/identity.ts';
import type { JsonObject } from '../../machinery/json.ts';
import { parseRequest } from '../request-info.ts';
import { startTestServer, type TestServer } from '../testing.ts';
import { AuditLog } from './log-system.ts';
import { decide, parsePolicy, standardPolicy } from './policy.ts';
import { startWebhook } from '../webhook.testing.ts';

const head = 'apiVersion: audit.k8s.io/v1\nkind: Policy\n';
const jane: UserInfo = { name: 'jane', groups: ['dev', 'system:authenticated'] };

function level(rules: string, method: string, url: string, user: UserInfo = jane): string {
  const { pathname, searchParams } = new URL(url, 'http://api');
  return decide(parsePolicy(`${head}rules:\n${rules}`), user, parseRequest(method, pathname, searchParams)!).level;
}

describe('audit policy', () => {
  const pods = '/api/v1/namespaces/w/pods';
  test.each<[why: string, rules: string, method: string, url: string, expected: string]>([
    ['the first rule that fits', '- {level: None, users: [jane]}\n- {level: Metadata}', 'GET', pods, 'None'],
    ['nothing where none fits', '- {level: Metadata, users: [joe]}', 'GET', pods, 'None'],
    ['a group of the user', '- {level: Request, userGroups: [ops, dev]}', 'GET', pods, 'Request'],
    ['another verb', '- {level: Request, verbs: [watch]}', 'GET', pods, 'None'],
    ['a watch is no list', '- {level: Request, verbs: [watch]}', 'GET', `${pods}?watch=true`, 'Request'],
    ['the core group', '- {level: Request, resources: [{group: "", resources: [pods]}]}', 'GET', pods, 'Request'],
    ['another group', '- {level: Request, resources: [{group: apps, resources: [pods]}]}', 'GET', pods, 'None'],
    ['a whole group', '- {level: Request, resources: [{group: ""}]}', 'GET', pods, 'Request'],
    ['not the subresource', '- {level: Request, resources: [{resources: [pods]}]}', 'GET', `${pods}/p/log`, 'None'],
    ['the subresource', '- {level: Request, resources: [{resources: [pods/log]}]}', 'GET', `${pods}/p/log`, 'Request'],
    [
      'all of a resource',
      '- {level: Request, resources: [{resources: ["pods/*"]}]}',
      'GET',
      `${pods}/p/log`,
      'Request',
    ],
    [
      '… and itself, as upstream',
      '- {level: Request, resources: [{resources: ["pods/*"]}]}',
      'GET',
      `${pods}/p`,
      'Request',
    ],
    [
      'a subresource of all',
      '- {level: Request, resources: [{resources: ["*/log"]}]}',
      'GET',
      `${pods}/p/log`,
      'Request',
    ],
    [
      'a name',
      '- {level: Request, resources: [{resources: [pods], resourceNames: [p]}]}',
      'GET',
      `${pods}/p`,
      'Request',
    ],
    [
      'another name',
      '- {level: Request, resources: [{resources: [pods], resourceNames: [p]}]}',
      'GET',
      `${pods}/q`,
      'None',
    ],
    ['a namespace', '- {level: Request, namespaces: [w]}', 'GET', pods, 'Request'],
    ['no namespace', '- {level: Request, namespaces: [""]}', 'GET', '/api/v1/nodes', 'Request'],
    ['a namespace is no path', '- {level: Request, namespaces: [""]}', 'GET', '/version', 'None'],
    ['a path', '- {level: Metadata, nonResourceURLs: ["/healthz*"]}', 'GET', '/healthz/etcd', 'Metadata'],
    ['a path is no resource', '- {level: Metadata, nonResourceURLs: ["*"]}', 'GET', pods, 'None'],
    ['secrets in a rule for all', '- {level: RequestResponse}', 'GET', '/api/v1/namespaces/w/secrets/s', 'Metadata'],
    [
      'tokens in a rule for all',
      '- {level: Request}',
      'POST',
      '/api/v1/namespaces/w/serviceaccounts/s/token',
      'Metadata',
    ],
    ['secrets by name', '- {level: Request, resources: [{resources: [secrets]}]}', 'GET', '/api/v1/secrets', 'Request'],
  ])('%s', (_, rules, method, url, expected) => {
    expect(level(rules, method, url)).toBe(expected);
  });

  test.each([
    ['rules: []', 'rules: expected a list with at least one rule'],
    ['rules: [{level: All}]', 'rules[0].level: expected None, Metadata, Request, RequestResponse, got All'],
    ['rules: [{level: None, user: [a]}]', 'rules[0].user: unknown field'],
    ['rules: [{level: None, omitStages: [Begin]}]', 'rules[0].omitStages: expected RequestReceived'],
    ['rules: [{level: None, nonResourceURLs: ["/a*b"]}]', 'rules[0].nonResourceURLs: expected "*" or a path'],
    ['rules: [{level: None, namespaces: [a], nonResourceURLs: ["/a"]}]', 'cannot apply to both'],
    ['rules: [{level: None, resources: [{resourceNames: [a]}]}]', 'rules[0].resources[0].resourceNames: using'],
    ['rules: [', 'is no YAML'],
  ])('%s is refused with the field', (text, why) => {
    expect(() => parsePolicy(head + text)).toThrow(why);
  });

  test('the built-in one records who changes what, and neither bodies nor probes nor leases', () => {
    const policy = parsePolicy(standardPolicy);
    const of = (method: string, path: string) =>
      decide(policy, jane, parseRequest(method, path, new URLSearchParams())!).level;
    expect(of('DELETE', '/api/v1/namespaces/w/pods/p')).toBe('Metadata');
    expect(of('POST', '/api/v1/namespaces/w/secrets')).toBe('Metadata');
    expect(of('GET', '/readyz')).toBe('None');
    expect(of('PUT', '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n')).toBe('None');
    expect(policy.rules.map((rule) => rule.level)).not.toContain('Request');
  });
});

describe('audit events', () => {
  let server: TestServer;
  const lines: string[] = [];
  // biome-ignore lint/suspicious/noExplicitAny: events are looked into
  const events = (filter: (event: any) => boolean): any[] => lines.map((line) => JSON.parse(line)).filter(filter);
  const path = '/api/v1/namespaces/a/configmaps';
  beforeAll(async () => {
    const policy = parsePolicy(`${head}omitManagedFields: true
rules:
- {level: None, users: ["system:apiserver"]}
- {level: RequestResponse, resources: [{resources: [configmaps, pods]}]}
- {level: RequestResponse}
`);
    server = await startTestServer({ port: 0, audit: { policy, sink: { write: (line) => void lines.push(line) } } });
    await server.call('POST', '/api/v1/namespaces', { metadata: { name: 'a' } });
    await server.call('POST', '/api/v1/namespaces/a/serviceaccounts', { metadata: { name: 'default' } });
  });
  afterAll(() => server.close());

  test('a create has its stages, who, what, both bodies without managedFields, and the decision', async () => {
    lines.length = 0;
    const headers = { 'audit-id': 'mine-1', 'user-agent': 'kubectl/v1.36' };
    await server.call('POST', path, { metadata: { name: 'c' }, data: { k: 'v' } }, { headers });
    expect(lines).toHaveLength(2);
    const [received, complete] = events(() => true);
    const common = {
      kind: 'Event',
      apiVersion: 'audit.k8s.io/v1',
      level: 'RequestResponse',
      auditID: 'mine-1',
      requestURI: path,
      verb: 'create',
      user: { username: 'test-admin', groups: ['system:masters', 'system:authenticated'] },
      sourceIPs: ['127.0.0.1'],
      userAgent: 'kubectl/v1.36',
    };
    expect(received).toMatchObject({
      ...common,
      stage: 'RequestReceived',
      objectRef: { resource: 'configmaps', namespace: 'a', apiVersion: 'v1' },
    });
    expect(received).not.toHaveProperty('requestObject');
    expect(complete).toMatchObject({
      ...common,
      stage: 'ResponseComplete',
      objectRef: { resource: 'configmaps', namespace: 'a', name: 'c', apiVersion: 'v1', uid: expect.any(String) },
      responseStatus: { metadata: {}, code: 201 },
      requestObject: { metadata: { name: 'c' }, data: { k: 'v' } },
      responseObject: { kind: 'ConfigMap', data: { k: 'v' } },
      requestReceivedTimestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/),
      annotations: { 'authorization.k8s.io/decision': 'allow' },
    });
    expect(complete.responseObject.metadata).not.toHaveProperty('managedFields');
  });

  test('a refusal tells its Status; an impersonated user stands beside who asked', async () => {
    lines.length = 0;
    const as = { name: 'dev', groups: ['system:authenticated'] };
    await server.call('DELETE', `${path}/c`, undefined, { as });
    expect(events((one) => one.stage === 'ResponseComplete')).toMatchObject([
      {
        user: { username: 'dev' },
        responseStatus: { status: 'Failure', reason: 'Forbidden', code: 403 },
        annotations: { 'authorization.k8s.io/decision': 'forbid' },
      },
    ]);
    lines.length = 0;
    await server.call('GET', `${path}/c`, undefined, { headers: { 'impersonate-user': 'dev' } });
    expect(events((one) => one.stage === 'ResponseComplete')).toMatchObject([
      { user: { username: 'test-admin' }, impersonatedUser: { username: 'dev' }, responseStatus: { code: 403 } },
    ]);
  });

  test('a Secret and a token leave no trace of what is in them', async () => {
    lines.length = 0;
    await server.call('POST', '/api/v1/namespaces/a/secrets', {
      metadata: { name: 's' },
      stringData: { p: 'hunter2' },
    });
    await server.call(
      'PATCH',
      '/api/v1/namespaces/a/secrets/s',
      { stringData: { p: 'hunter3' } },
      {
        headers: { 'content-type': 'application/merge-patch+json' },
      },
    );
    const token = await server.call('POST', '/api/v1/namespaces/a/serviceaccounts/default/token', {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {},
    });
    expect(token.status).toBe(201);
    await server.call('GET', '/api/v1/namespaces/a/secrets');
    expect(lines.length).toBeGreaterThanOrEqual(8);
    const all = lines.join('\n');
    for (const hidden of ['hunter', Buffer.from('hunter2').toString('base64'), token.body.status.token])
      expect(all).not.toContain(hidden);
  });

  test('a watch begins with ResponseStarted and is complete when it ends', async () => {
    lines.length = 0;
    await server.call('GET', `${path}?watch=1&timeoutSeconds=1`);
    expect(events(() => true).map(({ stage, verb, responseStatus }) => [stage, verb, responseStatus?.code])).toEqual([
      ['RequestReceived', 'watch', undefined],
      ['ResponseStarted', 'watch', 200],
      ['ResponseComplete', 'watch', 200],
    ]);
  });

  test('what admission notes is in the event: PodSecurity and a ValidatingAdmissionPolicy', async () => {
    await server.call(
      'PATCH',
      '/api/v1/namespaces/a',
      {
        metadata: { labels: { 'pod-security.kubernetes.io/audit': 'restricted' } },
      },
      { headers: { 'content-type': 'application/merge-patch+json' } },
    );
    const policies = '/apis/admissionregistration.k8s.io/v1';
    await server.call('POST', `${policies}/validatingadmissionpolicies`, {
      metadata: { name: 'note' },
      spec: {
        matchConstraints: {
          resourceRules: [{ apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], operations: ['CREATE'] }],
        },
        validations: [{ expression: 'true' }],
        auditAnnotations: [{ key: 'image', valueExpression: 'object.spec.containers[0].image' }],
      },
    });
    await server.call('POST', `${policies}/validatingadmissionpolicybindings`, {
      metadata: { name: 'note' },
      spec: { policyName: 'note', validationActions: ['Deny'] },
    });
    lines.length = 0;
    const pod = { metadata: { name: 'p' }, spec: { containers: [{ name: 'c', image: 'busybox' }] } };
    for (let i = 0; i < 100; i++) {
      lines.length = 0;
      await server.call('POST', '/api/v1/namespaces/a/pods?dryRun=All', pod);
      if (lines.join().includes('note/image')) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const [complete] = events((one) => one.stage === 'ResponseComplete');
    expect(complete.responseStatus.code).toBe(201);
    expect(complete.annotations).toMatchObject({
      'note/image': 'busybox',
      'pod-security.kubernetes.io/audit-violations': expect.stringContaining('restricted:latest'),
      'pod-security.kubernetes.io/enforce-policy': 'privileged:latest',
    });
  });

  test('which webhooks changed the object and how, and which were left out because they could not be asked', async () => {
    const patch = [{ op: 'add', path: '/data/added', value: 'yes' }];
    const webhook = await startWebhook(server.pki, () => ({
      allowed: true,
      patchType: 'JSONPatch',
      patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
    }));
    const hook = (name: string, port?: number): JsonObject => ({
      name,
      admissionReviewVersions: ['v1'],
      sideEffects: 'None',
      failurePolicy: 'Ignore',
      clientConfig: webhook.clientConfig('/', port),
      rules: [{ operations: ['CREATE'], apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'] }],
    });
    const configurations = '/apis/admissionregistration.k8s.io/v1';
    await server.call('POST', `${configurations}/mutatingwebhookconfigurations`, {
      metadata: { name: 'conf' },
      webhooks: [hook('works.example.com'), hook('down.example.com', 1)],
    });
    await server.call('POST', `${configurations}/validatingwebhookconfigurations`, {
      metadata: { name: 'conf' },
      webhooks: [hook('gone.example.com', 1)],
    });
    let noted: Record<string, string> = {};
    for (
      let i = 0;
      i < 100 && noted['failed-open.validating.webhook.admission.k8s.io/round_0_index_0'] === undefined;
      i++
    ) {
      lines.length = 0;
      await server.call('POST', `${path}?dryRun=All`, { metadata: { name: `changed-${i}` }, data: { a: 'b' } });
      noted = events((one) => one.stage === 'ResponseComplete')[0].annotations;
    }
    webhook.close();
    const of = (key: string): unknown => {
      const text = noted[key];
      return text?.startsWith('{') ? JSON.parse(text) : text;
    };
    const from = { configuration: 'conf', webhook: 'works.example.com' };
    expect(of('mutation.webhook.admission.k8s.io/round_0_index_0')).toEqual({ ...from, mutated: true });
    expect(of('patch.webhook.admission.k8s.io/round_0_index_0')).toEqual({ ...from, patch, patchType: 'JSONPatch' });
    expect(of('mutation.webhook.admission.k8s.io/round_0_index_1')).toEqual({
      configuration: 'conf',
      webhook: 'down.example.com',
      mutated: false,
    });
    expect(of('failed-open.mutating.webhook.admission.k8s.io/round_0_index_1')).toBe('down.example.com');
    expect(of('failed-open.validating.webhook.admission.k8s.io/round_0_index_0')).toBe('gone.example.com');
  });

  test('over the network every answer has an Audit-Id, and an unknown user is recorded with 401', async () => {
    lines.length = 0;
    const url = `https://localhost:${server.listener!.port}/api/v1/namespaces/a/configmaps`;
    const tls = { ca: server.pki.serverCa.cert };
    const answer = await fetch(url, { headers: { authorization: 'Bearer nobody' }, tls } as RequestInit);
    expect(answer.status).toBe(401);
    const [complete] = events((one) => one.stage === 'ResponseComplete');
    expect(complete).toMatchObject({ user: {}, responseStatus: { code: 401, reason: 'Unauthorized' } });
    expect(answer.headers.get('audit-id')).toBe(complete.auditID);
  });
});

describe('audit log file', () => {
  const dir = mkdtempSync(join(tmpdir(), 'audit-'));
  afterAll(() => rmSync(dir, { recursive: true }));
  const make = async (name: string, options: Partial<ConstructorParameters<typeof AuditLog>[0]> = {}) => {
    const log = new AuditLog({
      file: join(dir, name, 'audit.log'),
      maxAgeDays: 0,
      maxBackups: 0,
      maxBytes: 1000,
      clock: systemClock,
      log: silentLogger,
      ...options,
    });
    await log.start();
    return log;
  };
  const line = (n: number): string => JSON.stringify({ n, text: 'x'.repeat(80) });
  const settle = async (log: AuditLog, count: number): Promise<void> => {
    for (let i = 0; i < 500 && log.written + log.dropped < count; i++) await new Promise((r) => setTimeout(r, 5));
  };

  test('lines come in order, files are begun anew at the size, only as many are kept as asked, for root’s eyes', async () => {
    const log = await make('rotate', { maxBackups: 3 });
    for (let n = 0; n < 100; n++) {
      log.write(line(n));
      await settle(log, n + 1);
    }
    await log.close();
    const names = readdirSync(join(dir, 'rotate')).sort();
    expect(names.filter((name) => name !== 'audit.log')).toHaveLength(3);
    const text = names
      .filter((name) => name !== 'audit.log')
      .map((name) => readFileSync(join(dir, 'rotate', name), 'utf8'))
      .join('');
    const numbers = text
      .trim()
      .split('\n')
      .map((one) => JSON.parse(one).n as number);
    expect(numbers).toEqual(numbers.map((_, at) => numbers[0]! + at));
    expect(statSync(join(dir, 'rotate', names[0]!)).mode & 0o777).toBe(0o600);
  });

  test('after a restart it goes on in the same file; what is too old goes', async () => {
    const first = await make('again');
    first.write(line(1));
    await first.close();
    const old = join(dir, 'again', 'audit-2020-01-01T00-00-00.000.log');
    const other = join(dir, 'again', 'audit-notes.log');
    for (const path of [old, other]) writeFileSync(path, 'x');
    for (const path of [old, other]) utimesSync(path, 1, 1);
    const second = await make('again', { maxAgeDays: 1 });
    second.write(line(2));
    await second.close();
    expect(readdirSync(join(dir, 'again')).sort()).toEqual(['audit-notes.log', 'audit.log']);
    expect(
      readFileSync(join(dir, 'again', 'audit.log'), 'utf8')
        .trim()
        .split('\n'),
    ).toEqual([line(1), line(2)]);
  });

  test('a disk that does not keep up: nothing waits, what is beyond the buffer is counted and told', async () => {
    const told: Record<string, unknown>[] = [];
    const log = await make('slow', {
      maxBytes: 1e9,
      log: { ...silentLogger, warn: (_: string, fields?: Record<string, unknown>) => void told.push(fields ?? {}) },
    });
    const big = JSON.stringify({ text: 'y'.repeat(1 << 20) });
    // All in one turn of the loop: nothing can be written meanwhile.
    for (let n = 0; n < 20; n++) log.write(big);
    expect(log.dropped).toBeGreaterThan(10);
    expect(told).toMatchObject([{ dropped: 1, why: 'the disk is too slow' }]);
    await log.close();
    expect(log.written + log.dropped).toBe(20);
    expect(log.counts()).toEqual({ apiserver_audit_event_total: 20, apiserver_audit_error_total: log.dropped });
  });
});
