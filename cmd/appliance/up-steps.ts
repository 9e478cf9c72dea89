import type { NodeStatus } from '../../internal/node/status.ts';
import type { Progress } from './progress.ts';

/** Tells in `progress` how a node's processes come and go. */
export class UpSteps {
  readonly #progress: Progress;
  readonly #phases = new Map<string, string>();
  #ending = false;

  constructor(progress: Progress) {
    this.#progress = progress;
  }

  /** The node stops: from now on what ends is told. */
  end(): void {
    this.#ending = true;
    this.#progress.clear();
  }

  /** What the node is waited for; nothing once it stops. */
  wait(text: string): void {
    if (!this.#ending) this.#progress.wait(text);
  }

  onChange({ instances }: Pick<NodeStatus, 'instances'>): void {
    for (const { name, phase } of instances) {
      const before = this.#phases.get(name);
      if (before === phase) continue;
      this.#phases.set(name, phase);
      if (this.#ending) {
        if (phase === 'stopped' && before !== undefined && before !== 'waiting') this.#progress.done(`${name} stopped`);
      } else if (phase === 'running') this.#progress.done(`${name} runs`);
    }
    if (this.#ending) return;
    const waiting = instances.filter(({ phase }) => phase !== 'running').map(({ name }) => name);
    if (waiting.length > 0) this.#progress.wait(`starting ${waiting.join(', ')}`);
  }
}
