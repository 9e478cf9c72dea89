/** Events in both of their API groups. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Any, Cluster, eventually, unique } from './harness.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster.close());

const core = (name: string, namespace: string, labels: Any): Any => ({
  apiVersion: 'v1',
  kind: 'Event',
  metadata: { name, labels },
  message: 'This is a test event',
  reason: 'Test',
  type: 'Normal',
  count: 1,
  involvedObject: { kind: 'Pod', namespace, name: 'test-pod' },
});

const modern = (name: string, namespace: string, labels: Any, reportingController = 'test-controller'): Any => ({
  apiVersion: 'events.k8s.io/v1',
  kind: 'Event',
  metadata: { name, labels },
  regarding: { kind: 'Pod', namespace, name: 'test-pod' },
  eventTime: '2017-09-19T13:49:16.000001Z',
  note: 'This is event',
  action: 'Do',
  reason: 'Test',
  type: 'Normal',
  reportingController,
  reportingInstance: 'test-node',
});

test('conformance: event-lifecycle: a core event is listed everywhere by label, patched, updated and deleted', async () => {
  const namespace = await cluster.namespace();
  const events = cluster.resource('v1', 'events', namespace);
  const label = unique('testevent');
  const selected = `?labelSelector=testevent-constant%3D${label}`;
  await events.create(core('event-test', namespace, { 'testevent-constant': label }));
  expect(await events.everywhere().names(selected)).toEqual(['event-test']);
  const patched = await events.patch('event-test', 'strategic', { message: 'This is a test event - patched' });
  expect(patched.message).toBe('This is a test event - patched');
  expect((await events.get('event-test')).message).toBe('This is a test event - patched');
  const series = { count: 100, lastObservedTime: '2014-09-19T13:49:16.000000Z' };
  await events.change('event-test', (event) => {
    event.series = series;
  });
  expect((await events.get('event-test')).series).toEqual(series);
  await events.delete('event-test');
  expect(await events.everywhere().names(selected)).toEqual([]);
  expect(await events.gone('event-test')).toBe(true);
});

test('conformance: event-deletecollection: labelled core events are listed and removed together', async () => {
  const namespace = await cluster.namespace();
  const events = cluster.resource('v1', 'events', namespace);
  for (let i = 1; i <= 3; i++) await events.create(core(`test-event-${i}`, namespace, { 'testevent-set': 'true' }));
  await events.create(core('other', namespace, {}));
  expect(await events.names('?labelSelector=testevent-set%3Dtrue')).toHaveLength(3);
  await events.deleteCollection('?labelSelector=testevent-set%3Dtrue');
  await eventually(
    'none is left',
    async () => (await events.names('?labelSelector=testevent-set%3Dtrue')).length === 0,
  );
  expect(await events.names()).toEqual(['other']);
});

test('conformance: events-v1-lifecycle: an event is listed by field in one namespace and in all, patched, updated and deleted', async () => {
  const namespace = await cluster.namespace();
  const events = cluster.resource('events.k8s.io/v1', 'events', namespace);
  const controller = unique('controller');
  const other = unique('controller');
  await events.create(modern('event-test', namespace, {}, controller));
  await events.create(modern('another', namespace, {}, other));
  const selected = `?fieldSelector=reportingController%3D${controller}`;
  expect(await events.names(selected)).toEqual(['event-test']);
  expect(await events.everywhere().names(selected)).toEqual(['event-test']);
  expect(await events.everywhere().names(`?fieldSelector=reportingController%3D${unique('nobody')}`)).toEqual([]);
  expect((await events.get('event-test')).eventTime).toBe('2017-09-19T13:49:16.000001Z');
  const patched = await events.patch('event-test', 'strategic', { note: 'This is a test event - patched' });
  expect(patched.note).toBe('This is a test event - patched');
  const series = { count: 100, lastObservedTime: '2014-09-19T13:49:16.000007Z' };
  await events.change('event-test', (event) => {
    event.series = series;
  });
  const read = await events.get('event-test');
  expect(read.series).toEqual(series);
  expect(read).toMatchObject({ note: 'This is a test event - patched', regarding: { kind: 'Pod', name: 'test-pod' } });
  await events.delete('event-test');
  expect(await events.names(selected)).toEqual([]);
  // The core group shows the same objects.
  const inCore = await cluster.resource('v1', 'events', namespace).get('another');
  expect(inCore).toMatchObject({ message: 'This is event', reportingComponent: other });
});

test('conformance: events-v1-deletecollection: labelled events are listed and removed together', async () => {
  const namespace = await cluster.namespace();
  const events = cluster.resource('events.k8s.io/v1', 'events', namespace);
  for (let i = 1; i <= 3; i++) await events.create(modern(`test-event-${i}`, namespace, { 'testevent-set': 'true' }));
  expect(await events.names('?labelSelector=testevent-set%3Dtrue')).toHaveLength(3);
  await events.deleteCollection('?labelSelector=testevent-set%3Dtrue');
  await eventually(
    'none is left',
    async () => (await events.names('?labelSelector=testevent-set%3Dtrue')).length === 0,
  );
});
