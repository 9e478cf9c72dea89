import type { Command } from 'commander';
import { explain } from '../../internal/config/explain.ts';
import { jsonSchema } from '../../internal/config/json-schema.ts';
import {
  checkedConfig,
  type ConfigProblem,
  type EffectiveValue,
  originText,
  problemText,
} from '../../internal/config/load.ts';
import { configSources, evaluateHere } from '../../internal/config/machine-system.ts';
import { keyPaths, sections } from '../../internal/config/keys.ts';
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
    withExamples(schema, [
      ['appliance config schema > appliance.schema.json', 'then put this on the first line of the file:'],
      ['# yaml-language-server: $schema=appliance.schema.json', 'editors with YAML support complete and check it'],
    ]).action(() => console.log(JSON.stringify(jsonSchema(), undefined, 2)));

    const about = config
      .command('explain')
      .argument('[key]', 'a key such as cluster.podCIDR, or a section such as storage')
      .description('Tell what a key means, what it takes, its default, its variable and flag.');
    suggestions.set(about, [...keyPaths, ...Object.keys(sections)]);
    withExamples(about, [
      ['appliance config explain', 'all keys, a line each'],
      ['appliance config explain storage.osd', 'everything about one'],
    ]).action((key: string | undefined) => void process.stdout.write(explain(key)));
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
