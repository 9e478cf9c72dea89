/** Patches and server-side apply against oracles that are slow and plain: seeded, `PROPERTY_SEED` and `PROPERTY_ROUNDS` choose other runs. */
import { describe, expect, test } from 'vitest';
import { type Random, seededRandom } from '../../base/random.ts';
import { builtinSchemas } from '../api/schema/structure.ts';
import { cloneJson, isObject, type Json, type JsonObject } from './json.ts';
import { type FieldManagement, serverSideApply } from './managedfields.ts';
import { applyStrategicMergePatch } from './strategic.ts';

const rounds = Number(process.env.PROPERTY_ROUNDS ?? 2000);
const seed = Number(process.env.PROPERTY_SEED ?? 1);
const schema = 'io.k8s.api.core.v1.Pod';

const pick = <T>(random: Random, list: readonly T[]): T => list[random.uint32() % list.length]!;
const chance = (random: Random, part: number): boolean => random.float() < part;
const some = <T>(random: Random, list: readonly T[], part = 0.5): T[] => list.filter(() => chance(random, part));

function shuffled<T>(random: Random, list: readonly T[]): T[] {
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const j = random.uint32() % (i + 1);
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}

/** What a test's objects are made of: leaves, a map, an atomic list, and a list with a key whose items have one, too. */
interface Model {
  leaves: Record<string, Json>;
  labels: Record<string, string>;
  containers: Record<string, { image?: string; args?: string[]; env: Record<string, string | undefined> }>;
}

const leafNames = ['nodeName', 'hostname', 'dnsPolicy'] as const;

function model(random: Random): Model {
  const containers: Model['containers'] = {};
  for (const name of shuffled(random, some(random, ['a', 'b', 'c', 'd'])))
    containers[name] = {
      ...(chance(random, 0.7) ? { image: pick(random, ['i1', 'i2', 'i3']) } : {}),
      ...(chance(random, 0.4) ? { args: some(random, ['x', 'y', 'z'], 0.6) } : {}),
      env: Object.fromEntries(
        shuffled(random, some(random, ['E1', 'E2', 'E3'], 0.4)).map((key) => [key, pick(random, ['1', '2'])]),
      ),
    };
  return {
    leaves: Object.fromEntries(some(random, leafNames).map((name) => [name, pick(random, ['u', 'v'])])),
    labels: Object.fromEntries(some(random, ['l1', 'l2', 'l3']).map((name) => [name, pick(random, ['1', '2'])])),
    containers,
  };
}

function podOf({ leaves, labels, containers }: Model): JsonObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', ...(Object.keys(labels).length === 0 ? {} : { labels: { ...labels } }) },
    spec: {
      ...leaves,
      ...(Object.keys(containers).length === 0
        ? {}
        : {
            containers: Object.entries(containers).map(([name, { env, image, args }]) => ({
              name,
              ...(image === undefined ? {} : { image }),
              ...(args === undefined ? {} : { args: [...args] }),
              ...(Object.keys(env).length === 0
                ? {}
                : { env: Object.entries(env).map(([key, value]) => ({ name: key, value })) }),
            })),
          }),
    },
  };
}

/** Order of keys says nothing, nor does an empty map or list where the other has none; order of lists does only when `ordered`. */
function plain(value: Json, ordered = true): Json {
  if (Array.isArray(value)) {
    const items = value.map((one) => plain(one, ordered));
    const keyed = items.every((one) => isObject(one) && typeof one.name === 'string');
    return ordered || !keyed
      ? items
      : items.sort((a, b) => (String((a as JsonObject).name) < String((b as JsonObject).name) ? -1 : 1));
  }
  if (!isObject(value)) return value;
  const out: JsonObject = {};
  for (const key of Object.keys(value).sort()) {
    const child = plain(value[key]!, ordered);
    const empty = (isObject(child) && Object.keys(child).length === 0) || (Array.isArray(child) && child.length === 0);
    if (!empty && !(key === 'args' && empty)) out[key] = child;
  }
  return out;
}

