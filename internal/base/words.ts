/** `1 pod`, `2 pods`. */
export const plural = (count: number, one: string): string => `${count} ${one}${count === 1 ? '' : 's'}`;

/** `1.5 GiB`. */
export function sizeWords(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : value.toFixed(0)} ${units[unit]}`;
}

/** `text` in at most `max` characters: where it is cut, between words, it ends with `…`. */
export function cutAtWord(text: string, max: number): string {
  if (text.length <= max) return text;
  const fits = text.slice(0, max - 1);
  const end = text[max - 1] === ' ' ? fits.length : fits.lastIndexOf(' ');
  // A word that is as long as that is cut itself.
  return `${(end < max / 2 ? fits : fits.slice(0, end)).replace(/[\s,;:]+$/, '')}…`;
}

/** `text` in lines of at most `max` characters, broken between words; the second line and those after it begin with `indent`. A longer word has a line of its own. 0, as serial consoles tell: lines are as long as they are. */
export function wrapped(text: string, max: number, indent = '  '): string {
  const lines: string[] = [];
  const [first = '', ...words] = text.trimStart().split(' ');
  let line = `${text.slice(0, text.length - text.trimStart().length)}${first}`;
  for (const word of words) {
    if (max <= 0 || line.length + 1 + word.length <= max) line += ` ${word}`;
    else {
      lines.push(line);
      line = `${indent}${word}`;
    }
  }
  return [...lines, line].join('\n');
}
