import { describe, expect, test } from 'vitest';
import { bunNetwork } from './bun-transport.ts';
import { CON_MODE_CRC, type Connection } from './messenger.ts';
import { MessengerCore } from './messenger-core.ts';
import {
  Blob,
  client,
  clock,
  dialler,
  Keys,
  listening,
  log,
  monAuth,
  opened,
  osdAuth,
  Peer,
  random,
  server,
} from './messenger.testing.ts';
import { ENTITY_MON, ENTITY_OSD, type EntityAddr } from './types.ts';

const block = new Uint8Array(4 << 20);

describe('an OSD whose peer does not read', () => {
  const keys = new Keys();

  /** A peer that takes messages only once `go` is called, and answers each of them. */
  async function slowPeer(): Promise<{ addr: EntityAddr; go: () => void }> {
    const peer = new Peer();
    let held: (() => void)[] | undefined = [];
    peer.answer = async (connection, message) => {
      if (held !== undefined) await new Promise<void>((resolve) => held!.push(resolve));
      connection.send(Blob, [message.data.subarray(0, 4)]);
    };
    const [, addr] = await server(ENTITY_OSD, osdAuth(keys), peer, {
      acceptPolicy: () => 'lossless-peer',
      limits: { receiveBytes: 1 << 20 },
    });
    const go = (): void => {
      for (const resolve of held?.splice(0) ?? []) resolve();
      held = undefined;
    };
    return { addr, go };
  }

  /** osd.1 with its tickets, which sends what its clients write on to the slow peer and holds it until that has answered. */
  async function primary(monAddr: EntityAddr, limits = {}): Promise<{ us: Peer; m: MessengerCore; addr: EntityAddr }> {
    const us = new Peer();
    const cephx = client(keys, { type: ENTITY_OSD, id: '1' });
    const m = new MessengerCore(
      {
        entity: { type: ENTITY_OSD, num: 1 },
        clock,
        random,
        log,
        dispatcher: us,
        serverAuth: osdAuth(keys),
        clientAuth: (type) => (type === ENTITY_MON ? cephx.monAuth([CON_MODE_CRC]) : cephx.serviceAuth(type)),
        limits,
      },
      bunNetwork,
    );
    opened.push(m);
    const addr = await listening(m);
    m.connect(ENTITY_MON, [monAddr], 'lossy-client');
    await us.until(() => us.ready.length === 1);
    return { us, m, addr };
  }

  test('what one message keeps in memory counts once, and the session ends only far above what is held back', async () => {
    const [, monAddr] = await server(ENTITY_MON, monAuth(keys), new Peer());
    const { addr } = await slowPeer();
    const { us, m } = await primary(monAddr, {
      sendHoldBytes: 64 << 20,
      totalReceiveBytes: 64 << 20,
      sendHighWaterBytes: 16 << 20,
      maxFrontBytes: 1 << 20,
      maxDataBytes: 16 << 20,
    });
    const session = m.connect(ENTITY_OSD, [addr], 'lossless-peer');
    await us.until(() => us.ready.length === 2);
    let sent = 0;
    for (; us.closed.length === 0 && sent < 60; sent++) {
      session.send(Blob, [block]);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    // One that the peer took before it stopped reading may be acknowledged.
    expect(sent - 1).toBeGreaterThanOrEqual(36);
    expect(us.closed).toMatchObject([{ kind: 'session-reset' }]);
  });

  test('with little memory one large write is sent all the same', async () => {
    const [, monAddr] = await server(ENTITY_MON, monAuth(keys), new Peer());
    const { addr } = await slowPeer();
    const { us, m } = await primary(monAddr, {
      sendHoldBytes: 16 << 20,
      totalReceiveBytes: 32 << 20,
      sendHighWaterBytes: 4 << 20,
    });
    const session = m.connect(ENTITY_OSD, [addr], 'lossless-peer');
    await us.until(() => us.ready.length === 2);
    session.send(Blob, [new Uint8Array(60 << 20)]);
    expect(us.closed).toEqual([]);
  });

  test('two clients write 4 MiB x 16 each: neither is read on, nobody loses its session, and all is written once the peer reads again', async () => {
    const [, monAddr] = await server(ENTITY_MON, monAuth(keys), new Peer());
    const { addr: peerAddr, go } = await slowPeer();
    const hold = 24 << 20;
    const { us, m, addr } = await primary(monAddr, { sendHoldBytes: hold });
    const session = m.connect(ENTITY_OSD, [peerAddr], 'lossless-peer');
    await us.until(() => us.ready.length === 2);
    const waiting: { from: Connection; done: () => void }[] = [];
    let taken = 0;
    us.answer = (connection, message) => {
      if (connection === session) {
        const { from, done } = waiting.shift()!;
        from.send(Blob, [message.data]);
        done();
        return;
      }
      taken++;
      session.send(Blob, [message.data]);
      return new Promise((done) => waiting.push({ from: connection, done }));
    };
    const clients: Peer[] = [];
    for (let i = 0; i < 2; i++) {
      const peer = new Peer();
      const c = dialler(client(keys), peer, [CON_MODE_CRC]);
      c.connect(ENTITY_MON, [monAddr], 'lossy-client');
      await peer.until(() => peer.ready.length === 1);
      const connection = c.connect(ENTITY_OSD, [addr], 'lossy-client');
      for (let n = 0; n < 16; n++) connection.send(Blob, [block]);
      clients.push(peer);
    }
    await us.until(() => taken * block.length > hold);
    // Whoever was read on until its receive budget was full would have sent all by then.
    await new Promise((resolve) => setTimeout(resolve, 500));
    // The one that went over it, and what was on its way from each client.
    expect(taken * block.length).toBeLessThanOrEqual(hold + 3 * block.length);
    go();
    await Promise.all(clients.map((peer) => peer.until(() => peer.messages.length === 16)));
    expect(taken).toBe(32);
    expect([us.closed, ...clients.map((peer) => peer.closed)]).toEqual([[], [], []]);
  });
});
