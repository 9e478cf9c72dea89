import { utf8Text } from '../../../base/bytes.ts';
import { Refusal } from '../../mon/errno.ts';
import { pyDumps } from '../format/python.ts';
import type { SeenCheck } from '../health-history.ts';
import type { MgrHandler } from './context.ts';

const kib = 1024;

/** `to_pretty_iec` of upstream's modules: whole units, the next one from ten of it on. */
function prettyIec(n: number): string {
  for (const [power, suffix] of [
    [6, 'Ei'],
    [5, 'Pi'],
    [4, 'Ti'],
    [3, 'Gi'],
    [2, 'Mi'],
    [1, 'Ki'],
  ] as const)
    if (n > 10 * kib ** power) return `${Math.floor(n / kib ** power)} ${suffix}`;
  return `${n} `;
}

function prettyRow(cells: readonly string[], width: number): string {
  const each = Math.floor(width / cells.length);
  return `|${cells.map((cell) => `${cell.padStart(each - 2)} |`).join('')}`;
}

function prettyHeader(cells: readonly string[], width: number): string {
  const each = Math.floor(width / cells.length);
  const line = `+${`${'-'.repeat(Math.max(0, each - 1))}+`.repeat(cells.length)}\n`;
  return `${line}${prettyRow(cells, width)}\n${line}`;
}

const iostatColumns = ['Read', 'Write', 'Total', 'Read IOPS', 'Write IOPS', 'Total IOPS'];
const maxWidth = 1000;

/** One line of what clients do; the `ceph` tool asks for one every second. */
const iostat: MgrHandler = ({ stats }, args) => {
  const { sums, seconds } = stats.rates.window();
  const whole = Math.floor(seconds);
  const per = (n: number): number => (whole > 0 ? Math.floor(n / whole) : 0);
  const read = per(Math.floor(sums.readBytes / kib)) * kib;
  const write = per(Math.floor(sums.writeBytes / kib)) * kib;
  const [readOps, writeOps] = [per(sums.readOps), per(sums.writeOps)];
  const width = Math.max(0, Math.min(args.optionalNumber('width') ?? 80, maxWidth));
  const cells = [
    ...[read, write, read + write].map((n) => `${prettyIec(n)}B/s`),
    ...[readOps, writeOps, readOps + writeOps].map(String),
  ];
  return {
    output: `${args.flag('print_header') ? prettyHeader(iostatColumns, width) : ''}${prettyRow(cells, width)}\n`,
  };
};

/** `2026/11/29 21:09:02`, UTC. */
function seenAt(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 19).replaceAll('-', '/').replace('T', ' ');
}

function historyText(checks: readonly SeenCheck[]): string {
  if (checks.length === 0) return 'No healthchecks have been recorded\n';
  const line = (name: string, first: string, last: string, count: string, active: string): string => {
    const left = Math.floor((6 - active.length) / 2);
    const centred = `${' '.repeat(Math.max(0, left))}${active}`.padEnd(6);
    return `${name.padEnd(24)}  ${first.padEnd(20)}  ${last.padEnd(20)}  ${count.padStart(5)}  ${centred}\n`;
  };
  const rows = [...checks]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((c) => line(c.name, seenAt(c.first_seen), seenAt(c.last_seen), String(c.count), c.active ? 'Yes' : 'No'));
  const head = line('Healthcheck Name', 'First Seen (UTC)', 'Last seen (UTC)', 'Count', 'Active');
  return `${head}${rows.join('')}${checks.length} health check(s) listed\n`;
}

/** What looks after the cluster from outside asks for: rates, targets for Prometheus, and which health checks there were. */
export const monitoringAnswers: Readonly<Record<string, MgrHandler>> = {
  iostat,
  'prometheus file_sd_config': async ({ metricsPort, mon }) => {
    const { code, output, status } = await mon({ prefix: 'mgr metadata', format: 'json' });
    if (code < 0) throw new Refusal(-code, status);
    const mgrs = JSON.parse(utf8Text(output)) as Record<string, string>[];
    // Addresses where upstream has names of hosts: metrics are served on this address only, whatever the name leads to.
    const targets = mgrs.map(({ addr, hostname }) => `${addr ?? hostname ?? ''}:${metricsPort}`);
    return { output: `${pyDumps([{ targets, labels: {} }])}\n` };
  },
  'healthcheck history ls': async ({ history }, _args, format) => {
    const all = await history.all();
    if (format === 'plain') return { output: historyText([...all.values()]) };
    const checks = Object.fromEntries(all);
    return { output: `${format === 'json' ? pyDumps(checks) : JSON.stringify(checks, null, 2)}\n` };
  },
  'healthcheck history clear': async ({ history }) => {
    await history.clear();
    return { output: 'healthcheck history cleared\n' };
  },
};
