/** What "all verbs" means for a resource: discovery on three levels and the life of three labelled objects, followed by watches. */
import { expect } from 'vitest';
import { type Any, type Cluster, eventually, type PatchType, type Resource, refusal, unique } from './harness.ts';

export interface Kind {
  readonly groupVersion: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced?: boolean;
  /** All of the `index`th object but apiVersion, kind and metadata. */
  object(index: number): Any;
  /** Names, where generateName cannot make one. */
  name?(index: number): string;
  readonly status?: StatusOf;
  /** Whether a controller has done with a new object what it does once. */
  settled?(object: Any): boolean;
}

export interface StatusOf {
  /** A patch of `/status` for patch types other than JSON: what it makes of `status`. */
  readonly patch: Any;
  /** A change of the read object that is PUT to `/status`. */
  change(object: Any): void;
  /** Holds after both. */
  check(status: Any): void;
}

const everyVerbOf = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

/** The resource is told of in `/apis`, in its group's and in its version's document, with `verbs`. */
export async function discovered(
  cluster: Cluster,
  groupVersion: string,
  plural: string,
  expected: { kind: string; namespaced: boolean; verbs?: readonly string[]; subresources?: Record<string, string[]> },
): Promise<void> {
  const [group, version] = groupVersion.includes('/') ? groupVersion.split('/') : ['', groupVersion];
  if (group !== '') {
    const all = await cluster.must('GET', '/apis');
    const own = all.groups.find((one: Any) => one.name === group);
    expect(own?.versions, `${group} in /apis`).toContainEqual({ groupVersion, version });
    const document = await cluster.must('GET', `/apis/${group}`);
    expect(document.versions).toContainEqual({ groupVersion, version });
  }
  const list = await cluster.must('GET', group === '' ? `/api/${version}` : `/apis/${groupVersion}`);
  expect(list).toMatchObject({ kind: 'APIResourceList', groupVersion });
  const resource = list.resources.find((one: Any) => one.name === plural);
  expect(resource, plural).toMatchObject({ kind: expected.kind, namespaced: expected.namespaced });
  expect([...resource.verbs].sort()).toEqual([...(expected.verbs ?? everyVerbOf)].sort());
  for (const [name, verbs] of Object.entries(expected.subresources ?? {})) {
    const subresource = list.resources.find((one: Any) => one.name === `${plural}/${name}`);
    expect([...(subresource?.verbs ?? [])].sort(), `${plural}/${name}`).toEqual(verbs);
  }
}

const newer = (after: Any, before: Any): void => {
  for (const { metadata } of [after, before]) expect(metadata.resourceVersion).toMatch(/^[1-9]\d*$/);
  expect(BigInt(after.metadata.resourceVersion)).toBeGreaterThan(BigInt(before.metadata.resourceVersion));
};

