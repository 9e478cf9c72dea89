import { describe, expect, test } from 'vitest';
import type { EntityNum } from './types.ts';
import { bunNetwork } from './bun-transport.ts';
import { CON_MODE_CRC } from './messenger.ts';
import { client, dialler, Keys, monAuth, osdAuth, Peer, server } from './messenger.testing.ts';
import { acceptedPeer } from './peer-name.ts';
import type { Network } from './transport.ts';
import { ENTITY_CLIENT, ENTITY_MDS, ENTITY_MGR, ENTITY_MON, ENTITY_OSD, type EntityAddr } from './types.ts';

/** Publishes any address without listening there. */
const liar: Network = {
  listen: () => Promise.resolve({ port: 0, close: () => undefined }),
  dial: (ip, port, opened) => bunNetwork.dial(ip, port, opened),
};
const osd2Addr = { ip: '192.168.7.2', port: 6800, nonce: 77 };

describe('whom an accepted peer may say that it is', () => {
  const keys = new Keys();
  let monAddr: EntityAddr;

  async function osdWithVictim(): Promise<{ osd: Peer; osdAddr: EntityAddr; victim: Peer }> {
    [, monAddr] = await server(ENTITY_MON, monAuth(keys), new Peer());
    const osd = new Peer();
    const [, osdAddr] = await server(ENTITY_OSD, osdAuth(keys), osd, {
      acceptPolicy: (type) => (type === ENTITY_OSD ? 'lossless-peer' : 'stateless-server'),
    });
    const victim = await dial({ type: ENTITY_OSD, id: '2' }, { type: ENTITY_OSD, num: 2 }, osdAddr);
    await osd.until(() => osd.ready.length === 1);
    return { osd, osdAddr, victim };
  }

  /** With the key of `name`, saying to be `said` at the address of osd.2. */
  async function dial(name: { type: number; id: string }, said: EntityNum, to: EntityAddr): Promise<Peer> {
    const peer = new Peer();
    const m = dialler(client(keys, name), peer, [CON_MODE_CRC], liar, said);
    await m.listen(osd2Addr);
    m.connect(ENTITY_MON, [monAddr], 'lossy-client');
    await peer.until(() => peer.ready.length === 1 || peer.closed.length > 0);
    m.connect(ENTITY_OSD, [to], 'lossless-peer');
    return peer;
  }

  test('a client with a ticket for OSDs says that it is osd.2 at its address: the session of osd.2 lives on', async () => {
    const { osd, osdAddr, victim } = await osdWithVictim();
    expect(osd.ready[0]).toMatchObject({ peer: { type: ENTITY_OSD, num: 2 }, policy: 'lossless-peer' });
    // It publishes what it likes; where its bytes come from it cannot choose.
    expect(osd.ready[0]).toMatchObject({ peerAddrs: [{ ip: osd2Addr.ip }], remoteIp: '127.0.0.1' });
    // A mon takes nobody for an OSD either: it asks for its ticket by its own name first.
    const cephx = client(keys, { type: ENTITY_CLIENT, id: 'small' });
    const first = new Peer();
    dialler(cephx, first, [CON_MODE_CRC], liar).connect(ENTITY_MON, [monAddr], 'lossy-client');
    await first.until(() => first.ready.length === 1);
    const attacker = new Peer();
    const m = dialler(cephx, attacker, [CON_MODE_CRC], liar, { type: ENTITY_OSD, num: 2 });
    await m.listen(osd2Addr);
    m.connect(ENTITY_OSD, [osdAddr], 'lossy-client');
    await attacker.until(() => attacker.ready.length + attacker.closed.length > 0);
    expect(attacker.closed).toHaveLength(1);
    expect(osd.ready).toHaveLength(1);
    expect(osd.closed).toEqual([]);
    expect(victim.closed).toEqual([]);
  });

  test('another OSD publishes the address of osd.2: each has a session of its own', async () => {
    const { osd, osdAddr, victim } = await osdWithVictim();
    const other = await dial({ type: ENTITY_OSD, id: '1' }, { type: ENTITY_OSD, num: 1 }, osdAddr);
    await osd.until(() => osd.ready.length === 2);
    await other.until(() => other.ready.length === 2);
    expect(osd.closed).toEqual([]);
    expect(victim.closed).toEqual([]);
  });

  test('names as real peers give them', () => {
    const peer = (said: EntityNum, type: number, id: string) =>
      acceptedPeer(said, { name: { type, id }, globalId: 4123n, caps: '', allowAll: false });
    expect(peer({ type: ENTITY_CLIENT, num: 4123 }, ENTITY_CLIENT, 'admin')).toEqual({
      type: ENTITY_CLIENT,
      num: 4123,
    });
    // On its way to its first global id; or lying.
    expect(peer({ type: ENTITY_CLIENT, num: -1 }, ENTITY_CLIENT, 'admin').num).toBe(4123);
    expect(peer({ type: ENTITY_CLIENT, num: 7 }, ENTITY_CLIENT, 'admin').num).toBe(4123);
    // librados inside of ceph-mgr; ceph-osd before it is one.
    expect(peer({ type: ENTITY_CLIENT, num: -1 }, ENTITY_MGR, 'a')).toEqual({ type: ENTITY_CLIENT, num: 4123 });
    expect(peer({ type: ENTITY_CLIENT, num: -1 }, ENTITY_OSD, '0')).toEqual({ type: ENTITY_CLIENT, num: 4123 });
    expect(peer({ type: ENTITY_MGR, num: -1 }, ENTITY_MGR, 'a')).toEqual({ type: ENTITY_MGR, num: 4123 });
    expect(peer({ type: ENTITY_MDS, num: 0 }, ENTITY_MDS, 'a')).toEqual({ type: ENTITY_MDS, num: 0 });
    expect(peer({ type: ENTITY_OSD, num: 2 }, ENTITY_OSD, '2')).toEqual({ type: ENTITY_OSD, num: 2 });
    expect(() => peer({ type: ENTITY_OSD, num: 1 }, ENTITY_OSD, '2')).toThrow('osd.2 says that it is osd.1');
    expect(() => peer({ type: ENTITY_MDS, num: 0 }, ENTITY_CLIENT, 'small')).toThrow('client.small');
  });
});
