import { readdirSync } from 'node:fs';
import type { Cluster } from '../../store/api.ts';
import { recordedLines } from '../crush/recorded.testing.ts';
import type { OsdMap } from '../maps/osdmap.ts';
import { decodeOsdMap } from '../maps/osdmap-codec.ts';
import type { LoadedState } from './load.ts';
import type { MonGroup } from './quorum/group.ts';
import type { MonState } from './state.ts';

/** A run of a command against a real 16.2.15 cluster. */
export interface Run {
  argv: string[];
  format: 'plain' | 'json';
  rc: number;
  stdout: string;
  stderr: string;
}

/** The recordings. */
export const recordedRoot = new URL('../../../../shared/data/ceph-16.2.15/', import.meta.url).pathname;

export function runsOf(file: string): Run[] {
  const name = readdirSync(`${recordedRoot}commands`).find((entry) => entry.startsWith(`${file}.`));
  return name === undefined ? [] : recordedLines<Run>(`commands/${name}`);
}

/** What the mon answered: the tool prints an empty line before JSON. */
export function answerOf(run: Run): string {
  return run.format === 'json' ? run.stdout.replace(/^\n/, '') : run.stdout;
}

export function findRun(runs: readonly Run[], command: string, format: 'plain' | 'json'): Run | undefined {
  return runs.find((run) => run.argv.join(' ') === `ceph ${command}` && run.format === format && run.rc === 0);
}

interface Row {
  prefix: string;
  key: string;
  hex: string;
}

/** Every OSDMap of the recorded cluster that the commands were run on, by epoch. */
export function recordedMaps(): Map<number, OsdMap> {
  const out = new Map<number, OsdMap>();
  for (const { prefix, key, hex } of recordedLines<Row>('maps/monstore-c1.jsonl.gz')) {
    const epoch = prefix === 'osdmap' ? /^full_(\d+)$/.exec(key)?.[1] : undefined;
    if (epoch !== undefined) out.set(Number(epoch), decodeOsdMap(Buffer.from(hex, 'hex')));
  }
  return out;
}

/** A mon without others. */
export const soleGroup: MonGroup = {
  leads: true,
  alone: true,
  confirm: () => Promise.resolve(),
  ask: () => Promise.reject(new Error('there is nobody to ask')),
  cluster: { term: 1, memberId: 1n, leaderId: 1n, members: () => [] } as unknown as Cluster,
};

export function loadedOf(state: MonState): LoadedState {
  return { state, revision: 1, committed: 0 };
}
