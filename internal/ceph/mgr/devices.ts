import { utf8, utf8Text } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import { timespanText, utimeText } from '../mon/format/units.ts';
import { utimeFromMs } from '../wire/encoding.ts';
import type { HealthCheckDigest } from '../wire/messages/mgr_mon.ts';
import type { ModuleOptions, MonCommand } from './module-options.ts';

/** When a disk is expected to fail, in milliseconds since 1970. */
export interface Life {
  readonly fromMs: number;
  /** 0: nobody knows. */
  readonly toMs: number;
  /** When that was said. */
  readonly saidMs: number;
}

/** A disk that daemons are on. */
export interface Device {
  /** What the disk says of itself: `VENDOR_MODEL_SERIAL`. */
  readonly id: string;
  readonly places: readonly { host: string; dev: string; path: string }[];
  readonly daemons: readonly string[];
  readonly life: Life | undefined;
}

/** Where upstream's mgr keeps what it knows of disks: beside the mons' state, for whichever mgr is active. */
const prefix = 'device/';
const lifeFields = ['life_expectancy_min', 'life_expectancy_max', 'life_expectancy_stamp'] as const;
const weekMs = 7 * 86_400_000;
/** Anybody who may change the cluster may say something of disks that nobody knows. */
const maxKept = 4096;

/** `sda=X,sdb=Y`. */
function pairs(text: unknown): Map<string, string> {
  return new Map(
    String(text ?? '')
      .split(',')
      .flatMap((pair): [string, string][] => {
        const at = pair.indexOf('=');
        return at <= 0 ? [] : [[pair.slice(0, at), pair.slice(at + 1)]];
      }),
  );
}

/** The disks of the cluster and how long they are expected to live (`DaemonStateIndex`, `DeviceState`, upstream's module devicehealth). */
export class Devices {
  readonly #mon: MonCommand;
  readonly #options: ModuleOptions;
  /** Everything kept of a disk, by its id: members that are not ours stay. */
  #kept: Map<string, Record<string, string>> | undefined;
  #failing: readonly Device[] = [];

  constructor(options: ModuleOptions, mon: MonCommand) {
    this.#options = options;
    this.#mon = mon;
  }

  get monitored(): boolean {
    return this.#options.flag('devicehealth', 'enable_monitoring', true);
  }
  monitor(on: boolean): Promise<void> {
    return this.#options.set('devicehealth', 'enable_monitoring', String(on));
  }

