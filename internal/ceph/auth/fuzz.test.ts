import { afterAll, describe, expect, test } from 'vitest';
import { utf8 } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import {
  expectDecodeError,
  fuzzCount,
  fuzzDecoder,
  fuzzSeed,
  memoryGrowthMiB,
  memoryUse,
  mutate,
} from '../../base/fuzz.testing.ts';
import { silentLogger } from '../../base/log.ts';
import { seededRandom } from '../../base/random.ts';
import { systemClock } from '../../base/system.ts';
import { Decoder, encoded } from '../wire/encoding.ts';
import {
  decodeAuthBadMethod,
  decodeAuthDone,
  decodeAuthMore,
  decodeAuthRequest,
  decodeClientIdent,
  decodeHello,
  decodeServerIdent,
  decodeSessionReconnect,
  encodeAuthDone,
  encodeAuthMore,
  encodeAuthRequest,
  encodeClientIdent,
  encodeHello,
  encodeSessionReconnect,
} from '../wire/frame-format.ts';
import type { ClientAuth, ServerAuth } from '../wire/messenger.ts';
import { addrV2, blankAddr, ENTITY_CLIENT, ENTITY_MON, ENTITY_OSD } from '../wire/types.ts';
import type { CryptoKey, KeyServer } from './api.ts';
import { capGrants } from './caps-grammar.ts';
import {
  decodeAuthenticate,
  decodeAuthorizer,
  decodeTicketBlob,
  encodeAuthenticate,
  encodeAuthorizer,
} from './cephx.ts';
import { CephxClient } from './client-auth.ts';
import { newCryptoKey } from './crypto.ts';
import { parseKeyring } from './keyring.ts';
import { createMonAuth } from './mon-auth.ts';
import { createServiceAuth } from './service-auth.ts';

const memoryAtStart = memoryUse();
const timeout = 3_600_000;
const ticket = { secretId: 7, blob: utf8('a blob that is sealed') };

describe('fuzz: what a stranger says before it is known', () => {
  afterAll(() => expect(memoryGrowthMiB(memoryAtStart)).toBeLessThan(300));

  const parsers: [name: string, good: Uint8Array, decode: (bytes: Uint8Array) => unknown][] = [
    ['hello', encodeHello({ entityType: 8, peerAddr: blankAddr }), decodeHello],
    ['AUTH_REQUEST', encodeAuthRequest({ method: 2, modes: [2, 1], payload: utf8('payload') }), decodeAuthRequest],
    ['AUTH_BAD_METHOD', encodeAuthMore(utf8('bytes of anything')), decodeAuthBadMethod],
    ['AUTH_REQUEST_MORE', encodeAuthMore(utf8('payload')), decodeAuthMore],
    ['AUTH_DONE', encodeAuthDone({ globalId: 1n, mode: 1, payload: utf8('payload') }), decodeAuthDone],
    [
      'CLIENT_IDENT',
      encodeClientIdent({
        addrs: [addrV2('127.0.0.1', 0, 5)],
        target: addrV2('127.0.0.1', 1),
        num: 1,
        globalSeq: 1n,
        supported: 0x3f01_cfb9_fffd_ffffn,
        required: 0n,
        flags: 1n,
        cookie: 1n,
      }),
      (bytes) => {
        decodeClientIdent(bytes);
        decodeServerIdent(bytes);
      },
    ],
    [
      'SESSION_RECONNECT',
      encodeSessionReconnect({
        addrs: [addrV2('127.0.0.1', 0, 5)],
        clientCookie: 1n,
        serverCookie: 2n,
        globalSeq: 1n,
        connectSeq: 1n,
        messageSeq: 1,
      }),
      decodeSessionReconnect,
    ],
    [
      'CephXAuthenticate',
      encoded((e) => encodeAuthenticate(e, { clientChallenge: 1n, key: 2n, oldTicket: ticket, otherKeys: 4 })),
      (bytes) => decodeAuthenticate(new Decoder(bytes)),
    ],
    [
      'CephXAuthorizer',
      encoded((e) =>
        encodeAuthorizer(e, { globalId: 3n, service: 4, ticket, sessionKey: new Uint8Array(16), nonce: 5n }),
      ),
      (bytes) => decodeAuthorizer(new Decoder(bytes)),
    ],
    ['CephXTicketBlob', utf8('\u0001abcdefgh\u0004\0\0\0blob'), (bytes) => decodeTicketBlob(new Decoder(bytes))],
  ];
  test.each(parsers)('%s', { timeout }, (_name, good, decode) => {
    fuzzDecoder([good], decode);
  });
});

