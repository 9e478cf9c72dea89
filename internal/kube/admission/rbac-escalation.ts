import type { Authorizer } from '../auth/authorizer.ts';
import type { PolicyRule } from '../auth/rbac.ts';
import { rulesCover } from '../auth/rbac.ts';
import { mastersGroup } from '../auth/identity.ts';
import { isObject, jsonEqual, type JsonObject } from '../machinery/json.ts';
import { forbidden } from '../machinery/status.ts';
import type { AdmissionPlugin, AdmissionRequest } from './types.ts';

const group = 'rbac.authorization.k8s.io';

/** Nobody grants what they do not hold, unless they may `escalate` the role or `bind` it (docs: rbac, "Privilege escalation prevention"). */
export function rbacEscalation(authorizer: Authorizer): AdmissionPlugin {
  const may = async (request: AdmissionRequest, verb: string, resource: string, name: string): Promise<boolean> => {
    const decision = await authorizer.authorize({
      user: request.user,
      verb,
      resourceRequest: true,
      group,
      version: 'v1',
      resource,
      subresource: '',
      namespace: request.namespace,
      name,
      path: '',
    });
    return decision.allowed;
  };
  return {
    name: 'RBACEscalation',
    async validate(request) {
      const { kind, object, old, operation, user } = request;
      if (kind.group !== group || object === undefined || (operation !== 'CREATE' && operation !== 'UPDATE')) return;
      if (user.groups.includes(mastersGroup)) return;
      const held = authorizer.policy.rulesFor(user, request.namespace);
      const name = String((object.metadata as JsonObject | undefined)?.name ?? request.name);
      const refuse = (): never => {
        throw forbidden(
          { group, resource: kind.plural },
          name,
          `user ${JSON.stringify(user.name)} (groups=${JSON.stringify(user.groups)}) is attempting to grant RBAC permissions not currently held`,
        );
      };
      if (kind.plural === 'roles' || kind.plural === 'clusterroles') {
        if (
          old !== undefined &&
          jsonEqual(old.rules, object.rules) &&
          jsonEqual(old.aggregationRule, object.aggregationRule)
        )
          return;
        if (await may(request, 'escalate', kind.plural, name)) return;
        const everything: PolicyRule[] = [
          { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
          { verbs: ['*'], nonResourceURLs: ['*'] },
        ];
        const wanted =
          object.aggregationRule === undefined ? ((object.rules ?? []) as unknown as PolicyRule[]) : everything;
        if (!rulesCover(held, wanted)) refuse();
        return;
      }
      const reference = isObject(object.roleRef) ? object.roleRef : {};
      if (old !== undefined && jsonEqual(old.roleRef, object.roleRef) && jsonEqual(old.subjects, object.subjects))
        return;
      const resource = reference.kind === 'Role' ? 'roles' : 'clusterroles';
      if (await may(request, 'bind', resource, String(reference.name))) return;
      const rules = authorizer.policy.roleRules(String(reference.kind), request.namespace, String(reference.name));
      if (rules === undefined)
        throw forbidden(
          { group, resource: kind.plural },
          name,
          `the role ${JSON.stringify(reference.name)} does not exist`,
        );
      if (!rulesCover(held, rules)) refuse();
    },
  };
}
