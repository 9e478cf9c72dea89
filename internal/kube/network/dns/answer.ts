import type { Answer, DecodedPacket, Packet, Question } from 'dns-packet';
import { isIPv4 } from '../../../config/cidr.ts';
import type { Zone, ZoneRecord } from './zone.ts';

/** Seconds that answers about the cluster may be kept; short because pods come and go. */
export const clusterTtl = 5;

export const rcode = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
} as const;

/** Flag bits of a DNS header (RFC 1035, 4.1.1). */
export const flags = {
  authoritative: 1 << 10,
  truncated: 1 << 9,
  recursionDesired: 1 << 8,
  recursionAvailable: 1 << 7,
} as const;

/** What the cluster's own data say to a question. */
export type Outcome =
  | { readonly kind: 'answers'; readonly answers: Answer[]; readonly additionals: Answer[]; readonly chase?: string }
  | { readonly kind: 'none' }
  | { readonly kind: 'noName' }
  /** Not a name of the cluster: somebody else knows. */
  | { readonly kind: 'forward' };

const inCluster = (name: string, domain: string): boolean => name === domain || name.endsWith(`.${domain}`);

function toAnswer(name: string, record: ZoneRecord): Answer {
  if (record.type === 'SRV') return { type: 'SRV', name, ttl: clusterTtl, data: { ...record.data } } as Answer;
  return { type: record.type, name, ttl: clusterTtl, data: record.data } as Answer;
}

/** `10-42-0-5.namespace.pod.<domain>`: the address is in the name itself. */
function podAddress(name: string, domain: string): string | undefined {
  const match = /^((?:\d{1,3}-){3}\d{1,3})\.[a-z0-9-]+\.pod$/.exec(name.slice(0, -domain.length - 1));
  const ip = match?.[1]?.replaceAll('-', '.');
  return ip && isIPv4(ip) ? ip : undefined;
}

/** Answers a question from the zone. Names are compared without regard to case; the answer repeats the asker's spelling. */
export function resolve(zone: Zone, domain: string, question: Question): Outcome {
  // The type's list of names lacks ANY, which is a question and never a record.
  const asked: string = question.type;
  const name = question.name.toLowerCase().replace(/\.$/, '');
  const ours = inCluster(name, domain);
  const records = zone.get(name);
  if (!records) {
    if (!ours) return { kind: 'forward' };
    const pod = podAddress(name, domain);
    if (!pod) return { kind: 'noName' };
    if (asked !== 'A' && asked !== 'ANY') return { kind: 'none' };
    return {
      kind: 'answers',
      answers: [{ type: 'A', name: question.name, ttl: clusterTtl, data: pod }],
      additionals: [],
    };
  }
  const alias = records.find((r) => r.type === 'CNAME');
  if (alias && asked !== 'CNAME' && asked !== 'ANY')
    return { kind: 'answers', answers: [toAnswer(question.name, alias)], additionals: [], chase: alias.data as string };
  const found = records.filter((r) => asked === 'ANY' || r.type === asked);
  if (found.length === 0) return { kind: 'none' };
  const additionals: Answer[] = [];
  for (const record of found) {
    if (record.type !== 'SRV') continue;
    for (const address of zone.get(record.data.target) ?? [])
      if (address.type === 'A' || address.type === 'AAAA') additionals.push(toAnswer(record.data.target, address));
  }
  return {
    kind: 'answers',
    answers: found.map((r) => toAnswer(question.name, r)),
    additionals: additionals.slice(0, 64),
  };
}

/** Start of authority that goes with "no such name" and "no data", so that they can be remembered (RFC 2308). */
export function authority(domain: string, serial: number): Answer {
  return {
    type: 'SOA',
    name: domain,
    ttl: clusterTtl,
    data: {
      mname: `ns.dns.${domain}`,
      rname: `hostmaster.${domain}`,
      serial,
      refresh: 7200,
      retry: 1800,
      expire: 86_400,
      minimum: clusterTtl,
    },
  } as Answer;
}

/** The frame of an answer to `query`. */
export function reply(
  query: Pick<DecodedPacket, 'id' | 'flags' | 'questions'>,
  code: number,
  more: Partial<Packet> = {},
  authoritative = false,
): Packet {
  return {
    type: 'response',
    id: query.id ?? 0,
    flags:
      (authoritative ? flags.authoritative : 0) |
      flags.recursionAvailable |
      ((query.flags ?? 0) & flags.recursionDesired) |
      code,
    questions: query.questions ?? [],
    ...more,
  };
}
