import { DecodeError } from '../../base/bytes.ts';
import type { Logger } from '../../base/log.ts';
import { applyIncremental } from '../maps/apply.ts';
import { decodeIncremental } from '../maps/incremental-codec.ts';
import { OsdMap } from '../maps/osdmap.ts';
import { decodeOsdMap } from '../maps/osdmap-codec.ts';
import { Placement } from '../maps/placement.ts';
import type { MOSDMapValue } from '../wire/messages/mon.ts';
import type { MonClient } from './api.ts';

/** Keeps the newest OSDMap from what mons and OSDs send, and tells who waits for an epoch. */
export class MapFollower {
  readonly #mon: MonClient;
  readonly #log: Logger;
  #placement = new Placement(new OsdMap());
  #waiters: { epoch: number; resolve: () => void }[] = [];
  /** Called after each new map. */
  onMap: ((map: OsdMap, previous: OsdMap) => void) | undefined;

  constructor(mon: MonClient, log: Logger) {
    this.#mon = mon;
    this.#log = log;
  }

  get map(): OsdMap {
    return this.#placement.map;
  }
  get placement(): Placement {
    return this.#placement;
  }
  get epoch(): number {
    return this.#placement.map.epoch;
  }

  start(): void {
    this.#mon.subscribe('osdmap', 0);
  }

  /** Resolves when the map has this epoch or a newer one. */
  atLeast(epoch: number): Promise<void> {
    if (this.epoch >= epoch) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ epoch, resolve }));
  }

  /** Resolves when the map is as new as the newest that the mon has committed. */
  async latest(): Promise<void> {
    const { newest } = await this.#mon.version('osdmap');
    await this.atLeast(newest);
  }

  handle(message: MOSDMapValue): void {
    if (this.#mon.fsid !== '' && message.fsid !== this.#mon.fsid) {
      this.#log.warn('an OSDMap of another cluster is ignored', { fsid: message.fsid });
      return;
    }
    const before = this.map;
    try {
      this.#advance(message);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#log.error('an OSDMap cannot be read: asking for a whole one', { error });
      this.#mon.subscribe('osdmap', 0);
      return;
    }
    const { map } = this;
    if (map.epoch === before.epoch) return;
    this.#mon.got('osdmap', map.epoch);
    this.onMap?.(map, before);
    const ready = this.#waiters.filter((w) => w.epoch <= map.epoch);
    this.#waiters = this.#waiters.filter((w) => w.epoch > map.epoch);
    for (const w of ready) w.resolve();
  }

  #advance(message: MOSDMapValue): void {
    let { map } = this;
    const newest = Math.max(0, ...message.full.keys(), ...message.incrementals.keys());
    for (let epoch = map.epoch + 1; epoch <= newest; epoch++) {
      const increment = message.incrementals.get(epoch);
      const full = message.full.get(epoch);
      if (full !== undefined && (map.epoch === 0 || increment === undefined)) map = decodeOsdMap(full);
      else if (increment !== undefined && map.epoch === epoch - 1 && map.epoch > 0)
        map = applyIncremental(map, decodeIncremental(increment));
    }
    if (map.epoch < newest) {
      // A gap: increments that do not follow what is here.
      this.#mon.subscribe('osdmap', map.epoch === 0 ? 0 : map.epoch + 1);
    }
    if (map !== this.map) this.#placement = new Placement(map, this.#placement);
  }
}
