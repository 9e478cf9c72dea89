import { describe, expect, test } from 'vitest';
import type { Clock, Timer } from '../base/clock.ts';
import { memoryDisk } from '../base/disk-memory.ts';
import { silentLogger } from '../base/log.ts';
import { seededRandom } from '../base/random.ts';
import { openJournal } from '../journal/journal.ts';
import { JournalStorage } from './journal-storage.ts';
import { type OutgoingSnapshot, RaftNode, type StateMachine } from './node.ts';
import type { Configuration, Entry, Message, SnapshotMeta } from './types.ts';

/** Time passes when the test says so. */
class TestClock implements Clock {
  #now = 0;
  #timers: { at: number; run: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  after(delayMs: number, run: () => void): Timer {
    const timer = { at: this.#now + delayMs, run };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((each) => each !== timer);
      },
    };
  }

  advance(ms: number): void {
    this.#now += ms;
    const due = this.#timers.filter(({ at }) => at <= this.#now);
    this.#timers = this.#timers.filter((timer) => !due.includes(timer));
    for (const { run } of due) run();
  }
}

/** A state machine and a network that do what the test lets them do. */
class Fixture {
  readonly clock = new TestClock();
  readonly sent: Message[] = [];
  readonly did: string[] = [];
  readonly snapshotsSent: { to: number; term: number; index: number }[] = [];
  receive: () => Promise<void> = () => Promise.resolve();
  install: () => Promise<void> = () => Promise.resolve();
  make: () => Promise<void> = () => Promise.resolve();
  node!: RaftNode;

  static async open(id: number, applied: SnapshotMeta): Promise<Fixture> {
    const fixture = new Fixture();
    const { clock } = fixture;
    const disk = memoryDisk({ random: seededRandom(1) });
    const journal = await openJournal({ disk, dir: '/journal', clock, log: silentLogger, segmentBytes: 65536 });
    const machine: StateMachine = {
      apply: (entries: readonly Entry[]) => fixture.did.push(`apply to ${entries.at(-1)!.index}`),
      leadership: () => undefined,
      makeSnapshot: async (): Promise<OutgoingSnapshot> => {
        await fixture.make();
        const release = async (): Promise<void> => undefined;
        return { meta: applied, bytes: 0, pieces: async function* () {}, release };
      },
      receiveSnapshot: async (meta) => {
        fixture.did.push(`receive ${meta.index}`);
        await fixture.receive();
      },
      installSnapshot: async (meta) => {
        fixture.did.push(`install ${meta.index}`);
        await fixture.install();
      },
      discardSnapshot: async () => void fixture.did.push('discard'),
      answer: async (data) => data,
      wasRemoved: () => false,
      removed: () => undefined,
      failed: (error) => {
        throw error;
      },
    };
    fixture.node = new RaftNode({
      id,
      storage: await JournalStorage.open({ journal, dir: '/', applied }),
      transport: {
        send: (message) => fixture.sent.push(message as Message),
        close: () => undefined,
        sendSnapshot: async (to, term, { meta }) => void fixture.snapshotsSent.push({ to, term, index: meta.index }),
      },
      machine,
      clock,
      random: seededRandom(2),
      log: silentLogger,
      tickMs: 100,
      heartbeatTicks: 1,
      electionTicks: 10,
      keepBytes: 1000,
      maxMessageBytes: 1000,
      maxEntryBytes: 1000,
      maxUncommittedBytes: 10_000,
    });
    fixture.node.start();
    return fixture;
  }

