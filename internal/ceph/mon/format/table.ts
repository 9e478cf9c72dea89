/** Columns of text as `src/common/TextTable.cc` lays them out: two spaces between, each as wide as its widest cell. */
export type Align = 'left' | 'right' | 'center';

export interface Column {
  readonly name: string;
  /** Of the heading; default left. */
  readonly heading?: Align;
  /** Of the cells; default left. */
  readonly cells?: Align;
}

export function column(name: string, heading: Align = 'left', cells: Align = 'left'): Column {
  return { name, heading, cells };
}

/** Heading and rows, each line with its padding up to the end and a newline. */
export function tableText(columns: readonly Column[], rows: readonly (readonly string[])[], indent = ''): string {
  const widths = columns.map(({ name }, i) => Math.max(name.length, ...rows.map((row) => (row[i] ?? '').length)));
  const line = (cells: readonly string[], align: (column: Column) => Align): string =>
    `${indent}${columns.map((c, i) => pad(cells[i] ?? '', widths[i]!, align(c))).join('  ')}\n`;
  let out = line(
    columns.map(({ name }) => name),
    (c) => c.heading ?? 'left',
  );
  for (const row of rows) out += line(row, (c) => c.cells ?? 'left');
  return out;
}

function pad(text: string, width: number, align: Align): string {
  if (align === 'left') return text.padEnd(width);
  if (align === 'right') return text.padStart(width);
  const left = Math.floor((width - text.length) / 2);
  return (' '.repeat(Math.max(0, left)) + text).padEnd(width);
}
