import { ENOTSUP, Refusal } from '../errno.ts';
import type { CommandContext } from './dispatch.ts';
import { type CommandEntry, FLAG_OBSOLETE } from './table.ts';

/** What 16.2.15 itself has given up: its tables still list these, and its mons refuse them. */
const signatures: readonly string[] = [
  'scrub',
  'mds dump name=epoch,type=CephInt,req=false,range=0',
  'mds getmap name=epoch,type=CephInt,req=false,range=0',
  'mds tell name=who,type=CephString name=args,type=CephString,n=N',
  'mds stop name=role,type=CephString',
  'mds deactivate name=role,type=CephString',
  'mds set_max_mds name=maxmds,type=CephInt,range=0',
  'mds set name=var,type=CephChoices,strings=max_mds|max_file_size|inline_data|allow_new_snaps|allow_multimds|allow_multimds_snaps|allow_dirfrags name=val,type=CephString name=yes_i_really_mean_it,type=CephBool,req=false',
  'mds cluster_down',
  'mds cluster_up',
  'mds add_data_pool name=pool,type=CephString',
  'mds rm_data_pool name=pool,type=CephString',
  'mds remove_data_pool name=pool,type=CephString',
  'mds newfs name=metadata,type=CephInt,range=0 name=data,type=CephInt,range=0 name=yes_i_really_mean_it,type=CephBool,req=false',
];

const readOnly = new Set(['mds dump', 'mds getmap']);

export const obsoleteCommands: readonly CommandEntry<CommandContext>[] = signatures.map((signature) => ({
  signature,
  help: 'obsolete since before 16.2.15',
  module: signature.startsWith('mds') ? 'mds' : 'mon',
  perm: readOnly.has(signature.split(' ').slice(0, 2).join(' ')) ? 'r' : 'rw',
  flags: FLAG_OBSOLETE,
  handler: () => {
    throw new Refusal(ENOTSUP, 'command is obsolete; please check usage and/or man page');
  },
}));
