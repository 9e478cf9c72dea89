import { afterEach } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import type { AuthEntry, KeyServer, RotatingSecret } from '../auth/api.ts';
import { CephxClient } from '../auth/client-auth.ts';
import { newCryptoKey } from '../auth/crypto.ts';
import { createMonAuth } from '../auth/mon-auth.ts';
import { createServiceAuth } from '../auth/service-auth.ts';
import type { Message, MessageCodec } from './message.ts';
import type { CloseReason, Connection, Dispatcher, Messenger, MessengerOptions, ServerAuth } from './messenger.ts';
import { MessengerCore } from './messenger-core.ts';
import { createMessenger } from './messenger-transport.ts';
import type { Network } from './transport.ts';
import { ENTITY_AUTH, ENTITY_CLIENT, ENTITY_MGR, ENTITY_MON, ENTITY_OSD, type EntityAddr } from './types.ts';

export const clock = systemClock;
export const random = systemRandom;
export const log = silentLogger;

/** A message with only data. */
export const Blob: MessageCodec<readonly Uint8Array[]> = {
  type: 0x7ff0,
  name: 'Blob',
  version: 1,
  compat: 1,
  encode: (data) => ({ front: new Uint8Array(0), data }),
  decode: (m) => [m.data],
};

export class Keys implements KeyServer {
  readonly monTicketTtlSec = 3600;
  readonly serviceTicketTtlSec = 1800;
  readonly entries = new Map<string, AuthEntry>();
  readonly secrets = new Map<number, RotatingSecret[]>();
  #next = 4100n;
  constructor() {
    for (const [name, caps] of [
      ['client.admin', { mon: 'allow *', osd: 'allow rwx pool=rbd' }],
      ['osd.1', { mon: 'allow profile osd', osd: 'allow *' }],
      ['osd.2', { mon: 'allow profile osd', osd: 'allow *' }],
      ['client.small', { mon: 'allow r', osd: 'allow r pool=rbd' }],
    ] as const)
      this.entries.set(name, { key: newCryptoKey(clock.now(), random), caps });
    for (const service of [ENTITY_AUTH, ENTITY_OSD, ENTITY_MGR])
      this.secrets.set(
        service,
        [7, 8, 9].map((id) => ({ id, key: newCryptoKey(0, random), expiresMs: clock.now() + id * 1e6 })),
      );
  }
  entity(name: string): AuthEntry | undefined {
    return this.entries.get(name);
  }
  rotating(service: number): readonly RotatingSecret[] {
    return this.secrets.get(service) ?? [];
  }
  nextGlobalId(): bigint {
    return this.#next++;
  }
}

/** Keeps what it is told, and lets a test wait for more. */
export class Peer implements Dispatcher {
  readonly messages: Message[] = [];
  readonly closed: CloseReason[] = [];
  readonly ready: Connection[] = [];
  readonly unheard: Connection[] = [];
  #waiting: { done: () => boolean; resolve: () => void }[] = [];
  answer: ((c: Connection, m: Message) => void | Promise<void>) | undefined;
  onReady(c: Connection): void {
    this.ready.push(c);
    this.#check();
  }
  onMessage(c: Connection, m: Message): void | Promise<void> {
    this.messages.push(m);
    const result = this.answer?.(c, m);
    this.#check();
    return result;
  }
  onNobodyListens(c: Connection): void {
    this.unheard.push(c);
    this.#check();
  }
  onClose(_c: Connection, reason: CloseReason): void {
    this.closed.push(reason);
    this.#check();
  }
  #check(): void {
    this.#waiting = this.#waiting.filter((w) => {
      if (!w.done()) return true;
      w.resolve();
      return false;
    });
  }
  until(done: () => boolean): Promise<void> {
    if (done()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ done, resolve }));
  }
}

/** Closed after each test. */
export const opened: Messenger[] = [];
afterEach(async () => {
  for (const m of opened.splice(0)) await m.close();
});

const firstPort = 21100;
const lastPort = 21400;
let port = firstPort;

/** On the next free port: several files of tests run at once. */
export async function listening(m: Messenger, ip = '127.0.0.1'): Promise<EntityAddr> {
  for (;;) {
    try {
      return await m.listen({ ip, port: port++ });
    } catch (error) {
      if (port > lastPort) throw error;
    }
  }
}

export async function server(
  type: number,
  serverAuth: ServerAuth,
  peer: Peer,
  more: Partial<MessengerOptions> = {},
): Promise<[Messenger, EntityAddr]> {
  const m = createMessenger({ entity: { type, num: 0 }, clock, random, log, dispatcher: peer, serverAuth, ...more });
  opened.push(m);
  return [m, await listening(m)];
}

/** What a mon and an OSD check their peers by. */
export function monAuth(keys: Keys): ServerAuth {
  return createMonAuth({ keys, clock, random, log });
}
export function osdAuth(keys: Keys): ServerAuth {
  return createServiceAuth({ service: ENTITY_OSD, rotating: () => keys.rotating(ENTITY_OSD), clock, random });
}

export function client(keys: Keys, name = { type: ENTITY_CLIENT, id: 'admin' }): CephxClient {
  const text = `${name.type === ENTITY_OSD ? 'osd' : 'client'}.${name.id}`;
  return new CephxClient({
    name,
    key: keys.entity(text)!.key,
    clock,
    random,
    want: ENTITY_MON | ENTITY_OSD | ENTITY_MGR,
  });
}

export function dialler(
  cephx: CephxClient,
  peer: Peer,
  modes: number[],
  network?: Network,
  entity = { type: ENTITY_CLIENT, num: 0 },
): Messenger {
  const options = {
    entity,
    clock,
    random,
    log,
    dispatcher: peer,
    clientAuth: (type: number) => (type === ENTITY_MON ? cephx.monAuth(modes) : cephx.serviceAuth(type, modes)),
  };
  const m = network === undefined ? createMessenger(options) : new MessengerCore(options, network);
  opened.push(m);
  return m;
}
