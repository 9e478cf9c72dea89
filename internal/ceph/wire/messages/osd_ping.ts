/** Heartbeats between OSDs, in upstream's encoding (`src/messages/MOSDPing.h`, version 5). */
import { DecodeError } from '../../../base/bytes.ts';
import type { UTime } from '../encoding.ts';
import { frontCodec } from '../message.ts';
import { decodeSpan, encodeSpan } from './osd_lease.ts';

export const MSG_OSD_PING = 70;

/**
 * A heartbeat and its answer; who sent it is known by the connection. `you-died`: the receiver of the ping has a newer map in which the sender is down or another.
 * The stamps are of monotonic clocks (`osd_lease.ts`).
 */
export interface MOSDPing {
  fsid: string;
  op: 'ping' | 'reply' | 'you-died';
  /** The sender's map. */
  epoch: number;
  /** Wall time of the one who pinged, given back in the reply. */
  pingStamp: UTime;
  /** Of the sender's present life: its clock is another in the next one. */
  upFrom: number;
  /** Clock of the one who pinged, given back in the reply. */
  monoPingStampMs: number;
  /** The sender's clock when it sent this. */
  monoSendStampMs: number;
  /** The most by which the sender's clock may be ahead of the receiver's; undefined while nothing is known of that. */
  deltaUbMs: number | undefined;
}

/** Numbers of upstream; those of long ago are not written any more. */
const opCodes: Readonly<Record<MOSDPing['op'], number>> = { 'you-died': 2, ping: 4, reply: 5 };

export const MOSDPing = frontCodec<MOSDPing>(
  { type: MSG_OSD_PING, name: 'MOSDPing', version: 5, compat: 4 },
  (e, m) => {
    e.uuid(m.fsid).u32(m.epoch).u8(opCodes[m.op]).utime(m.pingStamp);
    // Upstream fills pings up to find networks that lose large packets.
    e.u32(0);
    e.u32(m.upFrom);
    encodeSpan(e, m.monoPingStampMs);
    encodeSpan(e, m.monoSendStampMs);
    e.optional(m.deltaUbMs, encodeSpan);
  },
  (d, version) => {
    const fsid = d.uuid();
    const epoch = d.u32();
    const code = d.u8();
    const op = (Object.keys(opCodes) as MOSDPing['op'][]).find((each) => opCodes[each] === code);
    if (op === undefined) throw new DecodeError(`MOSDPing: unknown op ${code}`);
    const ping = { fsid, op, epoch, pingStamp: d.utime() };
    const padding = d.u32();
    if (version < 5) {
      d.skip(padding);
      return { ...ping, upFrom: 0, monoPingStampMs: 0, monoSendStampMs: 0, deltaUbMs: undefined };
    }
    const clocks = {
      upFrom: d.u32(),
      monoPingStampMs: decodeSpan(d),
      monoSendStampMs: decodeSpan(d),
      deltaUbMs: d.optional(decodeSpan),
    };
    d.skip(padding);
    return { ...ping, ...clocks };
  },
);
