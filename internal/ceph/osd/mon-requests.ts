import type { Clock, Timer } from '../../base/clock.ts';
import type { MessageCodec } from '../wire/message.ts';
import { MOSDAlive, MOSDFull, MOSDPGReadyToMerge, MOSDPGTemp } from '../wire/messages/osd_mon.ts';
import { type PgId, pgText } from '../wire/types.ts';
import { fullnessBits } from './fullness.ts';
import type { MapView } from './map-view.ts';

const pgTempDelayMs = 50;

export interface MonRequestsHost {
  readonly whoami: number;
  readonly fsid: string;
  readonly clock: Clock;
  map(): MapView | undefined;
  sendMon<T>(codec: MessageCodec<T>, body: T): void;
}

/** What an OSD wants of the mon until a map shows it: `up_thru`, other acting sets, the merge of two PGs. */
export class MonRequests {
  readonly #host: MonRequestsHost;
  #upThru = 0;
  readonly #pgTemp = new Map<string, { pg: PgId; osds: readonly number[] }>();
  #timer: Timer | undefined;

  constructor(host: MonRequestsHost) {
    this.#host = host;
  }

  stop(): void {
    this.#timer?.cancel();
  }

  wantUpThru(epoch: number): void {
    if (epoch <= this.#upThru) return;
    this.#upThru = epoch;
    this.#sendAlive();
  }

  wantPgTemp(pg: PgId, osds: readonly number[]): void {
    this.#pgTemp.set(pgText(pg), { pg, osds });
    this.#timer ??= this.#host.clock.after(pgTempDelayMs, () => {
      this.#timer = undefined;
      this.#sendPgTemp();
    });
  }

  /** How full the disk is: told as long as the map says something else. */
  fullness(fullness: number): void {
    const map = this.#host.map();
    if (map === undefined || !map.isUp(this.#host.whoami) || map.fullness(this.#host.whoami) === fullness) return;
    this.#host.sendMon(MOSDFull, { epoch: map.epoch, state: fullnessBits[fullness]! });
  }

  /** Tells what is known of a merge; the mon drops what it has heard already. */
  mergeReady(ready: Omit<MOSDPGReadyToMerge, 'fsid' | 'osdId' | 'epoch'>): void {
    this.#host.sendMon(MOSDPGReadyToMerge, { ...this.#head(), ...ready });
  }

  /** A new map: forgets what it has granted or made void. */
  onMap(map: MapView): void {
    if (this.#upThru > map.upThru(this.#host.whoami)) this.#sendAlive();
    for (const [cid, { pg, osds }] of this.#pgTemp) {
      const place = map.place(pg);
      const want = osds.length === 0 ? place.up : osds;
      const granted = place.acting.length === want.length && place.acting.every((osd, i) => osd === want[i]);
      if (granted || place.actingPrimary !== this.#host.whoami) this.#pgTemp.delete(cid);
    }
  }

  /** Asks again for what is not granted yet: the session is new, or a request or its answer was lost. */
  askAgain(): void {
    const map = this.#host.map();
    if (map !== undefined && this.#upThru > map.upThru(this.#host.whoami)) this.#sendAlive();
    this.#sendPgTemp();
  }

  #head(): { fsid: string; osdId: number; epoch: number } {
    const { fsid, whoami } = this.#host;
    return { fsid, osdId: whoami, epoch: this.#host.map()?.epoch ?? 0 };
  }

  #sendAlive(): void {
    this.#host.sendMon(MOSDAlive, { ...this.#head(), wantUpThru: this.#upThru });
  }

  #sendPgTemp(): void {
    if (this.#pgTemp.size === 0) return;
    const pgTemp = [...this.#pgTemp.values()].map(({ pg, osds }) => ({ pg, osds: [...osds] }));
    this.#host.sendMon(MOSDPGTemp, { ...this.#head(), pgTemp });
  }
}
