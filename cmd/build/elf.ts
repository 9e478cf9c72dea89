/** Types and sizes of ELF64 (elf(5)), little endian. */
const PT_LOAD = 1;
const PT_NOTE = 4;
const PF_W = 2;
const SHT_NOBITS = 8;

interface Segment {
  /** Where its header lies in the file. */
  header: number;
  type: number;
  flags: number;
  offset: number;
  address: number;
  align: number;
}

interface Section {
  header: number;
  name: string;
  type: number;
  offset: number;
  address: number;
  size: number;
}

/**
 * The executable without its zeros. `bun build --compile` makes the segment of variables longer until it holds the program, so that all of .bss, which lies
 * between, becomes zeros in the file: 1.8 MB. Here the program gets a segment of its own, with the header of the notes, which nobody reads in an executable, and
 * moves to the end of the variables. Addresses stay. Throws when the file is not what that version of Bun makes.
 */
export function withoutZeros(elf: Buffer): Buffer {
  const number = (at: number): number => Number(elf.readBigUInt64LE(at));
  if (elf.readUInt32BE(0) !== 0x7f454c46 || elf[4] !== 2 || elf[5] !== 1) throw new Error('not ELF64, little endian');

  const segments = Array.from({ length: elf.readUInt16LE(56) }, (_, index): Segment => {
    const header = number(32) + index * elf.readUInt16LE(54);
    return {
      header,
      type: elf.readUInt32LE(header),
      flags: elf.readUInt32LE(header + 4),
      offset: number(header + 8),
      address: number(header + 16),
      align: number(header + 48),
    };
  });
  const sectionsAt = number(40);
  const headers = Array.from({ length: elf.readUInt16LE(60) }, (_, index) => sectionsAt + index * elf.readUInt16LE(58));
  const names = number(headers[elf.readUInt16LE(62)]! + 24);
  const sections = headers.map((header): Section => {
    const name = names + elf.readUInt32LE(header);
    return {
      header,
      name: elf.toString('latin1', name, elf.indexOf(0, name)),
      type: elf.readUInt32LE(header + 4),
      offset: number(header + 24),
      address: number(header + 16),
      size: number(header + 32),
    };
  });

  const program = sections.find(({ name }) => name === '.bun');
  const zeros = sections.find(({ name, type }) => name === '.bss' && type === SHT_NOBITS);
  const variables = segments.findLast(({ type, flags }) => type === PT_LOAD && (flags & PF_W) !== 0);
  const notes = segments.findLast(({ type }) => type === PT_NOTE);
  if (program === undefined || zeros === undefined || variables === undefined || notes === undefined)
    throw new Error('expected sections .bun and .bss and segments of variables and notes');
  // Segments that are loaded have to be in the order of their addresses.
  if (notes.header < variables.header || program.address < zeros.address + zeros.size || program.offset < zeros.offset)
    throw new Error('expected the program behind .bss and the notes behind the variables');

  const to = Math.ceil(zeros.offset / variables.align) * variables.align + (program.address % variables.align);
  const shift = program.offset - to;
  if (elf.subarray(zeros.offset, program.offset).some((byte) => byte !== 0)) throw new Error('expected zeros for .bss');

  const set = (at: number, value: number): unknown => elf.writeBigUInt64LE(BigInt(value), at);
  set(variables.header + 32, zeros.offset - variables.offset);
  set(variables.header + 40, zeros.address + zeros.size - variables.address);
  elf.writeUInt32LE(PT_LOAD, notes.header);
  elf.writeUInt32LE(variables.flags, notes.header + 4);
  const placed = [to, program.address, program.address, program.size, program.size, variables.align];
  for (const [index, value] of placed.entries()) set(notes.header + 8 + index * 8, value);
  for (const { header, offset } of sections) if (offset >= program.offset) set(header + 24, offset - shift);
  set(40, sectionsAt - shift);
  return Buffer.concat([elf.subarray(0, zeros.offset), Buffer.alloc(to - zeros.offset), elf.subarray(program.offset)]);
}
