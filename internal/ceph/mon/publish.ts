import { encodeMgrMap } from '../maps/mgrmap.ts';
import { encodeMonMap } from '../maps/monmap.ts';
import { encodeOsdMap } from '../maps/osdmap-codec.ts';
import { encodeServiceMap } from '../maps/servicemap.ts';
import { MFSMapUser } from '../wire/messages/fs.ts';
import { LOG_DEBUG, LOG_INFO, LOG_SECURITY, LOG_WARN, LOG_ERROR, MLog } from '../wire/messages/log.ts';
import { MMgrMap, MServiceMap } from '../wire/messages/mgr.ts';
import { MConfig, MKVData, MMonMap, MOSDMap } from '../wire/messages/mon.ts';
import { ENTITY_CLIENT, ENTITY_OSD } from '../wire/types.ts';
import { effectiveConfig } from './config-state.ts';
import type { OsdMapSource } from './osdmap-source.ts';
import type { Session, Wanted } from './session.ts';
import type { MonState } from './state.ts';

/** OSDMap increments in one message at most. */
const mapsPerMessage = 40;

const logLevels: ReadonlyMap<string, number> = new Map([
  ['log-debug', LOG_DEBUG],
  ['log-info', LOG_INFO],
  ['log-sec', LOG_SECURITY],
  ['log-warn', LOG_WARN],
  ['log-error', LOG_ERROR],
]);

/** Sends to sessions what they subscribed to, from where each of them is. Looks at the committed state only. */
export class Publisher {
  readonly #state: () => MonState;
  readonly #maps: OsdMapSource;
  /** Encodings that many sessions share, made when the first needs them. */
  #encoded: { state: MonState | undefined; bytes: Map<string, Uint8Array> } = { state: undefined, bytes: new Map() };

  constructor(state: () => MonState, maps: OsdMapSource) {
    this.#state = state;
    this.#maps = maps;
  }

  /** Everything that the session wants and that is there. */
  check(session: Session): void {
    for (const what of [...session.wanted.keys()]) this.checkOne(session, what);
  }

  checkOne(session: Session, what: string): void {
    const wanted = session.wanted.get(what);
    if (wanted === undefined || !session.connection.open) return;
    const state = this.#state();
    const sent = (version: number): void => {
      if (wanted.once) session.wanted.delete(what);
      else wanted.next = version + 1;
    };
    const level = logLevels.get(what);
    if (level !== undefined) this.#log(session, wanted, level);
    else if (what.startsWith('kv:')) this.#keyValues(session, wanted, what.slice(3), sent);
    else if (what === 'config') this.#config(session, wanted, sent);
    else if (what === 'osdmap') this.#osdMap(session, wanted, sent);
    else {
      const map = this.#wholeMap(what, state);
      if (map === undefined || wanted.next > map.version) return;
      map.send(session);
      sent(map.version);
    }
  }

