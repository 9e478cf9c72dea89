import { describe, expect, test } from 'vitest';
import { silentLogger } from '../base/log.ts';
import { type AutoCompaction, AutoCompactor } from './auto-compaction.ts';
import { CompactedError } from './errors.ts';
import { ManualClock } from './testing.ts';

const minute = 60_000;

/** A store whose revision is the minutes that have passed, and what was compacted when. */
class Fixture {
  readonly clock = new ManualClock();
  readonly #began = this.clock.monotonic();
  readonly compacted: [minute: number, revision: number][] = [];
  leads = true;
  refuse: Error | undefined;

  constructor(wanted: AutoCompaction) {
    const { minutes } = this;
    const store = {
      get revision() {
        return minutes();
      },
      compact: async (revision: number) => {
        if (this.refuse !== undefined) throw this.refuse;
        this.compacted.push([minutes(), revision]);
      },
    };
    new AutoCompactor(wanted, { clock: this.clock, log: silentLogger, store, leads: () => this.leads });
  }

  readonly minutes = (): number => Math.floor((this.clock.monotonic() - this.#began) / minute);

  async pass(minutes: number): Promise<void> {
    for (let i = 0; i < minutes; i++) {
      this.clock.advance(minute);
      await Promise.resolve();
      await Promise.resolve();
    }
  }
}

describe('automatic compaction', () => {
  test('by revision: every five minutes, what is older than the newest so many', async () => {
    const fixture = new Fixture({ mode: 'revision', retention: 7 });
    await fixture.pass(16);
    expect(fixture.compacted).toEqual([
      [10, 3],
      [15, 8],
    ]);
  });

  test('by a period of an hour or less: every period, what was there one period ago', async () => {
    const fixture = new Fixture({ mode: 'periodic', retentionMs: 10 * minute });
    await fixture.pass(31);
    // Nothing was there at first.
    expect(fixture.compacted).toEqual([
      [11, 1],
      [21, 11],
      [31, 21],
    ]);
  });

  test('by a longer period: every hour, what was there one period ago', async () => {
    const fixture = new Fixture({ mode: 'periodic', retentionMs: 180 * minute });
    await fixture.pass(330);
    expect(fixture.compacted).toEqual([
      [186, 6],
      [246, 66],
      [306, 126],
    ]);
  });

  test('a member that does not lead asks for nothing, and knows what to ask for when it leads', async () => {
    const fixture = new Fixture({ mode: 'periodic', retentionMs: 10 * minute });
    fixture.leads = false;
    await fixture.pass(40);
    expect(fixture.compacted).toEqual([]);
    fixture.leads = true;
    await fixture.pass(1);
    expect(fixture.compacted).toEqual([[41, 31]]);
  });

  test('what failed is tried again soon; what is compacted already is as good as done', async () => {
    const fixture = new Fixture({ mode: 'periodic', retentionMs: 10 * minute });
    fixture.refuse = new Error('no leader');
    await fixture.pass(13);
    fixture.refuse = undefined;
    await fixture.pass(1);
    expect(fixture.compacted).toEqual([[14, 4]]);
    fixture.refuse = new CompactedError(14, 20);
    await fixture.pass(10);
    fixture.refuse = undefined;
    await fixture.pass(9);
    expect(fixture.compacted).toEqual([[14, 4]]);
    await fixture.pass(1);
    expect(fixture.compacted).toEqual([
      [14, 4],
      [34, 24],
    ]);
  });
});
