import { describe, expect, test } from 'vitest';
import type { UserInfo } from '../../auth/identity.ts';
import { parseRequest } from '../request-info.ts';
import { Classifier, flowOf, flowSchema } from './classify.ts';
import { defaultLevels, defaultSchemas } from './defaults.ts';
import { priorityLevel } from './levels.ts';

const levels = new Set(defaultLevels.map((object) => priorityLevel(object).name));
const defaults = defaultSchemas.map(flowSchema);
const someone = (name: string, ...groups: string[]): UserInfo => ({
  name,
  groups: [...groups, 'system:authenticated'],
});
const account = (namespace: string, name: string): UserInfo =>
  someone(
    `system:serviceaccount:${namespace}:${name}`,
    'system:serviceaccounts',
    `system:serviceaccounts:${namespace}`,
  );
const ask = (method: string, path: string): NonNullable<ReturnType<typeof parseRequest>> =>
  parseRequest(method, path, new URLSearchParams())!;

const alice = someone('alice');
const node = someone('system:node:a', 'system:nodes');
const lease = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/a';

describe('the schemas that every server has', () => {
  const classifier = new Classifier(defaults, levels);
  test.each<[string, UserInfo, string, string, string, string]>([
    ['an administrator', someone('root', 'system:masters'), 'GET', '/api/v1/pods', 'exempt', 'exempt'],
    [
      'a probe of anybody',
      { name: 'system:anonymous', groups: ['system:unauthenticated'] },
      'GET',
      '/readyz',
      'probes',
      'exempt',
    ],
    ['a check of its own is no probe', alice, 'GET', '/readyz/ping', 'global-default', 'global-default'],
    ['a controller leads', account('kube-system', 'c'), 'PUT', lease, 'system-leader-election', 'leader-election'],
    [
      'a controller lists',
      account('kube-system', 'c'),
      'GET',
      '/api/v1/pods',
      'kube-system-service-accounts',
      'workload-high',
    ],
    [
      'the scheduler binds',
      someone('system:kube-scheduler'),
      'POST',
      '/api/v1/namespaces/a/pods/b/binding',
      'kube-scheduler',
      'workload-high',
    ],
    ['a node lives', node, 'PUT', lease, 'system-node-high', 'node-high'],
    ['a node tells its status', node, 'PATCH', '/api/v1/nodes/a/status', 'system-node-high', 'node-high'],
    ['a node reads a Secret', node, 'GET', '/api/v1/namespaces/a/secrets/b', 'system-nodes', 'system'],
    ['a pod', account('default', 'app'), 'GET', '/api/v1/pods', 'service-accounts', 'workload-low'],
    ['a user', alice, 'GET', '/api/v1/pods', 'global-default', 'global-default'],
    ['a lease of a user is nothing special', alice, 'PUT', lease, 'global-default', 'global-default'],
    ['who is in no group', { name: 'x', groups: [] }, 'GET', '/api/v1/pods', 'catch-all', 'catch-all'],
  ])('%s', (_scenario, user, method, path, schema, level) => {
    expect(classifier.classify(user, ask(method, path))).toMatchObject({ name: schema, level });
    // The second time from what is known of the user.
    expect(classifier.classify(user, ask(method, path)).name).toBe(schema);
  });

  test('flows: of a user, of a namespace, or all as one', () => {
    const flow = (user: UserInfo, path: string): string => {
      const info = ask('GET', path);
      return flowOf(classifier.classify(user, info), user, info);
    };
    expect(flow(alice, '/api/v1/pods')).not.toBe(flow(someone('bob'), '/api/v1/pods'));
    expect(flow(alice, '/api/v1/pods')).toBe(flow(alice, '/api/v1/namespaces/a/secrets'));
    const controller = account('kube-system', 'c');
    expect(flow(controller, '/api/v1/namespaces/a/pods')).not.toBe(flow(controller, '/api/v1/namespaces/b/pods'));
    expect(flow(controller, '/api/v1/namespaces/a/pods')).toBe(
      flow(account('kube-system', 'd'), '/api/v1/namespaces/a/pods'),
    );
  });
});

describe('schemas of a user', () => {
  const of = (name: string, precedence: number, rule: object, level = 'system'): ReturnType<typeof flowSchema> =>
    flowSchema({
      metadata: { name, uid: name },
      spec: { matchingPrecedence: precedence, priorityLevelConfiguration: { name: level }, rules: [rule as never] },
    });
  const subjects = [{ kind: 'User', user: { name: 'alice' } }];
  const rule = (fields: object): object => ({
    subjects,
    resourceRules: [
      { verbs: ['*'], apiGroups: ['*'], resources: ['*'], namespaces: ['*'], clusterScope: true, ...fields },
    ],
  });
  const matches = (fields: object, method: string, path: string): boolean =>
    new Classifier([of('own', 50, rule(fields))], levels).classify(alice, ask(method, path)).name === 'own';

  test.each<[string, object, string, string, boolean]>([
    ['its verb', { verbs: ['list'] }, 'GET', '/api/v1/pods', true],
    ['another verb', { verbs: ['list'] }, 'GET', '/api/v1/namespaces/a/pods/b', false],
    ['its group', { apiGroups: ['apps'] }, 'GET', '/apis/apps/v1/deployments', true],
    ['another group', { apiGroups: ['apps'] }, 'GET', '/api/v1/pods', false],
    ['its resource', { resources: ['pods'] }, 'GET', '/api/v1/pods', true],
    ['a subresource is another', { resources: ['pods'] }, 'GET', '/api/v1/namespaces/a/pods/b/status', false],
    ['its subresource', { resources: ['pods/status'] }, 'GET', '/api/v1/namespaces/a/pods/b/status', true],
    ['its namespace', { namespaces: ['a'] }, 'GET', '/api/v1/namespaces/a/pods', true],
    ['another namespace', { namespaces: ['a'] }, 'GET', '/api/v1/namespaces/b/pods', false],
    ['all namespaces at once are the cluster', { clusterScope: false }, 'GET', '/api/v1/pods', false],
    ['no resource at all', {}, 'GET', '/version', false],
  ])('%s', (_scenario, fields, method, path, expected) => {
    expect(matches(fields, method, path)).toBe(expected);
  });

  test('paths: whole, with a star at their end, or all', () => {
    const paths = (...nonResourceURLs: string[]): object => ({
      subjects,
      nonResourceRules: [{ verbs: ['get'], nonResourceURLs }],
    });
    const found = (rules: object, path: string): boolean =>
      new Classifier([of('own', 50, rules)], levels).classify(alice, ask('GET', path)).name === 'own';
    expect([found(paths('/version'), '/version'), found(paths('/version'), '/versions')]).toEqual([true, false]);
    expect([found(paths('/openapi/*'), '/openapi/v3'), found(paths('/openapi/*'), '/openap')]).toEqual([true, false]);
    expect(found(paths('*'), '/anything')).toBe(true);
  });

  test('the smaller precedence goes first, then the name; a schema of a level that is not there is not in force', () => {
    const first = (...schemas: ReturnType<typeof flowSchema>[]): string =>
      new Classifier([...defaults, ...schemas], levels).classify(alice, ask('GET', '/api/v1/pods')).name;
    expect(first(of('b', 50, rule({})), of('a', 60, rule({})))).toBe('b');
    expect(first(of('b', 50, rule({})), of('a', 50, rule({})))).toBe('a');
    expect(first(of('b', 50, rule({}), 'none'))).toBe('global-default');
  });
});
