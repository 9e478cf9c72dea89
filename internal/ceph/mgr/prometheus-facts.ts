import { utf8Text } from '../../base/bytes.ts';
import type { CommandResult } from '../client/api.ts';
import type { SeenCheck } from './health-history.ts';

/** What a daemon told of itself when it started. */
export type DaemonFacts = Readonly<Record<string, string | number>>;

export interface MonFacts {
  name: string;
  rank: number;
  inQuorum: boolean;
  /** Without port. */
  address: string;
}

/** What metrics need beside statistics, from the mons. What a mon does not say is empty. */
export interface ClusterFacts {
  /** `HEALTH_OK`, …; undefined when no mon answers. */
  health: string | undefined;
  /** Severities by code. */
  checks: ReadonlyMap<string, string>;
  /** How many things a check counts. */
  counts: ReadonlyMap<string, number>;
  history: ReadonlyMap<string, SeenCheck>;
  mons: readonly MonFacts[];
  monMetadata: readonly DaemonFacts[];
  mgrMetadata: readonly DaemonFacts[];
  osdMetadata: readonly DaemonFacts[];
}

type Ask = (command: Record<string, unknown>) => Promise<CommandResult>;

async function json<T>(ask: Ask, prefix: string, empty: T): Promise<T> {
  try {
    const { code, output } = await ask({ prefix, format: 'json' });
    return code < 0 ? empty : (JSON.parse(utf8Text(output)) as T);
  } catch {
    // No mon in time, or no JSON: these metrics are missing this once.
    return empty;
  }
}

interface Health {
  status?: string;
  checks?: Record<string, { severity?: string; summary?: { count?: number } }>;
}

interface QuorumStatus {
  quorum?: number[];
  monmap?: { mons?: { rank: number; name: string; public_addr?: string }[] };
}

/** `history` is told of the checks that are raised, and gives those that were. */
export async function readFacts(
  ask: Ask,
  history: (checks: ReadonlyMap<string, string>) => Promise<ReadonlyMap<string, SeenCheck>>,
): Promise<ClusterFacts> {
  const [health, quorum, monMetadata, mgrMetadata, osdMetadata] = await Promise.all([
    json<Health>(ask, 'health', {}),
    json<QuorumStatus>(ask, 'quorum_status', {}),
    json<DaemonFacts[]>(ask, 'mon metadata', []),
    json<DaemonFacts[]>(ask, 'mgr metadata', []),
    json<DaemonFacts[]>(ask, 'osd metadata', []),
  ]);
  const checks = Object.entries(health.checks ?? {});
  const severities = new Map(checks.map(([code, { severity = '' }]) => [code, severity]));
  const inQuorum = new Set(quorum.quorum ?? []);
  return {
    health: health.status,
    checks: severities,
    counts: new Map(checks.map(([code, { summary }]) => [code, summary?.count ?? 0])),
    // What was not answered says nothing about checks.
    history: health.status === undefined ? new Map() : await history(severities),
    mons: (quorum.monmap?.mons ?? []).map(({ rank, name, public_addr = '' }) => ({
      rank,
      name,
      inQuorum: inQuorum.has(rank),
      address: public_addr.replace(/:\d+\/\d+$/, ''),
    })),
    monMetadata,
    mgrMetadata,
    osdMetadata,
  };
}
