import { compressionAlgorithms } from '../../blockstore/api.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import {
  autoscaleModeNames,
  isErasure,
  type PgPool,
  POOL_BULK,
  POOL_EC_OVERWRITES,
  POOL_EIO,
  POOL_HASHPSPOOL,
  POOL_NODEEP_SCRUB,
  POOL_NODELETE,
  POOL_NOPGCHANGE,
  POOL_NOSCRUB,
  POOL_NOSIZECHANGE,
  POOL_WRITE_FADVISE_DONTNEED,
  type PoolOption,
  poolOptionNames,
} from '../../maps/pool.ts';
import { EACCES, EINVAL, ENOENT, ENOTSUP, EPERM, ERANGE, Refusal } from '../errno.ts';
import { optionText } from '../format/pool.ts';
import type { Json } from '../format/json.ts';
import { dataChunks } from '../osd/erasure-profiles.ts';
import { checkPgNum, minSizeOf, type PoolLimits } from '../osd/pools.ts';

/** What `osd pool set` works on. */
export interface SettingContext {
  map: OsdMap;
  id: number;
  name: string;
  limits: PoolLimits;
  allowSizeOne: boolean;
  /** Of the map that the change makes. */
  epoch: number;
  /** `osd_pool_default_min_size`. */
  defaultMinSize: number;
  sure: boolean;
}

/** One variable of `osd pool get` and `osd pool set`. `get` undefined: not applicable to this pool. */
interface PoolSetting {
  get(pool: PgPool, map: OsdMap): { json: Json; text: string } | undefined;
  /** Absent: cannot be set. Errors: Refusal. */
  set?(pool: PgPool, value: string, context: SettingContext): PgPool;
}

function integer(text: string): number {
  if (!/^-?\d+$/.test(text.trim()))
    throw new Refusal(
      EINVAL,
      `error parsing integer value '${text}': Expected option value to be integer, got '${text}'`,
    );
  return Number(text);
}

function float(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value))
    throw new Refusal(
      EINVAL,
      `error parsing floating point value '${text}': strict_strtod: Option --argument='${text}' could not be parsed`,
    );
  return value;
}

function boolean(text: string): boolean {
  if (text === 'true' || text === '1') return true;
  if (text === 'false' || text === '0') return false;
  throw new Refusal(EINVAL, `expecting value 'true', 'false', '0', or '1'`);
}

const same = (value: string | number): { json: Json; text: string } => ({ json: value, text: String(value) });

function flag(bit: number): PoolSetting {
  return {
    get: (pool) => ({ json: (pool.flags & bit) !== 0, text: String((pool.flags & bit) !== 0) }),
    set: (pool, value) => ({ ...pool, flags: boolean(value) ? pool.flags | bit : pool.flags & ~bit }),
  };
}

/** An option that a pool has only when it was set; 0 or empty text takes it away. */
function option(name: string, kind: PoolOption['type'], check?: (text: string) => void): PoolSetting {
  const id = [...poolOptionNames].find(([, text]) => text === name)![0];
  return {
    get: (pool) => {
      const value = pool.options.get(id);
      return value === undefined ? undefined : { json: value.value, text: optionText(value) };
    },
    set: (pool, text) => {
      const options = new Map(pool.options);
      const unset = kind === 0 && text === 'unset';
      if (!unset) check?.(text);
      if (unset || (kind === 0 ? text === '' : float(text) === 0)) options.delete(id);
      else {
        options.set(
          id,
          kind === 0
            ? { type: 0, value: text }
            : kind === 1
              ? { type: 1, value: BigInt(integer(text)) }
              : { type: 2, value: float(text) },
        );
      }
      return { ...pool, options: new Map([...options].sort(([a], [b]) => a - b)) };
    },
  };
}

/** `what`: in upstream's words, with which the refusal begins. */
function oneOf(words: readonly string[], what: string): (text: string) => void {
  return (text) => {
    if (!words.includes(text)) throw new Refusal(EINVAL, `unrecognized ${what} '${text}'`);
  };
}

