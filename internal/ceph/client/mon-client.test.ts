import { afterEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import type { AuthEntry, KeyServer, RotatingSecret } from '../auth/api.ts';
import { newCryptoKey } from '../auth/crypto.ts';
import { createMonAuth } from '../auth/mon-auth.ts';
import { encodeMonMap, newMonMap } from '../maps/monmap.ts';
import { utimeZero } from '../wire/encoding.ts';
import { MessageHandlers } from '../wire/message.ts';
import { MMonCommand, MMonCommandAck } from '../wire/messages/command.ts';
import { MAuth, MAuthReply, MConfig, MMonMap, MMonSubscribe, MOSDMap } from '../wire/messages/mon.ts';
import type { Connection, Messenger } from '../wire/messenger.ts';
import { createMessenger } from '../wire/messenger-transport.ts';
import { addrV2, ENTITY_CLIENT, ENTITY_MON, ENTITY_OSD, type EntityAddr } from '../wire/types.ts';
import type { MonClient } from './api.ts';
import { createMonClient } from './mon-client.ts';

const clock = systemClock;
const random = systemRandom;
const log = silentLogger;
const fsid = '11111111-2222-3333-4444-555555555555';

class Keys implements KeyServer {
  readonly monTicketTtlSec = 3600;
  readonly serviceTicketTtlSec = 1800;
  readonly entries = new Map<string, AuthEntry>();
  secrets: RotatingSecret[] = [1, 2, 3].map((id) => ({
    id,
    key: newCryptoKey(0, random),
    expiresMs: clock.now() + id * 1e7,
  }));
  #next = 100n;
  constructor() {
    for (const name of ['client.admin', 'osd.0'])
      this.entries.set(name, { key: newCryptoKey(0, random), caps: { mon: 'allow *' } });
  }
  entity(name: string): AuthEntry | undefined {
    return this.entries.get(name);
  }
  rotating(): readonly RotatingSecret[] {
    return this.secrets;
  }
  nextGlobalId(): bigint {
    return this.#next++;
  }
}

/** As much of a mon as a mon client can tell. */
class SmallMon {
  readonly messenger: Messenger;
  readonly subscriptions: [string, number][][] = [];
  readonly sessions: Connection[] = [];
  commands = 0;
  answersCommands = true;
  readonly #addrs: () => EntityAddr[];

  constructor(keys: KeyServer, addrs: () => EntityAddr[]) {
    this.#addrs = addrs;
    const handlers = new MessageHandlers<Connection>()
      .on(MMonSubscribe, (c, m) => this.#subscribe(c, m.what))
      .on(MMonCommand, (c, m, message) => {
        this.commands++;
        if (!this.answersCommands) return;
        const answer = { version: 1, code: 0, status: m.command[0]!, command: m.command, output: new Uint8Array([7]) };
        c.send(MMonCommandAck, answer, { tid: message.tid });
      })
      .on(MAuth, (c, m) => {
        const { result, payload } = c.identity!.renew!(m.payload);
        c.send(MAuthReply, { protocol: 2, result, globalId: c.identity!.globalId, payload, message: '' });
      });
    this.messenger = createMessenger({
      entity: { type: ENTITY_MON, num: 0 },
      clock,
      random,
      log,
      serverAuth: createMonAuth({ keys, clock, random, log }),
      dispatcher: {
        onReady: (c) => this.sessions.push(c),
        onMessage: (c, m) => {
          const result = handlers.dispatch(c, m);
          if (result !== true && result !== undefined) return result;
        },
      },
    });
  }

  #subscribe(c: Connection, what: ReadonlyMap<string, { start: number }>): void {
    this.subscriptions.push([...what].map(([name, s]) => [name, s.start]));
    const names = ['a', 'b'];
    const mons = this.#addrs().map((addr, i) => ({
      name: names[i]!,
      addrs: [addr],
      priority: 0,
      weight: 0,
      crushLocation: new Map<string, string>(),
    }));
    if (what.has('monmap')) c.send(MMonMap, { monmap: encodeMonMap(newMonMap({ fsid, created: utimeZero, mons })) });
    if (what.has('config')) c.send(MConfig, { config: new Map([['a', 'b']]) });
    const osdmap = what.get('osdmap');
    if (osdmap !== undefined)
      c.send(MOSDMap, {
        fsid,
        incrementals: new Map(),
        full: new Map([[41, new Uint8Array(3)]]),
        oldest: 1,
        newest: 41,
      });
  }
}

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

let nextPort = 21450;

