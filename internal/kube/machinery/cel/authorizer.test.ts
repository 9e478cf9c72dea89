import { describe, expect, test } from 'vitest';
import { registerAuthorizer, type AuthorizerQuestion, CelAuthorizer } from './library-authorizer.ts';
import { compile, type Scope } from './program.ts';
import { jsonOf } from './values.ts';

const scope: Scope = {
  variables: { authorizer: 'kubernetes.authorization.Authorizer' },
  extend: registerAuthorizer,
};
const requestResource = { group: 'apps', resource: 'deployments', subresource: '', namespace: 'web', name: 'shop' };

/** What the expression asks, with the answer yes, and its value. */
function ask(expression: string): { asked: AuthorizerQuestion; account: unknown; value: unknown } {
  let asked: AuthorizerQuestion | undefined;
  let account: unknown;
  const authorizer = new CelAuthorizer((question, subject) => {
    asked = question;
    account = subject;
    return { allowed: true, reason: 'because' };
  }, requestResource);
  const value = jsonOf(compile(expression, scope).run({ authorizer: authorizer as never }, { remaining: 10_000_000 }));
  return { asked: asked!, account, value };
}

describe('the authorizer of expressions', () => {
  test('a field selector narrows the question; one that cannot be read narrows nothing', () => {
    const list = (selector: string): AuthorizerQuestion =>
      ask(`authorizer.group('').resource('pods').fieldSelector('${selector}').check('list').allowed()`).asked;
    expect(list('spec.nodeName=n1,status.phase!=Failed')).toMatchObject({
      verb: 'list',
      resource: 'pods',
      fieldSelector: [
        { field: 'spec.nodeName', operator: '=', value: 'n1' },
        { field: 'status.phase', operator: '!=', value: 'Failed' },
      ],
    });
    expect(list('spec.nodeName').fieldSelector).toEqual([]);
    expect(list('').fieldSelector).toEqual([]);
  });

  test('… and a label selector; the later of two counts', () => {
    const list = (rest: string): AuthorizerQuestion =>
      ask(`authorizer.group('').resource('pods')${rest}.check('list').allowed()`).asked;
    expect(list(`.labelSelector('app in (a, b),!x')`).labelSelector).toEqual([
      { key: 'app', operator: 'in', values: ['a', 'b'] },
      { key: 'x', operator: '!', values: [] },
    ]);
    expect(list(`.labelSelector('app=a').labelSelector('app ~ b')`).labelSelector).toEqual([]);
    expect(list(`.fieldSelector('metadata.name=p').labelSelector('a=b')`)).toMatchObject({
      fieldSelector: [{ field: 'metadata.name', operator: '=', value: 'p' }],
      labelSelector: [{ key: 'a', operator: '=', values: ['b'] }],
    });
  });

  test('a service account is asked about in the place of who makes the request', () => {
    const check = (namespace: string, name: string): ReturnType<typeof ask> =>
      ask(`authorizer.serviceAccount('${namespace}', '${name}').path('/healthz').check('get').reason()`);
    expect(check('kube-system', 'builder')).toMatchObject({
      account: { namespace: 'kube-system', name: 'builder' },
      asked: { resourceRequest: false, path: '/healthz', verb: 'get' },
      value: 'because',
    });
    expect(ask(`authorizer.path('/healthz').check('get').allowed()`).account).toBeUndefined();
    expect(() => check('not@a#valid!namespace', 'valid')).toThrow('Invalid service account namespace');
    expect(() => check('valid', 'invalid@*name')).toThrow('Invalid service account name');
  });

  test('requestResource is what the request is for', () => {
    const { asked } = ask(`authorizer.requestResource.subresource('scale').check('update').allowed()`);
    expect(asked).toMatchObject({ ...requestResource, subresource: 'scale', verb: 'update', resourceRequest: true });
    expect(ask(`authorizer.serviceAccount('a', 'b').requestResource.check('get').allowed()`)).toMatchObject({
      asked: requestResource,
      account: { namespace: 'a', name: 'b' },
    });
  });

  test.each([
    [`authorizer.path(' ').check('get').allowed()`, 'path must not be empty'],
    [`authorizer.group('apps').resource('').check('get').allowed()`, 'resource must not be empty'],
  ])('%s has no value', (expression, reason) => {
    expect(() => ask(expression)).toThrow(reason);
  });

  test.each([
    `authorizer.fieldSelector('a=b')`,
    `authorizer.group('').labelSelector('a=b')`,
    `authorizer.group('').resource('pods').fieldSelector(1)`,
  ])('%s does not compile', (expression) => {
    expect(() => compile(expression, scope)).toThrow('found no matching overload');
  });
});