/** A share of what data takes (`compression_required_ratio`). */
function ratio(text: string): void {
  const value = Number(text);
  if (text.trim() === '' || Number.isNaN(value)) {
    const wrong = Number.isNaN(Number.parseFloat(text)) ? 'expected double, got' : 'garbage at end of string. got';
    throw new Refusal(EINVAL, `error parsing float value '${text}': strict_strtod: ${wrong}: '${text}'`);
  }
  if (value < 0 || value > 1) throw new Refusal(EINVAL, `compression_required_ratio is out of range (0-1): '${text}'`);
}

function wholeNumber(text: string): void {
  if (!/^-?\d+$/.test(text.trim()))
    throw new Refusal(EINVAL, `error parsing int value '${text}': Expected option value to be integer, got '${text}'`);
}

/** In the order in which `osd pool get x all` shows them. */
export const poolSettings: ReadonlyMap<string, PoolSetting> = new Map<string, PoolSetting>([
  [
    'size',
    {
      get: (pool) => same(pool.size),
      set: (pool, text, { map, id, limits, allowSizeOne, defaultMinSize, sure }) => {
        if ((pool.flags & POOL_NOSIZECHANGE) !== 0)
          throw new Refusal(EPERM, 'pool size change is disabled; you must unset nosizechange flag for the pool first');
        if (isErasure(pool)) throw new Refusal(ENOTSUP, 'can not change the size of an erasure-coded pool');
        const size = integer(text);
        if (size <= 0 || size > 10) throw new Refusal(EINVAL, 'pool size must be between 1 and 10');
        if (size === 1 && !allowSizeOne) throw new Refusal(EPERM, 'configuring pool size as 1 is disabled by default.');
        if (size === 1 && !sure)
          throw new Refusal(
            EPERM,
            'WARNING: setting pool size 1 could lead to data loss without recovery. If you are *ABSOLUTELY CERTAIN* that is what you want, pass the flag --yes-i-really-mean-it.',
          );
        checkPgNum(map, id, pool.pgNum, size, limits);
        return { ...pool, size, minSize: minSizeOf(size, defaultMinSize) };
      },
    },
  ],
  [
    'min_size',
    {
      get: (pool) => same(pool.minSize),
      set: (pool, text, { map }) => {
        const minSize = integer(text);
        if (minSize < 1 || minSize > pool.size)
          throw new Refusal(EINVAL, `pool min_size must be between 1 and size, which is set to ${pool.size}`);
        const k = isErasure(pool) ? dataChunks(map, pool.erasureCodeProfile) : undefined;
        if (k !== undefined && minSize < k)
          throw new Refusal(EINVAL, `pool min_size must be between ${k} and size, which is set to ${pool.size}`);
        return { ...pool, minSize };
      },
    },
  ],
  [
    'pg_num',
    {
      get: (pool) => same(pool.pgNum),
      set: (pool, text, { map, id, limits }) => {
        const pgNum = integer(text);
        mayChangePgs(pool, 'pg_num');
        if (pgNum === pool.pgNumTarget) return pool;
        if (pgNum <= 0) throw new Refusal(EINVAL, `specified pg_num must > 0, but you set to ${pgNum}`);
        if (pgNum > pool.pgNumTarget || pgNum > limits.maxPgNum) checkPgNum(map, id, pgNum, pool.size, limits);
        const least = intOption(pool, 'pg_num_min');
        const most = intOption(pool, 'pg_num_max');
        if (least > 0 && pgNum < least) throw new Refusal(EINVAL, `specified pg_num ${pgNum} < pg_num_min ${least}`);
        if (most > 0 && pgNum > most) throw new Refusal(EINVAL, `specified pg_num ${pgNum} > pg_num_max ${most}`);
        // Only wanted: the mgr gets there step by step. Where pgp_num was the same it follows.
        const pgpNumTarget = pool.pgNumTarget === pool.pgpNumTarget ? pgNum : pool.pgpNumTarget;
        return { ...pool, pgNumTarget: pgNum, pgpNumTarget };
      },
    },
  ],
  [
    'pgp_num',
    {
      get: (pool) => same(pool.pgpNum),
      set: (pool, text) => {
        const pgpNum = integer(text);
        mayChangePgs(pool, 'pgp_num');
        if (pgpNum <= 0) throw new Refusal(EINVAL, `specified pgp_num must > 0, but you set to ${pgpNum}`);
        if (pgpNum > pool.pgNumTarget)
          throw new Refusal(EINVAL, `specified pgp_num ${pgpNum} > pg_num ${pool.pgNumTarget}`);
        return { ...pool, pgpNumTarget: pgpNum };
      },
    },
  ],
  [
    'crush_rule',
    {
      get: (pool, map) => same(map.crush.ruleNames.get(pool.crushRule) ?? String(pool.crushRule)),
      set: (pool, text, { map }) => {
        const rule = map.crush.ruleOfName(text);
        if (rule === undefined) throw new Refusal(ENOENT, `crush rule ${text} does not exist`);
        const info = map.crush.rules[rule]!;
        if (info.type !== pool.type) throw new Refusal(EINVAL, `crush rule ${rule} type does not match pool`);
        if (pool.size < info.minSize || pool.size > info.maxSize)
          throw new Refusal(
            EINVAL,
            `crush rule ${text} takes sizes ${info.minSize} to ${info.maxSize}, the pool has ${pool.size}`,
          );
        return { ...pool, crushRule: rule };
      },
    },
  ],
  ['hashpspool', { get: flag(POOL_HASHPSPOOL).get }],
  [
    'allow_ec_overwrites',
    {
      get: (pool) =>
        isErasure(pool)
          ? { json: (pool.flags & POOL_EC_OVERWRITES) !== 0, text: String((pool.flags & POOL_EC_OVERWRITES) !== 0) }
          : undefined,
      set: (pool, text) => {
        if (!isErasure(pool)) throw new Refusal(EINVAL, 'ec overwrites can only be enabled for an erasure coded pool');
        if (!boolean(text)) throw new Refusal(EINVAL, 'ec overwrites cannot be disabled once enabled');
        return { ...pool, flags: pool.flags | POOL_EC_OVERWRITES };
      },
    },
  ],
  ['nodelete', flag(POOL_NODELETE)],
  ['nopgchange', flag(POOL_NOPGCHANGE)],
  ['nosizechange', flag(POOL_NOSIZECHANGE)],
  ['write_fadvise_dontneed', flag(POOL_WRITE_FADVISE_DONTNEED)],
  // Of newer releases than the others: shown only where it is set, so that nothing else looks different.
  ['eio', { ...flag(POOL_EIO), get: (pool) => ((pool.flags & POOL_EIO) === 0 ? undefined : same('true')) }],
  ['noscrub', flag(POOL_NOSCRUB)],
  ['nodeep-scrub', flag(POOL_NODEEP_SCRUB)],
  ['use_gmt_hitset', { get: (pool) => ({ json: pool.useGmtHitset, text: pool.useGmtHitset ? '1' : '0' }) }],
  ['erasure_code_profile', { get: (pool) => (isErasure(pool) ? same(pool.erasureCodeProfile) : undefined) }],
  ['fast_read', { get: (pool) => same(pool.fastRead ? 1 : 0) }],
  ['scrub_min_interval', option('scrub_min_interval', 2)],
  ['scrub_max_interval', option('scrub_max_interval', 2)],
  ['deep_scrub_interval', option('deep_scrub_interval', 2)],
  ['recovery_priority', option('recovery_priority', 1)],
  ['recovery_op_priority', option('recovery_op_priority', 1)],
  ['scrub_priority', option('scrub_priority', 1)],
  [
    'compression_mode',
    option('compression_mode', 0, oneOf(['none', 'passive', 'aggressive', 'force'], 'compression mode')),
  ],
  [
    'compression_algorithm',
    option('compression_algorithm', 0, oneOf(['none', ...compressionAlgorithms], 'compression_algorithm')),
  ],
  ['compression_required_ratio', option('compression_required_ratio', 2, ratio)],
  ['compression_max_blob_size', option('compression_max_blob_size', 1, wholeNumber)],
  ['compression_min_blob_size', option('compression_min_blob_size', 1, wholeNumber)],
  ['csum_type', option('csum_type', 1)],
  ['csum_max_block', option('csum_max_block', 1)],
  ['csum_min_block', option('csum_min_block', 1)],
  [
    'pg_autoscale_mode',
    {
      get: (pool) => same(autoscaleModeNames[pool.autoscaleMode] ?? 'unknown'),
      set: (pool, text) => {
        const mode = autoscaleModeNames.indexOf(text);
        if (mode < 0) throw new Refusal(EINVAL, `specified invalid mode ${text}`);
        return { ...pool, autoscaleMode: mode };
      },
    },
  ],
  ['pg_autoscale_bias', option('pg_autoscale_bias', 2)],
  ['pg_num_min', option('pg_num_min', 1)],
  ['pg_num_max', option('pg_num_max', 1)],
  ['target_size_bytes', option('target_size_bytes', 1)],
  ['target_size_ratio', option('target_size_ratio', 2)],
  ['bulk', flag(POOL_BULK)],
]);

