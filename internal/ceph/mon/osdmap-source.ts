import type { Store } from '../../store/api.ts';
import { encodeOsdMap } from '../maps/osdmap-codec.ts';
import { findIncrement, findOsdMap } from './load.ts';

/** Bytes of increments kept in memory. */
const cacheBytes = 2 << 20;

/** OSDMaps of the past as bytes: the newest increments from memory, others from the store. */
export class OsdMapSource {
  readonly #store: Store;
  readonly #increments = new Map<number, Uint8Array>();
  #bytes = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  add(increments: ReadonlyMap<number, Uint8Array>): void {
    for (const [epoch, bytes] of increments) {
      this.#increments.set(epoch, bytes);
      this.#bytes += bytes.length;
    }
    for (const [epoch, bytes] of this.#increments) {
      if (this.#bytes <= cacheBytes) break;
      this.#increments.delete(epoch);
      this.#bytes -= bytes.length;
    }
  }

  /** At once when it is in memory. */
  cached(epoch: number): Uint8Array | undefined {
    return this.#increments.get(epoch);
  }

  async increment(epoch: number): Promise<Uint8Array | undefined> {
    return this.#increments.get(epoch) ?? (await findIncrement(this.#store, epoch));
  }

  async full(epoch: number): Promise<Uint8Array | undefined> {
    const map = await findOsdMap(this.#store, epoch);
    return map === undefined ? undefined : encodeOsdMap(map);
  }
}
