import { join } from 'node:path';
import { expect } from 'vitest';
import { root, type TestNode, until } from './harness.ts';

const minute = 60_000;
export const counterManifest = join(root, 'examples/counter.yaml');
export const inCounter = ['-n', 'counter'];

/** The pod of `examples/counter.yaml` on a node: it writes records to its volume and acknowledges each. */
export class Counter {
  readonly #node: TestNode;

  constructor(node: TestNode) {
    this.#node = node;
  }

  /** Numbers that it acknowledged, as its log has them. */
  async acknowledged(): Promise<number[]> {
    const log = await this.#node.mustKubectl([...inCounter, 'logs', 'counter-0', '-c', 'counter']);
    return [...log.matchAll(/^ack (\d+)$/gm)].map((match) => Number(match[1]));
  }

  /** The number of the last record that was acknowledged. A container that has just been started may have none yet. */
  lastAcknowledged(): Promise<number> {
    return until('a record is acknowledged', minute, async () => (await this.acknowledged()).at(-1));
  }

  /** Checks every record of the file in the volume: complete, in order, with the right checksum. Gives the last number. */
  async checkRecords(atLeast: number): Promise<number> {
    const text = await until('the records can be read', minute, async () => {
      const exec = [...inCounter, 'exec', 'counter-0', '-c', 'counter', '--', 'cat', '/data/records'];
      const output = await this.#node.kubectl(exec);
      return output.code === 0 && output.stdout;
    });
    const lines = text.split('\n');
    lines.pop();
    lines.forEach((line, index) => {
      const [number, time, sum] = line.split(' ');
      const expected = new Bun.CryptoHasher('sha256').update(`${number} ${time} pepper`).digest('hex');
      if (Number(number) !== index + 1 || sum !== expected)
        throw new Error(`record ${index + 1} of ${lines.length} is damaged: ${line}`);
    });
    expect(lines.length).toBeGreaterThanOrEqual(atLeast);
    return lines.length;
  }

  async ready(): Promise<void> {
    const slow = { timeoutMs: 2 * minute };
    await this.#node.mustKubectl([...inCounter, 'rollout', 'status', 'statefulset/counter', '--timeout=120s'], slow);
    await this.#node.mustKubectl(
      [...inCounter, 'wait', '--for=condition=Ready', 'pod/counter-0', '--timeout=120s'],
      slow,
    );
  }

  async restarts(): Promise<number> {
    const path = 'jsonpath={.status.containerStatuses[?(@.name=="counter")].restartCount}';
    return Number(await this.#node.mustKubectl([...inCounter, 'get', 'pod', 'counter-0', '-o', path]));
  }
}
