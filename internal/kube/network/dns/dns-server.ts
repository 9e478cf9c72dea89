import dgram from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import { type Answer, type DecodedPacket, encode, type Packet } from 'dns-packet';
import type { Clock } from '../../../base/clock.ts';
import { decodeDnsMessage } from '../../../base/dns-message.ts';
import { errorText } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import { authority, flags, rcode, reply, resolve } from './answer.ts';
import type { Forwarder } from './forwarder-client.ts';
import type { Zone } from './zone.ts';

/** Answers over UDP are cut to what the asker takes, 512 bytes where it does not say (RFC 1035, RFC 6891). */
const plainUdp = 512;
const maxUdp = 1232;
const maxTcpClients = 256;
const tcpIdleMs = 10_000;

export interface DnsServerOptions {
  readonly address: string;
  readonly port: number;
  readonly domain: string;
  /** Undefined until the cluster's data are known. */
  readonly zone: () => { zone: Zone; serial: number } | undefined;
  readonly forwarder: Forwarder;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The cluster's DNS server, over UDP and TCP. */
export class DnsServer {
  readonly #options: DnsServerOptions;
  #udp: dgram.Socket | undefined;
  #tcp: Server | undefined;
  readonly #clients = new Set<Socket>();
  answered = 0;

  constructor(options: DnsServerOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { address, log, port } = this.#options;
    const udp = dgram.createSocket('udp4');
    udp.on('message', (bytes, from) => {
      void this.answer(bytes, false).then((out) => {
        if (out) udp.send(out, from.port, from.address, () => undefined);
      });
    });
    udp.on('error', (error) => log.warn('dns over udp', { error: errorText(error) }));
    await new Promise<void>((ready, failed) => {
      udp.once('error', failed);
      udp.bind(port, address, () => {
        udp.off('error', failed);
        ready();
      });
    });
    this.#udp = udp;
    const tcp = createServer((socket) => this.#client(socket));
    tcp.on('error', (error) => log.warn('dns over tcp', { error: errorText(error) }));
    await new Promise<void>((ready, failed) => {
      tcp.once('error', failed);
      tcp.listen(port, address, () => {
        tcp.off('error', failed);
        ready();
      });
    });
    this.#tcp = tcp;
  }

  async stop(): Promise<void> {
    this.#udp?.close();
    for (const client of this.#clients) client.destroy();
    await new Promise<void>((done) => {
      if (!this.#tcp) return done();
      this.#tcp.close(() => done());
    });
  }

  #client(socket: Socket): void {
    if (this.#clients.size >= maxTcpClients) {
      socket.destroy();
      return;
    }
    this.#clients.add(socket);
    let seen: Buffer = Buffer.alloc(0);
    let working = Promise.resolve();
    socket.setTimeout(tcpIdleMs, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#clients.delete(socket));
    socket.on('data', (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk]);
      while (seen.length >= 2) {
        const length = seen.readUInt16BE(0);
        if (seen.length < 2 + length) break;
        const bytes = seen.subarray(2, 2 + length);
        seen = seen.subarray(2 + length);
        working = working.then(async () => {
          const out = await this.answer(bytes, true);
          if (!out || socket.destroyed) return;
          const head = Buffer.alloc(2);
          head.writeUInt16BE(out.length);
          socket.write(Buffer.concat([head, out]));
        });
      }
    });
  }

  /** The answer's bytes; undefined for what deserves none. Never throws. */
  async answer(bytes: Uint8Array, tcp: boolean): Promise<Buffer | undefined> {
    const query = decodeDnsMessage(bytes);
    if (query?.type !== 'query') return undefined;
    this.answered++;
    try {
      const extended = (query.additionals ?? []).find((a) => a.type === 'OPT') as
        | { udpPayloadSize?: number }
        | undefined;
      const limit = tcp ? 65_535 : Math.min(maxUdp, Math.max(plainUdp, extended?.udpPayloadSize ?? plainUdp));
      return cut(await this.#respond(query, extended !== undefined), limit);
    } catch (error) {
      this.#options.log.debug('question not answered', {
        name: query.questions?.[0]?.name ?? '',
        error: errorText(error),
      });
      try {
        return encode(reply(query, rcode.serverFailure));
      } catch {
        // The question itself cannot be repeated.
        return undefined;
      }
    }
  }

  async #respond(query: DecodedPacket, extended: boolean): Promise<Packet> {
    const { domain, forwarder, zone: current } = this.#options;
    const question = query.questions?.[0];
    if (((query.flags ?? 0) >>> 11) & 0xf) return reply(query, rcode.notImplemented);
    if (!question || query.questions!.length > 1) return reply(query, rcode.formatError);
    const options: Answer[] = extended
      ? [
          {
            type: 'OPT',
            name: '.',
            udpPayloadSize: maxUdp,
            flags: 0,
            extendedRcode: 0,
            ednsVersion: 0,
            flag_do: false,
            options: [],
          } as Answer,
        ]
      : [];
    const known = current();
    const outcome = known ? resolve(known.zone, domain, question) : { kind: 'forward' as const };
    if (!known && (question.name === domain || question.name.toLowerCase().endsWith(`.${domain}`)))
      return reply(query, rcode.serverFailure);
    if (outcome.kind === 'answers') {
      const answers = [...outcome.answers];
      if (outcome.chase) answers.push(...(await this.#chase(outcome.chase, question.type)));
      return reply(query, rcode.noError, { answers, additionals: [...outcome.additionals, ...options] }, true);
    }
    if (outcome.kind !== 'forward') {
      const code = outcome.kind === 'noName' ? rcode.nameError : rcode.noError;
      return reply(query, code, { authorities: [authority(domain, known!.serial)], additionals: options }, true);
    }
    const answer = await forwarder.ask(question);
    return reply(query, (answer.flags ?? 0) & 0xf, {
      answers: answer.answers ?? [],
      authorities: answer.authorities ?? [],
      additionals: [...(answer.additionals ?? []).filter((a) => a.type !== 'OPT'), ...options],
    });
  }

  /** What an alias stands for; nothing when it cannot be found out now. */
  async #chase(name: string, type: string): Promise<Answer[]> {
    const { domain, forwarder, zone: current } = this.#options;
    const question = { name, type: type as 'A', class: 'IN' as const };
    const inside = resolve(current()!.zone, domain, question);
    if (inside.kind === 'answers') return inside.answers;
    if (inside.kind !== 'forward') return [];
    try {
      return (await forwarder.ask(question)).answers ?? [];
    } catch {
      return [];
    }
  }
}

/** Encodes an answer; one that is too long for UDP is sent empty with the mark to ask again over TCP. */
function cut(packet: Packet, limit: number): Buffer {
  const whole = encode(packet);
  if (whole.length <= limit) return whole;
  return encode({
    ...packet,
    flags: (packet.flags ?? 0) | flags.truncated,
    answers: [],
    authorities: [],
    additionals: (packet.additionals ?? []).filter((a) => a.type === 'OPT'),
  });
}
