import { describe, expect, test } from 'vitest';
import { type InstanceSpec, Supervision, unhealthyLimitMs } from './supervision.ts';

const spec = (name: string, ...needs: string[]): InstanceSpec => ({
  name,
  needs,
  startDeadlineMs: 120_000,
  stopDeadlineMs: 10_000,
});
const phases = (s: Supervision) => Object.fromEntries(s.status().map((i) => [i.name, i.phase]));

function started(...specs: InstanceSpec[]): Supervision {
  const s = new Supervision();
  s.setInstances(specs, 0);
  for (let i = 0; i < specs.length; i++) for (const action of s.step(0)) s.onReady(action.name, 0);
  return s;
}

describe('supervision', () => {
  test('starts what is needed first, the rest when that is ready; needs that are not on the node do not count', () => {
    const s = new Supervision();
    s.setInstances([spec('osd.0', 'mon', 'elsewhere'), spec('mon')], 0);
    expect(s.step(0)).toEqual([{ do: 'start', name: 'mon' }]);
    expect(s.step(10)).toEqual([]);
    s.onReady('mon', 20);
    expect(s.step(20)).toEqual([{ do: 'start', name: 'osd.0' }]);
    expect(s.allReady).toBe(false);
    s.onReady('osd.0', 30);
    expect(s.allReady).toBe(true);
  });

  test('a death is told, and answered with a back-off that doubles to 30 s and falls back after a steady minute', () => {
    const s = started(spec('mon'));
    const delays: number[] = [];
    let now = 1000;
    for (let i = 0; i < 9; i++) {
      s.onExit('mon', 'killed by SIGKILL', now);
      expect(phases(s)).toEqual({ mon: i < 4 ? 'back-off' : 'crash-loop' });
      const from = now;
      while (s.step(now).length === 0) now += 100;
      delays.push(now - from);
      s.onReady('mon', now);
    }
    expect(delays).toEqual([500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
    expect(s.status()[0]).toMatchObject({ restarts: 9, lastExit: 'killed by SIGKILL' });
    now += 60_000;
    s.onExit('mon', 'exit 1', now);
    expect(s.step(now + 500)).toEqual([{ do: 'start', name: 'mon' }]);
  });

  test('while one instance restarts, those that need it keep running', () => {
    const s = started(spec('mon'), spec('osd.0', 'mon'));
    s.onExit('mon', 'exit 1', 10);
    expect(phases(s)).toEqual({ mon: 'back-off', 'osd.0': 'running' });
    expect(s.step(10)).toEqual([]);
  });

  test('an instance that stays unhealthy is killed once', () => {
    const s = started(spec('mon'));
    s.onHealth('mon', false, 'the loop stalls', 1000);
    expect(s.step(unhealthyLimitMs)).toEqual([]);
    expect(s.step(unhealthyLimitMs + 1)).toMatchObject([{ do: 'kill', name: 'mon' }]);
    expect(s.step(unhealthyLimitMs + 2)).toEqual([]);
  });

  test('one whose start waits for other machines says what it waits for and is not killed for it, only for silence', () => {
    const s = new Supervision();
    s.setInstances([spec('server')], 0);
    s.step(0);
    for (let now = 2_000; now <= 1_000_000; now += 2_000) {
      s.onWaits('server', 'waits for a majority', now);
      expect(s.step(now + 1_000)).toEqual([]);
    }
    expect(s.status()[0]).toMatchObject({ phase: 'starting', detail: 'waits for a majority', restarts: 0 });
    expect(s.neglected(1_100_000)).toBeUndefined();
    expect(s.step(1_120_001)).toMatchObject([{ do: 'kill', why: 'was not ready within 120 s' }]);
  });

  test('one that is never ready says so, is killed at its deadline, and starts again with a growing pause', () => {
    const s = new Supervision();
    s.setInstances([spec('mon')], 0);
    expect(s.step(0)).toEqual([{ do: 'start', name: 'mon' }]);
    expect(s.step(9_000)).toEqual([]);
    expect(s.status()[0]!.detail).toBe('starting');
    expect(s.step(35_000)).toEqual([]);
    expect(s.status()[0]!.detail).toBe('not ready after 30 s; it is started anew after 120 s');
    expect(s.step(120_001)).toEqual([{ do: 'kill', name: 'mon', why: 'was not ready within 120 s' }]);
    expect(s.step(120_500)).toEqual([]);
    s.onReady('mon', 120_600);
    expect(phases(s)).toEqual({ mon: 'starting' });
    s.onExit('mon', 'killed: was not ready within 120 s', 121_000);
    expect(s.status()[0]).toMatchObject({
      phase: 'back-off',
      detail: 'killed: was not ready within 120 s; starts again in 0.5 s',
    });
    s.step(121_500);
    s.step(241_501);
    s.onExit('mon', 'killed: was not ready within 120 s', 242_000);
    expect(s.status()[0]!.detail).toContain('starts again in 1.0 s');
    expect(s.step(243_000)).toEqual([{ do: 'start', name: 'mon' }]);
    s.onReady('mon', 244_000);
    expect(phases(s)).toEqual({ mon: 'running' });
  });

  test('an ordered stop ends users before what they need and kills at the deadline', () => {
    const s = started(spec('mon'), spec('osd.0', 'mon'));
    s.stopAll();
    expect(s.step(0)).toEqual([{ do: 'stop', name: 'osd.0' }]);
    expect(s.step(10_001)).toMatchObject([{ do: 'kill', name: 'osd.0' }]);
    s.onExit('osd.0', 'killed by SIGKILL', 10_002);
    expect(s.step(10_002)).toEqual([{ do: 'stop', name: 'mon' }]);
    expect(s.stopped).toBe(false);
    s.onExit('mon', 'exit 0', 10_003);
    expect(s.stopped).toBe(true);
  });

  test('instances come and go at run time', () => {
    const s = started(spec('mon'));
    s.setInstances([spec('mon'), spec('osd.7', 'mon')], 5);
    expect(s.step(5)).toEqual([{ do: 'start', name: 'osd.7' }]);
    s.onReady('osd.7', 6);
    s.setInstances([spec('mon')], 7);
    expect(s.step(7)).toEqual([{ do: 'stop', name: 'osd.7' }]);
    s.onExit('osd.7', 'exit 0', 8);
    expect(phases(s)).toEqual({ mon: 'running' });
  });

  test('a crash loop is told with its last reasons, and left after a steady minute', () => {
    const s = started(spec('osd.0'));
    let now = 0;
    for (let i = 1; i <= 7; i++) {
      now += 100_000;
      s.onHealth('osd.0', true, 'running', now - 90_000);
      // Dies while it starts, so it never ran for a minute.
      if (i > 1) for (const action of s.step(now)) expect(action).toEqual({ do: 'start', name: 'osd.0' });
      s.onExit('osd.0', `exit ${i}`, now);
    }
    const [status] = s.status();
    expect(status!.phase).toBe('crash-loop');
    expect(status!.detail).toBe('ended 7 times in a row, last: exit 7; starts again in 30.0 s');
    expect(status!.exits.map((exit) => exit.reason)).toEqual(['exit 3', 'exit 4', 'exit 5', 'exit 6', 'exit 7']);
    expect(s.allReady).toBe(false);
    s.step(now + 30_000);
    s.onReady('osd.0', now + 30_000);
    s.onExit('osd.0', 'exit 8', now + 100_000);
    expect(s.status()[0]).toMatchObject({ phase: 'back-off', detail: 'exit 8; starts again in 0.5 s' });
  });

  test('an instance in a crash loop is stopped at once', () => {
    const s = started(spec('mon'));
    for (let i = 0; i < 6; i++) s.onExit('mon', 'exit 1', i);
    expect(phases(s)).toEqual({ mon: 'crash-loop' });
    s.stopAll();
    expect(s.step(10)).toEqual([]);
    expect(s.stopped).toBe(true);
  });

  test('removed and wanted again while it stops: it starts anew, and that is no failure', () => {
    const s = started(spec('osd.0'));
    s.setInstances([], 1);
    expect(s.step(1)).toEqual([{ do: 'stop', name: 'osd.0' }]);
    s.setInstances([spec('osd.0')], 2);
    expect(s.step(2)).toEqual([]);
    s.onExit('osd.0', 'exit 0', 3);
    expect(s.status()[0]).toMatchObject({ phase: 'waiting', exits: [] });
    expect(s.step(3)).toEqual([{ do: 'start', name: 'osd.0' }]);
  });

  test('removed and wanted again, and it does not stop: it is killed at the deadline', () => {
    const s = started(spec('osd.0'));
    s.setInstances([], 1);
    s.step(1);
    s.setInstances([spec('osd.0')], 2);
    expect(s.step(10_002)).toEqual([{ do: 'kill', name: 'osd.0', why: 'did not stop within 10 s' }]);
    expect(s.step(10_003)).toEqual([]);
  });

  test('nothing is neglected while actions are taken, whatever roles do', () => {
    const s = started(spec('mon'));
    for (let now = 0; now < 300_000; now += 500) {
      s.step(now);
      expect(s.neglected(now)).toBeUndefined();
    }
  });

  test('a supervisor whose steps do not run neglects what is unhealthy or does not stop', () => {
    const s = started(spec('mon'));
    expect(s.neglected(unhealthyLimitMs + 29_000)).toBeUndefined();
    expect(s.neglected(unhealthyLimitMs + 31_000)).toBe('mon is unhealthy and was not killed');
    s.stopAll();
    s.step(0);
    expect(s.neglected(41_000)).toBe('mon does not stop and was not killed');
    const late = new Supervision();
    late.setInstances([spec('mon')], 0);
    late.step(0);
    expect(late.neglected(149_000)).toBeUndefined();
    expect(late.neglected(151_000)).toBe('mon is not ready and was not killed');
  });
});
