import { utf8Text } from '../../../base/bytes.ts';
import { wantsJson } from '../../mon/commands/table.ts';
import { ENOTSUP, Refusal } from '../../mon/errno.ts';
import { type Column, column, tableText } from '../../mon/format/table.ts';
import { cephVersionShort } from '../../mon/version.ts';
import type { OutputFormat } from '../../mon/format/json.ts';
import { fixedWidth } from '../format/osd-status.ts';
import { pyDumps, pySorted } from '../format/python.ts';
import type { MgrHandler, MgrView } from './context.ts';

/** What deploys daemons here: nodes run the roles that their configuration names. */
const backend = 'appliance';

interface Daemon {
  readonly type: string;
  readonly id: string;
  readonly host: string;
  readonly address: string;
  readonly running: boolean;
  readonly version: string;
}

type Metadata = Readonly<Record<string, string | number>>;

async function ask<T>({ mon }: MgrView, prefix: string): Promise<T> {
  const { code, output, status } = await mon({ prefix, format: 'json' });
  if (code < 0) throw new Refusal(-code, status);
  return JSON.parse(utf8Text(output)) as T;
}

/** `v2:10.0.0.1:6800/7` or several in brackets: the first one's host. */
function addressIn(text: unknown): string {
  return (
    /(?:v[12]:)?((?:\d+\.){3}\d+|\[[0-9a-f:]+\]):\d/.exec(String(text ?? ''))?.[1]?.replace(/^\[(.*)\]$/, '$1') ?? ''
  );
}

/** `ceph version 16.2.15 …` without the words. */
function shortVersion(text: unknown): string {
  return /\d+\.\d+\.\d+/.exec(String(text ?? ''))?.[0] ?? cephVersionShort;
}

/** Mons, mgrs, OSDs, and what registered with the mgr. */
async function daemonsOf(view: MgrView): Promise<Daemon[]> {
  const [quorum, mons, mgrs, osds, mgrMap] = await Promise.all([
    ask<{ quorum_names: string[] }>(view, 'quorum_status'),
    ask<Metadata[]>(view, 'mon metadata'),
    ask<Metadata[]>(view, 'mgr metadata'),
    ask<Metadata[]>(view, 'osd metadata'),
    ask<{ active_name: string; standbys: { name: string }[] }>(view, 'mgr dump'),
  ]);
  const here = new Set([mgrMap.active_name, ...mgrMap.standbys.map(({ name }) => name)]);
  const daemon = (type: string, id: string, of: Metadata, running: boolean): Daemon => ({
    type,
    id,
    running,
    host: String(of.hostname ?? ''),
    address: addressIn(of.addrs ?? of.front_addr ?? of.addr),
    version: shortVersion(of.ceph_version),
  });
  const registered = [...view.services.services].flatMap(([type, { daemons }]) =>
    [...daemons].map(([id, { metadata }]) =>
      daemon(type, metadata.get('id') ?? id, Object.fromEntries(metadata), true),
    ),
  );
  return [
    ...mons.map((of) => daemon('mon', String(of.name), of, quorum.quorum_names.includes(String(of.name)))),
    ...mgrs.map((of) => daemon('mgr', String(of.name), of, here.has(String(of.name)))),
    ...osds.map((of) => daemon('osd', String(of.id), of, view.stats.map.isUp(Number(of.id)))),
    ...registered,
  ].sort((a, b) => (`${a.type}.${a.id}` < `${b.type}.${b.id}` ? -1 : 1));
}

function json(value: object, format: OutputFormat): { output: string } {
  const sorted = pySorted(value);
  return { output: `${format === 'json' ? pyDumps(sorted) : JSON.stringify(sorted, null, 2)}\n` };
}

/** A PrettyTable without a border: two spaces behind every column. */
function table(columns: readonly Column[], rows: readonly (readonly string[])[]): { output: string } {
  return { output: tableText(columns, rows).replaceAll('\n', '  \n') };
}

const right = (name: string): Column => column(name, 'right', 'right');

const status: MgrHandler = (_view, _args, format) =>
  wantsJson(format) ? json({ available: true, backend }, format) : { output: `Backend: ${backend}\nAvailable: Yes\n` };

const ps: MgrHandler = async (view, args, format) => {
  const [host, type, id] = ['hostname', 'daemon_type', 'daemon_id'].map((name) => args.optional(name));
  const daemons = (await daemonsOf(view)).filter(
    (one) =>
      (host === undefined || one.host === host) &&
      (type === undefined || one.type === type) &&
      (id === undefined || one.id === id),
  );
  if (wantsJson(format))
    return json(
      daemons.map((one) => ({
        daemon_id: one.id,
        daemon_name: `${one.type}.${one.id}`,
        daemon_type: one.type,
        hostname: one.host,
        status: Number(one.running),
        status_desc: one.running ? 'running' : 'stopped',
        version: one.version,
      })),
      format,
    );
  if (daemons.length === 0) return { output: 'No daemons reported\n' };
  const columns = [
    ...['NAME', 'HOST', 'PORTS', 'STATUS'].map((name) => column(name)),
    ...['REFRESHED', 'AGE', 'MEM USE', 'MEM LIM'].map(right),
    ...['VERSION', 'IMAGE ID'].map((name) => column(name)),
  ];
  const rows = daemons.map((one) => [
    ...[`${one.type}.${one.id}`, one.host, '', one.running ? 'running' : 'stopped'],
    ...['-', '-', '-', '-', one.version, '<unknown>'],
  ]);
  return table(columns, rows);
};

