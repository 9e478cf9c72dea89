import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

/**
 * Overwrites `secret` among this process' own arguments, alone or behind `=`: /proc/PID/cmdline is for every user to read as long as the process lives. The
 * arguments are memory of the process, from `arg_start` on (proc_pid_stat(5), field 48). Call it after `process.argv` was read; that stays as it is.
 */
export function hideArgument(secret: string): void {
  const stat = readFileSync('/proc/self/stat', 'utf8');
  // The name of the program, which may have spaces, is the second field; the third comes after its parenthesis.
  const start = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[48 - 3]);
  const length = Buffer.byteLength(secret);
  const memory = openSync('/proc/self/mem', 'r+');
  try {
    let at = start;
    for (const argument of readFileSync('/proc/self/cmdline', 'utf8').split('\0')) {
      const end = at + Buffer.byteLength(argument);
      if (argument === secret || argument.endsWith(`=${secret}`))
        writeSync(memory, Buffer.alloc(length, 'x'), 0, length, end - length);
      at = end + 1;
    }
  } finally {
    closeSync(memory);
  }
}
