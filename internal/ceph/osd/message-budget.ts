import type { MessengerLimits } from '../wire/messenger.ts';
import { maxObjectBytes } from './ops/limits.ts';

const mib = 2 ** 20;

function between(least: number, bytes: number, most: number): number {
  return Math.max(least, Math.min(most, Math.floor(bytes)));
}

/** What an OSD's messages may take of its memory. */
export interface MessageBudget {
  limits: Pick<
    MessengerLimits,
    'receiveBytes' | 'totalReceiveBytes' | 'sendHighWaterBytes' | 'sendHoldBytes' | 'sendMaxBytes'
  >;
  /** Of replies to reads: `ReplyBudget`. */
  replyBytes: number;
}

/**
 * How much of an OSD's memory (`memory.osd`, in bytes; 0: no limit) requests under way may take: a quarter for what clients have sent (which what goes to other OSDs
 * refers to), an eighth for what they read. With the caches (`storeBudget`) and the process itself that stays below the limit.
 */
export function messageBudget(limitBytes: number): MessageBudget {
  const limit = limitBytes === 0 ? 1024 * mib : limitBytes;
  const totalReceiveBytes = between(32 * mib, limit / 4, 256 * mib);
  const replyBytes = between(16 * mib, limit / 8, 128 * mib);
  return {
    limits: {
      totalReceiveBytes,
      receiveBytes: Math.min(64 * mib, totalReceiveBytes / 2),
      sendHighWaterBytes: Math.min(16 * mib, totalReceiveBytes / 8),
      sendHoldBytes: totalReceiveBytes / 2,
      // Only to be on the safe side: `replyBytes` and the largest reply, which alone always goes, and maps.
      sendMaxBytes: replyBytes + maxObjectBytes + 32 * mib,
    },
    replyBytes,
  };
}

/** Of the messenger for heartbeats, whose messages are small. */
export const heartbeatLimits: Partial<MessengerLimits> = {
  receiveBytes: 1 * mib,
  totalReceiveBytes: 8 * mib,
  sendHighWaterBytes: 1 * mib,
  sendMaxBytes: 8 * mib,
};
