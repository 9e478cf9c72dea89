import { readFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';

/** The tree's own rules: imports go one way, pure modules stay pure, files hold one idea. */

const root = join(import.meta.dirname, '..');
const files = [...new Bun.Glob('{cmd,internal}/**/*.ts').scanSync(root)].sort();
const texts = new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]));
const isTest = (file: string): boolean => /\.(test|testing|sim|bench)\.ts$|(^|\/)(contract|testing)[.\-/]/.test(file);

/** Lower layers know nothing of higher ones. The first prefix that fits counts. */
const layers: readonly [prefix: string, layer: number][] = [
  ['internal/base/', 0],
  ['internal/config/', 1],
  ['internal/journal/', 1],
  ['internal/rpc/', 1],
  ['internal/pki/', 2],
  ['internal/raft/', 2],
  ['internal/store/', 3],
  ['internal/ceph/wire/', 3],
  ['internal/ceph/crush/', 3],
  ['internal/ceph/auth/', 4],
  ['internal/ceph/maps/', 4],
  ['internal/ceph/blockstore/', 4],
  ['internal/ceph/client/', 5],
  ['internal/ceph/', 6],
  ['internal/kube/machinery/', 4],
  ['internal/kube/api/', 5],
  ['internal/kube/client/', 5],
  ['internal/kube/', 6],
  ['internal/csi/', 7],
  ['internal/join/', 7],
  ['internal/operator/', 7],
  ['internal/doctor/', 7],
  ['internal/node/', 8],
  ['cmd/', 9],
];
const layerOf = (file: string): number => layers.find(([prefix]) => file.startsWith(prefix))?.[1] ?? -1;

interface Import {
  specifier: string;
  typeOnly: boolean;
}

function imports(text: string): Import[] {
  const found: Import[] = [];
  for (const match of text.matchAll(/^(?:import|export)\s+(type\s+)?[^'";]*?from\s+'([^']+)'/gm))
    found.push({ specifier: match[2]!, typeOnly: match[1] !== undefined });
  for (const match of text.matchAll(/^import\s+'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/gm))
    found.push({ specifier: (match[1] ?? match[2])!, typeOnly: false });
  return found;
}

const resolved = (file: string, specifier: string): string => relative(root, join(root, dirname(file), specifier));

/** Names of files that may touch the machine: shells. */
const shellName = /(system|shell|server|client|transport|worker|main|role|listen|process)/;
const shellFolders = ['cmd/', 'internal/node/roles/'];

/** Files over the limit, each with the reason why it is one idea. */
const longFiles: Record<string, string> = {
  'internal/kube/api/types/core.ts': 'declarations of one API group, no code',
};
const maxLines = 700;

describe('tidy', () => {
  test('every folder has a layer', () => {
    expect(files.filter((file) => layerOf(file) < 0)).toEqual([]);
  });

  test('imports go one way; kube and ceph never import each other', () => {
    const wrong: string[] = [];
    for (const [file, text] of texts) {
      if (isTest(file)) continue;
      for (const { specifier, typeOnly } of imports(text)) {
        if (!specifier.startsWith('.')) continue;
        const target = resolved(file, specifier);
        // The contract between the supervisor and its roles; types only.
        if (target === 'internal/node/role.ts' && typeOnly) continue;
        if (layerOf(target) > layerOf(file)) wrong.push(`${file} -> ${target}`);
        if (file.startsWith('internal/kube/') && target.startsWith('internal/ceph/'))
          wrong.push(`${file} -> ${target}`);
        if (file.startsWith('internal/ceph/') && target.startsWith('internal/kube/'))
          wrong.push(`${file} -> ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test('pure modules use no clock, randomness, timers, files or network of the machine', () => {
    const wrong: string[] = [];
    const machine =
      /^(node:(fs|net|http|https|http2|tls|dgram|child_process|worker_threads|os)(\/.*)?|bun|bun:(sqlite|ffi))$/;
    const calls =
      /\b(Date\.now\(|new Date\(\)|Math\.random\(|setTimeout\(|setInterval\(|setImmediate\(|performance\.now\(|Bun\.(?!hash\b))/;
    for (const [file, text] of texts) {
      if (isTest(file) || shellName.test(basename(file)) || shellFolders.some((folder) => file.startsWith(folder)))
        continue;
      for (const { specifier, typeOnly } of imports(text))
        if (!typeOnly && machine.test(specifier)) wrong.push(`${file}: imports ${specifier}`);
      const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
      const call = calls.exec(code);
      if (call) wrong.push(`${file}: ${call[1]}`);
    }
    expect(wrong).toEqual([]);
  });

  test(`no file is over ${maxLines} lines without a reason`, () => {
    const long = [...texts]
      .filter(([file, text]) => text.split('\n').length > maxLines && !longFiles[file])
      .map(([file]) => file);
    expect(long).toEqual([]);
  });

  test('nothing is switched off: no skipped or exclusive tests without a condition, no silenced checks', () => {
    const wrong: string[] = [];
    for (const [file, text] of texts)
      if (/\b(it|test|describe)\.(only|skip|todo)\(|@ts-ignore|@ts-nocheck/.test(text)) wrong.push(file);
    expect(wrong).toEqual([]);
  });
});
