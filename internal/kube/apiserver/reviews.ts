/** Kinds that are answered and never stored: token and access reviews, and TokenRequest. */
import type { UserInfo } from '../auth/identity.ts';
import type { BoundReference } from '../auth/service-account-tokens.ts';
import type { PolicyRule } from '../auth/rbac.ts';
import { fillDefaults } from '../api/lifecycle.ts';
import { getPath, isObject, type Json, type JsonObject } from '../machinery/json.ts';
import { badRequest, conflict, type FieldError, invalid, notFound } from '../machinery/status.ts';
import { formatTime } from '../machinery/time.ts';
import { invalidValue } from '../machinery/validation.ts';
import { admissionRequest, groupResource, type RequestContext, writeParameters } from './context.ts';
import { reviewSelectorErrors, reviewSelectors } from './review-selectors.ts';
import { decodeKind } from './write.ts';

type Review = (context: RequestContext, object: JsonObject, spec: JsonObject) => Promise<JsonObject>;

const strings = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
const text = (value: unknown): string => (typeof value === 'string' ? value : '');

function userJson(user: UserInfo): JsonObject {
  return {
    username: user.name,
    ...(user.uid === undefined ? {} : { uid: user.uid }),
    groups: [...user.groups],
    ...(user.extra === undefined
      ? {}
      : { extra: Object.fromEntries(Object.entries(user.extra).map(([key, list]) => [key, [...list]])) }),
  };
}

const tokenReview: Review = async ({ core }, _object, spec) => {
  const token = text(spec.token);
  if (token === '') throw badRequest('token is required for TokenReview in authentication');
  const audiences = strings(spec.audiences);
  const other = await core.tokenUser(token);
  if (other !== undefined) {
    // Such a token says nothing of audiences: it is for those of this server.
    const asked = audiences.length > 0 ? audiences : core.tokens.audiences;
    const served = asked.filter((one) => core.tokens.audiences.includes(one));
    if (served.length === 0) return { user: {}, error: 'the token is for none of the audiences asked for' };
    return { authenticated: true, user: userJson(other), audiences: served };
  }
  const result = await core.tokens.verify(token, audiences.length > 0 ? audiences : undefined);
  if ('error' in result) return { user: {}, error: result.error };
  return { authenticated: true, user: userJson(result.user), audiences: result.audiences };
};

/** What is asked: one thing, about a resource or about a path. `subject`: it is asked about somebody whom the spec names. */
function accessErrors(spec: JsonObject, subject: boolean): FieldError[] {
  const errors: FieldError[] = [];
  const resource = isObject(spec.resourceAttributes) ? spec.resourceAttributes : undefined;
  const path = isObject(spec.nonResourceAttributes) ? spec.nonResourceAttributes : undefined;
  if (resource !== undefined && path !== undefined)
    errors.push(
      invalidValue('spec.nonResourceAttributes', path, 'cannot be specified in combination with resourceAttributes'),
    );
  if (resource === undefined && path === undefined)
    errors.push(
      invalidValue(
        'spec.resourceAttributes',
        null,
        'exactly one of nonResourceAttributes or resourceAttributes must be specified',
      ),
    );
  if (subject && text(spec.user) === '' && strings(spec.groups).length === 0)
    errors.push(invalidValue('spec.user', '', 'at least one of user or group must be specified'));
  if (resource !== undefined) errors.push(...reviewSelectorErrors(resource, 'spec.resourceAttributes'));
  return errors;
}

async function access(
  context: RequestContext,
  spec: JsonObject,
  user: UserInfo,
  namespace?: string,
): Promise<JsonObject> {
  const errors = accessErrors(spec, context.kind.kind !== 'SelfSubjectAccessReview');
  if (errors.length > 0) throw invalid('authorization.k8s.io', context.kind.kind, '', errors);
  const resource = isObject(spec.resourceAttributes) ? spec.resourceAttributes : undefined;
  const path = isObject(spec.nonResourceAttributes) ? spec.nonResourceAttributes : undefined;
  const { ignored, ...selectors } = reviewSelectors(resource);
  const decision = await context.core.authorizer.authorize({
    user,
    verb: text(resource?.verb ?? path?.verb),
    resourceRequest: resource !== undefined,
    group: text(resource?.group),
    version: text(resource?.version) || '*',
    resource: text(resource?.resource),
    subresource: text(resource?.subresource),
    namespace: namespace ?? text(resource?.namespace),
    name: text(resource?.name),
    path: text(path?.path),
    ...selectors,
  });
  return {
    allowed: decision.allowed,
    ...(decision.reason === '' ? {} : { reason: decision.reason }),
    ...(ignored === '' ? {} : { evaluationError: ignored }),
  };
}

