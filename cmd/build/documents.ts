import { changeText, exampleText } from '../../internal/config/explain.ts';
import { keyPaths, keys, sections, variableOf } from '../../internal/config/keys.ts';
import { osdKeys } from '../../internal/config/values.ts';
import { commands } from '../appliance/commands.ts';
import { exitCodes } from '../appliance/exit-codes.ts';

const begin = '<!-- made of the tables in the code by: bun cmd/build/docs.ts -->';
const end = '<!-- until here -->';

/** A document with the part between the marks replaced. */
export function withGenerated(document: string, text: string): string {
  const from = document.indexOf(begin);
  const to = document.indexOf(end);
  if (from < 0 || to < from) throw new Error(`a document has no "${begin}" … "${end}"`);
  return `${document.slice(0, from + begin.length)}\n\n${text}\n${document.slice(to)}`;
}

/** A cell of a table. */
const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');

function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(headings), `|${headings.map(() => '---|').join('')}`, ...rows.map(line), ''].join('\n');
}

function configuration(): string {
  const rows = (paths: readonly (typeof keyPaths)[number][]): string =>
    table(
      ['key', 'meaning', 'default', 'example', 'flag', 'a change holds'],
      paths.map((path) => {
        const { about, defaultText, flag, example } = keys[path];
        const shown = path === 'storage.osd' ? 'below' : `\`${JSON.stringify(example).replaceAll('|', '\\|')}\``;
        return [`\`${path}\``, cell(about), cell(defaultText), shown, `\`--${flag}\``, changeText(path)];
      }),
    );
  const top = keyPaths.filter((path) => !path.includes('.'));
  return [
    '### The node as a whole\n',
    rows(top),
    ...Object.entries(sections).flatMap(([section, about]) => [
      `### ${section}\n\n${about}\n`,
      rows(keyPaths.filter((path) => path.startsWith(`${section}.`))),
    ]),
    'Each entry of `storage.osd`:\n',
    table(
      ['key', 'meaning'],
      Object.entries(osdKeys).map(([key, about]) => [`\`${key}\``, cell(about)]),
    ),
    `\`\`\`yaml\n${exampleText('storage.osd')}\n\`\`\`\n`,
    `Variables: \`${variableOf('cluster.podCIDR')}\` is \`cluster.podCIDR\`, and so on for every key.\n`,
  ].join('\n');
}

function commandLine(): string {
  return [
    '## Commands\n',
    table(
      ['command', 'what it does'],
      commands
        .filter(({ group }) => group !== undefined)
        .map(({ name, summary }) => [`\`appliance ${name}\``, cell(summary)]),
    ),
    '## Exit codes\n',
    table(
      ['code', 'meaning'],
      Object.values(exitCodes).map(({ code, means }) => [String(code), cell(means)]),
    ),
  ].join('\n');
}

/** The parts of documents that are made of tables in the code, by file. */
export function documents(): Record<string, string> {
  return { 'docs/configuration.md': configuration(), 'docs/cli.md': commandLine() };
}
