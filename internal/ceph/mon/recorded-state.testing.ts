import { recordedLines } from '../crush/recorded.testing.ts';
import { decodeMgrMap } from '../maps/mgrmap.ts';
import { decodeMonMap } from '../maps/monmap.ts';
import type { OsdMap } from '../maps/osdmap.ts';
import { Decoder } from '../wire/encoding.ts';
import { parseCryptoKey } from '../auth/crypto.ts';
import { answerOf, findRun, type Run } from './recorded.testing.ts';
import { emptyState, type Metadata, type MonState } from './state.ts';

interface Row {
  prefix: string;
  key: string;
  hex: string;
}

let stored: Row[] | undefined;

/** The store of the recorded mon, but for the OSDMaps. */
function storedRows(): Row[] {
  stored ??= recordedLines<Row>('maps/monstore-c1.jsonl.gz').filter(({ prefix }) => prefix !== 'osdmap');
  return stored;
}

function decodeMetadata(bytes: Uint8Array): Metadata {
  return new Decoder(bytes).map(
    (d) => d.string(),
    (d) => d.string(),
  );
}

/**
 * The state of the recorded cluster at the time of a recording: maps and metadata from its store, and, because that is of a later time, entities, options and the mon's own metadata from
 * what it answered.
 */
export function recordedState(runs: readonly Run[], osdmap: OsdMap): MonState {
  const rows = storedRows();
  const bytes = ({ hex }: Row): Uint8Array => Buffer.from(hex, 'hex');
  const of = (prefix: string): Row[] => rows.filter((row) => row.prefix === prefix);
  const json = <T>(command: string): T => JSON.parse(answerOf(findRun(runs, command, 'json')!)) as T;
  const { epoch } = json<{ epoch: number }>('mgr dump');
  const mgrmap = decodeMgrMap(bytes(of('mgr').find(({ key }) => key === String(epoch))!));
  const dumped = json<{ section: string; name: string; value: string; mask: string }[]>('config dump');
  const values = new Map<string, Map<string, string>>();
  for (const { mask, name, section, value } of dumped) {
    const who = mask === '' ? section : `${section}/${mask}`;
    values.set(who, (values.get(who) ?? new Map<string, string>()).set(name, value));
  }
  const entities = json<{ auth_dump: { entity: string; key: string; caps: Record<string, string> }[] }>('auth ls');
  const monMetadata = json<Record<string, string>[]>('mon metadata');
  return {
    ...emptyState(),
    fsid: osdmap.fsid,
    osdmap,
    monmap: decodeMonMap(bytes(of('monmap').find(({ key }) => key === '1')!)),
    mgrmap,
    config: { version: 1, values, history: [] },
    auth: {
      ...emptyState().auth,
      entities: new Map(
        entities.auth_dump.map(({ caps, entity, key }) => [entity, { caps, key: parseCryptoKey(key) }]),
      ),
    },
    osdMetadata: new Map(of('osd_metadata').map((row) => [Number(row.key), decodeMetadata(bytes(row))])),
    mgrMetadata: new Map(of('mgr_metadata').map((row) => [row.key, decodeMetadata(bytes(row))])),
    monMetadata: new Map(monMetadata.map(({ name, ...rest }) => [name!, new Map(Object.entries(rest))])),
  };
}
