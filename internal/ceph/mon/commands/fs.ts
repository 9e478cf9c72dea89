import { ENOENT, ENOTSUP, Refusal } from '../errno.ts';
import type { Json } from '../format/json.ts';
import type { CommandContext } from './dispatch.ts';
import { type CommandEntry, structured, wantsJson } from './table.ts';

/** What an MDS of Pacific must know (`src/mds/mdstypes.cc`). */
const incompat: readonly (readonly [number, string])[] = [
  [1, 'base v0.20'],
  [2, 'client writeable ranges'],
  [3, 'default file layouts on dirs'],
  [4, 'dir inode in separate object'],
  [5, 'mds uses versioned encoding'],
  [6, 'dirfrag is stored in omap'],
  [8, 'no anchor table'],
  [9, 'file layout v2'],
  [10, 'snaprealm v2'],
];

const compatJson: Json = {
  compat: {},
  ro_compat: {},
  incompat: Object.fromEntries(incompat.map(([bit, name]) => [`feature_${bit}`, name])),
};
const compatText = `compat={},rocompat={},incompat={${incompat.map(([bit, name]) => `${bit}=${name}`).join(',')}}`;

/** The FSMap of a cluster without file systems. */
const fsMapJson: Json = {
  epoch: 1,
  default_fscid: -1,
  compat: compatJson,
  feature_flags: { enable_multiple: true, ever_enabled_multiple: true },
  standbys: [],
  filesystems: [],
};

const none = 'file systems are not supported yet';
const nameArg = 'name=fs_name,type=CephString';

/** There are no file systems yet: these say so, in upstream's forms. */
export const fsCommands: readonly CommandEntry<CommandContext>[] = [
  {
    signature: 'fs ls',
    help: 'list the file systems',
    module: 'fs',
    perm: 'r',
    handler: (_context, _args, format) =>
      wantsJson(format) ? structured([], format, 'json') : { output: 'No filesystems enabled\n' },
  },
  {
    signature: 'fs dump name=epoch,type=CephInt,range=0,req=false',
    help: 'show the map of the file systems',
    module: 'mds',
    perm: 'r',
    handler: (_context, _args, format) => {
      const status = 'dumped fsmap epoch 1';
      if (wantsJson(format)) return { status, ...structured(fsMapJson, format, 'json') };
      return {
        status,
        output: `e1\nenable_multiple, ever_enabled_multiple: 1,1\ndefault compat: ${compatText}\nlegacy client fscid: -1\n \nNo filesystems configured\n`,
      };
    },
  },
  {
    signature: `fs get ${nameArg}`,
    help: 'show a file system',
    module: 'fs',
    perm: 'r',
    handler: (_context, args) => {
      throw new Refusal(ENOENT, `filesystem '${args.text('fs_name')}' not found`);
    },
  },
  {
    signature: `fs new ${nameArg},goodchars=[A-Za-z0-9-_.] name=metadata,type=CephString name=data,type=CephString name=force,type=CephBool,req=false`,
    help: 'make a file system',
    module: 'fs',
    perm: 'rw',
    handler: () => {
      throw new Refusal(ENOTSUP, none);
    },
  },
  {
    signature: 'mds stat',
    help: 'show the MDS daemons in one line',
    module: 'mds',
    perm: 'r',
    flags: 32,
    handler: (_context, _args, format) =>
      wantsJson(format)
        ? structured({ fsmap: fsMapJson, mdsmap_first_committed: 1, mdsmap_last_committed: 1 }, format, 'json')
        : {},
  },
  {
    signature: 'mds metadata name=who,type=CephString,req=false',
    help: 'show facts about one or all MDS daemons',
    module: 'mds',
    perm: 'r',
    handler: (_context, args, format) => {
      if (args.has('who')) throw new Refusal(22, `MDS named '${args.text('who')}' does not exist, or is not up`);
      return structured([], format, 'json');
    },
  },
  {
    signature: 'mds count-metadata name=property,type=CephString',
    help: 'count the values of a fact about the MDS daemons',
    module: 'mds',
    perm: 'r',
    handler: (_context, _args, format) => structured({}, format, 'json'),
  },
  {
    signature: 'mds versions',
    help: 'count the versions of the MDS daemons',
    module: 'mds',
    perm: 'r',
    handler: (_context, _args, format) => structured({}, format, 'json'),
  },
];
