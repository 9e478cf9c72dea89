import { concatBytes, utf8, utf8Text } from '../base/bytes.ts';
import { assert } from '../base/errors.ts';
import { decodeMembership, emptyConfiguration } from './membership.ts';
import { MemoryStorage } from './memory-storage.ts';
import { Raft, type RaftOptions } from './raft.ts';
import type { Configuration, Entry, HardState, MemberId, Message, Ready, SnapshotMeta } from './types.ts';

/**
 * A small language for what happens in a group. A file holds commands (`> …`), comments (`# …`) and, below each command, what it made happen.
 *
 * cluster 1 2 3 [learners 4] [option=value …]   log 1 = 1 1 4 [term=5] (terms of stored entries)   timeout 1   tick 1 [n]   deliver [1->2 …] [quietly]
 * drop [1->2 …]   duplicate   reverse   cut 1 2 | 3   heal   propose 1 text   forward 2 text   read 2   transfer 1 to 2   members 1 voters 1 2 learners 3
 * disk 1 slow|sync   crash 1   restart 1   compact 1   snapshot 1 to 2   fail-snapshot 1 to 2   unreachable 1 to 2   show [1]
 */
export function runScript(script: string): string {
  const out: string[] = [];
  const group = new ScriptedGroup((line) => out.push(`  ${line}`));
  for (const line of script.split('\n')) {
    if (line.startsWith('#') || line === '') out.push(line);
    if (!line.startsWith('> ')) continue;
    out.push(line);
    try {
      group.run(line.slice(2).trim());
    } catch (error) {
      out.push(`  ${(error as Error).message}`);
    }
  }
  return `${out.join('\n').trimEnd()}\n`;
}

/** What a member's disk holds. */
interface DiskState {
  hardState: HardState;
  snapshot: SnapshotMeta;
  before: { index: number; term: number };
  entries: Entry[];
  applied: string[];
}

interface Member {
  raft: Raft;
  storage: MemoryStorage;
  disk: DiskState;
  slow: boolean;
  /** Readys that are not on disk yet. */
  writing: Ready[];
  applied: string[];
  role: string;
}

class ScriptedGroup {
  readonly #say: (line: string) => void;
  readonly #members = new Map<MemberId, Member | undefined>();
  readonly #disks = new Map<MemberId, DiskState>();
  #network: Message[] = [];
  #parts: MemberId[][] = [];
  #options: Partial<RaftOptions> = {};
  #sequence = 0;

  constructor(say: (line: string) => void) {
    this.#say = say;
  }

  run(line: string): void {
    const [name, ...words] = line.split(/\s+/);
    const command = this.#commands[name!];
    assert(command !== undefined, `unknown command ${name}`);
    command(words, line);
    this.#settle();
  }

