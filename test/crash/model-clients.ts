import { join } from 'node:path';
import { until, type TestNode } from '../e2e/harness.ts';
import type { History } from './history.ts';

const minute = 60_000;

/** Gets every line of the clients, for those who want to know how it came to what is wrong. */
const logFile = process.env.FAULT_LOG === undefined ? undefined : Bun.file(process.env.FAULT_LOG).writer();

interface Process {
  child: Bun.Subprocess<'pipe', 'pipe', 'pipe'>;
  read: Promise<void>;
  /** Numbers of commands that were carried out. */
  done: Set<string>;
  errors: string;
}

/** Processes of `model_load.py`, one on each of some machines; what they see goes into the history. */
export class ModelClients {
  readonly #nodes: readonly TestNode[];
  readonly #history: History;
  readonly #pools: readonly string[];
  #processes: Process[] = [];
  #commands = 0;
  #lives = 0;
  #logs: string[] = [];

  constructor(nodes: readonly TestNode[], pools: readonly string[], history: History) {
    this.#nodes = nodes;
    this.#pools = pools;
    this.#history = history;
  }

  start(seed: number): void {
    this.#lives++;
    const script = join(import.meta.dirname, 'model_load.py');
    this.#processes = this.#nodes.map((node, n) => {
      const argv = [
        '/usr/bin/python3',
        script,
        node.cephConf,
        String(n),
        String(this.#nodes.length),
        `${seed}-${this.#lives}`,
      ];
      const child = Bun.spawn(node.inside(...argv, ...this.#pools), {
        stdin: 'pipe',
        stdout: 'pipe',
        stderr: 'pipe',
        cwd: '/',
      });
      const one: Process = { child, read: Promise.resolve(), done: new Set(), errors: '' };
      void new Response(child.stderr).text().then((text) => {
        one.errors = text;
      });
      one.read = this.#read(one);
      // Each is told of all objects: it takes what is its own.
      for (const [name, tried] of this.#history.tried()) child.stdin.write(`${name} ${tried}\n`);
      child.stdin.write('\n');
      void child.stdin.flush();
      return one;
    });
  }

  async #read(one: Process): Promise<void> {
    let rest = '';
    const decoder = new TextDecoder();
    for await (const chunk of one.child.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop()!;
      for (const line of lines) void logFile?.write(`${line}\n`);
      for (const line of lines)
        if (/^[SQ] /.test(line)) one.done.add(line.split(' ')[1]!);
        else this.#history.line(line);
    }
  }

  async kill(): Promise<void> {
    for (const { child } of this.#processes) child.kill('SIGKILL');
    await Promise.all(this.#processes.map(({ read }) => read));
  }

  #tell(one: Process, line: string): void {
    one.child.stdin.write(`${line}\n`);
    void one.child.stdin.flush();
  }

  async #command(what: string, processes = this.#processes, argument = ''): Promise<void> {
    const number = String(++this.#commands);
    for (const one of processes) this.#tell(one, `${what} ${number} ${argument}`);
    await until(`the clients carry out ${what} ${argument}`, 2 * minute, () =>
      Promise.resolve(
        processes.every((one) => {
          if (one.child.exitCode !== null) throw new Error(`a client's process ended: ${one.errors}`);
          return one.done.has(number);
        }),
      ),
    );
  }

  /** Every client reads every object. */
  sweep(): Promise<void> {
    return this.#command('sweep');
  }

  /** From now on all append to this object, too. */
  appendTo(name: string): void {
    this.#logs.push(name);
    for (const one of this.#processes) this.#tell(one, `log ${name}`);
  }

  /**
   * All that is under way ends. Then every client reads every object: with no write under way there is one right answer. Data, xattr and omap of every object are one version; the
   * common objects hold every record.
   */
  async quiet(): Promise<void> {
    await this.#command('quiet');
    await this.sweep();
    await this.#command('verify');
    for (const name of this.#logs.splice(0)) await this.#command('check', this.#processes.slice(0, 1), name);
  }

  go(): void {
    for (const one of this.#processes) this.#tell(one, 'go');
  }
}