describe('fuzz: whole handshakes, something of them damaged', () => {
  const random = seededRandom(fuzzSeed + 2);
  const key = newCryptoKey(0, random);
  const otherKey = newCryptoKey(0, random);
  const secrets = [7, 8, 9].map((id) => ({ id, key: newCryptoKey(0, random), expiresMs: 1e15 }));
  let lastGlobalId = 4100n;
  const keys: KeyServer = {
    entity: (name) => (name === 'client.admin' ? { key, caps: { mon: 'allow *', osd: 'allow *' } } : undefined),
    rotating: () => secrets,
    nextGlobalId: () => lastGlobalId++,
    monTicketTtlSec: 3600,
    serviceTicketTtlSec: 3600,
  };
  const common = { clock: systemClock, random };
  const mon = createMonAuth({ keys, ...common, log: silentLogger });
  const osd = createServiceAuth({ service: ENTITY_OSD, rotating: () => secrets, ...common });
  const client = (secret: CryptoKey): CephxClient =>
    new CephxClient({
      name: { type: ENTITY_CLIENT, id: 'admin' },
      key: secret,
      ...common,
      want: ENTITY_MON | ENTITY_OSD,
    });

  /** Each takes as long as forty of the others: their parsers have tests of their own above. */
  const handshakes = Math.ceil(fuzzCount / 40);

  /** What the server comes to; `damaged`: which of the payloads, in their order, is not as it was sent. DecodeErrors end it. */
  function handshake(auth: ClientAuth, server: ServerAuth, mode: number, damaged: number): 'done' | 'refused' {
    let nth = 0;
    const carried = (payload: Uint8Array): Uint8Array => (nth++ === damaged ? mutate(random, payload) : payload);
    const session = server.session(2, ENTITY_CLIENT, mode)!;
    const first = session.begin(carried(auth.begin()));
    if (first.kind !== 'more') return first.kind;
    const last = session.more(carried(auth.more(carried(first.payload))));
    if (last.kind !== 'done') return 'refused';
    auth.done(carried(last.payload), last.identity.globalId, mode);
    return 'done';
  }

  test('of a client and a mon: DecodeErrors and refusals, and a stranger is never let in', { timeout }, () => {
    let done = 0;
    for (let i = 0; i < handshakes; i++) {
      const stranger = i % 2 === 0;
      const damaged = random.uint32() % 5;
      expectDecodeError(() => {
        const how = handshake(client(stranger ? otherKey : key).monAuth([1, 2]), mon, 1 + (i % 2), damaged);
        if (how === 'done') done++;
        if (stranger) expect(how).toBe('refused');
      });
    }
    expect(done).toBeGreaterThan(handshakes / 20);
  });

  test('of a client and an OSD', { timeout }, () => {
    const cephx = client(key);
    expect(handshake(cephx.monAuth([2]), mon, 2, -1)).toBe('done');
    let done = 0;
    for (let i = 0; i < handshakes; i++)
      expectDecodeError(() => {
        if (handshake(cephx.serviceAuth(ENTITY_OSD), osd, 1 + (i % 2), random.uint32() % 5) === 'done') done++;
      });
    expect(done).toBeGreaterThan(handshakes / 20);
  });

  test('requests and answers of a session that is there', { timeout }, () => {
    const cephx = client(key);
    const session = mon.session(2, ENTITY_CLIENT, 1)!;
    const auth = cephx.monAuth([1]);
    const first = session.begin(auth.begin());
    if (first.kind !== 'more') expect.unreachable();
    const last = session.more(auth.more(first.payload));
    if (last.kind !== 'done') expect.unreachable();
    auth.done(last.payload, last.identity.globalId, 1);
    const request = cephx.rotatingRequest();
    const { payload } = last.identity.renew!(request);
    for (let i = 0; i < handshakes; i++) {
      expectDecodeError(() => last.identity.renew!(mutate(random, request)));
      expectDecodeError(() => cephx.handleReply(mutate(random, payload)));
    }
  });
});

describe('fuzz: texts of capabilities and keyrings', () => {
  const pieces = [
    ...[
      'allow ',
      'profile ',
      'rbd',
      'rwx',
      '*',
      ' pool=',
      'a',
      ' namespace=',
      '"',
      "'",
      '=',
      ' ',
      ', ',
      ';',
      'class-read ',
    ],
    ...[
      'object_prefix ',
      'network 10.0.0.0/8',
      'command "osd',
      '" with x=',
      '\n',
      '[client.a]\n',
      'key = ',
      'AQ==',
      'caps mon = ',
      '\t',
      '\\',
    ],
  ];
  const anyText = (random: ReturnType<typeof seededRandom>): string => {
    let text = '';
    for (let n = random.uint32() % 14; n >= 0; n--) text += pieces[random.uint32() % pieces.length]!;
    return text;
  };
  const refused = (work: () => unknown): void => {
    try {
      work();
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
    }
  };

  test('a capability is understood or BAD_CAPS', { timeout }, () => {
    const random = seededRandom(fuzzSeed);
    for (let i = 0; i < fuzzCount; i++) refused(() => capGrants('mon', anyText(random)));
  });
  test('a keyring is understood or refused', { timeout }, () => {
    const random = seededRandom(fuzzSeed + 1);
    for (let i = 0; i < fuzzCount; i++) refused(() => parseKeyring(anyText(random)));
  });
});
