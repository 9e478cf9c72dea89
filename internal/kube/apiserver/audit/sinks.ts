import type { AuditSink } from './trail.ts';

/** Events go to each of several places. */
export function allSinks(sinks: readonly AuditSink[]): AuditSink {
  if (sinks.length === 1) return sinks[0]!;
  return {
    write: (line) => {
      for (const sink of sinks) sink.write(line);
    },
    counts: () => Object.assign({}, ...sinks.map((sink) => sink.counts?.() ?? {})) as Record<string, number>,
  };
}
