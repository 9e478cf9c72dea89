import { existsSync } from 'node:fs';
import { readFileIfThere, writeFileAtomic } from '../../base/files-system.ts';
import type { StorageEngine } from '../../config/config.ts';
import type { Paths } from '../../config/paths.ts';
import { embeddedRecord, type EngineRecord, parseEngineRecord, whyOtherEngine } from './engine-record.ts';

type Places = Pick<Paths, 'ceph' | 'cephConf'>;

const fileOf = ({ ceph }: Places): string => `${ceph}/engine.json`;

/** Whose storage a node has; undefined as long as it has none. Errors: ENGINE. */
export function readEngineRecord(paths: Places): EngineRecord | undefined {
  const file = fileOf(paths);
  const text = readFileIfThere(file);
  if (text !== undefined) return parseEngineRecord(text, file);
  return existsSync(paths.cephConf) ? embeddedRecord : undefined;
}

/** Refuses to go on with what another engine made. Errors: ENGINE. */
export function checkEngine(paths: Places, wanted: StorageEngine): void {
  const found = readEngineRecord(paths);
  const problem = found && whyOtherEngine(found.engine, wanted, paths.ceph);
  if (problem) throw problem;
}

/** Durable before anything of the engine is made. The directory must be there. */
export function keepEngineRecord(paths: Places, record: EngineRecord): void {
  const text = `${JSON.stringify(record)}\n`;
  if (readFileIfThere(fileOf(paths)) !== text) writeFileAtomic(fileOf(paths), text, 0o644);
}
