import { type OsdCounters, zeroOsdCounters } from '../wire/messages/osd_mgr.ts';
import type { MOSDOpReplyValue } from '../wire/messages/osd_client.ts';
import type { OpRequest } from './op-request.ts';

/** What clients asked of this OSD since it started: the counters `op`, `op_r`, `op_w`, `op_rw` of upstream's logger `osd`, and what recovery did. */
export class OpCounters {
  readonly values: OsdCounters = zeroOsdCounters();

  /** A request was answered; those that are dropped come again, here or elsewhere. `nowMs`: by the clock of `receivedMs`. */
  answered({ kinds, message, receivedMs }: OpRequest, reply: MOSDOpReplyValue, nowMs: number): void {
    const { values } = this;
    const input = message.ops.reduce((sum, op) => sum + op.payloadLength, 0);
    const output = reply.ops.reduce((sum, { out }) => sum + out.reduce((bytes, part) => bytes + part.length, 0), 0);
    const seconds = (nowMs - receivedMs) / 1000;
    values.op++;
    values.opInBytes += input;
    values.opOutBytes += output;
    values.opSeconds += seconds;
    if (kinds.mayRead && kinds.mayWrite) {
      values.opRw++;
      values.opRwInBytes += input;
      values.opRwOutBytes += output;
      values.opRwSeconds += seconds;
    } else if (kinds.mayWrite) {
      values.opW++;
      values.opWInBytes += input;
      values.opWSeconds += seconds;
    } else {
      values.opR++;
      values.opROutBytes += output;
      values.opRSeconds += seconds;
    }
  }

  /** An object is where it belongs again. */
  recovered(bytes: number): void {
    this.values.recoveryOps++;
    this.values.recoveryBytes += bytes;
  }
}