  /** What was begun goes as far as it can. */
  async rest(): Promise<void> {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  receiveSnapshot(from: number, term: number, index: number): Promise<string> {
    const meta = { index, term, configuration };
    return this.node.receiveSnapshot(from, term, meta, (async function* () {})()).then(
      () => 'taken',
      (error: Error) => error.message,
    );
  }

  /** With the vote of member 2. */
  async elect(): Promise<number> {
    this.node.raft.campaign();
    for (const type of ['pre-vote', 'vote'] as const) {
      this.clock.advance(1);
      const { id } = this.node.raft;
      const term = this.node.raft.term + (type === 'pre-vote' ? 1 : 0);
      this.node.step({ type: `${type}-reply`, from: 2, to: id, term, granted: true });
      await this.rest();
    }
    expect(this.node.raft.role).toBe('leader');
    return this.node.raft.term;
  }

  /** Member 3 has nothing. */
  async member3IsEmpty(): Promise<void> {
    const { id, term } = this.node.raft;
    const append = this.sent.findLast((message) => message.type === 'append' && message.to === 3);
    const index = (append as Message<'append'>).prevIndex;
    this.node.step({ type: 'append-reply', from: 3, to: id, term, index, rejected: true, hintIndex: 0, hintTerm: 0 });
    await this.rest();
  }

  async heartbeatOfMember3(): Promise<void> {
    const { id, term } = this.node.raft;
    this.node.step({ type: 'heartbeat-reply', from: 3, to: id, term, read: 0 });
    await this.rest();
  }
}

const configuration: Configuration = { voters: [1, 2], outgoing: [], learners: [3] };
const nothing: SnapshotMeta = { index: 0, term: 0, configuration: { voters: [], outgoing: [], learners: [] } };
const tenEntries: SnapshotMeta = { index: 10, term: 1, configuration };

describe('raft node: snapshots', () => {
  test('while one takes the place of the state, another one is refused: there is one place for it on the disk', async () => {
    const follower = await Fixture.open(3, nothing);
    const installed = Promise.withResolvers<void>();
    follower.install = () => installed.promise;
    expect(await follower.receiveSnapshot(1, 4, 5)).toBe('taken');
    await follower.rest();
    expect(await follower.receiveSnapshot(2, 5, 7)).toMatch(/another snapshot/);
    expect(follower.did).toEqual(['receive 5', 'install 5']);
    installed.resolve();
    await follower.rest();
    expect(await follower.receiveSnapshot(2, 5, 7)).toBe('taken');
    await follower.rest();
    expect(follower.did).toEqual(['receive 5', 'install 5', 'receive 7', 'install 7']);
    expect(follower.node.raft.log.applied).toBe(7);
  });

  test('one of a leader that was replaced is refused before it is read', async () => {
    const follower = await Fixture.open(3, nothing);
    follower.node.step({ type: 'heartbeat', from: 2, to: 3, term: 5, commit: 0, read: 0 });
    await follower.rest();
    expect(await follower.receiveSnapshot(1, 4, 5)).toMatch(/term 4.* term 5/);
    expect(follower.did).toEqual([]);
  });

  test('one of a leader that is replaced while it arrives is forgotten, and its sender is told', async () => {
    const follower = await Fixture.open(3, nothing);
    const arrived = Promise.withResolvers<void>();
    follower.receive = () => arrived.promise;
    const answer = follower.receiveSnapshot(1, 4, 5);
    follower.node.step({ type: 'heartbeat', from: 2, to: 3, term: 5, commit: 0, read: 0 });
    await follower.rest();
    arrived.resolve();
    expect(await answer).toMatch(/term 4.* term 5/);
    await follower.rest();
    expect(follower.did).toEqual(['receive 5', 'discard']);
    expect(follower.node.raft.log.lastIndex).toBe(0);
    follower.receive = () => Promise.resolve();
    expect(await follower.receiveSnapshot(2, 5, 7)).toBe('taken');
  });

  test('a leader that is deposed while it makes one does not send it, and sends another when it leads again', async () => {
    const leader = await Fixture.open(1, tenEntries);
    await leader.elect();
    const made = Promise.withResolvers<void>();
    leader.make = () => made.promise;
    await leader.member3IsEmpty();
    expect(leader.node.raft.leading!.progress.get(3)!.state).toBe('snapshot');
    // Another one leads meanwhile, and this one again.
    leader.node.step({ type: 'heartbeat', from: 2, to: 1, term: leader.node.raft.term + 1, commit: 10, read: 0 });
    await leader.rest();
    const term = await leader.elect();
    await leader.member3IsEmpty();
    leader.make = () => Promise.resolve();
    made.resolve();
    await leader.rest();
    expect(leader.snapshotsSent).toEqual([]);
    await leader.heartbeatOfMember3();
    expect(leader.snapshotsSent).toEqual([{ to: 3, term, index: 10 }]);
  });
});
