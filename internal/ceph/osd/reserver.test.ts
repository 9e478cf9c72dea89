import { describe, expect, test } from 'vitest';
import { PG_DEGRADED, PG_FORCED_BACKFILL, PG_FORCED_RECOVERY, PG_UNDERSIZED } from '../wire/messages/osd_mgr.ts';
import { RecoveryPace } from './recovery-pace.ts';
import { backfillPriority, recoveryPriority, type RecoveryUrgency } from './recovery-priority.ts';
import { type Reservation, Reserver } from './reserver.ts';
import { SimScheduler } from './sim/scheduler.testing.ts';

/** A reserver of so many places, with a record of what it says to whom. */
function reserver(places: { count: number }) {
  const said: string[] = [];
  const soon: (() => void)[] = [];
  const subject = new Reserver(
    () => places.count,
    (run) => void soon.push(run),
  );
  return {
    subject,
    ask: (item: string, priority: number): Reservation =>
      subject.request({
        item,
        priority,
        granted: () => said.push(`${item}+`),
        preempted: () => said.push(`${item}-`),
      }),
    heard: (): string => {
      while (soon.length > 0) soon.shift()!();
      return said.splice(0).join(' ');
    },
  };
}

describe('places for recovery', () => {
  test('the most urgent comes first, equals in their order', () => {
    const { ask, heard } = reserver({ count: 1 });
    const first = ask('a', 180);
    expect(heard()).toBe('a+');
    ask('b', 100);
    ask('c', 180);
    const urgent = ask('d', 180);
    first.release();
    expect(heard()).toBe('c+');
    urgent.release();
    expect(heard()).toBe('');
  });

  test('what is more urgent asks for a place, and has it when the other has ended', () => {
    const { subject, ask, heard } = reserver({ count: 2 });
    const backfill = ask('backfill', 100);
    ask('recovery', 180);
    expect(heard()).toBe('backfill+ recovery+');
    ask('inactive', 221);
    expect(heard()).toBe('backfill-');
    // Another one does not make the next one give way before the first has.
    ask('forced', 255);
    expect(heard()).toBe('');
    expect(subject.granted).toBe(2);
    backfill.release();
    expect(heard()).toBe('forced+ recovery-');
  });

  test('equals do not push each other out; one that becomes urgent does', () => {
    const { ask, heard } = reserver({ count: 1 });
    ask('a', 180);
    const waiting = ask('b', 180);
    expect(heard()).toBe('a+');
    waiting.reprioritise(255);
    expect(heard()).toBe('a-');
  });

  test('more places are given at once, fewer take none away', () => {
    const places = { count: 1 };
    const { subject, ask, heard } = reserver(places);
    ask('a', 180);
    ask('b', 180);
    expect(heard()).toBe('a+');
    places.count = 2;
    subject.fill();
    expect(heard()).toBe('b+');
    places.count = 1;
    subject.fill();
    ask('c', 180);
    expect([heard(), subject.granted]).toEqual(['', 2]);
    expect(subject.dump()).toEqual({
      max_allowed: 1,
      min_priority: 0,
      queues: [{ priority: 180, items: [{ item: 'c', prio: 180, can_preempt: true }] }],
      in_progress: ['a', 'b'].map((item) => ({ item, prio: 180, can_preempt: true })),
    });
  });

  test('one that was withdrawn before it heard of its place hears nothing', () => {
    const { ask, heard } = reserver({ count: 1 });
    ask('a', 180).release();
    expect(heard()).toBe('');
  });
});

describe('how urgent a PG is', () => {
  const healthy: RecoveryUrgency = { state: 0, size: 3, minSize: 2, acting: 3, complete: 3, pool: 0 };

  test.each([
    ['recovery of a PG with enough copies', recoveryPriority({ ...healthy, state: PG_DEGRADED, complete: 2 }), 180],
    ['of a pool that is preferred', recoveryPriority({ ...healthy, pool: 10 }), 190],
    ['below min_size', recoveryPriority({ ...healthy, state: PG_DEGRADED, complete: 1 }), 221],
    [
      'below min_size, preferred beyond all measure',
      recoveryPriority({ ...healthy, state: PG_DEGRADED, complete: 0, pool: 99 }),
      253,
    ],
    ['forced', recoveryPriority({ ...healthy, state: PG_FORCED_RECOVERY }), 255],
    ['backfill of what is misplaced', backfillPriority(healthy), 100],
    ['of a pool that can wait', backfillPriority({ ...healthy, pool: -10 }), 90],
    ['of what is degraded', backfillPriority({ ...healthy, state: PG_DEGRADED }), 140],
    ['of what lacks a member', backfillPriority({ ...healthy, state: PG_UNDERSIZED, acting: 2 }), 141],
    ['of what has too few to serve', backfillPriority({ ...healthy, state: PG_UNDERSIZED, acting: 1 }), 221],
    ['forced', backfillPriority({ ...healthy, state: PG_FORCED_BACKFILL }), 254],
  ])('%s', (_name, priority, wanted) => {
    expect(priority).toBe(wanted);
  });
});

describe('the pace of recovery', () => {
  test('so many objects at a time; who was refused is called when one has ended', async () => {
    const scheduler = new SimScheduler();
    const limits = { maxActive: 2, sleepMs: 0 };
    const pace = new RecoveryPace(scheduler, () => limits);
    let called = 0;
    const again = (): void => void called++;
    expect([pace.take(again), pace.take(again), pace.take(again)]).toEqual([true, true, false]);
    await scheduler.run(1000);
    expect(called).toBe(0);
    pace.done(1);
    await scheduler.run(2000);
    expect(called).toBe(1);
    expect([pace.take(again), pace.take(again)]).toEqual([true, false]);
    limits.maxActive = 3;
    pace.changed();
    await scheduler.run(3000);
    expect(called).toBe(2);
  });

  test('a pause between two objects, which may be taken back', async () => {
    const scheduler = new SimScheduler();
    const limits = { maxActive: 10, sleepMs: 100 };
    const pace = new RecoveryPace(scheduler, () => limits);
    const taken: number[] = [];
    const go = (): void => {
      if (taken.length < 6 && pace.take(go)) {
        taken.push(Math.round(scheduler.monotonic()));
        go();
      }
    };
    const beganMs = Math.round(scheduler.monotonic());
    go();
    await scheduler.run(scheduler.timeMs + 250);
    expect(taken).toEqual([0, 100, 200].map((ms) => beganMs + ms));
    limits.sleepMs = 0;
    pace.changed();
    await scheduler.run(scheduler.timeMs + 1);
    expect(taken).toHaveLength(6);
  });
});
