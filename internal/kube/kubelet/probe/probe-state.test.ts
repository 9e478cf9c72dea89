import { describe, expect, test } from 'vitest';
import { type ProbeKind, ProbeState, probeTimes } from './probe-state.ts';

const ok = { result: 'success', message: '' } as const;
const bad = { result: 'failure', message: '' } as const;
const lost = { result: 'unknown', message: '' } as const;

function run(kind: ProbeKind, outcomes: (typeof ok | typeof bad | typeof lost)[], spec = {}): (boolean | null)[] {
  const state = new ProbeState(kind, probeTimes(spec));
  return outcomes.map((outcome) => {
    state.take(outcome);
    return state.value;
  });
}

describe('probes', () => {
  test('upstream defaults', () => {
    expect(probeTimes({})).toEqual({
      initialDelayMs: 0,
      periodMs: 10_000,
      timeoutMs: 1_000,
      successThreshold: 1,
      failureThreshold: 3,
    });
  });

  test('liveness: alive until three failures in a row, and then for good', () => {
    expect(run('liveness', [bad, bad, ok, bad, bad, bad, ok])).toEqual([true, true, true, true, true, false, false]);
  });

  test('readiness: not ready until it says so, and back', () => {
    expect(run('readiness', [bad, ok, bad, bad, bad, ok])).toEqual([false, true, true, true, false, true]);
    expect(run('readiness', [ok, ok], { successThreshold: 2 })).toEqual([false, true]);
  });

  test('startup: unknown, then settled either way', () => {
    expect(run('startup', [bad, ok, bad, bad, bad])).toEqual([null, true, true, true, true]);
    expect(run('startup', [bad, bad, bad, ok])).toEqual([null, null, false, false]);
  });

  test('a probe that could not be run counts for nothing', () => {
    expect(run('liveness', [bad, bad, lost, bad])).toEqual([true, true, true, false]);
  });

  test('after a restart of the agent a ready container is still ready', () => {
    expect(new ProbeState('readiness', probeTimes({}), true).value).toBe(true);
  });
});
