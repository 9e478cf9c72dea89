import type { PastOp } from './op-history.ts';
import type { Command, CommandArguments, CommandTarget, Parameter } from './command-target.ts';

const filters: Parameter = { name: 'filterstr', type: 'CephString', n: 'N', req: 'false' };

/** Microseconds and the zone, as upstream writes a moment. */
function momentText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 23)}000+0000`;
}

/** Only those whose description has one of the words that were given. */
function wanted(args: CommandArguments): (description: string) => boolean {
  const words = Array.isArray(args.filterstr) ? args.filterstr.map(String) : [];
  return (description) => words.length === 0 || words.some((word) => description.includes(word));
}

function pastOps(ops: readonly PastOp[], nowMs: number, args: CommandArguments): Record<string, unknown>[] {
  return ops.filter(({ description }) => wanted(args)(description)).map((op) => pastOp(op, nowMs));
}

function pastOp({ description, initiatedAtMs, durationMs, stage }: PastOp, nowMs: number): Record<string, unknown> {
  const initiated = momentText(initiatedAtMs);
  const duration = durationMs / 1000;
  const events = [
    { event: 'initiated', time: initiated, duration: 0 },
    { event: 'done', time: momentText(initiatedAtMs + durationMs), duration },
  ];
  const age = (nowMs - initiatedAtMs) / 1000;
  return { description, initiated_at: initiated, age, duration, type_data: { flag_point: stage, events } };
}

/** Requests not answered yet; `blocked`: for longer than the complaint time. */
function openOps(target: CommandTarget, args: CommandArguments, blocked: boolean): Record<string, unknown> {
  const { osd, clock } = target;
  const leastMs = blocked ? target.settings.options.opComplaintTime * 1000 : 0;
  const ops: Record<string, unknown>[] = [];
  for (const { request, ageMs } of osd.openRequests()) {
    const description = request.describe();
    if (ageMs < leastMs || !wanted(args)(description)) continue;
    const initiated = momentText(clock.now() - ageMs);
    ops.push({
      description,
      initiated_at: initiated,
      age: ageMs / 1000,
      duration: ageMs / 1000,
      type_data: { flag_point: request.stage, events: [{ event: 'initiated', time: initiated, duration: 0 }] },
    });
  }
  return blocked ? { ops, complaint_time: leastMs / 1000, num_blocked_ops: ops.length } : { ops, num_ops: ops.length };
}

function historic(target: CommandTarget, args: CommandArguments, byDuration: boolean): Record<string, unknown> {
  const { osd, clock } = target;
  const { opHistorySize: size, opHistoryDuration: duration } = target.settings.options;
  const slowest = [...osd.opHistory.slowest(clock.monotonic())];
  const shown = byDuration ? slowest : slowest.sort((a, b) => a.initiatedAtMs - b.initiatedAtMs);
  return { size, duration, ops: pastOps(shown, clock.now(), args) };
}

/** What clients are waiting for, and have been. */
export const opCommands: readonly Command[] = [
  ...['dump_ops_in_flight', 'ops'].map(
    (name): Command => ({
      sig: [name, filters],
      help: 'requests that are not answered yet',
      perm: 'r',
      run: (t, args) => openOps(t, args, false),
    }),
  ),
  {
    sig: ['dump_blocked_ops', filters],
    help: 'requests that have waited for long',
    perm: 'r',
    run: (t, args) => openOps(t, args, true),
  },
  {
    sig: ['dump_historic_ops', filters],
    help: 'the slowest requests of the last minutes, in their order',
    perm: 'r',
    run: (t, args) => historic(t, args, false),
  },
  {
    sig: ['dump_historic_ops_by_duration', filters],
    help: 'the slowest requests of the last minutes, slowest first',
    perm: 'r',
    run: (t, args) => historic(t, args, true),
  },
  {
    sig: ['dump_historic_slow_ops', filters],
    help: 'requests of the last minutes that took longer than a threshold',
    perm: 'r',
    run: (t, args) => {
      const { opHistorySlowOpSize, opHistorySlowOpThreshold } = t.settings.options;
      return {
        'num to keep': opHistorySlowOpSize,
        'threshold to keep': opHistorySlowOpThreshold,
        Ops: pastOps(t.osd.opHistory.slow(t.clock.monotonic()), t.clock.now(), args),
      };
    },
  },
  {
    sig: ['objecter_requests'],
    help: 'requests to other OSDs: an OSD sends none as a client',
    perm: 'r',
    run: () => ({ ops: [], linger_ops: [], pool_ops: [], pool_stat_ops: [], statfs_ops: [], command_ops: [] }),
  },
];
