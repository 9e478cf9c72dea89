import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { completionPlaces } from './completion.ts';
import { completionScript, shells } from './completion-script.ts';
import { program } from './program.ts';

/** The scripts are sourced in the shells themselves, which are asked what they would offer. */

let directory = '';
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'completion-'));
  const places = await completionPlaces(await program(['completion']));
  for (const shell of shells) writeFileSync(join(directory, shell), completionScript(shell, places));
  for (const name of ['my.yaml', 'mine']) writeFileSync(join(directory, name), '');
}, 120_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function offers(argv: string[], script: string): string[] {
  const child = Bun.spawnSync([...argv, script], {
    cwd: directory,
    stdin: 'ignore',
    env: { ...process.env, HOME: directory, TERM: 'dumb' },
  });
  expect(child.stderr.toString()).toBe('');
  return child.stdout
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t')[0]!)
    .sort();
}

const quote = (word: string): string => `'${word}'`;
const asked: Readonly<Record<(typeof shells)[number], (words: readonly string[]) => string[]>> = {
  bash: (words) =>
    offers(
      ['bash', '--norc', '-c'],
      `source ./bash; COMP_WORDS=(appliance ${words.map(quote).join(' ')}); COMP_CWORD=${words.length}; _appliance; printf '%s\\n' "\${COMPREPLY[@]}"`,
    ),
  // Outside of its line editor zsh cannot be asked; what the function hands to it is printed instead.
  zsh: (words) =>
    offers(
      ['zsh', '-f', '-c'],
      `autoload -Uz compinit; compinit -u -d ./dump; source ./zsh; [[ $_comps[appliance] == _appliance ]] || exit 9
       _describe() { local one; for one in \${(P)2}; do one=\${one%%:*}; [[ $one == $words[CURRENT]* ]] && print -r -- $one; done; true }
       compadd() { shift; local one; for one; do [[ $one == $words[CURRENT]* ]] && print -r -- $one; done; true }
       _files() { print -rl -- $words[CURRENT]*(N) }
       words=(appliance ${words.map(quote).join(' ')}); CURRENT=${words.length + 1}; _appliance`,
    ),
  fish: (words) =>
    offers(['fish', '--no-config', '-c'], `source ./fish; complete -C ${quote(`appliance ${words.join(' ')}`)}`),
};

test('the scripts are made of the commands as they are', async () => {
  const places = await completionPlaces(await program(['completion']));
  expect(places.map(({ place }) => place)).toEqual(expect.arrayContaining(['', 'up', 'config', 'config show', 'logs']));
  expect(places.map(({ place }) => place)).not.toContain('role');
});

describe.each(shells.filter((shell) => Bun.which(shell) !== null))('%s', (shell) => {
  const ask = (...words: string[]): string[] => asked[shell](words);

  test('commands', () => {
    expect(ask('con')).toEqual(['config']);
    expect(ask('')).toEqual(expect.arrayContaining(['up', 'down', 'status', 'logs', 'reset', 'version', 'completion']));
    expect(ask('')).not.toContain('teardown');
    expect(ask('config', 's')).toEqual(['schema', 'show']);
  });

  test('options of the command and of the program, before and after each other', () => {
    expect(ask('config', 'show', '--orig')).toEqual(['--origin']);
    expect(ask('status', '--wat')).toEqual(['--watch']);
    expect(ask('up', '--node-n')).toEqual(['--node-name']);
    expect(ask('--data-dir', '/config', 'status', '--run')).toEqual(['--run-dir']);
  });

  test('also for the executable as the build names it, by its path', () => {
    const line = 'dist/appliance-linux-x64';
    const found = {
      bash: () => offers(['bash', '--norc', '-c'], `source ./bash; complete -p ${line.split('/')[1]}`),
      zsh: () =>
        offers(
          ['zsh', '-f', '-c'],
          `autoload -Uz compinit; compinit -u -d ./dump; source ./zsh; print -r -- $_comps[${line.split('/')[1]}]`,
        ),
      fish: () => offers(['fish', '--no-config', '-c'], `source ./fish; complete -C '${line} config s'`),
    }[shell]();
    expect(found.join()).toMatch(shell === 'fish' ? /^schema,show$/ : /_appliance/);
  });

  test('values of options', () => {
    expect(ask('status', '-o', '')).toEqual(['json', 'table', 'yaml']);
    expect(ask('up', '--log-level', 'd')).toEqual(['debug']);
    expect(ask('-c', 'my')).toEqual(['my.yaml']);
    expect(ask('up', '--node-name', '')).not.toContain('up');
  });

  test('arguments', () => {
    expect(ask('completion', 'f')).toEqual(['fish']);
    expect(ask('config', 'explain', 'cluster.d')).toEqual(['cluster.dnsIP', 'cluster.domain']);
    expect(ask('logs', 'm')).toEqual(['mds', 'mgr', 'mon']);
  });
});
