import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

/** Real processes on real terminals: what a SIGHUP means to them. */

let directory = '';
let asks = '';
let passesOn = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'hangup-'));
  asks = join(directory, 'asks.ts');
  writeFileSync(
    asks,
    `import { hangupMeaning } from '${import.meta.dirname}/hangup.ts';
     import { appendFileSync } from 'node:fs';
     const [, , heard] = process.argv;
     const meaning = hangupMeaning();
     process.on('SIGHUP', () => appendFileSync(heard, meaning() + '\\n'));
     appendFileSync(heard, process.pid + '\\n');
     setTimeout(() => process.exit(), 60_000);`,
  );
  passesOn = join(directory, 'passes-on.ts');
  writeFileSync(
    passesOn,
    // As sudo does with use_pty: a terminal of its own for the command, and signals passed on.
    `const child = Bun.spawn(process.argv.slice(2), { terminal: { data() {} } });
     process.on('SIGHUP', () => child.kill('SIGHUP'));
     process.exit(await child.exited);`,
  );
});
afterAll(() => rmSync(directory, { recursive: true }));

interface Foreground {
  readonly pid: number;
  close(): void;
  /** What the first signals meant. */
  heard(count: number): Promise<string[]>;
  end(): void;
}

let count = 0;

async function lines(file: string, wanted: number): Promise<string[]> {
  for (;;) {
    const found = await Bun.file(file)
      .text()
      .then((text) => text.trimEnd().split('\n'))
      .catch(() => []);
    if (found.length >= wanted) return found;
    await Bun.sleep(20);
  }
}

/** Starts the asking program below `above`, on a terminal or without one. */
async function start(above: readonly string[], onTerminal = true): Promise<Foreground> {
  const file = join(directory, `heard-${count++}`);
  const argv = [...above, process.execPath, asks, file];
  const child = onTerminal
    ? // nohup writes its file there.
      Bun.spawn(argv, { cwd: directory, terminal: { data: () => undefined } })
    : Bun.spawn(['setsid', '--wait', ...argv], { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' });
  const [pid] = await lines(file, 1);
  return {
    pid: Number(pid),
    close: () => child.terminal?.close(),
    heard: async (wanted) => (await lines(file, wanted + 1)).slice(1),
    end: () => {
      process.kill(Number(pid), 'SIGKILL');
      child.kill('SIGKILL');
    },
  };
}

test('kill -HUP with the terminal open: reload, again and again; the terminal is closed: stop', async () => {
  const one = await start([]);
  try {
    process.kill(one.pid, 'SIGHUP');
    expect(await one.heard(1)).toEqual(['reload']);
    process.kill(one.pid, 'SIGHUP');
    expect(await one.heard(2)).toEqual(['reload', 'reload']);
    one.close();
    expect((await one.heard(3))[2]).toBe('stop');
  } finally {
    one.end();
  }
});

test('behind a program that gives it a terminal of its own, as sudo does: the outer one is closed: stop', async () => {
  const one = await start([process.execPath, passesOn]);
  try {
    process.kill(one.pid, 'SIGHUP');
    expect(await one.heard(1)).toEqual(['reload']);
    one.close();
    expect((await one.heard(2))[1]).toBe('stop');
  } finally {
    one.end();
  }
});

test('without a terminal, as a service manager starts it: reload', async () => {
  const one = await start([], false);
  try {
    process.kill(one.pid, 'SIGHUP');
    expect(await one.heard(1)).toEqual(['reload']);
  } finally {
    one.end();
  }
});

test('nohup: the closed terminal is nothing to it; kill -HUP still is', async () => {
  const one = await start(['nohup']);
  try {
    one.close();
    expect(await one.heard(1)).toEqual(['nothing']);
    process.kill(one.pid, 'SIGHUP');
    expect(await one.heard(2)).toEqual(['nothing', 'reload']);
  } finally {
    one.end();
  }
});
