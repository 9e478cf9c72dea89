import { utf8 } from '../../../internal/base/bytes.ts';
import { AppError, errorCode } from '../../../internal/base/errors.ts';
import type { Durability, Store, TxnRequest } from '../../../internal/store/api.ts';
import { CompactedError } from '../../../internal/store/errors.ts';
import { prefixEnd } from '../../../internal/store/keys.ts';
import type { Life, SimulatedGroup } from './group.ts';
import { changesOf, History, type Operation, pairs, Violation, writesOf } from './history.ts';
import { Leases } from './leases.ts';
import type { World } from './world.ts';

/** In a directory, of which the store keeps what it has (`internal/store/directories.ts`). */
const keys = ['k/0', 'k/1', 'k/2'];
const clientCount = 4;

/** Those who use a group: they read and write, watch everything, keep leases, and note what they were told. */
export class Clients {
  history = new History();
  leases = new Leases();
  /** No new request is begun. */
  stopped = false;
  /** Requests on their way, of clients and of others that are to be waited for. */
  busy = 0;
  /** Every change up to here is known. */
  known = 1;
  /** Newest compaction that was asked for. */
  compacted = 0;
  /** Where each watch of everything is. */
  readonly watched: { upTo: number }[] = [];
  /** Watches have been told of everything up to here at the end, and need not go on. */
  last = Number.POSITIVE_INFINITY;
  readonly world: World;
  #nextValue = 1;

  /** `steady`: as in `SimulationOptions`. */
  constructor(
    readonly group: SimulatedGroup,
    readonly steady: boolean,
    readonly watches: number,
  ) {
    this.world = group.world;
  }

  begin(): void {
    this.stopped = false;
    this.last = Number.POSITIVE_INFINITY;
    this.watched.length = 0;
    for (let i = 0; i < clientCount; i++) this.#client(i);
    for (let i = 0; i < Math.min(2, this.watches); i++) this.#observe(i);
    this.#leaseClient();
  }

