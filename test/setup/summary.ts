/**
 * `summary.ts DIR FAILED`: adds up the suites' results, names what failed with the beginning of what was said, and what this machine cannot run; the last line is `N passed, N failed, N skipped`.
 * Exit 1 when anything failed.
 */
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

/** Whoever sees only the end of a long output shall see why. */
const beginning = (messages: readonly string[] = []): string =>
  messages
    .flatMap((message) => Bun.stripANSI(message).split('\n').slice(0, 25))
    .map((line) => `\n    ${line.slice(0, 300)}`)
    .join('');

const [directory, failedFlag] = process.argv.slice(2) as [string, string];
const root = join(import.meta.dirname, '../..');
const total = { passed: 0, failed: 0, skipped: 0 };
for (const name of [...new Bun.Glob('*.json').scanSync(directory)].sort()) {
  const result = JSON.parse(readFileSync(join(directory, name), 'utf8')) as {
    success: boolean;
    numPassedTests: number;
    numFailedTests: number;
    numPendingTests: number;
    testResults: {
      name: string;
      status: string;
      message?: string;
      assertionResults: { fullName: string; status: string; failureMessages?: string[] }[];
    }[];
  };
  total.passed += result.numPassedTests;
  total.failed += result.numFailedTests;
  total.skipped += result.numPendingTests;
  for (const file of result.testResults) {
    if (file.status === 'failed' && file.assertionResults.every((test) => test.status !== 'failed')) {
      total.failed += 1;
      console.log(`failed: ${file.name}: ${file.message ?? ''}`);
    }
    for (const test of file.assertionResults) {
      if (test.status === 'failed') console.log(`failed: ${test.fullName}${beginning(test.failureMessages)}`);
      // The fuzz suite picks its tests by name: what it leaves out is no lack of this machine.
      else if (test.status !== 'passed' && name !== 'fuzz.json')
        console.log(
          `skipped, because this machine lacks what it needs: ${test.fullName} (${relative(root, file.name)})`,
        );
    }
  }
}
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed > 0 || failedFlag !== '0' || total.passed === 0 ? 1 : 0);