function reviewedUser(spec: JsonObject): UserInfo {
  const extra: Record<string, string[]> = {};
  if (isObject(spec.extra)) for (const key in spec.extra) extra[key] = strings(spec.extra[key]);
  return {
    name: text(spec.user),
    groups: strings(spec.groups),
    extra,
    ...(text(spec.uid) === '' ? {} : { uid: text(spec.uid) }),
  };
}

const rules: Review = async (context, _object, spec) => {
  const namespace = text(spec.namespace);
  if (namespace === '') throw badRequest('no namespace on request');
  const all = context.core.authorizer.policy.rulesFor(context.user, namespace);
  const list = (value: readonly string[] | undefined): Json => [...(value ?? [])];
  const isPath = (rule: PolicyRule): boolean => (rule.nonResourceURLs?.length ?? 0) > 0;
  return {
    resourceRules: all
      .filter((rule) => !isPath(rule))
      .map((rule) => ({
        verbs: list(rule.verbs),
        apiGroups: list(rule.apiGroups),
        resources: list(rule.resources),
        ...(rule.resourceNames?.length ? { resourceNames: list(rule.resourceNames) } : {}),
      })),
    nonResourceRules: all
      .filter(isPath)
      .map((rule) => ({ verbs: list(rule.verbs), nonResourceURLs: list(rule.nonResourceURLs) })),
    incomplete: false,
  };
};

const reviews: Record<string, Review> = {
  TokenReview: tokenReview,
  SelfSubjectReview: async ({ user }) => ({ userInfo: userJson(user) }),
  SubjectAccessReview: (context, _object, spec) => access(context, spec, reviewedUser(spec)),
  LocalSubjectAccessReview: (context, _object, spec) => {
    const namespace = context.info.namespace;
    const asked = getPath(spec, 'resourceAttributes', 'namespace');
    if (asked !== undefined && asked !== namespace)
      throw badRequest(`spec.resourceAttributes.namespace must match namespace: ${namespace}`);
    return access(context, spec, reviewedUser(spec), namespace);
  },
  SelfSubjectAccessReview: (context, _object, spec) => access(context, spec, context.user),
  SelfSubjectRulesReview: rules,
};

/** POST of a virtual kind. Undefined for one that has no answer here. */
export async function review(context: RequestContext): Promise<JsonObject | undefined> {
  const { core, kind } = context;
  const answer = reviews[kind.kind];
  if (answer === undefined) return undefined;
  const parameters = writeParameters(context, 'CreateOptions');
  const object = decodeKind(context, kind, await context.body(), parameters.fieldValidation);
  fillDefaults(kind, object);
  const request = admissionRequest(context, 'CREATE', { name: '', object, old: undefined, dryRun: parameters.dryRun });
  await core.admission.admit(request);
  await core.admission.validate(request);
  const spec = isObject(object.spec) ? object.spec : {};
  object.status = await answer(context, object, spec);
  (object.metadata as JsonObject).creationTimestamp ??= null;
  return object;
}

const secondsMin = 600;
const secondsDefault = 3600;
const secondsMax = 2 ** 32;
/** Tokens live a day at most, so that a stolen one does not serve for ever. */
const secondsServed = 86_400;