/** What the mgr sets on its way to the wanted numbers (`OSDMonitor::prepare_command_pool_set`); nobody reads them by these names. */
const steps: ReadonlyMap<string, NonNullable<PoolSetting['set']>> = new Map([
  [
    'pg_num_actual',
    (pool, text, { limits, epoch }) => {
      const pgNum = integer(text);
      mayChangePgs(pool, 'pg_num');
      if (pgNum === pool.pgNum) return pool;
      if (pgNum < 1 || pgNum > limits.maxPgNum)
        throw new Refusal(
          ERANGE,
          `'pg_num' must be greater than 0 and less than or equal to ${limits.maxPgNum} (you may adjust 'mon max pool pg num' for higher values)`,
        );
      // Clients of before Luminous know nothing of splits, those of before Nautilus nothing of what is to merge.
      const resend = { lastForceOpResendPreluminous: epoch, lastForceOpResendPrenautilus: epoch };
      if (pgNum > pool.pgNum) {
        const prenautilus = pool.pgNum === pool.pgNumPending ? pool.lastForceOpResendPrenautilus : epoch;
        return { ...pool, ...resend, pgNum, pgNumPending: pgNum, lastForceOpResendPrenautilus: prenautilus };
      }
      if (pgNum < pool.pgpNum) throw new Refusal(EINVAL, `specified pg_num ${pgNum} < pgp_num ${pool.pgpNum}`);
      if (pgNum < pool.pgNum - 1)
        throw new Refusal(
          EINVAL,
          `specified pg_num ${pgNum} < pg_num (${pool.pgNum}) - 1; only single pg decrease is currently supported`,
        );
      return { ...pool, ...resend, pgNumPending: pgNum };
    },
  ],
  [
    'pgp_num_actual',
    (pool, text) => {
      const pgpNum = integer(text);
      mayChangePgs(pool, 'pgp_num');
      if (pgpNum <= 0) throw new Refusal(EINVAL, `specified pgp_num must > 0, but you set to ${pgpNum}`);
      if (pgpNum > pool.pgNum) throw new Refusal(EINVAL, `specified pgp_num ${pgpNum} > pg_num ${pool.pgNum}`);
      return { ...pool, pgpNum };
    },
  ],
]);

