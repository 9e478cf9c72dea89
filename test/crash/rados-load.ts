import { join } from 'node:path';
import { root, run, type TestNode } from '../e2e/harness.ts';

/** What each object is known to hold: the newest acknowledged and the newest tried version. */
export type ObjectVersions = Map<string, { acked: number; tried: number }>;

const python = '/usr/bin/python3';
const script = join(root, 'test/crash/rados_load.py');

/** Writes objects by librados until it is stopped; keeps `objects` up to date. */
export class RadosLoad {
  readonly #child: { kill(signal: 'SIGKILL'): void };
  readonly #done: Promise<void>;
  acks = 0;

  constructor(node: TestNode, pool: string, seed: number, objects: ObjectVersions) {
    const child = Bun.spawn(node.inside(python, script, node.cephConf, pool, 'write', String(seed)), {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'pipe',
    });
    for (const [name, { tried }] of objects) child.stdin.write(`${name} ${tried}\n`);
    void child.stdin.end();
    this.#child = child;
    this.#done = (async () => {
      let rest = '';
      const decoder = new TextDecoder();
      for await (const chunk of child.stdout) {
        const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
        rest = lines.pop()!;
        for (const line of lines) {
          const [what, name, version] = line.split(' ') as [string, string, string];
          const object = objects.get(name) ?? { acked: 0, tried: 0 };
          if (what === 'try') object.tried = Math.max(object.tried, Number(version));
          else {
            object.acked = Math.max(object.acked, Number(version));
            this.acks++;
          }
          objects.set(name, object);
        }
      }
    })();
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#done;
  }
}

/** Throws when an object is lost, older than acknowledged, damaged or torn. */
export async function verifyObjects(node: TestNode, pool: string, objects: ObjectVersions): Promise<void> {
  const input = [...objects].map(([name, { acked, tried }]) => `${name} ${acked} ${tried}\n`).join('');
  const output = await run(node.inside(python, script, node.cephConf, pool, 'verify'), { input, timeoutMs: 120_000 });
  if (output.code !== 0) throw new Error(`LOST: ${output.stdout}${output.stderr}`);
}
