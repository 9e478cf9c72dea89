import { withCondition } from '../../api/strategies/custom-definition.ts';
import { getPath, isObject, type Json, type JsonObject } from '../../machinery/json.ts';

/** Conditions of CustomResourceDefinitions (k8s.io/apiextensions-apiserver/pkg/controller/{status,establish,finalizer}). */
const text = (value: Json | undefined): string => (typeof value === 'string' ? value : '');

export function conditionOf(definition: JsonObject, type: string): JsonObject | undefined {
  const list = getPath(definition, 'status', 'conditions');
  return Array.isArray(list) ? list.filter(isObject).find((one) => one.type === type) : undefined;
}

export function isEstablished(definition: JsonObject): boolean {
  return conditionOf(definition, 'Established')?.status === 'True';
}

interface Taken {
  readonly resources: Set<string>;
  readonly kinds: Set<string>;
}

function takenBy(others: readonly JsonObject[]): Taken {
  const resources = new Set<string>();
  const kinds = new Set<string>();
  for (const other of others) {
    const names = getPath(other, 'status', 'acceptedNames');
    if (!isObject(names)) continue;
    for (const one of [names.plural, names.singular, ...(Array.isArray(names.shortNames) ? names.shortNames : [])])
      if (text(one) !== '') resources.add(text(one));
    for (const one of [names.kind, names.listKind]) if (text(one) !== '') kinds.add(text(one));
  }
  return { resources, kinds };
}

/**
 * The status that a definition should have beside the others of its group: which of its names are accepted, and whether it is established. Undefined when
 * it has it already.
 */
export function namedStatus(
  definition: JsonObject,
  others: readonly JsonObject[],
  time: string,
): JsonObject | undefined {
  const wanted = isObject(getPath(definition, 'spec', 'names'))
    ? (getPath(definition, 'spec', 'names') as JsonObject)
    : {};
  const status = isObject(definition.status) ? definition.status : {};
  const have = isObject(status.acceptedNames) ? status.acceptedNames : {};
  const taken = takenBy(others);
  const accepted: JsonObject = { ...have };
  let conflict: { reason: string; message: string } | undefined;
  const take = (field: string, reason: string, from: Set<string>): void => {
    const name = text(wanted[field]);
    if (name === '') {
      delete accepted[field];
      return;
    }
    if (from.has(name)) conflict = { reason, message: `"${name}" is already in use` };
    else accepted[field] = name;
  };
  take('plural', 'PluralConflict', taken.resources);
  take('singular', 'SingularConflict', taken.resources);
  const shortNames = Array.isArray(wanted.shortNames) ? wanted.shortNames.map(text) : [];
  const clash = shortNames.filter((name) => taken.resources.has(name));
  if (clash.length > 0)
    conflict = { reason: 'ShortNamesConflict', message: clash.map((name) => `"${name}" is already in use`).join(', ') };
  else if (shortNames.length > 0) accepted.shortNames = shortNames;
  else delete accepted.shortNames;
  take('kind', 'KindConflict', taken.kinds);
  take('listKind', 'ListKindConflict', taken.kinds);
  if (Array.isArray(wanted.categories) && wanted.categories.length > 0) accepted.categories = wanted.categories;
  else delete accepted.categories;

  let conditions = Array.isArray(status.conditions) ? status.conditions.filter(isObject) : [];
  const approval = approvalCondition(definition);
  if (approval !== undefined) conditions = withCondition(conditions, approval, time);
  conditions = withCondition(
    conditions,
    conflict === undefined
      ? { message: 'no conflicts found', reason: 'NoConflicts', status: 'True', type: 'NamesAccepted' }
      : { message: conflict.message, reason: conflict.reason, status: 'False', type: 'NamesAccepted' },
    time,
  );
  const established = conditions.some((one) => one.type === 'Established' && one.status === 'True');
  if (!established)
    conditions = withCondition(
      conditions,
      conflict === undefined
        ? {
            message: 'the initial names have been accepted',
            reason: 'InitialNamesAccepted',
            status: 'True',
            type: 'Established',
          }
        : { message: 'not all names are accepted', reason: 'NotAccepted', status: 'False', type: 'Established' },
      time,
    );
  const next = { ...status, conditions, acceptedNames: accepted };
  return JSON.stringify(next) === JSON.stringify(status) ? undefined : next;
}

const approvalAnnotation = 'api-approved.kubernetes.io';

/** Groups of the Kubernetes project say who approved them (KEP-1111). */
function approvalCondition(definition: JsonObject): JsonObject | undefined {
  const group = text(getPath(definition, 'spec', 'group'));
  const annotation = text(getPath(definition, 'metadata', 'annotations', approvalAnnotation));
  const isProtected = ['k8s.io', 'kubernetes.io'].some((end) => group === end || group.endsWith(`.${end}`));
  if (!isProtected || annotation === '') return undefined;
  const type = 'KubernetesAPIApprovalPolicyConformant';
  if (annotation.startsWith('unapproved'))
    return { message: `not approved: "${annotation}"`, reason: 'UnapprovedAnnotation', status: 'False', type };
  return { message: `approved in ${annotation}`, reason: 'ApprovedAnnotation', status: 'True', type };
}
