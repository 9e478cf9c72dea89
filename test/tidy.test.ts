import { readFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';

/** The tree's own rules: imports go one way, pure modules stay pure, files hold one idea. */

const root = join(import.meta.dirname, '..');
const files = [...new Bun.Glob('{cmd,internal}/**/*.ts').scanSync(root)].sort();
const testFiles = [...new Bun.Glob('test/**/*.ts').scanSync(root)].sort();
const texts = new Map([...files, ...testFiles].map((file) => [file, readFileSync(join(root, file), 'utf8')]));
const isTest = (file: string): boolean =>
  file.startsWith('test/') || /\.(test|testing|sim|bench)\.ts$|(^|\/)(contract|testing)[.\-/]/.test(file);

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

/** How the names of files end that may touch the machine: shells. */
const shellName = /(^|[-.])(system|shell|server|client|transport|worker|main|role|listen|process)\.ts$/;
const shellFolders = ['cmd/', 'internal/node/roles/'];
const isShell = (file: string): boolean =>
  shellName.test(basename(file)) || shellFolders.some((folder) => file.startsWith(folder));

/** What a pure module may not call. A member of something else (`app.fetch(`) is not meant. */
const machineCalls =
  /(?<![\w$]|(?<!globalThis)\.)(?:Date\.now\(|new Date\(\)|Date\(\)|Math\.random\(|set(?:Timeout|Interval|Immediate)\(|performance\.|Bun\.(?!hash\b|zstd(?:Compress|Decompress)Sync\b)|fetch\((?!\w+:)|process\.|console\.|navigator\.|crypto\.(?:randomUUID|getRandomValues)\(|random(?:Bytes|UUID|Int)\(|getRandomValues\(|new WebSocket\()/;
const machineModules =
  /^(node:(fs|net|http|https|http2|tls|dgram|dns|child_process|cluster|worker_threads|os|process|perf_hooks|readline|timers|tty|v8|vm)(\/.*)?|bun|bun:(sqlite|ffi)|ws)$/;

/** Pure modules that call the machine, each with the reason. */
const impureFiles: Record<string, string> = {
  'internal/base/planted-fault.ts': 'a variable that only executables of the crash tests read; false in a release',
};

/** Modules that import shells because putting pure parts and shells together is what they are for. */
const puttingTogether = new Set([
  'internal/csi/rbd-controller.ts',
  'internal/join/server-bundle.ts',
  'internal/kube/api/builtin.ts',
  'internal/kube/apiserver/admission-services.ts',
  'internal/kube/apiserver/apiserver.ts',
  'internal/kube/apiserver/app.ts',
  'internal/kube/apiserver/custom/conversion.ts',
  'internal/kube/kubelet/containerd.ts',
  'internal/node/role-table.ts',
  'internal/store/restore.ts',
  'internal/store/store.ts',
]);

/** Files over the limit, each with the reason why it is one idea. */
const longFiles: Record<string, string> = {
  'internal/ceph/osd/op-engine.ts': 'the way of a request from its arrival to its reply',
  'internal/ceph/osd/osd-server.ts': 'an OSD on the network: one place where its sessions, messengers and timers meet',
  'internal/kube/api/types/core.ts': 'declarations of one API group, no code',
};
const maxLines = 700;

describe('tidy', () => {
  test('every folder has a layer', () => {
    expect(files.filter((file) => layerOf(file) < 0)).toEqual([]);
  });

  test('nothing that ships imports tests or what only they use', () => {
    const wrong: string[] = [];
    for (const file of files)
      if (!isTest(file))
        for (const { specifier } of imports(texts.get(file)!))
          if (specifier.startsWith('.') && isTest(resolved(file, specifier))) wrong.push(`${file} -> ${specifier}`);
    expect(wrong).toEqual([]);
  });

  test('suites of one folder share the harness, not one another: no test imports a test', () => {
    const wrong: string[] = [];
    for (const [file, text] of texts)
      for (const { specifier } of imports(text))
        if (/\.test\.ts$/.test(specifier)) wrong.push(`${file} -> ${specifier}`);
    expect(wrong).toEqual([]);
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
    for (const [file, text] of texts) {
      if (isTest(file) || isShell(file) || impureFiles[file]) continue;
      for (const { specifier, typeOnly } of imports(text))
        if (!typeOnly && machineModules.test(specifier)) wrong.push(`${file}: imports ${specifier}`);
      const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
      const call = machineCalls.exec(code);
      if (call) wrong.push(`${file}: ${call[0]}`);
    }
    expect(wrong).toEqual([]);
  });

  test.each([
    ['fetch("https://x")', true],
    ['await globalThis.fetch(url)', true],
    ['app.fetch(request)', false],
    ['  fetch(request: Request): void;', false],
    ['process.env.X', true],
    ['child.process.pid', false],
    ['preprocess.run()', false],
    ['x = crypto.randomUUID()', true],
    ['crypto.subtle.digest(a, b)', false],
    ['globalThis.crypto.getRandomValues(x)', true],
    ['new Date()', true],
    ['new Date(ms)', false],
    ['Bun.hash.crc32(x)', false],
    ['Bun.zstdCompressSync(x)', false],
    ['Bun.zstdCompress(x)', true],
  ])('what counts as the machine: %s: %j', (code, expected) => {
    expect(machineCalls.test(code)).toBe(expected);
  });

  test('pure modules import no shells, but for those that put both together', () => {
    const wrong: string[] = [];
    for (const file of files) {
      if (isTest(file) || isShell(file) || puttingTogether.has(file)) continue;
      for (const { specifier, typeOnly } of imports(texts.get(file)!))
        if (!typeOnly && specifier.startsWith('.') && isShell(resolved(file, specifier)))
          wrong.push(`${file} -> ${specifier}`);
    }
    expect(wrong).toEqual([]);
    expect([...puttingTogether, ...Object.keys(impureFiles)].filter((file) => !texts.has(file))).toEqual([]);
  });

  test(`no file is over ${maxLines} lines without a reason`, () => {
    const long = [...texts]
      .filter(([file, text]) => text.split('\n').length > maxLines && !longFiles[file])
      .map(([file]) => file);
    expect(long).toEqual([]);
  });

  test('nothing is switched off: no skipped or exclusive tests without a condition, no silenced checks', () => {
    const wrong: string[] = [];
    // Here the words stand for what is looked for.
    for (const [file, text] of texts)
      if (file !== 'test/tidy.test.ts' && /\b(it|test|describe)\.(only|skip|todo)\(|@ts-ignore|@ts-nocheck/.test(text))
        wrong.push(file);
    expect(wrong).toEqual([]);
  });
});
