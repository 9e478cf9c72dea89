import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { Session } from '../mon/session.ts';
import { FEATURES_PACIFIC } from '../wire/features.ts';
import { requestIdOf } from '../wire/messages/osd_client.ts';
import type { Connection } from '../wire/messenger.ts';
import { addrV2, ENTITY_CLIENT, ENTITY_OSD } from '../wire/types.ts';
import { ClientSession } from './client-session.ts';
import { plainRead } from './ops/classify.ts';

function connection(caps: string, publishedIp: string, remoteIp: string): Connection {
  return {
    id: 1,
    policy: 'stateless-server',
    accepted: true,
    peer: { type: ENTITY_CLIENT, num: 4123 },
    identity: { name: { type: ENTITY_CLIENT, id: 'small' }, globalId: 4123n, caps, allowAll: false },
    peerAddrs: [addrV2(publishedIp, 0, 5)],
    remoteIp,
    localAddr: addrV2('127.0.0.1', 6800, 1),
    features: FEATURES_PACIFIC,
    mode: 1,
    open: true,
    outstandingBytes: 0,
    lastReceivedMs: 0,
    session: undefined,
    send: () => undefined,
    sendRaw: () => undefined,
    drained: () => Promise.resolve(),
    keepalive: () => undefined,
    close: () => undefined,
  };
}

describe("what a client's session goes by", () => {
  test('network in capabilities is about the address that the bytes come from, not the one that the client publishes', () => {
    const pool = { name: 'x', applications: new Map() };
    for (const [publishedIp, remoteIp, allowed] of [
      ['10.9.9.9', '192.0.2.1', false],
      ['192.0.2.1', '10.9.9.9', true],
    ] as const) {
      const c = connection('allow r network 10.0.0.0/8', publishedIp, remoteIp);
      const session = new ClientSession(c, silentLogger, () => undefined);
      expect(session.allowed(pool, '', 'o', plainRead), `osd, from ${remoteIp}`).toBe(allowed);
      expect(new Session(c).may('osd', 'r'), `mon, from ${remoteIp}`).toBe(allowed);
    }
  });

  test('a client gives its request the name of its neighbour: it is its own all the same', () => {
    const neighbour = { name: { type: ENTITY_CLIENT, num: 4999 }, tid: 77, inc: 0 };
    const op = { requestId: neighbour, clientInc: 3 } as Parameters<typeof requestIdOf>[0];
    const us = { type: ENTITY_CLIENT, num: 4123 };
    expect(requestIdOf(op, us, 9)).toEqual({ name: us, tid: 9, inc: 3 });
    expect(requestIdOf(op, { type: ENTITY_OSD, num: 1 }, 9)).toEqual(neighbour);
  });
});
