/** Counters in the Prometheus text format; few, and bounded by what the table of kinds has. */
export class Metrics {
  readonly #requests = new Map<string, number>();
  readonly #durations = new Map<string, { count: number; sum: number; buckets: number[] }>();
  inflight = 0;

  count(verb: string, group: string, resource: string, code: number, seconds: number): void {
    const labels = `verb="${verb}",group="${group}",resource="${resource}"`;
    const key = `${labels},code="${code}"`;
    if (this.#requests.size > 10_000) this.#requests.clear();
    this.#requests.set(key, (this.#requests.get(key) ?? 0) + 1);
    if (verb === 'watch') return;
    let duration = this.#durations.get(verb);
    if (duration === undefined) {
      duration = { count: 0, sum: 0, buckets: bounds.map(() => 0) };
      this.#durations.set(verb, duration);
    }
    duration.count++;
    duration.sum += seconds;
    for (let i = 0; i < bounds.length; i++) if (seconds <= bounds[i]!) duration.buckets[i]! += 1;
  }

  text(gauges: Record<string, number>): string {
    const out = ['# TYPE apiserver_request_total counter'];
    for (const [labels, value] of this.#requests) out.push(`apiserver_request_total{${labels}} ${value}`);
    out.push('# TYPE apiserver_request_duration_seconds histogram');
    for (const [verb, { count, sum, buckets }] of this.#durations) {
      for (let i = 0; i < bounds.length; i++)
        out.push(`apiserver_request_duration_seconds_bucket{verb="${verb}",le="${bounds[i]}"} ${buckets[i]}`);
      out.push(`apiserver_request_duration_seconds_bucket{verb="${verb}",le="+Inf"} ${count}`);
      out.push(`apiserver_request_duration_seconds_sum{verb="${verb}"} ${sum}`);
      out.push(`apiserver_request_duration_seconds_count{verb="${verb}"} ${count}`);
    }
    out.push(
      '# TYPE apiserver_current_inflight_requests gauge',
      `apiserver_current_inflight_requests ${this.inflight}`,
    );
    for (const [name, value] of Object.entries(gauges)) out.push(`# TYPE ${name} gauge`, `${name} ${value}`);
    return `${out.join('\n')}\n`;
  }
}

const bounds = [0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30];
