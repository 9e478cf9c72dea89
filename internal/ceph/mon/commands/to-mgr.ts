import type { Timer } from '../../../base/clock.ts';
import { FEATURES_PACIFIC } from '../../wire/features.ts';
import { type CommandReplyValue, MMgrCommand, MMgrCommandReply } from '../../wire/messages/command.ts';
import { EAGAIN, ETIMEDOUT, Refusal } from '../errno.ts';
import type { Mon } from '../mon.ts';

/** The mgr answers from what it has in memory; what takes longer is lost with its session. */
const timeoutMs = 30_000;
/** Commands that wait for the mgr at once. */
const maxPending = 64;

/**
 * Commands that clients send to the mon and the mgr executes (`pg dump`, `service dump`): they go to the active mgr over its own session, with whichever mon that is,
 * after the mon has checked the client's capabilities.
 */
export class CommandsToMgr {
  readonly #mon: Mon;
  readonly #pending = new Map<number, { gid: bigint; resolve: (reply: CommandReplyValue) => void; timer: Timer }>();
  #nextTid = 1;

  constructor(mon: Mon) {
    this.#mon = mon;
    mon.handlers.on(MMgrCommandReply, (session, reply, { tid }) => {
      const waiting = this.#pending.get(tid);
      if (waiting !== undefined && waiting.gid === session.connection.identity?.globalId)
        this.#end(tid, { ...reply, output: reply.output.slice() });
    });
  }

  #end(tid: number, reply: CommandReplyValue): void {
    const waiting = this.#pending.get(tid);
    if (waiting === undefined) return;
    this.#pending.delete(tid);
    waiting.timer.cancel();
    waiting.resolve(reply);
  }

  /** Errors: EAGAIN when no mgr is active here, or too much waits for it already. */
  send(words: readonly string[], input: Uint8Array): Promise<CommandReplyValue> {
    const { clock, quorum, state } = this.#mon;
    const { activeGid, available } = state.mgrmap;
    if (this.#pending.size >= maxPending) throw new Refusal(EAGAIN, 'too many commands wait for the mgr');
    const tid = this.#nextTid++;
    const { type, version, compat } = MMgrCommand;
    const body = MMgrCommand.encode({ fsid: state.fsid, command: words, input }, FEATURES_PACIFIC);
    if (!available || !quorum.push(activeGid, { type, version, compat, ...body, tid }))
      throw new Refusal(EAGAIN, 'the mgr executes this command, and none is active');
    return new Promise((resolve) => {
      const late = { code: -ETIMEDOUT, status: 'the mgr does not answer', output: new Uint8Array(0) };
      const timer = clock.after(timeoutMs, () => this.#end(tid, late));
      this.#pending.set(tid, { gid: activeGid, resolve, timer });
    });
  }
}
