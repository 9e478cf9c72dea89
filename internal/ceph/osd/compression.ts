import { type CompressionAlgorithm, compressionAlgorithms, type CompressionPolicy } from '../blockstore/api.ts';
import type { MapView } from './map-view.ts';

/** What a pool says itself of its compression; undefined: as the configuration says. */
export interface PoolCompression {
  readonly mode: string | undefined;
  readonly algorithm: string | undefined;
  readonly requiredRatio: number | undefined;
  readonly minBlobBytes: number | undefined;
  readonly maxBlobBytes: number | undefined;
}

/** `bluestore_compression_*`, as upstream has them where nothing is set; the disk counts as one without moving parts. */
export const compressionDefaults: Readonly<Record<string, string>> = {
  bluestore_compression_algorithm: 'snappy',
  bluestore_compression_max_blob_size: '0',
  bluestore_compression_max_blob_size_ssd: '65536',
  bluestore_compression_min_blob_size: '0',
  bluestore_compression_min_blob_size_ssd: '8192',
  bluestore_compression_mode: 'none',
  bluestore_compression_required_ratio: '0.875000',
};

/** The configuration with the defaults of what is not set. */
export function compressionConfig(config: ReadonlyMap<string, string>): Record<string, string> {
  const out: Record<string, string> = {};
  for (const [name, initial] of Object.entries(compressionDefaults)) out[name] = config.get(name) ?? initial;
  return out;
}

/** How data of a pool is compressed; undefined: it is not. What cannot be understood is not guessed: nothing is compressed then. */
export function compressionPolicy(
  pool: PoolCompression,
  config: Readonly<Record<string, string>>,
): CompressionPolicy | undefined {
  const number = (name: string): number => Number(config[`bluestore_compression_${name}`]);
  const size = (name: string): number => number(name) || number(`${name}_ssd`);
  const mode = pool.mode ?? config.bluestore_compression_mode;
  if (mode !== 'passive' && mode !== 'aggressive' && mode !== 'force') return undefined;
  const wanted = pool.algorithm ?? config.bluestore_compression_algorithm;
  const algorithm = compressionAlgorithms.find((each: CompressionAlgorithm) => each === wanted);
  if (algorithm === undefined) return undefined;
  const requiredRatio = pool.requiredRatio ?? number('required_ratio');
  const minBlobBytes = pool.minBlobBytes ?? size('min_blob_size');
  const maxBlobBytes = pool.maxBlobBytes ?? size('max_blob_size');
  if (![requiredRatio, minBlobBytes, maxBlobBytes].every((each) => Number.isFinite(each) && each >= 0))
    return undefined;
  return { mode, algorithm, requiredRatio, minBlobBytes, maxBlobBytes };
}

/** How data of each pool of a map is compressed; a pool that is left out: it is not. */
export function compressionPolicies(
  map: MapView,
  config: ReadonlyMap<string, string>,
): ReadonlyMap<number, CompressionPolicy> {
  const effective = compressionConfig(config);
  const policies = new Map<number, CompressionPolicy>();
  for (const id of map.pools()) {
    const pool = map.pool(id);
    const policy = pool && compressionPolicy(pool.compression, effective);
    if (policy !== undefined) policies.set(id, policy);
  }
  return policies;
}

/** Tells the store how data of each pool is compressed, whenever the map or the configuration says something else than before. */
export class CompressionKeeper {
  readonly #tell: (policies: ReadonlyMap<number, CompressionPolicy>) => void;
  #told = '[]';
  #epoch = -1;
  #config: ReadonlyMap<string, string> | undefined;

  constructor(tell: (policies: ReadonlyMap<number, CompressionPolicy>) => void) {
    this.#tell = tell;
  }

  update(map: MapView | undefined, config: ReadonlyMap<string, string>): void {
    if (map === undefined || (map.epoch === this.#epoch && config === this.#config)) return;
    this.#epoch = map.epoch;
    this.#config = config;
    const policies = compressionPolicies(map, config);
    const text = JSON.stringify([...policies]);
    if (text === this.#told) return;
    this.#told = text;
    this.#tell(policies);
  }
}
