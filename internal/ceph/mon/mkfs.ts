import { utf8 } from '../../base/bytes.ts';
import type { RequestOp, Store } from '../../store/api.ts';
import { encodeCrushMap } from '../crush/codec.ts';
import { newCrushMap } from '../crush/default-map.ts';
import type { AuthEntry } from '../auth/api.ts';
import { emptyMgrMap } from '../maps/mgrmap.ts';
import { newMonMap } from '../maps/monmap.ts';
import { OsdMap } from '../maps/osdmap.ts';
import { encodeOsdMap } from '../maps/osdmap-codec.ts';
import { emptyServiceMap } from '../maps/servicemap.ts';
import { LOG_INFO } from '../wire/messages/log.ts';
import { ENTITY_MON, type EntityAddrVec } from '../wire/types.ts';
import { Draft } from './draft.ts';
import { keys, monFormat } from './keys.ts';
import { emptyState } from './state.ts';

export interface MkfsOptions {
  fsid: string;
  name: string;
  addrs: EntityAddrVec;
  entities: ReadonlyMap<string, AuthEntry>;
  /** Type of bucket over which the first rule spreads copies. */
  failureDomain: string;
  /** Central configuration to begin with: who, option, value. */
  config: readonly { who: string; name: string; value: string }[];
  nowMs: number;
}

/** The first state of a cluster: maps of epoch 1, the entities, the configuration. */
export function mkfs(options: MkfsOptions): Draft {
  const { fsid, name, addrs, nowMs } = options;
  const draft = new Draft(emptyState(), nowMs);
  draft.state.fsid = fsid;
  draft.put(keys.format, utf8(String(monFormat)));
  draft.put(keys.fsid, utf8(fsid));
  draft.setMonMap(
    newMonMap({
      fsid,
      created: draft.now,
      mons: [{ name, addrs, priority: 0, weight: 0, crushLocation: new Map() }],
    }),
  );
  const map = new OsdMap();
  map.fsid = fsid;
  map.epoch = 1;
  map.created = draft.now;
  map.modified = draft.now;
  map.crush = newCrushMap(options.failureDomain);
  map.crushBytes = encodeCrushMap(map.crush);
  map.erasureCodeProfiles = new Map([
    [
      'default',
      new Map([
        ['k', '2'],
        ['m', '2'],
        ['plugin', 'jerasure'],
        ['technique', 'reed_sol_van'],
      ]),
    ],
  ]);
  draft.state.osdmap = map;
  draft.put(keys.osdFull(1), encodeOsdMap(map));
  draft.put(keys.osdFirst, utf8('1'));
  draft.put(keys.osdLast, utf8('1'));
  draft.setMgrMap({ ...emptyMgrMap, epoch: 1 });
  draft.setServiceMap({ ...emptyServiceMap, epoch: 1, modified: draft.now });
  draft.importEntities(options.entities);
  draft.setConfig('mkfs', options.config);
  draft.log({
    name: { type: ENTITY_MON, id: name },
    rank: { type: ENTITY_MON, num: 0 },
    addrs,
    level: LOG_INFO,
    message: `mkfs ${fsid}`,
    channel: 'cluster',
  });
  draft.finish();
  return draft;
}

/** Stores the first state, in one transaction. */
export async function storeFirst(store: Store, draft: Draft): Promise<void> {
  // The same key may have been written several times: the last one counts, and the store takes each key once.
  const last = new Map(draft.changes.map(({ key, value }) => [key, value]));
  const success = [...last].flatMap(([key, value]): RequestOp[] =>
    value === undefined ? [] : [{ op: 'put', request: { key: utf8(key), value } }],
  );
  await store.txn({ compare: [], success, failure: [] });
}
