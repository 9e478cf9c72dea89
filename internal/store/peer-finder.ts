import { type Clock, sleep } from '../base/clock.ts';
import type { MemberRecord } from './members.ts';

const lookEveryMs = 10_000;

/** A node of the cluster as it answers on the network. */
export interface FoundNode {
  readonly node: string;
  readonly address: string;
}

export interface PeerFinderOptions {
  /** Where members listen for each other. */
  readonly port: number;
  /** This member's own node. */
  readonly node: string;
  readonly clock: Clock;
  readonly stopping: AbortSignal;
  /** Looks on the network; absent: nobody is looked for there. */
  readonly discover: ((signal: AbortSignal) => Promise<readonly FoundNode[]>) | undefined;
  /** Where any of them may be, as far as is written down. */
  hosts(): readonly string[];
}

export interface PeerFinder {
  /** Where the store of this member may be reached beside where the group knows it. */
  elsewhere(record: MemberRecord): string[];
  /** Looks on the network for as long as somebody is `missing`. */
  start(missing: () => boolean): void;
  stop(): void;
}

/**
 * Finds the other members when the addresses that the group has agreed on are not theirs any more: a network that hands out others after a power cut,
 * a move to another one. While no majority is there nothing can be agreed on, so they are looked for by name on the local network, and where the configuration
 * has them. Who answers is a member by its certificate and id.
 */
export function findPeers({ clock, discover, hosts, node: own, port, stopping }: PeerFinderOptions): PeerFinder {
  const found = new Map<string, string>();
  const stopped = new AbortController();
  const url = (host: string): string => `https://${host}:${port}`;

  const look = async (missing: () => boolean): Promise<void> => {
    const signal = AbortSignal.any([stopping, stopped.signal]);
    while (!signal.aborted) {
      if (discover !== undefined && missing())
        for (const { node, address } of await discover(signal)) if (node !== own) found.set(node, url(address));
      await sleep(clock, lookEveryMs, signal);
    }
  };
  return {
    elsewhere: ({ node, name }) => {
      const here = found.get(node ?? name);
      return [...(here === undefined ? [] : [here]), ...hosts().map(url)];
    },
    start: (missing) => {
      // It ends with the machine's network at worst: a member is found at its old address then, or not at all.
      look(missing).catch(() => undefined);
    },
    stop: () => stopped.abort(),
  };
}
