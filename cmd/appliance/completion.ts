import { Argument, type Command } from 'commander';
import { type CommandModule, suggestions, withExamples } from './command.ts';
import { type CompletionPlace, completionScript, shells } from './completion-script.ts';

export const command: CommandModule = {
  define(command) {
    command.addArgument(new Argument('<shell>', 'the shell that is to complete').choices(shells));
    withExamples(command, [
      ['source <(appliance completion bash)', 'for this shell; put it into ~/.bashrc for all'],
      ['appliance completion zsh > ~/.zfunc/_appliance', 'in a directory of $fpath'],
      ['appliance completion fish > ~/.config/fish/completions/appliance.fish', 'for good'],
    ]).action(async (shell: (typeof shells)[number]) => {
      process.stdout.write(completionScript(shell, await completionPlaces(command.parent!)));
    });
  },
};

/** Every place of the command line, from the commands as they are defined. */
export async function completionPlaces(root: Command): Promise<CompletionPlace[]> {
  const { commands } = await import('./commands.ts');
  const listed = commands.filter(({ group }) => group !== undefined);
  for (const row of listed) {
    const command = root.commands.find((one) => one.name() === row.name);
    if (command && row.name !== 'completion') (await row.load()).command.define(command);
  }
  const global = root.options.filter(({ long }) => long !== '--version');
  const visit = (command: Command, place: string): CompletionPlace[] => {
    const subs = command.commands.filter(
      (sub) => sub !== undefined && (place !== '' || listed.some(({ name }) => name === sub.name())),
    );
    const argument = command.registeredArguments[0]?.argChoices ?? suggestions.get(command) ?? [];
    return [
      {
        place,
        words: [
          ...subs.map((sub) => ({ word: sub.name(), about: sub.summary() || sub.description() })),
          ...argument.map((word) => ({ word, about: '' })),
        ],
        options: [...command.options, ...(place === '' ? [] : global)].map((option) => ({
          names: [option.short, option.long].filter((name) => name !== undefined),
          about: option.description,
          value: takenValue(option),
        })),
      },
      ...subs.flatMap((sub) => visit(sub, place === '' ? sub.name() : `${place} ${sub.name()}`)),
    ];
  };
  return visit(root, '');
}

/** What follows an option, by its placeholder: `<file>`, `<path>`, `<debug|info>`. */
function takenValue({
  flags,
  argChoices,
  required,
}: Command['options'][number]): CompletionPlace['options'][number]['value'] {
  if (argChoices) return argChoices;
  if (!required) return 'none';
  const placeholder = /<(.+)>/.exec(flags)?.[1] ?? '';
  if (placeholder === 'file' || placeholder === 'path') return 'file';
  return placeholder.includes('|') ? placeholder.split('|') : 'any';
}
