import dgram from 'node:dgram';
import { connect } from 'node:net';
import { type Answer, type DecodedPacket, encode, type Packet, type Question, streamEncode } from 'dns-packet';
import type { Clock } from '../../../base/clock.ts';
import { decodeDnsMessage } from '../../../base/dns-message.ts';
import { AppError } from '../../../base/errors.ts';
import type { Random } from '../../../base/random.ts';
import { flags, rcode } from './answer.ts';
import { DnsCache } from './cache.ts';

const tryMs = 2_000;
const rounds = 2;
const maxPending = 512;
const maxTtl = 3_600;
const negativeTtl = 30;
const maxTcp = 65_537;

export interface ForwarderOptions {
  /** Addresses of name servers, the node's own. */
  readonly servers: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
}

/** Asks the node's name servers for names outside the cluster; remembers answers. */
export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #cache = new DnsCache<DecodedPacket>(4096);
  #pending = 0;

  constructor(options: ForwarderOptions) {
    this.#options = options;
  }

  /** The server's answer with times to live as of now. Throws when there is no server, none answers, or too many wait. */
  async ask(question: Question): Promise<DecodedPacket> {
    const { clock, servers } = this.#options;
    const key = `${question.name.toLowerCase()} ${question.type} ${question.class ?? 'IN'}`;
    const known = this.#cache.get(key, clock.monotonic());
    if (known) return aged(known.value, known.ageSeconds);
    if (servers.length === 0)
      throw new AppError('DNS_NO_SERVER', `no name server of the node to ask for ${question.name}`);
    if (this.#pending >= maxPending) throw new AppError('DNS_BUSY', 'too many questions are being forwarded');
    this.#pending++;
    try {
      for (let round = 0; round < rounds; round++) {
        for (const server of servers.slice(0, 3)) {
          const answer = await this.#one(server, question);
          if (!answer) continue;
          this.#cache.set(key, answer, lifetime(answer), clock.monotonic());
          return answer;
        }
      }
    } finally {
      this.#pending--;
    }
    throw new AppError('DNS_TIMEOUT', `no name server of the node answers for ${question.name}`);
  }

  async #one(server: string, question: Question): Promise<DecodedPacket | undefined> {
    const id = this.#options.random.uint32() & 0xffff;
    const query: Packet = { type: 'query', id, flags: flags.recursionDesired, questions: [question] };
    const answer = await overUdp(server, query);
    if (!answer || ((answer.flags ?? 0) & 0xf) === rcode.serverFailure) return undefined;
    return answer.flag_tc ? ((await overTcp(server, query)) ?? answer) : answer;
  }
}

function fits(answer: DecodedPacket, query: Packet): boolean {
  return (
    answer.type === 'response' &&
    answer.id === query.id &&
    answer.questions?.[0]?.name.toLowerCase() === query.questions?.[0]?.name.toLowerCase()
  );
}

function overUdp(server: string, query: Packet): Promise<DecodedPacket | undefined> {
  return new Promise((resolve) => {
    const socket = dgram.createSocket(server.includes(':') ? 'udp6' : 'udp4');
    let ended = false;
    const end = (answer?: DecodedPacket): void => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => end(), tryMs);
    socket.on('message', (bytes, from) => {
      // Only this server's answers are taken; the port that we ask from is new for every question.
      if (from.address !== server || from.port !== 53) return;
      const answer = decodeDnsMessage(bytes);
      // Another may still be the right one.
      if (answer && fits(answer, query)) end(answer);
    });
    socket.once('error', () => end());
    socket.send(encode(query), 53, server, (error) => {
      if (error) end();
    });
  });
}

function overTcp(server: string, query: Packet): Promise<DecodedPacket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: server, port: 53 });
    let seen: Buffer = Buffer.alloc(0);
    const end = (answer?: DecodedPacket): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(tryMs, () => end());
    socket.once('error', () => end());
    socket.once('close', () => end());
    socket.once('connect', () => socket.write(streamEncode(query)));
    socket.on('data', (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk]);
      if (seen.length > maxTcp) return end();
      if (seen.length < 2 || seen.length < 2 + seen.readUInt16BE(0)) return;
      const answer = decodeDnsMessage(seen.subarray(2, 2 + seen.readUInt16BE(0)));
      end(answer && fits(answer, query) ? answer : undefined);
    });
  });
}

const ttlOf = (answer: Answer): number => ('ttl' in answer ? (answer.ttl ?? 0) : 0);

function lifetime(answer: DecodedPacket): number {
  const list = answer.answers ?? [];
  if (list.length === 0) return negativeTtl;
  return Math.min(maxTtl, ...list.map(ttlOf));
}

function aged(answer: DecodedPacket, seconds: number): DecodedPacket {
  const older = (list: Answer[] | undefined): Answer[] =>
    (list ?? []).map((a) =>
      'ttl' in a && a.ttl !== undefined ? ({ ...a, ttl: Math.max(0, a.ttl - seconds) } as Answer) : a,
    );
  return {
    ...answer,
    answers: older(answer.answers),
    authorities: older(answer.authorities),
    additionals: older(answer.additionals),
  };
}