  /** By id. Errors: MON. */
  async all(): Promise<Device[]> {
    const kept = await this.#load();
    const devices = new Map<string, { id: string; places: Device['places'][number][]; daemons: string[] }>();
    const metadata = JSON.parse(utf8Text(await this.#ask({ prefix: 'osd metadata', format: 'json' })));
    for (const osd of metadata as Record<string, unknown>[]) {
      const paths = pairs(osd.device_paths);
      for (const [dev, id] of pairs(osd.device_ids)) {
        const device = devices.get(id) ?? { id, places: [], daemons: [] };
        devices.set(id, device);
        const host = String(osd.hostname ?? '');
        if (!device.places.some((place) => place.host === host && place.dev === dev))
          device.places.push({ host, dev, path: paths.get(dev) ?? '' });
        device.daemons.push(`osd.${osd.id}`);
      }
    }
    // A disk that something is known of stays, with or without daemons.
    for (const id of kept.keys()) if (!devices.has(id)) devices.set(id, { id, places: [], daemons: [] });
    return [...devices.values()]
      .map((device) => ({ ...device, life: lifeOf(kept.get(device.id)) }))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  async #load(): Promise<Map<string, Record<string, string>>> {
    if (this.#kept !== undefined) return this.#kept;
    const output = await this.#ask({ prefix: 'config-key dump', key: prefix, format: 'json' });
    const kept = new Map<string, Record<string, string>>();
    for (const [key, text] of Object.entries(JSON.parse(utf8Text(output)) as Record<string, string>)) {
      if (!key.startsWith(prefix)) continue;
      try {
        const fields = JSON.parse(text) as Record<string, unknown> | null;
        if (typeof fields !== 'object' || fields === null) continue;
        kept.set(
          key.slice(prefix.length),
          Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)])),
        );
      } catch {
        // Somebody else's entry: it is left where it is.
      }
    }
    this.#kept ??= kept;
    return this.#kept;
  }

  /** Undefined: nothing is expected any more. Errors: MON, TOO_MANY. */
  async expect(id: string, life: Life | undefined): Promise<void> {
    const kept = await this.#load();
    const { [lifeFields[0]]: _from, [lifeFields[1]]: _to, [lifeFields[2]]: _said, ...others } = kept.get(id) ?? {};
    const seconds = (ms: number): string => (ms / 1000).toFixed(6);
    const fields: Record<string, string> =
      life === undefined
        ? others
        : {
            ...others,
            life_expectancy_max: seconds(life.toMs),
            life_expectancy_min: seconds(life.fromMs),
            life_expectancy_stamp: seconds(life.saidMs),
          };
    if (Object.keys(fields).length === 0) {
      if (kept.has(id)) await this.#ask({ prefix: 'config-key rm', key: prefix + id });
      kept.delete(id);
      return;
    }
    if (!kept.has(id) && kept.size >= maxKept)
      throw new AppError('TOO_MANY', `something is known of ${maxKept} disks already: forget some first`);
    await this.#ask({ prefix: 'config-key set', key: prefix + id }, utf8(JSON.stringify(fields)));
    kept.set(id, fields);
  }

  async #ask(command: Record<string, unknown>, input?: Uint8Array): Promise<Uint8Array> {
    const { code, output, status } = await this.#mon(command, input);
    if (code < 0) throw new AppError('MON', `${String(command.prefix)}: ${status}`);
    return output;
  }

  /** Looks which disks are expected to fail soon; `checks` tells of them. Errors: MON. */
  async look(nowMs: number): Promise<void> {
    if (!this.monitored) {
      this.#failing = [];
      return;
    }
    const warnMs = this.#options.number('devicehealth', 'warn_threshold', (12 * weekMs) / 1000) * 1000;
    this.#failing = (await this.all()).filter(
      ({ daemons, life }) => daemons.length > 0 && life !== undefined && life.toMs > 0 && life.toMs - nowMs <= warnMs,
    );
  }

  checks(): HealthCheckDigest[] {
    const count = this.#failing.length;
    if (count === 0 || !this.monitored) return [];
    const time = (ms: number): string => utimeText(utimeFromMs(ms));
    const detail = this.#failing.map(
      ({ daemons, id, life, places }) =>
        `${id} (${places.map(({ dev, host }) => `${host}:${dev}`).join(',')}); daemons ${daemons.join(',')}; life expectancy between ${time(life!.fromMs)} and ${time(life!.toMs)}`,
    );
    const summary = `${count} device(s) expected to fail soon`;
    return [{ code: 'DEVICE_HEALTH', severity: 'HEALTH_WARN', summary, count, detail }];
  }
}

function lifeOf(fields: Readonly<Record<string, string>> | undefined): Life | undefined {
  const [fromMs, toMs, saidMs] = lifeFields.map((name) => Number(fields?.[name] ?? 0) * 1000) as [
    number,
    number,
    number,
  ];
  return fromMs > 0 ? { fromMs, toMs: toMs || 0, saidMs: saidMs || 0 } : undefined;
}

/** How long that is from now (`DeviceState::get_life_expectancy_str`). */
export function lifeText(life: Life | undefined, nowMs: number): string {
  if (life === undefined) return '';
  if (nowMs >= life.fromMs) return 'now';
  const [from, to] = [life.fromMs, life.toMs].map((ms) => timespanText((ms - nowMs) / 1000)) as [string, string];
  if (life.toMs === 0) return `>${from}`;
  return from === to ? from : `${from} to ${to}`;
}
