import type { LogEntry, MissingItem } from '../wire/messages/osd_pg.ts';
import { compareEVersion, type EVersion, eversionZero, type HObject } from '../wire/types.ts';
import { objectId } from './object-key.ts';

/** The objects that a copy of a PG lacks, or has only in an older version. */
export class MissingSet {
  readonly items = new Map<string, MissingItem>();
  /** Called with the id on every change, so that the owner can write it down. */
  onChange: ((id: string) => void) | undefined;

  get size(): number {
    return this.items.size;
  }

  get(oid: HObject): MissingItem | undefined {
    return this.items.size === 0 ? undefined : this.items.get(objectId(oid));
  }

  has(oid: HObject): boolean {
    return this.items.size > 0 && this.items.has(objectId(oid));
  }

  set(oid: HObject, need: EVersion, have: EVersion): void {
    const id = objectId(oid);
    this.items.set(id, { oid, need, have });
    this.onChange?.(id);
  }

  delete(oid: HObject): boolean {
    const id = objectId(oid);
    if (!this.items.delete(id)) return false;
    this.onChange?.(id);
    return true;
  }

  clear(): void {
    const ids = [...this.items.keys()];
    this.items.clear();
    for (const id of ids) this.onChange?.(id);
  }

  /** A log entry that this copy has not applied: what it makes missing. A deletion is applied by whoever takes the entry over. */
  addNext(entry: LogEntry): void {
    const { oid } = entry;
    if (entry.op === 'error') return;
    if (entry.op === 'delete') {
      this.delete(oid);
      return;
    }
    const present = this.get(oid);
    if (present !== undefined) this.set(oid, entry.version, present.have);
    else this.set(oid, entry.version, entry.op === 'clone' ? eversionZero : entry.prior);
  }

  /** The oldest version needed; undefined when nothing is missing. */
  oldestNeed(): EVersion | undefined {
    let oldest: EVersion | undefined;
    for (const { need } of this.items.values())
      if (oldest === undefined || compareEVersion(need, oldest) < 0) oldest = need;
    return oldest;
  }

  list(): MissingItem[] {
    return [...this.items.values()];
  }

  static of(items: readonly MissingItem[]): MissingSet {
    const set = new MissingSet();
    for (const item of items) set.items.set(objectId(item.oid), item);
    return set;
  }
}
