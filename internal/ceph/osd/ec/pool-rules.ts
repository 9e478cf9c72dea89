import { stripeBytes } from '../../erasure/layout.ts';
import type { PgCore } from '../pg-core.ts';

/** What the kind of a pool forbids (`pg_pool_t::supports_omap`, `requires_aligned_append`). */
export interface PoolRules {
  erasure: boolean;
  /** Objects only grow, by writes that begin at multiples of this; 0: they may be changed in any way. */
  appendBytes: number;
}

const free: PoolRules = { erasure: false, appendBytes: 0 };

export function poolRules(core: PgCore): PoolRules {
  if (core.code === undefined) return free;
  const overwrites = core.map.pool(core.id.pool)?.overwrites === true;
  return { erasure: true, appendBytes: overwrites ? 0 : stripeBytes(core.code.layout) };
}
