import { isObject, type JsonObject } from '../../machinery/json.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  dns1123LabelErrors,
  dns1123SubdomainErrors,
  duplicate,
  forbiddenField,
  invalidValue,
  notSupported,
  required,
} from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { metadataOf, part, specOf, texts } from './common.ts';

/** Rules of priority and fairness (pkg/apis/flowcontrol/validation/validation.go). */
const precedenceMax = 10_000;
const queuesMax = 10_000_000;
const hashBits = 60;
const verbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'proxy', 'update', 'watch'];
const subjectFields = { Group: 'group', ServiceAccount: 'serviceAccount', User: 'user' } as const;
type SubjectKind = keyof typeof subjectFields;

function subjectErrors(subject: JsonObject, path: string): FieldError[] {
  const kind = String(subject.kind ?? '');
  if (!Object.hasOwn(subjectFields, kind)) return [notSupported(`${path}.kind`, kind, Object.keys(subjectFields))];
  const field = subjectFields[kind as SubjectKind];
  const errors: FieldError[] = [];
  const given = subject[field];
  if (!isObject(given))
    errors.push(required(`${path}.${field}`, `${field} is required when subject kind is '${kind}'`));
  else {
    const name = String(given.name ?? '');
    if (name === '') errors.push(required(`${path}.${field}.name`));
    if (kind === 'ServiceAccount') {
      if (name !== '' && name !== '*')
        for (const why of dns1123SubdomainErrors(name)) errors.push(invalidValue(`${path}.${field}.name`, name, why));
      const namespace = String(given.namespace ?? '');
      if (namespace === '')
        errors.push(required(`${path}.${field}.namespace`, 'must specify namespace for service account'));
      else
        for (const why of dns1123LabelErrors(namespace))
          errors.push(invalidValue(`${path}.${field}.namespace`, namespace, why));
    }
  }
  for (const [otherKind, other] of Object.entries(subjectFields))
    if (other !== field && subject[other] !== undefined)
      errors.push(forbiddenField(`${path}.${other}`, `${other} is forbidden when subject kind is not '${otherKind}'`));
  return errors;
}

function verbErrors(rule: JsonObject, path: string): FieldError[] {
  const given = texts(rule.verbs);
  if (given.length === 0) return [required(`${path}.verbs`, 'verbs must contain at least one value')];
  if (given.includes('*'))
    return given.length > 1
      ? [invalidValue(`${path}.verbs`, given, "if '*' is present, must not specify other verbs")]
      : [];
  return given.every((verb) => verbs.includes(verb)) ? [] : [notSupported(`${path}.verbs`, given, verbs)];
}

function listErrors(rule: JsonObject, field: string, path: string, missing: string, others: string): FieldError[] {
  const given = texts(rule[field]);
  if (given.length === 0) return [required(`${path}.${field}`, missing)];
  return given.length > 1 && given.includes('*')
    ? [invalidValue(`${path}.${field}`, given, `if '*' is present, must not specify other ${others}`)]
    : [];
}

function resourceRuleErrors(rule: JsonObject, path: string): FieldError[] {
  const errors = [
    ...verbErrors(rule, path),
    ...listErrors(rule, 'apiGroups', path, 'resource rules must supply at least one api group', 'api groups'),
    ...listErrors(rule, 'resources', path, 'resource rules must supply at least one resource', 'resources'),
  ];
  const namespaces = texts(rule.namespaces);
  const at = `${path}.namespaces`;
  if (namespaces.length === 0) {
    if (rule.clusterScope !== true)
      errors.push(required(at, 'resource rules that are not cluster scoped must supply at least one namespace'));
  } else if (namespaces.includes('*')) {
    if (namespaces.length > 1)
      errors.push(invalidValue(at, namespaces, "if '*' is present, must not specify other namespaces"));
  } else
    for (const [index, namespace] of namespaces.entries())
      for (const why of dns1123LabelErrors(namespace))
        errors.push(
          invalidValue(
            `${at}[${index}]`,
            namespace,
            `each member of this list must be '*' or a DNS-1123 label; ${why}`,
          ),
        );
  return errors;
}

