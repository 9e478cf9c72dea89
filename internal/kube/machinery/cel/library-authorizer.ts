import type { Environment } from '@marcbachmann/cel-js';
import { charge } from './meter.ts';

/** The authorizer library (KEP-3488), but for `serviceAccount`: `authorizer.group('').resource('pods').namespace('default').check('create').allowed()`. */
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
}

export type AuthorizerCheck = (question: AuthorizerQuestion) => boolean;

/** The value of the variable `authorizer`. */
export class CelAuthorizer {
  readonly check: AuthorizerCheck;
  constructor(check: AuthorizerCheck) {
    this.check = check;
  }
}

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

class Question {
  readonly ask: AuthorizerCheck;
  readonly question: AuthorizerQuestion;
  constructor(ask: AuthorizerCheck, question: AuthorizerQuestion) {
    this.ask = ask;
    this.question = question;
  }
}
class PathCheck extends Question {}
class GroupCheck extends Question {}
class ResourceCheck extends Question {}
class Decision {
  readonly allowed: boolean;
  constructor(allowed: boolean) {
    this.allowed = allowed;
  }
}

const checkCost = 350_000;

export function registerAuthorizer(environment: Environment): void {
  const on = (signature: string, handler: (...given: never[]) => unknown): void => {
    environment.registerFunction(signature, handler as never);
  };
  const root = 'kubernetes.authorization.';
  for (const [name, type] of [
    ['Authorizer', CelAuthorizer],
    ['PathCheck', PathCheck],
    ['GroupCheck', GroupCheck],
    ['ResourceCheck', ResourceCheck],
    ['Decision', Decision],
  ] as const)
    environment.registerType(`${root}${name}`, type as never);
  on(`${root}Authorizer.path(string): ${root}PathCheck`, (one: CelAuthorizer, path: string) => {
    return new PathCheck(one.check, { ...nothing, resourceRequest: false, path });
  });
  on(
    `${root}Authorizer.group(string): ${root}GroupCheck`,
    (one: CelAuthorizer, group: string) => new GroupCheck(one.check, { ...nothing, group }),
  );
  on(
    `${root}GroupCheck.resource(string): ${root}ResourceCheck`,
    (one: GroupCheck, resource: string) => new ResourceCheck(one.ask, { ...one.question, resource }),
  );
  for (const field of ['subresource', 'namespace', 'name'] as const)
    on(
      `${root}ResourceCheck.${field}(string): ${root}ResourceCheck`,
      (one: ResourceCheck, value: string) => new ResourceCheck(one.ask, { ...one.question, [field]: value }),
    );
  for (const from of ['PathCheck', 'ResourceCheck'])
    on(`${root}${from}.check(string): ${root}Decision`, (one: Question, verb: string) => {
      charge(checkCost);
      return new Decision(one.ask({ ...one.question, verb }));
    });
  on(`${root}Decision.allowed(): bool`, (one: Decision) => one.allowed);
  on(`${root}Decision.errored(): bool`, () => false);
  on(`${root}Decision.error(): string`, () => '');
  on(`${root}Decision.reason(): string`, () => '');
}
