import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import { child, fill, fillText, objects } from './helpers.ts';

/** Defaults of networking, admission, extension, aggregation, flow control and device kinds (pkg/apis/…/v1/defaults.go). */
const httpsPort = 443;

export function ingressDefaults(ingress: JsonObject): void {
  child(ingress, 'spec');
  child(child(ingress, 'status'), 'loadBalancer');
}

export function ingressClassDefaults(ingressClass: JsonObject): void {
  const spec = child(ingressClass, 'spec');
  if (isObject(spec.parameters)) fillText(spec.parameters, 'scope', 'Cluster');
}

export function networkPolicyDefaults(policy: JsonObject): void {
  const spec = child(policy, 'spec');
  child(spec, 'podSelector');
  for (const rules of ['ingress', 'egress'])
    for (const rule of objects(spec[rules])) for (const port of objects(rule.ports)) fillText(port, 'protocol', 'TCP');
  if (!Array.isArray(spec.policyTypes) || spec.policyTypes.length === 0)
    spec.policyTypes = ['Ingress', ...(objects(spec.egress).length > 0 ? ['Egress'] : [])];
}

function ruleScope(rules: Json | undefined): void {
  for (const rule of objects(rules)) fillText(rule, 'scope', '*');
}

function webhookDefaults(configuration: JsonObject, reinvocation: boolean): void {
  for (const webhook of objects(configuration.webhooks)) {
    fillText(webhook, 'failurePolicy', 'Fail');
    fillText(webhook, 'matchPolicy', 'Equivalent');
    child(webhook, 'namespaceSelector');
    child(webhook, 'objectSelector');
    if (reinvocation) fillText(webhook, 'reinvocationPolicy', 'Never');
    fill(webhook, 'timeoutSeconds', 10);
    if (isObject(webhook.clientConfig) && isObject(webhook.clientConfig.service))
      fill(webhook.clientConfig.service, 'port', httpsPort);
    ruleScope(webhook.rules);
  }
}

export function mutatingWebhookDefaults(configuration: JsonObject): void {
  webhookDefaults(configuration, true);
}

export function validatingWebhookDefaults(configuration: JsonObject): void {
  webhookDefaults(configuration, false);
}

function matchResourcesDefaults(match: Json | undefined): void {
  if (!isObject(match)) return;
  fillText(match, 'matchPolicy', 'Equivalent');
  child(match, 'namespaceSelector');
  child(match, 'objectSelector');
  ruleScope(match.resourceRules);
  ruleScope(match.excludeResourceRules);
}

export function admissionPolicyDefaults(policy: JsonObject): void {
  const spec = child(policy, 'spec');
  fillText(spec, 'failurePolicy', 'Fail');
  matchResourcesDefaults(spec.matchConstraints);
}

export function validatingPolicyDefaults(policy: JsonObject): void {
  admissionPolicyDefaults(policy);
  child(policy, 'status');
}

export function policyBindingDefaults(binding: JsonObject): void {
  matchResourcesDefaults(child(binding, 'spec').matchResources);
}

export function customResourceDefinitionDefaults(definition: JsonObject): void {
  const spec = child(definition, 'spec');
  const names = child(spec, 'names');
  const kind = typeof names.kind === 'string' ? names.kind : '';
  if (kind !== '') {
    fillText(names, 'singular', kind.toLowerCase());
    fillText(names, 'listKind', `${kind}List`);
  }
  const conversion = child(spec, 'conversion');
  fillText(conversion, 'strategy', 'None');
  const client = isObject(conversion.webhook) ? conversion.webhook.clientConfig : undefined;
  if (isObject(client) && isObject(client.service)) fill(client.service, 'port', httpsPort);
}

export function apiServiceDefaults(apiService: JsonObject): void {
  const spec = child(apiService, 'spec');
  if (isObject(spec.service)) fill(spec.service, 'port', httpsPort);
  child(apiService, 'status');
}

export function certificateRequestDefaults(request: JsonObject): void {
  child(request, 'status');
}

export function flowSchemaDefaults(flow: JsonObject): void {
  const spec = child(flow, 'spec');
  if (spec.matchingPrecedence === undefined || spec.matchingPrecedence === 0) spec.matchingPrecedence = 1000;
  child(flow, 'status');
}

export function priorityLevelDefaults(level: JsonObject): void {
  const spec = child(level, 'spec');
  if (isObject(spec.exempt)) {
    fill(spec.exempt, 'nominalConcurrencyShares', 0);
    fill(spec.exempt, 'lendablePercent', 0);
  }
  if (isObject(spec.limited)) {
    fill(spec.limited, 'nominalConcurrencyShares', 30);
    fill(spec.limited, 'lendablePercent', 0);
    const response = spec.limited.limitResponse;
    if (isObject(response) && isObject(response.queuing))
      for (const [field, value] of [
        ['handSize', 8],
        ['queues', 64],
        ['queueLengthLimit', 50],
      ] as const)
        if (response.queuing[field] === undefined || response.queuing[field] === 0) response.queuing[field] = value;
  }
  child(level, 'status');
}

function deviceDefaults(request: JsonObject): void {
  fillText(request, 'allocationMode', 'ExactCount');
  if (request.allocationMode === 'ExactCount' && (request.count === undefined || request.count === 0))
    request.count = 1;
  for (const toleration of objects(request.tolerations)) fillText(toleration, 'operator', 'Equal');
}

function claimSpecDefaults(spec: JsonObject): void {
  for (const request of objects(child(spec, 'devices').requests)) {
    if (isObject(request.exactly)) deviceDefaults(request.exactly);
    for (const alternative of objects(request.firstAvailable)) deviceDefaults(alternative);
  }
}

export function resourceClaimDefaults(claim: JsonObject): void {
  claimSpecDefaults(child(claim, 'spec'));
  child(claim, 'status');
}

export function resourceClaimTemplateDefaults(template: JsonObject): void {
  const inner = child(template, 'spec');
  child(inner, 'metadata');
  claimSpecDefaults(child(inner, 'spec'));
}