  readonly #commands: Record<string, (words: string[], line: string) => void> = {
    cluster: (words) => {
      const options = words.filter((word) => word.includes('='));
      this.#options = Object.fromEntries(options.map((word) => [word.split('=')[0], Number(word.split('=')[1])]));
      const { voters, learners } = lists(['voters', ...words.filter((word) => !word.includes('='))]);
      for (const id of [...voters, ...learners]) this.#create(id, { voters, learners, outgoing: [] });
    },
    // A new member, which knows nobody.
    add: ([id]) => this.#create(Number(id), emptyConfiguration),
    log: ([id, , ...words]) => {
      const disk = this.#disks.get(Number(id))!;
      const terms = words.filter((word) => !word.includes('='));
      const term = words.find((word) => word.startsWith('term='))?.slice(5) ?? terms.at(-1);
      disk.entries = terms.map((term, i) => entryOf(i + 1, Number(term), `${term}.${i + 1}`));
      disk.hardState = { ...disk.hardState, term: Number(term) };
      this.#start(Number(id));
    },
    timeout: ([id]) => {
      const { raft } = this.#member(id);
      for (let i = 0; i < 2 * electionTicks && raft.role === 'follower' && !raft.hasReady(); i++) raft.tick();
    },
    tick: ([id, count]) => {
      for (let i = 0; i < Number(count ?? 1); i++) {
        this.#member(id).raft.tick();
        this.#settle();
      }
    },
    deliver: (words) =>
      this.#deliver(
        words.filter((word) => word.includes('->')),
        words.includes('quietly'),
      ),
    drop: (words) => {
      this.#network = this.#network.filter((message) => {
        const hit = words.length === 0 || words.includes(`${message.from}->${message.to}`);
        if (hit) this.#say(`lost: ${text(message)}`);
        return !hit;
      });
    },
    duplicate: () => {
      this.#network = this.#network.flatMap((message) => [message, message]);
    },
    reverse: () => {
      this.#network.reverse();
    },
    cut: (_words, line) => {
      this.#parts = line.slice('cut'.length).split('|').map(numbers);
    },
    heal: () => {
      this.#parts = [];
    },
    propose: ([id, ...words]) => void this.#member(id).raft.propose([utf8(words.join(' '))]),
    forward: ([id, ...words]) => this.#member(id).raft.forward(++this.#sequence, [utf8(words.join(' '))]),
    read: ([id]) => this.#member(id).raft.readIndex(++this.#sequence),
    transfer: ([id, , to]) => this.#member(id).raft.transferLeadership(Number(to)),
    members: ([id, ...words]) => void this.#member(id).raft.proposeMembership(lists(words), utf8('names')),
    disk: ([id, how]) => {
      const member = this.#member(id);
      member.slow = how === 'slow';
    },
    crash: ([id]) => {
      this.#members.set(Number(id), undefined);
      this.#network = this.#network.filter(({ to }) => to !== Number(id));
    },
    restart: ([id]) => this.#start(Number(id)),
    compact: ([id]) => {
      const { storage, raft, disk } = this.#member(id);
      storage.compact(raft.log.applied);
      disk.before = { index: raft.log.applied, term: storage.term(raft.log.applied)! };
      disk.entries = disk.entries.filter(({ index }) => index > disk.before.index);
      this.#say(`${id} holds entries from ${storage.firstIndex} on`);
    },
    snapshot: ([id, , to]) => {
      const from = this.#member(id);
      const index = from.raft.log.applied;
      const meta = { index, term: from.raft.log.term(index)!, configuration: from.disk.snapshot.configuration };
      const receiver = this.#members.get(Number(to));
      from.raft.snapshotSent(Number(to), receiver === undefined ? undefined : index);
      if (receiver === undefined) return;
      receiver.disk.applied = [...from.applied];
      receiver.raft.step({ type: 'snapshot', from: Number(id), to: Number(to), term: from.raft.term, meta });
    },
    'fail-snapshot': ([id, , to]) => this.#member(id).raft.snapshotSent(Number(to), undefined),
    unreachable: ([id, , to]) => this.#member(id).raft.unreachable(Number(to)),
    show: ([id]) => {
      for (const [each, member] of this.#members) {
        if (id !== undefined && Number(id) !== each) continue;
        if (member === undefined) {
          this.#say(`${each}: down`);
          continue;
        }
        const { raft } = member;
        const from = raft.log.firstIndex;
        const held = raft.log.entries(from, raft.log.lastIndex + 1, Number.POSITIVE_INFINITY)!;
        const terms = held.map(({ term }) => term).join(' ');
        const vote = raft.vote === 0 ? '' : `, voted for ${raft.vote}`;
        this.#say(
          `${each}: ${raft.role}, term ${raft.term}${vote}, committed ${raft.log.committed}, terms from ${from}: ${terms}`,
        );
        const { voters, outgoing, learners } = raft.configuration;
        const leaving = outgoing.length > 0 ? `, of before ${outgoing.join(' ')}` : '';
        this.#say(
          `   voters ${voters.join(' ')}${leaving}${learners.length > 0 ? `, learners ${learners.join(' ')}` : ''}`,
        );
        if (raft.leading) {
          for (const [to, p] of raft.leading.progress)
            this.#say(`   ${to}: ${p.state}${p.blocked ? ' (waits)' : ''}, has ${p.match}, next ${p.next}`);
        }
      }
    },
  };

  #member(id: string | MemberId | undefined): Member {
    const member = this.#members.get(Number(id));
    assert(member !== undefined, `member ${id} is not there`);
    return member;
  }

  #create(id: MemberId, configuration: Configuration): void {
    this.#disks.set(id, {
      hardState: { term: 0, vote: 0, commit: 0 },
      snapshot: { index: 0, term: 0, configuration },
      before: { index: 0, term: 0 },
      entries: [],
      applied: [],
    });
    this.#start(id);
  }

  #start(id: MemberId): void {
    const disk = this.#disks.get(id)!;
    const storage = new MemoryStorage();
    storage.reset(disk.before.index, disk.before.term);
    storage.append(disk.entries);
    storage.hardState = disk.hardState;
    storage.snapshot = disk.snapshot;
    const raft = new Raft({
      id,
      storage,
      applied: disk.snapshot.index,
      electionTicks,
      heartbeatTicks: 2,
      randomElectionTicks: () => ownElectionTicks,
      maxMessageBytes: 1000,
      maxInflightMessages: 10,
      maxInflightBytes: 10_000,
      maxEntryBytes: 500,
      maxUncommittedBytes: 2000,
      maxApplyBytes: 10_000,
      ...this.#options,
    });
    this.#members.set(id, { raft, storage, disk, slow: false, writing: [], applied: [...disk.applied], role: '' });
  }

  /** Takes care of every Ready until nothing is left to do without the network. */
  #settle(): void {
    let rounds = 0;
    for (let busy = true; busy; rounds++) {
      assert(rounds < 1000, 'a member does not come to rest');
      busy = false;
      for (const [id, member] of this.#members) {
        if (member === undefined) continue;
        const { raft } = member;
        const role = `${raft.role} in term ${raft.term}`;
        if (role !== member.role && !(raft.role === 'follower' && raft.term === 0)) this.#say(`${id} is ${role}`);
        member.role = role;
        while (!member.slow && member.writing.length > 0) {
          this.#persist(id, member, member.writing.shift()!);
          busy = true;
        }
        if (!raft.hasReady()) continue;
        const ready = raft.ready();
        this.#take(id, member, ready);
        busy = true;
      }
    }
  }

  #take(id: MemberId, member: Member, ready: Ready): void {
    const { raft, storage } = member;
    if (ready.snapshot !== undefined) storage.reset(ready.snapshot.index, ready.snapshot.term);
    storage.append(ready.entries);
    this.#network.push(...ready.messages);
    for (const { context, index } of ready.reads)
      this.#say(`${id} may answer read ${context} once ${index} is applied`);
    for (const to of ready.snapshotsWanted) this.#say(`${id} is to send ${to} a snapshot`);
    for (const entry of ready.committed) {
      this.#say(`${id} applies ${entry.index}: ${entryText(entry)}`);
      member.applied.push(entryText(entry));
    }
    if (ready.committed.length > 0) {
      const last = ready.committed.at(-1)!;
      raft.applied(last.index);
      // The state machine of a script is on disk at once.
      member.disk.applied = [...member.applied];
      const configuration = raft.configuration;
      member.disk.snapshot = { index: last.index, term: last.term, configuration };
    }
    member.writing.push(ready);
    if (member.slow && (ready.entries.length > 0 || ready.hardState !== undefined))
      this.#say(`${id} writes to its slow disk`);
  }

  #persist(id: MemberId, member: Member, ready: Ready): void {
    const { disk, raft } = member;
    if (ready.snapshot !== undefined) {
      disk.snapshot = ready.snapshot;
      disk.before = { index: ready.snapshot.index, term: ready.snapshot.term };
      disk.entries = [];
      member.applied = [...disk.applied];
      this.#say(`${id} takes over the snapshot of ${ready.snapshot.index}: ${disk.applied.join(', ')}`);
    }
    if (ready.hardState !== undefined) disk.hardState = ready.hardState;
    for (const entry of ready.entries) {
      disk.entries.length = entry.index - disk.before.index - 1;
      disk.entries.push(entry);
    }
    this.#network.push(...ready.messagesAfterPersist.filter(({ to }) => to !== id));
    raft.persisted(ready);
  }

  #reachable(from: MemberId, to: MemberId): boolean {
    return this.#parts.length === 0 || this.#parts.some((part) => part.includes(from) && part.includes(to));
  }

  /** Delivers until nothing is on its way; with `paths`, once what is on its way there now. */
  #deliver(paths: string[], quietly: boolean): void {
    const hit = ({ from, to }: Message): boolean => paths.length === 0 || paths.includes(`${from}->${to}`);
    for (let rounds = 0; this.#network.some(hit); rounds++) {
      assert(rounds < 1000, 'the group does not come to rest');
      const batch = this.#network.filter(hit);
      this.#network = this.#network.filter((message) => !hit(message));
      for (const message of batch) {
        const to = this.#members.get(message.to);
        const lost = to === undefined || !this.#reachable(message.from, message.to);
        if (!quietly) this.#say(`${lost ? 'lost: ' : ''}${text(message)}`);
        if (!lost) to.raft.step(message);
        this.#settle();
      }
      if (paths.length > 0) return;
    }
  }
}

