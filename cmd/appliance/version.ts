import { build, buildVersion } from './build-version.ts';
import { type CommandModule, type OutputFormat, withExamples, withOutput } from './command.ts';

export const command: CommandModule = {
  define(command) {
    withExamples(withOutput(command), [['appliance version -o json', 'version, commit and platform apart']]).action(
      (options: { output: OutputFormat }) => printVersion(options.output),
    );
  },
};

export async function printVersion(format: OutputFormat): Promise<void> {
  if (format === 'table') console.log(`appliance ${buildVersion()}`);
  else (await import('./output.ts')).print(format, { ...build, bun: process.versions.bun }, buildVersion);
}
