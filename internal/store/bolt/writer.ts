import { emptyBytes } from '../../base/bytes.ts';
import { assert } from '../../base/errors.ts';
import {
  bucketElementFlag,
  bucketHeaderBytes,
  elementBytes,
  fnv1a64,
  magic,
  metaBytes,
  pageBytes,
  pageFlag,
  pageHeaderBytes,
  version,
} from './layout.ts';

interface Element {
  flags: number;
  key: Uint8Array;
  value: Uint8Array;
}

interface Child {
  firstKey: Uint8Array;
  page: number;
}

/**
 * Writes a bbolt file in one pass: buckets one after the other, each with its keys in order. `emit` takes the pages from page 2 on in order; the two
 * pages that `finish` returns belong before them, at offset 0.
 */
export class BoltWriter {
  readonly #emit: (bytes: Uint8Array) => void;
  readonly #buckets: { name: Uint8Array; root: number }[] = [];
  #nextPage = 2;
  #open = false;

  constructor(emit: (bytes: Uint8Array) => void) {
    this.#emit = emit;
    this.#page(pageFlag.freelist, 0, pageHeaderBytes, () => undefined);
  }

  /** A bucket; names must come in byte order, and `put` of one ends with `end`. */
  bucket(name: Uint8Array): { put(key: Uint8Array, value: Uint8Array): void; end(): void } {
    const before = this.#buckets.at(-1)?.name;
    assert(!this.#open, 'one bucket is written at a time');
    assert(before === undefined || Buffer.compare(before, name) < 0, 'buckets are written in order');
    this.#open = true;
    const tree = this.#tree();
    return {
      put: (key, value) => tree.put({ flags: 0, key, value }),
      end: () => {
        this.#open = false;
        this.#buckets.push({ name, root: tree.end() });
      },
    };
  }

  /** Ends the file; what it returns is its first 8 KiB. */
  finish(): Uint8Array {
    const tree = this.#tree();
    for (const { name, root } of this.#buckets) {
      const header = new Uint8Array(bucketHeaderBytes);
      new DataView(header.buffer).setBigUint64(0, BigInt(root), true);
      tree.put({ flags: bucketElementFlag, key: name, value: header });
    }
    const root = tree.end();
    const out = new Uint8Array(2 * pageBytes);
    for (const page of [0, 1]) this.#meta(out.subarray(page * pageBytes, (page + 1) * pageBytes), page, root);
    return out;
  }

  #meta(out: Uint8Array, page: number, root: number): void {
    const view = new DataView(out.buffer, out.byteOffset, out.byteLength);
    view.setBigUint64(0, BigInt(page), true);
    view.setUint16(8, pageFlag.meta, true);
    const at = pageHeaderBytes;
    view.setUint32(at, magic, true);
    view.setUint32(at + 4, version, true);
    view.setUint32(at + 8, pageBytes, true);
    view.setBigUint64(at + 16, BigInt(root), true);
    view.setBigUint64(at + 32, 2n, true); // the freelist
    view.setBigUint64(at + 40, BigInt(this.#nextPage), true);
    view.setBigUint64(at + 48, BigInt(page + 1), true); // the transaction
    view.setBigUint64(at + metaBytes - 8, fnv1a64(out.subarray(at, at + metaBytes - 8)), true);
  }

  /** One page with what overflows of it; returns its number. */
  #page(flags: number, count: number, bytes: number, fill: (out: Uint8Array, view: DataView) => void): number {
    const pages = Math.max(1, Math.ceil(bytes / pageBytes));
    const out = new Uint8Array(pages * pageBytes);
    const view = new DataView(out.buffer);
    const id = this.#nextPage;
    view.setBigUint64(0, BigInt(id), true);
    view.setUint16(8, flags, true);
    view.setUint16(10, count, true);
    view.setUint32(12, pages - 1, true);
    fill(out, view);
    this.#nextPage += pages;
    this.#emit(out);
    return id;
  }

  #tree(): { put(element: Element): void; end(): number } {
    const children: Child[] = [];
    let elements: Element[] = [];
    let bytes = pageHeaderBytes;
    const flush = (): void => {
      const page = this.#leaf(elements, bytes);
      children.push({ firstKey: elements[0]?.key ?? emptyBytes, page });
      elements = [];
      bytes = pageHeaderBytes;
    };
    return {
      put: (element) => {
        const size = elementBytes + element.key.length + element.value.length;
        if (elements.length > 0 && bytes + size > pageBytes) flush();
        elements.push(element);
        bytes += size;
      },
      end: () => {
        if (elements.length > 0 || children.length === 0) flush();
        return this.#branches(children);
      },
    };
  }

  #leaf(elements: readonly Element[], bytes: number): number {
    return this.#page(pageFlag.leaf, elements.length, bytes, (out, view) => {
      let data = pageHeaderBytes + elements.length * elementBytes;
      elements.forEach(({ flags, key, value }, i) => {
        const at = pageHeaderBytes + i * elementBytes;
        view.setUint32(at, flags, true);
        view.setUint32(at + 4, data - at, true);
        view.setUint32(at + 8, key.length, true);
        view.setUint32(at + 12, value.length, true);
        out.set(key, data);
        out.set(value, data + key.length);
        data += key.length + value.length;
      });
    });
  }

  /** The levels above; returns the root. */
  #branches(children: readonly Child[]): number {
    let level = children;
    while (level.length > 1) {
      const above: Child[] = [];
      for (let from = 0; from < level.length; ) {
        let to = from;
        let bytes = pageHeaderBytes;
        while (to < level.length) {
          const size = elementBytes + level[to]!.firstKey.length;
          // Two at least, or the tree would not become lower.
          if (to > from + 1 && bytes + size > pageBytes) break;
          bytes += size;
          to++;
        }
        above.push({ firstKey: level[from]!.firstKey, page: this.#branch(level.slice(from, to), bytes) });
        from = to;
      }
      level = above;
    }
    return level[0]!.page;
  }

  #branch(children: readonly Child[], bytes: number): number {
    return this.#page(pageFlag.branch, children.length, bytes, (out, view) => {
      let data = pageHeaderBytes + children.length * elementBytes;
      children.forEach(({ firstKey, page }, i) => {
        const at = pageHeaderBytes + i * elementBytes;
        view.setUint32(at, data - at, true);
        view.setUint32(at + 4, firstKey.length, true);
        view.setBigUint64(at + 8, BigInt(page), true);
        out.set(firstKey, data);
        data += firstKey.length;
      });
    });
  }
}
