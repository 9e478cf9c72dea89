import { utf8Text } from '../../../base/bytes.ts';
import { structured, wantsJson } from '../../mon/commands/table.ts';
import { ENOENT, Refusal } from '../../mon/errno.ts';
import { column, tableText } from '../../mon/format/table.ts';
import type { MgrHandler, MgrView } from './context.ts';

interface Device {
  id: string;
  places: { host: string; dev: string; path: string }[];
  daemons: string[];
}

/** What OSDs say of the disks that they are on: `device_ids` is `sda=MODEL_SERIAL,…`. */
async function devicesOf({ mon }: MgrView): Promise<Device[]> {
  const { code, output, status } = await mon({ prefix: 'osd metadata', format: 'json' });
  if (code < 0) throw new Refusal(-code, status);
  const devices = new Map<string, Device>();
  const pairs = (text: unknown): Map<string, string> =>
    new Map(
      String(text ?? '')
        .split(',')
        .flatMap((pair): [string, string][] => {
          const at = pair.indexOf('=');
          return at <= 0 ? [] : [[pair.slice(0, at), pair.slice(at + 1)]];
        }),
    );
  for (const osd of JSON.parse(utf8Text(output)) as Record<string, unknown>[]) {
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
  return [...devices.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
}

const json = ({ daemons, id, places }: Device) => ({
  devid: id,
  location: places.map(({ dev, host, path }) => ({ host, dev, path })),
  daemons,
});

/** `device …`: the disks that daemons are on. */
export const deviceAnswers: Readonly<Record<string, MgrHandler>> = {
  'device ls': async (view, _args, format) => {
    const all = await devicesOf(view);
    if (wantsJson(format)) return structured(all.map(json), format);
    const columns = ['DEVICE', 'HOST:DEV', 'DAEMONS', 'WEAR', 'LIFE EXPECTANCY'].map((name) => column(name));
    const rows = all.map(({ daemons, id, places }) => [
      id,
      places.map(({ dev, host }) => `${host}:${dev}`).join(' '),
      daemons.join(' '),
      '',
      '',
    ]);
    return { output: tableText(columns, rows) };
  },
  'device info': async (view, args, format) => {
    const id = args.text('devid');
    const device = (await devicesOf(view)).find((one) => one.id === id);
    if (device === undefined) throw new Refusal(ENOENT, `device ${id} not found`);
    if (wantsJson(format)) return structured(json(device), format);
    const places = device.places.map(({ dev, host, path }) => `attachment ${host} ${dev} ${path}\n`).join('');
    return { output: `device ${id}\n${places}daemons ${device.daemons.join(',')}\n` };
  },
  'device ls-by-daemon': async (view, args, format) => {
    const who = args.text('who');
    const [, number] = /^osd\.(\d+)$/.exec(who) ?? [];
    if (number === undefined || !view.stats.map.exists(Number(number)))
      throw new Refusal(ENOENT, `daemon ${who} not found`);
    const all = (await devicesOf(view)).filter(({ daemons }) => daemons.includes(who));
    if (wantsJson(format)) return structured(all.map(json), format);
    const columns = ['DEVICE', 'HOST:DEV', 'EXPECTED FAILURE'].map((name) => column(name));
    const rows = all.map(({ id, places }) => [id, places.map(({ dev, host }) => `${host}:${dev}`).join(' '), '']);
    return { output: tableText(columns, rows) };
  },
  'device ls-by-host': async (view, args, format) => {
    const host = args.text('host');
    const all = (await devicesOf(view)).filter(({ places }) => places.some((place) => place.host === host));
    if (wantsJson(format)) return structured(all.map(json), format);
    const columns = ['DEVICE', 'DEV', 'DAEMONS', 'EXPECTED FAILURE'].map((name) => column(name));
    const rows = all.map(({ daemons, id, places }) => [
      id,
      places
        .filter((place) => place.host === host)
        .map(({ dev }) => dev)
        .join(' '),
      daemons.join(' '),
      '',
    ]);
    return { output: tableText(columns, rows) };
  },
};
