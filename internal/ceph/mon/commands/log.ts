import { LOG_INFO } from '../../wire/messages/log.ts';
import { addrsJson } from '../format/addrs.ts';
import { utimeText } from '../format/units.ts';
import { logLevel, logLevelTag, logText } from '../log-lines.ts';
import { entityNameText } from '../../wire/types.ts';
import type { CommandContext } from './dispatch.ts';
import { type CommandEntry, structured, wantsJson } from './table.ts';

export const logCommands: readonly CommandEntry<CommandContext>[] = [
  {
    signature: 'log name=logtext,type=CephString,n=N',
    help: 'write a line into the cluster log',
    module: 'mon',
    perm: 'rw',
    handler: async ({ mon, caller }, args) => {
      const message = args.list('logtext').join(' ');
      await mon.update((draft) => draft.log({ ...mon.line(LOG_INFO, `from='${caller.entity}': ${message}`) }));
      return {};
    },
  },
  {
    signature:
      'log last name=num,type=CephInt,range=1,req=false name=level,type=CephChoices,strings=debug|info|sec|warn|error,req=false name=channel,type=CephChoices,strings=*|cluster|audit|cephadm,req=false',
    help: 'show the newest lines of the cluster log',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const num = args.optionalNumber('num') ?? 20;
      const level = logLevel(args.optional('level') ?? 'info') ?? LOG_INFO;
      const channel = args.optional('channel') ?? '*';
      const lines = mon.state.log
        .map(({ entry }) => entry)
        .filter((entry) => entry.level >= level && (channel === '*' || entry.channel === channel))
        .slice(-num);
      if (!wantsJson(format)) return { output: lines.map((line) => `${logText(line)}\n`).join('') };
      return structured(
        lines.map((line) => ({
          name: entityNameText(line.name),
          rank: `${entityNameText(line.name).split('.')[0]}.${line.rank.num}`,
          addrs: addrsJson(line.addrs),
          stamp: utimeText(line.stamp),
          seq: line.seq,
          channel: line.channel,
          priority: logLevelTag(line.level),
          message: line.message,
        })),
        format,
      );
    },
  },
];