function urlErrors(url: string, path: string): FieldError[] {
  const wrong = (why: string): FieldError[] => [invalidValue(path, url, why)];
  if (url === '') return wrong('must not be empty');
  if (url === '/') return [];
  if (!url.startsWith('/')) return wrong('must start with slash');
  if (url.includes(' ')) return wrong('must not contain white-space');
  if (url.includes('//')) return wrong('must not contain double slash');
  const stars = url.split('*').length - 1;
  return stars > 1 || (stars === 1 && !url.endsWith('/*')) ? wrong('wildcard can only do suffix matching') : [];
}

function nonResourceRuleErrors(rule: JsonObject, path: string): FieldError[] {
  const errors = verbErrors(rule, path);
  const urls = texts(rule.nonResourceURLs);
  errors.push(
    ...listErrors(
      rule,
      'nonResourceURLs',
      path,
      'nonResourceURLs must contain at least one value',
      'non-resource URLs',
    ),
  );
  if (!urls.includes('*'))
    for (const [index, url] of urls.entries()) errors.push(...urlErrors(url, `${path}.nonResourceURLs[${index}]`));
  return errors;
}

export function flowSchemaErrors(flow: JsonObject): FieldError[] {
  const spec = specOf(flow);
  const errors: FieldError[] = [];
  const precedence = Number(spec.matchingPrecedence ?? 0);
  const at = 'spec.matchingPrecedence';
  if (precedence <= 0) errors.push(invalidValue(at, precedence, 'must be a positive value'));
  if (precedence > precedenceMax)
    errors.push(invalidValue(at, precedence, `must not be greater than ${precedenceMax}`));
  if (precedence === 1 && metadataOf(flow).name !== 'exempt')
    errors.push(invalidValue(at, precedence, "only the schema named 'exempt' may have matchingPrecedence 1"));
  const method = spec.distinguisherMethod;
  if (isObject(method) && !['ByNamespace', 'ByUser'].includes(String(method.type)))
    errors.push(notSupported('spec.distinguisherMethod.type', method.type ?? '', ['ByNamespace', 'ByUser']));
  const level = String(part(spec, 'priorityLevelConfiguration').name ?? '');
  const place = 'spec.priorityLevelConfiguration.name';
  if (level === '') errors.push(required(place, 'must reference a priority level'));
  else for (const why of dns1123SubdomainErrors(level)) errors.push(invalidValue(place, level, why));
  for (const [index, rule] of objects(spec.rules).entries()) {
    const path = `spec.rules[${index}]`;
    const subjects = objects(rule.subjects);
    if (subjects.length === 0) errors.push(required(`${path}.subjects`, 'subjects must contain at least one value'));
    for (const [i, subject] of subjects.entries()) errors.push(...subjectErrors(subject, `${path}.subjects[${i}]`));
    const [resources, others] = [objects(rule.resourceRules), objects(rule.nonResourceRules)];
    if (resources.length === 0 && others.length === 0)
      errors.push(required(path, 'at least one of resourceRules and nonResourceRules has to be non-empty'));
    for (const [i, one] of resources.entries()) errors.push(...resourceRuleErrors(one, `${path}.resourceRules[${i}]`));
    for (const [i, one] of others.entries())
      errors.push(...nonResourceRuleErrors(one, `${path}.nonResourceRules[${i}]`));
  }
  return errors;
}

/** Bits of a hash that deal a hand out of a deck: shuffle sharding needs them to tell all hands apart. */
function entropyBits(deck: number, hand: number): number {
  let bits = 0;
  for (let i = 0; i < hand; i++) bits += Math.log2(deck - i);
  return Math.ceil(bits);
}

