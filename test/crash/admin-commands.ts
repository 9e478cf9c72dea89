import { join } from 'node:path';
import type { TestNode } from '../e2e/harness.ts';
import { lines } from '../lines.ts';

/** Commands to mons and manager over one connection, which lasts through their restarts: starting Debian's `ceph` takes a second of the machine each time. */
export class AdminCommands {
  readonly #child: Bun.Subprocess<'pipe', 'pipe', 'ignore'>;
  readonly #lines: AsyncGenerator<string>;
  #last: Promise<unknown> = Promise.resolve();

  constructor(node: TestNode) {
    this.#child = Bun.spawn(node.inside('/usr/bin/python3', join(import.meta.dirname, 'commands.py'), node.cephConf), {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'ignore',
      cwd: '/',
    });
    this.#lines = lines(this.#child.stdout);
  }

  mon<T>(prefix: string, args: Readonly<Record<string, unknown>> = {}): Promise<T> {
    return this.#carryOut('mon', prefix, args);
  }

  mgr<T>(prefix: string, args: Readonly<Record<string, unknown>> = {}): Promise<T> {
    return this.#carryOut('mgr', prefix, args);
  }

  /** One after the other. */
  #carryOut<T>(where: 'mon' | 'mgr', prefix: string, args: Readonly<Record<string, unknown>>): Promise<T> {
    const answer = this.#last.then(async () => {
      this.#child.stdin.write(`${where} ${JSON.stringify({ prefix, format: 'json', ...args })}\n`);
      await this.#child.stdin.flush();
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`${prefix}: the process that carries out commands has ended`);
      const [, code, text] = /^(-?\d+) (.*)$/s.exec(value)!;
      if (code !== '0') throw new Error(`${prefix}: error ${code}: ${text}`);
      return JSON.parse(text!) as T;
    });
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  end(): void {
    this.#child.kill('SIGKILL');
  }
}
