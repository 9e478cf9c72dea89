import { type Document, isAlias, isMap, isScalar, LineCounter, parseDocument, type YAMLMap } from 'yaml';

/** A place in a file, counted from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** A mistake in the text itself. */
export interface SyntaxProblem extends Place {
  readonly message: string;
}

/** Larger files are refused before they are parsed: the parser's time and memory are bounded by it, whatever is in the file. */
export const maxFileBytes = 64 << 10;
/** So many mistakes of the text itself are told. */
const maxProblems = 20;

/** The parser's errors (`ErrorCode` of yaml 2) in plain words; the others keep the parser's sentence. */
const plainWords: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: 'this key is there twice; expected each key once',
  TAB_AS_INDENT: 'expected spaces at the beginning of the line, got a tab',
  BAD_INDENT: 'expected the same indentation as the lines that belong together',
  MULTIPLE_DOCS: 'expected one document, got a second one after ---',
  BAD_ALIAS: 'expected the name of an anchor after *; quote the text if it is not an alias',
  BLOCK_AS_IMPLICIT_KEY: 'expected one key and its value a line; quote the text if it has a colon in it',
  BLOCK_IN_FLOW: 'expected the closing bracket before this line',
  MISSING_CHAR: 'expected a closing quote or bracket, or a space after a colon',
  MULTILINE_IMPLICIT_KEY: 'expected a key and a colon on one line',
  UNEXPECTED_TOKEN: 'this is not expected here; quote the text if it is a value',
  TAG_RESOLVE_FAILED: 'this tag is not known; quote the text if it is a value',
  RESOURCE_EXHAUSTION: 'this is nested too deeply',
  BAD_SCALAR_START: 'a text cannot begin with this character; quote it',
};

/** A list or map in brackets that does not end is told as one that is not indented. */
function problemWords({ code, message }: { readonly code: string; readonly message: string }): string {
  const bracket = / end with a ([\]}])/.exec(message)?.[1];
  if (bracket !== undefined)
    return `expected the closing ${bracket} of what began with ${bracket === ']' ? '[' : '{'}, or its lines to be indented more`;
  return plainWords[code] ?? message.split('\n')[0]!;
}

/** One `appliance.yaml` as a tree whose parts have places. */
export interface YamlSource {
  /** The mapping at the top; undefined for a file without content. */
  readonly top: YAMLMap | undefined;
  readonly problems: readonly SyntaxProblem[];
  /** Where the part at a path is written; of what is not there, the nearest part around it. */
  at(path: readonly PropertyKey[]): Place;
  /** The plain value of a part. */
  plain(node: unknown): unknown;
}

const start: Place = { line: 1, column: 1 };

function refused(message: string): YamlSource {
  return { top: undefined, problems: [{ ...start, message }], at: () => start, plain: () => undefined };
}

/** Reads YAML 1.2; a byte-order mark and CRLF are tolerated. Mistakes are `problems`, nothing is thrown. */
export function readYaml(text: string): YamlSource {
  // What a power cut leaves of a file that was not synced. Taken for a file without keys, it would make a default node of a configured one.
  if (/^\0*$/.test(text))
    return refused(
      `expected keys, or at least a comment, got ${text === '' ? 'an empty file' : 'nothing but zero bytes'}, as a power cut leaves it: write it again; for a node with every default, remove it or write # into it`,
    );
  if (text.length > maxFileBytes) return refused(`expected at most ${maxFileBytes} bytes, got ${text.length}`);
  const lines = new LineCounter();
  const document = parseDocument(text.replace(/^\uFEFF/, ''), {
    lineCounter: lines,
    uniqueKeys: true,
    merge: false,
    logLevel: 'silent',
    // Its drawings of the source take quadratic time.
    prettyErrors: false,
  });
  const place = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const problems: SyntaxProblem[] = document.errors.slice(0, maxProblems).map((error) => ({
    ...place(error.pos[0]),
    message: problemWords(error),
  }));

  const follow = (node: unknown): unknown => (isAlias(node) ? node.resolve(document) : node);
  const at = (path: readonly PropertyKey[]): Place => {
    let node: unknown = document.contents;
    let best: Place = start;
    const range = (part: unknown): void => {
      const found = (part as { range?: [number, number, number] | null } | null)?.range;
      if (found) best = place(found[0]);
    };
    range(node);
    for (const step of path) {
      node = follow(node);
      if (isMap(node)) {
        const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step));
        if (!pair) return best;
        range(pair.key);
        node = pair.value;
      } else {
        const item = (node as { items?: unknown[] } | null)?.items?.[Number(step)];
        if (item === undefined) return best;
        range(item);
        node = item;
      }
    }
    return best;
  };
  const contents = follow(document.contents);
  let top: YAMLMap | undefined;
  if (isMap(contents)) top = contents;
  else if (contents !== null && !(isScalar(contents) && contents.value === null) && problems.length === 0)
    problems.push({ ...at([]), message: 'expected keys and values such as `logLevel: info`' });
  return {
    top,
    problems,
    at,
    plain: (node) => {
      const resolved = follow(node);
      if (isScalar(resolved)) return resolved.value;
      const part = resolved as { toJS?: (doc: Document, options: { maxAliasCount: number }) => unknown } | null;
      return part?.toJS ? part.toJS(document, { maxAliasCount: 20 }) : part;
    },
  };
}
