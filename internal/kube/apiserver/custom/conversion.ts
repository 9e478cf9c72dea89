import { errorText } from '../../../base/errors.ts';
import { type Random, uuid } from '../../../base/random.ts';
import { cloneJson, getPath, isObject, jsonEqual, type JsonObject } from '../../machinery/json.ts';
import { failure } from '../../machinery/status.ts';
import type { ConvertObjects } from '../convert.ts';
import { clientConfigOf, type WebhookClientConfig } from '../webhook-client.ts';

/** ConversionReview (docs: custom-resource-definition-versioning, "Webhook conversion"). */
const timeoutMs = 30_000;

/** Fields of metadata that a conversion may change. */
const free = new Set(['labels', 'annotations']);

export interface ConversionOptions {
  /** The stored CustomResourceDefinition. */
  definition(name: string): JsonObject | undefined;
  post(config: WebhookClientConfig, review: JsonObject, timeoutMs: number): Promise<JsonObject>;
  readonly random: Random;
}

export function conversionWebhook(options: ConversionOptions): ConvertObjects {
  return async (name, apiVersion, objects) => {
    const definition = options.definition(name);
    const from = String(objects[0]?.apiVersion ?? '');
    const kind = String(objects[0]?.kind ?? '');
    const fail = (why: string): Error =>
      failure(500, 'InternalError', `conversion webhook for ${from}, Kind=${kind} failed: ${why}`, {});
    const reviewVersions = getPath(definition, 'spec', 'conversion', 'webhook', 'conversionReviewVersions');
    const version = Array.isArray(reviewVersions)
      ? reviewVersions.find((one) => one === 'v1' || one === 'v1beta1')
      : undefined;
    if (version === undefined) throw fail('does not recognize any of the supported conversion review versions');
    const uid = uuid(options.random);
    const review = {
      kind: 'ConversionReview',
      apiVersion: `apiextensions.k8s.io/${String(version)}`,
      request: { uid, desiredAPIVersion: apiVersion, objects },
    };
    let answer: JsonObject;
    try {
      const config = clientConfigOf(getPath(definition, 'spec', 'conversion', 'webhook', 'clientConfig'));
      answer = await options.post(config, review, timeoutMs);
    } catch (error) {
      throw fail(errorText(error));
    }
    const { response } = answer;
    if (!isObject(response)) throw fail('no response provided');
    if (response.uid !== uid)
      throw fail(`expected response.uid=${JSON.stringify(uid)}, got ${JSON.stringify(response.uid ?? '')}`);
    if (getPath(response, 'result', 'status') !== 'Success')
      throw fail(String(getPath(response, 'result', 'message') ?? 'response.result.status was not Success'));
    const converted = response.convertedObjects;
    if (!Array.isArray(converted) || converted.length !== objects.length)
      throw fail(
        `webhook returned ${Array.isArray(converted) ? converted.length : 0} objects, expected ${objects.length}`,
      );
    return converted.map((one, index) => {
      const why = checkConverted(one, objects[index]!, apiVersion);
      if (why !== undefined) throw fail(why);
      return restored(one as JsonObject, objects[index]!);
    });
  };
}

function checkConverted(converted: unknown, original: JsonObject, apiVersion: string): string | undefined {
  if (!isObject(converted)) return 'invalid converted object: no object';
  if (converted.apiVersion !== apiVersion)
    return `invalid converted object: unexpected apiVersion ${JSON.stringify(converted.apiVersion ?? '')}, expected ${JSON.stringify(apiVersion)}`;
  if (converted.kind !== original.kind)
    return `invalid converted object: unexpected kind ${JSON.stringify(converted.kind ?? '')}`;
  if (!isObject(converted.metadata)) return 'invalid metadata in converted object: no object';
  const before = original.metadata as JsonObject;
  for (const field of ['name', 'namespace', 'uid'])
    if (!jsonEqual(converted.metadata[field], before[field]))
      return `must not change metadata.${field} of ${String(before.name)}`;
  return undefined;
}

/** Only labels and annotations of metadata may change in a conversion: the rest is the original's. */
function restored(converted: JsonObject, original: JsonObject): JsonObject {
  const metadata: JsonObject = cloneJson(original.metadata as JsonObject);
  const changed = converted.metadata as JsonObject;
  for (const field of free) {
    if (changed[field] === undefined) delete metadata[field];
    else metadata[field] = changed[field];
  }
  return { ...converted, metadata };
}
