import { changeMap } from './crush-change.ts';
import { devicesOfClass, removeDeviceClass, setDeviceClass } from '../../crush/classes.ts';
import { type CrushMap, DEFAULT_CHOOSE_ARGS } from '../../crush/map.ts';
import { EBUSY, ENOENT, Refusal } from '../errno.ts';
import { chooseArgsJson } from '../format/crush.ts';
import type { CommandContext } from './dispatch.ts';
import { osdList } from './lookup.ts';
import { type CommandEntry, structured, wantsJson } from './table.ts';

/** Devices of `osd crush set-device-class` and `rm-device-class`. */
async function classes(
  { mon }: CommandContext,
  list: readonly string[],
  fn: (crush: CrushMap, osd: number) => boolean,
): Promise<number[]> {
  const done: number[] = [];
  await changeMap(mon, (crush, map) => {
    for (const osd of osdList(map, list)) {
      if (!map.exists(osd)) throw new Refusal(ENOENT, `osd.${osd} does not exist.`);
      if (fn(crush, osd)) done.push(osd);
    }
    return done.length > 0;
  });
  return done;
}

/** Device classes, and what weight-sets there are. */
export const crushClassCommands: readonly CommandEntry<CommandContext>[] = [
  {
    signature: 'osd crush class ls',
    help: 'list the device classes',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, _args, format) => structured([...mon.state.osdmap.crush.classNames.values()], format),
  },
  {
    signature: 'osd crush class ls-osd name=class,type=CephString,goodchars=[A-Za-z0-9-_]',
    help: 'list the OSDs of a device class',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const osds = devicesOfClass(mon.state.osdmap.crush, args.text('class'));
      return wantsJson(format) ? structured(osds, format) : { output: osds.map((osd) => `${osd}\n`).join('') };
    },
  },
  {
    signature: `osd crush get-device-class name=ids,type=CephString,n=N`,
    help: 'show the device class of OSDs',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { osdmap } = mon.state;
      const found = osdList(osdmap, args.list('ids')).map((osd) => {
        if (!osdmap.exists(osd)) throw new Refusal(ENOENT, `osd.${osd} does not exist`);
        return { osd, device_class: osdmap.crush.itemClass(osd) ?? '' };
      });
      if (wantsJson(format)) return structured(found, format);
      const plain =
        found.length === 1
          ? found[0]!.device_class
          : found.map(({ osd, device_class }) => `osd.${osd} ${device_class}`).join('\n');
      return { output: `${plain}\n` };
    },
  },
  {
    signature: 'osd crush set-device-class name=class,type=CephString name=ids,type=CephString,n=N',
    help: 'give OSDs a device class',
    module: 'osd',
    perm: 'rw',
    handler: async (context, args) => {
      const cls = args.text('class');
      const done = await classes(context, args.list('ids'), (crush, osd) => {
        const old = crush.itemClass(osd);
        if (old !== undefined && old !== cls)
          throw new Refusal(
            EBUSY,
            `osd.${osd} has already bound to class '${old}', can not reset class to '${cls}'; use 'ceph osd crush rm-device-class <id>' to remove old class first`,
          );
        return setDeviceClass(crush, osd, cls);
      });
      return { status: `set osd(s) ${done.join(',')} to class '${cls}'` };
    },
  },
  {
    signature: 'osd crush rm-device-class name=ids,type=CephString,n=N',
    help: 'take the device class of OSDs away',
    module: 'osd',
    perm: 'rw',
    handler: async (context, args) => {
      const done = await classes(context, args.list('ids'), (crush, osd) => removeDeviceClass(crush, osd));
      return { status: `done removing class of osd(s): ${done.join(',')}` };
    },
  },
  {
    signature: 'osd crush weight-set ls',
    help: 'list the weight-sets',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const { osdmap } = mon.state;
      const names = [...osdmap.crush.chooseArgs.keys()].map((key) =>
        key === DEFAULT_CHOOSE_ARGS ? '(compat)' : (osdmap.poolNames.get(key) ?? String(key)),
      );
      return wantsJson(format) ? structured(names, format) : { output: names.map((name) => `${name}\n`).join('') };
    },
  },
  {
    signature: 'osd crush weight-set dump',
    help: 'show the weight-sets',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, _args, format) => structured(chooseArgsJson(mon.state.osdmap.crush), format),
  },
];
