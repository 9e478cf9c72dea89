/** What Google Test's programs print: their tests, and how each ended. */

export type Outcome = 'passed' | 'failed' | 'skipped' | 'hung';

/** Names (`Suite.Test`) in what `--gtest_list_tests` prints. */
export function testNames(listing: string): string[] {
  const names: string[] = [];
  let suite = '';
  for (const line of listing.split('\n')) {
    const word = /^(\s*)([^\s#]+)/.exec(line);
    if (word === null) continue;
    if (word[1] === '') suite = word[2]!;
    // Lines of other kinds (a greeting, a warning of a library) are not suites.
    else if (suite.endsWith('.')) names.push(suite + word[2]!);
  }
  return names;
}

/** Follows the output of one program line by line. */
export class GtestOutput {
  readonly outcomes = new Map<string, Outcome>();
  /** What the program printed while a test that failed was running, by test. */
  readonly said = new Map<string, string[]>();
  /** The test that runs now. */
  running: string | undefined;
  #lines: string[] = [];

  line(text: string): void {
    // What a test prints without a newline stands before the mark.
    const mark = /\[ +(RUN|OK|FAILED|SKIPPED) +\] ([\w/]+\.[\w/]+)(.*)$/.exec(text);
    if (mark === null) {
      if (this.running !== undefined && this.#lines.length < 200) this.#lines.push(text);
      return;
    }
    const [, what, name, rest] = mark as unknown as [string, string, string, string];
    if (what === 'RUN') {
      this.running = name;
      this.#lines = [];
      return;
    }
    // The list at the end names failed and skipped tests again, without their time.
    if (!/\(\d+ ms\)/.test(rest)) return;
    const outcome = what === 'OK' ? 'passed' : what === 'FAILED' ? 'failed' : 'skipped';
    this.#end(name, outcome);
  }

  /** The program ended: a test that was running did not come to its end. */
  end(how: 'failed' | 'hung'): void {
    if (this.running !== undefined) this.#end(this.running, how);
  }

  #end(name: string, outcome: Outcome): void {
    this.outcomes.set(name, outcome);
    if (outcome === 'failed' || outcome === 'hung') this.said.set(name, this.#lines);
    this.running = undefined;
  }
}

/** Tests that are known not to pass, with the reason: lines `Suite.Test reason`, `*` for any characters, `#` begins a comment. */
export class KnownResults {
  readonly #entries: { pattern: RegExp; reason: string }[] = [];

  constructor(text: string) {
    for (const line of text.split('\n')) {
      const fields = /^([^\s#]+)\s+(\S.*)$/.exec(line);
      if (fields === null) continue;
      const pattern = fields[1]!.replace(/[.+?^${}()|[\]\\/]/g, '\\$&').replaceAll('*', '.*');
      this.#entries.push({ pattern: new RegExp(`^${pattern}$`), reason: fields[2]! });
    }
  }

  /** Why the test is known not to pass; undefined: it has to. */
  reason(test: string): string | undefined {
    return this.#entries.find(({ pattern }) => pattern.test(test))?.reason;
  }
}
