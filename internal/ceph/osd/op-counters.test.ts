import { expect, test } from 'vitest';
import type { MOSDOpReplyValue } from '../wire/messages/osd_client.ts';
import { zeroOsdCounters } from '../wire/messages/osd_mgr.ts';
import { OpCounters } from './op-counters.ts';
import type { OpRequest } from './op-request.ts';

/** A request that came at 1000 ms with so many bytes. */
const request = (mayRead: boolean, mayWrite: boolean, bytes: number): OpRequest =>
  ({
    kinds: { mayRead, mayWrite },
    message: { ops: [{ payloadLength: bytes }] },
    receivedMs: 1000,
  }) as unknown as OpRequest;
const reply = (bytes: number): MOSDOpReplyValue =>
  ({ ops: [{ out: [new Uint8Array(bytes)] }] }) as unknown as MOSDOpReplyValue;

test('requests count by what they may do, with their bytes and seconds', () => {
  const counters = new OpCounters();
  counters.answered(request(true, false, 1), reply(100), 1250);
  counters.answered(request(false, true, 20), reply(0), 1500);
  counters.answered(request(true, true, 300), reply(4000), 2000);
  counters.recovered(7);
  expect(counters.values).toEqual({
    ...zeroOsdCounters(),
    ...{ op: 3, opInBytes: 321, opOutBytes: 4100, opSeconds: 1.75 },
    ...{ opR: 1, opROutBytes: 100, opRSeconds: 0.25 },
    ...{ opW: 1, opWInBytes: 20, opWSeconds: 0.5 },
    ...{ opRw: 1, opRwInBytes: 300, opRwOutBytes: 4000, opRwSeconds: 1 },
    ...{ recoveryOps: 1, recoveryBytes: 7 },
  });
});
