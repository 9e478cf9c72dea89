import { emptyServiceMap, type Service, type ServiceDaemon, type ServiceMap } from '../maps/servicemap.ts';
import type { Json } from '../mon/format/json.ts';
import { utimeText } from '../mon/format/units.ts';
import { utimeFromMs } from '../wire/encoding.ts';
import { addrText, type EntityAddr } from '../wire/types.ts';

/** A daemon that says nothing for so long is gone (`mgr_service_beacon_grace`). */
const graceMs = 60_000;
/** Anybody who may talk to the mgr may register: bounds of what is kept. */
const maxDaemons = 256;
const maxFields = 64;
const maxFieldLength = 4096;

/** What a daemon says of itself when it registers. */
export interface ServiceOpen {
  service: string;
  daemon: string;
  gid: bigint;
  addr: EntityAddr;
  metadata: ReadonlyMap<string, string>;
}

/** Daemons beside mon, mgr, OSD that registered (rgw, rbd-mirror, ...): what `ceph service dump` shows. */
export class Services {
  #map: ServiceMap = emptyServiceMap;
  readonly #heardMs = new Map<string, number>();
  /** Not yet in a report to the mon. */
  dirty = false;

  get map(): ServiceMap {
    return this.#map;
  }

  /** The mon's map: what the mgr before us knew. */
  adopt(map: ServiceMap, nowMs: number): void {
    if (map.epoch <= this.#map.epoch) return;
    this.#map = map;
    for (const [service, { daemons }] of map.services)
      for (const daemon of daemons.keys()) this.#heardMs.set(keyOf(service, daemon), nowMs);
  }

  open(from: ServiceOpen, osdmapEpoch: number, nowMs: number): boolean {
    const key = keyOf(from.service, from.daemon);
    if (!this.#heardMs.has(key) && this.#heardMs.size >= maxDaemons) return false;
    if (from.service === '' || `${from.service}${from.daemon}`.length > maxFieldLength) return false;
    this.#heardMs.set(key, nowMs);
    const daemon: ServiceDaemon = {
      gid: from.gid,
      addr: from.addr,
      startEpoch: osdmapEpoch,
      startStamp: utimeFromMs(nowMs),
      metadata: bounded(from.metadata),
      taskStatus: new Map(),
    };
    const known = this.#map.services.get(from.service);
    const daemons = new Map(known?.daemons).set(from.daemon, daemon);
    this.#put(from.service, { daemons, summary: known?.summary ?? '' }, nowMs);
    return true;
  }

  /** The daemon reported. */
  heard(service: string, daemon: string, nowMs: number): void {
    const key = keyOf(service, daemon);
    if (this.#heardMs.has(key)) this.#heardMs.set(key, nowMs);
  }

  close(service: string, daemon: string, nowMs: number): void {
    this.#heardMs.delete(keyOf(service, daemon));
    const known = this.#map.services.get(service);
    if (known === undefined || !known.daemons.has(daemon)) return;
    const daemons = new Map(known.daemons);
    daemons.delete(daemon);
    this.#put(service, daemons.size === 0 ? undefined : { daemons, summary: known.summary }, nowMs);
  }

  /** Forgets who has been silent for long. */
  tick(nowMs: number): void {
    for (const [service, { daemons }] of this.#map.services)
      for (const daemon of daemons.keys()) {
        const heard = this.#heardMs.get(keyOf(service, daemon));
        if (heard === undefined || nowMs - heard > graceMs) this.close(service, daemon, nowMs);
      }
  }

  #put(name: string, service: Service | undefined, nowMs: number): void {
    const services = new Map(this.#map.services);
    if (service === undefined) services.delete(name);
    else services.set(name, service);
    this.#map = { epoch: this.#map.epoch + 1, modified: utimeFromMs(nowMs), services };
    this.dirty = true;
  }
}

function keyOf(service: string, daemon: string): string {
  return JSON.stringify([service, daemon]);
}

function bounded(fields: ReadonlyMap<string, string>): Map<string, string> {
  const short = (text: string): string => text.slice(0, maxFieldLength);
  return new Map([...fields].slice(0, maxFields).map(([name, value]) => [short(name), short(value)]));
}

/** `ceph service dump`. */
export function serviceMapJson(map: ServiceMap): Json {
  const services = new Map<string, Json>();
  for (const [name, { daemons, summary }] of map.services) {
    const list = new Map<string, Json>([['summary', summary]]);
    for (const [daemon, d] of daemons)
      list.set(daemon, {
        start_epoch: d.startEpoch,
        start_stamp: utimeText(d.startStamp),
        gid: d.gid,
        addr: addrText(d.addr),
        metadata: new Map(d.metadata),
        task_status: new Map(d.taskStatus),
      });
    services.set(name, { daemons: list });
  }
  return { epoch: map.epoch, modified: utimeText(map.modified), services };
}
