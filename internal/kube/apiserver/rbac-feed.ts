import type { Clock, Timer } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { KindInfo, KindTable } from '../api/kinds.ts';
import type { BindingObject, PolicyRule, RbacPolicy, RoleObject } from '../auth/rbac.ts';
import { isObject, type JsonObject, jsonEqual } from '../machinery/json.ts';
import { labelSelectorOf, matchesLabels } from '../machinery/selectors.ts';
import { Feed } from './feed.ts';
import { type Registry, WriteConflict } from './registry.ts';
import type { WatchHub } from './watch-hub.ts';

const group = 'rbac.authorization.k8s.io';

/** Keeps the policy equal to the stored roles and bindings, and aggregated ClusterRoles equal to the union of what they select. */
export class RbacFeed {
  readonly #feeds: Feed[];
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #clusterRoleKind: KindInfo;
  readonly #clusterRoles = new Map<string, JsonObject>();
  #aggregation: Timer | undefined;
  #closed = false;

  constructor(options: {
    policy: RbacPolicy;
    registry: Registry;
    hub: WatchHub;
    kinds: KindTable;
    clock: Clock;
    log: Logger;
  }) {
    const { policy, kinds } = options;
    this.#registry = options.registry;
    this.#clock = options.clock;
    this.#log = options.log;
    const kind = (plural: string): KindInfo => {
      const found = kinds.byResource(group, 'v1', plural);
      if (found === undefined) throw new Error(`the table of kinds has no ${plural}`);
      return found;
    };
    this.#clusterRoleKind = kind('clusterroles');
    const feed = (
      plural: string,
      set: (object: JsonObject) => void,
      remove: (namespace: string, name: string) => void,
    ): Feed => new Feed({ ...options, kind: kind(plural), handler: { set, remove } });
    const setRole = (object: JsonObject): void => policy.setRole(object as unknown as RoleObject);
    const setBinding = (object: JsonObject): void => policy.setBinding(object as unknown as BindingObject);
    const removeRole = (namespace: string, name: string): void => policy.deleteRole(namespace, name);
    const removeBinding = (namespace: string, name: string): void => policy.deleteBinding(namespace, name);
    this.#feeds = [
      feed('roles', setRole, removeRole),
      feed(
        'clusterroles',
        (object) => {
          this.#clusterRoles.set(String((object.metadata as JsonObject).name), object);
          setRole(object);
          this.#schedule();
        },
        (namespace, name) => {
          this.#clusterRoles.delete(name);
          removeRole(namespace, name);
          this.#schedule();
        },
      ),
      feed('rolebindings', setBinding, removeBinding),
      feed('clusterrolebindings', setBinding, removeBinding),
    ];
  }

  async start(): Promise<void> {
    for (const feed of this.#feeds) await feed.start();
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#aggregation ??= this.#clock.after(20, () => {
      this.#aggregation = undefined;
      this.#aggregate().catch((error: unknown) => {
        this.#log.warn('cannot aggregate cluster roles', { error: errorText(error) });
      });
    });
  }

  /** Writes the rules of ClusterRoles with an aggregationRule (docs: reference/access-authn-authz/rbac, "Aggregated ClusterRoles"). */
  async #aggregate(): Promise<void> {
    for (const [name, role] of this.#clusterRoles) {
      if (!isObject(role.aggregationRule)) continue;
      const rules = this.#union(name, role.aggregationRule);
      if (jsonEqual(rules, role.rules ?? [])) continue;
      const record = await this.#registry.get(this.#clusterRoleKind, '', name);
      if (record === undefined || this.#closed) continue;
      const object = record.object();
      object.rules = rules as unknown as JsonObject[];
      try {
        await this.#registry.update(this.#clusterRoleKind, '', name, record.revision, object);
      } catch (error) {
        if (!(error instanceof WriteConflict)) throw error;
        this.#schedule();
      }
    }
  }

  #union(self: string, rule: JsonObject): PolicyRule[] {
    const selectors = Array.isArray(rule.clusterRoleSelectors) ? rule.clusterRoleSelectors.map(labelSelectorOf) : [];
    const out: PolicyRule[] = [];
    const names = [...this.#clusterRoles.keys()].sort();
    for (const selector of selectors) {
      for (const name of names) {
        if (name === self) continue;
        const role = this.#clusterRoles.get(name)!;
        const labels = (role.metadata as JsonObject).labels;
        if (!matchesLabels(selector, isObject(labels) ? labels : {})) continue;
        for (const one of Array.isArray(role.rules) ? role.rules : [])
          if (!out.some((have) => jsonEqual(have, one))) out.push(one as unknown as PolicyRule);
      }
    }
    return out;
  }

  close(): void {
    this.#closed = true;
    this.#aggregation?.cancel();
    for (const feed of this.#feeds) feed.close();
  }
}
