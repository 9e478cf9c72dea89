import { createHash } from 'node:crypto';
import { utf8, utf8Text } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import type { HealthCheckDigest } from '../wire/messages/mgr_mon.ts';
import type { ModuleOptions, MonCommand } from './module-options.ts';

/** What a daemon or `ceph-crash` says of a crash. */
export interface CrashReport {
  readonly crash_id: string;
  /** UTC, `2018-06-22T20:35:38.058818Z`. */
  readonly timestamp: string;
  readonly entity_name?: string;
  readonly utsname_hostname?: string;
  readonly process_name?: string;
  readonly archived?: string;
  readonly [field: string]: unknown;
}

/** Where reports are kept, as upstream's module keeps them: beside the mons' state, for whichever mgr is active. */
const prefix = 'mgr/crash/crash/';
const daySec = 86_400;
const warnedMax = 30;

/** Milliseconds since the epoch. Throws TypeError. */
export function crashTime(timestamp: string): number {
  const match = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?Z?$/.exec(timestamp);
  const ms =
    match === null
      ? Number.NaN
      : Date.parse(`${match[1]}T${match[2]}.${(match[3] ?? '0').padEnd(3, '0').slice(0, 3)}Z`);
  if (Number.isNaN(ms)) throw new TypeError(`time data '${timestamp}' does not match format '%Y-%m-%dT%H:%M:%S.%f'`);
  return ms;
}

/** A report from what was posted. Throws an Error that says what is wrong with it. */
export function parseCrash(text: string): CrashReport {
  const value = JSON.parse(text) as unknown;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError('no JSON object');
  const report = value as Record<string, unknown>;
  for (const field of ['crash_id', 'timestamp'])
    if (typeof report[field] !== 'string') throw new TypeError(`missing '${field}' field`);
  crashTime(report.timestamp as string);
  if (!/^[\w.:+-]{1,128}$/.test(report.crash_id as string)) throw new TypeError('crash_id is no id');
  const { backtrace } = report;
  if (!Array.isArray(backtrace)) return report as CrashReport;
  return { ...report, stack_sig: signature(backtrace.map(String), report.assert_msg) } as unknown as CrashReport;
}

/** The same for crashes at the same place: names of functions, and an assertion without thread, time and line. */
function signature(backtrace: readonly string[], assertion: unknown): string {
  const hash = createHash('sha256');
  for (const line of backtrace) {
    const at = line.lastIndexOf(' ');
    hash.update((at < 0 ? line : line.slice(0, at)).slice(1, -1).split('+')[0]!);
  }
  const parts = typeof assertion === 'string' ? /^(.*) thread .* time .*(: .*)\n/s.exec(assertion) : null;
  if (parts !== null) hash.update(parts[1]! + parts[2]!);
  return hash.digest('hex');
}

/** The reports of crashes (upstream's module crash). */
export class Crashes {
  readonly #mon: MonCommand;
  readonly #options: ModuleOptions;
  #reports: Map<string, CrashReport> | undefined;

  constructor(options: ModuleOptions, mon: MonCommand) {
    this.#options = options;
    this.#mon = mon;
  }

  /** Read once: only the active mgr changes them. Errors: MON. */
  async all(): Promise<Map<string, CrashReport>> {
    if (this.#reports !== undefined) return this.#reports;
    const output = await this.#ask({ prefix: 'config-key dump', key: prefix, format: 'json' });
    const reports = new Map<string, CrashReport>();
    for (const [key, text] of Object.entries(JSON.parse(utf8Text(output)) as Record<string, string>)) {
      try {
        const report = JSON.parse(text) as CrashReport;
        crashTime(report.timestamp);
        reports.set(key.slice(prefix.length), report);
      } catch {
        // Somebody else's entry: it is left where it is.
      }
    }
    this.#reports ??= reports;
    return this.#reports;
  }

  async keep(report: CrashReport): Promise<void> {
    const all = await this.all();
    await this.#ask({ prefix: 'config-key set', key: prefix + report.crash_id }, utf8(JSON.stringify(report)));
    all.set(report.crash_id, report);
  }

  async remove(id: string): Promise<void> {
    const all = await this.all();
    if (!all.has(id)) return;
    await this.#ask({ prefix: 'config-key rm', key: prefix + id });
    all.delete(id);
  }

  async #ask(command: Record<string, unknown>, input?: Uint8Array): Promise<Uint8Array> {
    const { code, output, status } = await this.#mon(command, input);
    if (code < 0) throw new AppError('MON', `${String(command.prefix)}: ${status}`);
    return output;
  }

  /** Recent ones that nobody has archived; none while they have not been read. */
  checks(nowMs: number): HealthCheckDigest[] {
    const recentSec = this.#options.number('crash', 'warn_recent_interval', 14 * daySec);
    const recent = [...(this.#reports?.values() ?? [])].filter(
      ({ archived, timestamp }) => archived === undefined && crashTime(timestamp) > nowMs - recentSec * 1000,
    );
    if (recent.length === 0) return [];
    const lines = recent
      .slice(0, warnedMax)
      .map(
        ({ entity_name: entity = 'unidentified daemon', utsname_hostname: host = '(unknown)', timestamp }) =>
          `${entity} crashed on host ${host} at ${timestamp}`,
      );
    if (recent.length > warnedMax) lines.push(`and ${recent.length - warnedMax} more`);
    const summary = `${recent.length} daemons have recently crashed`;
    return [{ code: 'RECENT_CRASH', severity: 'HEALTH_WARN', summary, count: recent.length, detail: lines }];
  }

  /** Forgets those that are older. */
  async prune(olderThanMs: number): Promise<void> {
    for (const [id, { timestamp }] of [...(await this.all())])
      if (crashTime(timestamp) <= olderThanMs) await this.remove(id);
  }

  /** How long they are kept, in milliseconds. */
  get keptMs(): number {
    return this.#options.number('crash', 'retain_interval', 365 * daySec) * 1000;
  }
}
