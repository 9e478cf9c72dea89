import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../machinery/json.ts';
import { changed, create, put, refused, update } from '../testing.ts';

/** What subresources of pods may write. `resize` has rules and tests of its own. */
const pod = (places: Record<string, unknown> = {}): JsonObject =>
  changed(create('v1 Pod', { metadata: { name: 'p' }, spec: { containers: [{ name: 'c', image: 'i' }] } }), places);
const write = (old: JsonObject, subresource: string, places: Record<string, unknown>): JsonObject =>
  update(
    'v1 Pod',
    old,
    (object) => {
      for (const [at, value] of Object.entries(places)) put(object, at, value);
    },
    subresource,
  );

describe('pods/ephemeralcontainers', () => {
  const debug = { name: 'd', image: 'i', imagePullPolicy: 'Always', terminationMessagePolicy: 'File', resources: {} };
  const with_ = (list: object[]): Record<string, unknown> => ({ 'spec.ephemeralContainers': list });

  test('one is added, and nothing else of what is sent changes', () => {
    const old = pod();
    const now = write(old, 'ephemeralcontainers', {
      ...with_([debug]),
      'spec.nodeName': 'n',
      'metadata.labels': { a: 'b' },
    });
    expect((now.spec as JsonObject).ephemeralContainers).toMatchObject([{ name: 'd', image: 'i' }]);
    expect((now.spec as JsonObject).nodeName).toBeUndefined();
    expect(now.metadata).toEqual({ ...(old.metadata as JsonObject), generation: 2 });
  });

  test.each<[string, object[], object[], string[]]>([
    ['without an image', [], [{ ...debug, image: '' }], ['spec.ephemeralContainers[0].image: Required value']],
    [
      'of a name that is taken',
      [],
      [{ ...debug, name: 'c' }],
      ['spec.ephemeralContainers[0].name: Duplicate value: "c"'],
    ],
    [
      'taken away',
      [debug],
      [],
      ['spec.ephemeralContainers: Forbidden: existing ephemeral containers "d" may not be removed\n'],
    ],
    [
      'changed',
      [debug],
      [{ ...debug, image: 'other' }],
      ['spec.ephemeralContainers: Forbidden: existing ephemeral containers "d" may not be changed\n'],
    ],
  ])('one %s is refused', (_scenario, before, after, expected) => {
    const old = write(pod(), 'ephemeralcontainers', with_(before));
    expect(refused(() => write(old, 'ephemeralcontainers', with_(after)))).toEqual(expected);
  });

  test('a static pod has none', () => {
    const old = pod({ 'metadata.annotations': { 'kubernetes.io/config.mirror': 'x' } });
    expect(refused(() => write(old, 'ephemeralcontainers', with_([debug])))).toEqual([
      ': Forbidden: static pods do not support ephemeral containers',
    ]);
  });
});

describe('pods/status', () => {
  test('the class of a pod does not change, nor is it forgotten', () => {
    expect((write(pod(), 'status', { 'status.qosClass': undefined }).status as JsonObject).qosClass).toBe('BestEffort');
    expect(refused(() => write(pod(), 'status', { 'status.qosClass': 'Guaranteed' }))).toEqual([
      'status.qosClass: Invalid value: "Guaranteed": field is immutable',
    ]);
  });

  test('who does not know of observedGeneration does not take it away', () => {
    const ready = { type: 'Ready', status: 'True' };
    const old = pod({
      'status.observedGeneration': 3,
      'status.conditions': [{ ...ready, observedGeneration: 3 }],
    });
    const now = write(old, 'status', {
      'status.observedGeneration': undefined,
      'status.conditions': [ready, { type: 'Other', status: 'True' }],
    });
    expect(now.status).toMatchObject({
      observedGeneration: 3,
      conditions: [
        { ...ready, observedGeneration: 3 },
        { type: 'Other', status: 'True' },
      ],
    });
  });
});
