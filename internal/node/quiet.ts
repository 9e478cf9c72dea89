/** The processor is quiet when a process used less than this share of one core over `quietMs`. */
const quietShare = 0.1;
const quietMs = 5000;
/** Work since the last time, in milliseconds of processor time, that leaves enough behind to be worth giving back. */
const workMs = 2000;

/**
 * Decides when a process gives memory back that its work left behind: garbage, compiled code, free pages. Doing so costs some tens of milliseconds and the code is
 * compiled again when it is used again, so it is done when work has ended, and in proportion to it.
 */
export class QuietAfterWork {
  #sinceMs: number;
  #sinceCpuMs: number;
  /** A start leaves more behind than its processor time tells: the first quiet is always time. */
  #doneCpuMs = -workMs;

  /** Both in milliseconds: a monotonic time, and the processor time that the process has used. */
  constructor(nowMs: number, cpuMs: number) {
    this.#sinceMs = nowMs;
    this.#sinceCpuMs = cpuMs;
  }

  /** Asked every few seconds; true when it is time, and then not before there was as much work again. */
  isTime(nowMs: number, cpuMs: number): boolean {
    const elapsedMs = nowMs - this.#sinceMs;
    if (elapsedMs < quietMs) return false;
    const quiet = cpuMs - this.#sinceCpuMs < quietShare * elapsedMs;
    this.#sinceMs = nowMs;
    this.#sinceCpuMs = cpuMs;
    if (!quiet || cpuMs - this.#doneCpuMs < workMs) return false;
    this.#doneCpuMs = cpuMs;
    return true;
  }
}
