import { readFileSync } from 'node:fs';
import { errorCode } from '../../internal/base/errors.ts';

/**
 * What SIGHUP asks of a program in the foreground. It has two meanings: the terminal was closed (termios(3), "Modem disconnect"), and "read the configuration
 * again", as every daemon takes it.
 */

interface Holder {
  readonly pid: number;
  /** Clock ticks after boot: tells the process from a later one of the same number. */
  readonly started: string;
}

interface ProcessFacts extends Holder {
  readonly parent: number;
  /** Number of its controlling terminal; 0: none, or it was hung up. */
  readonly terminal: number;
}

/** Fields 4, 7 and 22 of /proc/PID/stat (proc_pid_stat(5)); undefined when there is no such process. */
function processFacts(pid: number): ProcessFacts | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    // It ends while it is read.
    if (['ENOENT', 'ESRCH'].includes(errorCode(error) ?? '')) return undefined;
    throw error;
  }
  // The name before it may have brackets and spaces of its own.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { pid, parent: Number(fields[1]), terminal: Number(fields[4]), started: fields[19]! };
}

/** Bit of signal 1 in SigIgn of /proc/self/status: `nohup` started this process. */
function hangupIgnored(): boolean {
  const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return (Number.parseInt(mask.slice(-1), 16) & 1) === 1;
}

/**
 * To be called before SIGHUP is listened to. The answer, asked at each SIGHUP, is what it means: `stop` when a terminal was closed that this process or one above
 * it had (sudo gives its command a terminal of its own, and passes the signal on); `nothing` when that happened to a process of `nohup`; else `reload`.
 */
export function hangupMeaning(): () => 'stop' | 'reload' | 'nothing' {
  const ignored = hangupIgnored();
  let holders: Holder[] = [];
  for (let at = processFacts(process.pid); at !== undefined; at = at.parent > 1 ? processFacts(at.parent) : undefined)
    if (at.terminal !== 0) holders.push(at);
  return () => {
    const lost = holders.filter(({ pid, started }) => {
      const now = processFacts(pid);
      return now?.started === started && now.terminal === 0;
    });
    // Each is lost once: who goes on without a terminal is asked to reload by the next signal.
    holders = holders.filter((holder) => !lost.includes(holder));
    return lost.length === 0 ? 'reload' : ignored ? 'nothing' : 'stop';
  };
}
