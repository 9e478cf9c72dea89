/** Which API server a node asks when it knows several: it stays with one that answers, and after a failure tries the others first. */
export class ServerChoice {
  readonly #failedMs = new Map<string, number>();
  #current: string | undefined;

  /** The servers in the order to try them. */
  order(servers: readonly string[]): string[] {
    const rank = (server: string): number =>
      // A failure is remembered until the server has answered: the one that failed longest ago is tried before the others.
      this.#failedMs.get(server) ?? (server === this.#current ? Number.NEGATIVE_INFINITY : -1);
    for (const server of this.#failedMs.keys()) if (!servers.includes(server)) this.#failedMs.delete(server);
    return servers
      .map((server, index) => ({ server, index }))
      .sort((a, b) => rank(a.server) - rank(b.server) || a.index - b.index)
      .map(({ server }) => server);
  }

  answered(server: string): void {
    this.#failedMs.delete(server);
    this.#current = server;
  }

  /** `nowMs` of a clock that only grows. */
  failed(server: string, nowMs: number): void {
    this.#failedMs.set(server, nowMs);
  }
}
