import { AppError } from '../base/errors.ts';
import type { Config } from '../config/config.ts';
import type { FactName, Facts } from './facts.ts';

export type Result = 'ok' | 'warn' | 'fail' | 'unknown';

/** Something that `--fix` may do: it can be undone, and loses nothing. */
export type Remedy =
  | { readonly do: 'modprobe'; readonly module: string }
  | { readonly do: 'sysctl'; readonly name: string; readonly value: string }
  | { readonly do: 'note-time'; readonly dataDir: string };

/** What a check found. */
export interface Finding {
  readonly result: Result;
  /** One sentence with the values. */
  readonly text: string;
  /** What the user does about it: commands, or lines of files. */
  readonly fix?: string;
  readonly remedy?: Remedy;
}

export interface Check {
  /** Stable, for programs. */
  readonly id: string;
  readonly title: string;
  /** Why it matters, one sentence. */
  readonly why: string;
  /** The facts that it asks for; nothing else is collected when it runs alone. */
  readonly needs: readonly FactName[];
  /** A node does not start while this fails. */
  readonly blocking?: true;
  /** Whether it matters on a node with this configuration; always, if absent. */
  concerns?(config: Config): boolean;
  /** One finding, or one for each thing of its kind. */
  evaluate(facts: Facts, config: Config): Finding | readonly Finding[];
}

export interface CheckReport {
  readonly id: string;
  readonly title: string;
  readonly why: string;
  readonly result: Result;
  readonly findings: readonly Finding[];
}

const rank: Readonly<Record<Result, number>> = { ok: 0, unknown: 1, warn: 2, fail: 3 };

export function worst(results: readonly Result[]): Result {
  return results.reduce<Result>((most, one) => (rank[one] > rank[most] ? one : most), 'ok');
}

/** Evaluates those checks that matter with this configuration. */
export function examine(checks: readonly Check[], facts: Facts, config: Config): CheckReport[] {
  return checks
    .filter((check) => check.concerns?.(config) ?? true)
    .map((check) => {
      const found = check.evaluate(facts, config);
      const findings = Array.isArray(found) ? (found as readonly Finding[]) : [found as Finding];
      const { id, title, why } = check;
      return { id, title, why, result: worst(findings.map(({ result }) => result)), findings };
    });
}

export const ok = (text: string): Finding => ({ result: 'ok', text });
export const warn = (text: string, fix?: string, remedy?: Remedy): Finding => finding('warn', text, fix, remedy);
export const fail = (text: string, fix?: string, remedy?: Remedy): Finding => finding('fail', text, fix, remedy);
export const unknown = (text: string, fix?: string): Finding => finding('unknown', text, fix);

function finding(result: Result, text: string, fix?: string, remedy?: Remedy): Finding {
  return { result, text, ...(fix === undefined ? {} : { fix }), ...(remedy === undefined ? {} : { remedy }) };
}

/** What keeps a node from starting: AppError ROOT or PREFLIGHT with everything that failed; undefined when nothing did. */
export function refusal(reports: readonly CheckReport[]): AppError | undefined {
  const failed = reports.flatMap(({ findings, id }) =>
    findings.filter(({ result }) => result === 'fail').map((finding) => ({ ...finding, id })),
  );
  const [first] = failed;
  if (first === undefined) return undefined;
  const code = failed.some(({ id }) => id === 'root') ? 'ROOT' : 'PREFLIGHT';
  if (failed.length === 1) return new AppError(code, first.text, first.fix === undefined ? {} : { hint: first.fix });
  // Of several, each has its way out below it.
  return new AppError(code, failed.map(({ fix, text }) => (fix === undefined ? text : `${text}\n  ${fix}`)).join('\n'));
}
