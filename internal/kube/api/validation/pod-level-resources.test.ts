import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../machinery/json.ts';
import { formatQuantity } from '../../machinery/quantity.ts';
import { podAmounts } from '../pod-amounts.ts';
import { create, refused } from '../testing.ts';

/** Resources of a pod as a whole, beside those of its containers (`of`) and init containers. */
const pod = (resources: object, of: object[] = [{}], more: object = {}): JsonObject =>
  create('v1 Pod', {
    metadata: { name: 'p', namespace: 'default' },
    spec: {
      resources: resources as JsonObject,
      containers: of.map((one, index) => ({ name: `c${index}`, image: 'i', resources: one as JsonObject })),
      ...more,
    },
  });

describe('resources of a pod as a whole', () => {
  test.each<[string, object, object[], object]>([
    [
      'limits alone are requests',
      { limits: { cpu: '1', memory: '1Gi' } },
      [{}],
      { limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '1', memory: '1Gi' } },
    ],
    [
      'what containers ask for is before limits',
      { limits: { cpu: '1', memory: '1Gi' } },
      [{ requests: { cpu: '100m' } }, { requests: { cpu: '200m' } }],
      { limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '300m', memory: '1Gi' } },
    ],
    [
      'without limits nothing is filled in',
      { requests: { cpu: '1' } },
      [{ requests: { memory: '1Mi' } }],
      { requests: { cpu: '1' } },
    ],
    [
      'huge pages of containers are limits and requests',
      { limits: { cpu: '1' } },
      [{ limits: { 'hugepages-2Mi': '4Mi', cpu: '1' } }],
      { limits: { cpu: '1', 'hugepages-2Mi': '4Mi' }, requests: { cpu: '1', 'hugepages-2Mi': '4Mi' } },
    ],
  ])('defaults: %s', (_scenario, resources, containers, expected) => {
    expect((pod(resources, containers).spec as JsonObject).resources).toEqual(expected);
  });

  test.each<[string, object, object[], string]>([
    ['both, the same', { limits: { cpu: '1', memory: '1Gi' } }, [{}], 'Guaranteed'],
    [
      'both, but of containers less',
      { limits: { cpu: '1', memory: '1Gi' } },
      [{ requests: { cpu: '100m' } }],
      'Burstable',
    ],
    ['one of two', { limits: { cpu: '1' } }, [{ limits: { cpu: '1', memory: '1Gi' } }], 'Burstable'],
    ['nothing: containers count', {}, [{ limits: { cpu: '1', memory: '1Gi' } }], 'Guaranteed'],
    ['nothing at all', {}, [{}], 'BestEffort'],
  ])('quality of service: %s', (_scenario, resources, containers, expected) => {
    expect((pod(resources, containers).status as JsonObject).qosClass).toBe(expected);
  });

  test.each<[string, object, object[], string[]]>([
    ['fits', { limits: { cpu: '2' }, requests: { cpu: '1' } }, [{ requests: { cpu: '1' }, limits: { cpu: '2' } }], []],
    [
      'less than its containers ask for',
      { requests: { cpu: '1' } },
      [{ requests: { cpu: '600m' } }, { requests: { cpu: '600m' } }],
      [
        'spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container requests of 1200m',
      ],
    ],
    [
      'a limit of a container over its own',
      { limits: { memory: '1Gi' } },
      [{}, { requests: { memory: '1Mi' }, limits: { memory: '2Gi' } }],
      [
        'spec.resources.containers[1][memory].limits: Invalid value: "2Gi": must be less than or equal to pod limits of 1Gi',
      ],
    ],
    [
      'huge pages',
      { limits: { cpu: '1', 'hugepages-2Mi': '2Mi' } },
      [{ limits: { 'hugepages-2Mi': '4Mi', cpu: '1' } }],
      [
        'spec.resources.requests[hugepages-2Mi]: Invalid value: "2Mi": must be greater than or equal to aggregate container requests of 4Mi',
        'spec.resources.limits[hugepages-2Mi]: Invalid value: "2Mi": must be greater than or equal to aggregate container limits of 4Mi',
        'spec.resources.containers[0][hugepages-2Mi].limits: Invalid value: "4Mi": must be less than or equal to pod limits of 2Mi',
      ],
    ],
    [
      'a request over its limit',
      { limits: { cpu: '1' }, requests: { cpu: '2' } },
      [{}],
      ['spec.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'],
    ],
    [
      'something that is of containers only',
      { requests: { 'ephemeral-storage': '1Gi' } },
      [{}],
      [
        'spec.resources.requests[ephemeral-storage]: Unsupported value: "ephemeral-storage": supported values: "cpu", "hugepages-", "memory"',
      ],
    ],
    [
      'claims',
      { claims: [{ name: 'a' }] },
      [{}],
      ['spec.resources.claims: Forbidden: claims cannot be set for Resources at pod-level'],
    ],
  ])('%s', (_scenario, resources, containers, expected) => {
    expect(refused(() => pod(resources, containers))).toEqual(expected);
  });

  test('not on Windows', () => {
    const more = { os: { name: 'windows' } };
    expect(refused(() => pod({ requests: { cpu: '1' } }, [{}], more))).toEqual([
      'spec.resources: Forbidden: may not be set for a windows pod',
    ]);
  });

  test('quotas and ranges count the whole where there is one, and its overhead', () => {
    const one = pod({ limits: { cpu: '2' } }, [{ requests: { cpu: '1', memory: '64Mi' } }]);
    (one.spec as JsonObject).overhead = { cpu: '100m' };
    const shown = (field: 'requests' | 'limits', held = false): object =>
      Object.fromEntries(
        Object.entries(podAmounts(one, field, held)).map(([name, amount]) => [name, formatQuantity(amount)]),
      );
    expect(shown('requests')).toEqual({ cpu: '1100m', memory: '64Mi' });
    expect(shown('limits')).toEqual({ cpu: '2100m' });
    one.status = { allocatedResources: { cpu: '3' }, resources: { requests: { cpu: '2' }, limits: { cpu: '4' } } };
    expect(shown('requests')).toEqual({ cpu: '1100m', memory: '64Mi' });
    expect(shown('requests', true)).toEqual({ cpu: '3100m', memory: '64Mi' });
    expect(shown('limits', true)).toEqual({ cpu: '4100m' });
  });
});
