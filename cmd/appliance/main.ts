import { CommanderError } from 'commander';
import { AppError, errorCode } from '../../internal/base/errors.ts';
import { exitCodeOf, exitCodes } from './exit-codes.ts';
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
  if (!(error instanceof AppError)) {
    console.error('appliance: this is a defect:', error);
    process.exit(exitCodes.defect.code);
  }
  // Several mistakes stand on lines of their own, so that editors and terminals find FILE:LINE:COLUMN. What is indented belongs to the line above.
  const several = /\n\S/.test(error.message) ? 'several things are wrong:\n' : '';
  console.error(`appliance: ${several}${error.message}${error.hint ? `\n  ${error.hint}` : ''}`);
  process.exit(exitCodes[exitCodeOf(error.code)].code);
}
