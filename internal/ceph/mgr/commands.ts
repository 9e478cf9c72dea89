import { type CommandDescription, FLAG_MGR } from '../mon/commands/table.ts';
import { type MgrCommand, moduleCommands, reweightCommands } from './module-commands.ts';

const states = 'name=states,type=CephString,n=N,req=false';

/** `scrub`, `deep-scrub` and `repair` of something. */
function scrubCommands(of: string, parameter: string, what: string): MgrCommand[] {
  const module = of.split(' ')[0]!;
  return [
    { signature: `${of} scrub ${parameter}`, help: `compare the copies of ${what}`, module, perm: 'rw' },
    { signature: `${of} deep-scrub ${parameter}`, help: `read and compare all data of ${what}`, module, perm: 'rw' },
    { signature: `${of} repair ${parameter}`, help: `mend wrong copies of ${what} from good ones`, module, perm: 'rw' },
  ];
}

/** What is to be recovered before, or no more, as upstream has it for PGs and pools. */
function forceCommands(): MgrCommand[] {
  const wishes = [
    ['force-recovery', 'recover', 'first'],
    ['force-backfill', 'backfill', 'first'],
    ['cancel-force-recovery', 'recover', 'in their turn again'],
    ['cancel-force-backfill', 'backfill', 'in their turn again'],
  ] as const;
  return wishes.flatMap(([word, verb, when]) => [
    {
      signature: `pg ${word} name=pgid,type=CephPgid,n=N`,
      help: `${verb} these PGs ${when}`,
      module: 'pg',
      perm: 'rw',
    },
    {
      signature: `osd pool ${word} name=who,type=CephPoolname,n=N`,
      help: `${verb} the PGs of these pools ${when}`,
      module: 'osd',
      perm: 'rw',
    },
  ]);
}

/** The commands that the mgr executes, with upstream's signatures. `handlers.ts` has what each does. */
export const mgrCommands: readonly MgrCommand[] = [
  { signature: 'pg stat', help: 'count placement groups by state', module: 'pg', perm: 'r' },
  {
    signature:
      'pg dump name=dumpcontents,type=CephChoices,strings=all|summary|sum|delta|pools|osds|pgs|pgs_brief,n=N,req=false',
    help: 'show everything known of placement groups; in plain form all but the sums of pools',
    module: 'pg',
    perm: 'r',
  },
  {
    signature: 'pg dump_json name=dumpcontents,type=CephChoices,strings=all|summary|sum|pools|osds|pgs,n=N,req=false',
    help: 'show everything known of placement groups as JSON',
    module: 'pg',
    perm: 'r',
  },
  { signature: 'pg dump_pools_json', help: 'show what is known of pools as JSON', module: 'pg', perm: 'r' },
  {
    signature: `pg ls-by-pool name=poolstr,type=CephString ${states}`,
    help: 'list placement groups of a pool',
    module: 'pg',
    perm: 'r',
  },
  {
    signature: `pg ls-by-primary name=osd,type=CephOsdName name=pool,type=CephInt,req=false ${states}`,
    help: 'list placement groups that an OSD leads',
    module: 'pg',
    perm: 'r',
  },
  {
    signature: `pg ls-by-osd name=osd,type=CephOsdName name=pool,type=CephInt,req=false ${states}`,
    help: 'list placement groups that an OSD holds',
    module: 'pg',
    perm: 'r',
  },
  {
    signature: `pg ls name=pool,type=CephInt,req=false ${states}`,
    help: 'list placement groups by pool and state',
    module: 'pg',
    perm: 'r',
  },
  {
    signature:
      'pg dump_stuck name=stuckops,type=CephChoices,strings=inactive|unclean|stale|undersized|degraded,n=N,req=false name=threshold,type=CephInt,req=false',
    help: 'show placement groups that have been in a bad state for long',
    module: 'pg',
    perm: 'r',
  },
  {
    signature: 'pg debug name=debugop,type=CephChoices,strings=unfound_objects_exist|degraded_pgs_exist',
    help: 'answer one question about placement groups',
    module: 'pg',
    perm: 'r',
  },
  ...scrubCommands('pg', 'name=pgid,type=CephPgid', 'one placement group'),
  ...scrubCommands('osd', 'name=who,type=CephString', 'the placement groups that an OSD leads, or all OSDs'),
  ...scrubCommands('osd pool', 'name=who,type=CephPoolname,n=N', 'the placement groups of pools'),
  ...forceCommands(),
  { signature: 'osd perf', help: 'show how fast OSDs commit', module: 'osd', perm: 'r' },
  {
    signature:
      'osd df name=output_method,type=CephChoices,strings=plain|tree,req=false name=filter_by,type=CephChoices,strings=class|name,req=false name=filter,type=CephString,req=false',
    help: 'show how full OSDs are',
    module: 'osd',
    perm: 'r',
  },
  { signature: 'osd blocked-by', help: 'count placement groups that wait for an OSD', module: 'osd', perm: 'r' },
  {
    signature: 'osd pool stats name=pool_name,type=CephPoolname,req=false',
    help: 'show what is going on in pools',
    module: 'osd',
    perm: 'r',
  },
  {
    signature:
      'osd destroy name=id,type=CephOsdName name=force,type=CephBool,req=false name=yes_i_really_mean_it,type=CephBool,req=false',
    help: 'mark an OSD destroyed: its id stays, its data and keys are gone',
    module: 'osd',
    perm: 'rw',
  },
  {
    signature:
      'osd purge name=id,type=CephOsdName name=force,type=CephBool,req=false name=yes_i_really_mean_it,type=CephBool,req=false',
    help: 'remove everything that is known of an OSD',
    module: 'osd',
    perm: 'rw',
  },
  {
    signature: 'osd safe-to-destroy name=ids,type=CephString,n=N',
    help: 'tell whether OSDs can go without less redundancy',
    module: 'osd',
    perm: 'r',
  },
  {
    signature: 'osd ok-to-stop name=ids,type=CephString,n=N name=max,type=CephInt,req=false',
    help: 'tell whether OSDs can stop without stopping clients',
    module: 'osd',
    perm: 'r',
  },
  { signature: 'service dump', help: 'show the map of services', module: 'service', perm: 'r' },
  { signature: 'service status', help: 'show what services report', module: 'service', perm: 'r' },
  {
    signature: 'osd status name=bucket,type=CephString,req=false',
    help: 'show OSDs with what clients do on them',
    module: 'mgr',
    perm: 'r',
  },
  ...moduleCommands,
  {
    signature: 'osd pool autoscale-status name=format,type=CephString,req=false',
    help: 'show how many placement groups pools should have',
    module: 'mgr',
    perm: 'r',
  },
  { signature: 'progress', help: 'show what is being done', module: 'mgr', perm: 'r' },
  { signature: 'progress json', help: 'show what is being done as JSON', module: 'mgr', perm: 'r' },
  ...reweightCommands,
];

/** What the mon lists beside its own commands, so that the `ceph` tool sends them to the mgr. */
export const mgrCommandDescriptions: readonly CommandDescription[] = mgrCommands.map((command) => ({
  signature: command.signature,
  help: command.help,
  module: command.module,
  perm: command.perm,
  flags: FLAG_MGR | (command.flags ?? 0),
}));