function queuingErrors(queuing: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const positive = (field: string): number => {
    const value = Number(queuing[field] ?? 0);
    if (value <= 0) errors.push(invalidValue(`${path}.${field}`, value, 'must be positive'));
    return value;
  };
  positive('queueLengthLimit');
  const queues = positive('queues');
  if (queues > queuesMax) errors.push(invalidValue(`${path}.queues`, queues, `must not be greater than ${queuesMax}`));
  const hand = positive('handSize');
  if (hand <= 0) return errors;
  if (hand > queues)
    errors.push(invalidValue(`${path}.handSize`, hand, `should not be greater than queues (${queues})`));
  else if (entropyBits(queues, hand) > hashBits)
    errors.push(
      invalidValue(
        `${path}.handSize`,
        hand,
        `required entropy bits of deckSize ${queues} and handSize ${hand} should not be greater than ${hashBits}`,
      ),
    );
  return errors;
}

function percentErrors(value: unknown, path: string, max: number): FieldError[] {
  return typeof value === 'number' && (value < 0 || value > max)
    ? [
        invalidValue(
          path,
          value,
          max === Infinity ? 'if specified, must be a non-negative integer' : `must be between 0 and ${max}, inclusive`,
        ),
      ]
    : [];
}

function limitedErrors(limited: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const shares = Number(limited.nominalConcurrencyShares ?? 0);
  if (shares < 0)
    errors.push(invalidValue(`${path}.nominalConcurrencyShares`, shares, 'must be a non-negative integer'));
  errors.push(...percentErrors(limited.lendablePercent, `${path}.lendablePercent`, 100));
  errors.push(...percentErrors(limited.borrowingLimitPercent, `${path}.borrowingLimitPercent`, Infinity));
  const response = part(limited, 'limitResponse');
  const at = `${path}.limitResponse`;
  if (response.type === 'Reject') {
    if (response.queuing !== undefined)
      errors.push(forbiddenField(`${at}.queuing`, 'must be nil if limited.limitResponse.type is not Limited'));
  } else if (response.type === 'Queue') {
    if (isObject(response.queuing)) errors.push(...queuingErrors(response.queuing, `${at}.queuing`));
    else errors.push(required(`${at}.queuing`, 'must not be empty if limited.limitResponse.type is Limited'));
  } else errors.push(notSupported(`${at}.type`, response.type ?? '', ['Queue', 'Reject']));
  return errors;
}

export function priorityLevelErrors(level: JsonObject): FieldError[] {
  const spec = specOf(level);
  const errors: FieldError[] = [];
  const { type } = spec;
  if ((metadataOf(level).name === 'exempt') !== (type === 'Exempt'))
    errors.push(invalidValue('spec.type', type ?? '', "type must be 'Exempt' if and only if name is 'exempt'"));
  if (type === 'Exempt') {
    if (spec.limited !== undefined)
      errors.push(forbiddenField('spec.limited', 'must be nil if the type is not Limited'));
    const exempt = part(spec, 'exempt');
    if (Number(exempt.nominalConcurrencyShares ?? 0) < 0)
      errors.push(
        invalidValue(
          'spec.exempt.nominalConcurrencyShares',
          exempt.nominalConcurrencyShares,
          'must be a non-negative integer',
        ),
      );
    errors.push(...percentErrors(exempt.lendablePercent, 'spec.exempt.lendablePercent', 100));
  } else if (type === 'Limited') {
    if (spec.exempt !== undefined) errors.push(forbiddenField('spec.exempt', 'must be nil if the type is Limited'));
    if (isObject(spec.limited)) errors.push(...limitedErrors(spec.limited, 'spec.limited'));
    else errors.push(required('spec.limited', 'must not be empty when type is Limited'));
  } else errors.push(notSupported('spec.type', type ?? '', ['Exempt', 'Limited']));
  return errors;
}

/** Conditions of both kinds: each type once, none empty. */
export function flowConditionErrors(object: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, condition] of objects(part(object, 'status').conditions).entries()) {
    const at = `status.conditions[${index}].type`;
    const type = String(condition.type ?? '');
    if (seen.has(type)) errors.push(duplicate(at, type));
    seen.add(type);
    if (type === '') errors.push(required(at, 'must not be empty'));
  }
  return errors;
}
