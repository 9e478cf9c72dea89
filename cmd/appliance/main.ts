import { CommanderError } from 'commander';
import { errorCode } from '../../internal/base/errors.ts';
import { exitCodes } from './exit-codes.ts';
import { describeFailure } from './failure.ts';
import { program } from './program.ts';

process.stdout.on('error', (error) => {
  // What has to go on although nobody reads any more listens itself (`progress.ts`).
  if (process.stdout.listenerCount('error') > 1) return;
  if (errorCode(error) !== 'EPIPE') throw error;
  process.exit(exitCodes.unread.code);
});

try {
  await (await program(process.argv.slice(2))).parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? exitCodes.ok.code : exitCodes.usage.code);
  const { text, exit } = describeFailure(error, process.getuid?.() === 0);
  console.error(text);
  process.exit(exitCodes[exit].code);
}
