import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Decoder } from '../wire/encoding.ts';
import {
  BANNER_BYTES,
  checkBanner,
  decodeAuthDone,
  decodeAuthMore,
  decodeAuthRequest,
  type Frame,
  TAG_AUTH_DONE,
  TAG_AUTH_REPLY_MORE,
  TAG_AUTH_REQUEST,
  TAG_AUTH_REQUEST_MORE,
  TAG_AUTH_SIGNATURE,
  TAG_MESSAGE,
  TAG_SERVER_IDENT,
} from '../wire/frame-format.ts';
import { FrameReader } from '../wire/frame-reader.ts';
import { haveRecorded, recordedConnections, recordedRoot } from '../wire/recorded.testing.ts';
import { SecureReceiver } from '../wire/secure.ts';
import { ENTITY_AUTH, ENTITY_MON, ENTITY_OSD } from '../wire/types.ts';
import { challengeKey, decodeAuthenticate, decodeTickets } from './cephx.ts';
import { cryptoKeyText, openValue } from './crypto.ts';
import { formatKeyring, parseKeyring } from './keyring.ts';

const keyringFile = join(recordedRoot, 'wire/keys/w1.client.admin.keyring');

/** The frames of one direction until they stop being readable, and the bytes up to the end of frame `until`. */
function handshake(stream: Uint8Array, until: number): { frames: Frame[]; before: Uint8Array; after: Uint8Array } {
  const frames: Frame[] = [];
  let bytes = 0;
  let end = 0;
  const reader = new FrameReader(
    BANNER_BYTES,
    { maxFrontBytes: 1 << 26, maxDataBytes: 1 << 26 },
    {
      banner: checkBanner,
      admit: () => true,
      frame: (frame) => {
        frames.push(frame);
        if (frame.tag === until) end = bytes;
      },
    },
  );
  reader.tap = (piece) => {
    bytes += piece.length;
  };
  try {
    reader.feed(stream);
  } catch {
    // Secure mode: the rest is encrypted.
  }
  return { frames, before: stream.subarray(0, end), after: stream.subarray(end) };
}

describe.skipIf(!haveRecorded)('cephx of recorded conversations', () => {
  const keyring = haveRecorded ? parseKeyring(readFileSync(keyringFile, 'utf8')) : new Map<string, never>();

  test('a keyring is read and written again', () => {
    const text = readFileSync(keyringFile, 'utf8');
    const key = /key = (\S+)/.exec(text)![1]!;
    expect(cryptoKeyText(keyring.get('client.admin')!.key)).toBe(key);
    expect(parseKeyring(formatKeyring(keyring))).toEqual(keyring);
  });

  for (const scenario of ['01-cephx-ceph-s', '02-cephx-ceph-s-secure'])
    test(`${scenario}: the client's proof, the tickets, the signatures and the encryption of the mon's session`, () => {
      const connection = recordedConnections(scenario)[1]!; // the first one is temporary and asks for no tickets
      const secret = keyring.get('client.admin')!.key.secret;
      const client = handshake(connection.c2s, TAG_AUTH_REQUEST_MORE);
      const server = handshake(connection.s2c, TAG_AUTH_DONE);
      const frame = (from: Frame[], tag: number): Uint8Array => from.find((f) => f.tag === tag)!.segments[0];

      expect(decodeAuthRequest(frame(client.frames, TAG_AUTH_REQUEST)).method).toBe(2);
      const challenge = new Decoder(decodeAuthMore(frame(server.frames, TAG_AUTH_REPLY_MORE)));
      challenge.u8();
      const serverChallenge = challenge.u64b();
      const request = new Decoder(decodeAuthMore(frame(client.frames, TAG_AUTH_REQUEST_MORE)));
      expect(request.u16()).toBe(0x100);
      const authenticate = decodeAuthenticate(request);
      expect(challengeKey(secret, serverChallenge, authenticate.clientChallenge)).toBe(authenticate.key);

      const done = decodeAuthDone(frame(server.frames, TAG_AUTH_DONE));
      const d = new Decoder(done.payload);
      expect([d.u16(), d.s32()]).toEqual([0x100, 0]);
      const [auth] = decodeTickets(d, secret, () => undefined);
      expect(auth!.service).toBe(ENTITY_AUTH);
      const sessionKey = auth!.sessionKey.secret;
      const connectionSecret = openValue(sessionKey, new Decoder(d.blob()).blob(), (x) => x.blob().slice());
      const services = decodeTickets(new Decoder(d.blob()), sessionKey, () => undefined).map((t) => t.service);
      expect(services).toEqual(expect.arrayContaining([ENTITY_MON, ENTITY_OSD]));

      const hmac = (bytes: Uint8Array): string => createHmac('sha256', sessionKey).update(bytes).digest('hex');
      if (done.mode === 1) {
        expect(connectionSecret.length).toBe(0);
        expect(Buffer.from(frame(client.frames, TAG_AUTH_SIGNATURE)).toString('hex')).toBe(hmac(server.before));
        expect(Buffer.from(frame(server.frames, TAG_AUTH_SIGNATURE)).toString('hex')).toBe(hmac(client.before));
        return;
      }
      expect(connectionSecret.length).toBe(64);
      const opened: Frame[] = [];
      const reader = new FrameReader(
        0,
        { maxFrontBytes: 1 << 26, maxDataBytes: 1 << 26 },
        { banner: () => undefined, admit: () => true, frame: (f) => opened.push(f) },
      );
      reader.secure(new SecureReceiver(connectionSecret.slice(0, 16), connectionSecret.slice(16, 28)));
      reader.feed(server.after);
      expect(Buffer.from(opened[0]!.segments[0]).toString('hex')).toBe(hmac(client.before));
      expect(opened[1]!.tag).toBe(TAG_SERVER_IDENT);
      expect(opened.filter((f) => f.tag === TAG_MESSAGE).length).toBeGreaterThan(1);
    });
});
