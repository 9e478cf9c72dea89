import { type ConfigState, type ConfigTarget, effectiveConfig } from './config-state.ts';
import { EINVAL, ENOENT, Refusal } from './errno.ts';

export type OptionType =
  | 'int'
  | 'uint'
  | 'size'
  | 'float'
  | 'bool'
  | 'str'
  | 'secs'
  | 'millisecs'
  | 'addr'
  | 'addrvec'
  | 'uuid'
  | 'debug';

/** A configuration option. */
export interface Option {
  name: string;
  type: OptionType;
  /** As `config get` shows it. */
  initial: string;
  level: 'basic' | 'advanced' | 'dev';
  description: string;
  /** Takes effect without a restart. */
  runtime: boolean;
  /** A daemon needs it before it knows a mon: it stands in files only. */
  isFixed?: boolean;
  min?: number;
  max?: number;
  /** What a text may be; absent: anything. */
  choices?: readonly string[];
  /** What it is for, as upstream says it. */
  services?: readonly string[];
}

const table: readonly (readonly [string, OptionType, string, Option['level'], string])[] = [
  ['mon_allow_pool_delete', 'bool', 'false', 'advanced', 'Pools may be deleted.'],
  ['mon_allow_pool_size_one', 'bool', 'false', 'advanced', 'Pools without redundancy may be made.'],
  ['mon_max_pg_per_osd', 'uint', '250', 'advanced', 'PGs that an OSD may get on average when pools are made or grow.'],
  ['mon_max_pool_pg_num', 'uint', '65536', 'advanced', 'Largest pg_num of a pool.'],
  [
    'mon_osd_down_out_interval',
    'int',
    '600',
    'advanced',
    'Seconds after which an OSD that is down is marked out; 0: never.',
  ],
  [
    'mon_osd_down_out_subtree_limit',
    'str',
    'rack',
    'advanced',
    'OSDs of a whole subtree of this type that is down are not marked out.',
  ],
  ['mon_osd_min_in_ratio', 'float', '0.750000', 'advanced', 'Share of OSDs that must stay in.'],
  ['mon_osd_min_up_ratio', 'float', '0.300000', 'advanced', 'Share of OSDs that must stay up.'],
  ['mon_osd_min_down_reporters', 'uint', '2', 'advanced', 'Reporters from different subtrees that are believed.'],
  [
    'mon_osd_reporter_subtree_level',
    'str',
    'host',
    'advanced',
    'Type of the subtrees that count as different reporters.',
  ],
  ['mon_osd_report_timeout', 'int', '900', 'advanced', 'Seconds without a beacon after which an OSD is marked down.'],
  ['mon_mgr_beacon_grace', 'secs', '30', 'advanced', 'Seconds without a beacon after which a mgr is failed.'],
  [
    'mon_clock_drift_allowed',
    'float',
    '0.050000',
    'advanced',
    'Seconds that clocks of mons may be apart before there is a warning.',
  ],
  ['mon_warn_on_pool_no_app', 'bool', 'true', 'dev', 'Warn of pools that are in use without an application.'],
  ['mon_warn_on_pool_no_redundancy', 'bool', 'true', 'advanced', 'Warn of pools of size 1.'],
  ['mon_warn_on_osd_down_out_interval_zero', 'bool', 'true', 'advanced', 'Warn when OSDs that are down never go out.'],
  ['mon_warn_on_pool_pg_num_not_power_of_two', 'bool', 'true', 'dev', 'Warn of a pg_num that is no power of two.'],
  ['mon_warn_on_misplaced', 'bool', 'false', 'advanced', 'Warn of objects that are not where they should be.'],
  ['mon_cluster_log_level', 'str', 'info', 'advanced', 'Lowest level that `ceph -w` and the log on disk show.'],
  ['mon_min_osdmap_epochs', 'int', '500', 'advanced', 'OSDMaps that are always kept.'],
  [
    'mon_mgr_mkfs_grace',
    'int',
    '120',
    'advanced',
    'Seconds after the cluster was made in which a missing mgr is no warning.',
  ],
  ['mon_health_detail_to_clog', 'bool', 'true', 'dev', 'Write changes of health to the cluster log.'],
  ['osd_pool_default_size', 'uint', '3', 'advanced', 'Copies of new pools.'],
  [
    'osd_pool_default_min_size',
    'uint',
    '0',
    'advanced',
    'Copies that must be there for I/O in new pools; 0: size - size/2.',
  ],
  [
    'osd_pool_default_erasure_code_profile',
    'str',
    'plugin=jerasure technique=reed_sol_van k=2 m=2',
    'advanced',
    'Erasure-code profile of new erasure-coded pools.',
  ],
  ['osd_pool_default_pg_num', 'uint', '32', 'advanced', 'pg_num of new pools.'],
  ['osd_pool_default_pgp_num', 'uint', '0', 'advanced', 'pgp_num of new pools; 0: as pg_num.'],
  ['osd_pool_default_crush_rule', 'int', '-1', 'advanced', 'Rule of new pools; -1: the first one.'],
  ['osd_pool_default_pg_autoscale_mode', 'str', 'off', 'advanced', 'Autoscale mode of new pools.'],
  [
    'osd_pool_default_read_lease_ratio',
    'float',
    '0.800000',
    'dev',
    'Length of read leases, as a share of osd_heartbeat_grace; pools may have their own (read_lease_interval).',
  ],
  ['osd_pool_default_flags', 'int', '0', 'dev', 'Flags of new pools.'],
  ['osd_crush_chooseleaf_type', 'int', '1', 'dev', 'Failure domain of the first rule.'],
  ['osd_crush_update_on_start', 'bool', 'true', 'advanced', 'OSDs place themselves in CRUSH when they start.'],
  ['osd_heartbeat_grace', 'int', '20', 'advanced', 'Seconds without an answer after which a peer is reported.'],
  ['osd_heartbeat_interval', 'int', '6', 'dev', 'Seconds between pings of peers.'],
  ['osd_heartbeat_min_peers', 'int', '10', 'advanced', 'Peers that an OSD pings at least, where there are so many.'],
  [
    'osd_fast_fail_on_connection_refused',
    'bool',
    'true',
    'advanced',
    'An OSD whose connections are refused is reported at once.',
  ],
  ['osd_max_backfills', 'uint', '1', 'advanced', 'Backfills and recoveries of one OSD at a time.'],
  [
    'osd_recovery_max_active',
    'uint',
    '0',
    'advanced',
    'Objects that one OSD recovers at a time; 0: by the kind of disk.',
  ],
  ['osd_recovery_max_active_hdd', 'uint', '3', 'advanced', 'The same for rotating disks.'],
  ['osd_recovery_max_active_ssd', 'uint', '10', 'advanced', 'The same for solid-state disks.'],
  [
    'osd_recovery_sleep',
    'float',
    '0.000000',
    'advanced',
    'Seconds between two objects of a recovery; 0: by the kind of disk.',
  ],
  ['osd_recovery_sleep_hdd', 'float', '0.100000', 'advanced', 'The same for rotating disks.'],
  ['osd_recovery_sleep_ssd', 'float', '0.000000', 'advanced', 'The same for solid-state disks.'],
  [
    'osd_recovery_retry_interval',
    'float',
    '30.000000',
    'advanced',
    'Seconds between tries of a recovery for which there is no room.',
  ],
  [
    'osd_backfill_retry_interval',
    'float',
    '30.000000',
    'advanced',
    'Seconds between tries of a backfill for which there is no room.',
  ],
  ['osd_op_complaint_time', 'float', '30.000000', 'advanced', 'Seconds after which a request counts as slow.'],
  ['osd_op_history_size', 'uint', '20', 'advanced', 'Requests that `dump_historic_ops` shows.'],
  ['osd_op_history_duration', 'uint', '600', 'advanced', 'Seconds that they are kept.'],
  ['osd_op_history_slow_op_size', 'uint', '20', 'advanced', 'Requests that `dump_historic_slow_ops` shows.'],
  [
    'osd_op_history_slow_op_threshold',
    'float',
    '10.000000',
    'advanced',
    'Seconds from which on a request is one of those.',
  ],
  ['osd_min_pg_log_entries', 'uint', '100', 'dev', 'Entries that the log of a PG keeps at least.'],
  ['osd_max_pg_log_entries', 'uint', '5000', 'dev', 'Entries that the log of a PG keeps at most.'],
  [
    'osd_target_pg_log_entries_per_osd',
    'uint',
    '60000',
    'dev',
    'Entries that the logs of all PGs of an OSD keep together.',
  ],
  [
    'osd_failsafe_full_ratio',
    'float',
    '0.970000',
    'advanced',
    'Share of its disk from which an OSD refuses writes, whatever the mon says.',
  ],
  ['osd_recovery_op_priority', 'uint', '3', 'advanced', 'Weight of recovery against clients.'],
  ['osd_client_op_priority', 'uint', '63', 'advanced', 'Weight of clients against recovery.'],
  ['osd_scrub_begin_hour', 'int', '0', 'advanced', 'Hour from which scrubs may start.'],
  ['osd_scrub_end_hour', 'int', '0', 'advanced', 'Hour from which scrubs may not start.'],
  ['osd_scrub_min_interval', 'float', '86400.000000', 'advanced', 'Seconds between scrubs of a PG at least.'],
  ['osd_scrub_max_interval', 'float', '604800.000000', 'advanced', 'Seconds between scrubs of a PG at most.'],
  ['osd_deep_scrub_interval', 'float', '604800.000000', 'advanced', 'Seconds between deep scrubs of a PG.'],
  ['osd_max_scrubs', 'int', '1', 'advanced', 'Scrubs that an OSD takes part in at a time.'],
  ['osd_scrub_begin_week_day', 'int', '0', 'advanced', 'Day of the week (0: Sunday) from which scrubs may start.'],
  ['osd_scrub_end_week_day', 'int', '0', 'advanced', 'Day of the week from which scrubs may not start.'],
  ['osd_scrub_load_threshold', 'float', '0.500000', 'advanced', 'Load of a processor below which scrubs may start.'],
  [
    'osd_scrub_interval_randomize_ratio',
    'float',
    '0.500000',
    'advanced',
    'Share of the interval that is left to chance.',
  ],
  ['osd_scrub_backoff_ratio', 'float', '0.660000', 'dev', 'Share of tries to start a scrub that are left out.'],
  ['osd_scrub_during_recovery', 'bool', 'false', 'advanced', 'Scrubs may start on OSDs that recover.'],
  ['osd_scrub_chunk_min', 'int', '5', 'advanced', 'Least objects that are compared at a time.'],
  ['osd_scrub_chunk_max', 'int', '25', 'advanced', 'Most objects that are compared at a time.'],
  ['osd_scrub_sleep', 'float', '0.000000', 'advanced', 'Seconds between two chunks of a scrub.'],
  ['osd_scrub_max_preemptions', 'uint', '5', 'advanced', 'Times that clients make a chunk start over.'],
  ['osd_scrub_auto_repair', 'bool', 'false', 'advanced', 'Mend what a deep scrub finds wrong.'],
  ['osd_scrub_auto_repair_num_errors', 'uint', '5', 'advanced', 'Errors up to which a scrub is followed by repair.'],
  [
    'osd_deep_scrub_randomize_ratio',
    'float',
    '0.150000',
    'advanced',
    'Share of scrubs that are deep before their time.',
  ],
  [
    'osd_deep_scrub_update_digest_min_age',
    'int',
    '7200',
    'advanced',
    'Seconds after which a deep scrub notes the checksums of an object that has none.',
  ],
  [
    'osd_deep_scrub_large_omap_object_key_threshold',
    'uint',
    '200000',
    'advanced',
    'Keys from which on an omap is warned of.',
  ],
  [
    'osd_deep_scrub_large_omap_object_value_sum_threshold',
    'size',
    '1073741824',
    'advanced',
    'Bytes of values from which on an omap is warned of.',
  ],
  [
    'mon_warn_pg_not_scrubbed_ratio',
    'float',
    '0.500000',
    'advanced',
    'Share of the interval by which a scrub is late.',
  ],
  [
    'mon_warn_pg_not_deep_scrubbed_ratio',
    'float',
    '0.750000',
    'advanced',
    'Share of the interval by which a deep scrub is late.',
  ],
  ['osd_memory_target', 'size', '4294967296', 'basic', 'Memory that an OSD tries to stay within.'],
  ['bluestore_compression_mode', 'str', 'none', 'advanced', 'What is compressed where the pool does not say it.'],
  ['bluestore_compression_algorithm', 'str', 'snappy', 'advanced', 'How it is compressed.'],
  [
    'bluestore_compression_required_ratio',
    'float',
    '0.875000',
    'advanced',
    'Share of its size that data may have at most when it is compressed.',
  ],
  [
    'bluestore_compression_min_blob_size',
    'size',
    '0',
    'advanced',
    'Less than this is not compressed; 0: by the kind of disk.',
  ],
  ['bluestore_compression_min_blob_size_ssd', 'size', '8192', 'advanced', 'Less than this is not compressed.'],
  [
    'bluestore_compression_max_blob_size',
    'size',
    '0',
    'advanced',
    'Data is compressed in pieces of this size; 0: by the kind of disk.',
  ],
  [
    'bluestore_compression_max_blob_size_ssd',
    'size',
    '65536',
    'advanced',
    'Data is compressed in pieces of this size.',
  ],
  ['osd_max_write_size', 'size', '90', 'advanced', 'Largest write in megabytes.'],
  ['osd_client_message_size_cap', 'size', '524288000', 'advanced', 'Bytes of client requests in memory.'],
  ['osd_beacon_report_interval', 'int', '300', 'advanced', 'Seconds between beacons.'],
  ['osd_mclock_max_capacity_iops_hdd', 'float', '315.000000', 'basic', 'What a rotating disk can do.'],
  ['osd_mclock_max_capacity_iops_ssd', 'float', '21500.000000', 'basic', 'What a solid-state disk can do.'],
  [
    'mon_warn_on_slow_ping_time',
    'float',
    '0.000000',
    'advanced',
    'Milliseconds from which on heartbeats are slow; 0: by mon_warn_on_slow_ping_ratio.',
  ],
  [
    'mon_warn_on_slow_ping_ratio',
    'float',
    '0.050000',
    'advanced',
    'Share of osd_heartbeat_grace from which on heartbeats are slow.',
  ],
  ['mon_pg_stuck_threshold', 'int', '60', 'advanced', 'Seconds after which a PG counts as stuck.'],
  ['mon_health_max_detail', 'uint', '50', 'advanced', 'Lines of detail of a health check.'],
  [
    'mon_pool_quota_warn_threshold',
    'int',
    '0',
    'advanced',
    'Percent of a quota from which there is a warning; 0: none.',
  ],
  [
    'mon_pool_quota_crit_threshold',
    'int',
    '0',
    'advanced',
    'Percent of a quota from which there is an error; 0: none.',
  ],
  ['mgr_tick_period', 'secs', '2', 'advanced', 'Seconds between beacons of the mgr.'],
  ['mgr_debug_aggressive_pg_num_changes', 'bool', 'false', 'dev', 'PG numbers change without regard to the load.'],
  ['mon_osd_max_creating_pgs', 'int', '1024', 'advanced', 'PGs that are made at a time.'],
  ['mon_target_pg_per_osd', 'uint', '100', 'advanced', 'PGs that an OSD should have when its pools are scaled.'],
  [
    'mon_osd_warn_num_repaired',
    'uint',
    '10',
    'advanced',
    'Repairs of copies on an OSD beyond which the operator is warned.',
  ],
  [
    'target_max_misplaced_ratio',
    'float',
    '0.050000',
    'basic',
    'Share of objects that may be out of place when PGs are moved.',
  ],
  ['mgr_stats_period', 'int', '5', 'basic', 'Seconds between reports to the mgr.'],
  [
    'auth_allow_insecure_global_id_reclaim',
    'bool',
    'false',
    'advanced',
    'Old clients may take a global id again without proof.',
  ],
  ['auth_mon_ticket_ttl', 'float', '259200.000000', 'advanced', 'Seconds that a ticket for the mons is valid.'],
  ['auth_service_ticket_ttl', 'float', '3600.000000', 'advanced', 'Seconds that a ticket for other services is valid.'],
  [
    'rbd_default_features',
    'str',
    'layering,exclusive-lock,object-map,fast-diff,deep-flatten',
    'advanced',
    'Features of new images.',
  ],
  ['rbd_default_order', 'uint', '22', 'advanced', 'Object size of new images as a power of two.'],
  ['rbd_default_data_pool', 'str', '', 'advanced', 'Data pool of new images.'],
  ['rbd_default_stripe_count', 'uint', '0', 'advanced', 'Stripe count of new images.'],
  ['rbd_default_stripe_unit', 'size', '0', 'advanced', 'Stripe unit of new images.'],
  ['rbd_cache', 'bool', 'true', 'advanced', 'Clients cache.'],
  ['rbd_cache_size', 'size', '33554432', 'advanced', 'Cache of an image at a client.'],
  ['rbd_cache_max_dirty', 'size', '25165824', 'advanced', 'Dirty bytes in that cache.'],
  ['rbd_cache_policy', 'str', 'writearound', 'advanced', 'Kind of that cache.'],
  ['rbd_concurrent_management_ops', 'uint', '10', 'advanced', 'Objects that one command works on at a time.'],
  ['rbd_read_from_replica_policy', 'str', 'default', 'basic', 'Where clients read.'],
  ['rados_osd_op_timeout', 'secs', '0', 'advanced', 'Seconds after which clients give up an operation.'],
  ['rados_mon_op_timeout', 'secs', '0', 'advanced', 'Seconds after which clients give up a mon request.'],
  ['client_mount_timeout', 'secs', '300', 'advanced', 'Seconds that a client waits for the cluster.'],
  ['objecter_inflight_ops', 'uint', '1024', 'advanced', 'Operations of a client in flight.'],
  ['objecter_inflight_op_bytes', 'size', '104857600', 'advanced', 'Bytes of them.'],
  ['ms_client_mode', 'str', 'crc secure', 'basic', 'Connection modes of clients.'],
  ['ms_mon_client_mode', 'str', 'secure crc', 'basic', 'Connection modes of clients to the mons.'],
  ['debug_mon', 'debug', '1/5', 'advanced', 'Log level of mons.'],
  ['debug_osd', 'debug', '1/5', 'advanced', 'Log level of OSDs.'],
  ['debug_mgr', 'debug', '2/5', 'advanced', 'Log level of the mgr.'],
  ['debug_ms', 'debug', '0/0', 'advanced', 'Log level of the messenger.'],
  ['debug_rbd', 'debug', '0/5', 'advanced', 'Log level of rbd.'],
  ['debug_rados', 'debug', '0/5', 'advanced', 'Log level of librados.'],
  ['debug_objecter', 'debug', '0/1', 'advanced', 'Log level of the objecter.'],
  ['debug_client', 'debug', '0/5', 'advanced', 'Log level of CephFS clients.'],
  ['log_to_file', 'bool', 'true', 'basic', 'Daemons log to files.'],
  ['log_to_stderr', 'bool', 'true', 'basic', 'Daemons log to standard error.'],
];