function mayChangePgs(pool: PgPool, what: string): void {
  if ((pool.flags & POOL_NOPGCHANGE) !== 0)
    throw new Refusal(EPERM, `pool ${what} change is disabled; you must unset nopgchange flag for the pool first`);
}

/** 0: not set. */
function intOption(pool: PgPool, name: string): number {
  const id = [...poolOptionNames].find(([, text]) => text === name)![0];
  const option = pool.options.get(id);
  return option?.type === 1 ? Number(option.value) : 0;
}

/** Variables of cache tiers, of which there are none. */
const tierOnly = new Set([
  'hit_set_type',
  'hit_set_period',
  'hit_set_count',
  'hit_set_fpp',
  'target_max_objects',
  'target_max_bytes',
  'cache_target_dirty_ratio',
  'cache_target_dirty_high_ratio',
  'cache_target_full_ratio',
  'cache_min_flush_age',
  'cache_min_evict_age',
  'min_read_recency_for_promote',
  'min_write_recency_for_promote',
  'hit_set_grade_decay_rate',
  'hit_set_search_last_n',
]);

/** Errors: EACCES when the variable is not of this kind of pool, ENOENT when the option is not set. */
export function getSetting(pool: PgPool, name: string, variable: string, map: OsdMap): { json: Json; text: string } {
  const setting = poolSettings.get(variable);
  if (tierOnly.has(variable)) throw new Refusal(EACCES, `pool '${name}' is not a tier pool: variable not applicable`);
  if (setting === undefined) throw new Refusal(ENOTSUP, `pool variable '${variable}' is not supported`);
  const found = setting.get(pool, map);
  if (found !== undefined) return found;
  if (variable === 'erasure_code_profile' || variable === 'allow_ec_overwrites')
    throw new Refusal(EACCES, `pool '${name}' is not a erasure pool: variable not applicable`);
  throw new Refusal(ENOENT, `option '${variable}' is not set on pool '${name}'`);
}

