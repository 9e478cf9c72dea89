import { describe, expect, test } from 'vitest';
import { fuzzDecoder } from '../../../base/fuzz.testing.ts';
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

  const good: [string, Uint8Array, (bytes: Uint8Array) => unknown][] = [
    ...questions.map((question): (typeof good)[number] => [question.kind, encodeQuestion(question), decodeQuestion]),
    ['answer', encodeAnswer(answer), decodeAnswer],
    ['answer to a hello', encodeHelloAnswer(hello), decodeHelloAnswer],
    ['reserved ids', encodeReserved(5, 9), decodeReserved],
  ];
  test.each(good)(
    'fuzz: damaged bytes of %s are a DecodeError or another value',
    { timeout: 3_600_000 },
    (_, bytes, decode) => {
      expect(fuzzDecoder([bytes], decode)).toBeGreaterThan(0);
    },
  );
});