async function mons(keys: KeyServer, count: number): Promise<{ mons: SmallMon[]; addrs: EntityAddr[] }> {
  const addrs: EntityAddr[] = [];
  const all: SmallMon[] = [];
  for (let i = 0; i < count; i++) {
    const mon = new SmallMon(keys, () => addrs);
    closers.push(() => mon.messenger.close());
    addrs.push(await mon.messenger.listen({ ip: '127.0.0.1', port: 0, firstPort: nextPort, nonce: 0 }));
    nextPort = addrs.at(-1)!.port + 1;
    all.push(mon);
  }
  return { mons: all, addrs };
}

function client(
  keys: Keys,
  addrs: EntityAddr[],
  entity = { type: ENTITY_CLIENT, id: 'admin' },
  rotatingService?: number,
): MonClient {
  const name = entity.type === ENTITY_OSD ? 'osd.0' : 'client.admin';
  const made = createMonClient({
    entity,
    key: keys.entity(name)!.key,
    monAddrs: addrs.map((a) => [a]),
    clock,
    random,
    log,
    ...(rotatingService === undefined ? undefined : { rotatingService }),
  });
  closers.push(() => made.close());
  return made;
}

async function until(done: () => boolean): Promise<void> {
  const deadline = Date.now() + 8000;
  while (!done()) {
    if (Date.now() > deadline) throw new Error('waited too long');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('mon client', () => {
  test('starts with monmap and config, gives commands', async () => {
    const keys = new Keys();
    const { addrs } = await mons(keys, 1);
    const c = client(keys, addrs);
    await c.start(5000);
    expect(c.fsid).toBe(fsid);
    expect([...c.config]).toEqual([['a', 'b']]);
    expect(c.globalId).toBe(100n);
    const result = await c.command({ prefix: 'status' });
    expect(result).toMatchObject({ code: 0, status: '{"prefix":"status"}', output: new Uint8Array([7]) });
  });

  test('the mon is lost: another is found, the global id stays, subscriptions go on from where they were, unanswered requests are sent again', async () => {
    const keys = new Keys();
    const { mons: all, addrs } = await mons(keys, 2);
    const c = client(keys, [addrs[0]!]);
    let sessions = 0;
    c.onSession(() => sessions++);
    c.on(MOSDMap, (m) => c.got('osdmap', m.newest));
    await c.start(5000);
    c.subscribe('osdmap', 0);
    await until(() => all[0]!.subscriptions.some((s) => s.some(([what]) => what === 'osdmap')));
    all[0]!.answersCommands = false;
    const pending = c.command({ prefix: 'slow' });
    await until(() => all[0]!.commands === 1);
    await all[0]!.messenger.close();
    expect((await pending).code).toBe(0);
    expect(all[1]!.commands).toBe(1);
    expect(sessions).toBe(2);
    expect(c.globalId).toBe(100n);
    expect(all[1]!.subscriptions[0]).toContainEqual(['osdmap', 42]);
  });

  test('a daemon has the rotating secrets of its service when it has started', async () => {
    const keys = new Keys();
    const { addrs } = await mons(keys, 1);
    const c = client(keys, addrs, { type: ENTITY_OSD, id: '0' }, ENTITY_OSD);
    await c.start(5000);
    expect(c.rotating().map((s) => s.id)).toEqual([1, 2, 3]);
    expect(c.clientAuth(ENTITY_OSD).begin().length).toBeGreaterThan(100);
  });

  test('the mon lost its auth secrets: the client comes back with a new global id', async () => {
    const keys = new Keys();
    const { mons: all, addrs } = await mons(keys, 1);
    const c = client(keys, addrs);
    await c.start(5000);
    keys.secrets = [9].map((id) => ({ id, key: newCryptoKey(0, random), expiresMs: clock.now() + 1e7 }));
    all[0]!.sessions[0]!.close();
    expect((await c.command({ prefix: 'again' })).code).toBe(0);
    expect(c.globalId).toBeGreaterThan(100n);
  });

  test('a wrong key is told at once, nobody there after the time-out', async () => {
    const keys = new Keys();
    const { addrs } = await mons(keys, 1);
    const wrong = createMonClient({
      entity: { type: ENTITY_CLIENT, id: 'admin' },
      key: newCryptoKey(0, random),
      monAddrs: [addrs],
      clock,
      random,
      log,
    });
    closers.push(() => wrong.close());
    await expect(wrong.start(5000)).rejects.toMatchObject({ code: 'AUTH_REFUSED' });
    const nobody = client(keys, [addrV2('127.0.0.1', nextPort++)]);
    await expect(nobody.start(300)).rejects.toMatchObject({ code: 'MON_TIMEOUT' });
  });
});