/** Every verb on three objects of a label of their own. */
export async function everyVerb(cluster: Cluster, kind: Kind): Promise<void> {
  const namespace = kind.namespaced ? await cluster.namespace() : undefined;
  const own = cluster.resource(kind.groupVersion, kind.plural, namespace);
  await discovered(cluster, kind.groupVersion, kind.plural, {
    kind: kind.kind,
    namespaced: kind.namespaced ?? false,
    ...(kind.status ? { subresources: { status: ['get', 'patch', 'update'] } } : {}),
  });
  const label = unique('every-verb');
  const selected = `labelSelector=set%3D${label}`;
  const make = (index: number): Any => ({
    apiVersion: kind.groupVersion,
    kind: kind.kind,
    metadata: {
      ...(kind.name === undefined ? { generateName: 'every-verb-' } : { name: kind.name(index) }),
      labels: { set: label },
      annotations: { index: String(index) },
    },
    ...kind.object(index),
  });
  const create = async (index: number): Promise<Any> => {
    const made = await own.create(make(index));
    if (kind.settled === undefined) return made;
    return eventually('its controller has seen it', async () => {
      const live = await own.get(made.metadata.name);
      return kind.settled!(live) && live;
    });
  };
  const first = await create(0);
  if (kind.name === undefined) expect(first.metadata.name).toMatch(/^every-verb-[a-z0-9]{5}$/);
  const name: string = first.metadata.name;
  const second = await create(1);
  const third = await create(2);
  newer(third, second);
  expect((await refusal(own.create({ ...make(0), metadata: { name } }))).reason).toBe('AlreadyExists');

  expect(await own.get(name)).toEqual(first);
  const list = await own.list(`?${selected}`);
  expect(list.kind).toBe(`${kind.kind}List`);
  expect(list.items.map((item: Any) => item.metadata.uid).sort()).toEqual(
    [first, second, third].map((object) => object.metadata.uid).sort(),
  );
  expect(await own.everywhere().names(`?${selected}`)).toHaveLength(3);
  const from = `&${selected}&resourceVersion=${list.metadata.resourceVersion}`;
  const watches = [await own.watch(from), ...(kind.namespaced ? [await own.everywhere().watch(from)] : [])];

  let before = first;
  const patches: [PatchType, unknown][] = [
    ['merge', { metadata: { annotations: { merge: 'patched' } } }],
    ['strategic', { metadata: { annotations: { strategic: 'patched' } } }],
    ['json', [{ op: 'add', path: '/metadata/annotations/json', value: 'patched' }]],
    [
      'apply',
      { apiVersion: kind.groupVersion, kind: kind.kind, metadata: { name, annotations: { apply: 'patched' } } },
    ],
  ];
  for (const [type, patch] of patches) {
    const patched = await own.patch(name, type, patch);
    expect(patched.metadata.annotations[type], type).toBe('patched');
    newer(patched, before);
    before = patched;
  }
  const updated = await own.update({
    ...before,
    metadata: { ...before.metadata, annotations: { ...before.metadata.annotations, updated: 'true' } },
  });
  newer(updated, before);
  expect(updated.metadata.uid).toBe(first.metadata.uid);
  const stale = await refusal(own.update(first));
  expect(stale).toMatchObject({ code: 409, reason: 'Conflict' });
  for (const watch of watches) {
    for (const [type] of patches)
      await watch.find(`MODIFIED by ${type}`, (event) => {
        return event.type === 'MODIFIED' && event.object.metadata.annotations[type] === 'patched';
      });
    await watch.find('MODIFIED by update', (event) => {
      return event.type === 'MODIFIED' && event.object.metadata.annotations.updated === 'true';
    });
  }

  if (kind.status) await statusVerbs(own, name, kind, kind.status);

  await own.delete(name);
  await eventually('the deleted object is gone', () => own.gone(name));
  expect(await own.names(`?${selected}`)).toHaveLength(2);
  await own.deleteCollection(`?${selected}`);
  await eventually('the collection is gone', async () => (await own.names(`?${selected}`)).length === 0);
  for (const watch of watches) {
    for (const object of [first, second, third])
      await watch.find(`DELETED ${object.metadata.name}`, (event) => {
        return event.type === 'DELETED' && event.object.metadata.uid === object.metadata.uid;
      });
    expect(watch.ended).toBe(false);
    await watch.close();
  }
}

/** `/status`: get, the patch types, update; what is written there is what later reads see, and the rest of the object stays. */
async function statusVerbs(own: Resource, name: string, kind: Kind, status: StatusOf): Promise<void> {
  const object = await own.get(name);
  const read = await own.get(name, 'status');
  expect(read.kind).toBe(kind.kind);
  expect(read.metadata.uid).toBe(object.metadata.uid);
  const whole = { apiVersion: kind.groupVersion, kind: kind.kind, metadata: { name } };
  for (const type of ['strategic', 'merge', 'apply'] as const) {
    const patched = await own.patch(name, type, { ...(type === 'apply' ? whole : {}), status: status.patch }, 'status');
    status.check(patched.status);
  }
  const byJson = [{ op: 'add', path: '/metadata/annotations/status-json', value: 'patched' }];
  expect((await own.patch(name, 'json', byJson, 'status')).metadata.annotations['status-json']).toBe('patched');
  const changed = await own.get(name, 'status');
  status.change(changed);
  const updated = await own.update(changed, 'status');
  status.check(updated.status);
  const after = await own.get(name);
  status.check(after.status);
  expect(after.spec).toEqual(object.spec);
}
