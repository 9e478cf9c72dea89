import { ENOENT, Refusal } from '../errno.ts';
import type { Json } from '../format/json.ts';
import { createErasureRule, parseProfile, removeProfile, setProfile } from '../osd/erasure-profiles.ts';
import type { CommandContext } from './dispatch.ts';
import { type CommandEntry, structured, wantsJson } from './table.ts';

const nameArg = 'name=name,type=CephString,goodchars=[A-Za-z0-9-_.]';

/** Profiles of erasure-coded pools, and the rules made from them. */
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
    handler: async ({ mon }, args) => {
      const name = args.text('name');
      const given = parseProfile(args.list('profile'), mon.options.text('osd_pool_default_erasure_code_profile'));
      await mon.update((draft) => {
        draft.osdmap((inc, map) => setProfile(inc, map, name, given, args.flag('force')));
      });
      return {};
    },
  },
  {
    signature: `osd erasure-code-profile rm ${nameArg}`,
    help: 'remove a profile',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('name');
      const gone = await mon.update((draft) => {
        if (!draft.state.osdmap.erasureCodeProfiles.has(name)) return false;
        draft.osdmap((inc, map) => removeProfile(inc, map, name));
        return true;
      });
      return gone ? {} : { status: `erasure-code-profile ${name} does not exist` };
    },
  },
  {
    signature: `osd crush rule create-erasure ${nameArg} name=profile,type=CephString,goodchars=[A-Za-z0-9-_.=],req=false`,
    help: 'make a rule for erasure-coded pools of a profile (default: default)',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('name');
      const made = await mon.update((draft) => {
        if (draft.state.osdmap.crush.ruleOfName(name) !== undefined) return undefined;
        let id = -1;
        draft.osdmap((inc, map) => {
          id = createErasureRule(inc, map, name, args.optional('profile') ?? 'default');
        });
        return id;
      });
      return { status: made === undefined ? `rule ${name} already exists` : `created rule ${name} at ${made}` };
    },
  },
];
