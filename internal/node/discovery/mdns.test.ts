import { decode, encode, type Packet } from 'dns-packet';
import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import {
  type Announcement,
  announcementPacket,
  claimsHost,
  decodeMessage,
  hostName,
  linkOf,
  linksToSpeakOn,
  mdnsPort,
  queryPacket,
  replyTo,
  serversIn,
  serviceType,
} from './mdns.ts';

const announcement: Announcement = {
  node: 'pi-1',
  port: 6443,
  caHash: 'ab'.repeat(32),
  roles: ['server', 'mon'],
};
const host = hostName(announcement, false);
const wire = (packet: Packet) => decode(encode(packet));
const ask = (packet: Packet, port = mdnsPort) => replyTo(wire(packet), port, announcement, host, '192.0.2.1');
const whole = { node: 'pi-1', address: '192.0.2.1', port: 6443, caHash: announcement.caHash, roles: ['server', 'mon'] };

describe('mDNS', () => {
  test('one question is answered with everything that a machine needs to join', () => {
    const reply = ask(queryPacket())!;
    expect(reply.unicast).toBe(false);
    expect(serversIn(wire(reply.packet), '192.0.2.9')).toEqual([whole]);
  });

  test('a plain resolver gets a plain answer: its id, its question, a short life', () => {
    const reply = ask({ ...queryPacket(), id: 77 }, 40_000)!;
    expect(reply.unicast).toBe(true);
    const packet = wire(reply.packet);
    expect(packet.id).toBe(77);
    expect(packet.questions?.[0]?.name).toBe(serviceType);
    expect(packet.answers?.map((one) => ('ttl' in one ? one.ttl : 0))).toEqual([10]);
  });

  test('a question with the unicast bit is answered to the asker alone', () => {
    const bytes = encode(queryPacket());
    bytes.writeUInt16BE(0x8001, bytes.length - 2);
    expect(replyTo(decode(bytes), mdnsPort, announcement, host, '192.0.2.1')?.unicast).toBe(true);
  });

  test("the host's name is answered, another's is not", () => {
    expect(ask({ type: 'query', questions: [{ type: 'A', name: 'PI-1.local' }] })?.packet.answers).toMatchObject([
      { type: 'A', name: 'pi-1.local', data: '192.0.2.1' },
    ]);
    expect(ask({ type: 'query', questions: [{ type: 'A', name: 'pi-2.local' }] })).toBeUndefined();
    expect(ask({ type: 'query', questions: [{ type: 'AAAA', name: 'pi-1.local' }] })).toBeUndefined();
  });

  test('what the asker knows is not said again', () => {
    const known = announcementPacket(announcement, host, '192.0.2.1').answers!;
    expect(ask({ ...queryPacket(), answers: known })).toBeUndefined();
    expect(ask({ ...queryPacket(), answers: known.map((one) => ({ ...one, ttl: 100 }) as typeof one) })).toBeDefined();
  });

  test('an answer is not answered; a good-bye names no server', () => {
    expect(ask(announcementPacket(announcement, host, '192.0.2.1'))).toBeUndefined();
    expect(serversIn(wire(announcementPacket(announcement, host, '192.0.2.1', 0)), '192.0.2.1')).toEqual([]);
  });

  test('another machine with the same name is noticed, our own address is not another machine', () => {
    const other = wire(announcementPacket(announcement, host, '192.0.2.66'));
    expect(claimsHost(other, host, new Set(['192.0.2.1']))).toBe(true);
    expect(claimsHost(other, host, new Set(['192.0.2.66']))).toBe(false);
    expect(hostName(announcement, true)).toBe('pi-1-abababab.local');
  });

  test('servers without a usable hash, port or text are left out', () => {
    for (const bad of [{ caHash: 'no' }, { port: 0 }, { caHash: '' }])
      expect(serversIn(wire(announcementPacket({ ...announcement, ...bad }, host, '192.0.2.1')), '192.0.2.1')).toEqual(
        [],
      );
  });

  test('links: the pods are not told, senders from elsewhere have none', () => {
    const links = linksToSpeakOn(
      [
        { name: 'lo', address: '127.0.0.1', netmask: '255.0.0.0' },
        { name: 'cni-1', address: '10.42.0.1', netmask: '255.255.255.0' },
        { name: 'docker0', address: '172.17.0.1', netmask: '255.255.0.0' },
        { name: 'weird', address: '10.42.3.1', netmask: '255.255.255.0' },
        { name: 'eth0', address: '192.0.2.1', netmask: '255.255.255.128' },
        { name: 'wlan0', address: '198.51.100.200', netmask: '255.255.255.0' },
      ],
      ['10.42.0.0/16'],
    );
    expect(links.map((link) => link.name)).toEqual(['eth0', 'wlan0']);
    expect(linkOf(links, '192.0.2.100')?.name).toBe('eth0');
    expect(linkOf(links, '192.0.2.200')).toBeUndefined();
    expect(linkOf(links, '198.51.100.7')?.name).toBe('wlan0');
    expect(linkOf(links, 'fe80::1')).toBeUndefined();
  });

  test('any bytes: refused or read, never an error', () => {
    const random = seededRandom(5);
    const valid = encode(announcementPacket(announcement, host, '192.0.2.1'));
    let read = 0;
    for (let round = 0; round < 1_500; round++) {
      const bytes = Buffer.from(valid);
      for (let i = random.uint32() % 8; i >= 0; i--)
        bytes[random.uint32() % (round % 2 ? bytes.length : 60)] = random.uint32();
      const packet = decodeMessage(bytes.subarray(0, random.uint32() % (bytes.length + 1)));
      if (!packet) continue;
      read++;
      serversIn(packet, '192.0.2.1');
      claimsHost(packet, host, new Set());
      const reply = replyTo(packet, random.uint32() & 0xffff, announcement, host, '192.0.2.1');
      if (reply) expect(encode(reply.packet).length).toBeLessThan(9000);
    }
    expect(read).toBeGreaterThan(100);
    expect(decodeMessage(new Uint8Array(9001))).toBeUndefined();
  });
});