const ls: MgrHandler = async (view, args, format) => {
  const type = args.optional('service_type');
  const daemons = await daemonsOf(view);
  const services = [...new Set(daemons.map((one) => one.type))]
    .filter((name) => type === undefined || name === type)
    .sort()
    .map((name) => {
      const all = daemons.filter((one) => one.type === name);
      return { name, size: all.length, running: all.filter(({ running }) => running).length };
    });
  if (services.length === 0) return { output: 'No services reported\n' };
  if (wantsJson(format))
    return json(
      services.map(({ name, running, size }) => ({
        service_name: name,
        service_type: name,
        status: { running, size },
        unmanaged: true,
      })),
      format,
    );
  const columns = [
    ...['NAME', 'PORTS'].map((name) => column(name)),
    right('RUNNING'),
    ...['REFRESHED', 'AGE', 'PLACEMENT'].map((name) => column(name)),
  ];
  const rows = services.map(({ name, running, size }) => {
    const count = name === 'osd' ? String(running) : `${running}/${size}`;
    return [name, '', count, '-', '-', '<unmanaged>'];
  });
  return table(columns, rows);
};

const hostLs: MgrHandler = async (view, _args, format) => {
  const addresses = new Map<string, string>();
  for (const { address, host } of await daemonsOf(view))
    if (host !== '' && (addresses.get(host) ?? '') === '') addresses.set(host, address);
  const hosts = [...addresses].sort(([a], [b]) => (a < b ? -1 : 1));
  if (wantsJson(format))
    return json(
      hosts.map(([hostname, addr]) => ({ addr, hostname, labels: [], status: '' })),
      format,
    );
  const columns = ['HOST', 'ADDR', 'LABELS', 'STATUS'].map((name) => column(name));
  const { output } = table(
    columns,
    hosts.map(([host, address]) => [host, address, '', '']),
  );
  return { output: `${output}${hosts.length} hosts in cluster\n` };
};

/** The disks that OSDs are on; what else is in a machine, its node says (`appliance disk list`). */
const deviceLs: MgrHandler = async (view, args, format) => {
  const only = args.list('hostname');
  const osds = (await ask<Metadata[]>(view, 'osd metadata'))
    .filter(({ hostname }) => only.length === 0 || only.includes(String(hostname)))
    .flatMap((of) =>
      String(of.devices ?? '')
        .split(',')
        .filter((name) => name !== '')
        .map((name) => ({
          host: String(of.hostname ?? ''),
          path: `/dev/${name}`,
          type: of.rotational === '0' ? 'ssd' : 'hdd',
          id: new RegExp(`(?:^|,)${name}=([^,]*)`).exec(String(of.device_ids ?? ''))?.[1] ?? '',
          bytes: Number(of.bluestore_bdev_size ?? 0),
          osd: `osd.${of.id}`,
        })),
    )
    .sort((a, b) => (a.host + a.path < b.host + b.path ? -1 : 1));
  if (wantsJson(format))
    return json(
      [...new Set(osds.map(({ host }) => host))].map((host) => ({
        name: host,
        devices: osds
          .filter((one) => one.host === host)
          .map(({ bytes, id, osd, path, type }) => ({
            available: false,
            device_id: id,
            human_readable_type: type,
            path,
            rejected_reasons: [`in use by ${osd}`],
            sys_api: { size: bytes, rotational: type === 'hdd' ? '1' : '0' },
          })),
      })),
      format,
    );
  const columns = [
    ...['HOST', 'PATH', 'TYPE', 'DEVICE ID'].map((name) => column(name)),
    right('SIZE'),
    ...['AVAILABLE', 'REFRESHED', 'REJECT REASONS'].map((name) => column(name)),
  ];
  return table(
    columns,
    osds.map(({ bytes, host, id, osd, path, type }) => [
      ...[host, path, type, id, fixedWidth(bytes, 5, 1024), '', '-', `in use by ${osd}`],
    ]),
  );
};

const shown: Readonly<Record<string, MgrHandler>> = {
  'orch status': status,
  'orch ps': ps,
  'orch ls': ls,
  'orch host ls': hostLs,
  'orch device ls': deviceLs,
};

/** `orch …`: the daemons of this cluster, which are roles of its nodes. Shown, and changed in the nodes' configuration alone. */
export const orchAnswers: Readonly<Record<string, MgrHandler>> = {
  ...shown,
  // The tool may take a command that is there for one with any words.
  orch: async (view, args, format) => {
    const words = args.list('args');
    const known = Object.keys(shown).find((name) => `orch ${words.join(' ')}` === name);
    if (known !== undefined) return await shown[known]!(view, args, format);
    throw new Refusal(
      ENOTSUP,
      `'orch ${words.join(' ')}' is not supported by this version: daemons are roles of nodes, and their configuration says which`,
    );
  },
};
