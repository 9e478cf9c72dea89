import type { Environment } from '@marcbachmann/cel-js';
import { type FieldRequirement, parseFieldSelector, parseLabelSelector, type Requirement } from '../selectors.ts';
import { dns1123LabelErrors, dns1123SubdomainErrors } from '../validation.ts';
import { charge } from './meter.ts';

/** The authorizer library (KEP-3488, KEP-4601): `authorizer.group('').resource('pods').namespace('default').check('create').allowed()`. */
export interface AuthorizerQuestion {
  readonly verb: string;
  readonly resourceRequest: boolean;
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  readonly path: string;
  readonly fieldSelector?: readonly FieldRequirement[];
  readonly labelSelector?: readonly Requirement[];
}

/** Whom a question is about, where that is not who makes the request. */
export interface ServiceAccountSubject {
  readonly namespace: string;
  readonly name: string;
}

export interface AuthorizerAnswer {
  readonly allowed: boolean;
  readonly reason: string;
}

export type AuthorizerCheck = (
  question: AuthorizerQuestion,
  account: ServiceAccountSubject | undefined,
) => AuthorizerAnswer;

/** What the request itself is for: the start of `authorizer.requestResource`. */
export type RequestResource = Pick<AuthorizerQuestion, 'group' | 'resource' | 'subresource' | 'namespace' | 'name'>;

const nothing: AuthorizerQuestion = {
  verb: '',
  resourceRequest: true,
  group: '',
  version: '*',
  resource: '',
  subresource: '',
  namespace: '',
  name: '',
  path: '',
};

/** The value of the variable `authorizer`. */
export class CelAuthorizer {
  readonly check: AuthorizerCheck;
  readonly account: ServiceAccountSubject | undefined;
  readonly requestResource: ResourceCheck;
  constructor(check: AuthorizerCheck, request: RequestResource, account?: ServiceAccountSubject) {
    this.check = check;
    this.account = account;
    this.requestResource = new ResourceCheck(this, { ...nothing, ...request });
  }
}

class Question {
  readonly of: CelAuthorizer;
  readonly question: AuthorizerQuestion;
  constructor(of: CelAuthorizer, question: AuthorizerQuestion) {
    this.of = of;
    this.question = question;
  }
}
class PathCheck extends Question {}
class GroupCheck extends Question {}
class ResourceCheck extends Question {}
class Decision {
  readonly answer: AuthorizerAnswer;
  constructor(answer: AuthorizerAnswer) {
    this.answer = answer;
  }
}

const checkCost = 350_000;

/** A selector that cannot be read narrows nothing: the question is then for more, so that nobody is told of a right that he has not. */
function readable<T>(text: string, parse: (text: string) => readonly T[]): readonly T[] {
  try {
    return parse(text);
  } catch {
    return [];
  }
}

export function registerAuthorizer(environment: Environment): void {
  const on = (signature: string, handler: (...given: never[]) => unknown): void => {
    environment.registerFunction(signature, handler as never);
  };
  const root = 'kubernetes.authorization.';
  for (const [name, type] of [
    ['PathCheck', PathCheck],
    ['GroupCheck', GroupCheck],
    ['ResourceCheck', ResourceCheck],
    ['Decision', Decision],
  ] as const)
    environment.registerType(`${root}${name}`, type as never);
  environment.registerType(`${root}Authorizer`, {
    ctor: CelAuthorizer,
    fields: { requestResource: `${root}ResourceCheck` },
  } as never);
  on(`${root}Authorizer.path(string): ${root}PathCheck`, (one: CelAuthorizer, path: string) => {
    if (path.trim() === '') throw new Error('path must not be empty');
    return new PathCheck(one, { ...nothing, resourceRequest: false, path });
  });
  on(
    `${root}Authorizer.group(string): ${root}GroupCheck`,
    (one: CelAuthorizer, group: string) => new GroupCheck(one, { ...nothing, group }),
  );
  on(
    `${root}Authorizer.serviceAccount(string, string): ${root}Authorizer`,
    (one: CelAuthorizer, namespace: string, name: string) => {
      if (dns1123SubdomainErrors(name).length > 0) throw new Error('Invalid service account name');
      if (dns1123LabelErrors(namespace).length > 0) throw new Error('Invalid service account namespace');
      return new CelAuthorizer(one.check, one.requestResource.question, { namespace, name });
    },
  );
  on(`${root}GroupCheck.resource(string): ${root}ResourceCheck`, (one: GroupCheck, resource: string) => {
    if (resource.trim() === '') throw new Error('resource must not be empty');
    return new ResourceCheck(one.of, { ...one.question, resource });
  });
  const narrow = (name: string, change: (value: string) => Partial<AuthorizerQuestion>): void =>
    on(
      `${root}ResourceCheck.${name}(string): ${root}ResourceCheck`,
      (one: ResourceCheck, value: string) => new ResourceCheck(one.of, { ...one.question, ...change(value) }),
    );
  for (const field of ['subresource', 'namespace', 'name'] as const) narrow(field, (value) => ({ [field]: value }));
  narrow('fieldSelector', (value) => ({ fieldSelector: readable(value, parseFieldSelector) }));
  narrow('labelSelector', (value) => ({
    labelSelector: readable(value, (text) => parseLabelSelector(text).requirements),
  }));
  for (const from of ['PathCheck', 'ResourceCheck'])
    on(`${root}${from}.check(string): ${root}Decision`, (one: Question, verb: string) => {
      charge(checkCost);
      return new Decision(one.of.check({ ...one.question, verb }, one.of.account));
    });
  on(`${root}Decision.allowed(): bool`, (one: Decision) => one.answer.allowed);
  on(`${root}Decision.errored(): bool`, () => false);
  on(`${root}Decision.error(): string`, () => '');
  on(`${root}Decision.reason(): string`, (one: Decision) => one.answer.reason);
}