const electionTicks = 10;
/** What every member draws: behind the time for which it believes in a leader. */
const ownElectionTicks = 15;

function numbers(words: string | string[]): MemberId[] {
  return (typeof words === 'string' ? words.trim().split(/\s+/) : words).map(Number);
}

/** `voters 1 2 learners 3`. */
function lists(words: string[]): { voters: MemberId[]; learners: MemberId[] } {
  const at = words.indexOf('learners');
  const voters = numbers(words.slice(1, at < 0 ? undefined : at));
  return { voters, learners: at < 0 ? [] : numbers(words.slice(at + 1)) };
}

function entryOf(index: number, term: number, command: string): Entry {
  const data = utf8(command);
  return { index, term, type: 'command', data: [data], bytes: data.length };
}

function entryText(entry: Entry): string {
  if (entry.type === 'command') return utf8Text(concatBytes(entry.data));
  const nameless = entry.type === 'membership' && decodeMembership(entry.data).context.length === 0;
  return nameless ? '(membership without names)' : `(${entry.type})`;
}

function text(message: Message): string {
  return `${message.from}->${message.to} ${message.type} term ${message.term}${details(message)}`;
}

function details(m: Message): string {
  switch (m.type) {
    case 'vote':
    case 'pre-vote':
      return `, last ${m.lastIndex}/${m.lastTerm}${m.transfer ? ', transfer' : ''}`;
    case 'vote-reply':
    case 'pre-vote-reply':
      return m.granted ? ', yes' : ', no';
    case 'append': {
      const entries = m.entries.map((entry) => ` ${entry.index}/${entry.term} ${entryText(entry)}`).join(',');
      return `, behind ${m.prevIndex}/${m.prevTerm}:${entries || ' nothing'}; commit ${m.commit}`;
    }
    case 'append-reply':
      return m.rejected ? `, ${m.index} does not fit, try ${m.hintIndex}/${m.hintTerm}` : `, has ${m.index}`;
    case 'heartbeat':
      return `, commit ${m.commit}${m.read > 0 ? `, read round ${m.read}` : ''}`;
    case 'heartbeat-reply':
      return m.read > 0 ? `, read round ${m.read}` : '';
    case 'read-index':
      return `, read ${m.context}`;
    case 'read-index-reply':
      return `, read ${m.context} at ${m.index}`;
    case 'propose':
      return `, ${utf8Text(concatBytes(m.data))}`;
    default:
      return '';
  }
}
