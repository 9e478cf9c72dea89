import { ENOENT, ENOTSUP, Refusal } from '../errno.ts';
import type { Json } from '../format/json.ts';
import type { CommandContext } from './dispatch.ts';
import { type CommandEntry, structured, wantsJson } from './table.ts';

const nameArg = 'name=name,type=CephString,goodchars=[A-Za-z0-9-_.]';
const none = 'erasure-coded pools are not supported yet';

/** Profiles of erasure-coded pools: only the one that every cluster has can be looked at. */
export const erasureCommands: readonly CommandEntry<CommandContext>[] = [
  {
    signature: 'osd erasure-code-profile ls',
    help: 'list the profiles',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const names = [...mon.state.osdmap.erasureCodeProfiles.keys()];
      return wantsJson(format)
        ? structured(names, format, 'json')
        : { output: names.map((name) => `${name}\n`).join('') };
    },
  },
  {
    signature: `osd erasure-code-profile get ${nameArg}`,
    help: 'show a profile',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const name = args.text('name');
      const profile = mon.state.osdmap.erasureCodeProfiles.get(name);
      if (profile === undefined) throw new Refusal(ENOENT, `unknown erasure code profile '${name}'`);
      if (wantsJson(format)) return structured(new Map<string, Json>(profile), format, 'json');
      return { output: [...profile].map(([key, value]) => `${key}=${value}\n`).join('') };
    },
  },
  {
    signature: `osd erasure-code-profile set ${nameArg} name=profile,type=CephString,n=N,req=false name=force,type=CephBool,req=false`,
    help: 'make a profile',
    module: 'osd',
    perm: 'rw',
    handler: () => {
      throw new Refusal(ENOTSUP, none);
    },
  },
  {
    signature: `osd erasure-code-profile rm ${nameArg}`,
    help: 'remove a profile',
    module: 'osd',
    perm: 'rw',
    handler: ({ mon }, args) => {
      const name = args.text('name');
      if (!mon.state.osdmap.erasureCodeProfiles.has(name))
        return { status: `erasure-code-profile ${name} does not exist` };
      throw new Refusal(ENOTSUP, none);
    },
  },
];
