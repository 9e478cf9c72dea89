import { readFileSync } from 'node:fs';
import { sleep } from '../../base/clock.ts';
import { caHash } from '../../pki/token.ts';
import type { MemberRecord } from '../../store/members.ts';
import { discoverServers } from '../discovery/mdns-system.ts';
import type { RoleContext } from '../role.ts';

const lookEveryMs = 10_000;
const answerMs = 3_000;

export interface PeerFinder {
  /** Where the store of this member may be reached beside where the group knows it. */
  elsewhere(record: MemberRecord): string[];
  /** Looks on the network for as long as somebody is `missing`. */
  start(missing: () => boolean): void;
  stop(): void;
}

/**
 * Finds the other servers when the addresses that the group has agreed on are not theirs any more: a network that hands out others after a power cut,
 * a move to another one. While no majority is there nothing can be agreed on, so they are looked for by name on the local network, and at `server` of
 * the configuration. Who answers is a member by its certificate and id.
 */
export function findPeers({ config, clock, paths, stopping }: RoleContext): PeerFinder {
  const found = new Map<string, string>();
  const stopped = new AbortController();
  const url = (host: string): string => `https://${host}:${config.ports.etcdPeer}`;
  const configured = config.server === undefined ? [] : [url(new URL(config.server).hostname)];

  const look = async (missing: () => boolean): Promise<void> => {
    const hash = caHash(readFileSync(`${paths.pki}/server-ca.crt`, 'utf8'));
    const signal = AbortSignal.any([stopping, stopped.signal]);
    while (!signal.aborted) {
      if (config.mdns && missing()) {
        const { servers } = await discoverServers(hash, { timeoutMs: answerMs, clock, signal });
        for (const { node, address } of servers) if (node !== config.node.name) found.set(node, url(address));
      }
      await sleep(clock, lookEveryMs, signal);
    }
  };
  return {
    elsewhere: ({ node, name }) => {
      const here = found.get(node ?? name);
      return here === undefined ? configured : [here, ...configured];
    },
    start: (missing) => {
      // It ends with the machine's network at worst: a member is found at its old address then, or not at all.
      look(missing).catch(() => undefined);
    },
    stop: () => stopped.abort(),
  };
}
