import { describe, expect, test } from 'vitest';
import { DecodeError } from '../../../base/bytes.ts';
import { seededRandom } from '../../../base/random.ts';
import { addrV2, ENTITY_OSD } from '../../wire/types.ts';
import {
  decodeAnswer,
  decodeHelloAnswer,
  decodeQuestion,
  decodeReserved,
  encodeAnswer,
  encodeHelloAnswer,
  encodeQuestion,
  encodeReserved,
  type Question,
} from './wire.ts';

const message = {
  type: 50,
  version: 1,
  compat: 1,
  tid: 7,
  priority: 127,
  front: Uint8Array.of(1, 2, 3),
  middle: Uint8Array.of(4),
  data: [Uint8Array.of(5, 6)],
};
const questions: Question[] = [
  {
    kind: 'request',
    id: 12n,
    mon: 'b',
    session: {
      name: { type: ENTITY_OSD, id: '3' },
      globalId: 4711n,
      caps: 'allow profile osd',
      allowAll: false,
      addrs: [addrV2('10.0.0.9', 6800, 5)],
      remoteIp: '10.0.0.8',
      features: 0x3f01_cfb9_fffd_ffffn,
      hostname: 'n3',
      followsOsdMap: true,
    },
    message,
  },
  {
    kind: 'hello',
    name: 'c',
    skewMs: -3.5,
    latencyMs: 0.25,
    metadata: new Map([['arch', 'x86_64']]),
    features: [{ type: ENTITY_OSD, features: 0x3f01_cfb9_fffd_ffffn, count: 3 }],
  },
  { kind: 'reserve' },
];
const answer = { revision: 99, messages: [message, { ...message, type: 51 }] };
const hello = {
  leader: 'a',
  quorum: ['a', 'b'],
  receivedMs: 1.5,
  sentMs: 2.5,
  pushes: [{ globalId: 8n, message }],
};

describe('what mons ask each other', () => {
  test('comes as it went', () => {
    for (const question of questions) expect(decodeQuestion(encodeQuestion(question))).toEqual(question);
    expect(decodeAnswer(encodeAnswer(answer))).toEqual(answer);
    expect(decodeHelloAnswer(encodeHelloAnswer(hello))).toEqual(hello);
    expect(decodeReserved(encodeReserved(5, 9))).toEqual({ from: 5, below: 9 });
  });

  test('damaged bytes are a DecodeError or another value, and nothing else', () => {
    const random = seededRandom(1);
    const all: [Uint8Array, (bytes: Uint8Array) => unknown][] = [
      ...questions.map((question): (typeof all)[number] => [encodeQuestion(question), decodeQuestion]),
      [encodeAnswer(answer), decodeAnswer],
      [encodeHelloAnswer(hello), decodeHelloAnswer],
    ];
    for (let round = 0; round < 4000; round++)
      for (const [good, decode] of all) {
        const bytes = good.slice(0, random.uint32() % 8 === 0 ? random.uint32() % good.length : good.length);
        for (let n = random.uint32() % 4; n >= 0 && bytes.length > 0; n--)
          bytes[random.uint32() % bytes.length] = random.uint32() & 0xff;
        try {
          decode(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }
  });
});
