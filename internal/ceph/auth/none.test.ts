import { describe, expect, test } from 'vitest';
import {
  BANNER_BYTES,
  checkBanner,
  decodeAuthDone,
  decodeAuthRequest,
  type Frame,
  TAG_AUTH_DONE,
  TAG_AUTH_REQUEST,
} from '../wire/frame-format.ts';
import { FrameReader } from '../wire/frame-reader.ts';
import { AUTH_CEPHX, AUTH_NONE, CON_MODE_CRC, type ClientAuth } from '../wire/messenger.ts';
import {
  Blob,
  client,
  clock,
  dialler,
  Keys,
  log,
  monAuth,
  opened,
  osdAuth,
  Peer,
  random,
  server,
} from '../wire/messenger.testing.ts';
import { createMessenger } from '../wire/messenger-transport.ts';
import { haveRecorded, recordedConnections } from '../wire/recorded.testing.ts';
import { ENTITY_CLIENT, ENTITY_MON, ENTITY_OSD } from '../wire/types.ts';
import { createNoneAuth, NoneClient } from './none.ts';

const admin = { type: ENTITY_CLIENT, id: 'admin' };

function framesOf(stream: Uint8Array): Frame[] {
  const frames: Frame[] = [];
  const limits = { maxFrontBytes: 1 << 26, maxDataBytes: 1 << 26 };
  new FrameReader(BANNER_BYTES, limits, { banner: checkBanner, admit: () => true, frame: (f) => frames.push(f) }).feed(
    stream,
  );
  return frames;
}

function noneDialler(peer: Peer, tickets = new NoneClient(admin)) {
  const clientAuth = (type: number): ClientAuth => (type === ENTITY_MON ? tickets.monAuth() : tickets.serviceAuth());
  const m = createMessenger({
    entity: { type: ENTITY_CLIENT, num: -1 },
    clock,
    random,
    log,
    dispatcher: peer,
    clientAuth,
  });
  opened.push(m);
  return m;
}

describe('authentication none', () => {
  test.skipIf(!haveRecorded)(
    "`ceph -s` of a cluster without authentication: each side's words are those of 16.2.15",
    () => {
      const connections = recordedConnections('03-none-ceph-s');
      expect(connections.length).toBeGreaterThan(2);
      const tickets = new NoneClient(admin);
      for (const { file, c2s, s2c } of connections) {
        const request = decodeAuthRequest(framesOf(c2s).find((f) => f.tag === TAG_AUTH_REQUEST)!.segments[0]);
        const done = decodeAuthDone(framesOf(s2c).find((f) => f.tag === TAG_AUTH_DONE)!.segments[0]);
        const toMon = file.includes('to-mon');
        if (toMon) tickets.reset();
        const ours = toMon ? tickets.monAuth() : tickets.serviceAuth();
        expect([ours.method, [...ours.modes]], file).toEqual([request.method, request.modes]);
        expect(Buffer.from(ours.begin()).toString('hex'), file).toBe(Buffer.from(request.payload).toString('hex'));
        const auth = toMon ? createNoneAuth(() => done.globalId) : createNoneAuth();
        const step = auth.session(AUTH_NONE, ENTITY_CLIENT, CON_MODE_CRC)!.begin(request.payload);
        expect(step, file).toMatchObject({
          kind: 'done',
          payload: done.payload,
          identity: { name: admin, globalId: done.globalId, allowAll: true },
        });
        ours.done(done.payload, done.globalId, done.mode);
      }
    },
  );

  test('a client is numbered by the mon, keeps its number, and may do everything at an OSD', async () => {
    const [mon, osd, us] = [new Peer(), new Peer(), new Peer()];
    let next = 4100n;
    const [, monAddr] = await server(
      ENTITY_MON,
      createNoneAuth(() => next++),
      mon,
    );
    const [, osdAddr] = await server(ENTITY_OSD, createNoneAuth(), osd);
    const tickets = new NoneClient(admin);
    const m = noneDialler(us, tickets);
    const first = m.connect(ENTITY_MON, [monAddr], 'lossy-client');
    await us.until(() => us.ready.length === 1);
    expect(tickets.globalId).toBe(4100n);
    osd.answer = (c, message) => c.send(Blob, message.decode(Blob));
    m.connect(ENTITY_OSD, [osdAddr], 'lossy-client').send(Blob, [new Uint8Array([1, 2, 3])]);
    await us.until(() => us.messages.length === 1);
    expect([...us.messages[0]!.data]).toEqual([1, 2, 3]);
    expect(osd.ready[0]).toMatchObject({ peer: { num: 4100 }, identity: { name: admin, allowAll: true } });
    first.close();
    m.connect(ENTITY_MON, [monAddr], 'lossy-client');
    await us.until(() => us.ready.length === 3);
    expect(tickets.globalId).toBe(4100n);
  });

  test('services of a cluster with cephx let nobody in without it, those without let nobody in with it', async () => {
    const keys = new Keys();
    for (const [type, auth] of [
      [ENTITY_MON, monAuth(keys)],
      [ENTITY_OSD, osdAuth(keys)],
    ] as const) {
      expect(auth.methods).toEqual([AUTH_CEPHX]);
      expect(auth.session(AUTH_NONE, ENTITY_CLIENT, CON_MODE_CRC)).toBeUndefined();
      const [served, us] = [new Peer(), new Peer()];
      const [, addr] = await server(type, auth, served);
      noneDialler(us).connect(type, [addr], 'lossy-client');
      await us.until(() => us.ready.length + us.closed.length > 0);
      expect(us.closed).toMatchObject([{ kind: 'refused' }]);
      expect(served.ready).toEqual([]);
    }
    const [mon, us] = [new Peer(), new Peer()];
    const [, addr] = await server(
      ENTITY_MON,
      createNoneAuth(() => 1n),
      mon,
    );
    dialler(client(keys), us, [CON_MODE_CRC]).connect(ENTITY_MON, [addr], 'lossy-client');
    await us.until(() => us.ready.length + us.closed.length > 0);
    expect(us.closed).toMatchObject([{ kind: 'refused' }]);
    expect(mon.ready).toEqual([]);
  });
});
