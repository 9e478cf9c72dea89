/** MutatingAdmissionWebhook and ValidatingAdmissionWebhook (docs: reference/access-authn-authz/extensible-admission-controllers). */
import { errorText } from '../../base/errors.ts';
import { uuid } from '../../base/random.ts';
import type { KindInfo } from '../api/kinds.ts';
import { cloneJson, getPath, isObject, type Json, jsonEqual, type JsonObject } from '../machinery/json.ts';
import { applyJsonPatch } from '../machinery/patch.ts';
import { badRequest, failure, internalError, isStatus, type StatusReason } from '../machinery/status.ts';
import type { Attributes, Decision } from '../auth/identity.ts';
import { isExempt, type Match, matchedKind, matchOf } from './matching.ts';
import { reviewRequest, typed } from './review.ts';
import { type AdmissionContext, type AdmissionPlugin, type AdmissionRequest, replaceContent } from './types.ts';

type Expressions = typeof import('./expressions.ts');

/** What the server lends to webhooks and policies. */
export interface AdmissionServices {
  /** Objects of a kind of admissionregistration.k8s.io, by name. */
  configurations(plural: string): readonly JsonObject[];
  /** Other versions that the kind's objects can be had in. */
  equivalents(kind: KindInfo): readonly KindInfo[];
  convert(from: KindInfo, to: KindInfo, object: JsonObject): Promise<JsonObject>;
  /** A mutated object, decoded and with defaults again. Throws 400. */
  decode(kind: KindInfo, object: JsonObject): JsonObject;
  post(clientConfig: Json | undefined, review: JsonObject, timeoutMs: number): Promise<JsonObject>;
  allowed(attributes: Attributes): Decision;
}

interface Hook {
  readonly name: string;
  /** `configuration/webhook`, for the memory of a round. */
  readonly key: string;
  readonly match: Match;
  readonly conditions: Json | undefined;
  readonly clientConfig: Json | undefined;
  readonly ignoreFailures: boolean;
  readonly timeoutMs: number;
  readonly sideEffects: string;
  readonly again: boolean;
  readonly reviewVersion: string | undefined;
}

const hooksCache = new WeakMap<JsonObject, readonly Hook[]>();

function hooksOf(configuration: JsonObject): readonly Hook[] {
  let known = hooksCache.get(configuration);
  if (known === undefined) {
    const list = Array.isArray(configuration.webhooks) ? configuration.webhooks.filter(isObject) : [];
    const owner = String(getPath(configuration, 'metadata', 'name'));
    known = list.map((hook) => ({
      name: String(hook.name),
      key: `${owner}/${String(hook.name)}`,
      match: matchOf(hook),
      conditions: hook.matchConditions,
      clientConfig: hook.clientConfig,
      ignoreFailures: hook.failurePolicy === 'Ignore',
      timeoutMs: (typeof hook.timeoutSeconds === 'number' ? hook.timeoutSeconds : 10) * 1000,
      sideEffects: String(hook.sideEffects ?? 'Unknown'),
      again: hook.reinvocationPolicy === 'IfNeeded',
      reviewVersion: Array.isArray(hook.admissionReviewVersions)
        ? (hook.admissionReviewVersions.find((one) => one === 'v1' || one === 'v1beta1') as string | undefined)
        : undefined,
    }));
    hooksCache.set(configuration, known);
  }
  return known;
}

interface Called {
  readonly kind: KindInfo;
  readonly object: JsonObject | undefined;
  readonly response: JsonObject;
}

class Webhooks {
  readonly #services: AdmissionServices;
  readonly #plural: string;
  #expressions: Expressions | undefined;
  readonly #conditions = new WeakMap<Hook, ReturnType<Expressions['conditionsOf']>>();

  constructor(services: AdmissionServices, plural: string) {
    this.#services = services;
    this.#plural = plural;
  }

  all(): Hook[] {
    return this.#services.configurations(this.#plural).flatMap(hooksOf);
  }

