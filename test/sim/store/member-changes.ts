import { AppError, errorCode, errorText } from '../../../internal/base/errors.ts';
import type { Store } from '../../../internal/store/api.ts';
import { raftId } from '../../../internal/store/members.ts';
import type { Clients } from './clients.ts';
import type { SimulatedGroup, SimulatedMember } from './group.ts';
import { Violation } from './history.ts';

/** How a change of the members waits. */
export interface Waiting {
  settle(promise: Promise<unknown>): Promise<unknown>;
  pass(ms: number): Promise<void>;
  /** Machines that join may take longer to start than they are waited for. */
  slow?: boolean;
}

/** A group does not grow beyond this. */
const mostMembers = 5;

/** Members that come and go, one change at a time. */
export class MemberChanges {
  readonly #group: SimulatedGroup;
  readonly #clients: Clients;
  /** Members that ever were. */
  #names: number;
  /** Machines that join may be slow. */
  readonly #late: boolean;
  #running = false;

  constructor(group: SimulatedGroup, clients: Clients, size: number, late: boolean) {
    this.#group = group;
    this.#clients = clients;
    this.#names = size;
    this.#late = late;
  }

  get running(): boolean {
    return this.#running;
  }

  newName(): string {
    return `n${++this.#names}`;
  }

  get present(): SimulatedMember[] {
    return this.#group.members.filter(({ removed }) => !removed);
  }

  get damaged(): SimulatedMember | undefined {
    return this.#group.members.find(({ damaged, removed }) => damaged && !removed);
  }

  /** A member leaves for good, first one that refuses to start; a new one with an empty disk joins. */
  change(how: 'replace' | 'shrink' | 'grow'): void {
    const group = this.#group;
    const { world } = group;
    const leader = group.leader;
    if (leader === undefined || this.#running) return;
    const leaves = how !== 'grow';
    if (leaves ? this.present.length === 1 : this.present.length >= mostMembers) return;
    const damaged = this.damaged;
    // Who is left must be a majority.
    if (leaves && damaged !== undefined && damaged.refused === undefined) return;
    const old = damaged ?? world.pick(this.present);
    if (leaves && old === leader) return;
    this.#running = true;
    this.#clients.busy++;
    const late = world.sleep(25_000).then(() => {
      throw new AppError('LATE', 'not in time');
    });
    late.catch(() => undefined);
    const inTime: Waiting = {
      settle: (promise) => Promise.race([promise, late]),
      pass: (ms) => Promise.race([world.sleep(ms), late]),
      slow: this.#late,
    };
    const change = async (): Promise<void> => {
      if (leaves) await this.#remove(leader.life.store, old, inTime);
      if (how !== 'shrink') await this.join(this.newName(), inTime);
    };
    change()
      .catch((error: unknown) => group.say(`the members were not changed: ${errorText(error)}`))
      .finally(() => {
        this.#running = false;
        this.#clients.busy--;
      });
  }

  async #remove(store: Store, old: SimulatedMember, { settle }: Waiting): Promise<void> {
    this.#group.say(`${old.name} is removed`);
    old.leaving = true;
    await settle(store.cluster.removeMember(old.memberId));
    old.removed = true;
    if (this.#group.world.chance(0.5)) this.#group.kill(old);
  }

  async join(name: string, { settle, pass, slow }: Waiting): Promise<void> {
    const group = this.#group;
    const url = `https://${name}:2380`;
    for (let attempt = 0; attempt < 100; attempt++) {
      const store = group.leader?.life.store;
      try {
        if (store !== undefined) {
          let member = store.cluster.members().find(({ peerUrls }) => peerUrls.includes(url));
          const added = store.cluster.addMember([url], true);
          if (member === undefined) {
            const settled = added.then((made) => (member = made));
            settled.catch(() => undefined);
            await settle(settled);
          } else added.catch(() => undefined);
          if (member !== undefined) {
            // A machine that takes its time, perhaps more than it is given.
            if (slow && this.#group.world.chance(0.3)) await pass(this.#group.world.between(0, 6000));
            group.add(name, { clusterId: store.cluster.clusterId, memberId: member.id }).id = raftId(member.id);
            return;
          }
        }
      } catch (error) {
        if (errorCode(error) === undefined || errorCode(error) === 'LATE') throw error;
      }
      await pass(200);
    }
    throw new Violation(`${name} could not join`);
  }
}
