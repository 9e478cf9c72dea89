import { inflateSync, constants } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { DecodeError, utf8, utf8Text } from '../../../base/bytes.ts';
import { chooseProtocol, errorContent, joinChannel, splitChannel } from './channels.ts';
import { dataFrame, frameType, HeaderBlockWriter, SpdyReader, synStreamFrame } from './spdy.ts';
import { acceptKey, closeFrame, opcode, wsFrame, WsReader } from './websocket.ts';

function masked(code: number, payload: Uint8Array, fin = true): Uint8Array {
  const frame = wsFrame(code, payload);
  const head = frame.length - payload.length;
  const out = new Uint8Array(frame.length + 4);
  out.set(frame.subarray(0, head));
  if (!fin) out[0]! &= 0x7f;
  out[1] = out[1]! | 0x80;
  const mask = [1, 2, 3, 4];
  out.set(mask, head);
  payload.forEach((byte, i) => {
    out[head + 4 + i] = byte ^ mask[i & 3]!;
  });
  return out;
}

describe('SPDY/3.1', () => {
  test('header blocks are one zlib stream that every inflater reads', () => {
    const writer = new HeaderBlockWriter();
    const stream = Buffer.concat([writer.block({ streamType: 'error' }), writer.block({ streamType: 'stdin' })]);
    const plain = inflateSync(stream, { finishFlush: constants.Z_SYNC_FLUSH });
    expect(plain.toString('latin1')).toContain('streamtype');
    expect(plain.readUInt32BE(0)).toBe(1);
    expect(plain.length).toBe(2 * (4 + 4 + 10 + 4 + 5));
  });

  test('frames survive being cut anywhere', () => {
    const bytes = Buffer.concat([
      synStreamFrame(1, new HeaderBlockWriter().block({ streamType: 'stdout' })),
      dataFrame(1, utf8('hello')),
      dataFrame(1, new Uint8Array(0), true),
    ]);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const reader = new SpdyReader();
      const frames = [...reader.push(bytes.subarray(0, cut)), ...reader.push(bytes.subarray(cut))];
      expect(frames).toHaveLength(3);
      expect(frames[0]).toMatchObject({ kind: 'control', type: frameType.synStream, streamId: 1 });
      expect(frames[1]).toMatchObject({ kind: 'data', streamId: 1, fin: false });
      expect(frames[2]).toMatchObject({ kind: 'data', fin: true });
    }
  });

  test('another version is refused', () => {
    expect(() => new SpdyReader().push(Uint8Array.of(0x80, 2, 0, 1, 0, 0, 0, 0))).toThrow(DecodeError);
  });
});

describe('WebSocket', () => {
  test('the accept key of RFC 6455', () => {
    expect(acceptKey('dGhlIHNhbXBsZSBub25jZQ==')).toBe('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
  });

  test.each([0, 1, 125, 126, 65_535, 65_536])('a message of %d bytes, whole and byte by byte', (length) => {
    const payload = new Uint8Array(length).map((_b, i) => i);
    const frame = masked(opcode.binary, payload);
    const whole = new WsReader().push(frame);
    expect(whole).toEqual([{ kind: 'data', binary: true, data: payload }]);
    if (length > 200) return;
    const reader = new WsReader();
    const pieces = [...frame].flatMap((byte) => reader.push(Uint8Array.of(byte)));
    expect(pieces).toEqual(whole);
  });

  test('fragments are joined, with a ping between them', () => {
    const reader = new WsReader();
    const out = [
      ...reader.push(masked(opcode.text, utf8('he'), false)),
      ...reader.push(masked(opcode.ping, utf8('x'))),
      ...reader.push(masked(opcode.continuation, utf8('llo'))),
    ];
    expect(out.map((m) => m.kind)).toEqual(['ping', 'data']);
    expect(out[1]?.kind === 'data' && utf8Text(out[1].data)).toBe('hello');
  });

  test('unmasked, reserved and endless frames are refused', () => {
    expect(() => new WsReader().push(wsFrame(opcode.text, utf8('a')))).toThrow(DecodeError);
    expect(() => new WsReader().push(Uint8Array.of(0xf2, 0x80))).toThrow(DecodeError);
    expect(() => new WsReader().push(Uint8Array.of(0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0))).toThrow(DecodeError);
    expect(() => new WsReader().push(masked(opcode.continuation, utf8('a')))).toThrow(DecodeError);
  });

  test('garbage never does anything but throw', () => {
    for (let seed = 1; seed < 300; seed++) {
      let x = seed;
      const noise = new Uint8Array(64).map(() => {
        x = (Math.imul(x, 1103515245) + 12345) >>> 0;
        return x >>> 16;
      });
      for (const reader of [new WsReader(), new SpdyReader()]) {
        try {
          reader.push(noise);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }
    }
  });

  test('close carries its code', () => {
    expect([...closeFrame(1000)]).toEqual([0x88, 2, 0x03, 0xe8]);
  });
});

describe('channels of remote commands', () => {
  test('the best protocol in common is chosen', () => {
    expect(chooseProtocol(['v4.channel.k8s.io', 'v5.channel.k8s.io'])).toBe('v5.channel.k8s.io');
    expect(chooseProtocol([])).toBe('');
    expect(chooseProtocol(['v9.channel.k8s.io'])).toBeUndefined();
  });

  test('binary and base64 messages', () => {
    expect(joinChannel('v4.channel.k8s.io', 1, utf8('ab'))).toEqual({
      binary: true,
      message: Uint8Array.of(1, 97, 98),
    });
    const { binary, message } = joinChannel('base64.channel.k8s.io', 1, utf8('ab'));
    expect(binary).toBe(false);
    expect(utf8Text(message)).toBe('1YWI=');
    expect(splitChannel('base64.channel.k8s.io', utf8('0YWI='))).toEqual({ id: 0, data: utf8('ab') });
  });

  test('before v4, success says nothing and failure says its message', () => {
    const status = utf8(JSON.stringify({ status: 'Failure', message: 'exit code 3' }));
    expect(utf8Text(errorContent('channel.k8s.io', status))).toBe('exit code 3');
    expect(errorContent('channel.k8s.io', utf8('{"status":"Success"}'))).toHaveLength(0);
    expect(errorContent('v4.channel.k8s.io', status)).toBe(status);
  });
});