export function setSetting(pool: PgPool, variable: string, value: string, context: SettingContext): PgPool {
  if (tierOnly.has(variable)) throw new Refusal(ENOTSUP, 'cache tiers are not supported');
  const set = poolSettings.get(variable)?.set ?? steps.get(variable);
  if (set === undefined) throw new Refusal(ENOTSUP, `setting pool variable '${variable}' is not supported`);
  return set(pool, value, context);
}

export const getVariables =
  'size|min_size|pg_num|pgp_num|crush_rule|hashpspool|nodelete|nopgchange|nosizechange|write_fadvise_dontneed|noscrub|nodeep-scrub|hit_set_type|hit_set_period|hit_set_count|hit_set_fpp|use_gmt_hitset|target_max_objects|target_max_bytes|cache_target_dirty_ratio|cache_target_dirty_high_ratio|cache_target_full_ratio|cache_min_flush_age|cache_min_evict_age|erasure_code_profile|min_read_recency_for_promote|all|min_write_recency_for_promote|fast_read|hit_set_grade_decay_rate|hit_set_search_last_n|scrub_min_interval|scrub_max_interval|deep_scrub_interval|recovery_priority|recovery_op_priority|scrub_priority|compression_mode|compression_algorithm|compression_required_ratio|compression_max_blob_size|compression_min_blob_size|csum_type|csum_min_block|csum_max_block|allow_ec_overwrites|fingerprint_algorithm|pg_autoscale_mode|pg_autoscale_bias|pg_num_min|pg_num_max|target_size_bytes|target_size_ratio|dedup_tier|dedup_chunk_algorithm|dedup_cdc_chunk_size|bulk|eio';
export const setVariables =
  'size|min_size|pg_num|pgp_num|pgp_num_actual|crush_rule|hashpspool|nodelete|nopgchange|nosizechange|write_fadvise_dontneed|noscrub|nodeep-scrub|hit_set_type|hit_set_period|hit_set_count|hit_set_fpp|use_gmt_hitset|target_max_bytes|target_max_objects|cache_target_dirty_ratio|cache_target_dirty_high_ratio|cache_target_full_ratio|cache_min_flush_age|cache_min_evict_age|min_read_recency_for_promote|min_write_recency_for_promote|fast_read|hit_set_grade_decay_rate|hit_set_search_last_n|scrub_min_interval|scrub_max_interval|deep_scrub_interval|recovery_priority|recovery_op_priority|scrub_priority|compression_mode|compression_algorithm|compression_required_ratio|compression_max_blob_size|compression_min_blob_size|csum_type|csum_min_block|csum_max_block|allow_ec_overwrites|fingerprint_algorithm|pg_autoscale_mode|pg_autoscale_bias|pg_num_min|pg_num_max|target_size_bytes|target_size_ratio|dedup_tier|dedup_chunk_algorithm|dedup_cdc_chunk_size|bulk|eio';
