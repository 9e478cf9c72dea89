/** One line of a CRI log file: `<RFC 3339 nano> <stdout|stderr> <P|F> <content>`. P marks a piece of a longer line. */
export interface LogLine {
  readonly timestamp: string;
  readonly stream: 'stdout' | 'stderr';
  readonly partial: boolean;
  /** Content with its newline, none after a piece. */
  readonly content: Uint8Array;
}

const space = 0x20;
const newline = 0x0a;

/** Parses a line without its newline; undefined when it is no log line. */
export function parseLogLine(line: Uint8Array): LogLine | undefined {
  const first = line.indexOf(space);
  if (first <= 0 || first > 64) return undefined;
  const second = line.indexOf(space, first + 1);
  const third = second < 0 ? -1 : line.indexOf(space, second + 1);
  if (second < 0) return undefined;
  const stream = latin(line.subarray(first + 1, second));
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  const tags = latin(line.subarray(second + 1, third < 0 ? line.length : third));
  const partial = tags.split(':')[0] === 'P';
  const body = third < 0 ? line.subarray(line.length) : line.subarray(third + 1);
  const content = new Uint8Array(body.length + (partial ? 0 : 1));
  content.set(body);
  if (!partial) content[body.length] = newline;
  return { timestamp: latin(line.subarray(0, first)), stream, partial, content };
}

function latin(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes.subarray(0, 128));
}

/** Cuts a stream of bytes into lines; keeps an unfinished one until the rest comes. */
export class LineSplitter {
  #rest: Uint8Array = new Uint8Array(0);
  readonly #maxLength: number;

  /** A line longer than `maxLength` is cut, so that garbage cannot take all memory. */
  constructor(maxLength = 1 << 20) {
    this.#maxLength = maxLength;
  }

  /** Complete lines of what has come, without their newlines. */
  push(chunk: Uint8Array): Uint8Array[] {
    let data = chunk;
    if (this.#rest.length > 0) {
      data = new Uint8Array(this.#rest.length + chunk.length);
      data.set(this.#rest);
      data.set(chunk, this.#rest.length);
    }
    const lines: Uint8Array[] = [];
    let start = 0;
    for (;;) {
      const end = data.indexOf(newline, start);
      if (end < 0) break;
      lines.push(data.subarray(start, end));
      start = end + 1;
    }
    this.#rest = data.slice(start);
    if (this.#rest.length > this.#maxLength) {
      lines.push(this.#rest);
      this.#rest = new Uint8Array(0);
    }
    return lines;
  }
}

export interface LogOptions {
  readonly follow: boolean;
  readonly timestamps: boolean;
  /** Lines from the end; undefined for all. */
  readonly tailLines?: number | undefined;
  /** Bytes at most. */
  readonly limitBytes?: number | undefined;
  /** Nothing older, milliseconds since the epoch. */
  readonly sinceMs?: number | undefined;
  readonly stream?: 'stdout' | 'stderr' | undefined;
}

/** Applies `timestamps`, `since`, `stream` and `limitBytes` to lines as they come. */
export class LogFilter {
  readonly #options: LogOptions;
  #left: number;
  /** A timestamp goes before the first piece of a line only. */
  #continued = false;

  constructor(options: LogOptions) {
    this.#options = options;
    this.#left = options.limitBytes ?? Number.POSITIVE_INFINITY;
  }

  /** True when the byte limit is reached. */
  get done(): boolean {
    return this.#left <= 0;
  }

  /** What to send for a line; undefined for nothing. */
  take(line: LogLine): Uint8Array | undefined {
    const { stream, sinceMs, timestamps } = this.#options;
    if (stream !== undefined && line.stream !== stream) return undefined;
    if (sinceMs !== undefined && Date.parse(line.timestamp) < sinceMs) return undefined;
    let out = line.content;
    if (timestamps && !this.#continued) {
      const prefix = new TextEncoder().encode(`${line.timestamp} `);
      out = new Uint8Array(prefix.length + line.content.length);
      out.set(prefix);
      out.set(line.content, prefix.length);
    }
    this.#continued = line.partial;
    if (out.length > this.#left) out = out.subarray(0, this.#left);
    this.#left -= out.length;
    return out.length > 0 ? out : undefined;
  }
}
