import { structured, wantsJson } from '../../mon/commands/table.ts';
import { EINVAL, ENOENT, ENOTSUP, Refusal } from '../../mon/errno.ts';
import { column, tableText } from '../../mon/format/table.ts';
import { utimeText } from '../../mon/format/units.ts';
import { utimeFromMs } from '../../wire/encoding.ts';
import { type Device, lifeText } from '../devices.ts';
import { pyJson } from '../format/python.ts';
import type { MgrHandler } from './context.ts';

const time = (ms: number): string => utimeText(utimeFromMs(ms));

const json = ({ daemons, id, life, places }: Device) => ({
  devid: id,
  location: places.map(({ dev, host, path }) => ({ host, dev, path })),
  daemons,
  ...(life !== undefined && {
    life_expectancy_min: time(life.fromMs),
    life_expectancy_max: time(life.toMs),
    life_expectancy_stamp: time(life.saidMs),
  }),
});

/** `2027-01-31`, also with a time of day: UTC. Errors: EINVAL, in upstream's words. */
function moment(text: string): number {
  const ms = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?Z?$/.test(text)
    ? Date.parse(`${text.replace(' ', 'T').replace(/Z$/, '')}${text.length > 11 ? 'Z' : ''}`)
    : Number.NaN;
  if (Number.isNaN(ms) || ms <= 0) throw new Refusal(EINVAL, `unable to parse datetime '${text}'`);
  return ms;
}

const places = ({ places: list }: Device): string => list.map(({ dev, host }) => `${host}:${dev}`).join(' ');

const unread: MgrHandler = () => {
  throw new Refusal(
    ENOTSUP,
    'what disks measure of themselves (SMART) is not read by this version: smartctl on the node shows it',
  );
};

/** `device …`: the disks that daemons are on. */
export const deviceAnswers: Readonly<Record<string, MgrHandler>> = {
  'device ls': async ({ devices, nowMs }, _args, format) => {
    const all = await devices.all();
    if (wantsJson(format)) return structured(all.map(json), format);
    const columns = ['DEVICE', 'HOST:DEV', 'DAEMONS', 'WEAR', 'LIFE EXPECTANCY'].map((name) => column(name));
    const rows = all.map((device) => [
      ...[device.id, places(device), device.daemons.join(' '), ''],
      lifeText(device.life, nowMs()),
    ]);
    return { output: tableText(columns, rows) };
  },
  'device info': async ({ devices }, args, format) => {
    const id = args.text('devid');
    const device = (await devices.all()).find((one) => one.id === id);
    if (device === undefined) throw new Refusal(ENOENT, `device ${id} not found`);
    if (wantsJson(format)) return structured(json(device), format);
    const attached = device.places.map(({ dev, host, path }) => `attachment ${host} ${dev} ${path}\n`).join('');
    const life =
      device.life === undefined
        ? ''
        : `life_expectancy ${time(device.life.fromMs)} to ${time(device.life.toMs)} (as of ${time(device.life.saidMs)})\n`;
    return { output: `device ${id}\n${attached}daemons ${device.daemons.join(',')}\n${life}` };
  },
  'device ls-by-daemon': async ({ devices, nowMs, stats }, args, format) => {
    const who = args.text('who');
    const [, number] = /^osd\.(\d+)$/.exec(who) ?? [];
    if (number === undefined || !stats.map.exists(Number(number))) throw new Refusal(ENOENT, `daemon ${who} not found`);
    const all = (await devices.all()).filter(({ daemons }) => daemons.includes(who));
    if (wantsJson(format)) return structured(all.map(json), format);
    const columns = ['DEVICE', 'HOST:DEV', 'EXPECTED FAILURE'].map((name) => column(name));
    const rows = all.map((device) => [device.id, places(device), lifeText(device.life, nowMs())]);
    return { output: tableText(columns, rows) };
  },
  'device ls-by-host': async ({ devices, nowMs }, args, format) => {
    const host = args.text('host');
    const all = (await devices.all()).filter((device) => device.places.some((place) => place.host === host));
    if (wantsJson(format)) return structured(all.map(json), format);
    const columns = ['DEVICE', 'DEV', 'DAEMONS', 'EXPECTED FAILURE'].map((name) => column(name));
    const rows = all.map(({ daemons, id, life, places: list }) => [
      id,
      list
        .filter((place) => place.host === host)
        .map(({ dev }) => dev)
        .join(' '),
      daemons.join(' '),
      lifeText(life, nowMs()),
    ]);
    return { output: tableText(columns, rows) };
  },
  'device set-life-expectancy': async ({ devices, nowMs }, args) => {
    const to = args.optional('to');
    const life = { fromMs: moment(args.text('from')), toMs: to === undefined ? 0 : moment(to), saidMs: nowMs() };
    await devices.expect(args.text('devid'), life);
    await devices.look(nowMs());
    return {};
  },
  'device rm-life-expectancy': async ({ devices, nowMs }, args) => {
    await devices.expect(args.text('devid'), undefined);
    await devices.look(nowMs());
    return {};
  },
  'device check-health': async ({ devices, nowMs }) => {
    await devices.look(nowMs());
    return {};
  },
  'device monitoring on': async ({ devices, nowMs }) => {
    await devices.monitor(true);
    await devices.look(nowMs());
    return {};
  },
  'device monitoring off': async ({ devices, nowMs }) => {
    await devices.monitor(false);
    await devices.look(nowMs());
    return {};
  },
  // Lights are switched by what deploys daemons, which here does not.
  'device ls-lights': () => ({ output: `${pyJson({ fault: [], ident: [] })}\n` }),
  'device light': () => {
    throw new Refusal(ENOTSUP, 'lights of disks are not switched by this version');
  },
  'device query-daemon-health-metrics': unread,
  'device scrape-daemon-health-metrics': unread,
  'device scrape-health-metrics': unread,
  'device get-health-metrics': unread,
  'device predict-life-expectancy': unread,
};
