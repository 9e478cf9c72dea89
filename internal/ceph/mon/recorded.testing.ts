import { readdirSync } from 'node:fs';
import { recordedLines } from '../crush/recorded.testing.ts';
import type { OsdMap } from '../maps/osdmap.ts';
import { decodeOsdMap } from '../maps/osdmap-codec.ts';

/** A run of a command against a real 16.2.15 cluster. */
export interface Run {
  argv: string[];
  format: 'plain' | 'json';
  rc: number;
  stdout: string;
  stderr: string;
}

const root = new URL('../../../../shared/data/ceph-16.2.15/', import.meta.url).pathname;

export function runsOf(file: string): Run[] {
  const name = readdirSync(`${root}commands`).find((entry) => entry.startsWith(`${file}.`));
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
