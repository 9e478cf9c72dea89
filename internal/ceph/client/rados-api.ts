export { EBUSY, EEXIST, ENOENT, ENOTEMPTY, isRadosError, RadosError } from './errors.ts';

/** One step of an atomic operation on one object. */
export type RadosOp =
  | { op: 'create'; exclusive: boolean }
  | { op: 'exec'; cls: string; method: string; input: Uint8Array }
  | { op: 'read'; offset: number; length: number }
  | { op: 'stat' }
  | { op: 'write'; offset: number; data: Uint8Array }
  | { op: 'write-full'; data: Uint8Array }
  | { op: 'append'; data: Uint8Array }
  | { op: 'truncate'; size: number }
  | { op: 'zero'; offset: number; length: number }
  | { op: 'remove' }
  | { op: 'get-xattr'; name: string }
  | { op: 'set-xattr'; name: string; value: Uint8Array }
  | { op: 'remove-xattr'; name: string }
  | { op: 'omap-get'; keys: readonly string[] }
  | { op: 'omap-set'; entries: ReadonlyMap<string, Uint8Array> }
  | { op: 'omap-remove'; keys: readonly string[] };

export interface Watcher {
  /** `client.4123`. */
  entity: string;
  cookie: bigint;
  address: string;
}

/** Objects of one pool. Every failed call rejects with RadosError; an unreachable cluster waits until `signal` or the client's time-out ends it. */
export interface IoCtx {
  readonly pool: string;
  readonly poolId: number;
  /** All steps or none; one output a step (empty where the step has none). Steps that only read are not mixed with steps that write, except `exec`. */
  operate(oid: string, ops: readonly RadosOp[]): Promise<Uint8Array[]>;
  /** Undefined when the object is not there. */
  stat(oid: string): Promise<{ size: number; mtimeMs: number } | undefined>;
  read(oid: string, offset: number, length: number): Promise<Uint8Array>;
  writeFull(oid: string, data: Uint8Array): Promise<void>;
  remove(oid: string): Promise<void>;
  exec(oid: string, cls: string, method: string, input?: Uint8Array): Promise<Uint8Array>;
  omapGet(oid: string, keys: readonly string[]): Promise<Map<string, Uint8Array>>;
  /** Up to `limit` entries with keys behind `after`. */
  omapList(oid: string, after: string, limit: number): Promise<{ entries: [string, Uint8Array][]; more: boolean }>;
  omapSet(oid: string, entries: ReadonlyMap<string, Uint8Array>): Promise<void>;
  omapRemove(oid: string, keys: readonly string[]): Promise<void>;
  listWatchers(oid: string): Promise<Watcher[]>;
  /** Names of the pool's objects in the default namespace, in placement order. */
  listObjects(): AsyncIterable<string>;
}

/** A client of the cluster. */
export interface RadosClient {
  readonly globalId: bigint;
  command(
    command: Record<string, unknown>,
    input?: Uint8Array,
  ): Promise<{ code: number; status: string; output: Uint8Array }>;
  /** Rejects with ENOENT when there is no such pool. */
  ioctx(pool: string): Promise<IoCtx>;
  /** The name of a pool by its id, undefined when there is none. */
  poolName(id: number): Promise<string | undefined>;
  close(): Promise<void>;
}