/** Those that some daemon of ours, or every client of the cluster, acts on. */
export const options: ReadonlyMap<string, Option> = new Map(
  table.map(([name, type, initial, level, description]) => [
    name,
    { name, type, initial, level, description, runtime: true },
  ]),
);

/** An option by its name with spaces, hyphens or underscores. */
export function optionName(text: string): string {
  return text.replaceAll('-', '_').replaceAll(' ', '_');
}

/** What a mon knows by name: the options above, and with them all others of upstream's, which are read when they are needed first. */
export class KnownOptions {
  readonly #read: () => readonly Option[];
  #upstream: readonly Option[] | undefined;

  constructor(read: () => readonly Option[]) {
    this.#read = read;
  }

  /** Of 16.2.15, in its order. */
  get upstream(): readonly Option[] {
    this.#upstream ??= this.#read();
    return this.#upstream;
  }

  find(name: string): Option | undefined {
    return options.get(name) ?? this.upstream.find((option) => option.name === name);
  }
}

/** The value as it is kept, checked against the option's type and bounds. Errors: EINVAL as upstream words it. */
export function parseOption(option: Option, text: string): string {
  const value = parseValue(option, text);
  const { choices, max, min } = option;
  const bad = (why: string): Refusal => new Refusal(EINVAL, `error parsing value: ${why}`);
  if (min !== undefined && Number(value) < min) throw bad(`Value '${value}' is below minimum ${min}`);
  if (max !== undefined && Number(value) > max) throw bad(`Value '${value}' exceeds maximum ${max}`);
  if (choices !== undefined && !choices.includes(value))
    throw bad(`'${value}' is not one of the permitted values: ${choices.join(', ')}`);
  return value;
}

