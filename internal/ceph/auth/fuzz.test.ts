import { afterAll, describe, expect, test } from 'vitest';
import { utf8 } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import { fuzzCount, fuzzDecoder, fuzzSeed, memoryGrowthMiB, memoryUse } from '../../base/fuzz.testing.ts';
import { seededRandom } from '../../base/random.ts';
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
import { addrV2, blankAddr } from '../wire/types.ts';
import { capGrants } from './caps-grammar.ts';
import {
  decodeAuthenticate,
  decodeAuthorizer,
  decodeTicketBlob,
  encodeAuthenticate,
  encodeAuthorizer,
} from './cephx.ts';
import { parseKeyring } from './keyring.ts';

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