  /** Maps that are always sent whole. */
  #wholeMap(what: string, state: MonState): { version: number; send(session: Session): void } | undefined {
    switch (what) {
      case 'monmap':
        return {
          version: state.monmap.epoch,
          send: ({ connection }) =>
            connection.send(MMonMap, { monmap: this.#bytes(what, () => encodeMonMap(state.monmap)) }),
        };
      case 'mgrmap':
        return {
          version: state.mgrmap.epoch,
          send: ({ connection }) =>
            connection.send(MMgrMap, { map: this.#bytes(what, () => encodeMgrMap(state.mgrmap)) }),
        };
      case 'servicemap':
        return {
          version: state.servicemap.epoch,
          send: ({ connection }) =>
            connection.send(MServiceMap, { map: this.#bytes(what, () => encodeServiceMap(state.servicemap)) }),
        };
      case 'fsmap.user':
        // There are no file systems: that is what epoch 1 says.
        return {
          version: 1,
          send: ({ connection }) => connection.send(MFSMapUser, { epoch: 1, legacyFscid: -1, names: new Map() }),
        };
      default:
        return undefined;
    }
  }

  #osdMap(session: Session, wanted: Wanted, sent: (version: number) => void): void {
    const { osdmap } = this.#state();
    if (wanted.next > osdmap.epoch || session.sendingOsdMaps) return;
    if (wanted.next < 1) {
      this.sendNewest(session);
      sent(osdmap.epoch);
    } else void this.#sendOsdMaps(session, wanted, sent);
  }

  #bytes(what: string, encode: () => Uint8Array): Uint8Array {
    const state = this.#state();
    if (this.#encoded.state !== state) this.#encoded = { state, bytes: new Map() };
    const known = this.#encoded.bytes.get(what);
    if (known !== undefined) return known;
    const bytes = encode();
    this.#encoded.bytes.set(what, bytes);
    return bytes;
  }

  newestOsdMap(): Uint8Array {
    const { osdmap } = this.#state();
    // A copy: the encoder notes the CRC in the map that it is given.
    return this.#bytes('osdmap', () => encodeOsdMap(osdmap.copy()));
  }

  /** The newest OSDMap, whole. */
  sendNewest(session: Session): void {
    const { fsid, osdmap, osdmapFirst } = this.#state();
    session.connection.send(MOSDMap, {
      fsid,
      incrementals: new Map(),
      full: new Map([[osdmap.epoch, this.newestOsdMap()]]),
      oldest: osdmapFirst,
      newest: osdmap.epoch,
    });
  }

  /** From `wanted.next` on: increments, or a whole map where those are gone; again when newer ones came meanwhile. */
  async #sendOsdMaps(session: Session, wanted: Wanted, sent: (version: number) => void): Promise<void> {
    session.sendingOsdMaps = true;
    try {
      let next = wanted.next;
      while (session.connection.open && next <= this.#state().osdmap.epoch) {
        const last = await this.sendFrom(session, next);
        if (last === undefined) break;
        next = last + 1;
        await session.connection.drained();
      }
      if (session.wanted.get('osdmap') === wanted) sent(next - 1);
    } catch {
      session.connection.close();
    } finally {
      session.sendingOsdMaps = false;
    }
    const again = session.wanted.get('osdmap');
    if (again !== undefined && again.next <= this.#state().osdmap.epoch) this.checkOne(session, 'osdmap');
  }

  /** One message with increments from `from` on (or whole maps, when they are not kept); gives the last epoch that it brought. */
  async sendFrom(session: Session, from: number): Promise<number | undefined> {
    const { fsid, osdmap, osdmapFirst } = this.#state();
    const incrementals = new Map<number, Uint8Array>();
    const full = new Map<number, Uint8Array>();
    let epoch = from;
    if (epoch < osdmapFirst || epoch === 1) {
      epoch = Math.max(epoch, osdmapFirst);
      const bytes = await this.#maps.full(epoch);
      if (bytes === undefined) {
        this.sendNewest(session);
        return osdmap.epoch;
      }
      full.set(epoch++, bytes);
    }
    for (; epoch <= osdmap.epoch && incrementals.size < mapsPerMessage; epoch++) {
      const bytes = this.#maps.cached(epoch) ?? (await this.#maps.increment(epoch));
      if (bytes === undefined) {
        this.sendNewest(session);
        return osdmap.epoch;
      }
      incrementals.set(epoch, bytes);
    }
    session.connection.send(MOSDMap, { fsid, incrementals, full, oldest: osdmapFirst, newest: osdmap.epoch });
    return epoch - 1;
  }

  #config(session: Session, wanted: Wanted, sent: (version: number) => void): void {
    const { config, osdmap } = this.#state();
    if (wanted.next > config.version && session.sentConfig !== undefined) return;
    const cls = session.name.type === ENTITY_OSD ? osdmap.crush.itemClass(Number(session.name.id)) : undefined;
    const values = effectiveConfig(config, {
      entity: session.entity,
      ...(session.hostname !== '' && { host: session.hostname }),
      ...(cls !== undefined && { deviceClass: cls }),
    });
    const map = new Map([...values].map(([name, { value }]) => [name, value]));
    const text = JSON.stringify([...map]);
    // Everybody waits for a first answer; later only changes are told.
    if (session.sentConfig !== text || wanted.once) session.connection.send(MConfig, { config: map });
    session.sentConfig = text;
    sent(config.version);
  }

  #keyValues(session: Session, wanted: Wanted, prefix: string, sent: (version: number) => void): void {
    const { config, configKeys } = this.#state();
    if (wanted.next > config.version && wanted.next > 0) return;
    if (session.name.type === ENTITY_CLIENT && !session.may('config-key', 'r')) return;
    const data = new Map([...configKeys].filter(([key]) => key.startsWith(prefix)));
    session.connection.send(MKVData, { version: config.version, prefix, incremental: false, data });
    sent(config.version);
  }

  /** `ceph -w`: lines at or above a level; the first answer is empty and says where the log is. */
  #log(session: Session, wanted: Wanted, level: number): void {
    const { fsid, log, logId } = this.#state();
    if (wanted.next === 0) {
      wanted.next = logId + 1;
      return;
    }
    if (wanted.next > logId) return;
    const entries = log
      .filter(({ id, entry }) => id >= wanted.next && entry.level >= level && entry.channel === 'cluster')
      .map(({ entry }) => entry);
    wanted.next = logId + 1;
    if (entries.length > 0) session.connection.send(MLog, { version: logId, fsid, entries });
  }
}
