import { wrongShards } from '../../erasure/digest.ts';
import { shardSize } from '../../erasure/layout.ts';
import type { PoolCode } from '../map-view.ts';
import type { ShardRules } from '../scrub-compare.ts';
import { shardOf } from '../shards.ts';

/** What scrub compares shards by. */
export function shardRules({ code, layout }: PoolCode): ShardRules {
  return {
    sizeOf: (size) => shardSize(layout, size),
    wrong: (digests) => {
      const members = new Map([...digests.keys()].map((member) => [shardOf(member)!, member]));
      const byShard = new Map([...digests].map(([member, digest]) => [shardOf(member)!, digest]));
      return wrongShards(code, byShard)?.map((shard) => members.get(shard)!);
    },
  };
}
