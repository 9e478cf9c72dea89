import { describe, expect, test } from 'vitest';
import type { Pod } from '../api/types.ts';
import { type BudgetObject, countBudget } from './disruption-plan.ts';

const budget = (spec: object, disruptedPods: Record<string, string> = {}): BudgetObject =>
  ({
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: { name: 'b' },
    spec,
    status: { disruptedPods },
  }) as unknown as BudgetObject;
const pods = (count: number, ready = count): Pod[] =>
  Array.from({ length: count }, (_, index) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `p${index}` },
    status: { conditions: [{ type: 'Ready', status: index < ready ? 'True' : 'False' }] },
  })) as unknown as Pod[];
const at = Date.parse('2026-01-01T00:10:00Z');

describe('disruption budget', () => {
  test.each<[string, object, Pod[], number | undefined, object]>([
    [
      'minAvailable as a number',
      { minAvailable: 2 },
      pods(3),
      undefined,
      { expectedPods: 3, desiredHealthy: 2, disruptionsAllowed: 1 },
    ],
    [
      'minAvailable as a percentage',
      { minAvailable: '50%' },
      pods(3),
      5,
      { expectedPods: 5, desiredHealthy: 3, disruptionsAllowed: 0 },
    ],
    [
      'maxUnavailable counts from what is wanted',
      { maxUnavailable: 1 },
      pods(3),
      3,
      { expectedPods: 3, desiredHealthy: 2, disruptionsAllowed: 1 },
    ],
    ['unready pods use it up', { maxUnavailable: 1 }, pods(3, 2), 3, { currentHealthy: 2, disruptionsAllowed: 0 }],
    ['no pods, no disruptions', { minAvailable: 0 }, [], undefined, { expectedPods: 0, disruptionsAllowed: 0 }],
    ['neither: one must stay', {}, pods(2), undefined, { desiredHealthy: 1, disruptionsAllowed: 1 }],
  ])('%s', (_title, spec, mine, scale, expected) => {
    expect(countBudget(budget(spec), mine, scale, at)).toMatchObject(expected);
  });
  test('a pod whose eviction was allowed counts as gone for two minutes', () => {
    const counts = countBudget(
      budget(
        { minAvailable: 1 },
        { p0: '2026-01-01T00:09:00Z', p1: '2026-01-01T00:01:00Z', x: '2026-01-01T00:09:59Z' },
      ),
      pods(3),
      undefined,
      at,
    );
    expect(counts).toMatchObject({
      currentHealthy: 2,
      disruptionsAllowed: 1,
      disruptedPods: { p0: '2026-01-01T00:09:00Z' },
      recheckMs: 60_000,
    });
  });
  test('a percentage needs controllers', () => {
    expect(countBudget(budget({ maxUnavailable: 1 }), pods(1), undefined, at)).toBe('found no controllers for pods');
  });
});