  /** Asks the webhook. Undefined when it is not concerned, `failed open` when it cannot be asked and may be left out. Throws StatusErrors, the refusal among them. */
  async call(
    hook: Hook,
    request: AdmissionRequest,
    context: AdmissionContext,
  ): Promise<Called | 'failed open' | undefined> {
    const services = this.#services;
    const kind = await matchedKind(hook.match, request, services.equivalents(request.kind), context.reader);
    if (kind === undefined) return undefined;
    const inForm = async (object: JsonObject | undefined): Promise<JsonObject | undefined> =>
      object === undefined
        ? undefined
        : kind === request.kind
          ? typed(kind, object)
          : services.convert(request.kind, kind, object);
    const object = await inForm(request.object);
    const body = reviewRequest(request, { kind, object, old: await inForm(request.old) });
    if (!(await this.#conditionsHold(hook, request, body))) return undefined;
    if (request.dryRun && hook.sideEffects !== 'None' && hook.sideEffects !== 'NoneOnDryRun')
      throw badRequest(`admission webhook ${JSON.stringify(hook.name)} does not support dry run`);
    const uid = uuid(context.random);
    const apiVersion = `admission.k8s.io/${hook.reviewVersion ?? 'v1'}`;
    let response: JsonObject;
    try {
      if (hook.reviewVersion === undefined)
        throw new Error('webhook does not accept known AdmissionReview versions (v1, v1beta1)');
      const review = { kind: 'AdmissionReview', apiVersion, request: { uid, ...body } };
      response = checkedResponse(await services.post(hook.clientConfig, review, hook.timeoutMs), uid, apiVersion);
    } catch (error) {
      if (hook.ignoreFailures) return 'failed open';
      throw internalError(
        `failed calling webhook ${JSON.stringify(hook.name)}: failed to call webhook: ${errorText(error)}`,
      );
    }
    // Keys are the webhook's own.
    if (isObject(response.auditAnnotations))
      for (const [key, value] of Object.entries(response.auditAnnotations))
        if (typeof value === 'string') request.annotate?.(`${hook.name}/${key}`, value);
    for (const text of Array.isArray(response.warnings) ? response.warnings : []) request.warnings.push(String(text));
    if (response.allowed !== true) throw denied(hook.name, response);
    return { kind, object, response };
  }

  async #conditionsHold(hook: Hook, request: AdmissionRequest, body: JsonObject): Promise<boolean> {
    if (!Array.isArray(hook.conditions) || hook.conditions.length === 0) return true;
    this.#expressions ??= await import('./expressions.ts');
    const expressions = this.#expressions;
    let conditions = this.#conditions.get(hook);
    if (conditions === undefined) {
      conditions = expressions.conditionsOf(hook.conditions, expressions.conditionScope);
      this.#conditions.set(hook, conditions);
    }
    const { object, oldObject, ...rest } = body;
    const budget = expressions.newBudget();
    const values = expressions.valuesOf(
      {
        object: isObject(object) ? object : undefined,
        old: isObject(oldObject) ? oldObject : undefined,
        request: rest,
        user: request.user,
        allowed: (attributes) => this.#services.allowed(attributes),
      },
      [],
      budget,
    );
    try {
      return expressions.conditionsHold(conditions, values, budget);
    } catch (error) {
      if (hook.ignoreFailures) return false;
      throw failure(
        403,
        'Forbidden',
        `${request.kind.plural} ${JSON.stringify(request.name)} is forbidden: failed to evaluate match conditions of webhook ${JSON.stringify(hook.name)}: ${errorText(error)}`,
      );
    }
  }
}

function checkedResponse(review: JsonObject, uid: string, apiVersion: string): JsonObject {
  const { response } = review;
  if (!isObject(response)) throw new Error('webhook response was absent');
  if (review.apiVersion !== apiVersion && apiVersion.endsWith('/v1'))
    throw new Error(
      `expected webhook response of ${apiVersion}, Kind=AdmissionReview, got ${String(review.apiVersion)}`,
    );
  if (response.uid !== uid && apiVersion.endsWith('/v1'))
    throw new Error(`expected response.uid=${JSON.stringify(uid)}, got ${JSON.stringify(response.uid ?? '')}`);
  if (response.patch !== undefined && response.patchType !== undefined && response.patchType !== 'JSONPatch')
    throw new Error(`webhook returned invalid response.patchType of ${JSON.stringify(response.patchType)}`);
  return response;
}

function denied(name: string, response: JsonObject): Error {
  const status = isObject(response.status) ? response.status : {};
  const code = typeof status.code === 'number' && status.code >= 400 && status.code < 600 ? status.code : 403;
  const why = String(status.message || status.reason || '');
  const text = `admission webhook ${JSON.stringify(name)} denied the request`;
  return failure(
    code,
    (typeof status.reason === 'string' && status.message
      ? status.reason
      : code === 403
        ? 'Forbidden'
        : '') as StatusReason,
    why === '' ? `${text} without explanation` : `${text}: ${why}`,
    isObject(status.details) ? (status.details as never) : undefined,
  );
}

/** What the first round leaves for the second: what each webhook left behind. */
type Seen = Map<string, JsonObject>;

export function mutatingWebhooks(services: AdmissionServices): AdmissionPlugin {
  const webhooks = new Webhooks(services, 'mutatingwebhookconfigurations');
  return {
    name: 'MutatingAdmissionWebhook',
    async admit(request, context, round) {
      if (isExempt(request.kind)) return;
      const hooks = webhooks.all();
      if (hooks.length === 0) return;
      let seen = round.memory.get('webhooks') as Seen | undefined;
      if (seen === undefined) {
        seen = new Map();
        round.memory.set('webhooks', seen);
      }
      for (const [index, hook] of hooks.entries()) {
        const left = seen.get(hook.key);
        if (!round.first && (left === undefined || !hook.again || jsonEqual(left, request.object))) continue;
        const called = await webhooks.call(hook, request, context);
        if (called === undefined) continue;
        const changed = called !== 'failed open' && (await patched(services, hook, request, called));
        const [configuration, webhook] = [hook.key.slice(0, -hook.name.length - 1), hook.name];
        const place = `round_${round.first ? 0 : 1}_index_${index}`;
        request.annotate?.(
          `mutation.webhook.admission.k8s.io/${place}`,
          JSON.stringify({ configuration, webhook, mutated: changed }),
        );
        if (called === 'failed open') {
          request.annotate?.(`failed-open.mutating.webhook.admission.k8s.io/${place}`, webhook);
          continue;
        }
        if (changed)
          request.annotate?.(
            `patch.webhook.admission.k8s.io/${place}`,
            JSON.stringify({ configuration, webhook, patch: patchOf(called.response), patchType: 'JSONPatch' }),
            'Request',
          );
        // Plugins and webhooks before this one have not seen what it changed.
        if (changed && round.first) round.again = true;
        if (request.object !== undefined) seen.set(hook.key, cloneJson(request.object));
      }
    },
  };
}

function patchOf(response: JsonObject): unknown {
  return JSON.parse(Buffer.from(String(response.patch), 'base64').toString('utf8'));
}

/** Puts the webhook's patch on the object. Whether anything changed. */
async function patched(
  services: AdmissionServices,
  hook: Hook,
  request: AdmissionRequest,
  { kind, object, response }: Called,
): Promise<boolean> {
  if (typeof response.patch !== 'string' || response.patch === '') return false;
  const fail = (error: unknown): Error =>
    isStatus(error, 'Invalid')
      ? error
      : internalError(`failed calling webhook ${JSON.stringify(hook.name)}: ${errorText(error)}`);
  if (object === undefined || request.object === undefined)
    throw fail(new Error('webhook returned a patch for a request without an object'));
  try {
    const patch = patchOf(response);
    if (Array.isArray(patch) && patch.length === 0) return false;
    const result = applyJsonPatch(cloneJson(object), patch);
    const back = kind === request.kind ? result : await services.convert(kind, request.kind, result);
    const next = services.decode(request.kind, back);
    if (jsonEqual(next, request.object)) return false;
    replaceContent(request.object, next);
    return true;
  } catch (error) {
    throw fail(error);
  }
}

export function validatingWebhooks(services: AdmissionServices): AdmissionPlugin {
  const webhooks = new Webhooks(services, 'validatingwebhookconfigurations');
  return {
    name: 'ValidatingAdmissionWebhook',
    async validate(request, context) {
      if (isExempt(request.kind)) return;
      const hooks = webhooks.all();
      if (hooks.length === 0) return;
      // All are asked at once; the first refusal in their order is told.
      const results = await Promise.allSettled(hooks.map((hook) => webhooks.call(hook, request, context)));
      for (const [index, result] of results.entries())
        if (result.status === 'fulfilled' && result.value === 'failed open')
          request.annotate?.(
            `failed-open.validating.webhook.admission.k8s.io/round_0_index_${index}`,
            hooks[index]!.name,
          );
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    },
  };
}
