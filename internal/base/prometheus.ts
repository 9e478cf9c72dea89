/** The text format of Prometheus, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats). */

export const prometheusContentType = 'text/plain; version=0.0.4; charset=utf-8';

/** `untyped`: neither, as a fact that is always 1. */
export type MetricType = 'gauge' | 'counter' | 'untyped';

export type Labels = Readonly<Record<string, string | number>>;
export type Sample = readonly [labels: Labels, value: number];

/** Counts observations by upper bounds, in the unit of the bounds. */
export class Histogram {
  readonly bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  /** `bounds` rise; what is above the last is counted, too. */
  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    const at = this.bounds.findIndex((bound) => value <= bound);
    if (at >= 0) this.#counts[at]!++;
    this.#sum += value;
    this.#count++;
  }

  get sum(): number {
    return this.#sum;
  }
  get count(): number {
    return this.#count;
  }

  /** Of each bound, how many were at or below it. */
  cumulative(): number[] {
    let sum = 0;
    return this.#counts.map((count) => {
      sum += count;
      return sum;
    });
  }
}

/** `count` bounds, each `factor` times the one before. */
export function exponentialBounds(first: number, factor: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first * factor ** i);
}

/** For what a disk takes, in seconds: from 1 ms to 8 s, as etcd's. */
export const diskBounds = exponentialBounds(0.001, 2, 14);

/** Puts metrics into one text; every name begins with `prefix`. */
export class PrometheusText {
  readonly #prefix: string;
  #text = '';

  constructor(prefix = '') {
    this.#prefix = prefix;
  }

  /** One metric with its samples; nothing when it has none. */
  add(type: MetricType, name: string, help: string, samples: number | readonly Sample[]): void {
    const all: readonly Sample[] = typeof samples === 'number' ? [[{}, samples]] : samples;
    if (all.length === 0) return;
    this.#head(type, name, help);
    for (const [labels, value] of all) this.#sample(name, labels, value);
  }

  histogram(name: string, help: string, histogram: Histogram): void {
    this.#head('histogram', name, help);
    const counts = histogram.cumulative();
    for (const [i, bound] of histogram.bounds.entries()) this.#sample(`${name}_bucket`, { le: bound }, counts[i]!);
    this.#sample(`${name}_bucket`, { le: '+Inf' }, histogram.count);
    this.#sample(`${name}_sum`, {}, histogram.sum);
    this.#sample(`${name}_count`, {}, histogram.count);
  }

  #head(type: string, name: string, help: string): void {
    this.#text += `# HELP ${this.#prefix}${name} ${help}\n# TYPE ${this.#prefix}${name} ${type}\n`;
  }

  #sample(name: string, labels: Labels, value: number): void {
    const inner = Object.entries(labels).map(([label, v]) => `${label}="${escaped(String(v))}"`);
    this.#text += `${this.#prefix}${name}${inner.length > 0 ? `{${inner.join(',')}}` : ''} ${value}\n`;
  }

  toString(): string {
    return this.#text;
  }
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