function parseValue(option: Option, text: string): string {
  const bad = (why: string): Refusal => new Refusal(EINVAL, `error parsing value: ${why}`);
  switch (option.type) {
    case 'int':
    case 'uint':
    case 'secs':
    case 'millisecs':
      if (!/^-?\d+$/.test(text)) throw bad(`Expected option value to be integer, got '${text}'`);
      if (option.type !== 'int' && text.startsWith('-')) throw bad(`Value '${text}' is below minimum 0`);
      return text;
    case 'size': {
      const match = /^(\d+)(?:([KMGTPE])(?:i?B)?|B)?$/i.exec(text);
      if (match === null) throw bad(`strict_iecstrtoll: value "${text}" is no size`);
      const power = match[2] === undefined ? 0 : 'KMGTPE'.indexOf(match[2].toUpperCase()) + 1;
      return String(BigInt(match[1]!) * 1024n ** BigInt(power));
    }
    case 'float': {
      const value = Number(text);
      if (text.trim() === '' || !Number.isFinite(value)) throw bad(`strict_strtod: value '${text}' is no number`);
      return value.toFixed(6);
    }
    case 'bool':
      if (/^(true|yes|on|1)$/i.test(text)) return 'true';
      if (/^(false|no|off|0)$/i.test(text)) return 'false';
      throw bad(`Expected option value to be bool, got '${text}'`);
    case 'debug':
      if (!/^\d+(\/\d+)?$/.test(text)) throw bad(`value must take the form N or N/M, where N and M are integers`);
      return text.includes('/') ? text : `${text}/${text}`;
    case 'str':
    case 'addr':
    case 'addrvec':
    case 'uuid':
      return text;
  }
}

