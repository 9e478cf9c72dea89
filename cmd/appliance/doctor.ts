import { AppError } from '../../internal/base/errors.ts';
import type { Config } from '../../internal/config/config.ts';
import { runningConfig } from '../../internal/config/machine-system.ts';
import { type CheckReport, type Finding, type Result, worst } from '../../internal/doctor/check.ts';
import { examineMachine, type Repair, repair } from '../../internal/doctor/doctor-system.ts';
import { build } from './build-version.ts';
import { type CommandModule, configArguments, type OutputFormat, withExamples, withOutput } from './command.ts';
import { type ExitCode, exitCodes } from './exit-codes.ts';
import { print } from './output.ts';
import { terminal } from './terminal.ts';

export const command: CommandModule = {
  define(command) {
    withOutput(command).option(
      '--fix',
      'do what is safe of what is proposed: load modules, set kernel parameters, note the right time',
    );
    withExamples(command, [
      [
        'appliance doctor',
        'look at this machine; exit code 0: all is well, 1: something is wrong, 4: something is not as it should be',
      ],
      ['appliance doctor -o json', 'for programs: a report for each check'],
      ['appliance doctor --fix', 'also do what is safe of that'],
    ]).action((options: { output: OutputFormat; fix?: true }) =>
      doctor(runningConfig(configArguments(command)), options.output, options.fix === true),
    );
  },
};

async function doctor(config: Config, output: OutputFormat, fix: boolean): Promise<void> {
  if (fix && process.getuid?.() !== 0)
    throw new AppError('ROOT', 'doctor --fix must be started by root', { hint: 'start it with sudo' });
  const options = { config, builtMs: build.timeMs };
  let checks = await examineMachine(options);
  const repairs = fix ? await repair(checks) : [];
  if (repairs.some(({ done }) => done !== undefined)) checks = await examineMachine(options);
  const result = worst(checks.map((check) => check.result));
  print(output, { result, checks, ...(fix ? { repairs } : {}) }, () =>
    doctorText(checks, repairs, terminal(process.stdout).color),
  );
  process.exit(exitCodes[byResult[result]].code);
}

const byResult: Readonly<Record<Result, ExitCode>> = { ok: 'ok', unknown: 'ok', warn: 'warned', fail: 'failed' };

const marks: Readonly<Record<Result, { word: string; color: string }>> = {
  ok: { word: 'ok  ', color: '32' },
  warn: { word: 'warn', color: '33' },
  fail: { word: 'FAIL', color: '31' },
  unknown: { word: '?   ', color: '36' },
};

/** The table for people: a line a finding; below what is not well, why it matters and what to do. */
export function doctorText(checks: readonly CheckReport[], repairs: readonly Repair[], color: boolean): string {
  const width = Math.max(...checks.map(({ title }) => title.length));
  const mark = (result: Result): string => {
    const { color: code, word } = marks[result];
    return color ? `\x1b[${code}m${word}\x1b[0m` : word;
  };
  const indent = ' '.repeat(width + 8);
  const lines = checks.flatMap(({ findings, title, why }) => {
    const bad = ({ result }: Finding): boolean => result === 'warn' || result === 'fail';
    return findings.flatMap((finding, index) => {
      const { fix, result, text } = finding;
      const own = [`${mark(result)}  ${(index === 0 ? title : '').padEnd(width)}  ${text}`];
      // Once a check, however much of it is not well.
      if (finding === findings.find(bad)) own.push(`${indent}why: ${why}`);
      if (result !== 'ok' && fix !== undefined) own.push(`${indent}fix: ${fix}`);
      return own;
    });
  });
  for (const { done, error } of repairs) lines.push(done === undefined ? `could not: ${error}` : `done: ${done}`);
  const count = (result: Result): number =>
    checks.flatMap(({ findings }) => findings).filter((one) => one.result === result).length;
  lines.push('', `${count('fail')} fail, ${count('warn')} warn, ${count('unknown')} unknown, ${count('ok')} ok`);
  return lines.join('\n');
}
