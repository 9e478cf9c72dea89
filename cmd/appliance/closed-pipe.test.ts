import { join } from 'node:path';
import { expect, test } from 'vitest';
import { exitCodes } from './exit-codes.ts';

/** Output that nobody reads to its end, over real pipes; the command line from the source. */

const main = join(import.meta.dirname, 'main.ts');

test.each([['completion fish'], ['config explain -o yaml']])(
  '%s | true: it ends quietly, as tools do that SIGPIPE ends',
  (line) => {
    // Nobody reads any more before the command has written.
    const script = `{ sleep 0.1; "$0" "$1" -c /dev/null ${line}; echo "exit $?" >&2; } | exec true`;
    const { stderr } = Bun.spawnSync(['sh', '-c', script, process.execPath, main], { stdin: 'ignore' });
    expect(stderr.toString()).toBe(`exit ${exitCodes.unread.code}\n`);
  },
);