/** `--mon_x=1`, `--mon-x 1`: pairs of names and values. Errors: EINVAL. */
export function injectedOptions(words: readonly string[]): [name: string, value: string][] {
  const out: [string, string][] = [];
  const rest = words.flatMap((word) => word.split(/\s+/)).filter((word) => word !== '');
  while (rest.length > 0) {
    const word = rest.shift()!;
    const [, name, given] = /^--([\w-]+)(?:=(.*))?$/s.exec(word) ?? [];
    const value = given ?? rest.shift();
    if (name === undefined || value === undefined || !options.has(optionName(name)))
      throw new Refusal(
        EINVAL,
        ` failed to parse arguments: ${[word, ...(given === undefined && value !== undefined ? [value] : []), ...rest].join(',')}\n`,
      );
    out.push([optionName(name), value]);
  }
  return out;
}

/** The value of an option for an entity: as set, else its default. Errors: ENOENT for an option that is not known. */
export function optionValue(config: ConfigState, target: ConfigTarget, name: string, known: KnownOptions): string {
  const set = effectiveConfig(config, target).get(name);
  if (set !== undefined) return set.value;
  const option = known.find(name);
  if (option === undefined) throw new Refusal(ENOENT, `unrecognized key '${name}'`);
  if (option.isFixed) throw new Refusal(EINVAL, specialText(name));
  return option.initial;
}

export function specialText(name: string): string {
  return `${name} is special and cannot be stored by the mon`;
}

/** The mon's own settings. */
export class MonOptions {
  readonly #values: ReadonlyMap<string, { value: string }>;

  /** `overrides`: what was set for this process alone. */
  constructor(config: ConfigState, name: string, overrides: ReadonlyMap<string, string> = new Map()) {
    const values = effectiveConfig(config, { entity: `mon.${name}` }) as Map<string, { value: string }>;
    for (const [option, value] of overrides) values.set(option, { value });
    this.#values = values;
  }
  text(name: string): string {
    return this.#values.get(name)?.value ?? options.get(name)?.initial ?? '';
  }
  number(name: string): number {
    return Number(this.text(name));
  }
  flag(name: string): boolean {
    return this.text(name) === 'true';
  }
}
