import { AppError } from '../../base/errors.ts';
import type { CommandResult } from '../client/api.ts';

/** Commands to the mon in the mgr's name. */
export type MonCommand = (command: Record<string, unknown>, input?: Uint8Array) => Promise<CommandResult>;

/**
 * Options of upstream's modules: `mgr/<module>/<name>` in the central configuration, so that they hold for whichever mgr is active. What was set here counts at once, and until the mon gives
 * a newer configuration.
 */
export class ModuleOptions {
  readonly #config: () => ReadonlyMap<string, string>;
  readonly #mon: MonCommand;
  readonly #own = new Map<string, string>();
  #seen: ReadonlyMap<string, string> | undefined;

  constructor(config: () => ReadonlyMap<string, string>, mon: MonCommand) {
    this.#config = config;
    this.#mon = mon;
  }

  /** As set, else the default of upstream's module. */
  text(module: string, name: string, initial: string): string {
    const config = this.#config();
    if (config !== this.#seen) this.#own.clear();
    this.#seen = config;
    const key = `mgr/${module}/${name}`;
    return this.#own.get(key) ?? config.get(key) ?? initial;
  }

  number(module: string, name: string, initial: number): number {
    const value = Number(this.text(module, name, String(initial)));
    return Number.isFinite(value) ? value : initial;
  }

  flag(module: string, name: string, initial: boolean): boolean {
    return /^(true|yes|on|1)$/i.test(this.text(module, name, String(initial)));
  }

  /** Errors: MON. */
  async set(module: string, name: string, value: string): Promise<void> {
    const key = `mgr/${module}/${name}`;
    const { code, status } = await this.#mon({ prefix: 'config set', who: 'mgr', name: key, value });
    if (code < 0) throw new AppError('MON', `${key} could not be set: ${status}`);
    this.#own.set(key, value);
  }
}
