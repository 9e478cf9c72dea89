/** Limits of a namespace and priorities, as far as an API server alone decides. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Any, Cluster, eventually, refusal, unique } from './harness.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster.close());

const amounts = (cpu: string, memory: string, storage: string): Any => ({
  ...(cpu === '' ? {} : { cpu }),
  ...(memory === '' ? {} : { memory }),
  ...(storage === '' ? {} : { 'ephemeral-storage': storage }),
});

const limitRange = (name: string, labels: Any = {}): Any => ({
  apiVersion: 'v1',
  kind: 'LimitRange',
  metadata: { name, labels },
  spec: {
    limits: [
      {
        type: 'Container',
        min: amounts('50m', '100Mi', '100Gi'),
        max: amounts('500m', '500Mi', '500Gi'),
        default: amounts('500m', '500Mi', '500Gi'),
        defaultRequest: amounts('100m', '200Mi', '200Gi'),
        maxLimitRequestRatio: {},
      },
    ],
  },
});

const pod = (name: string, requests: Any, limits: Any): Any => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name },
  spec: { containers: [{ name: 'pause', image: 'registry.k8s.io/pause:3.10', resources: { requests, limits } }] },
});

test('conformance: limitrange-defaults: limits fill pods and bound them, as long as they are there', async () => {
  const namespace = await cluster.namespace();
  const limits = cluster.resource('v1', 'limitranges', namespace);
  const pods = cluster.resource('v1', 'pods', namespace);
  const watch = await limits.watch('');
  const made = await limits.create(limitRange('limit-range'));
  await watch.find('ADDED', ({ type }) => type === 'ADDED');
  expect((await limits.get('limit-range')).spec).toEqual(made.spec);
  const resourcesOf = async (name: string, requests: Any, ofLimits: Any): Promise<Any> =>
    (await pods.create(pod(name, requests, ofLimits))).spec.containers[0].resources;
  expect(await resourcesOf('pod-no-resources', {}, {})).toEqual({
    requests: amounts('100m', '200Mi', '200Gi'),
    limits: amounts('500m', '500Mi', '500Gi'),
  });
  expect(await resourcesOf('pod-partial-resources', amounts('', '150Mi', '150Gi'), amounts('300m', '', ''))).toEqual({
    requests: amounts('300m', '150Mi', '150Gi'),
    limits: amounts('300m', '500Mi', '500Gi'),
  });
  const low = await refusal(pods.create(pod('too-small', amounts('10m', '50Mi', '50Gi'), {})));
  expect(low).toMatchObject({ code: 403, reason: 'Forbidden' });
  expect(low.message).toContain('minimum cpu usage per Container is 50m, but request is 10m');
  // A request above the default limit is no pod; one with a limit of its own is above the maximum.
  const large = amounts('600m', '600Mi', '600Gi');
  expect((await refusal(pods.create(pod('too-large', large, {})))).code).toBe(422);
  const high = await refusal(pods.create(pod('too-large', large, large)));
  expect(high.code).toBe(403);
  expect(high.message).toContain('maximum cpu usage per Container is 500m, but limit is 600m');
  const lowered = amounts('9m', '49Mi', '49Gi');
  await limits.change('limit-range', ({ spec }) => {
    spec.limits[0].min = lowered;
  });
  expect((await limits.get('limit-range')).spec.limits[0].min).toEqual(lowered);
  await eventually('the lower minimum counts', () => pods.create(pod('small', amounts('10m', '50Mi', '50Gi'), {})));
  expect((await refusal(pods.create(pod('too-large', large, large)))).code).toBe(403);
  await limits.delete('limit-range');
  await eventually('gone', () => limits.gone('limit-range'));
  await eventually('no limit counts', () => pods.create(pod('large', large, {})));
});

test('conformance: limitrange-collection: ranges of two namespaces are listed by label, patched, and one is removed', async () => {
  const label = unique('e2e-limitrange');
  const [first, second] = [await cluster.namespace(), await cluster.namespace()].map((namespace) =>
    cluster.resource('v1', 'limitranges', namespace),
  );
  for (const limits of [first!, second!]) await limits.create(limitRange('e2e-limitrange', { [label]: 'created' }));
  const all = first!.everywhere();
  expect(await all.names(`?labelSelector=${label}%3Dcreated`)).toHaveLength(2);
  const patched = await first!.patch('e2e-limitrange', 'strategic', {
    metadata: { labels: { [label]: 'patched' } },
    spec: { limits: [{ type: 'Container', min: amounts('40m', '80Mi', '80Gi') }] },
  });
  expect(patched.metadata.labels[label]).toBe('patched');
  expect(patched.spec.limits[0].min).toEqual(amounts('40m', '80Mi', '80Gi'));
  await first!.deleteCollection(`?labelSelector=${label}%3Dpatched`);
  await eventually('it is gone', () => first!.gone('e2e-limitrange'));
  expect(await all.names(`?labelSelector=${label}`)).toHaveLength(1);
});

test('conformance: priorityclass-endpoints: the value of a class never changes, its description does', async () => {
  const classes = cluster.resource('scheduling.k8s.io/v1', 'priorityclasses');
  const names = [unique('p'), unique('p')];
  for (const [index, name] of names.entries())
    await classes.create({
      apiVersion: 'scheduling.k8s.io/v1',
      kind: 'PriorityClass',
      metadata: { name },
      value: index + 1,
    });
  for (const name of names) {
    const patched = await refusal(classes.patch(name, 'json', [{ op: 'replace', path: '/value', value: 10 }]));
    expect(patched).toMatchObject({ code: 422, reason: 'Invalid' });
    expect(patched.message).toContain('value: Forbidden: may not be changed in an update.');
    const updated = await refusal(
      classes.change(name, (object) => {
        object.value *= 10;
      }),
    );
    expect(updated.code).toBe(422);
    expect((await classes.patch(name, 'merge', { description: 'patched' })).description).toBe('patched');
    await classes.change(name, (object) => {
      object.description = 'updated';
    });
    expect((await classes.get(name)).description).toBe('updated');
  }
  expect(await classes.names()).toEqual(expect.arrayContaining(names));
});
