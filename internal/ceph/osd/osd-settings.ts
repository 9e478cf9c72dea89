import { ENOENT, Refusal } from '../mon/errno.ts';
import { options, parseOption } from '../mon/options.ts';
import { type OsdOptions, osdOptions } from './osd-options.ts';

/**
 * The settings of one OSD: what was set for this process alone (`ceph tell osd.0 config set`, `injectargs`) goes over what the mons' configuration says, that over the
 * defaults. A change acts at once, since whoever acts on a setting asks for it each time.
 */
export class OsdSettings {
  readonly #central: () => ReadonlyMap<string, string>;
  readonly #overrides = new Map<string, string>();
  #seen: ReadonlyMap<string, string> | undefined;
  #values: ReadonlyMap<string, string> = new Map();
  #options: OsdOptions = osdOptions(this.#values);

  /** `central`: what the mons say, another map whenever it changes. */
  constructor(central: () => ReadonlyMap<string, string>) {
    this.#central = central;
  }

  /** What is set, by name; the same map until something changes. */
  get values(): ReadonlyMap<string, string> {
    const central = this.#central();
    if (central !== this.#seen) {
      this.#seen = central;
      this.#values = new Map([...central, ...this.#overrides]);
      this.#options = osdOptions(this.#values);
    }
    return this.#values;
  }

  get options(): OsdOptions {
    return this.values === this.#values ? this.#options : osdOptions(this.values);
  }

  /** Every option that is known, with what holds for it. */
  all(): Map<string, string> {
    const { values } = this;
    return new Map([...options].sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, o]) => [k, values.get(k) ?? o.initial]));
  }

  /** The value that holds for an option. Errors: ENOENT. */
  get(name: string): string {
    const value = this.values.get(name) ?? options.get(name)?.initial;
    if (value === undefined) throw new Refusal(ENOENT, `error getting '${name}': (2) No such file or directory`);
    return value;
  }

  /** For this process; undefined takes it back. Gives upstream's line about it, empty when nothing changed. Errors: ENOENT, EINVAL. */
  set(name: string, text: string | undefined): string {
    const option = options.get(name);
    const failed = text === undefined ? `error unsetting '${name}'` : `error setting '${name}' to '${text}'`;
    if (option === undefined) throw new Refusal(ENOENT, `${failed}: (2) No such file or directory`);
    const value = text === undefined ? undefined : parseOption(option, text);
    if (this.#overrides.get(name) === value) return '';
    if (value === undefined) this.#overrides.delete(name);
    else this.#overrides.set(name, value);
    this.#seen = undefined;
    return `${name} = '${this.get(name)}' `;
  }

  /** What differs from the defaults, and who says so. */
  diff(): Map<string, Record<string, string>> {
    const out = new Map<string, Record<string, string>>();
    const central = this.#central();
    for (const [name, { initial }] of [...options].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const mon = central.get(name);
      const override = this.#overrides.get(name);
      const final = override ?? mon ?? initial;
      if (mon === undefined && override === undefined) continue;
      out.set(name, {
        default: initial,
        ...(mon !== undefined && { mon }),
        ...(override !== undefined && { override }),
        final,
      });
    }
    return out;
  }
}
