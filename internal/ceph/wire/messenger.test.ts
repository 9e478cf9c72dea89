import { describe, expect, test } from 'vitest';
import { CephxClient } from '../auth/client-auth.ts';
import { newCryptoKey } from '../auth/crypto.ts';
import { bunNetwork } from './bun-transport.ts';
import { MAuth, MAuthReply, MMonGetVersion } from './messages/mon.ts';
import { CON_MODE_CRC, CON_MODE_SECURE } from './messenger.ts';
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
import type { Network, Transport } from './transport.ts';
import { ENTITY_CLIENT, ENTITY_MON, ENTITY_OSD } from './types.ts';

describe('messenger', () => {
  for (const mode of [CON_MODE_CRC, CON_MODE_SECURE])
    test(`a client gets tickets at the mon, renews them, and talks to an OSD (mode ${mode})`, async () => {
      const keys = new Keys();
      const mon = new Peer();
      const osd = new Peer();
      const us = new Peer();
      const [, monAddr] = await server(ENTITY_MON, monAuth(keys), mon);
      const [, osdAddr] = await server(ENTITY_OSD, osdAuth(keys), osd);
      mon.answer = (c, m) => {
        const { result, payload } = c.identity!.renew!(m.decode(MAuth).payload);
        c.send(
          MAuthReply,
          { protocol: 2, result, globalId: c.identity!.globalId, payload, message: '' },
          { tid: m.tid },
        );
      };
      const cephx = client(keys);
      const m = dialler(cephx, us, [mode]);
      const monConnection = m.connect(ENTITY_MON, [monAddr], 'lossy-client');
      await us.until(() => us.ready.length === 1 || us.closed.length > 0);
      expect(us.closed).toEqual([]);
      expect(monConnection.mode).toBe(mode);
      expect(cephx.globalId).toBe(4100n);
      expect(mon.ready[0]?.identity).toMatchObject({ name: { id: 'admin' }, globalId: 4100n, caps: 'allow *' });
      expect(cephx.renewalRequest()).toBeUndefined();
      monConnection.send(MAuth, { protocol: 2, payload: cephx.rotatingRequest(), monmapEpoch: 0 });
      await us.until(() => us.messages.length === 1);
      expect(us.messages[0]!.decode(MAuthReply).result).toBe(-13);

      const data = random.bytes(5_000_000);
      osd.answer = (c, message) => c.send(Blob, message.decode(Blob));
      const osdConnection = m.connect(ENTITY_OSD, [osdAddr], 'lossy-client');
      osdConnection.send(Blob, [data.subarray(0, 10), data.subarray(10, 4096), data.subarray(4096)]);
      await us.until(() => us.messages.length === 2 || us.closed.length > 0);
      expect(us.closed).toEqual([]);
      expect(Buffer.compare(us.messages[1]!.data, data)).toBe(0);
      expect(osd.ready[0]?.identity).toMatchObject({ globalId: 4100n, caps: 'allow rwx pool=rbd' });
      expect(osdConnection.mode).toBe(mode);

      // The session with the mon is lost: the client keeps its global id with its ticket.
      monConnection.close();
      m.connect(ENTITY_MON, [monAddr], 'lossy-client');
      await us.until(() => us.ready.length === 3 || us.closed.length > 0);
      expect(us.closed).toEqual([]);
      expect(cephx.globalId).toBe(4100n);
    });

  test('a daemon fetches the rotating secrets of its service, and a ticket renewal gives new tickets', async () => {
    const keys = new Keys();
    const mon = new Peer();
    const us = new Peer();
    let skewMs = 0;
    const skewed = { ...clock, now: () => clock.now() + skewMs };
    const [, addr] = await server(ENTITY_MON, monAuth(keys), mon);
    mon.answer = (c, m) => {
      const { result, payload } = c.identity!.renew!(m.decode(MAuth).payload);
      c.send(MAuthReply, { protocol: 2, result, globalId: c.identity!.globalId, payload, message: '' }, { tid: m.tid });
    };
    const name = { type: ENTITY_OSD, id: '1' };
    const cephx = new CephxClient({
      name,
      key: keys.entity('osd.1')!.key,
      clock: skewed,
      random,
      want: ENTITY_MON | ENTITY_OSD,
    });
    const m = dialler(cephx, us, [CON_MODE_CRC]);
    const c = m.connect(ENTITY_MON, [addr], 'lossy-client');
    c.send(MAuth, { protocol: 2, payload: cephx.rotatingRequest(), monmapEpoch: 0 });
    await us.until(() => us.messages.length === 1);
    cephx.handleReply(us.messages[0]!.decode(MAuthReply).payload);
    expect(cephx.rotating.map((s) => s.id)).toEqual([7, 8, 9]);
    for (const [hours, what] of [
      [0.4, 'service tickets'],
      [0.9, 'the auth ticket and all others'],
    ] as const) {
      skewMs = hours * 3_600_000;
      const before = us.messages.length;
      c.send(MAuth, { protocol: 2, payload: cephx.renewalRequest()!, monmapEpoch: 0 });
      await us.until(() => us.messages.length === before + 1);
      cephx.handleReply(us.messages[before]!.decode(MAuthReply).payload);
      expect(cephx.nextRenewalMs(), what).toBeGreaterThan(skewed.now());
    }
  });

  test('a wrong key is refused, and so is a stolen global id', async () => {
    const keys = new Keys();
    const us = new Peer();
    const [, addr] = await server(ENTITY_MON, monAuth(keys), new Peer());
    const name = { type: ENTITY_CLIENT, id: 'admin' };
    const wrong = new CephxClient({ name, key: newCryptoKey(0, random), clock, random, want: ENTITY_OSD });
    dialler(wrong, us, [CON_MODE_CRC]).connect(ENTITY_MON, [addr], 'lossy-client');
    await us.until(() => us.closed.length === 1);
    expect(us.closed[0]).toMatchObject({ kind: 'refused' });
    expect(us.closed[0]!.message).toContain('client.admin');
  });

  test('the process of a lossless peer ends: whoever dials it hears that nobody listens there, again and again, and the session stays', async () => {
    const keys = new Keys();
    const us = new Peer();
    const [, monAddr] = await server(ENTITY_MON, monAuth(keys), new Peer());
    const auth = osdAuth(keys);
    const [osd, osdAddr] = await server(ENTITY_OSD, auth, new Peer(), { acceptPolicy: () => 'lossless-peer' });
    const m = dialler(client(keys), us, [CON_MODE_CRC]);
    m.connect(ENTITY_MON, [monAddr], 'lossy-client');
    await us.until(() => us.ready.length === 1);
    const c = m.connect(ENTITY_OSD, [osdAddr], 'lossless-peer');
    await us.until(() => us.ready.length === 2);
    expect(us.unheard).toEqual([]);
    await osd.close();
    await us.until(() => us.unheard.length >= 2);
    expect(us.unheard.every((each) => each === c)).toBe(true);
    expect(c.open).toBe(true);
    expect(us.closed).toEqual([]);
  });

  test('a lossless session loses its connection again and again: every message arrives once and in order', async () => {
    const keys = new Keys();
    const mon = new Peer();
    const osd = new Peer();
    const us = new Peer();
    const [, monAddr] = await server(ENTITY_MON, monAuth(keys), mon);
    const auth = osdAuth(keys);
    const [, osdAddr] = await server(ENTITY_OSD, auth, osd, { acceptPolicy: () => 'lossless-peer' });
    const transports: Transport[] = [];
    let drops = 0;
    const breaking: Network = {
      listen: bunNetwork.listen,
      dial: (ip, p, open) =>
        bunNetwork.dial(ip, p, (transport) => {
          transports.push(transport);
          return open(transport);
        }),
    };
    const cephx = client(keys, { type: ENTITY_OSD, id: '1' });
    const m = dialler(cephx, us, [CON_MODE_CRC], breaking, { type: ENTITY_OSD, num: 1 });
    await listening(m);
    m.connect(ENTITY_MON, [monAddr], 'lossy-client');
    await us.until(() => us.ready.length === 1);
    osd.answer = (c, message) =>
      c.send(MMonGetVersion, { handle: message.decode(MMonGetVersion).handle, what: 'answer' });
    const c = m.connect(ENTITY_OSD, [osdAddr], 'lossless-peer');
    expect(m.connect(ENTITY_OSD, [osdAddr], 'lossless-peer')).toBe(c);
    // Broken before both sides know it, there is no session yet that could go on.
    await us.until(() => us.ready.length === 2);
    const count = 3000;
    const { type, version, compat } = MMonGetVersion;
    let given = 0;
    for (let i = 0; i < count; i++) {
      const { front } = MMonGetVersion.encode({ handle: i, what: 'x'.repeat(i % 500) }, c.features);
      const data = new Uint8Array(1000).fill(i);
      // Whatever is sent again after that would show.
      const sent = (): void => {
        data.fill(i + 1);
        given++;
      };
      c.sendRaw({ type, version, compat, front, data: [data], sent });
      if (i % 200 === 199) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        // Breaks it as a network does: the transport of the accepting side sees the end later.
        const live = osd.ready[0] as unknown as { link?: { fail(message: string): void } } | undefined;
        if (i % 400 === 199) live?.link?.fail('test');
        else (c as unknown as { link?: { fail(message: string): void } }).link?.fail('test');
        drops++;
      }
    }
    await us.until(() => us.messages.length >= count || us.closed.length > 0);
    expect(us.closed).toEqual([]);
    expect(osd.messages.map((x) => x.decode(MMonGetVersion).handle)).toEqual(
      Array.from({ length: count }, (_, i) => i),
    );
    expect(us.messages.map((x) => x.decode(MMonGetVersion).handle)).toEqual(Array.from({ length: count }, (_, i) => i));
    expect(
      osd.messages.filter(({ data }, i) => data.length !== 1000 || !data.every((byte) => byte === (i & 255))),
    ).toEqual([]);
    // The last of them are acknowledged on their own.
    while (given < count) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(given).toBe(count);
    expect(osd.ready.length).toBe(1);
    expect(drops).toBe(15);
    expect(transports.length).toBeGreaterThan(3);
  });

  test('a slow handler holds back the sender: memory stays within the budget', async () => {
    const keys = new Keys();
    const mon = new Peer();
    const us = new Peer();
    const auth = monAuth(keys);
    const m = new MessengerCore(
      {
        entity: { type: ENTITY_MON, num: 0 },
        clock,
        random,
        log,
        dispatcher: mon,
        serverAuth: auth,
        limits: { receiveBytes: 1 << 20 },
      },
      bunNetwork,
    );
    opened.push(m);
    const addr = await listening(m);
    let held = 0;
    let most = 0;
    mon.answer = async (_c, message) => {
      held += message.byteLength;
      most = Math.max(most, held);
      await new Promise((resolve) => setTimeout(resolve, 3));
      held -= message.byteLength;
    };
    const c = dialler(client(keys), us, [CON_MODE_CRC]).connect(ENTITY_MON, [addr], 'lossy-client');
    const block = random.bytes(300_000);
    for (let i = 0; i < 100; i++) {
      c.send(Blob, [block]);
      await c.drained();
    }
    await mon.until(() => mon.messages.length === 100);
    expect(most).toBeLessThanOrEqual(1 << 20);
  });

  test('only a peer that has shown its key is given a global id', async () => {
    const keys = new Keys();
    const mon = new Peer();
    const [, addr] = await server(ENTITY_MON, monAuth(keys), mon);
    const name = { type: ENTITY_CLIENT, id: 'admin' };
    const us = new Peer();
    for (let i = 1; i <= 5; i++) {
      const wrong = new CephxClient({ name, key: newCryptoKey(0, random), clock, random, want: ENTITY_OSD });
      dialler(wrong, us, [CON_MODE_CRC]).connect(ENTITY_MON, [addr], 'lossy-client');
      await us.until(() => us.closed.length === i);
    }
    const cephx = client(keys);
    dialler(cephx, us, [CON_MODE_CRC]).connect(ENTITY_MON, [addr], 'lossy-client');
    await us.until(() => us.ready.length === 1);
    expect(cephx.globalId).toBe(4100n);
    await mon.until(() => mon.ready.length === 1);
    expect(mon.ready[0]?.identity?.globalId).toBe(4100n);
  });

  test('handshakes of one address that do not go on are bounded in number and in time', async () => {
    const mon = new Peer();
    const keys = new Keys();
    const m = new MessengerCore(
      {
        entity: { type: ENTITY_MON, num: 0 },
        clock,
        random,
        log,
        dispatcher: mon,
        serverAuth: monAuth(keys),
        limits: { maxHandshakesPerAddress: 3, handshakeMs: 300 },
      },
      bunNetwork,
    );
    opened.push(m);
    const addr = await listening(m);
    let ended = 0;
    const silent = async (): Promise<void> => {
      await bunNetwork.dial(addr.ip, addr.port, () => ({
        onData: () => undefined,
        onDrain: () => undefined,
        onClose: () => void ended++,
      }));
    };
    for (let i = 0; i < 5; i++) await silent();
    for (let i = 0; i < 100 && ended < 2; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(ended).toBe(2);
    for (let i = 0; i < 400 && ended < 5; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(ended).toBe(5);
    const us = new Peer();
    dialler(client(keys), us, [CON_MODE_CRC]).connect(ENTITY_MON, [addr], 'lossy-client');
    await us.until(() => us.ready.length === 1);
  }, 15_000);
});
