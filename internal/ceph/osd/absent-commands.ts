import { ENOTSUP, Refusal } from '../mon/errno.ts';
import type { Command, Parameter } from './command-target.ts';

/** Upstream's commands of an OSD that this one does not have, by the reason, which whoever asks is told. */
const absent: Readonly<Record<string, readonly string[]>> = {
  'its store is not BlueStore over RocksDB and BlueFS': [
    'bluefs debug_inject_read_zeros',
    'bluefs files list',
    'bluefs stats',
    'bluestore allocator dump block',
    'bluestore allocator fragmentation block',
    'bluestore allocator score block',
    'bluestore bluefs device info',
    'calc_objectstore_db_histogram',
    'dump_objectstore_kv_stats',
    'flush_store_cache',
  ],
  'requests go to their placement group as they come, without a queue of operations': ['dump_op_pq_state'],
  'it is not built with tcmalloc, whose profilers these are': ['heap', 'cpu_profiler'],
  'it keeps no history of that kind': [
    'dump_pg_recovery_stats',
    'reset_pg_recovery_stats',
    'dump_pgstate_history',
    'perf histogram dump',
    'perf histogram schema',
    'perf reset',
  ],
  'removed snapshots are found by looking at the objects of each placement group, which keep no index of them': [
    'scrub_purged_snaps',
    'reset_purged_snaps_last',
  ],
  'the pause before recoveries is osd_recovery_sleep': ['debug kick_recovery_wq', 'set_recovery_delay'],
  'disks are looked at by the node, not by its OSDs': ['list_devices', 'smart'],
  'giving objects up that no OSD has is not supported by this version': ['mark_unfound_lost', 'pg mark_unfound_lost'],
  'it is for tests, and changes objects behind the back of their placement group': [
    'getomap',
    'injectdataerr',
    'injectfull',
    'injectmdataerr',
    'rmomapkey',
    'setomapheader',
    'setomapval',
    'truncobj',
  ],
  'it is for tests of the daemon itself': ['abort', 'assert', 'leak_some_memory', '0', '1', '2'],
};

/** Any words may follow. */
const anything: Parameter = { name: 'args', type: 'CephString', n: 'N', req: 'false' };

function signature(name: string): Command['sig'] {
  const words = name.split(' ');
  if (words[0] !== 'pg') return [...words, anything];
  const cmd: Parameter = { name: 'cmd', type: 'CephChoices', strings: words[1]! };
  return ['pg', { name: 'pgid', type: 'CephPgid' }, cmd, anything];
}

export const absentCommands: readonly Command[] = Object.entries(absent).flatMap(([reason, names]) =>
  names.map((name) => ({
    sig: signature(name),
    help: `not supported: ${reason}`,
    perm: 'r',
    run: () => {
      throw new Refusal(ENOTSUP, `'${name}' is not supported by this OSD: ${reason}`);
    },
  })),
);
