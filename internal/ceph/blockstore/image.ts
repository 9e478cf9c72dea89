import type { CompressedBlob } from './blob.ts';
import type { Onode } from './onode.ts';

/** The whole content of one block that reaches the data file by way of the journal. */
export class BlockImage {
  readonly physical: number;
  /** Journal index of the transaction that made it. */
  readonly index: number;
  /** Undefined while what it is merged with is being read. */
  bytes: Uint8Array | undefined;
  crc = 0;
  /** Settled when `bytes` is there. */
  ready: Promise<void> | undefined;
  /** Objects, and their older versions that a checkpoint holds, that wait for the checksum. */
  readonly holders: Onode[] = [];

  constructor(physical: number, index: number) {
    this.physical = physical;
    this.index = index;
  }

  resolve(bytes: Uint8Array, crc: number): void {
    this.bytes = bytes;
    this.crc = crc;
    for (const onode of this.holders.splice(0))
      for (const [block, image] of onode.unresolved ?? [])
        if (image === this) {
          onode.table.setCrc(block, crc);
          onode.unresolved!.delete(block);
        }
  }
}

/** A place where the bytes of a block are or will be, as one moment saw it. */
export interface BlockSource {
  /** The object's key and block, for messages. */
  readonly cid: string;
  readonly name: string;
  readonly block: number;
  readonly physical: number;
  readonly crc: number;
  /** False when `crc` is not known yet: then it is the image's, once that is ready. */
  readonly crcKnown: boolean;
  readonly image: BlockImage | undefined;
  /** It is in this; `physical` is the blob's key then, `crc` of what is compressed, and there is no image. */
  readonly blob: CompressedBlob | undefined;
}
