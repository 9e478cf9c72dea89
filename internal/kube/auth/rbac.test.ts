import { describe, expect, test } from 'vitest';
import { defaultRbacObjects, parseRule } from './default-roles.ts';
import type { Attributes, UserInfo } from './identity.ts';
import { type BindingObject, RbacPolicy, type RoleObject, ruleAllows, rulesCover } from './rbac.ts';

const user = (name: string, ...groups: string[]): UserInfo => ({ name, groups });
const ask = (who: UserInfo, verb: string, resource: string, more: Partial<Attributes> = {}): Attributes => {
  const [plain = '', subresource = ''] = resource.split('/');
  return {
    user: who,
    verb,
    resourceRequest: true,
    group: '',
    version: 'v1',
    resource: plain,
    subresource,
    namespace: '',
    name: '',
    path: '',
    ...more,
  };
};

describe('rules', () => {
  const bob = user('bob');
  test.each([
    ['get @ core | pods', ask(bob, 'get', 'pods'), true],
    ['get @ core | pods', ask(bob, 'list', 'pods'), false],
    ['get @ core | pods', ask(bob, 'get', 'pods/log'), false],
    ['get @ core | pods/log', ask(bob, 'get', 'pods/log'), true],
    ['get @ core | pods/log', ask(bob, 'get', 'pods'), false],
    ['* @ * | *', ask(bob, 'impersonate', 'users', { group: 'x' }), true],
    ['get @ * | */scale', ask(bob, 'get', 'deployments/scale', { group: 'apps' }), true],
    ['get @ * | */scale', ask(bob, 'get', 'deployments', { group: 'apps' }), false],
    ['get @ core | pods | a b', ask(bob, 'get', 'pods', { name: 'b' }), true],
    ['get @ core | pods | a b', ask(bob, 'get', 'pods', { name: 'c' }), false],
    ['get @ core | pods | a', ask(bob, 'list', 'pods'), false],
    ['get @ apps | pods', ask(bob, 'get', 'pods'), false],
    ['url get | /healthz/*', ask(bob, 'get', '', { resourceRequest: false, path: '/healthz/etcd' }), true],
    ['url get | /healthz', ask(bob, 'get', '', { resourceRequest: false, path: '/healthz/etcd' }), false],
    ['url * | *', ask(bob, 'get', 'pods'), false],
  ])('%s', (line, attributes, expected) => {
    expect(ruleAllows(parseRule(line), attributes)).toBe(expected);
  });

  test('what one may grant: only what one holds', () => {
    const held = ['get list @ core | pods', 'update @ apps | deployments | a'].map(parseRule);
    expect(rulesCover(held, [parseRule('get @ core | pods | x')])).toBe(true);
    expect(rulesCover(held, [parseRule('get watch @ core | pods')])).toBe(false);
    expect(rulesCover(held, [parseRule('update @ apps | deployments')])).toBe(false);
    expect(rulesCover(held, [parseRule('update @ apps | deployments | a')])).toBe(true);
    expect(rulesCover(held, [parseRule('get @ core | *')])).toBe(false);
    expect(rulesCover([parseRule('* @ * | *')], [parseRule('get @ core | *')])).toBe(true);
  });
});

describe('policy', () => {
  const policy = new RbacPolicy();
  for (const object of defaultRbacObjects()) {
    if (object.roleRef === undefined) policy.setRole(object as RoleObject);
    else policy.setBinding(object as BindingObject);
  }
  const may = (attributes: Attributes): boolean => policy.authorize(attributes).allowed;

  test('masters do everything, strangers read health and version', () => {
    expect(may(ask(user('x', 'system:masters'), 'delete', 'nodes'))).toBe(true);
    const nobody = user('system:anonymous', 'system:unauthenticated');
    expect(may(ask(nobody, 'get', '', { resourceRequest: false, path: '/version' }))).toBe(true);
    expect(may(ask(nobody, 'get', '', { resourceRequest: false, path: '/api' }))).toBe(false);
    expect(may(ask(nobody, 'list', 'pods'))).toBe(false);
  });

  test('the scheduler binds pods and does not read secrets; a controller has its own rules', () => {
    const scheduler = user('system:kube-scheduler');
    expect(may(ask(scheduler, 'create', 'pods/binding', { namespace: 'a' }))).toBe(true);
    expect(may(ask(scheduler, 'get', 'secrets', { namespace: 'a' }))).toBe(false);
    const controller = user('system:serviceaccount:kube-system:replicaset-controller', 'system:serviceaccounts');
    expect(may(ask(controller, 'create', 'pods', { namespace: 'a' }))).toBe(true);
    expect(may(ask(controller, 'create', 'nodes'))).toBe(false);
  });

  test('a binding in a namespace reaches no further, and its removal is felt', () => {
    const binding: BindingObject = {
      metadata: { name: 'b', namespace: 'a' },
      roleRef: { kind: 'ClusterRole', name: 'system:node' },
      subjects: [{ kind: 'Group', name: 'team' }],
    };
    policy.setBinding(binding);
    const carol = user('carol', 'team');
    expect(may(ask(carol, 'list', 'pods', { namespace: 'a' }))).toBe(true);
    expect(may(ask(carol, 'list', 'pods', { namespace: 'b' }))).toBe(false);
    expect(may(ask(carol, 'list', 'pods'))).toBe(false);
    expect(policy.rulesFor(carol, 'a').length).toBeGreaterThan(5);
    policy.deleteBinding('a', 'b');
    expect(may(ask(carol, 'list', 'pods', { namespace: 'a' }))).toBe(false);
  });

  test('every default role parses to rules with verbs', () => {
    for (const object of defaultRbacObjects())
      for (const rule of object.rules ?? []) {
        expect(rule.verbs.length).toBeGreaterThan(0);
        expect((rule.nonResourceURLs ?? rule.resources)?.length).toBeGreaterThan(0);
      }
  });
});