describe('strategic merge patch', () => {
  /** The patch that makes `to` of `from`, written from the rules of the patch and not from the code that applies it. */
  function patchBetween(from: Model, to: Model): JsonObject {
    const map = (before: Record<string, Json>, after: Record<string, Json>): JsonObject => ({
      ...Object.fromEntries(
        Object.keys(before)
          .filter((key) => !(key in after))
          .map((key) => [key, null]),
      ),
      ...Object.fromEntries(Object.entries(after).filter(([key, value]) => before[key] !== value)),
    });
    const keyed = (names: string[], gone: string[], changed: JsonObject[]): JsonObject[] => [
      ...changed,
      ...gone.filter((name) => !names.includes(name)).map((name) => ({ name, $patch: 'delete' })),
    ];
    const containers = keyed(
      Object.keys(to.containers),
      Object.keys(from.containers),
      Object.entries(to.containers).map(([name, { env, image, args }]) => {
        const before = from.containers[name] ?? { env: {} };
        const changedEnv = Object.entries(env)
          .filter(([key, value]) => before.env[key] !== value)
          .map(([key, value]) => ({ name: key, value }));
        return {
          name,
          // Of a new item there is nothing to take away.
          ...(image !== undefined || name in from.containers ? { image: image ?? null } : {}),
          ...(args !== undefined || name in from.containers ? { args: args ?? null } : {}),
          env: keyed(Object.keys(env), Object.keys(before.env), changedEnv),
          '$setElementOrder/env': Object.keys(env).map((key) => ({ name: key })),
        };
      }),
    );
    return {
      metadata: { labels: map(from.labels, to.labels) },
      spec: {
        ...map(from.leaves, to.leaves),
        containers,
        '$setElementOrder/containers': Object.keys(to.containers).map((name) => ({ name })),
      },
    };
  }

  test('the patch between two objects makes one of the other, in its order; once more it changes nothing; inputs stay', () => {
    const random = seededRandom(seed);
    for (let round = 0; round < rounds; round++) {
      const [from, to] = [model(random), model(random)];
      const patch = patchBetween(from, to);
      const before = podOf(from);
      const kept = [cloneJson(before), cloneJson(patch)];
      const after = applyStrategicMergePatch(before, patch, schema, builtinSchemas);
      const shown = `seed ${seed}, round ${round}: ${JSON.stringify({ from, patch })}`;
      expect(plain(after), shown).toEqual(plain(podOf(to)));
      expect([before, patch], shown).toEqual(kept);
      expect(plain(applyStrategicMergePatch(after, patch, schema, builtinSchemas)), shown).toEqual(plain(after));
    }
  });

  test('patches of different parts may come in either order', () => {
    const random = seededRandom(seed + 1);
    for (let round = 0; round < rounds; round++) {
      const start = podOf(model(random));
      const one = {
        metadata: { labels: { l1: pick(random, ['1', null]) } },
        spec: { containers: [{ name: 'a', image: 'new' }] },
      };
      const two = {
        metadata: { labels: { l2: '9' } },
        spec: { hostname: 'h', containers: [{ name: 'b', $patch: pick(random, ['delete', 'merge']) }] },
      };
      const apply = (...patches: JsonObject[]): JsonObject =>
        patches.reduce((object, patch) => applyStrategicMergePatch(object, patch, schema, builtinSchemas), start);
      expect(plain(apply(one, two), false), `seed ${seed}, round ${round}`).toEqual(plain(apply(two, one), false));
    }
  });
});

