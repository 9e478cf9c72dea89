import { builtinSchemas } from '../api/builtin.ts';
import { apiVersionOf } from '../api/kinds.ts';
import type { KubeObject, ResourceRef } from '../client/api.ts';
import { objectKey } from '../client/informer.ts';
import type { CheckedResource, CheckedType, paramKindOf } from '../machinery/cel/type-checking.ts';
import type { CelType } from '../machinery/cel/types.ts';
import { isObject, type JsonObject } from '../machinery/json.ts';
import { structuralOf } from '../machinery/structural/schema.ts';
import type { ControllerContext } from './context.ts';
import { unlessGone } from './unless-gone.ts';

const policiesRef: ResourceRef = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  resource: 'validatingadmissionpolicies',
};
const definitionsRef: ResourceRef = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  resource: 'customresourcedefinitions',
};

interface Policy extends KubeObject {
  status?: { observedGeneration?: number; typeChecking?: unknown };
}

interface Definition extends KubeObject {
  spec: {
    group: string;
    names: { kind: string };
    versions: { name: string; schema?: { openAPIV3Schema?: JsonObject } }[];
  };
}

/**
 * Checks the expressions of ValidatingAdmissionPolicies against the types of the objects that they are for and tells in their status what does not fit
 * (kube-controller-manager's validatingadmissionpolicy-status controller). CEL is loaded with the first policy.
 */
export function admissionPolicyStatusController(context: ControllerContext): void {
  const { client, kinds } = context;
  const policies = context.informers.of<Policy>(policiesRef);
  const queue = context.queue('admission-policy-status', reconcile);
  const onPolicy = (policy: Policy): void => queue.add(objectKey(policy));
  policies.handle({ onAdd: onPolicy, onUpdate: onPolicy });

  async function reconcile(key: string): Promise<void> {
    const policy = policies.get(key);
    if (policy === undefined || policy.metadata.deletionTimestamp !== undefined) return;
    const generation = policy.metadata.generation ?? 0;
    if ((policy.status?.observedGeneration ?? 0) >= generation) return;
    const checking = await import('../machinery/cel/type-checking.ts');
    const content = policy as unknown as JsonObject;
    const types: CheckedType[] = [];
    for (const resource of checking.checkedResources(content)) {
      const type = await typeOf(resource);
      if (type !== undefined) types.push(type);
    }
    const paramKind = checking.paramKindOf(content);
    const params = paramKind === undefined ? undefined : await paramsType(paramKind);
    const warnings = checking.expressionWarnings(content, types, params);
    const status = {
      ...policy.status,
      observedGeneration: generation,
      typeChecking: warnings.length === 0 ? {} : { expressionWarnings: warnings },
    };
    await unlessGone(client.update<Policy>(policiesRef, { ...policy, status }, { subresource: 'status' }));
  }

  /** Undefined for a resource that is not served. */
  async function typeOf({ group, version, resource }: CheckedResource): Promise<CheckedType | undefined> {
    const kind = kinds.byResource(group, version, resource);
    if (kind !== undefined) {
      const { celTypeOfDefinition } = await import('../machinery/cel/type-checking.ts');
      return { name: nameOf(group, version, kind.kind), type: celTypeOfDefinition(builtinSchemas, kind.schema) };
    }
    const definition = await unlessGone(client.get<Definition>(definitionsRef, `${resource}.${group}`));
    const type = definition === undefined ? undefined : await typeOfVersion(definition, version);
    return type === undefined ? undefined : { name: nameOf(group, version, definition!.spec.names.kind), type };
  }

  async function typeOfVersion(definition: Definition, version: string): Promise<CelType | undefined> {
    const schema = definition.spec.versions.find(({ name }) => name === version)?.schema?.openAPIV3Schema;
    if (!isObject(schema)) return undefined;
    const { celTypeOf } = await import('../machinery/cel/types.ts');
    return celTypeOf(structuralOf(schema), true);
  }

  /** Parameters of a kind that is not known are of any type. */
  async function paramsType({ group, version, kind }: ReturnType<typeof paramKindOf> & object): Promise<CelType> {
    const found = kinds.byKind(group, version, kind);
    if (found !== undefined) {
      const { celTypeOfDefinition } = await import('../machinery/cel/type-checking.ts');
      return celTypeOfDefinition(builtinSchemas, found.schema);
    }
    const { items } = await client.list<Definition>(definitionsRef);
    const definition = items.find(({ spec }) => spec.group === group && spec.names.kind === kind);
    return (definition && (await typeOfVersion(definition, version))) ?? 'dyn';
  }
}

const nameOf = (group: string, version: string, kind: string): string =>
  `${apiVersionOf({ group, version })}, Kind=${kind}`;