  #client(number: number): void {
    const next = (): void => {
      if (this.stopped) return;
      const member = this.group.anyone();
      if (member === undefined || this.group.violation !== undefined) {
        this.world.after(20, next);
        return;
      }
      this.busy++;
      void this.#operate(member.life.store, member.life, number).finally(() => {
        this.busy--;
        this.world.after(this.world.between(0, 60), next);
      });
    };
    next();
  }

  async #operate(store: Store, life: Life, client: number): Promise<void> {
    const { world, history } = this;
    const kind = world.pick([
      ...(['put', 'put', 'put', 'delete', 'swap', 'pair', 'move', 'get', 'get', 'list', 'past'] as const),
    ]);
    const volatile = (!this.steady || this.watches === 1) && kind === 'put' && world.chance(0.3);
    const durability = !volatile ? 'durable' : this.steady ? 'volatile' : world.pick(['volatile', 'deferred'] as const);
    const key = volatile ? `v${client}` : world.pick(keys);
    const writes = kind === 'put' || kind === 'swap' || kind === 'pair';
    const reads = kind === 'get' || kind === 'list' || kind === 'past';
    const another = world.pick(keys.filter((one) => one !== key));
    const op: Operation = {
      kind,
      key: kind === 'list' || kind === 'past' ? 'k/' : key,
      value: writes ? `${this.#nextValue++}` : '',
      ...((kind === 'pair' || kind === 'move') && { other: { key: another, value: `${this.#nextValue++}` } }),
      invoked: history.tick(),
      answered: Number.POSITIVE_INFINITY,
      outcome: 'unknown',
      revision: 0,
      changed: 0,
      found: [],
      volatile,
      serializable: reads && world.chance(0.2),
    };
    history.operations.push(op);
    try {
      await Promise.race([this.#ask(store, op, durability), life.ended.promise]);
      op.outcome = 'done';
      op.answered = history.tick();
      if (op.changed > 0) history.told(op.changed, writesOf(op), 'the answer');
    } catch (error) {
      if (!(error instanceof AppError) && !(error instanceof Violation)) this.group.violate(error as Error);
      if (error instanceof Violation) this.group.violate(error);
      if (isRefusal(error)) op.outcome = 'refused';
    }
  }

  async #ask(store: Store, op: Operation, durability: Durability): Promise<void> {
    const key = utf8(op.key);
    const value = utf8(op.value);
    if (op.kind === 'put') {
      op.revision = (await store.put({ key, value }, durability)).revision;
      op.changed = op.revision;
    } else if (op.kind === 'delete') {
      const answer = await store.delete({ key });
      op.revision = answer.revision;
      op.changed = answer.deleted > 0 ? answer.revision : 0;
    } else if (op.kind === 'swap') {
      const old = await store.range({ key, serializable: true });
      const txn: TxnRequest = {
        compare: [{ key, result: 'equal', target: 'mod', value: old.kvs[0]?.modRevision ?? 0 }],
        success: [{ op: 'put', request: { key, value } }],
        failure: [],
      };
      const answer = await store.txn(txn);
      op.revision = answer.revision;
      op.changed = answer.succeeded ? answer.revision : 0;
    } else if (op.kind === 'pair' || op.kind === 'move') {
      const other = { key: utf8(op.other!.key), value: utf8(op.other!.value) };
      const answer = await store.txn({
        // A move is of what is there.
        compare: op.kind === 'move' ? [{ key, result: 'greater', target: 'version', value: 0 }] : [],
        success: [
          op.kind === 'move' ? { op: 'delete', request: { key } } : { op: 'put', request: { key, value } },
          { op: 'put', request: other },
        ],
        failure: [],
      });
      op.revision = answer.revision;
      op.changed = answer.succeeded ? answer.revision : 0;
    } else {
      const end = op.kind === 'get' ? {} : { rangeEnd: prefixEnd(key) };
      // Of what is compacted, or not there yet, nothing can be had.
      if (op.kind === 'past')
        op.at = Math.floor(this.world.between(Math.max(1, this.compacted), Math.max(1, this.known) + 1));
      const at = op.at === undefined ? {} : { revision: op.at };
      const answer = await store.range({ key, ...end, ...at, serializable: op.serializable });
      op.revision = answer.revision;
      op.found = pairs(answer.kvs);
    }
  }

  /** A watch of everything that goes on behind what it was told, on whichever member there is. */
  #observe(number: number): void {
    let from = 1;
    // Where history was said to begin: that revision may have no changes.
    let beginning = 0;
    const watched = { upTo: 1 };
    this.watched.push(watched);
    const ended = (): boolean => from >= this.last || this.group.violation !== undefined;
    const begin = (): void => {
      if (ended()) return;
      const member = this.group.anyone();
      if (member === undefined) {
        this.world.after(50, begin);
        return;
      }
      const { life, name } = member;
      const who = `watch ${number} on ${name}`;
      let open = true;
      const again = (): void => {
        if (!open) return;
        open = false;
        watch?.close();
        if (!ended()) this.world.after(this.world.between(0, 2000), begin);
      };
      life.ended.promise.catch(again);
      const watch = life.store.watch(
        { key: utf8('\0'), rangeEnd: utf8('\0'), startRevision: from + 1 },
        {
          onEvents: (events, revision) => {
            if (!open) return;
            try {
              if (revision !== from + 1 && !(from + 1 === beginning && revision === beginning + 1))
                throw new Violation(`${who} was told of revision ${revision} behind ${from}`);
              from = revision;
              watched.upTo = revision;
              const changes = changesOf(events);
              this.history.told(revision, changes, who);
              this.leases.told(changes, this.world.now);
              this.known = Math.max(this.known, from);
            } catch (error) {
              this.group.violate(error as Error);
            }
          },
          onEnd: (error) => {
            // What lies between cannot be had any more, and that was said.
            if (error instanceof CompactedError) {
              beginning = error.compactRevision;
              if (beginning > this.compacted) this.history.hasHoles = true;
              from = Math.max(from, beginning - 1);
              // A revision at which history begins anew has no changes to tell of.
              watched.upTo = Math.max(watched.upTo, beginning);
            }
            again();
          },
        },
      );
      // Now and then it is taken up again elsewhere.
      this.world.after(this.world.between(500, 6000), again);
    };
    begin();
  }

  #leaseClient(): void {
    const next = (): void => {
      if (this.stopped || this.group.violation !== undefined) return;
      const member = this.group.anyone();
      if (member !== undefined) {
        this.busy++;
        void this.leases
          .use(member.life.store, member.life, this.world, !this.steady)
          .catch((error: unknown) => {
            if (!(error instanceof AppError)) this.group.violate(error as Error);
          })
          .finally(() => {
            this.busy--;
          });
      }
      this.world.after(this.world.between(100, 1500), next);
    };
    next();
  }
}

/** Certain not to have happened: the request itself was refused, or nobody took it. */
function isRefusal(error: unknown): boolean {
  return /^(STORE_BUSY|NO_LEADER|COMPACTED|FUTURE_REVISION|LEASE_NOT_FOUND|NO_SPACE)$/.test(errorCode(error) ?? '');
}