describe('server-side apply', () => {
  const managers = ['m1', 'm2', 'm3'] as const;
  const options = (manager: string): FieldManagement => ({
    schema,
    source: builtinSchemas,
    apiVersion: 'v1',
    manager,
    subresource: '',
    time: '2026-01-01T00:00:00Z',
    ignored: ['status'],
  });

  /** Every leaf of a configuration by a path that names what it is of: what a manager owns, one field an entry. */
  function leavesOf({ leaves, labels, containers }: Model): Map<string, Json> {
    const out = new Map<string, Json>();
    for (const [name, value] of Object.entries(leaves)) out.set(`spec ${name}`, value);
    for (const [name, value] of Object.entries(labels)) out.set(`label ${name}`, value);
    for (const [name, { image, args, env }] of Object.entries(containers)) {
      out.set(`container ${name}`, true);
      if (image !== undefined) out.set(`container ${name} image`, image);
      if (args !== undefined) out.set(`container ${name} args`, args);
      for (const [key, value] of Object.entries(env)) {
        out.set(`container ${name} env ${key}`, true);
        // An item stays when somebody owns its key and nobody its value.
        if (value !== undefined) out.set(`container ${name} env ${key} value`, value);
      }
    }
    return out;
  }

  const leavesOfPod = (pod: JsonObject): Map<string, Json> => {
    const spec = isObject(pod.spec) ? pod.spec : {};
    const list = (value: Json | undefined): JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : []);
    const containers: Model['containers'] = {};
    for (const one of list(spec.containers))
      containers[String(one.name)] = {
        ...(one.image === undefined ? {} : { image: String(one.image) }),
        ...(one.args === undefined ? {} : { args: one.args as string[] }),
        env: Object.fromEntries(list(one.env).map((entry) => [String(entry.name), entry.value as string | undefined])),
      };
    const labels = isObject(pod.metadata) && isObject(pod.metadata.labels) ? pod.metadata.labels : {};
    const leaves = Object.fromEntries(
      leafNames.filter((name) => spec[name] !== undefined).map((name) => [name, spec[name]!]),
    );
    return leavesOf({ leaves, labels: labels as Record<string, string>, containers });
  };

  const same = (a: Json | undefined, b: Json | undefined): boolean => JSON.stringify(a) === JSON.stringify(b);

  /**
   * The oracle: a value a field and the set of managers that own it. Applying a configuration conflicts where somebody else owns a field with another value; it
   * then sets its fields, and takes away those that the manager applied before and no more, unless somebody else owns them.
   */
  class Oracle {
    readonly values = new Map<string, Json>();
    /** Who owns a part of an item of a list owns the item. */
    readonly owners = new Map<string, Set<string>>();

    /** Fields in conflict; with `force` they are taken. Nothing changes when there are some and it is not forced. */
    apply(manager: string, config: Map<string, Json>, force: boolean): string[] {
      const others = (path: string): string[] => [...(this.owners.get(path) ?? [])].filter((one) => one !== manager);
      const conflicts = [...config.keys()].filter(
        (path) => others(path).length > 0 && !same(this.values.get(path), config.get(path)),
      );
      if (conflicts.length > 0 && !force) return conflicts;
      for (const path of conflicts) this.owners.set(path, new Set([manager]));
      for (const [path, value] of config) {
        this.values.set(path, value);
        this.owners.set(path, (this.owners.get(path) ?? new Set()).add(manager));
      }
      for (const [path, owners] of this.owners) {
        if (config.has(path) || !owners.delete(manager) || owners.size > 0) continue;
        this.owners.delete(path);
        this.values.delete(path);
      }
      return [];
    }
  }

  test('three managers apply at random, with and without force: values and conflicts are those of the oracle', () => {
    const random = seededRandom(seed + 2);
    for (let round = 0; round < rounds / 10; round++) {
      const oracle = new Oracle();
      let live: JsonObject | undefined;
      const history: string[] = [];
      for (let step = 0; step < 12; step++) {
        const manager = pick(random, managers);
        const force = chance(random, 0.3);
        const config = model(random);
        history.push(`${manager}${force ? ' (force)' : ''} ${JSON.stringify(config)}`);
        const shown = `seed ${seed}, round ${round}:\n${history.join('\n')}`;
        const expected = oracle.apply(manager, leavesOf(config), force);
        let refused = false;
        try {
          live = serverSideApply(live, podOf(config), { ...options(manager), force } as never) as JsonObject;
        } catch (error) {
          refused = true;
          expect((error as { code?: string }).code, shown).toBe('Conflict');
        }
        expect(refused, shown).toBe(expected.length > 0);
        if (live !== undefined) expect([...leavesOfPod(live)].sort(), shown).toEqual([...oracle.values].sort());
      }
    }
  });
});
