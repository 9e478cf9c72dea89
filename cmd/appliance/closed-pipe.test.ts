import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runProgram } from './source.testing.ts';
import { exitCodes } from './exit-codes.ts';

/** Output that nobody reads to its end, over real pipes; the command line from the source. */

const main = join(import.meta.dirname, 'main.ts');

test.each([['completion fish'], ['config explain -o yaml'], ['status --watch 0.5 -o json'], ['status --watch 0.5']])(
  '%s | true: it ends quietly, as tools do that SIGPIPE ends',
  async (line) => {
    // Nobody reads any more before the command has written.
    const script = `{ sleep 0.1; "$0" "$1" -c /dev/null ${line}; echo "exit $?" >&2; } | exec true`;
    const { err } = await runProgram(['sh', '-c', script, process.execPath, main]);
    expect(err).toBe(`exit ${exitCodes.unread.code}\n`);
  },
);
