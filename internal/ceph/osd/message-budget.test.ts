import { describe, expect, test } from 'vitest';
import { messageBudget } from './message-budget.ts';
import { storeBudget } from './store-budget.ts';

const mib = 2 ** 20;
/** `processBytes` of `storeBudget`. */
const processMiB = 128;

describe('the memory of messages', () => {
  const table: readonly [
    limitMiB: number,
    receivedMiB: number,
    oneMiB: number,
    heldBackMiB: number,
    replyMiB: number,
  ][] = [
    [0, 256, 64, 128, 128],
    [128, 32, 16, 16, 16],
    [256, 64, 32, 32, 32],
    [512, 128, 64, 64, 64],
    [1024, 256, 64, 128, 128],
    [16_384, 256, 64, 128, 128],
  ];
  test.each(table)('of an OSD with a limit of %i MiB', (limit, received, one, heldBack, reply) => {
    const { limits, replyBytes } = messageBudget(limit * mib);
    const { totalReceiveBytes, receiveBytes, sendHoldBytes } = limits;
    expect([totalReceiveBytes, receiveBytes, sendHoldBytes, replyBytes].map((bytes) => bytes / mib)).toEqual([
      received,
      one,
      heldBack,
      reply,
    ]);
    const { storeBytes, bufferBytes } = storeBudget(limit * mib);
    if (limit >= 256)
      expect(processMiB + (storeBytes + bufferBytes + totalReceiveBytes + replyBytes) / mib).toBeLessThanOrEqual(limit);
  });
});
