import type { PgHistory } from '../wire/messages/osd_pg.ts';
import { trimIntervals } from './intervals.ts';
import type { PgMeta } from './pg-meta.ts';
import { mergeScrubs } from './scrub-history.ts';

const mergedFields = [
  'lastEpochStarted',
  'lastIntervalStarted',
  'lastEpochClean',
  'lastIntervalClean',
  'lastEpochSplit',
  'lastEpochReadable',
] as const;

/** Takes over what another member knows of the PG's history; what that makes known is no longer asked for. */
export function mergeHistory(meta: PgMeta, other: PgHistory): void {
  const { history } = meta.info;
  let changed = false;
  for (const field of mergedFields)
    if (history[field] < other[field]) {
      history[field] = other[field];
      changed = true;
    }
  if (history.epochCreated === 0) history.epochCreated = other.epochCreated;
  if (mergeScrubs(history, other)) meta.touchInfo();
  if (!changed) return;
  meta.touchInfo();
  const trimmed = trimIntervals(meta.past, history);
  if (trimmed.length !== meta.past.length) {
    meta.past = trimmed;
    meta.touchPast();
  }
}