/** POST to serviceaccounts/<name>/token: a token bound to an audience and, when asked, to a pod, secret or node. */
export async function requestToken(context: RequestContext): Promise<JsonObject> {
  const { core, info, kind } = context;
  const parameters = writeParameters(context, 'CreateOptions');
  const schema = 'io.k8s.api.authentication.v1.TokenRequest';
  const request = decodeKind(
    context,
    { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest', schema },
    await context.body(),
    parameters.fieldValidation,
  );
  const refuse = (field: string, detail: string): never => {
    throw invalid('authentication.k8s.io', 'TokenRequest', info.name, [{ type: 'FieldValueInvalid', field, detail }]);
  };
  const given = isObject(request.metadata) ? request.metadata : {};
  for (const field of ['name', 'namespace'] as const)
    if (text(given[field]) !== '' && given[field] !== info[field])
      refuse(
        `metadata.${field}`,
        `Invalid value: ${JSON.stringify(given[field])}: must match the service account ${field} if specified`,
      );
  const account = await core.registry.getObject(kind, info.namespace, info.name);
  if (account === undefined) throw notFound(groupResource(kind), info.name);
  const admission = admissionRequest(context, 'CREATE', {
    name: info.name,
    object: request,
    old: undefined,
    dryRun: parameters.dryRun,
  });
  await core.admission.admit(admission);
  await core.admission.validate(admission);
  const spec = isObject(request.spec) ? request.spec : {};
  const seconds = typeof spec.expirationSeconds === 'number' ? spec.expirationSeconds : secondsDefault;
  if (seconds < secondsMin)
    refuse('spec.expirationSeconds', `Invalid value: ${seconds}: may not specify a duration less than 10 minutes`);
  if (seconds > secondsMax)
    refuse('spec.expirationSeconds', `Invalid value: ${seconds}: may not specify a duration larger than 2^32 seconds`);
  const audiences = strings(spec.audiences);
  if (audiences.length === 0) audiences.push(...core.tokens.audiences);
  const uid = String(getPath(account, 'metadata', 'uid'));
  if (text(given.uid) !== '' && given.uid !== uid)
    throw conflict(
      { group: 'authentication.k8s.io', resource: 'TokenRequest' },
      info.name,
      `the UID in the token request (${text(given.uid)}) does not match the UID of the service account (${uid})`,
    );
  const bound = await boundTo(context, spec.boundObjectRef);
  const { token, expires } = await core.tokens.issue(
    { namespace: info.namespace, serviceAccount: { name: info.name, uid }, ...bound },
    audiences,
    Math.min(seconds, secondsServed),
  );
  return {
    ...request,
    metadata: {
      name: info.name,
      namespace: info.namespace,
      creationTimestamp: formatTime(core.clock.now()),
    },
    spec: {
      ...spec,
      audiences,
      expirationSeconds: Math.min(seconds, secondsServed),
      boundObjectRef: spec.boundObjectRef ?? null,
    },
    status: { token, expirationTimestamp: formatTime(expires) },
  };
}

type Bound = { [K in 'pod' | 'secret' | 'node']?: { name: string; uid: string } };

async function boundTo(context: RequestContext, reference: unknown): Promise<Bound> {
  if (!isObject(reference)) return {};
  const { core, info } = context;
  const kindName = text(reference.kind) as BoundReference['kind'];
  const plural = { Pod: 'pods', Secret: 'secrets', Node: 'nodes' }[kindName];
  const kind = plural === undefined ? undefined : core.kinds.byResource('', 'v1', plural);
  if (kind === undefined)
    throw badRequest(
      `cannot bind token for serviceaccount "${info.name}" to object of type ${text(reference.apiVersion)}/${kindName}`,
    );
  const name = text(reference.name);
  const object = await core.registry.getObject(kind, kind.namespaced ? info.namespace : '', name);
  if (object === undefined) throw notFound(groupResource(kind), name);
  const uid = String(getPath(object, 'metadata', 'uid'));
  if (text(reference.uid) !== '' && reference.uid !== uid)
    throw conflict(
      groupResource(kind),
      name,
      `the UID in the bound object reference (${text(reference.uid)}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  if (kindName === 'Node') return { node: { name, uid } };
  if (kindName === 'Secret') return { secret: { name, uid } };
  if (getPath(object, 'spec', 'serviceAccountName') !== info.name)
    throw badRequest(
      `cannot bind token to pod ${JSON.stringify(name)}: it runs as service account ${JSON.stringify(getPath(object, 'spec', 'serviceAccountName') ?? '')}`,
    );
  const nodeName = text(getPath(object, 'spec', 'nodeName'));
  const nodes = core.kinds.byResource('', 'v1', 'nodes');
  const node = nodeName === '' || nodes === undefined ? undefined : await core.registry.getObject(nodes, '', nodeName);
  return {
    pod: { name, uid },
    ...(node === undefined ? {} : { node: { name: nodeName, uid: String(getPath(node, 'metadata', 'uid')) } }),
  };
}
