import { ENOTSUP, Refusal } from '../errno.ts';
import type { CommandContext } from './dispatch.ts';
import { type CommandEntry, FLAG_HIDDEN, FLAG_TELL } from './table.ts';

/**
 * Upstream's commands that this version does not have, by what they belong to. Clients are told so by name, where an unknown command would only be
 * "no valid command found". An entry stands for every command that begins with its words; where some of a family do exist, the others are
 * named one by one (the `ceph` tool takes the longest match).
 */
const absent: Readonly<Record<string, readonly string[]>> = {
  'comparing the stores of monitors on demand': ['mon scrub'],
  'making a lost placement group anew, without its data': ['osd force-create-pg'],
  'the map of all placement groups as bytes (`ceph pg dump` has it as text and JSON)': ['pg getmap'],
  'cache tiers': ['osd tier'],
  'stopping OSDs from afar, whose supervisor would start them again (`ceph osd out` takes one out of use)': [
    'osd stop',
  ],
  'addresses of monitors by hand, and stretch mode': [
    'mon set-addrs',
    'mon set',
    'mon enable_stretch_mode',
    'mon set_new_tiebreaker',
    'osd force_healthy_stretch_mode',
    'osd force_recovery_stretch_mode',
  ],
  'file systems': [
    'fs authorize',
    'fs fail',
    'fs rm',
    'fs reset',
    'fs set',
    'fs set-default',
    'fs set_default',
    'fs flag set',
    'fs feature ls',
    'fs compat',
    'fs required_client_features',
    'fs add_data_pool',
    'fs rm_data_pool',
    'fs mirror',
    'fs volume create',
    'fs volume rm',
    'fs volume info',
    'fs subvolume',
    'fs subvolumegroup',
    'fs clone',
    'fs snapshot',
    'fs snap-schedule',
    'fs perf',
    'mds ok-to-stop',
    'mds fail',
    'mds repaired',
    'mds rm',
    'mds rmfailed',
    'mds freeze',
    'mds set_state',
    'mds compat',
  ],
  'NFS exports': ['nfs'],
  'mirroring, schedules and background work of rbd images': [
    'rbd mirror',
    'rbd task',
    'rbd perf',
    'rbd trash purge schedule',
  ],
  'sending figures elsewhere': ['influx', 'telegraf', 'zabbix', 'insights', 'alerts'],
  'the manager module of that name': ['restful', 'mgr self-test', 'test_orchestrator'],
};

/** The same for `ceph tell mon.a` and `ceph daemon mon.a`, with what is there instead. */
const absentTold: Readonly<Record<string, string>> = {
  compact: 'the store compacts itself',
  'connection scores': 'mons are elected by raft, which counts no scores',
  dump_mempools: 'memory is not kept in pools',
  'log dump': 'no lines are held back: the log of the role has them',
  'log reopen': 'the supervisor opens and turns the log of the role',
  'perf histogram': 'the mon has no histograms',
  'perf reset': 'counters of the mon begin with its process',
  'quorum enter': 'a mon is in quorum while it is reached; `appliance down` ends it',
  'quorum exit': 'a mon is in quorum while it is reached; `appliance down` ends it',
  smart: 'nothing here reads what disks say of themselves',
  sync_force: 'a mon that lacks something gets it from the others by itself',
};

/** Any words may follow: what they are does not matter. */
const anything = 'name=args,type=CephString,n=N,req=false';

/** One entry for each absent command: it refuses with EOPNOTSUPP and says what is not there. */
export const absentTellCommands: readonly CommandEntry<CommandContext>[] = Object.entries(absentTold).map(
  ([prefix, why]) => ({
    signature: `${prefix} ${anything}`,
    help: `not supported by this version: ${why}`,
    module: 'mon',
    perm: 'rw',
    flags: FLAG_TELL,
    handler: () => {
      throw new Refusal(ENOTSUP, `'${prefix}' is not supported by this version: ${why}`);
    },
  }),
);

export const absentCommands: readonly CommandEntry<CommandContext>[] = Object.entries(absent).flatMap(
  ([what, prefixes]) =>
    prefixes.map((prefix) => ({
      signature: `${prefix} ${anything}`,
      help: `not supported by this version: ${what}`,
      module: 'mon',
      perm: 'r',
      flags: FLAG_HIDDEN,
      handler: () => {
        throw new Refusal(ENOTSUP, `'${prefix}' is not supported by this version: ${what}`);
      },
    })),
);
