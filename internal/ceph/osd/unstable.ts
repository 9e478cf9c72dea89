import type { LogEntry } from '../wire/messages/osd_pg.ts';
import { compareEVersion, type EVersion, eversionZero, type HObject } from '../wire/types.ts';

/**
 * Writes that a replica has been sent and that may not be on the disk of all members yet: what they change must not be shown before the primary shows it, because it
 * could still be lost (`PeeringState::can_serve_replica_read`). In order of their versions.
 */
export class UnstableWrites {
  #writes: Pick<LogEntry, 'oid' | 'version'>[] = [];
  #committedTo: EVersion = eversionZero;

  get size(): number {
    return this.#writes.length;
  }

  add(entries: readonly LogEntry[]): void {
    for (const { oid, version } of entries) this.#writes.push({ oid, version });
  }

  /** The primary says that writes up to here are on all disks. */
  committed(to: EVersion): void {
    if (compareEVersion(to, this.#committedTo) <= 0) return;
    this.#committedTo = to;
    let done = 0;
    while (done < this.#writes.length && compareEVersion(this.#writes[done]!.version, to) <= 0) done++;
    if (done > 0) this.#writes.splice(0, done);
  }

  has({ hash, name, key, nspace, snap }: HObject): boolean {
    return this.#writes.some(
      ({ oid }) =>
        oid.hash === hash && oid.name === name && oid.snap === snap && oid.key === key && oid.nspace === nspace,
    );
  }

  /** A new interval. */
  clear(): void {
    this.#writes = [];
    this.#committedTo = eversionZero;
  }
}
