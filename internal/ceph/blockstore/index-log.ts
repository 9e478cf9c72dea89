import { ByteReader, ByteWriter, concatBytes, utf8, utf8Text } from '../../base/bytes.ts';
import { crc32c } from '../../base/crc32c.ts';
import { type Disk, type DiskFile, makeDurableDirectory } from '../../base/disk.ts';
import type { Index, IndexChange, IndexTable } from './index-api.ts';
import { keyBytes, keyString, lowerBound } from './order.ts';

/**
 * An index for simulations: tables in memory over a log of batches on the injected disk, never compacted. It does on a simulated disk what
 * sqlite does on a real one: a batch is there as a whole or not at all, and it is there when `write` has resolved.
 */
export async function openLogIndex(disk: Disk, dir: string): Promise<Index> {
  await makeDurableDirectory(disk, dir);
  const file = await disk.open(`${dir}/index.log`, { create: true });
  await disk.syncDirectory(dir);
  const index = new LogIndex(file);
  await index.load();
  return index;
}

class Table {
  readonly rows = new Map<string, Uint8Array>();
  #sorted: string[] | undefined;

  put(key: string, value: Uint8Array | undefined): void {
    if (value === undefined) this.rows.delete(key);
    else this.rows.set(key, value);
    this.#sorted = undefined;
  }

  between(from: string, to: string, limit: number): string[] {
    this.#sorted ??= [...this.rows.keys()].sort();
    const first = lowerBound(this.#sorted, from);
    return this.#sorted.slice(first, Math.min(first + limit, lowerBound(this.#sorted, to)));
  }
}

class LogIndex implements Index {
  readonly #file: DiskFile;
  readonly #tables = new Map<string, Table>();
  #end = 0;
  #sequence = 0;

  constructor(file: DiskFile) {
    this.#file = file;
  }

  async load(): Promise<void> {
    const bytes = new Uint8Array(await this.#file.size());
    await this.#file.read(bytes, 0);
    const reader = new ByteReader(bytes);
    while (reader.remaining >= 20) {
      const head = reader.at;
      const [length, crc, sequence] = [reader.u32(), reader.u32(), reader.u64()];
      if (sequence !== this.#sequence + 1 || length > reader.remaining) break;
      reader.skip(length);
      if (crc32c(bytes.subarray(head + 8, head + 16 + length)) !== crc) break;
      this.#apply(new ByteReader(bytes.subarray(head + 16, head + 16 + length)));
      this.#sequence = sequence;
      this.#end = reader.at;
    }
    // What was read may have been in the page cache only.
    await this.#file.datasync();
  }

  get(table: IndexTable, key: Uint8Array): Uint8Array | undefined {
    return this.#table(table).rows.get(keyString(key));
  }

  range(table: IndexTable, from: Uint8Array, to: Uint8Array, limit: number): [Uint8Array, Uint8Array][] {
    const { rows } = this.#table(table);
    return this.keys(table, from, to, limit).map((key) => [key, rows.get(keyString(key))!]);
  }

  keys(table: IndexTable, from: Uint8Array, to: Uint8Array, limit: number): Uint8Array[] {
    return this.#table(table).between(keyString(from), keyString(to), limit).map(keyBytes);
  }

  count(table: IndexTable, from: Uint8Array, to: Uint8Array): number {
    return this.keys(table, from, to, Number.MAX_SAFE_INTEGER).length;
  }

  async write(changes: Iterable<IndexChange>): Promise<void> {
    const body = new ByteWriter();
    const blob = (bytes: Uint8Array): void => void body.u32(bytes.length).bytes(bytes);
    for (const change of changes) {
      const kind = 'from' in change ? 2 : change.value === undefined ? 1 : 0;
      body.u8(kind);
      blob(utf8(change.table));
      if ('from' in change) {
        blob(change.from);
        blob(change.to);
      } else {
        blob(change.key);
        if (change.value !== undefined) blob(change.value);
      }
    }
    const bytes = body.finish();
    const tail = new ByteWriter(8).u64(this.#sequence + 1).finish();
    const crc = crc32c(concatBytes([tail, bytes]));
    await this.#file.write([new ByteWriter(8).u32(bytes.length).u32(crc).finish(), tail, bytes], this.#end);
    await this.#file.datasync();
    this.#sequence++;
    this.#end += 16 + bytes.length;
    this.#apply(new ByteReader(bytes));
  }

  bytes(): number {
    return this.#end;
  }

  omapBytes(): number {
    let sum = 0;
    for (const [key, value] of this.#table('omap').rows) sum += key.length + value.length;
    return sum;
  }

  check(): string[] {
    return [];
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  #apply(reader: ByteReader): void {
    const blob = (): Uint8Array => reader.bytes(reader.u32()).slice();
    while (reader.remaining > 0) {
      const kind = reader.u8();
      const table = this.#table(utf8Text(blob()));
      const key = keyString(blob());
      if (kind === 2)
        for (const each of table.between(key, keyString(blob()), Number.MAX_SAFE_INTEGER)) table.put(each, undefined);
      else table.put(key, kind === 0 ? blob() : undefined);
    }
  }

  #table(name: string): Table {
    let table = this.#tables.get(name);
    if (table === undefined) {
      table = new Table();
      this.#tables.set(name, table);
    }
    return table;
  }
}
