import type { Command } from 'commander';
import { AppError } from '../../internal/base/errors.ts';
import { type KeyPath, valueAt } from '../../internal/config/config.ts';
import {
  type CurrentValues,
  explainedPaths,
  explainKey,
  explanationRows,
  explanationText,
} from '../../internal/config/explain.ts';
import { jsonSchema } from '../../internal/config/json-schema.ts';
import {
  checkedConfig,
  type ConfigProblem,
  type EffectiveValue,
  originText,
  problemText,
} from '../../internal/config/load.ts';
import { type ConfigArguments, configSources, evaluateHere } from '../../internal/config/machine-system.ts';
import { keyPaths, keys, sections } from '../../internal/config/keys.ts';
import {
  type CommandModule,
  configArguments,
  type OutputFormat,
  suggestions,
  withExamples,
  withOutput,
} from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { withKeyFlags } from './key-flags.ts';
import { columns, print } from './output.ts';

export const command: CommandModule = {
  define(config) {
    withExamples(config, [
      ['appliance config show --origin', 'every effective value and where it comes from'],
      ['appliance config validate my.yaml', 'check a file before it is used'],
      ['appliance config explain storage.osd', 'what a key takes'],
    ]);

    const show = config.command('show').description('Print the configuration that the node would start with.');
    withKeyFlags(withOutput(show, 'yaml')).option('--origin', 'tell of each value where it comes from');
    withExamples(show, [
      ['appliance config show', 'as a file with every key in it'],
      ['appliance config show --origin', 'KEY, VALUE, ORIGIN'],
      ['APPLIANCE_LOG_LEVEL=debug appliance config show --origin -o json', 'for programs'],
    ]).action((options: { output: OutputFormat; origin?: boolean }) => showConfig(show, options));

    const validate = config
      .command('validate')
      .argument('[file]', 'the file to check (default: what --config names)')
      .description('Check the configuration and tell every mistake with its place. Nothing is started or changed.');
    withKeyFlags(withOutput(validate));
    withExamples(validate, [
      ['appliance config validate', 'file, conf.d and environment of this machine'],
      ['appliance config validate my.yaml -o json', 'mistakes with file, line and column for programs'],
    ]).action((file: string | undefined, options: { output: OutputFormat }) =>
      validateConfig(validate, file, options.output),
    );

    const schema = config.command('schema').description('Print the JSON schema of the file, for editors.');
    withExamples(withOutput(schema, 'json'), [
      ['appliance config schema > appliance.schema.json', 'then put this on the first line of the file:'],
      ['# yaml-language-server: $schema=appliance.schema.json', 'editors with YAML support complete and check it'],
    ]).action(({ output }: { output: OutputFormat }) =>
      print(output, jsonSchema(), () => columns(explanationRows(keyPaths.map((path) => explainKey(path))))),
    );

    const about = config
      .command('explain')
      .argument('[key]', 'a key such as cluster.podCIDR, or a section such as storage')
      .description('Tell what a key means, its value here, what it takes, its default, its variable and flag.');
    suggestions.set(about, [...keyPaths, ...Object.keys(sections)]);
    withExamples(withOutput(about), [
      ['appliance config explain', 'all keys, a line each'],
      ['appliance config explain storage', 'those of a section, with their values here'],
      ['appliance config explain storage.osd', 'everything about one'],
    ]).action((key: string | undefined, { output }: { output: OutputFormat }) =>
      explain(configArguments(about), key, output),
    );
  },
};

/** `--origin` gives a table unless another format was asked for. */
function showConfig(command: Command, options: { output: OutputFormat; origin?: boolean }): void {
  const evaluation = evaluateHere(configSources(configArguments(command)));
  checkedConfig(evaluation);
  const asked = command.getOptionValueSource('output') !== 'default';
  const format = options.origin && !asked ? 'table' : options.output;
  const text = ({ value }: EffectiveValue): string => (typeof value === 'string' ? value : JSON.stringify(value));
  print(
    format,
    options.origin
      ? evaluation.values.map(({ path, value, origin }) => ({ key: path, value, origin: originText(origin) }))
      : evaluation.written,
    () =>
      columns([
        ['KEY', 'VALUE', ...(options.origin ? ['ORIGIN'] : [])],
        ...evaluation.values.map((one) => [one.path, text(one), ...(options.origin ? [originText(one.origin)] : [])]),
      ]),
  );
}

function validateConfig(command: Command, file: string | undefined, output: OutputFormat): void {
  const from = configArguments(command);
  const { problems } = evaluateHere(configSources(file === undefined ? from : { ...from, file }));
  print(output, problems.map(problemData), () =>
    problems.length === 0 ? 'the configuration is valid' : problems.map(problemText).join('\n'),
  );
  if (problems.length > 0) process.exit(exitCodes.usage.code);
}

function problemData({ origin, path, message }: ConfigProblem): Record<string, unknown> {
  const { from, ...place } = origin;
  return { key: path, message, from, ...place };
}

function explain(from: ConfigArguments, name: string | undefined, output: OutputFormat): void {
  const paths = explainedPaths(name);
  const current = currentValues(from);
  const all = paths.map((path) => explainKey(path, current));
  const about = name === undefined ? undefined : sections[name];
  print(output, all, () =>
    all.length === 1 && about === undefined
      ? explanationText(all[0]!)
      : [...(about === undefined ? [] : [`${name}: ${about}`, '']), columns(explanationRows(all))].join('\n'),
  );
}

/** What the keys are on this machine; undefined when nobody but root may read that: what they mean is told all the same. */
function currentValues(from: ConfigArguments): CurrentValues | undefined {
  try {
    const { config, origins, written } = evaluateHere(configSources(from));
    return (path: KeyPath) => ({
      value: keys[path].secret
        ? valueAt(config, path) === undefined
          ? undefined
          : '(hidden)'
        : valueAt(written as never, path),
      origin: originText(origins.get(path)!),
    });
  } catch (error) {
    if (error instanceof AppError) return undefined;
    throw error;
  }
}
